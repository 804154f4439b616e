"""Care for the idle resources of a pool: they are put to rest, and later closed.

Owns the clock of idleness, which compares counters with those of its last look, so that commands need no clock. Never
looks at leased resources.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from typing import Final

from aioresp.pool.resource import R
from aioresp.typed import Generic

#: Seconds without use after which a resource is asked whether it still works before its next use.
REST_AFTER: Final = 15.0


class Idle(Generic[R]):
    """Uses of each shared resource, and the time of its last one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout: float | None,
        shared: list[R],
        withdraw: Callable[[R], None],
        on_change: Callable[[R], None],
        is_open: Callable[[], bool],
    ) -> None:
        """Close resources that were idle for `timeout` seconds; None: never.

        `withdraw` takes one from the pool before it is closed. `on_change` hears of each that was put to rest, has
        ended or was given away. After a look another one follows while the pool `is_open`, leased resources included.
        """
        self.since: dict[R, tuple[int, float]] = {}
        """Uses of each resource at the last look, and since when there were so many."""
        self._loop = loop
        self._timeout = timeout
        self._shared = shared
        self._withdraw = withdraw
        self._on_change = on_change
        self._is_open = is_open
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look at the resources from time to time."""
        if self._timer is None:
            pause = min(REST_AFTER / 2, math.inf if self._timeout is None else self._timeout / 4)
            self._timer = self._loop.call_later(pause, self.look, context=Context())

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def forget(self, resource: R) -> None:
        """Forget a resource that has ended, or was given away."""
        self.since.pop(resource, None)
        self._on_change(resource)

    def look(self) -> None:
        """Close resources that were idle for the timeout; put those to rest that were idle for `REST_AFTER`."""
        self.end()
        self._timer = None
        now = self._loop.time()
        for resource in list(self._shared):
            commands = resource.usage()[0]
            seen, since = self.since.get(resource, (-1, now))
            if resource.in_flight or commands != seen:
                self.since[resource] = (commands, now)
            elif self._timeout is not None and now - since >= self._timeout:
                # It is withdrawn first: close() may take a turn of the loop, and no caller may get it meanwhile.
                self._withdraw(resource)
                resource.close()
            elif now - since >= REST_AFTER and not resource.resting:
                resource.rest()
                self._on_change(resource)
        if self._is_open():
            self.watch()
