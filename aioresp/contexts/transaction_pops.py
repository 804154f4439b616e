"""Blocking pops within a transaction: what they took is reported if the transaction's caller has gone.

Owns the wait for the replies of such a batch, which goes on without its caller. Never puts anything back: half of a
transaction would be undone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aioresp.command import Arguments
from aioresp.contexts.pieces import Replies
from aioresp.errors import CommandTimeout, ConnectionLost, PoolTimeout, RedisError, ReplyTooLarge, ResponseError
from aioresp.popped import LOST, UNKNOWN, Lost, popped, report

#: The event loop itself holds its tasks weakly.
_under_way: Final[set[asyncio.Task[Replies]]] = set()


class TransactionPops:
    """The pops of one transaction, each with its number in it."""

    def __init__(self, pops: list[tuple[int, Arguments]], on_lost: Callable[[Lost], object] | None) -> None:
        self._pops = pops
        self._on_lost = on_lost
        self._left = False
        self._replies: Replies | None = None
        self._error: BaseException | None = None

    async def carry(self, carrying: Coroutine[Any, Any, Replies]) -> Replies:
        """Return the replies; report what the pops took, or may have taken, where the caller does not get them."""
        task = asyncio.ensure_future(self._carry(carrying))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
        task.add_done_callback(_retrieve)
        try:
            await asyncio.wait([task])  # a cancellation ends this wait, and not the task
        except BaseException as error:
            self._left = True
            if task.get_loop().is_closed():
                self._error = self._error or error
            if self._replies is not None or self._error is not None:
                self._tell()
            raise
        if isinstance(self._error, CommandTimeout):
            self._tell()
        return task.result()

    async def _carry(self, carrying: Coroutine[Any, Any, Replies]) -> Replies:
        try:
            replies = self._replies = await carrying
        except BaseException as error:
            self._error = error
            raise
        finally:
            if self._left:
                self._tell()
        return replies

    def _tell(self) -> None:
        error = self._error
        if error is None:
            assert self._replies is not None
            self._tell_of(self._replies.raw[-1])
        elif not isinstance(error, RedisError):
            self._tell_unknown(RedisError("the transaction was cancelled after it was sent, or its event loop ended"))
        elif _may_have_run(error):
            self._tell_unknown(error)

    def _tell_unknown(self, error: RedisError) -> None:
        for _, arguments in self._pops:
            report(self._on_lost, arguments, None, error, UNKNOWN)

    def _tell_of(self, values: Any) -> None:
        """Report what the reply to EXEC says that the pops took; if it is an error, or nil, nothing was done."""
        if not isinstance(values, list):
            return
        gone = RedisError("the caller of the transaction had gone; what a transaction took is not put back")
        for number, arguments in self._pops:
            value = values[number] if number < len(values) else gone
            if isinstance(value, ResponseError):
                continue
            try:
                taken, outcome = popped(arguments, value), LOST
            except Exception:  # it makes no sense
                taken, outcome = None, UNKNOWN
            if taken is not None or outcome is UNKNOWN:
                report(self._on_lost, arguments, taken, gone, outcome)


def _may_have_run(error: RedisError) -> bool:
    if isinstance(error, ConnectionLost):
        return error.outcome == "unknown"
    return isinstance(error, (CommandTimeout, ReplyTooLarge)) and not isinstance(error, PoolTimeout)


def _retrieve(task: asyncio.Task[Replies]) -> None:
    """Fetch the error of a task whose caller has gone, lest asyncio calls it forgotten."""
    if not task.cancelled():
        task.exception()
