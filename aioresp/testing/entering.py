"""Context manager of test servers, for `with` and `async with` alike.

Owns the start when a block is entered, in a thread where an event loop runs, and the end with the block. Never knows
what starts.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from aioresp.misuse import Bound

T = TypeVar("T")


class Entered(Bound):
    """Test server, or several of them, for a `with` block."""

    _instead = "pass its `url`"

    def __init__(self) -> None:
        #: Set when the start in a thread has lost its caller; cleared when that start has ended.
        self._abandoned = threading.Event()

    def start(self) -> None:
        """Start what the block uses."""
        raise NotImplementedError

    def close(self) -> None:
        """End it."""
        raise NotImplementedError

    def abandon(self) -> None:
        """End a start that goes on in another thread: it raises ServerFailed soon."""
        self._abandoned.set()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._abandoned.clear()
        try:
            await in_thread(self.start, self.abandon)
        except BaseException:
            await in_thread(self.close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await in_thread(self.close)


async def in_thread(function: Callable[[], T], on_cancel: Callable[[], object] | None = None) -> T:
    """Run a function in a thread and return when it has ended, also if cancelled: nothing goes on unseen."""
    work = asyncio.get_running_loop().run_in_executor(None, function)
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError as error:
            cancelled = error
            if on_cancel is not None:
                on_cancel()
    if cancelled is not None:
        work.exception()  # read; the caller gets the cancellation
        raise cancelled
    return work.result()
