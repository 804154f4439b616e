"""Routes of a pipeline: one batch on a shared connection, or a connection of its own for a very large batch.

Owns the way of a batch from its packed commands to the raw replies, and decides when a failed batch is sent again. A
batch on a shared connection is written in one, so it is never cut in two. Never knows what becomes of the replies.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from aioresp.command import full_name, is_read_only
from aioresp.contexts.blocking import OnLost
from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.large import Replies, size
from aioresp.errors import ConnectionLost, ExecAbortError, RedisError, copy_error
from aioresp.middleware import PIPELINE, TRANSACTION, Middleware, within
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.pool.queue import forsake
from aioresp.retry import NOT_NOW, Retry, has_not_run
from aioresp.wire.batch import Batch, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, unpack

logger = logging.getLogger("aioresp")

#: Commands, and bytes, from which on a batch takes a connection of its own, so that it holds nobody up.
LARGE: Final = 10_000
LARGE_BYTES: Final = 1024 * 1024


class SharedRoute:
    """The way over a client's pools."""

    shared = True
    watching = False

    def __init__(
        self,
        pool: Callable[[], Pool[Connection]],
        decode: bool,
        timeout: float | None,
        retry: Retry,
        idempotent: bool,
        on_lost: OnLost | None,
        middleware: Sequence[Middleware],
        repeating: Callable[[RedisError, int], object] | None,
    ) -> None:
        """`repeating` hears of a batch that is sent again: by an error that names it, and after how many."""
        self.find_pool = pool
        self._decode = decode
        self._timeout = timeout
        self._retry = retry
        self._idempotent = idempotent
        self.on_lost = on_lost
        self._middleware = middleware
        self._repeating = repeating

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands, and if all of them failed in vain and it can do no harm, send all of them again."""
        if not self._middleware:
            return await self._carry(commands, decode, whole)
        name = TRANSACTION if whole else PIPELINE
        return await within(self._middleware, name, partial(self._carry, commands, decode, whole))

    async def _carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        clock = running_loop().time
        deadline = math.inf if self._timeout is None else clock() + self._timeout
        timeout = self._timeout
        failures = 0
        while True:
            failure: RedisError | None = None
            replies = Replies([], False)
            try:
                replies = await self._send(commands, decode, whole, timeout)
                if replies.clean or not self._not_now(replies.raw, commands, whole):
                    return replies
            except ConnectionLost as error:
                if error.outcome != "not sent" and not self._harmless(commands):
                    raise
                failure = error
            failures += 1
            pause = self._retry.pause(failures)
            if pause is None or clock() + pause >= deadline:
                if failure is not None:
                    raise failure
                return replies
            if failures > 1 or failure is None:
                await asyncio.sleep(pause)  # else the pool is the one to wait, until it has a new connection
            logger.debug("a pipeline of %d commands is sent again, as it failed", len(commands))
            if self._repeating is not None:
                self._repeating(_named(failure or _first_error(replies.raw), whole), failures)
            if timeout is not None:
                timeout = max(deadline - clock(), 0.0)

    def _harmless(self, commands: list[Packed]) -> bool:
        return self._idempotent or all(_only_reads(unpack(packed)) for packed in commands)

    def _not_now(self, replies: list[Any], commands: list[Packed], whole: bool) -> bool:
        """Return whether the server says that nothing of a batch has run, but soon may.

        What stands between MULTI and EXEC says so of itself: there the server queues, and no script has a word.
        """
        if whole:
            if not isinstance(replies[-1], ExecAbortError) or isinstance(replies[0], RedisError):
                return False
            replies = [reply for reply in replies[1:-1] if isinstance(reply, RedisError)]
            return bool(replies) and all(isinstance(reply, NOT_NOW) for reply in replies)
        if not all(isinstance(reply, NOT_NOW) for reply in replies):
            return False
        pairs = zip(replies, commands, strict=True)
        return self._idempotent or all(has_not_run(reply, unpack(packed)) for reply, packed in pairs)

    async def _send(self, commands: list[Packed], decode: bool, whole: bool, timeout: float | None) -> Replies:
        if len(commands) <= LARGE:
            packed = joined(commands)
            if size(packed) <= LARGE_BYTES:
                return await self._send_small(packed, len(commands), decode, timeout)
            del packed
        why = f"a pipeline of {len(commands)} commands"
        async with Borrowed(self.find_pool, decode, timeout, why, self.on_lost) as borrowed:
            return await borrowed.send(commands, decode, timeout, transaction=whole, exclusive=True)

    async def _send_small(self, packed: Packed, count: int, decode: bool, timeout: float | None) -> Replies:
        loop = asyncio.get_running_loop()
        batch = Batch(count, decode, loop.create_future())
        pool = self.find_pool()
        connection = pool.share()
        if connection is not None:
            connection.send_batch(packed, batch, timeout)
        else:
            since = loop.time()

            def start(connection: Connection) -> None:
                rest = None if timeout is None else max(timeout - (loop.time() - since), 0.0)
                connection.send_batch(packed, batch, rest)

            pool.wait(batch.future, start, None if timeout is None else since + timeout)
        try:
            return Replies(await batch.future, batch.clean)
        finally:
            forsake(batch.future)

    async def private(self) -> LeaseRoute:
        """Return the way over a connection that nobody else uses, to watch keys on."""
        borrowed = Borrowed(
            self.find_pool, self._decode, self._timeout, "a transaction", self.on_lost, self._middleware
        )
        await borrowed.__aenter__()
        return LeaseRoute(borrowed, self._timeout, owned=True)


class LeaseRoute:
    """Route of a pipeline over a borrowed connection; if `owned`, the pipeline gives the connection back."""

    shared = False

    def __init__(self, borrowed: Borrowed, timeout: float | None, owned: bool) -> None:
        self.execute = borrowed.execute
        self.note = borrowed.mark_changed
        self.find_pool = borrowed.find_pool
        self.on_lost = borrowed.on_lost
        self._borrowed = borrowed
        self._timeout = timeout
        self._owned = owned

    @property
    def watching(self) -> bool:
        """Whether keys are watched on the connection, and no transaction is begun."""
        return self._borrowed.watching

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands, and never a second time."""
        send = partial(self._borrowed.send, commands, decode, self._timeout, transaction=whole)
        return await within(self._borrowed.middleware, TRANSACTION if whole else PIPELINE, send)

    async def private(self) -> LeaseRoute:
        """Return this route: nobody else uses it."""
        return self

    def release(self) -> None:
        """Watch nothing any more."""
        self._borrowed.unwatch(leave=self._owned)


def _named(error: RedisError, whole: bool) -> RedisError:
    """Return the error with the name of the batch; the one of a command in it is its own."""
    own = copy_error(error)
    own.command, own.key = str((TRANSACTION if whole else PIPELINE)[0]), None
    return own


def _first_error(replies: list[Any]) -> RedisError:
    return next(reply for reply in replies if isinstance(reply, RedisError))


def _only_reads(arguments: Sequence[object]) -> bool:
    return is_read_only(arguments) or full_name(arguments) in ("MULTI", "EXEC")
