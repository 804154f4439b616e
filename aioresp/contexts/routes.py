"""Routes of a pipeline: one batch on a shared connection, or a connection of its own for a very large batch.

Owns the way of a batch from its packed commands to the raw replies, and decides when a failed batch is sent again. On a
shared connection a batch is one write, so no other command comes between. Never converts a reply.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.large import Replies, size
from aioresp.contexts.suspicion import has_run_nothing, heed_batch
from aioresp.errors import ConnectionLost, RedisError, about, copy_error
from aioresp.facts.traits import traits
from aioresp.middleware import PIPELINE, TRANSACTION, within
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.pool.queue import forsake
from aioresp.retry import has_not_run, not_now
from aioresp.wire.batch import Batch, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, unpack

#: Numbers of commands and of bytes above which a batch leases a connection, so that no other caller waits behind it.
LARGE: Final = 10_000
LARGE_BYTES: Final = 1024 * 1024

#: Commands that change nothing, though the servers do not flag them as reading.
HARMLESS: Final = ("MULTI", "EXEC", "PING", "ECHO")


class SharedRoute:
    """Route of a pipeline over the pools of one server."""

    shared = True
    watching = False

    def __init__(self, find_pool: Callable[[], Pool[Connection]], terms: Terms) -> None:
        self.find_pool = find_pool
        self.on_lost = terms.on_lost
        self._terms = terms

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands; send all of them again if none has run, or if running them twice is harmless."""
        if not self._terms.middleware:
            return await self._carry(commands, decode, whole)
        name = TRANSACTION if whole else PIPELINE
        return await within(self._terms.middleware, name, partial(self._carry, commands, decode, whole))

    async def _carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        timeout = self._terms.timeout
        deadline = math.inf if timeout is None else running_loop().time() + timeout
        refused: Replies | None = None

        async def attempt(rest: float | None) -> Replies:
            nonlocal refused
            refused = None
            replies = await self._send(commands, decode, whole, rest)
            heed_batch(self.find_pool, replies, commands, whole)
            if replies.clean or not self._not_now(replies.raw, commands, whole):
                return replies
            refused = replies
            raise _named(_first_error(replies.raw), whole)

        def repeatable(error: RedisError) -> RedisError | None:
            if refused is not None:
                return error
            if isinstance(error, ConnectionLost) and (error.outcome == "not sent" or self._harmless(commands)):
                return _named(error, whole)
            return None

        try:
            return await self._terms.attempts(deadline).run(attempt, repeatable)
        except RedisError:
            if refused is None:
                raise
            return refused  # each command has its own error

    def _harmless(self, commands: list[Packed]) -> bool:
        return self._terms.idempotent or all(map(_only_reads, commands))

    def _not_now(self, replies: list[Any], commands: list[Packed], whole: bool) -> bool:
        """Return whether the server refused commands of a batch for now, and all of it may be sent again.

        That is so if each command was refused, or only reads.
        """
        if whole:
            return has_run_nothing(replies)
        if not any(map(not_now, replies)):
            return False
        if self._terms.idempotent and all(map(not_now, replies)):
            return True
        return all(map(_is_free, replies, commands))

    async def _send(self, commands: list[Packed], decode: bool, whole: bool, timeout: float | None) -> Replies:
        barrier = self.find_pool().barrier
        if barrier is not None and not all(map(_only_reads, commands)):
            timeout = await barrier.passed(timeout)
        if len(commands) <= LARGE:
            packed = joined(commands)
            if size(packed) <= LARGE_BYTES:
                return await self._send_small(packed, len(commands), decode, timeout)
            del packed
        terms = self._terms.replace(decode=decode, timeout=timeout, middleware=())
        async with Borrowed(self.find_pool, terms, f"a pipeline of {len(commands)} commands") as borrowed:
            return await borrowed.send(commands, decode, timeout, transaction=whole, exclusive=True)

    async def _send_small(self, packed: Packed, count: int, decode: bool, timeout: float | None) -> Replies:
        batch = Batch(count, decode, asyncio.get_running_loop().create_future())
        self.find_pool().place(batch.future, partial(_start, packed, batch), timeout)
        try:
            return Replies(await batch.future, batch.clean, batch.origin)
        finally:
            forsake(batch.future)
            del batch  # its error would hold this frame, by its traceback

    async def private(self) -> LeaseRoute:
        """Return a route over a leased connection, to watch keys on."""
        borrowed = Borrowed(self.find_pool, self._terms, "a transaction")
        await borrowed.__aenter__()
        return LeaseRoute(borrowed, owned=True)


class LeaseRoute:
    """Route of a pipeline over a borrowed connection; if `owned`, the pipeline gives the connection back."""

    shared = False

    def __init__(self, borrowed: Borrowed, owned: bool) -> None:
        self.execute = borrowed.execute
        self.note = borrowed.mark_changed
        self.find_pool = borrowed.find_pool
        self.on_lost = borrowed.terms.on_lost
        self._borrowed = borrowed
        self._owned = owned

    @property
    def watching(self) -> bool:
        """Whether keys are watched on the connection, and no transaction is begun."""
        return self._borrowed.watching

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands, and never a second time."""
        terms = self._borrowed.terms
        send = partial(self._borrowed.send, commands, decode, terms.timeout, transaction=whole)
        replies = await within(terms.middleware, TRANSACTION if whole else PIPELINE, send)
        heed_batch(self.find_pool, replies, commands, whole, leased=not self._borrowed.queueing)
        return replies

    async def private(self) -> LeaseRoute:
        """Return this route, whose connection is leased already."""
        return self

    def release(self) -> None:
        """Stop watching, and give the connection back if the pipeline owns it."""
        self._borrowed.unwatch(leave=self._owned)


def _start(packed: Packed, batch: Batch, connection: Connection, rest: float | None) -> None:
    connection.send_batch(packed, batch, rest)


def _named(error: RedisError, whole: bool) -> RedisError:
    """Return a copy of the error with the name of the batch."""
    return about(copy_error(error), str((TRANSACTION if whole else PIPELINE)[0]))


def _first_error(replies: list[Any]) -> RedisError:
    return next(reply for reply in replies if isinstance(reply, RedisError))


def _is_free(reply: object, packed: Packed) -> bool:
    """Return whether a command with this reply has not run, or only reads."""
    facts = traits(unpack(packed))
    return facts.read_only or has_not_run(reply, facts)


def _only_reads(packed: Packed) -> bool:
    facts = traits(unpack(packed))
    return facts.read_only or facts.name in HARMLESS
