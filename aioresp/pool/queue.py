"""FIFO wait queue of a pool.

Owns the callers in line and their deadlines. A caller that gives up leaves at once, and no wake-up is lost with it.
Never knows what the callers wait for.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar

from aioresp.errors import RedisError, copy_error
from aioresp.timers import LEAST, given_back
from aioresp.typed import Generic

R = TypeVar("R")

#: Seconds by which timers may fire early.
CLOCK: Final = 0.001


def forsake(future: asyncio.Future[Any] | None) -> None:
    """Cancel a `future` whose caller was cancelled, closed by hand, or got another error."""
    if future is not None and not future.done() and not future.get_loop().is_closed():
        future.cancel()


#: Seconds in which a line that moves on serves another caller.
PACE: Final = 0.01


class _Waiter(Generic[R]):
    """One caller in line: `start` is called with a resource in its turn, unless the caller has gone."""

    __slots__ = ("deadline", "excused", "since", "start")

    def __init__(self, start: Callable[[R], None], deadline: float, since: float) -> None:
        self.start = start
        self.deadline = deadline
        self.since = since
        self.excused = False
        """Set when its deadline was first found late, and time was given back; never cleared."""


#: Callers whose deadline has passed that are failed in one turn of the loop: thousands would keep the loop busy.
SLICE: Final = 512


class WaitQueue(Generic[R]):
    """Callers in line, each known by its future.

    `too_late` captures the state of the pool and returns a function from seconds waited to an error.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, too_late: Callable[[], Callable[[float], Exception]]) -> None:
        self._loop = loop
        self._too_late = too_late
        # A dict, because a caller that gives up leaves the middle of the line at once.
        self._waiters: OrderedDict[asyncio.Future[Any], _Waiter[R]] = OrderedDict()
        self._expire_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._served = 0  # the number of callers that were served

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def waiting(self) -> int:
        """Number of callers in line that have not given up."""
        return sum(not future.done() for future in list(self._waiters))  # copied: other threads ask, too

    def enter(self, future: asyncio.Future[Any], start: Callable[[R], None], deadline: float | None) -> None:
        """Join the line; the caller leaves it by cancelling its `future`."""
        when = math.inf if deadline is None else deadline
        self._waiters[future] = _Waiter(start, when, self._loop.time())
        future.add_done_callback(self._leave)
        if when < self._expire_at:
            self._expire_later(when)

    def _leave(self, future: asyncio.Future[Any]) -> None:
        future.remove_done_callback(self._leave)
        self._waiters.pop(future, None)

    def anyone(self) -> bool:
        """Return whether a caller waits, after removing those that have given up."""
        while self._waiters:
            future = next(iter(self._waiters))
            if not future.done():
                return True
            self._leave(future)
        return False

    def serve(self, resource: R) -> None:
        """Hand `resource` to the first in line; call it only after `anyone` returned True."""
        future = next(iter(self._waiters))
        waiter = self._waiters[future]
        self._leave(future)
        self._served += 1
        waiter.start(resource)

    def fail(self, error: BaseException, spared: Collection[asyncio.Future[Any]] = ()) -> None:
        """Fail all callers with `error`, except those whose futures are `spared`."""
        for future in [future for future in self._waiters if future not in spared]:
            deadline = self._waiters[future].deadline
            self._leave(future)
            if not future.done():
                own = copy_error(error)
                if isinstance(own, RedisError):
                    own.deadline = deadline  # the end of the time for further attempts
                self._turn_away(future, own)
        if not self._waiters:
            self._expire_later(math.inf)

    def _expire_later(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._expire_at = when
        self._timer = None if when == math.inf else self._loop.call_at(when, self._ring, context=Context())

    def _ring(self) -> None:
        # Replies that have arrived, or that the loop held up, may make room for callers in line.
        self._loop.call_later(PACE, partial(self._expire, self._loop.time(), self._served), context=Context())

    def _expire(self, rang: float, served: int) -> None:
        """Fail the callers whose deadline had passed when the timer `rang`, unless the line moves on.

        `served` is the number of callers that had been served when this was asked last.
        """
        if self._served != served and self._loop.time() - rang < LEAST:
            self._loop.call_later(PACE, partial(self._expire, rang, self._served), context=Context())
            return
        now = rang + CLOCK
        look_again = math.inf
        error = self._too_late()
        turned_away = 0
        for future, waiter in list(self._waiters.items()):
            if waiter.deadline <= now and not waiter.excused:
                waiter.excused = True
                more = given_back(rang - waiter.deadline, waiter.deadline - waiter.since)
                waiter.deadline = rang + more if more else waiter.deadline
            if waiter.deadline > now:
                look_again = min(look_again, waiter.deadline)
            elif not future.done():
                if turned_away == SLICE:
                    look_again = self._loop.time()  # the rest in the next turn
                    break
                turned_away += 1
                self._turn_away(future, error(self._loop.time() - waiter.since))
        self._expire_later(look_again)

    @staticmethod
    def _turn_away(future: asyncio.Future[Any], error: BaseException) -> None:
        future.set_exception(error)
        future.exception()  # so that asyncio logs nothing if the caller was cancelled meanwhile
