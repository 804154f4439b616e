"""Blocking pops within a transaction: their elements are reported if the transaction's caller has gone.

Owns the wait for the replies of such a batch, which goes on without its caller. Never puts elements back: that would
undo half of a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aioresp.contexts.background import end_of
from aioresp.contexts.large import Replies
from aioresp.errors import (
    CommandTimeout,
    ConnectionLost,
    PoolTimeout,
    RedisError,
    ReplyTooLarge,
    ResponseError,
)
from aioresp.facts.putback import LOST, UNKNOWN, Lost, popped, report
from aioresp.facts.traits import Traits
from aioresp.pool.pool import Pool


class TransactionPops:
    """Pops of one transaction, each with its number in it. The pool holds them as work, in case the loop ends."""

    def __init__(
        self, pops: list[tuple[int, Traits]], on_lost: Callable[[Lost], object] | None, pool: Pool[Any]
    ) -> None:
        #: Always empty: closing the pool spares no future of a transaction.
        self.in_line: set[Any] = set()
        #: Always None: a transaction shares its connection with others.
        self.connection: Any = None
        self._pops = pops
        self._on_lost = on_lost
        self._pool = pool
        self._begun = False  # set when the task begins to send; never cleared
        self._left = False  # set when the caller is cancelled or closed by hand; never cleared
        self._told = False  # set when the elements are reported, or there are none to report; never cleared

    async def carry(self, send: Callable[[], Awaitable[Replies]]) -> Replies:
        """Return the replies; if the caller does not get them, report what the pops took or may have taken."""
        self._task = asyncio.ensure_future(self._carry(send))
        self._task.add_done_callback(self._ended)  # which fetches the error, so that asyncio does not log it
        self._pool.hold(self)
        try:
            await asyncio.wait([self._task])  # a cancellation ends this wait, and not the task
        except BaseException:
            self._left = True
            if self._task.done() or self._task.get_loop().is_closed():
                self.abandon()
            raise
        self._pool.release(self)
        if self._told:  # the client was closed while the loop stood still
            raise end_of(self._pool, "the client was closed meanwhile", ", and what the transaction took was reported")
        if not self._task.cancelled() and isinstance(self._task.exception(), CommandTimeout):
            self._tell()
        task = self._task
        del self._task  # its error would hold this object, by its traceback
        try:
            return task.result()
        finally:
            del task  # the same

    async def _carry(self, send: Callable[[], Awaitable[Replies]]) -> Replies:
        self._begun = True
        return await send()

    def _ended(self, task: asyncio.Task[Replies]) -> None:
        if not task.cancelled():
            task.exception()
        if self._left:
            self.abandon()

    def recall(self) -> None:
        """Do nothing: no command of a transaction blocks, so the replies come soon."""

    def abandon(self) -> None:
        """Report what the pops took or may have taken, as the caller does not wait for the replies any more."""
        self._tell()
        if not self._task.get_loop().is_closed():
            self._pool.release(self)

    def _tell(self) -> None:
        if self._told or not self._begun:
            return
        self._told = True
        task = self._task
        if not task.done() or task.cancelled():
            gone = RedisError("the transaction was cancelled after it was sent, or its event loop ended")
            self._tell_unknown(gone if self._left else end_of(self._pool, "the client was closed, or its event loop"))
        elif (error := task.exception()) is None:
            self._tell_of(task.result().raw[-1])
        elif not isinstance(error, RedisError) or _may_have_run(error):
            self._tell_unknown(error)

    def _tell_unknown(self, error: BaseException) -> None:
        for _, pop in self._pops:
            report(self._on_lost, pop, None, error, UNKNOWN)

    def _tell_of(self, values: Any) -> None:
        """Report the elements in the reply to EXEC. An error or nil means that the transaction did not run."""
        if not isinstance(values, list):
            return
        gone = RedisError("the caller of the transaction had gone; what a transaction took is not put back")
        for number, pop in self._pops:
            value = values[number] if number < len(values) else gone
            if isinstance(value, ResponseError):
                continue
            try:
                taken, outcome = popped(pop, value), LOST
            except Exception:  # it makes no sense
                taken, outcome = None, UNKNOWN
            if taken is not None or outcome is UNKNOWN:
                # A server that was left may have been replaced, by one that has never heard of the transaction.
                report(self._on_lost, pop, taken, gone, UNKNOWN if self._pool.retired else outcome)


def _may_have_run(error: RedisError) -> bool:
    if isinstance(error, ConnectionLost):
        return error.outcome == "unknown"
    return isinstance(error, (CommandTimeout, ReplyTooLarge)) and not isinstance(error, PoolTimeout)
