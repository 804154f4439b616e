"""One server as an object: its pools and hubs, one of each for every event loop.

Owns how connections are made, and each way of a command beside the fast path: overflow, retry, leases, closing. Code
that uses many servers builds on it by public names alone. Never converts a reply.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from aioresp.command import told
from aioresp.errors import RedisError
from aioresp.facts.traits import Traits, traits
from aioresp.options import Settings, Terms
from aioresp.pool.entries import Closing, Lifetime
from aioresp.pool.loops import PerLoop, running_loop
from aioresp.pool.pool import Pool
from aioresp.pool.queue import forsake
from aioresp.pool.resource import PoolStats
from aioresp.retry import NEVER, may_repeat
from aioresp.wire.brake import Brake
from aioresp.wire.connection import Connection
from aioresp.wire.courtesies import Words
from aioresp.wire.endpoint import Endpoint
from aioresp.wire.handshake import connect, restore
from aioresp.wire.packing import Packed, unpack

if TYPE_CHECKING:
    from aioresp.contexts.borrowed import Borrowed
    from aioresp.contexts.lease import Lease
    from aioresp.contexts.routes import SharedRoute
    from aioresp.middleware import Middleware
    from aioresp.observer import Observer
    from aioresp.pubsub.hub import Hub

T = TypeVar("T")

#: Function that makes a connection to an endpoint, by the options about connecting.
Dial: TypeAlias = Callable[[Endpoint], Awaitable[Connection]]

#: Role of a server among several.
NodeRole: TypeAlias = Literal["primary", "replica", "sentinel"]

#: Figures of one server: their sum since the start, and those of each loop in use.
Figures: TypeAlias = tuple[PoolStats, dict[asyncio.AbstractEventLoop, PoolStats]]

#: Seconds in which replies under way must arrive when a node is closed.
CLOSE_GRACE: Final = 1.0


class Stats(PoolStats):
    """The figures of a client: sums over all its loops and servers, with counters since the start."""

    loops: tuple[PoolStats, ...] = ()
    """The figures of each loop in which the client is in use."""

    @property
    def nodes(self) -> Mapping[str, NodeStats]:
        """The figures of each server, by its host:port; empty for a client of one server."""
        return {}


class ServersStats(Stats):
    """The figures of a client of several servers."""

    servers: Mapping[str, NodeStats] = {}

    @property
    def nodes(self) -> Mapping[str, NodeStats]:
        """The figures of each server, by its host:port."""
        return self.servers

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in PoolStats.record_fields)))


class NodeStats(Stats):
    """The figures of one server among several: a node of a cluster, a primary, a replica or a sentinel."""

    role: NodeRole | None = None
    """Its role, as far as the client knows; None for a server that has left, or has not told it."""


class Node(Lifetime):
    """One server, for any number of event loops and threads.

    `pools.here()` and `hubs.here()` are the pool and the hub of the running loop. `terms` are those of the options;
    each method takes the terms of its caller, so that many views share a node.
    """

    _instead = "make one in each process, from its settings"

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[Dial], Awaitable[Connection]] | None = None,
        words: Words = (),
    ) -> None:
        """Make a node that has no connection yet.

        `connect` is called for each connection: it chooses an endpoint and returns `await dial(endpoint)`. By default
        the endpoint is always that of `settings`. `words` are commands that end each handshake, such as READONLY.
        """
        super().__init__()
        self.settings = settings
        self.observer = observing(settings)
        self.terms = terms_of(settings, self.observer)
        brake = Brake()
        dialing = _Dialing(settings, brake, connect, self.observer, words)
        hubs: weakref.ref[PerLoop[Hub]]
        self.hubs: PerLoop[Hub]
        self.pools: PerLoop[Pool[Connection]]
        self.pools = PerLoop(partial(_make_pool, settings, brake, dialing, words, lambda: hubs()))
        # A hub outlives its client for a while, and must not keep the pools; nor does a pool keep the hubs.
        self.hubs = PerLoop(partial(_make_hub, dialing, self.observer, weakref.ref(self.pools)))
        hubs = weakref.ref(self.hubs)

    def __repr__(self) -> str:
        if not hasattr(self, "settings"):  # its constructor failed
            return "Node(not made)"
        s = self.settings
        closed = ", closed" if self.closed else ""
        return f"Node({s.endpoint}, limit {s.limit}, concurrency {s.concurrency}{closed})"

    # --- Commands ----------------------------------------------------------------------------------------------------

    def send(self, pool: Pool[Connection], packed: Packed, terms: Terms, timeout: float | None) -> asyncio.Future[Any]:
        """Send a command to a connection with room, or to the first that gets room; return the future of its reply."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        decode = terms.decode

        def start(connection: Connection, rest: float | None) -> None:
            connection.send(packed, decode, rest, future)

        if pool.barrier is None or traits(unpack(packed)).read_only:
            pool.place(future, start, timeout)
        else:  # behind it there may be another pool
            pool.barrier.place(future, lambda rest: self.pools.here().place(future, start, rest), timeout)
        return future

    async def send_again(self, error: RedisError, packed: Packed, terms: Terms) -> Any:
        """Send a command that failed with `error` again; return its raw reply, or raise the error if that may harm."""

        def repeatable(error: RedisError) -> RedisError | None:
            facts = traits(unpack(packed))
            pool = self.pools.find(running_loop())
            if pool is not None:  # else the client was closed meanwhile
                from aioresp.contexts.suspicion import heed  # noqa: PLC0415 (after an error)

                heed(pool, error, facts)
            told(error, facts)
            return error if may_repeat(error, facts, terms.idempotent) else None

        async def attempt(rest: float | None) -> Any:
            future = self.send(self.pools.here(), packed, terms, rest)
            try:
                return await future
            finally:
                forsake(future)
                del future  # its error would hold this frame, by its traceback

        try:
            return await terms.attempts(error.deadline).run(attempt, repeatable, error)
        finally:
            del error  # the same

    async def block(self, traits: Traits, reply: Callable[[Any], T], terms: Terms) -> T:
        """Send a blocking command on a connection of its own, and send it again if it has not run.

        The middleware of `terms` is not called, because the caller has called it already.
        """
        borrowed = self.borrow(terms, traits.name)
        limit = traits.timeout
        until = running_loop().time() + max(limit, 0.0) if limit else None

        async def attempt(_: float | None) -> T:
            return await borrowed.block(traits, reply, until)

        def repeatable(error: RedisError) -> RedisError | None:
            told(error, traits)
            # A command that has waited on the server is not sent again, even if it only reads: "$" means another
            # entry then.
            return error if may_repeat(error, traits, terms.idempotent, reads=False) else None

        try:
            return await borrowed.block(traits, reply, until)
        except RedisError as error:
            failed = error
        try:
            return await terms.attempts(borrowed.last_start(until, failed)).run(attempt, repeatable, failed)
        finally:
            del failed  # whose traceback holds this frame

    async def read(self, call: Callable[[Node, Terms], Awaitable[T]], terms: Terms) -> T:
        """Call with the server that should serve a read, by `terms.read_from`, and the terms for it: this one."""
        return await call(self, terms.replace(read_from="primary"))

    def reader(self, terms: Terms) -> Node | None:
        """Return the server to ask first for a read, if that is known without a look; None calls for `read`."""
        return None

    def terms_of_read(self, terms: Terms) -> Terms:
        """Return the terms on which a first server is asked, while others could serve."""
        return terms.replace(read_from="primary")

    def could_not_read(self, reader: Node) -> None:
        """Note that a server has not served a read."""

    # --- Contexts ----------------------------------------------------------------------------------------------------

    def borrow(self, terms: Terms, why: str) -> Borrowed:
        """Return a context with a connection of its own, without a method for each command and without middleware."""
        from aioresp.contexts.borrowed import Borrowed  # noqa: PLC0415 (many programs need no connection of their own)

        return Borrowed(self.pools.here, terms.replace(middleware=()) if terms.middleware else terms, why)

    def lease(self, terms: Terms, why: str) -> Lease[Any]:
        """Return a context with a connection of its own; `why` names its holder in the errors of other callers."""
        from aioresp.contexts.lease import Lease  # noqa: PLC0415 (many programs need no connection of their own)

        return Lease(self.pools.here, terms, why)

    def route(self, terms: Terms) -> SharedRoute:
        """Return the route of pipelines over shared connections."""
        from aioresp.contexts.routes import SharedRoute  # noqa: PLC0415 (many programs have no pipelines)

        return SharedRoute(self.pools.here, terms)

    # --- The whole ---------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """Return the figures of this moment: their sum, and those of each loop in use."""
        total, loops = self.figures()
        return Stats(**vars(total), loops=tuple(loops.values()))

    def figures(self) -> Figures:
        """Return the sum of the figures since the start, and those of each loop in use."""
        return plus(self.pools.stats(), self.hubs.stats())

    @property
    def address(self) -> str:
        """Return the address of the server, without credentials."""
        return str(self.settings.endpoint)

    def remarks(self) -> list[str]:
        """Return what a `repr` tells of its place among other servers; nothing for one that stands alone."""
        return []

    @property
    def has_replicas(self) -> bool:
        """Whether a view may read from replicas: not those of one server."""
        return False

    @property
    def closed(self) -> bool:
        """Whether commands are refused, after `aclose` and until `reopen`."""
        return self.pools.closed

    def retire(self, error: Exception) -> None:
        """Leave the server that `connect` has found, in all loops: the next command calls `connect` again.

        Callers in line get ConnectionLost with the outcome "not sent", and their commands are sent again where the
        terms allow it. Replies under way arrive, and leases last until they are given back. Subscriptions stay.
        """
        self.pools.replace(lambda pool: pool.retire(error))

    def shut(self, *, here: bool = False) -> Closing:
        """Begin to close the pools and hubs of all loops, or with `here` those of the running loop."""
        return [(self.hubs, self.hubs.shut(0.0, here=here)), (self.pools, self.pools.shut(CLOSE_GRACE, here=here))]

    def reopen(self) -> None:
        """Take commands again."""
        self.pools.closed = self.hubs.closed = False


def plus(one: Figures, other: Figures) -> Figures:
    """Return the sums of two servers' figures."""
    loops = dict(one[1])
    for loop, figures in other[1].items():
        loops[loop] = loops.get(loop, PoolStats()) + figures
    return one[0] + other[0], loops


def stats_of(
    servers: Iterable[tuple[str | None, Figures]], roles: Mapping[str, NodeRole | None], past: PoolStats
) -> Stats:
    """Return the figures of several servers: each has its address, or None for one that counts in the sums alone.

    `past` has the figures of those that were forgotten.
    """
    total: Figures = (past, {})
    nodes: dict[str, Figures] = {}
    for address, figures in servers:
        total = plus(total, figures)
        if address is not None:
            nodes[address] = plus(nodes[address], figures) if address in nodes else figures
    each = {
        address: NodeStats(**vars(own), loops=tuple(loops.values()), role=roles.get(address))
        for address, (own, loops) in nodes.items()
    }
    return ServersStats(**vars(total[0]), loops=tuple(total[1].values()), servers=each)


# --- How a node is made -----------------------------------------------------------------------------------------------


class _Dialing:
    """Function that connects, and the patience with its failures: the same for all pools and hubs of a node."""

    def __init__(
        self,
        settings: Settings,
        brake: Brake,
        choose: Callable[[Dial], Awaitable[Connection]] | None,
        observer: Observer | None,
        words: Words,
    ) -> None:
        dial = partial(
            connect,
            brake=brake,
            words=words,
            concurrency=settings.concurrency,
            timeout=settings.connect_timeout,
            max_reply=settings.max_reply,
        )
        self.make: Callable[[], Awaitable[Connection]]
        self.make = partial(dial, settings.endpoint) if choose is None else partial(choose, dial)
        self.patience: Callable[[BaseException, int], float | None]
        self.patience = (settings.retry or NEVER).pause_of_connecting
        if observer is not None:
            self.make, self.patience = observer.connecting(self.make), observer.failing(self.patience)


def _make_pool(
    settings: Settings,
    brake: Brake,
    dialing: _Dialing,
    words: Words,
    hubs: Callable[[], PerLoop[Hub] | None],
    loop: asyncio.AbstractEventLoop,
) -> Pool[Connection]:
    def on_new(connection: Connection, error: Exception) -> bool:
        """Tell the hubs that commands go to another server by now; return whether this loop's hub follows."""
        known = hubs()
        if known is None:
            return True
        here = known.find(loop)
        known.tell(lambda hub: hub is not here and hub.follow(connection, error))
        return here is not None and here.follow(connection, error)

    return Pool(
        dialing.make,
        limit=settings.limit,
        concurrency=settings.concurrency,
        idle_timeout=settings.idle_timeout,
        max_age=settings.max_age,
        loop=loop,
        restore=partial(
            restore, endpoint=settings.endpoint, brake=brake, timeout=settings.connect_timeout, words=words
        ),
        patience=dialing.patience,
        sever=Connection.sever,
        on_new=on_new,
    )


def _make_hub(
    dialing: _Dialing,
    observer: Observer | None,
    pools: weakref.ref[PerLoop[Pool[Connection]]],
    loop: asyncio.AbstractEventLoop,
) -> Hub:
    from aioresp.pubsub.hub import Hub  # noqa: PLC0415 (many programs have no subscriptions)

    def spare() -> Connection | None:
        known = pools()
        pool = None if known is None else known.find(loop)
        return None if pool is None else pool.part_with()

    return Hub(dialing.make, loop, dialing.patience, None if observer is None else observer.dropping, spare)


def terms_of(settings: Settings, observer: Observer | None) -> Terms:
    """Return the terms of calls by the options of a client."""
    return Terms(
        timeout=settings.timeout,
        retry=settings.retry or NEVER,
        middleware=_around(settings, observer),
        on_lost=settings.on_lost,
        read_from=settings.read_from,
        observer=observer,
    )


def observing(settings: Settings) -> Observer | None:
    """Return the observer that tells the `events` hook, if there is one."""
    if settings.events is None:
        return None
    from aioresp.observer import Observer  # noqa: PLC0415 (many programs have no hook)

    return Observer(settings.events, str(settings.endpoint), settings.slow_after)


def _around(settings: Settings, observer: Observer | None) -> tuple[Middleware, ...]:
    """Return the middleware of each command: the user's, and outside it the timing of slow calls."""
    own = () if settings.middleware is None else (settings.middleware,)
    return own if observer is None else (*own, observer.timing)
