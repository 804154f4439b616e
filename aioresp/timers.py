"""Timers for deadlines in an event loop that may be held up: nothing is late before the loop has read its sockets.

Owns the turns of the loop between a timer and the failure that it stands for. Owns, too, the time that is given back
after the loop stood still. Never decides what is late, and never keeps the context of a caller: a cancelled timer stays
in its loop until its time comes, with the context in which it was made.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from contextvars import Context
from types import TracebackType
from typing import Any, Final, Self, TypeVar

F = TypeVar("F", bound="asyncio.Future[Any]")

#: Seconds by which a timer may be late although the loop runs freely.
PUNCTUAL: Final = 0.003

#: Least and most seconds that are given back after the loop stood still, unless the time limit itself is shorter.
LEAST: Final = 0.1
MOST: Final = 1.0


def after_reading(loop: asyncio.AbstractEventLoop, step: Callable[[], object]) -> None:
    """Call `step` when the loop has looked at its sockets once, and what has arrived there was handed on.

    In the next turn `step` could come before what that turn reads. asyncio and uvloop differ in this.
    """
    loop.call_soon(loop.call_soon, step, context=Context())


def given_back(late: float, limit: float) -> float:
    """Return the seconds to give back when a timer is `late` by so many: 0 if the loop did not stand still.

    Commands may not have left yet, as the loop stood still before it wrote them. So at least `LEAST` is given back, but
    never more than the time limit, and never more than `MOST`.
    """
    return 0.0 if late <= PUNCTUAL else min(max(late, LEAST), MOST, limit)


class Alarm:
    """Timer of one deadline, which calls `step` once what had arrived by then is read."""

    __slots__ = ("_handle", "_limit", "_loop", "_step", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float, limit: float, step: Callable[[], object]) -> None:
        """Set it to `when` (loop time), the end of a time limit of `limit` seconds."""
        self._loop = loop
        self._when = when
        self._limit = limit
        self._step: Callable[[], object] | None = step
        self._handle = loop.call_at(when, self._ring, context=Context())

    def cancel(self) -> None:
        """Call `step` no more."""
        self._step = None
        self._handle.cancel()

    def _ring(self) -> None:
        more = given_back(self._loop.time() - self._when, self._limit)
        self._limit = 0.0  # time is given back once
        if more:
            self._handle = self._loop.call_later(more, self._ring, context=Context())
        else:
            after_reading(self._loop, self._end)

    def _end(self) -> None:
        step, self._step = self._step, None
        if step is not None:
            step()


class Timeout:
    """Context manager like `asyncio.timeout`, whose end waits until what had arrived by then is read."""

    __slots__ = ("_alarm", "_deadline", "_inner", "_limit")

    def __init__(self, seconds: float | None, deadline: float | None = None) -> None:
        """End after so many seconds, or at `deadline` (loop time); both None: never."""
        self._limit = math.inf if seconds is None else seconds
        self._deadline = deadline
        self._alarm: Alarm | None = None
        self._inner = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        loop = asyncio.get_running_loop()
        when = loop.time() + self._limit if self._deadline is None else self._deadline
        if when < math.inf:
            self._alarm = Alarm(loop, when, min(self._limit, MOST), lambda: self._inner.reschedule(loop.time()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        await self._inner.__aexit__(kind, error, traceback)


async def wait(futures: Collection[F], seconds: float | None, return_when: str = asyncio.ALL_COMPLETED) -> set[F]:
    """Wait as `asyncio.wait` does, and return the futures that are done by the end of so many seconds (None: never)."""
    try:
        async with Timeout(seconds):
            await asyncio.wait(futures, return_when=return_when)
    except TimeoutError:
        pass
    return {future for future in futures if future.done()}
