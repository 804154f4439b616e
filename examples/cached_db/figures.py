"""Figures of this process: reads, loads and durations by way, and the loads that the page holds up.

Never asks a server: the figures are there, too, when all else is away.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager


class Figures:
    """Counts of one way since the process started."""

    def __init__(self) -> None:
        self.reads = 0
        self.loads: Counter[int] = Counter()  # reads of the database that have ended, by product
        self.errors = 0
        self._times: deque[float] = deque(maxlen=200)  # milliseconds of the newest reads

    @contextmanager
    def read(self, *, timed: bool = True) -> Iterator[None]:
        """Count a read, and take its time, unless it is one of a crowd: its readers wait for each other."""
        began = time.perf_counter()
        try:
            yield
        except Exception:
            self.errors += 1
            raise
        finally:
            self.reads += 1
            if timed:
                self._times.append((time.perf_counter() - began) * 1000)

    def shown(self) -> dict[str, object]:
        """Return them for the page."""
        return {
            "reads": self.reads,
            "loads": self.loads.total(),
            "errors": self.errors,
            "times": [round(each, 1) for each in self._times],
        }


class Gate:
    """Place where a load waits, with an old row in its hand, until the page lets it go on."""

    def __init__(self) -> None:
        self.held = 0
        self._open = asyncio.Event()

    async def wait(self) -> None:
        """Wait for `release`, for ten seconds at most."""
        self.held += 1
        try:
            async with asyncio.timeout(10):
                await self._open.wait()
        except TimeoutError:
            pass
        finally:
            self.held -= 1

    def release(self) -> None:
        """Let all go on that wait now."""
        self._open.set()
        self._open = asyncio.Event()


figures = {"naive": Figures(), "aioresp": Figures()}
