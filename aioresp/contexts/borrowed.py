"""Bare borrowed connection: borrow it, send on it, give it back.

Owns the connection from borrowing to giving back, and the list of changes to it. They are undone before the next use of
the connection, or it is dropped. Never leaves an unread reply to the next user.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from aioresp.arguments import exact
from aioresp.command import PLAIN, SHUTDOWN, Arguments, Called, Result, told
from aioresp.contexts.blocking import GRACE, Blocking
from aioresp.contexts.large import Replies, send
from aioresp.contexts.suspicion import heed
from aioresp.errors import (
    ERROR_TYPES,
    CommandRefused,
    CommandTimeout,
    ConnectionLost,
    ExecAbortError,
    ProtocolError,
    RedisError,
)
from aioresp.facts.catalogue import CHANGES
from aioresp.facts.traits import LEAST, Traits, traits
from aioresp.middleware import within
from aioresp.misuse import Entered
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.replies import escaping
from aioresp.replies.shapes import failure
from aioresp.timers import wait
from aioresp.wire.connection import Connection
from aioresp.wire.handshake import ignore
from aioresp.wire.packing import Packed, pack

logger = logging.getLogger("aioresp")

T = TypeVar("T")

#: Seconds after which an unbounded wait for a connection is logged.
LONG: Final = 10.0

#: Seconds of a time limit that may pass before the command is sent with a shorter one.
SLACK: Final = 0.01

# The server's answer between MULTI and EXEC, whatever the command.
_QUEUED: Final = ("QUEUED", b"QUEUED")

# Commands after which AUTH would be queued, or would undo a login of the lease's owner.
_NO_AUTH: Final = frozenset(("MULTI", "AUTH", "HELLO", "RESET"))


class Borrowed(Entered):
    """A connection for exclusive use, without a method for each command."""

    _instead = "borrow one where it is used, with `connection()` of that process's client"
    _entering = "async with r.connection() as c:"

    def __init__(
        self,
        find_pool: Callable[[], Pool[Connection]],
        terms: Terms,
        why: str,
    ) -> None:
        self.find_pool = find_pool
        self.terms = terms
        self._decode = terms.decode
        self._timeout = terms.timeout
        self._why = why
        self._pool: Pool[Connection] | None = None
        self._connection: Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # the one in which the connection was borrowed
        #: Names of the commands that have changed the connection, without those that were undone since.
        self._changed: set[str] = set()
        #: The last blocking command, whose end the next command waits for.
        self._blocking: Blocking | None = None

    def __repr__(self) -> str:
        if not hasattr(self, "_blocking"):  # its constructor failed
            return f"{type(self).__name__}(not made)"
        if self._connection is None:
            said = ["not entered" if self._loop is None else "left"]
        else:
            said = [repr(self._connection)]
        if self._changed:
            said.append(f"changed by {' and '.join(sorted(self._changed))}")
        if not self._decode:
            said.append("bytes")
        return f"{type(self).__name__}({', '.join(said)})"

    async def __aenter__(self) -> Self:
        if self._connection is not None:
            raise RuntimeError("the lease was entered already")
        await self.borrow(None if self._timeout is None else running_loop().time() + self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.give_back()

    async def borrow(self, deadline: float | None, *, writes: bool = False) -> Connection:
        """Take a connection from the pool, once it may write if it `writes`. Raises PoolTimeout at `deadline`."""
        task = asyncio.current_task()
        holder = self._why if task is None else f"{self._why} in {task.get_name()}"
        while True:
            pool = self.find_pool()
            if writes and pool.barrier is not None and pool.barrier.closed:
                await pool.barrier.passed(None if deadline is None else max(deadline - running_loop().time(), LEAST))
                continue  # behind it there may be another pool
            try:
                connection = await pool.lease(holder, deadline)
            except ConnectionLost:
                if not pool.retired or self.terms.retry.attempts == 1 or self.find_pool() is pool:
                    raise  # else another pool has taken its place, and nothing was sent
                continue
            if not writes or pool.barrier is None or not pool.barrier.closed:
                break
            pool.give_back(connection)  # the barrier has come down meanwhile
        self._connection = connection
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._changed = set()
        return self._connection

    def give_back(self) -> None:
        """Give the connection back: now, or as soon as the blocking command on it has come to its end."""
        connection, self._connection = self._connection, None
        pool, self._pool = self._pool, None
        blocking, self._blocking = self._blocking, None
        assert connection is not None
        assert pool is not None
        if self._changed:
            connection.add_push_listener(ignore)  # until the connection is restored: it may track keys
        if blocking is None or blocking.done.done():
            _return(pool, connection, self._changed, clean=blocking is None or blocking.done.result())
        else:
            changed = self._changed
            blocking.done.add_done_callback(
                lambda done: _return(pool, connection, changed, clean=done.result()), context=Context()
            )

    async def _execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        if not self.terms.middleware:
            return await self._execute_bare(arguments, reply)
        return await within(self.terms.middleware, arguments, partial(self._execute_bare, arguments, reply))

    async def _execute_bare(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        if type(arguments[0]) is not str or arguments[0] not in PLAIN:  # other classes may have any hash
            arguments = exact(arguments)
        facts = traits(arguments)
        name = facts.name
        packed = pack(arguments)  # now, because a buffer may change during the wait
        limit = facts.timeout
        until = running_loop().time() + max(limit, 0.0) if limit else None
        try:
            if self._pool is not None and self._pool.barrier is not None and not facts.read_only:
                await self._admitted(self._pool, self._timeout if limit is None else limit or None)
            connection = await self._usable(until)
            if facts.forbidden:
                raise CommandRefused(f"aioresp does not send this command: {facts.refusal}")
            if facts.changes:
                self._changed.add(name)
            if limit is not None:
                if self.terms.observer is not None:
                    return await self._blocked(connection, facts, until, reply)
                return await self._start(connection, facts, until).result(reply)
            if name == SHUTDOWN:
                value = await self._shut_down(connection, packed)
            else:
                decode = self._decode and not (facts.binary or facts.escaped)
                if self._decode and facts.escaped:
                    reply = escaping(reply)
                value = await connection.send(packed, decode, self._timeout)
        except RedisError as error:
            if name == "EXEC" and isinstance(error, ExecAbortError):  # not of a script, which can return the same error
                self._changed -= {"MULTI", "WATCH"}
            if self._pool is not None:
                heed(self._pool, error, facts, queued=self.queueing, leased=True)
            told(error, facts)
            raise
        if name in ("EXEC", "DISCARD"):
            self._changed -= {"MULTI", "WATCH"}
        elif name == "UNWATCH" and "MULTI" not in self._changed:
            self._changed.discard("WATCH")
        if "MULTI" in self._changed and value in _QUEUED:
            # The reply of EXEC holds its own.
            return cast(T, value.decode() if self._decode and isinstance(value, bytes) else value)
        try:
            return reply(value)
        except Exception as error:
            wrong = failure(error, value, arguments)
        try:
            raise wrong
        finally:
            del wrong  # whose traceback holds this frame

    def _entered(self) -> Connection:
        """Return the connection. Raises RuntimeError unless the lease is entered, in this loop."""
        if self._loop is not None and running_loop() is not self._loop:
            raise RuntimeError("the lease was entered in another event loop, and cannot be used in this one")
        if self._connection is None:
            raise RuntimeError("the lease is not entered, or was left")
        return self._connection

    async def _usable(self, until: float | None = None) -> Connection:
        """Return the connection once it can be used."""
        connection = self._entered()
        blocking = self._blocking
        if blocking is not None:
            while blocking is not None and not blocking.done.done():
                await self._wait_for(blocking, until)
                blocking = self._blocking  # of those that waited for the same end, another may have begun the next one
            connection = self._entered()
            if blocking is not None and not blocking.done.result():
                connection.close()  # a CLIENT UNBLOCK may still come, and would end another command on it
        renewal = connection.renewal
        if renewal is not None and renewal.waits and self._changed.isdisjoint(_NO_AUTH):
            renewal.send()
        return connection

    @staticmethod
    async def _admitted(pool: Pool[Connection], timeout: float | None) -> float | None:
        """Wait at the pool's barrier; return the seconds that are left.

        Raises ConnectionLost, "not sent", if the pool has left its server meanwhile: the lease does not move with it.
        """
        if pool.barrier is not None:
            timeout = await pool.barrier.passed(timeout)
            if pool.retired:
                raise ConnectionLost("the server of this lease is not used any more; lease another one", "not sent")
        return timeout

    async def _blocked(
        self, connection: Connection, traits: Traits, until: float | None, reply: Callable[[Any], T]
    ) -> T:
        """Send a blocking command and return its converted reply; the observer hears how long that took."""
        observer = self.terms.observer
        assert observer is not None
        clock = running_loop().time  # by hand, the call may be closed outside of the loop
        since = clock()
        try:  # without a name for the command: an error in it holds this frame, by its traceback
            return await self._start(connection, traits, until).result(reply)
        finally:
            observer.blocked(clock() - since, math.inf if until is None else max(until - since, 0.0))

    def _start(self, connection: Connection, traits: Traits, until: float | None) -> Blocking:
        """Send a blocking command, with the time that is left until `until` (loop time) as its limit."""
        assert self._pool is not None
        if until is not None and (traits.timeout or 0.0) > 0:  # the server refuses less than 0, and says so
            left = until - asyncio.get_running_loop().time()
            if left < (traits.timeout or 0.0) - SLACK:
                traits = traits.with_timeout(max(left, LEAST))
        private = bool(self._changed)
        self._blocking = Blocking(self._pool, connection, traits, self.terms, private, until)
        return self._blocking

    async def _shut_down(self, connection: Connection, packed: Packed) -> Any:
        """Return None when the server has closed the connection, or else its reply."""
        # A PING first: on a dead connection, its end would look like the success of SHUTDOWN.
        await connection.send(pack(("PING",)), False, self._timeout)
        try:
            return await connection.send(packed, self._decode, self._timeout)
        except ConnectionLost as lost:
            if isinstance(lost, ProtocolError) or lost.outcome == "not sent":
                raise
            return None

    async def _wait_for(self, blocking: Blocking, until: float | None) -> None:
        """Wait for the end of a blocking command whose caller has gone."""
        if not blocking.left:
            raise CommandRefused("another task is in a blocking command on this connection")
        patience = math.inf if self._timeout is None else self._timeout
        if until is not None:
            patience = min(patience, max(until + GRACE - asyncio.get_running_loop().time(), 0.0))
        await wait([blocking.done], None if patience == math.inf else patience)
        if not blocking.done.done():
            raise CommandTimeout(f"a cancelled blocking command has not ended in {patience:.3g} s")

    if TYPE_CHECKING:

        def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
            """Send the command on the leased connection."""
            ...
    else:
        execute = _execute

    # --- Many commands at once ---------------------------------------------------------------------------------------

    async def send(
        self,
        commands: list[Packed],
        decode: bool,
        timeout: float | None,
        *,
        transaction: bool = False,
        exclusive: bool = False,
    ) -> Replies:
        """Send a batch and return the raw replies; if `transaction`, the batch begins with MULTI and ends with EXEC.

        `exclusive` tells that no other task sends on this connection meanwhile. Otherwise a transaction is one write,
        so that no other command comes in between.
        """
        if self._pool is not None and self._pool.barrier is not None:
            timeout = await self._admitted(self._pool, timeout)
        connection = await self._usable()
        if transaction:
            self._changed.add("MULTI")
        in_one = transaction and not exclusive
        admit = None if self._pool is None else partial(_passed, self._pool, timeout)
        replies = await send(connection, commands, decode, timeout, in_one=in_one, admit=admit)
        if transaction and (
            replies.raw[-1].__class__ not in ERROR_TYPES or isinstance(replies.raw[-1], ExecAbortError)
        ):
            self._changed -= {"MULTI", "WATCH"}
        return replies

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which it was entered; None before that."""
        return self._loop

    @property
    def changed(self) -> bool:
        """Whether commands have changed the connection, and it has to be restored before its next use."""
        return bool(self._changed)

    @property
    def queueing(self) -> bool:
        """Whether a transaction is begun."""
        return "MULTI" in self._changed

    @property
    def watching(self) -> bool:
        """Whether keys are watched, and no transaction is begun."""
        return "WATCH" in self._changed and "MULTI" not in self._changed

    def mark_changed(self, changes: set[str]) -> None:
        """Note commands of a batch that change the connection: they are undone at the end."""
        self._changed |= changes

    def unwatch(self, *, leave: bool = False) -> None:
        """Send UNWATCH, if keys are watched; with `leave`, give the connection back after the reply."""
        connection = self._connection
        if self._changed == {"WATCH"} and connection is not None and connection.viable:
            self._changed.clear()
            reply = connection.send(pack(("UNWATCH",)), True, self._timeout)
            reply.add_done_callback(partial(self._unwatched, leave), context=Context())
        elif leave and connection is not None:
            self.give_back()

    def _unwatched(self, leave: bool, reply: asyncio.Future[Any]) -> None:
        if reply.cancelled() or reply.exception() is not None:
            self._changed.add("WATCH")
        if leave:
            self.give_back()

    # --- One blocking command, and nothing else -----------------------------------------------------------------------

    async def block(self, traits: Traits, reply: Callable[[Any], T], until: float | None) -> T:
        """Borrow a connection for this command alone, and give it back.

        The command's own time limit ends at `until` (loop time), and includes the wait for the connection.
        """
        remark = (
            None
            if until is not None
            else running_loop().call_later(self._timeout or LONG, self._remark, context=Context())
        )
        try:
            connection = await self.borrow(None if until is None else until + GRACE, writes=not traits.read_only)
        finally:
            if remark is not None:
                remark.cancel()
        try:
            if self.terms.observer is not None:
                return await self._blocked(connection, traits, until, reply)
            return await self._start(connection, traits, until).result(reply)
        finally:
            self.give_back()

    def finish(self) -> bool:
        """End the blocking command under way as its time limit would; return whether there is one."""
        if self._blocking is None:
            return False
        self._blocking.finish()
        return True

    @staticmethod
    def last_start(until: float | None, error: RedisError) -> float:
        """Return the loop time until which a blocking command may be sent, whose own time limit ends at `until`.

        If the `error` of its first attempt is that its server was left, it asks the next one once, for the least time.
        """
        if until is None:
            return math.inf
        return until + GRACE if isinstance(error, ConnectionLost) else until

    def _remark(self) -> None:
        """Log that an unbounded wait has become long: otherwise it would look like an empty queue."""
        pool = self.find_pool()
        logger.warning(
            "%s has waited %.3g s for a connection of its own, and goes on: %s; a higher `limit` would let it begin",
            self._why,
            self._timeout or LONG,
            pool.describe(),
        )


Borrowed._execute.__qualname__ = Called(Borrowed._execute.__qualname__)


async def _passed(pool: Pool[Connection], timeout: float | None) -> None:
    """Wait at the pool's barrier in the middle of a batch. If the pool leaves its server, the connection ends."""
    if pool.barrier is not None:
        await pool.barrier.passed(timeout)


def _return(pool: Pool[Connection], connection: Connection, changed: set[str], *, clean: bool) -> None:
    """Give a connection back to its pool, or drop it if its changes cannot be undone."""
    if not clean or (changed and not all(CHANGES[name] for name in changed)):
        pool.discard(connection)
    else:
        # With replies outstanding it is restored, too: the reply to RESET comes behind them.
        old = connection.renewal is not None and connection.renewal.waits
        pool.give_back(connection, changed=bool(changed or connection.in_flight or old))
