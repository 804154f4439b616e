"""Liveness check of resting resources: all are asked at once, and another is opened beside them if they are slow.

Owns which resources were asked, and the pause until another is opened. Never opens or closes one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

from aioresp.pool.resource import R
from aioresp.typed import Generic

#: Least and most seconds for which resting resources may stay silent before another is opened beside them.
PAUSES: Final = (0.1, 0.5)


class Waking(Generic[R]):
    """Resting resources of one pool, from the first question to the last answer."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, idle_since: dict[R, tuple[int, float]], on_late: Callable[[], None]
    ) -> None:
        """Call `on_late` when another resource should be opened; `idle_since` has the uses of each, and its last."""
        self.took = 0.0
        """Seconds in which the last resource was opened: an answer should come sooner."""
        self.late = False
        """Set when resources that were asked have been silent for long; cleared when others are asked."""
        self._loop = loop
        self._idle_since = idle_since
        self._on_late = on_late
        self._asked: set[R] = set()
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, resources: list[R]) -> list[R]:
        """Ask all that rest whether they work, and return those from which no answer is here."""
        asleep = [resource for resource in resources if resource.resting]
        if self._asked.isdisjoint(asleep):
            self.end()
            if asleep:
                shortest, longest = PAUSES
                pause = min(max(2 * self.took, shortest), longest)
                self._timer = self._loop.call_later(pause, self._ring, context=Context())
        for resource in asleep:
            if resource not in self._asked:
                self._asked.add(resource)
                resource.wake()
                # The question is no use: otherwise each use of one would keep all of them open.
                if resource in self._idle_since:
                    self._idle_since[resource] = (resource.usage()[0], self._idle_since[resource][1])
        return asleep

    def forget(self, resource: R) -> None:
        """Ask this resource again the next time: it has answered since, and rests again, or it has ended."""
        self._asked.discard(resource)

    def end(self) -> None:
        """Forget what was asked."""
        self._asked.clear()
        self.late = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self.late = True
        self._on_late()
