"""Router of one event loop: a table from slots to pools, and the refreshes that keep it true.

Owns the table, its one refresh under way, and the wait of callers for a change. Never sends a caller's command, and
never closes a connection: its nodes do.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import weakref
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Final, cast

from aioresp.cluster.discovery import discover
from aioresp.cluster.nodes import Nodes
from aioresp.cluster.slots import SLOTS
from aioresp.cluster.topology import UNNAMED, Address, ClusterNode, Shard, Topology
from aioresp.contexts.background import SUCCESSORS
from aioresp.errors import ClientClosed, ConnectError, MovedError, RedisError
from aioresp.events import Event, TopologyChanged, tell
from aioresp.pool.pool import Pool
from aioresp.pool.resource import NOBODY, PoolStats
from aioresp.pubsub.topics import Broker, Moment
from aioresp.timers import wait
from aioresp.wire.connection import Connection

logger = logging.getLogger("aioresp")

#: Seconds between two refreshes: the least, the most while callers wait for a change, and the most otherwise.
LEAST: Final = 0.1
WANTED: Final = 0.15
MOST: Final = 5.0

#: Seconds after which a node is asked although nothing has gone wrong.
PERIOD: Final = 60.0


def _named(nodes: tuple[ClusterNode, ...]) -> tuple[str, ...]:
    return tuple(map(str, nodes))


class _Unserved:
    """Stands for the pool of a slot that no known node serves; its connection never has room."""

    current = cast(Connection, NOBODY)


UNSERVED: Final = _Unserved()


class Router:
    """Table of one event loop. `pools` has the pool of each slot's primary, or `UNSERVED`."""

    def __init__(self, nodes: Nodes, loop: asyncio.AbstractEventLoop) -> None:
        self.nodes = nodes
        self.pools: list[Pool[Connection] | _Unserved] = [UNSERVED] * SLOTS
        self.changes = 0
        """Number of times that the table has changed."""
        self.on_change: list[Callable[[], object]] = []
        """Functions that are called after each new topology that has changed the table, or has other nodes."""
        self.listening: Address | None = None
        """Address of the node that ordinary subscriptions are connected to."""
        self.hub: Broker | None = None
        """The topics of this loop; None before the first subscription."""
        self.seen = Moment.now()
        """Moment before the last topology of this loop's own was asked for."""
        self._loop = loop
        self._topology: Topology | None = None  # the one that the table was made of
        #: Pools by slot that redirects have told, with the loop times: newer than a view that was asked for before.
        self._patches: dict[int, tuple[float, Pool[Connection]]] = {}
        self._addresses: dict[Pool[Connection], Address] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._failure: RedisError | None = None
        """The error of the last refresh, if it failed."""
        self._gap = LEAST  # seconds until the next refresh may begin
        self._asked_at = -MOST  # loop time of the end of the last refresh
        self._jitter = 1.0
        self._hurry: asyncio.Future[None] | None = None  # done when a caller comes who waits; made by each pause
        self._waiting = 0  # callers that wait for a change
        self._changed: asyncio.Future[None] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._on_end: Callable[[], None] | None = None
        self._shut = False  # set by the end of the client or the loop; never cleared
        self.catch_up()

    def __repr__(self) -> str:
        served = sum(pool is not UNSERVED for pool in self.pools)
        return f"Router({len(set(self._addresses.values()))} nodes, {served} slots)"

    # --- The table ---------------------------------------------------------------------------------------------------

    def pool(self, slot: int) -> Pool[Connection] | None:
        """Return the pool of the primary that serves a slot; None if no known node does."""
        pool = self.pools[slot]
        return pool if isinstance(pool, Pool) else None

    def pool_at(self, address: Address) -> Pool[Connection]:
        """Return the pool of the node at an address. Raises ClientClosed."""
        if self._shut:
            raise ClientClosed("the client was closed")
        pool = self.nodes.at(address).pools.here()
        if pool not in self._addresses:
            self._addresses[pool] = address
            SUCCESSORS[pool] = partial(_successor, weakref.ref(self))
        return pool

    def address(self, pool: Pool[Connection]) -> Address | None:
        """Return the address of a pool's node."""
        return self._addresses.get(pool)

    def shard_of(self, slot: int) -> Shard | None:
        """Return the shard that serves a slot."""
        return None if self._topology is None else self._topology.shard_of(slot)

    @property
    def topology(self) -> Topology | None:
        """The topology that the table was made of; None before the first one."""
        return self._topology

    def catch_up(self) -> bool:
        """Take a topology that another loop has found meanwhile; return whether there was one."""
        if self.nodes.topology is None or self.nodes.topology is self._topology:
            return False
        return self._apply(self.nodes.topology, self._loop.time())

    def _apply(self, topology: Topology, asked: float) -> bool:
        """Fill the table; return whether it changed. Redirects that came after `asked` (loop time) are newer."""
        before, self._topology = self._nodes(), topology
        pools: list[Pool[Connection] | _Unserved] = [UNSERVED] * SLOTS
        self._addresses = {}
        for shard in topology.shards:
            if shard.slots:
                pool = self.pool_at(shard.primary.address)
                for first, last in shard.slots:
                    pools[first : last + 1] = [pool] * (last - first + 1)
        self._patches = {slot: patch for slot, patch in self._patches.items() if patch[0] > asked}
        for slot, (_, pool) in self._patches.items():
            if not pool.retired:
                pools[slot] = pool
        if pools == self.pools:
            if {node.address for node in before} != {node.address for node in self._nodes()}:
                self._hear()
            return False
        self.pools = pools
        self.tell(
            partial(TopologyChanged, primaries=_named(topology.primaries), replicas=_named(topology.replicas)),
            self.nodes.address,
        )
        self._tell_change()
        return True

    def tell(self, make: Callable[[str], Event], server: str) -> None:
        """Call the `events` hook, if there is one, with the event that `make` returns for a server."""
        hook = self.nodes.settings.events
        if hook is not None:
            tell(hook, make(server))

    def patch(self, slot: int, pool: Pool[Connection]) -> None:
        """Let a pool serve a slot from now on, as a redirect says."""
        self._patches[slot] = self._loop.time(), pool
        if self.pools[slot] is not pool:
            self.pools[slot] = pool
            self.changes += 1

    def _tell_change(self) -> None:
        self.changes += 1
        changed, self._changed = self._changed, self._loop.create_future()
        if not changed.done():
            changed.set_result(None)
        self._hear()

    def _hear(self) -> None:
        for hear in list(self.on_change):
            hear()

    def locate(self, host: str, port: int, origin: Pool[Connection] | None) -> Address:
        """Return the address that a redirect names; without a host, it is that of the node which has sent it."""
        known = None if origin is None else self._addresses.get(origin)
        if host in ("", UNNAMED):
            host = next((node.host for node in self._nodes() if host == UNNAMED and node.port == port), "")
            host = host or (self.nodes.seeds[0][0] if known is None else known[0])
            return host, port
        address = host, port
        return address if self.nodes.address_map is None else self.nodes.address_map(address)

    def _nodes(self) -> tuple[ClusterNode, ...]:
        return () if self._topology is None else self._topology.nodes

    # --- Refreshing --------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Have the topology asked for soon; while a refresh is under way this does nothing."""
        if self._refreshing is None and not self._shut:
            create = self._loop.create_task
            self._refreshing = Context().run(lambda: create(self._refresh(), name="aioresp: refresh a topology"))
            self._refreshing.add_done_callback(self._refreshed, context=Context())

    async def _refresh(self) -> None:
        while (pause := self._asked_at + self._jittered_gap() - self._loop.time()) > 0:
            self._hurry = self._loop.create_future()
            await wait((self._hurry,), pause)  # until it is time, or until a caller comes who waits
        asked, moment = self._loop.time(), Moment.now()
        try:
            view = await discover(self.nodes, self._candidates())
        finally:
            self._asked_at = self._loop.time()
            self._jitter = random.uniform(0.8, 1.2)
            self._gap = min(self._gap * 2, MOST)
        changed = self._apply(view, asked) if self.nodes.adopt(view) else self.catch_up()
        self.seen = moment
        if changed:
            self._gap = LEAST
        elif self._failure is not None:
            self._tell_change()
        self._failure = None

    def _jittered_gap(self) -> float:
        gap = min(self._gap, WANTED) if self._waiting else self._gap
        return gap * self._jitter

    def _want(self) -> None:
        """Count a caller that waits for a change: the next refresh comes sooner."""
        self._waiting += 1
        if self._hurry is not None and not self._hurry.done():
            self._hurry.set_result(None)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if self._shut:
            self._end()
            return
        error = None if task.cancelled() else task.exception()
        if error is not None:
            if not isinstance(error, RedisError):
                cause, error = error, ConnectError(f"the topology cannot be read: {error!r}")
                error.__cause__ = cause
            self._failure = error
            logger.debug("the topology of the cluster is not known: %s", error)
        if self._waiting:
            self.refresh()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(PERIOD * random.uniform(0.9, 1.1), self.refresh, context=Context())

    def _candidates(self) -> list[Address]:
        """Return the nodes to ask: first those with connections in this loop, then others, then the seeds."""
        nodes = list(self._nodes())
        random.shuffle(nodes)
        connected = {address for pool, address in self._addresses.items() if pool.stats().open}
        nodes.sort(key=lambda node: (node.address not in connected, not node.healthy, node.role == "replica"))
        seeds = list(self.nodes.seeds)
        random.shuffle(seeds)
        return [*(node.address for node in nodes), *seeds]

    async def discover(self, deadline: float) -> RedisError | None:
        """Wait for the end of a refresh until `deadline` (loop time); return its error if it has failed."""
        self.refresh()
        refreshing = self._refreshing
        if self._shut or refreshing is None:
            raise ClientClosed("the client was closed")
        self._want()
        try:
            await wait((refreshing,), None if deadline == math.inf else max(deadline - self._loop.time(), 0.0))
        finally:
            self._waiting -= 1
        return self._failure if refreshing.done() else None

    async def renew(self) -> RedisError | None:
        """Wait for the end of a refresh that begins now; return its error if it has failed."""
        while self._refreshing is not None:  # it may have asked before
            await asyncio.wait((self._refreshing,))
        return await self.discover(math.inf)

    async def wait(self, seconds: float) -> None:
        """Wait until the table changes, at most so many seconds, and have the topology asked for."""
        self.refresh()
        self._want()
        try:
            await wait((self._changed,), max(seconds, 0.0))
        finally:
            self._waiting -= 1

    def doubt(self) -> Callable[[], None]:
        """Have the topology asked for again and again, until the returned function is called."""
        self.refresh()
        self._want()

        def end() -> None:
            self._waiting -= 1

        return end

    # --- As the pool of a loop ---------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Return False: nothing is lost with a table."""
        return False

    def notify(self, on_end: Callable[[], None]) -> None:
        """Call `on_end` when the last refresh has ended."""
        self._on_end = on_end

    def shut(self, grace: float = 0.0) -> None:
        """End the refreshes, and let callers that wait go on to their end."""
        if self._shut:
            return
        self._shut = True
        if self._timer is not None:
            self._timer.cancel()
        self._tell_change()
        if self._refreshing is None:
            self._end()
        else:
            self._refreshing.cancel()

    def _end(self) -> None:
        self.pools = [UNSERVED] * SLOTS
        if self._on_end is not None:
            self._on_end()

    async def aclose(self, grace: float = 0.0) -> None:
        """Do as `shut`, and wait for the end."""
        self.shut()
        if self._refreshing is not None:
            await asyncio.wait((self._refreshing,))

    def abandon(self) -> None:
        """Forget the table: its loop is closed."""
        self._shut = True

    def stats(self) -> PoolStats:
        """Return no figures: they are those of the nodes."""
        return PoolStats()


def _successor(known: weakref.ref[Router], error: RedisError) -> Pool[Connection] | None:
    """Return the pool of the node that serves a slot by the words of a redirect; None while the slot is on its way."""
    router = known()
    if router is None or not isinstance(error, MovedError) or error.slot is None:
        return None
    pool = router.pool_at(router.locate(error.host, error.port, router.pool(error.slot)))
    router.patch(error.slot, pool)
    router.refresh()
    return pool
