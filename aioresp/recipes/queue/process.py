"""Process of workers: signals, and the progress of the shutdown.

Owns the handlers of SIGTERM and SIGINT while workers run. The first signal stops them, and the second cancels them.
Never decides how a worker gives back its jobs.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import anyio

from aioresp.recipes.queue.worker import Worker

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

#: Seconds between two words about the progress of a shutdown.
_PERIOD: Final = 1.0


class Process:
    """Workers that run until a signal comes; `say` gets a line for each step of the shutdown."""

    def __init__(self, workers: Sequence[Worker], grace: float, say: Callable[[str], None]) -> None:
        self._workers = workers
        self._grace = grace
        self._say = say
        self._received: list[signal.Signals] = []

    async def run(self) -> int:
        """Work until a signal comes, and return the exit code: 0 after one signal, 128 and its number after two.

        A third one ends the process at once.
        """
        async with AsyncExitStack() as stack:
            for worker in self._workers:
                await stack.enter_async_context(worker)
            async with anyio.create_task_group() as listening:
                async with anyio.create_task_group() as working:
                    await listening.start(self._listen, working.cancel_scope)
                    for worker in self._workers:
                        working.start_soon(worker.run)
                listening.cancel_scope.cancel()
        if len(self._received) > 1:
            return 128 + self._received[1]
        return 0

    async def _listen(self, working: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*self._heeded()) as signals:
            task_status.started()
            async with anyio.create_task_group() as group:
                async for received in signals:
                    self._received.append(signal.Signals(received))
                    if len(self._received) == 1:
                        for worker in self._workers:
                            worker.stop()
                        group.start_soon(self._tell)
                    elif len(self._received) == 2:
                        self._say(f"{self._received[1].name} again: {self._jobs()} given back")
                        working.cancel()
                        for each in SIGNALS:
                            signal.signal(each, signal.SIG_DFL)

    async def _tell(self) -> None:
        """Say how the shutdown goes, until it is cancelled."""
        end = time.monotonic() + self._grace
        self._say(f"{self._received[0].name}: {self._jobs()} running, {self._grace:g} s left")
        while True:
            await anyio.sleep(_PERIOD)
            left = end - time.monotonic()
            if left <= 0 or len(self._received) > 1:
                return
            self._say(f"{self._jobs()} running, {left:.0f} s left")

    def _jobs(self) -> str:
        count = sum(worker.running for worker in self._workers)
        return "1 job" if count == 1 else f"{count} jobs"

    @staticmethod
    def _heeded() -> list[signal.Signals]:
        """Return the signals to listen for. One that is ignored, as under nohup, stays ignored."""
        return [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
