"""State machine of closing a pool: work ends, replies arrive, connections close.

Owns the work that must not stop halfway, and the step that closing has reached. The steps are callbacks, because a task
could be cancelled. Never knows connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # protocols take time to import
    from typing import Protocol

    from aioresp.pool.resource import Work

    class Parts(Protocol):
        """The steps that a pool takes to close."""

        def turn_away(self, spared: set[Any]) -> None:
            """Fail the callers in line with ClientClosed, except these futures."""

        def stop(self) -> None:
            """Take no more callers, and open nothing more."""

        def owes(self) -> bool:
            """Return whether replies are under way."""
            ...

        def close_all(self) -> None:
            """Close what is open."""

        def holds(self) -> bool:
            """Return whether anything is open, or being opened."""
            ...


#: Seconds in which work under way must end when the pool closes.
WORK_GRACE: Final = 2.0

_OPEN, _WORKING, _DRAINING, _CLOSING, _ENDED = range(5)


class Closing:
    """State of the closing of one pool, from open to ended."""

    def __init__(self, pool: Parts, loop: asyncio.AbstractEventLoop) -> None:
        self.work: set[Work] = set()
        self.on_end: Callable[[], None] | None = None
        #: Set when all work has ended, or its time is over: the pool takes no more callers. Never cleared.
        self.stopped = False
        self._pool = pool
        self._loop = loop
        self._step = _OPEN
        self._grace = 0.0
        self._ended: asyncio.Future[None] | None = None  # the future of the end, made by the first caller of `wait`

    @property
    def begun(self) -> bool:
        """Whether `begin` was called."""
        return self._step != _OPEN

    def begin(self, grace: float) -> None:
        """Begin to close; a second time does nothing."""
        if self._step != _OPEN:
            return
        self._step = _WORKING
        self._grace = grace
        if self.work:
            # Put-backs may stand in line, and keep their places.
            self._pool.turn_away({future for work in self.work for future in work.in_line})
            for work in list(self.work):
                work.recall()
            self._loop.call_later(WORK_GRACE, self._hurry, _DRAINING, context=Context())
        self.look()

    async def wait(self) -> None:
        """Wait for the end. If the waiting task is cancelled, replies get no more time, but work does."""
        if self._step == _ENDED:
            return
        if self._ended is None:
            self._ended = self._loop.create_future()
        try:
            await asyncio.wait((self._ended,))  # other tasks may wait for this future: no cancellation reaches it
        except BaseException:
            self._grace = 0.0
            if self._step == _DRAINING and not self._loop.is_closed():
                self._hurry(_CLOSING)
            raise

    def look(self) -> None:
        """Take the steps that have become possible; called after each change."""
        if self._step == _WORKING and not self.work:
            self._go_on()
        if self._step == _DRAINING and not self._pool.owes():
            self._go_on()
        if self._step == _CLOSING and not self._pool.holds():
            self._go_on()

    def _hurry(self, step: int) -> None:
        """Go to this step at once, whatever the pool still waits for."""
        while self._step < step:
            self._go_on()
        self.look()

    def _go_on(self) -> None:
        self._step += 1
        if self._step == _DRAINING:
            self.stopped = True
            self._pool.turn_away(set())
            self._pool.stop()
            self._loop.call_later(self._grace, self._hurry, _CLOSING, context=Context())
        elif self._step == _CLOSING:
            self._pool.close_all()
            self.lose_work()
        else:
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)
            if self.on_end is not None:
                self.on_end()

    def lose_work(self) -> None:
        """Have unfinished work report what is lost."""
        for work in list(self.work):
            work.abandon()
        self.work.clear()
