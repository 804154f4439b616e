"""Resources that a pool leaves: they carry nothing new, and close after their last reply.

Owns which resources are left, for their age or for the wrong server, and how often that may be. Never opens a resource.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Final

from aioresp.errors import RedisError, copy_error
from aioresp.pool.resource import Holder, R
from aioresp.typed import Generic

logger = logging.getLogger("aioresp")

#: How often in a row a pool may leave its server: as often as a call is tried by default.
BURST: Final = 10

#: Seconds after that in which new resources are shown to those that still use the server that was left.
NEWS: Final = 10.0

#: Seconds after which it may do so once more. So writes to a replica do not make it connect without end.
PACE: Final = 1.0


class Leaving(Generic[R]):
    """The left resources of one pool. They do not count in its limit, except for leased ones."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        in_use: tuple[list[R], list[R]],
        leased: Mapping[R, Holder],
        on_left: Callable[[], None],
        max_age: float | None,
        on_new: Callable[[R, Exception], bool] = lambda resource, error: True,
    ) -> None:
        """Begin without left resources.

        `in_use` and `leased` are the pool's own collections. `on_left` is called when resources were taken out of them.
        A resource is left when it is `max_age` seconds old, up to a tenth more or less. After the server was left,
        `on_new` is called with each new resource and the reason, until it returns True.
        """
        self.draining: list[R] = []
        """Resources that wait for their last reply."""
        self.lent: set[R] = set()
        """Leased resources that close when they are given back."""
        self._loop = loop
        self._in_use = in_use
        self._leased = leased
        self._on_left = on_left
        self._max_age = max_age
        self._on_new = on_new
        self._reason: Exception | None = None  # set by `leave`, cleared when `on_new` returns True or `NEWS` is over
        self._timers: dict[R, asyncio.TimerHandle] = {}
        self._credit = float(BURST)
        self._counted_at = loop.time()

    def admit(self, resource: R) -> None:
        """Leave a new resource when it is old. It may lead to another server than the one that was left."""
        if self._reason is not None and (
            self._loop.time() - self._counted_at > NEWS or self._on_new(resource, self._reason)
        ):
            self._reason = None
        if self._max_age is not None:
            share = int.from_bytes(os.urandom(4)) / 2**32  # so that those made together do not end together
            age = self._max_age * (0.9 + 0.2 * share)
            self._timers[resource] = self._loop.call_later(age, self._leave, resource, context=Context())

    def leave(self, number: int, error: Exception) -> None:
        """Leave all that is in use if the resource of that number is among it: that one has the wrong server.

        Replies under way arrive, and leases last until they are given back. Nothing is left if that was done too often:
        then new resources lead to the same server.
        """
        leased = [resource for resource in self._leased if resource not in self.lent]
        found = [*self._in_use[0], *self._in_use[1], *leased]
        if any(resource.number == number for resource in found) and self._may_leave():
            logger.info("%d connections carry nothing new: %s", len(found), error)
            self._reason = copy_error(error) if isinstance(error, RedisError) else error
            self._leave(*found)

    def _leave(self, *resources: R) -> None:
        for resource in resources:
            if resource in self._leased:
                self.lent.add(resource)
            for place in self._in_use:
                if resource in place:
                    place.remove(resource)
                    self.draining.append(resource)
        self._on_left()

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
        timer = self._timers.pop(resource, None)
        if timer is not None:
            timer.cancel()
