"""A connection of one's own: what was changed on it is undone, or the connection dropped, before anyone else gets it.

Owns the leased connection from entering to leaving. Never gives one back that owes a reply.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from aioresp.arguments import exact
from aioresp.command import (
    CHANGES,
    PLAIN,
    SHUTDOWN,
    AnyStr,
    Arguments,
    Result,
    Value,
    locate,
    words,
)
from aioresp.commands import Commands
from aioresp.contexts.blocking import GRACE, Blocking, OnLost
from aioresp.contexts.iterators import Iterators
from aioresp.contexts.large import Replies, send
from aioresp.contexts.pipeline import Pipeline
from aioresp.contexts.scripts import Scripts
from aioresp.errors import (
    ERROR_TYPES,
    CommandRefused,
    CommandTimeout,
    ConnectionLost,
    ExecAbortError,
    ProtocolError,
    RedisError,
    about,
)
from aioresp.facts.traits import Traits, traits
from aioresp.middleware import PIPELINE, TRANSACTION, Middleware, through, within
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.replies import as_is
from aioresp.replies.shapes import failure
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack

logger = logging.getLogger("aioresp")

T = TypeVar("T")

#: Seconds after which a wait for a connection that has no end is worth a word.
LONG: Final = 10.0

#: Seconds of a command's time limit that may have passed without the server being given less of it.
SLACK: Final = 0.01

#: Seconds that the server gets at least: less might become 0 there, which means forever.
LEAST: Final = 0.01

# What the server says between MULTI and EXEC, whatever the command.
_QUEUED: Final = ("QUEUED", b"QUEUED")

# After these, AUTH would be queued, or undo what the lease's owner wanted.
_NO_AUTH: Final = frozenset(("MULTI", "AUTH", "HELLO", "RESET"))


class Lease(Commands[AnyStr], Iterators[AnyStr], Scripts[AnyStr], Generic[AnyStr]):
    """All commands on one connection that nobody else uses meanwhile.

    Also those that change a connection or refer to what was sent on it before: SELECT, WATCH, WAIT, CLIENT TRACKING, ….
    """

    def __init__(
        self,
        pool: Callable[[], Pool[Connection]],
        decode: bool,
        timeout: float | None,
        why: str,
        on_lost: OnLost | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self._find_pool = pool
        self._decode = decode
        self._timeout = timeout
        self._why = why
        self.on_lost = on_lost
        self._pool: Pool[Connection] | None = None
        self._connection: Connection | None = None
        self._changed: set[str] = set()
        self._blocking: Blocking | None = None
        self._until: float | None = None  # of the one command of `block`
        self.middleware = middleware
        if middleware:
            self.__dict__["execute"] = through(middleware, self._execute)

    def __repr__(self) -> str:
        if not hasattr(self, "_connection"):  # its constructor failed
            return "Lease(not made)"
        return f"Lease({self._connection!r})"

    async def __aenter__(self) -> Lease[AnyStr]:
        if self._connection is not None:
            raise RuntimeError("the lease was entered already")
        await self._enter(self._timeout)
        return self

    async def _enter(self, patience: float | None) -> None:
        pool = self._find_pool()
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        holder = self._why if task is None else f"{self._why} in {task.get_name()}"
        self._connection = await pool.lease(holder, None if patience is None else loop.time() + patience)
        self._pool = pool
        self._changed = set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        """Give the connection back: now, or as soon as the blocking command on it has come to its end."""
        connection, self._connection = self._connection, None
        pool, self._pool = self._pool, None
        blocking, self._blocking = self._blocking, None
        assert connection is not None
        assert pool is not None
        changed = self._changed

        def give_back(clean: asyncio.Future[bool] | None = None) -> None:
            if (clean is not None and not clean.result()) or not all(CHANGES[name] for name in changed):
                pool.discard(connection)
            else:
                # RESET stands behind the replies that nobody waits for any more.
                old = connection.renewal is not None and connection.renewal.waits
                pool.give_back(connection, changed=bool(changed or connection.in_flight or old))

        if blocking is None or blocking.done.done():
            give_back(None if blocking is None else blocking.done)
        else:
            blocking.done.add_done_callback(give_back)

    async def _execute(self, arguments: Arguments, reply: Callable[[Any], T], known: Traits | None = None) -> T:
        if known is None:
            if type(arguments[0]) is not str or arguments[0] not in PLAIN:  # other classes may have any hash
                arguments = exact(arguments)
            known = traits(arguments)
        name = known.name
        packed = pack(arguments)  # now, as what is in a buffer may change while this waits
        limit = known.timeout
        until = self._until or _end(limit)
        try:
            connection = await self._usable(until)
            if known.forbidden:
                raise CommandRefused(f"aioresp does not send this command: {known.refusal}")
            if known.changes:
                self._changed.add(name)
            if limit is not None:
                return await self._block(connection, known, reply, limit, until)
            if name == SHUTDOWN:
                value = await self._shut_down(connection, packed)
            else:
                decode = self._decode and not known.binary
                value = await connection.send(packed, decode, self._timeout)
        except RedisError as error:
            if name == "EXEC" and isinstance(error, ExecAbortError):  # a script can say the same
                self._changed -= {"MULTI", "WATCH"}
            about(error, *locate(known))
            raise
        if name in ("EXEC", "DISCARD"):
            self._changed -= {"MULTI", "WATCH"}
        elif name == "UNWATCH" and "MULTI" not in self._changed:
            self._changed.discard("WATCH")
        if "MULTI" in self._changed and value in _QUEUED:
            return value  # type: ignore[no-any-return]  # its reply is a part of the one to EXEC
        try:
            return reply(value)
        except Exception as error:
            wrong = failure(error, value, arguments)
        try:
            raise wrong
        finally:
            del wrong  # it holds this frame by its traceback

    async def _usable(self, until: float | None = None) -> Connection:
        """Return the connection once it can be used."""
        if self._blocking is not None and not self._blocking.done.done():
            await self._wait_for(self._blocking, until)
        if self._connection is None:
            raise RuntimeError("the lease is not entered, or was left")
        renewal = self._connection.renewal
        if renewal is not None and renewal.waits and self._changed.isdisjoint(_NO_AUTH):
            renewal.send()
        return self._connection

    async def _block(
        self,
        connection: Connection,
        traits: Traits,
        reply: Callable[[Any], T],
        limit: float,
        until: float | None,
    ) -> T:
        assert self._pool is not None
        private = bool(self._changed)
        if until is not None:
            left = until - asyncio.get_running_loop().time()
            if left < limit - SLACK:
                traits = traits.with_timeout(max(left, LEAST))
        self._blocking = Blocking(self._pool, connection, traits, self._decode, self.on_lost, private, until)
        return await self._blocking.result(reply)

    async def _shut_down(self, connection: Connection, packed: Packed) -> Any:
        """Return None when the server has closed the connection, or else what it says."""
        # Lest the end of a connection that was dead already look like that of the server.
        await connection.send(pack(("PING",)), False, self._timeout)
        try:
            return await connection.send(packed, self._decode, self._timeout)
        except ConnectionLost as lost:
            if isinstance(lost, ProtocolError) or lost.outcome == "not sent":
                raise
            return None

    async def _wait_for(self, blocking: Blocking, until: float | None) -> None:
        """Wait until a blocking command has come to its end whose caller has gone."""
        if not blocking.left:
            raise CommandRefused("another task is in a blocking command on this connection")
        patience = math.inf if self._timeout is None else self._timeout
        if until is not None:
            patience = min(patience, max(until + GRACE - asyncio.get_running_loop().time(), 0.0))
        await asyncio.wait([blocking.done], timeout=None if patience == math.inf else patience)
        if not blocking.done.done():
            raise CommandTimeout(f"a cancelled blocking command has not ended in {patience:.3g} s")
        if not blocking.done.result() and self._connection is not None:
            self._connection.close()

    if TYPE_CHECKING:

        def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
            """Send the command on the leased connection."""
            ...
    else:
        execute = _execute

    def call(self, *arguments: Value) -> Result[Any]:
        """Send any command on the leased connection and return its reply as the server gave it."""
        return self.execute(words(arguments), as_is)

    def _place(self) -> tuple[object, int] | None:
        if "MULTI" in self._changed:
            return None
        return (self, 0) if self._pool is None else (self._pool, self._pool.made)

    # --- Many commands at once ---------------------------------------------------------------------------------------

    def pipeline(self, transaction: bool = False) -> Pipeline[AnyStr]:
        """Return a context that queues commands and sends them in one on this connection; see `Client.pipeline`.

        It takes commands with connection state, too. What it watches is watched on this connection.
        """
        return Pipeline(LeaseRoute(self, self._timeout, own=False), self._decode, transaction)

    async def carry(
        self, commands: list[Packed], decode: bool, whole: bool, timeout: float | None, *, mixed: bool = True
    ) -> Replies:
        """Send a batch and return the raw replies; if `whole`, it is a transaction, from MULTI to EXEC.

        `mixed` tells that others may send on this connection meanwhile, who must not come in between then.
        """
        connection = await self._usable()
        if whole:
            self._changed.add("MULTI")
        replies = await send(connection, commands, decode, timeout, in_one=whole and mixed)
        if whole and (replies.raw[-1].__class__ not in ERROR_TYPES or isinstance(replies.raw[-1], ExecAbortError)):
            self._changed -= {"MULTI", "WATCH"}
        return replies

    @property
    def watching(self) -> bool:
        """Whether keys are watched, and no transaction is begun."""
        return "WATCH" in self._changed and "MULTI" not in self._changed

    def note(self, changes: set[str]) -> None:
        """Note commands of a batch that change the connection: they are undone at the end."""
        self._changed |= changes

    def unwatch(self, *, leave: bool = False) -> None:
        """Watch nothing any more; with `leave`, give the connection back as soon as the server has said so."""
        connection = self._connection
        if self._changed == {"WATCH"} and connection is not None and connection.viable:
            self._changed.clear()
            reply = connection.send(pack(("UNWATCH",)), True, self._timeout)
            reply.add_done_callback(partial(self._unwatched, leave))
        elif leave and connection is not None:
            self._leave()

    def _unwatched(self, leave: bool, reply: asyncio.Future[Any]) -> None:
        if reply.cancelled() or reply.exception() is not None:
            self._changed.add("WATCH")
        if leave:
            self._leave()

    # --- One blocking command, and nothing else -----------------------------------------------------------------------

    async def block(self, traits: Traits, reply: Callable[[Any], T], until: float | None) -> T:
        """Take a connection for this command alone, and give it back.

        What came before is a part of the command's own time limit, which ends at `until` (loop time): the server gets
        what is left of it.
        """
        loop = running_loop()
        remark = None if until is not None else loop.call_later(self._timeout or LONG, self._remark)
        try:
            await self._enter(None if until is None else until + GRACE - loop.time())
        finally:
            if remark is not None:
                remark.cancel()
        self._until = until
        try:
            return await self._execute(tuple(traits.arguments), reply, traits)
        finally:
            self._leave()

    def _remark(self) -> None:
        """Say that a wait without an end has become long, lest it look like an empty queue."""
        pool = self._find_pool()
        logger.warning(
            "%s has waited %.3g s for a connection of its own, and goes on: %s; a higher `limit` would let it begin",
            self._why,
            self._timeout or LONG,
            pool.describe(),
        )


def end_of_wait(traits: Traits) -> float | None:
    """Return when (loop time) the time limit of a blocking command that is called now ends; None if never."""
    return _end(traits.timeout)


def _end(limit: float | None) -> float | None:
    return running_loop().time() + max(limit, 0.0) if limit else None


class LeaseRoute:
    """The way of a pipeline over a leased connection; if `own`, it is the pipeline's alone."""

    shared = False

    def __init__(self, lease: Lease[Any], timeout: float | None, own: bool) -> None:
        self.execute = lease.execute
        self.note = lease.note
        self.find_pool = lease._find_pool
        self.on_lost = lease.on_lost
        self._lease = lease
        self._timeout = timeout
        self._own = own

    @property
    def watching(self) -> bool:
        """Whether keys are watched on the connection, and no transaction is begun."""
        return self._lease.watching

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands, and never a second time."""
        send = partial(self._lease.carry, commands, decode, whole, self._timeout)
        return await within(self._lease.middleware, TRANSACTION if whole else PIPELINE, send)

    async def private(self) -> LeaseRoute:
        """Return this one: nobody else uses it."""
        return self

    def release(self) -> None:
        """Watch nothing any more."""
        self._lease.unwatch(leave=self._own)
