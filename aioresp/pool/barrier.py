"""Barrier before a pool: callers whose work must not reach its server for now wait here, in order.

Owns these callers and their deadlines. Never knows which work waits: the code that places it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aioresp.errors import PoolTimeout
from aioresp.pool.queue import WaitQueue, forsake
from aioresp.timers import LEAST


class Barrier:
    """Line of callers that go on when it is opened; a barrier that is open lets everybody pass."""

    def __init__(self, loop: asyncio.AbstractEventLoop, why: str) -> None:
        """Begin closed. `why` ends the message of callers whose deadline passes here."""
        #: Cleared by `open`, never set again.
        self.closed = True
        self._loop = loop
        self._why = why
        self._line: WaitQueue[None] = WaitQueue(loop, self._too_late)

    def __len__(self) -> int:
        return self._line.waiting

    def place(
        self, future: asyncio.Future[Any], start: Callable[[float | None], object], timeout: float | None
    ) -> None:
        """Call `start` with the seconds that are left: when the barrier opens, or now if it is open.

        A caller leaves by cancelling its `future`, which gets PoolTimeout after `timeout` seconds, and each error of
        `start`.
        """
        if not self.closed:
            start(timeout)
            return
        since = self._loop.time()

        def go(_: None) -> None:
            rest = None if timeout is None else max(timeout - (self._loop.time() - since), LEAST)
            try:
                start(rest)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)

        self._line.enter(future, go, None if timeout is None else since + timeout)

    async def passed(self, timeout: float | None) -> float | None:
        """Wait until the barrier is open; return the seconds that are left. Raises PoolTimeout."""
        if not self.closed:
            return timeout
        future: asyncio.Future[float | None] = self._loop.create_future()
        self.place(future, future.set_result, timeout)
        try:
            return await future
        finally:
            forsake(future)
            del future  # its error would hold this frame, by its traceback

    def open(self) -> None:
        """Let all callers go on, in order."""
        self.closed = False
        while self._line.anyone():
            self._line.serve(None)

    def fail(self, error: Exception) -> None:
        """Turn all callers away."""
        self.closed = False
        self._line.fail(error)

    def _too_late(self) -> Callable[[float], Exception]:
        return lambda waited: PoolTimeout(f"not sent in {waited:.3g} s: {self._why}")
