"""Pace of the refreshes of one event loop's topology: when the next one may begin.

Owns the gap between two refreshes, which grows while nothing changes and shrinks while callers wait. Never asks a node.
"""

from __future__ import annotations

import math
import random
from typing import Final

#: Seconds between two refreshes: the least, the most while callers have begun to wait for a change, and the most
#: otherwise.
LEAST: Final = 0.1
WANTED: Final = 0.125
MOST: Final = 5.0


class Pace:
    """Times of refreshes, all by the clock of the loop."""

    def __init__(self) -> None:
        self.gap = LEAST
        """Seconds until the next refresh may begin if nobody waits."""
        self.wanted_since = 0.0
        """Time at which the first of a series of waiting callers came; a change, or news, begins another series."""
        self._wanted_at = -math.inf  # when the last of them came
        self._ended_at = -MOST  # the end of the last refresh
        self._jitter = 1.0  # of the gap, so that many clients do not ask at the same time

    def want(self, now: float, news: bool = False) -> None:
        """Note that a caller has begun to wait; `news` says that it waits for a node that was well until now."""
        if news or now - self._wanted_at > MOST:
            self.wanted_since = now
        self._wanted_at = now

    def end(self, now: float) -> None:
        """Note the end of a refresh: as long as nothing changes, the next gap is twice as long."""
        self._ended_at = now
        self._jitter = random.uniform(0.8, 1.2)
        self.gap = min(self.gap * 2, MOST)

    def rest(self, now: float, wanted: bool) -> float:
        """Return the seconds until the next refresh may begin; `wanted` says whether callers wait for it."""
        return self._ended_at + self.jittered(now, wanted) - now

    def jittered(self, now: float, wanted: bool) -> float:
        """Return the seconds between the last refresh and the next one."""
        gap = self.gap
        if wanted:
            # While a node may be replaced any moment, often; less often if that takes long, or never happens.
            gap = min(gap, max(WANTED, (now - self.wanted_since) / 40))
        return gap * self._jitter
