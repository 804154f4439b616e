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

from aioresp.addresses import mapped
from aioresp.cluster.discovery import ASKED, discover
from aioresp.cluster.nodes import Nodes
from aioresp.cluster.pace import LEAST, Pace
from aioresp.cluster.slots import SLOTS
from aioresp.cluster.topology import UNNAMED, Address, ClusterNode, Shard, Topology, host_port
from aioresp.contexts.background import SUCCESSORS
from aioresp.errors import (
    ArgumentError,
    AskError,
    ClientClosed,
    ClusterDownError,
    ConnectError,
    MovedError,
    RedisError,
)
from aioresp.events import Event, Redirected, TopologyChanged, tell
from aioresp.pool.pool import Pool
from aioresp.pool.resource import NOBODY, PoolStats
from aioresp.pubsub.topics import Broker, Moment
from aioresp.timers import wait
from aioresp.wire.connection import Connection

logger = logging.getLogger("aioresp")

#: Attempts a second of all callers together that wait for a change, which may not come. Each takes time from callers of
#: healthy nodes, and one that succeeds wakes all others.
CROWD: Final = 200

#: Callers that are woken in one turn of the loop.
TURN: Final = 100

#: Seconds between two times at least that the success of one caller wakes all others, who may wait for other nodes.
ECHO: Final = 0.25

#: Seconds for which a slot counts as on its way after a node has answered ASK.
ON_ITS_WAY: Final = 10.0

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
        self._asked: dict[int, float] = {}  # loop times of the last ASK, by slot; a MOVED ends the move
        self._addresses: dict[Pool[Connection], Address] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._failure: RedisError | None = None
        """The error of the last refresh, if it failed."""
        self._pace = Pace()
        #: Made by each pause before a refresh; done when a caller begins to wait.
        self._hurry: asyncio.Future[None] | None = None
        self._waiting = 0  # callers that wait for a change
        self._asking = 0  # those of them that wait for the end of one refresh, whatever it brings
        self._sleepers: set[asyncio.Future[None]] = set()  # one for each caller that waits for a change
        self._echoed_at = -math.inf  # loop time at which a success last woke them
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
        self.check()
        pool = self.nodes.at(address).pools.here()
        if pool not in self._addresses:
            self._addresses[pool] = address
            SUCCESSORS[pool] = partial(_successor, weakref.ref(self))
            pool.doubts.on_begin = partial(_doubt, weakref.ref(self))
        return pool

    def address(self, pool: Pool[Connection]) -> Address | None:
        """Return the address of a pool's node."""
        return self._addresses.get(pool)

    def shard_of(self, slot: int) -> Shard | None:
        """Return the shard that serves a slot."""
        return None if self._topology is None else self._topology.shard_of(slot)

    def unserved(self, slot: int | None) -> ClusterDownError:
        """Return the error for a slot that no known node serves, or for a cluster without a primary."""
        known = self._topology
        covered = 0 if known is None else known.covered
        what = "no primary is known" if slot is None else f"no known node serves slot {slot}"
        error = ClusterDownError(f"CLUSTERDOWN {what}; {covered} of {SLOTS} slots have a node")
        error.code = "CLUSTERDOWN"
        return error

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
        before, self._topology = self._topology, topology
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
        changed, self.pools = pools != self.pools, pools
        # Redirects may have changed the table before.
        if before is None or before.owners() != topology.owners():
            told = partial(TopologyChanged, primaries=_named(topology.primaries), replicas=_named(topology.replicas))
            self.tell(told, self.nodes.address)
        if changed:
            self._tell_change()
        elif before is None or {node.address for node in before.nodes} != {node.address for node in topology.nodes}:
            self._hear()
        return changed

    def tell(self, make: Callable[[str], Event], server: str) -> None:
        """Call the `events` hook, if there is one, with the event that `make` returns for a server."""
        hook = self.nodes.settings.events
        if hook is not None:
            tell(hook, make(server))

    def tell_redirect(
        self, error: MovedError | AskError, slot: int, to: Address, origin: Pool[Connection] | None
    ) -> None:
        """Note that a node has named another one, and tell the `events` hook."""
        if isinstance(error, AskError):
            self._asked[slot] = self._loop.time()
        else:
            self._asked.pop(slot, None)
        known = None if origin is None else self._addresses.get(origin)
        told = partial(Redirected, slot=slot, to=host_port(*to), asking=isinstance(error, AskError))
        self.tell(told, self.nodes.address if known is None else host_port(*known))

    def on_its_way(self, slot: int) -> bool:
        """Return whether a node has answered ASK for a slot a moment ago. Replicas tell of no move."""
        asked = self._asked.get(slot)
        if asked is None:
            return False
        if self._loop.time() - asked < ON_ITS_WAY:
            return True
        del self._asked[slot]
        return False

    def patch(self, slot: int, pool: Pool[Connection]) -> None:
        """Let a pool serve a slot from now on, as a redirect says; if that is news, ask for the topology."""
        self._patches[slot] = self._loop.time(), pool
        if self.pools[slot] is not pool:
            self.pools[slot] = pool
            self.refresh()

    def _tell_change(self) -> None:
        self._pace.wanted_since = self._loop.time()
        self.wake()
        self._hear()

    def _hear(self) -> None:
        for hear in list(self.on_change):
            hear()

    def locate(self, host: str, port: int, origin: Address | None) -> Address | None:
        """Return the address that a redirect names. Without a host, or with port 0, it is that of the sender.

        None if the redirect cannot be followed: the other node should have a name, and has none.
        """
        if host == UNNAMED:
            # In the topology it stands by its IP address. A port that several nodes have tells nothing.
            found = {node.address for node in self._nodes() if node.port == port}
            return found.pop() if len(found) == 1 and self.nodes.settings.address_map is None else None
        sender, own_port = origin or self.nodes.seeds[0]
        return mapped(self.nodes.settings.address_map, host or sender, port or own_port)

    def _nodes(self) -> tuple[ClusterNode, ...]:
        return () if self._topology is None else self._topology.nodes

    # --- Refreshing --------------------------------------------------------------------------------------------------

    def refresh(self, several: int = ASKED) -> None:
        """Have `several` nodes asked for the topology soon; while a refresh is under way this does nothing."""
        if self._refreshing is None and not self._shut:
            create, name = self._loop.create_task, "aioresp: refresh a topology"
            self._refreshing = Context().run(lambda: create(self._refresh(several), name=name))
            self._refreshing.add_done_callback(self._refreshed, context=Context())

    async def _refresh(self, several: int) -> None:
        while (pause := self._pace.rest(self._loop.time(), self._waiting > 0)) > 0:
            self._hurry = self._loop.create_future()
            await wait((self._hurry,), pause)  # until it is time, or until a caller comes who waits
        asked, moment = self._loop.time(), Moment.now()
        try:
            view = await discover(self.nodes, *self.candidates(several))
        finally:
            self._pace.end(self._loop.time())
        changed = self._apply(view, asked) if self.nodes.adopt(view) else self.catch_up()
        self.seen = moment
        if changed:
            self._pace.gap = LEAST
        elif self._failure is not None:
            self._tell_change()
        self._failure = None

    def _want(self, news: bool = False) -> None:
        """Count a caller that waits for a change: the next refresh comes sooner."""
        self._pace.want(self._loop.time(), news)
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
        if self._waiting > self._asking:
            self.refresh()
        if self._timer is not None:
            self._timer.cancel()
        # Nothing has gone wrong by then: one node is enough.
        self._timer = self._loop.call_later(PERIOD * random.uniform(0.9, 1.1), self.refresh, 1, context=Context())

    def candidates(self, several: int) -> tuple[list[Address], int]:
        """Return the nodes to ask, and how many of them at a time, `several` at most.

        First come a few, those with connections in this loop above all, then the seeds, and the other nodes last: if
        the first few are out of reach, all may be. While two of the first are healthy, no others are asked beside
        them: a node that is frozen would be waited for, and another one connected to.
        """
        nodes = list(self._nodes())
        random.shuffle(nodes)
        connected = self.connected
        nodes.sort(key=lambda node: (node.address not in connected, not node.healthy, node.role == "replica"))
        fit = sum(node.healthy and node.address in connected for node in nodes)
        seeds = list(self.nodes.seeds)
        random.shuffle(seeds)
        known = [node.address for node in nodes]
        return [*known[:ASKED], *seeds, *known[ASKED:]], min(several, fit) if fit > 1 else several

    @property
    def connected(self) -> set[Address]:
        """Addresses of nodes that this loop has connections to: they are within its reach."""
        return {address for pool, address in self._addresses.items() if pool.stats().open}

    async def discover(self, deadline: float) -> RedisError | None:
        """Wait for the end of a refresh until `deadline` (loop time); return its error if it has failed."""
        self.refresh()
        refreshing = self._refreshing
        self.check()
        assert refreshing is not None
        self._want()
        self._asking += 1
        try:
            await wait((refreshing,), None if deadline == math.inf else max(deadline - self._loop.time(), 0.0))
        finally:
            self._asking -= 1
            self._waiting -= 1
        return self._failure if refreshing.done() else None

    async def renew(self) -> RedisError | None:
        """Wait for the end of a refresh that begins now; return its error if it has failed."""
        if self._refreshing is not None:  # it may have asked before; the next one has not
            await self.discover(math.inf)
        return await self.discover(math.inf)

    async def wait(self, seconds: float) -> None:
        """Wait until the table changes, at most so many seconds, and have the topology asked for.

        Raises ClientClosed if the client is closed.
        """
        self.refresh()
        # A future for each: thousands of callers may wait, and each would look for its callback among those of all.
        woken: asyncio.Future[None] = self._loop.create_future()
        self._sleepers.add(woken)
        self._want()
        timer = self._loop.call_later(max(seconds, 0.0), _wake, woken, context=Context())
        try:
            if not self._shut:
                await woken
        finally:
            timer.cancel()
            self._sleepers.discard(woken)
            self._waiting -= 1
        self.check()

    @property
    def crowded(self) -> float:
        """Least seconds between two attempts of a caller, so that those of all who wait cost little."""
        return len(self._sleepers) / CROWD * random.uniform(0.5, 1.0)

    def wake(self) -> None:
        """Have all callers that wait make their next attempt, because something has changed: some in each turn."""
        self._wake_some(list(self._sleepers))

    def _wake_some(self, sleepers: list[asyncio.Future[None]]) -> None:
        now = len(sleepers) if self._shut else TURN
        for sleeper in sleepers[:now]:
            _wake(sleeper)
        if len(sleepers) > now:  # between them the loop reads what healthy nodes have sent
            self._loop.call_soon(self._wake_some, sleepers[now:], context=Context())

    def note_success(self) -> None:
        """Note that a caller that has waited has succeeded: what it waited for is over, perhaps for others, too."""
        now = self._loop.time()
        if self._sleepers and now - self._echoed_at >= ECHO:
            self._echoed_at = now
            self.wake()

    def check(self) -> None:
        """Raise ClientClosed if the client is closed."""
        if self._shut:
            raise ClientClosed("the client was closed")

    def doubt(self, news: bool) -> Callable[[], None]:
        """Have the topology asked for again and again, until the returned function is called.

        `news` says that the node in doubt was well until now: however long others have waited, this is another matter.
        """
        self.refresh()
        self._want(news)

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


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


def _doubt(known: weakref.ref[Router]) -> Callable[[], None] | None:
    """Have the topology asked for while a node owes replies and is silent: frozen, perhaps, and soon replaced."""
    router = known()
    return None if router is None else router.doubt(False)


def _successor(known: weakref.ref[Router], error: RedisError, slot: int | None) -> Pool[Connection] | None:
    """Return the pool of the node that serves a slot: by the words of a redirect, or by the table after another error.

    None while the slot is on its way.
    """
    router = known()
    if router is None or slot is None or isinstance(error, AskError):
        return None
    before = router.pool(slot)
    if not isinstance(error, MovedError) or error.slot is None:
        return before
    router.refresh()
    try:
        address = router.locate(error.host, error.port, None if before is None else router.address(before))
    except ArgumentError as wrong:
        logger.warning("a redirect is not followed: %s", wrong)
        return None
    if address is None:
        return None
    router.tell_redirect(error, error.slot, address, before)
    pool = router.pool_at(address)
    router.patch(error.slot, pool)
    return pool
