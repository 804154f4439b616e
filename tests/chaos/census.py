"""Who is there: tasks, descriptors, objects of the library, memory. What a run leaves behind shows in the difference.

Owns the counting. Never frees anything but garbage.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.chaos.ledger import Ledger
from tests.rest import tasks_besides

#: Objects that a client makes and lets go of again.
WATCHED: Final = frozenset(
    ("Connection", "Batch", "Blocking", "Lease", "Pipeline", "Listener", "Subscription", "Topic", "Pool", "Hub")
)

#: MiB that a process may have more at the end than after it has warmed up: what the ledger itself keeps, mostly.
GROWTH: Final = 48.0


def descriptors() -> Counter[str]:
    """Return what the descriptors of this process are open on."""
    found: Counter[str] = Counter()
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except OSError:
            continue  # the one that lists the others
        if target != os.devnull:  # uvloop opens one for itself, when it makes the first connection
            found[target] += 1
    return found


def objects() -> Counter[str]:
    """Return how many objects of the library are alive."""
    gc.collect()
    return Counter(
        type(item).__name__
        for item in gc.get_objects()
        if type(item).__name__ in WATCHED and type(item).__module__.startswith("aioresp.")
    )


def memory() -> float:
    """Return the MiB that this process has in memory, or 0 where that cannot be told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Census:
    """Who is there now."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = tasks_besides()
        self.descriptors = descriptors()
        self.objects = objects()

    async def compare(self, ledger: Ledger, seconds: float = 5.0) -> None:
        """Note who is there now and was not then, after a while in which they may go."""
        end = asyncio.get_running_loop().time() + seconds
        while self._left() and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        for what in self._left():
            ledger.wrong("leak", what)

    def _left(self) -> list[str]:
        tasks = [f"task {task!r}" for task in tasks_besides() - self.tasks]
        # Numbers, not names: pipes and sockets of others come and go under new ones.
        more = descriptors().total() - self.descriptors.total()
        new = descriptors() - self.descriptors
        alive = objects() - self.objects
        return [
            *tasks,
            *([f"{more} descriptors: {dict(new)}"] if more > 0 else []),
            *(f"{count} objects {name}" for name, count in alive.items()),
        ]


class Memory:
    """Takes the process's memory every second."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    async def go(self) -> None:
        """Do it until cancelled."""
        while True:
            self.samples.append(memory())
            await asyncio.sleep(1)

    def check(self, ledger: Ledger) -> tuple[float, float]:
        """Check that the last fifth has not much more than the second, and return both, in MiB."""
        early, late = window(self.samples, 1), window(self.samples, 4)
        if len(self.samples) >= 5 and late - early > GROWTH:  # a run that an error has ended may have fewer
            ledger.wrong("memory grows", f"from {early:.0f} MiB to {late:.0f} MiB")
        return early, late


class Pulse:
    """Notes by how much this loop is late, and when nothing ran in this process for more than a second.

    The latter is so on a machine that is suspended.

    A timer, not a task: it comes before all tasks that wake when things go on.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(0.1, self._beat, self._loop.time())

    def _beat(self, last: float) -> None:
        now = self._loop.time()
        self.ledger.late += max(0.0, now - last - 0.1)
        if now - last > 1.1:
            self.ledger.stood_still += now - last - 0.1
        self._timer = self._loop.call_later(0.1, self._beat, now)

    def end(self) -> None:
        """Beat no more."""
        self._timer.cancel()


def window(samples: Iterable[float], fifth: int) -> float:
    """Return the median of one fifth of the samples."""
    every = list(samples)
    part = every[len(every) * fifth // 5 : len(every) * (fifth + 1) // 5]
    return median(part) if part else 0.0
