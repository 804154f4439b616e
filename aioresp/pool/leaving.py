"""Resources that a pool leaves: they carry nothing new, and close after their last reply.

Owns which resources are left, and how often the whole server may be left. Never opens a resource.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Generic

from aioresp.pool.resource import Holder, R

logger = logging.getLogger("aioresp")

#: How often in a row a pool may leave its server: as often as a call is tried by default.
BURST: Final = 10

#: Seconds after which it may do so once more. So writes to a replica do not make it connect without end.
PACE: Final = 1.0


class Leaving(Generic[R]):
    """The left resources of one pool. They do not count in its limit, except for leased ones."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shared: list[R], drained: list[R], leased: Mapping[R, Holder]
    ) -> None:
        """Begin without left resources; the others are the pool's own collections of what it uses."""
        self.draining: list[R] = []
        """Resources that wait for their last reply."""
        self.lent: set[R] = set()
        """Leased resources that close when they are given back."""
        self._loop = loop
        self._in_use = (shared, drained)
        self._leased = leased
        self._credit = float(BURST)
        self._counted_at = loop.time()

    def leave(self, number: int, error: Exception) -> bool:
        """Leave all that is in use if the resource of that number is among it; return whether that was done."""
        shared, drained = self._in_use
        leased = [resource for resource in self._leased if resource not in self.lent]
        if all(resource.number != number for resource in (*shared, *drained, *leased)) or not self._may_leave():
            return False
        logger.info("%d connections carry nothing new: %s", len(shared) + len(drained) + len(leased), error)
        self.lent.update(leased)
        for place in self._in_use:
            self.draining += place
            place.clear()
        return True

    def _may_leave(self) -> bool:
        """Return whether the server may be left once more, and count it."""
        now = self._loop.time()
        self._credit = min(BURST, self._credit + (now - self._counted_at) / PACE)
        self._counted_at = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def close_idle(self) -> None:
        """Close the resources whose last reply has arrived."""
        for resource in list(self.draining):
            if resource.in_flight == 0:
                resource.close()

    def forget(self, resource: R) -> None:
        """Forget a resource that has ended."""
        if resource in self.draining:
            self.draining.remove(resource)
        self.lent.discard(resource)
