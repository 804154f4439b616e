"""Nodes of a cluster by address, made at first use and shared by all event loops.

Owns the newest topology that any loop has found, and the end of nodes that the cluster has left. Never sends a command,
and never knows which loop asks.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context
from functools import partial
from typing import Final

from aioresp.addresses import is_ip
from aioresp.cluster.arrival import refuse_outdated, zone_of
from aioresp.cluster.certificates import Certificates
from aioresp.cluster.topology import Address, ClusterNode, Topology, host_port, spelled
from aioresp.errors import ConnectionLost
from aioresp.node import Dial, Node
from aioresp.options import Settings
from aioresp.pool.pool import Pool
from aioresp.pool.resource import PoolStats
from aioresp.wire.connection import Connection
from aioresp.wire.cork import Cork
from aioresp.wire.courtesies import Words

#: Seconds that replies under way have to arrive from a node that has left the cluster. It may be dead: Redis 6.2 tells
#: of no failed node that serves nothing.
GONE_GRACE: Final = 0.2

#: Seconds from which on a connection that is being made is a sign that its node is gone.
SLOW: Final = 0.25

#: Seconds between the failure of an attempt to connect to a node and the next attempt: after the first one, and at
#: most. Callers wait that long in its line, or until the node has a successor: they cost the others nothing.
PACE: Final = (0.02, 0.1)

_READONLY: Final = (("READONLY",),)


class Nodes:
    """Nodes of one cluster. `seeds` are the addresses of its URL, which are asked where no known node answers."""

    def __init__(self, settings: Settings, seeds: tuple[Address, ...]) -> None:
        self.settings = settings
        self.seeds = seeds
        self.certificates = Certificates(seeds, settings.address_map is not None)
        #: The newest topology; None until a node has told one.
        self.topology: Topology | None = None
        #: Cleared when a server does not know CLUSTER SHARDS, or refuses it; never set again.
        self.tells_shards = True
        #: Sums of the nodes that were forgotten.
        self.past = PoolStats()
        #: Cleared when a server does not know CLUSTERSCAN (Valkey 9.1), or refuses it; never set again.
        self.has_clusterscan = True
        #: Function that begins a doubt whether a node is gone, and returns the one that ends it. It hears whether this
        #: is news: the last connection to that node was made.
        self.doubt: Callable[[bool], Callable[[], None]] = lambda news: _nothing
        #: Function that is called when a connection is made to a node to which the last attempt has failed.
        self.on_return: Callable[[], None] = _nothing
        #: Set when the client is closed, cleared when it is entered again: nodes made meanwhile take no commands.
        self.closed = False
        #: Function that hears in which zone a node is, or that it tells none.
        self.on_zone: Callable[[Address, str | None], object] = lambda address, zone: None
        # Every step on it is one that no other thread can halve, so it has no lock.
        self._made: dict[tuple[Address, bool], Node] = {}
        #: Nodes that were left, as long as a caller still has one: they are closed with the client, too.
        self._left: set[weakref.ref[Node]] = set()
        self._corks: weakref.WeakValueDictionary[asyncio.AbstractEventLoop, Cork] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()
        self._process = os.getpid()

    @property
    def address(self) -> str:
        """The seeds as a URL, without credentials."""
        scheme = "redis" if self.settings.endpoint.tls is None else "rediss"
        return f"{scheme}+cluster://{','.join(host_port(*seed) for seed in self.seeds)}"

    def __iter__(self) -> Iterator[Node]:
        left = [node for made in list(self._left) if (node := made()) is not None]
        return iter([*list(self._made.values()), *left])

    def items(self) -> list[tuple[Address, Node]]:
        """Return the nodes with their addresses; one that is read from as a replica has a node of its own."""
        return [(address, node) for (address, _), node in list(self._made.items())]

    def at(self, address: Address, readonly: bool = False) -> Node:
        """Return the node at an address; with `readonly`, one whose connections may read from a replica."""
        node = self._made.get((address, readonly))
        return node or self._made.setdefault((address, readonly), self._make(address, readonly))

    def _make(self, address: Address, readonly: bool) -> Node:
        host, port = address
        endpoint = self.settings.endpoint.replace(host=host, port=port, unix_socket_path=None)
        # Without patience: callers of a dead node do not wait in its line, they look for its successor.
        settings = self.settings.replace(endpoint=endpoint, retry=None)
        # A pool keeps this function, and must not keep the node, or all of them.
        nodes: weakref.ref[Nodes] = weakref.ref(self)
        certificates = self.certificates
        zoned = settings.availability_zone is not None
        attempts = _Attempts()

        async def connect(dial: Dial) -> Connection:
            doubts = _Doubts(nodes(), attempts.begin(), not attempts.failing)
            try:
                if (rest := attempts.rest()) > 0:
                    await asyncio.sleep(rest)
                connection = await certificates.connect(dial, endpoint, partial(_names_of, nodes))
                if readonly:
                    await refuse_outdated(connection)
                zone = await zone_of(connection) if zoned else None
            except Exception:
                attempts.fail()
                doubts.end(partial(_owes, nodes, address, readonly))
                raise
            except BaseException:
                doubts.end()
                raise
            doubts.end()
            known = nodes()
            if known is not None:
                connection.put_under(known.cork())
                if zoned:
                    known.on_zone(address, zone)
            if attempts.succeed() and known is not None:
                known.on_return()
            return connection

        node = Member(nodes, address, settings, connect, _READONLY if readonly else ())
        node.pools.closed = node.hubs.closed = self.closed
        return node

    def cork(self) -> Cork:
        """Return the cork of all connections in the running loop, which keep it."""
        loop = asyncio.get_running_loop()
        cork = self._corks.get(loop) or Cork(loop)
        self._corks[loop] = cork
        return cork

    def names_of(self, address: Address) -> list[str]:
        """Return names that the certificate of a node may have which is told by its IP address only.

        These are the name that the node itself announces, and those of the seeds.
        """
        if not is_ip(address[0]):
            return []
        told = () if self.topology is None else self.topology.nodes
        names = [node.hostname for node in told if node.address == address and node.hostname]
        return list(dict.fromkeys([*names, *(seed for seed, _ in self.seeds if not is_ip(seed))]))

    def adopt(self, view: Topology) -> bool:
        """Take a topology that is not older than the known one; return False for an older one.

        Nodes that serve nothing any more are left, and replicas that have another primary: new connections ask whether
        they are in step. Callers in line are failed as "not sent", and so come back.
        """
        if self._process != os.getpid():  # another thread of the parent may have held the lock
            self._process, self._lock, self.past = os.getpid(), threading.Lock(), PoolStats()
        with self._lock:
            if self.topology is not None and view.epoch < self.topology.epoch:
                return False
            before, self.topology = self.topology, view
        followed, follow = {} if before is None else before.followed, view.followed
        serving = {node.address: node for node in view.primaries}
        known = {node.address: node for node in view.nodes}
        for key, node in list(self._made.items()):
            address, readonly = key
            stays = address in serving
            if readonly:  # the replica of another primary may have other keys until it is in step
                stays = address in known and followed.get(address) == follow.get(address)
            if stays:
                continue
            if node.pools.pools:  # also those without connections: another loop may have them in its table
                retire(node, known.get(address))
            elif address not in known and not (node.hubs.pools or node.stats().open):  # a hub has to give topics away
                self._forget(key)
                self._left.add(weakref.ref(node, self._left.discard))
        return True

    def _forget(self, key: tuple[Address, bool]) -> None:
        gone = self._made.pop(key, None)
        if gone is not None:  # no other thread has forgotten it
            with self._lock:
                self.past += gone.figures()[0]


class Member(Node):
    """A node of the cluster, which knows its place there."""

    def __init__(
        self,
        nodes: weakref.ref[Nodes],
        at: Address,
        settings: Settings,
        connect: Callable[[Dial], Awaitable[Connection]],
        words: Words,
    ) -> None:
        super().__init__(settings, connect, words)
        self.at = at
        self._nodes = nodes

    def remarks(self) -> list[str]:
        """Return its slots, or the primary of which it is a replica."""
        nodes = self._nodes()
        if nodes is None or nodes.topology is None:
            return []
        for shard in nodes.topology.shards:
            if shard.primary.address == self.at:
                return [spelled(shard.slots)]
            if any(replica.address == self.at for replica in shard.replicas):
                return [f"replica of {shard.primary}", spelled(shard.slots)]
        return ["not in the cluster"]


class _Attempts:
    """Attempts to connect to one node, in all event loops: how many have failed in a row, and when the last one did."""

    def __init__(self) -> None:
        self._begun = False  # set by the first attempt; never cleared
        self._failures = 0
        self._failed_at = 0.0

    def begin(self) -> bool:
        """Note another attempt; return whether there was one before."""
        before, self._begun = self._begun, True
        return before

    @property
    def failing(self) -> bool:
        """Whether the last attempt that has ended failed."""
        return self._failures > 0

    def rest(self) -> float:
        """Return the seconds until the next attempt is due; 0 or less if it is."""
        if not self._failures:
            return 0.0
        first, most = PACE
        return self._failed_at + min(most, first * 2.0 ** min(self._failures - 1, 10)) - time.monotonic()

    def fail(self) -> None:
        """Note that an attempt has failed."""
        self._failures, self._failed_at = self._failures + 1, time.monotonic()

    def succeed(self) -> bool:
        """Note that an attempt has succeeded; return whether the one before had failed."""
        failed, self._failures = self.failing, 0
        return failed


class _Doubts:
    """Doubt about a node while a connection to it is made: at once if it had one before, else if that takes long."""

    def __init__(self, nodes: Nodes | None, at_once: bool, news: bool) -> None:
        self._end: Callable[[], None] = _nothing
        self._nodes = None if nodes is None else weakref.ref(nodes)
        if at_once:
            self._begin(news)()  # one refresh: a node that restarts is soon there again
        self._timer = asyncio.get_running_loop().call_later(SLOW, self._last, context=Context())

    def _begin(self, news: bool) -> Callable[[], None]:
        nodes = None if self._nodes is None else self._nodes()
        return _nothing if nodes is None else nodes.doubt(news)

    def _last(self) -> None:
        self._end = self._begin(False)

    def end(self, owes: Callable[[], bool] | None = None) -> None:
        """End it: the connection is made, or has failed. Then it goes on as long as the node `owes` replies."""
        self._timer.cancel()
        if owes is not None and self._end is not _nothing and owes():
            # Frozen, perhaps. Some time passes until the pool tries again, and calls under way wait for a successor.
            self._timer = asyncio.get_running_loop().call_later(SLOW, self.end, owes, context=Context())
            return
        self._end()
        self._end = _nothing


def retire(node: Node, now: ClusterNode | None) -> None:
    """Leave a node that serves no slots any more; replies under way arrive.

    None is waited for from a node that the cluster holds for dead: what it may still say, when it wakes, is not true.
    """
    error = ConnectionLost(f"{node.settings.endpoint} serves no slots of the cluster any more", "not sent")
    grace = math.inf if now is not None and now.healthy else GONE_GRACE if now is None else 0.0
    node.pools.replace(partial(_leave, error, grace))


def _leave(error: ConnectionLost, grace: float, pool: Pool[Connection]) -> None:
    pool.retire(error)
    if grace != math.inf:
        asyncio.get_running_loop().call_later(grace, _end, error, pool, context=Context())


def _end(error: ConnectionLost, pool: Pool[Connection]) -> None:
    """Close a pool. Its work has some seconds more, for which no other caller waits."""
    kept = {work.connection for work in pool.work}
    for connection in pool.resources:
        if connection.in_flight and connection not in kept:
            connection.end(ConnectionLost(error.args[0]))  # at once: a node that is frozen takes no last bytes
    pool.shut()


def _names_of(nodes: weakref.ref[Nodes], address: Address) -> list[str]:
    known = nodes()
    return [] if known is None else known.names_of(address)


def _owes(nodes: weakref.ref[Nodes], address: Address, readonly: bool) -> bool:
    """Return whether replies of a node are under way in the running loop."""
    known = nodes()
    node = None if known is None else known._made.get((address, readonly))
    pool = None if node is None else node.pools.find(asyncio.get_running_loop())
    return pool is not None and not pool.retired and pool.owes()


def _nothing() -> None: ...
