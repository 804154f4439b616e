"""Doubts about resources that owe something and have fallen silent: another one is asked about them.

Owns the inquiry, and the resource that was opened for it. That one joins the pool if it replaces one that is gone, and
is closed otherwise: a server that is busy gets no more connections for it. Never decides whether a resource is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Final

from aioresp.errors import RedisError
from aioresp.pool.resource import R
from aioresp.typed import Generic

logger = logging.getLogger("aioresp")

#: Seconds until another resource may be opened for an inquiry after one that was opened in vain: first, and most.
#: Otherwise a server with many slow commands, or behind a slow network, would get a connection for each of them.
PAUSES: Final = (2.0, 30.0)


class Doubts(Generic[R]):
    """Silent resources of one pool, from the first doubt to the answer."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connect: Callable[[], Awaitable[R]],
        shared: list[R],
        join: Callable[[R], None],
        on_end: Callable[[], None],
    ) -> None:
        """Make one without doubts.

        `connect` opens a resource, and `join` adds it to the pool, whose `shared` ones may be asked, too. `on_end` is
        called after each inquiry.
        """
        self._loop = loop
        self._connect = connect
        self._shared = shared
        self._join = join
        self._on_end = on_end
        #: Called when an inquiry begins; a function that it returns is called at the end.
        self.on_begin: Callable[[], Callable[[], object] | None] = lambda: None
        self._when_ended: Callable[[], object] | None = None
        self._doubted: list[R] = []
        self._task: asyncio.Task[None] | None = None
        self._pause = PAUSES[0]
        self._not_before = 0.0  # the loop's time before which none is opened

    def __bool__(self) -> bool:
        """Return whether an inquiry is under way."""
        return self._task is not None

    def add(self, resource: R) -> None:
        """Inquire about a resource."""
        if resource not in self._doubted:
            self._doubted.append(resource)
        if self._task is None:
            # In a context of its own: nothing of a caller's request stays with a connection.
            create = partial(self._loop.create_task, name="aioresp: ask about the silent")
            self._task = Context().run(create, self._inquire())
            self._task.add_done_callback(self._ended, context=Context())
            self._when_ended = self.on_begin()

    def end(self) -> None:
        """Stop inquiring."""
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        when_ended, self._when_ended = self._when_ended, None
        if when_ended is not None:
            when_ended()
        self._doubted.clear()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # The next doubt about the same resource comes later.
            logger.debug("nobody could be asked about a silent connection: %s", error)
        self._on_end()

    async def _inquire(self) -> None:
        new: R | None = None
        opened = False
        try:
            # An idle one costs nothing, but may be gone as well.
            witness = next((r for r in self._shared if r.in_flight == 0 < r.capacity), None)
            while asked := [resource for resource in self._doubted if resource.viable]:
                if witness is None:
                    now = self._loop.time()
                    if now < self._not_before:
                        break
                    if now > self._not_before + PAUSES[1]:
                        self._pause = PAUSES[0]
                    self._not_before = now + self._pause
                    self._pause = min(2 * self._pause, PAUSES[1])
                    witness = new = await self._connect()
                    opened = True
                verdicts = await asyncio.gather(*(resource.inquire(witness) for resource in asked))
                for resource, gone in zip(asked, verdicts, strict=True):
                    if gone is None and not opened:
                        witness = None
                        continue
                    self._doubted.remove(resource)
                    if gone and resource.viable:
                        self._pause, self._not_before = PAUSES[0], 0.0
                        if new is not None and new.viable:
                            self._join(new)
                            new = None
                        resource.give_up()
        except RedisError as error:
            logger.debug("nobody could be asked about a silent connection: %s", error)
        finally:
            if new is not None:
                new.close()
