"""Back-off of a pool: whether it may open another connection now, and how it judges those that failed.

Owns the time of the next attempt, and knows connections that end as soon as they are made. Never opens one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from aioresp.pool.opening import Patience
from aioresp.pool.queue import CLOCK

if TYPE_CHECKING:
    import asyncio

#: Seconds until the pool tries to grow again after a failure, while it has other connections to work with.
GROWTH_PAUSE: Final = 1.0


class Growth:
    """Attempts of one pool to open connections: their failures, and the time of the next attempt."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: Callable[[BaseException, int], float | None]) -> None:
        self.patience = Patience(patience, "connection")
        #: Set by a failure and by a resource that carried nothing, cleared by `served`.
        self.troubled = False
        self._loop = loop
        #: The time (of the loop) before which no attempt begins.
        self._after = 0.0
        #: The newest resource, and the number of commands in its handshake.
        self._newest: tuple[object, int] = (None, 0)
        #: Consecutive new resources that closed before carrying a command.
        self._stillborn = 0

    @property
    def paused(self) -> bool:
        """Whether the pause after a failure is not over."""
        return self._loop.time() + CLOCK < self._after

    def forget(self) -> None:
        """Begin afresh: no caller waits for the next attempt any more."""
        self.patience.failures, self._after = 0, 0.0

    def served(self) -> None:
        """Note that a caller got a resource."""
        self.patience.forget()
        self._stillborn, self.troubled = 0, False

    def made(self, resource: object, carried: int) -> None:
        """Note a new resource, whose handshake has `carried` commands."""
        self._newest = (resource, carried)

    def is_stillborn(self, resource: Any, carried: int) -> bool:
        """Return whether an ended resource is the second new one in a row that carried nothing."""
        if self._newest != (resource, carried):
            return False
        self._stillborn += 1
        self.troubled = True
        return self._stillborn > 1  # opening the next one at once might go on forever

    def rest(self) -> float:
        """Pause after a failure while other resources work; return the time of the next attempt."""
        self._after = self._loop.time() + GROWTH_PAUSE
        return self._after

    def failed(self, error: BaseException) -> float | None:
        """Pause after a failure without other resources; return the seconds, or None if it would fail again."""
        self.troubled = True
        pause = self.patience.fail(error)
        if pause is not None:
            self._after = self._loop.time() + pause
        return pause
