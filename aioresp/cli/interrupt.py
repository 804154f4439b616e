"""Ctrl-C handling: the first one cancels the work, and no later one disturbs the cleanup.

Owns the signal handlers of a run. Never decides how to clean up.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last one when the terminal is closed


class Interrupted(Exception):
    """The run was ended by Ctrl-C, SIGTERM or the end of its terminal, and has cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def ignore() -> None:
    """Ignore further signals: the process is about to end, and another Ctrl-C would only spoil its exit status."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def run(work: Coroutine[Any, Any, T], factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """Run `work` in an event loop of its own, as asyncio.run() does. `factory` makes the loop.

    The first SIGINT, SIGTERM or SIGHUP cancels it; more of them are ignored from then on, until the process ends: a
    second, impatient Ctrl-C must not stop the tidying up. Raises Interrupted then, from whatever `work` itself raised.
    """
    received: list[int] = []

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            if not received:
                received.append(number)
                task.cancel()

        # One that is ignored, as under nohup, stays ignored.
        handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in handled:
            loop.add_signal_handler(number, stop, number)
        try:
            return await work
        finally:
            # Held back meanwhile: without a handler, one more signal would end the process before it is ignored.
            signal.pthread_sigmask(signal.SIG_BLOCK, handled)
            for number in handled:
                loop.remove_signal_handler(number)
            if received:
                ignore()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)

    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(watched())
    except (Exception, asyncio.CancelledError) as error:
        if received:
            raise Interrupted(received[0]) from error
        raise
