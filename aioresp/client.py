"""`Client`: the one object that is made once and used from every task, loop and thread.

Owns the options and the pools of all loops, and decides for each command how it travels. Contains no command, parses
no bytes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, Unpack, overload

from aioresp.arguments import exact, word
from aioresp.command import (
    PLAIN,
    SHUTDOWN,
    SPECIAL,
    AnyStr,
    Arguments,
    Key,
    Result,
    Value,
    blocking_timeout,
    full_name,
    is_binary,
    locate,
    refusal,
    words,
)
from aioresp.commands import Commands
from aioresp.contexts.iterators import Iterators
from aioresp.contexts.scripts import Scripts
from aioresp.errors import CommandRefused, ConnectionLost, RedisError
from aioresp.middleware import through
from aioresp.options import Options, Settings, check, settings
from aioresp.pool.loops import PerLoop, running_loop
from aioresp.pool.pool import Pool
from aioresp.pool.queue import forsake
from aioresp.pool.resource import PoolStats
from aioresp.pubsub.methods import Subscribing
from aioresp.record import TypedDict
from aioresp.replies import as_is, integer, ok, text
from aioresp.replies.shapes import failure
from aioresp.retry import NEVER, Retry, may_repeat
from aioresp.streams.methods import Readers
from aioresp.wire.brake import Brake
from aioresp.wire.connection import Connection
from aioresp.wire.handshake import connect, restore
from aioresp.wire.packing import Packed, pack, unpack

if TYPE_CHECKING:
    from aioresp.contexts.borrowed import Borrowed
    from aioresp.contexts.lease import Lease
    from aioresp.contexts.pipeline import Pipeline
    from aioresp.observer import Observer
    from aioresp.pubsub.hub import Hub
    from aioresp.streams.reader import Source

T = TypeVar("T")

logger = logging.getLogger("aioresp")

#: Seconds that replies under way have to arrive when a client is closed.
CLOSE_GRACE: Final = 1.0

#: Attempts at a transaction if nobody says otherwise: with the pauses between, a second or so on the average.
ATTEMPTS: Final = 20


class Stats(PoolStats):
    """The figures of a client: of all its loops in sum, since the start where they count."""

    loops: tuple[PoolStats, ...] = ()
    """The figures of each loop in which the client is in use."""


class View(TypedDict, total=False):
    """What a view on a client may have otherwise."""

    timeout: float | None
    retry: Retry | None
    idempotent: bool


class Client(
    Commands[AnyStr], Iterators[AnyStr], Scripts[AnyStr], Readers[AnyStr], Subscribing[AnyStr], Generic[AnyStr]
):
    """A client of one server, for any number of tasks, event loops and threads, and for forked children.

    It connects at first use, keeps one pool of connections for each event loop, and closes it with the loop.

    Args:
        url: redis://, rediss://, valkey://, valkeys:// or unix://, with user, password, database and options.
        decode_responses: whether replies are str (UTF-8) or bytes.
        options: override the URL. `limit`: connections a loop at most; `concurrency`: commands under way on one
            connection before another is opened, 1 for the classic pool; `timeout`: seconds that a call may take, with
            the wait for a connection (None: for ever); `connect_timeout`: seconds to connect; `idle_timeout`: seconds
            after which an unused connection is closed; `retry`: how often and how fast what failed, and has not run or
            only reads, is tried again within `timeout` (None: never); `protocol`: 3, or 2 to avoid RESP3;
            `on_lost`: called with what a cancelled blocking pop took and could not put back, or may not have.

    Raises ValueError or TypeError that names the option for one that is unknown or does not fit.
    """

    @overload
    def __init__(
        self: Client[str], url: str | None = None, *, decode_responses: Literal[True] = True, **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(
        self: Client[bytes], url: str | None = None, *, decode_responses: Literal[False], **options: Unpack[Options]
    ) -> None: ...
    def __init__(self, url: str | None = None, *, decode_responses: bool = True, **options: Unpack[Options]) -> None:
        check("decode_responses", decode_responses)
        self._settings: Settings = settings(url, options)
        brake = Brake()
        self._loops: PerLoop[Pool[Connection]] = PerLoop(partial(_make_pool, self._settings, brake))
        self._hubs: PerLoop[Hub] = PerLoop(partial(_make_hub, self._settings, brake))
        self._hub = self._hubs.here
        self._db = self._settings.endpoint.db
        self._decode = decode_responses
        self._timeout = self._settings.timeout
        self._retry = self._settings.retry or NEVER
        self._idempotent = False
        self._observer = _observing(self._settings)
        self._observe()

    def _observe(self) -> None:
        """Have commands go through `middleware` and the watch, if there are such; else nothing is in their way."""
        self._middleware = middleware = [] if self._settings.middleware is None else [self._settings.middleware]
        if self._observer is not None:
            middleware.append(self._observer.timing)
        if middleware:
            self.__dict__["execute"] = through(middleware, self._execute)

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[True] = True, **options: Unpack[Options]
    ) -> Client[str]: ...
    @overload
    @classmethod
    def from_url(cls, url: str, *, decode_responses: Literal[False], **options: Unpack[Options]) -> Client[bytes]: ...
    @classmethod
    def from_url(cls, url: str, *, decode_responses: bool = True, **options: Unpack[Options]) -> Client[Any]:
        """Return a client for `url`; the same as `Client(url, ...)`."""
        make: Any = cls
        client: Client[Any] = make(url, decode_responses=decode_responses, **options)
        return client

    def __repr__(self) -> str:
        if not hasattr(self, "_settings"):  # its constructor failed
            return "Client(not made)"
        s = self._settings
        kind = "" if self._decode else ", bytes"
        return f"Client({s.endpoint}, limit {s.limit}, concurrency {s.concurrency}{kind})"

    async def __aenter__(self) -> Client[AnyStr]:
        self._loops.closed = self._hubs.closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pools of all loops, each in its own loop; replies under way have a second to arrive.

        Commands raise ClientClosed from now on; `async with` opens the client again.
        """
        hubs, pools = self._hubs.shut(0.0), self._loops.shut(CLOSE_GRACE)
        await self._hubs.ended(hubs)
        await self._loops.ended(pools)

    # --- Commands ----------------------------------------------------------------------------------------------------

    async def _execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        if type(name := arguments[0]) is not str or name not in PLAIN:  # other classes may have any hash
            arguments = exact(arguments)
            name = word(arguments[0])
            if name in SPECIAL:
                if (limit := self._time_limit(arguments)) is not None:
                    return await self._execute_alone(name, arguments, reply, limit)
                if name == SHUTDOWN:
                    async with self._borrowed(SHUTDOWN) as own:  # it may wait for replicas: nothing gets past it there
                        return await own.execute(arguments, reply)
                if self._decode and is_binary(arguments):
                    return await self.with_options(decode_responses=False).execute(arguments, reply)
        packed = pack(arguments)
        # Let go of now: tens of thousands of calls under way would make the garbage collector go through them all.
        del arguments
        try:
            pool = self._loops.here()
            connection = pool.current
            value: Any
            if connection.in_flight < connection.capacity:
                value = await connection.send(packed, self._decode, self._timeout)
            else:
                future = self._send_elsewhere(pool, packed, self._timeout)
                try:
                    value = await future
                except BaseException:
                    forsake(future)
                    raise
        except RedisError as error:
            value = await self._try_again(error, packed)
        # Most replies are what they should be already: the call is spared.
        kind = type(value)
        if reply is text:
            if kind is str or kind is bytes or value is None:
                return value  # type: ignore[no-any-return]  # what the converter would return
        elif reply is integer:
            if kind is int:
                return value  # type: ignore[no-any-return]  # the same
        elif reply is ok:
            if kind is str:
                return True  # type: ignore[return-value]  # the same
        elif reply is as_is:
            return value  # type: ignore[no-any-return]  # the same
        try:
            return reply(value)
        except Exception as error:
            wrong = failure(error, value, unpack(packed))
        try:
            raise wrong
        finally:
            del wrong  # it holds this frame by its traceback

    async def _execute_alone(self, name: str, arguments: Arguments, reply: Callable[[Any], T], limit: float) -> T:
        """Send a blocking command, which the server may hold back for `limit` seconds, on a connection of its own."""
        borrowed = self._borrowed(name)
        until = running_loop().time() + max(limit, 0.0) if limit else None
        failures = 0
        while True:
            try:
                return await borrowed.block(arguments, reply, limit, until)
            except RedisError as error:
                error.command, error.key = locate(arguments)
                failures += 1
                # What has waited on the server is not sent again, even if it only reads: "$" means another entry then.
                again = may_repeat(error, arguments, self._idempotent, reads=False)
                pause = self._retry.pause(failures) if again else None
                if pause is None or asyncio.get_running_loop().time() + pause >= (until or math.inf):
                    raise
                logger.debug("%s is sent again, as it failed: %s", error.command, error)
                if self._observer is not None:
                    self._observer.repeating(error, failures)
                await asyncio.sleep(pause)

    if TYPE_CHECKING:
        # A coroutine function in truth. Declared as what its callers may rely on, pipelines included: see `Result`.
        def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
            """Send the command; its raw reply becomes the result by way of `reply`."""
            ...
    else:
        execute = _execute

    async def _try_again(self, error: RedisError, packed: Packed) -> Any:
        """Send a command that failed again, as often as that can do no harm and there is time; else raise `error`."""
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            failures += 1
            arguments = unpack(packed)
            error.command, error.key = locate(arguments)
            if not may_repeat(error, arguments, self._idempotent):
                raise error
            pause = self._retry.pause(failures)
            if pause is None or clock() + pause >= error.deadline:
                raise error
            if failures > 1 or not isinstance(error, ConnectionLost):
                await asyncio.sleep(pause)  # else the pool is the one to wait, until it has a new connection
            logger.debug("%s is sent again, as it failed: %s", error.command, error)
            if self._observer is not None:
                self._observer.repeating(error, failures)
            rest = None if error.deadline == math.inf else error.deadline - clock()
            if rest is not None and rest <= 0:
                raise error
            future: asyncio.Future[Any] | None = None
            try:
                future = self._send_elsewhere(self._loops.here(), packed, rest)
                return await future
            except RedisError as again:
                error = again
            finally:
                forsake(future)

    def _send_elsewhere(self, pool: Pool[Connection], packed: Packed, timeout: float | None) -> asyncio.Future[Any]:
        """Return the future of the reply: the command goes to another connection, or to the first that has room."""
        connection = pool.share()
        if connection is not None:
            return connection.send(packed, self._decode, timeout)
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        since = loop.time()

        def start(connection: Connection) -> None:
            waited = loop.time() - since
            # A short wait is not counted: callers who waited together then share one deadline, and one timer.
            rest = timeout if timeout is None or waited < timeout / 100 else max(timeout - waited, 0.0)
            connection.send(packed, self._decode, rest, future)

        pool.wait(future, start, None if timeout is None else since + timeout)
        return future

    @staticmethod
    def _time_limit(arguments: Arguments) -> float | None:
        why = refusal(arguments)
        if why is not None:
            error = CommandRefused(f"a client does not send this command: {why}")
            error.command = full_name(arguments)
            raise error
        return blocking_timeout(arguments)

    def call(self, *arguments: Value, idempotent: bool = False) -> Result[Any]:
        """Send any command and return its reply as the server gave it: `await r.call("OBJECT", "ENCODING", "k")`.

        A first argument of several words is split at white space, without regard to quotes; all else is sent as given.
        The shape follows the protocol in use; typed methods are the same under both. `idempotent` tells that to run
        the command twice does no harm, so that it is sent again if the connection was lost before the reply.
        """
        client = self.with_options(idempotent=True) if idempotent else self
        return client.execute(words(arguments), as_is)

    # --- Views and contexts ------------------------------------------------------------------------------------------

    @overload
    def with_options(self, **options: Unpack[View]) -> Client[AnyStr]: ...
    @overload
    def with_options(self, *, decode_responses: Literal[True], **options: Unpack[View]) -> Client[str]: ...
    @overload
    def with_options(self, *, decode_responses: Literal[False], **options: Unpack[View]) -> Client[bytes]: ...
    @overload
    def with_options(self, *, decode_responses: bool, **options: Unpack[View]) -> Client[str] | Client[bytes]: ...
    def with_options(self, **options: Any) -> Client[Any]:
        """Return a view on the same pools with another decoding, deadline or retries; closing one closes both.

        `idempotent=True` says of all commands of the view that to run them twice does no harm: they are sent again
        also if the connection was lost before the reply.
        """
        for name, value in options.items():
            if name not in ("decode_responses", "timeout", "retry", "idempotent"):
                raise TypeError(f"with_options() takes decode_responses, timeout, retry and idempotent, not {name!r}")
            check(name, value)
        view: Client[Any] = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._decode = options.get("decode_responses", self._decode)
        view._retry = options.get("retry", self._retry) or NEVER
        view._idempotent = options.get("idempotent", self._idempotent)
        view._timeout = options.get("timeout", self._timeout)
        view._observe()
        return view

    def _place(self) -> tuple[object, int]:
        pool = self._loops.here()
        return pool, pool.made

    def connection(self) -> Lease[AnyStr]:
        """Return a context with one connection of its own, for commands that change it or refer to it."""
        from aioresp.contexts.lease import Lease  # noqa: PLC0415 (many programs need no connection of their own)

        return Lease(
            self._loops.here, self._decode, self._timeout, "connection()", self._settings.on_lost, self._middleware
        )

    def _borrowed(self, why: str) -> Borrowed:
        from aioresp.contexts.borrowed import Borrowed  # noqa: PLC0415 (many programs need no connection of their own)

        return Borrowed(self._loops.here, self._decode, self._timeout, why, self._settings.on_lost)

    def pipeline(self, transaction: bool = False) -> Pipeline[AnyStr]:
        """Return a context that queues commands and sends them in one; with `transaction`, between MULTI and EXEC.

        Each method returns a handle, which awaits to its own value after the block, or after `await p.execute()`.
        """
        from aioresp.contexts.pipeline import Pipeline  # noqa: PLC0415
        from aioresp.contexts.routes import SharedRoute  # noqa: PLC0415 (many programs have no pipelines)

        route = SharedRoute(
            self._loops.here,
            self._decode,
            self._timeout,
            self._retry,
            self._idempotent,
            self._settings.on_lost,
            self._middleware,
            None if self._observer is None else self._observer.repeating,
        )
        return Pipeline(route, self._decode, transaction)

    @overload
    async def transaction(
        self,
        func: Callable[[Pipeline[AnyStr]], object],
        *watches: Key,
        attempts: int = ...,
        value_from_callable: Literal[False] = False,
    ) -> list[Any]: ...
    @overload
    async def transaction(
        self,
        func: Callable[[Pipeline[AnyStr]], Awaitable[T]],
        *watches: Key,
        attempts: int = ...,
        value_from_callable: Literal[True],
    ) -> T: ...
    @overload
    async def transaction(
        self,
        func: Callable[[Pipeline[AnyStr]], T],
        *watches: Key,
        attempts: int = ...,
        value_from_callable: Literal[True],
    ) -> T: ...
    async def transaction(
        self,
        func: Callable[[Pipeline[AnyStr]], Any],
        *watches: Key,
        attempts: int = ATTEMPTS,
        value_from_callable: bool = False,
    ) -> Any:
        """Watch keys, let `func` read them and queue commands, execute these, and do all again if a key was changed.

        `func` gets a pipeline: what it sends before `p.multi()` is answered at once, what comes then is queued. Without
        `watches` all is queued. Returns the values of the queued commands, or with `value_from_callable` what `func`
        returns. Raises WatchError after so many `attempts`, with short pauses between.
        """
        from aioresp.contexts.optimistic import attempt  # noqa: PLC0415 (many programs have none)

        async with self.pipeline(transaction=True) as pipeline:
            found, values = await attempt(pipeline, func, watches, attempts)
        return found if value_from_callable else values

    def _source(self) -> Source:
        from aioresp.streams.reader import Source  # noqa: PLC0415 (many programs read no streams)

        raw = self.with_options(decode_responses=False, idempotent=False)
        return Source(raw, raw.with_options(idempotent=True), self._decode, self._retry)

    def stats(self) -> Stats:
        """Return the figures of this moment: in sum, and for each loop in use."""
        total, loops = self._loops.stats()
        of_hubs, hubs = self._hubs.stats()
        for loop, figures in hubs.items():
            loops[loop] = loops.get(loop, PoolStats()) + figures
        return Stats(**vars(total + of_hubs), loops=tuple(loops.values()))


def _make_pool(settings: Settings, brake: Brake, loop: asyncio.AbstractEventLoop) -> Pool[Connection]:
    make, patience = _connecting(settings, brake)
    return Pool(
        make,
        limit=settings.limit,
        concurrency=settings.concurrency,
        idle_timeout=settings.idle_timeout,
        loop=loop,
        restore=partial(restore, endpoint=settings.endpoint, brake=brake, timeout=settings.connect_timeout),
        patience=patience,
        sever=Connection.sever,
    )


def _make_hub(settings: Settings, brake: Brake, loop: asyncio.AbstractEventLoop) -> Hub:
    from aioresp.pubsub.hub import Hub  # noqa: PLC0415 (many programs have no subscriptions)

    make, patience = _connecting(settings, brake)
    watch = _observing(settings)
    return Hub(make, loop, patience, None if watch is None else watch.dropping)


def _connecting(
    settings: Settings, brake: Brake
) -> tuple[Callable[[], Awaitable[Connection]], Callable[[BaseException, int], float | None]]:
    """Return what makes a connection, and what tells after how long a failure to do so is tried again."""
    make = partial(
        connect,
        settings.endpoint,
        brake,
        concurrency=settings.concurrency,
        timeout=settings.connect_timeout,
        max_reply=settings.max_reply,
    )
    patience = (settings.retry or NEVER).pause_of_connecting
    watch = _observing(settings)
    return (make, patience) if watch is None else (watch.connecting(make), watch.failing(patience))


def _observing(settings: Settings) -> Observer | None:
    """Return what tells the `events` hook, if there is one."""
    if settings.events is None:
        return None
    from aioresp.observer import Observer  # noqa: PLC0415 (many programs have no hook)

    return Observer(settings.events, str(settings.endpoint), settings.slow_after)
