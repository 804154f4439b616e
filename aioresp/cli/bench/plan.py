"""Plan of a benchmark: what is sent, by which ways, how often, and by how many tasks.

Owns what the command line alone can tell to be wrong. Never asks a server.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from aioresp.cli.bench.refusals import refusal
from aioresp.cli.bench.template import BadCommand, Template
from aioresp.cli.bench.ways import LIMIT, WAYS

#: Connections that a whole run of `fresh` may make, and that any way may have open.
MOST_CONNECTIONS: Final = 10_000

#: Seconds of `fresh` for one command, where -n says how many: far servers take long to connect to.
MOST_SECONDS: Final = 10.0

#: Tasks of the other ways.
MOST_TASKS: Final = 100_000

#: Commands that all tasks may have in their pipelines at a time: each takes a kilobyte here.
MOST_QUEUED: Final = 1_000_000

#: Keys: there is a bit for each.
MOST_KEYS: Final = 100_000_000

#: Bytes of one value.
MOST_BYTES: Final = 512 * 1024 * 1024


@dataclass(frozen=True)
class Plan:
    """One run."""

    templates: tuple[Template, ...]
    ways: tuple[str, ...]
    tasks: int = 50
    count: int = 100_000
    seconds: float | None = None
    pipeline: int = 1
    size: int = 3
    keys: int = 10_000
    rate: float | None = None
    rounds: int = 5
    loop: str = "asyncio"
    my_keys: bool = False

    def check(self) -> None:
        """Raise BadCommand, with the reason, for what is never run."""
        for way in self.ways:
            if way not in WAYS:
                raise BadCommand(f"--ways: there is no way '{way}'; there are {', '.join(WAYS)}")
        if not self.ways:
            raise BadCommand(f"--ways names no way; there are {', '.join(WAYS)}")
        for template in self.templates:
            if (why := refusal(template.words, self.my_keys)) is not None:
                raise BadCommand(why)
        if "fresh" in self.ways and self.tasks > MOST_CONNECTIONS:
            raise BadCommand(
                f"-c {self.tasks} would open {self.tasks:,} connections at a time with the way fresh, and "
                f"{MOST_CONNECTIONS:,} is the limit: take fewer tasks, or --ways classic,shared"
            )
        if self.tasks > MOST_TASKS:
            raise BadCommand(f"-c {self.tasks}: {MOST_TASKS:,} tasks is the limit")
        if self.pipeline > 1 and self.pipeline * self.tasks > MOST_QUEUED:
            raise BadCommand(
                f"-P {self.pipeline}: {self.tasks:,} tasks would hold {self.pipeline * self.tasks:,} commands at a "
                f"time, and {MOST_QUEUED:,} is the limit"
            )
        if self.keys > MOST_KEYS:
            raise BadCommand(f"-r {self.keys}: {MOST_KEYS:,} keys is the limit")
        if self.size > MOST_BYTES:
            raise BadCommand(f"-d {self.size}: a value has at most {MOST_BYTES:,} bytes")
        if self.rate is not None and not math.isfinite(self.rate):
            raise BadCommand(f"--rate {self.rate} is not a number of calls")
        if self.rate is not None and self.loop == "uvloop":
            raise BadCommand(
                "--rate needs --loop asyncio: the timers of uvloop are in whole milliseconds, and would be measured too"
            )

    @property
    def budget(self) -> int:
        """Connections that `fresh` may make for each command of -t: all together make no more than the limit."""
        return max(1, MOST_CONNECTIONS // len(self.templates))

    @property
    def rounds_of_use(self) -> int:
        """The number of rounds, or fewer: in each of them every task makes a call."""
        calls = []
        if self.seconds is None:
            calls.append(self.count // self.pipeline)
        elif self.rate is not None:
            calls.append(int(self.rate * self.seconds / self.pipeline))
        if "fresh" in self.ways:
            calls.append(self.budget)
        return max(1, min([self.rounds, *(each // self.tasks for each in calls)]))

    def calls(self, way: str) -> int | None:
        """Return the calls of a way in one round; None if the time alone ends it. A pipeline is one call."""
        least = self.rounds
        if self.seconds is None:
            calls = max(least, math.ceil(self.count / self.pipeline))
        elif self.rate is not None:
            calls = max(least, round(self.rate * self.seconds / self.pipeline))
        elif not WAYS[way].connects:
            return None
        else:
            calls = self.budget
        if WAYS[way].connects:
            calls = min(calls, self.budget)
        return max(1, calls // self.rounds if WAYS[way].connects else math.ceil(calls / self.rounds))

    def slice(self, way: str) -> float | None:
        """Return the seconds of a round, where the time ends it; None if the number of calls alone does."""
        if self.rate is not None:
            return None
        if self.seconds is None:
            return MOST_SECONDS / self.rounds if WAYS[way].connects else None
        return self.seconds / self.rounds

    @property
    def open_at_once(self) -> int:
        """The most connections that a way can have open at a time."""
        most = {"fresh": self.tasks, "classic": min(self.tasks, LIMIT), "shared": min(self.tasks, 4)}
        return max(most[way] for way in self.ways)

    def facts(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return {
            "tasks": self.tasks,
            "count": self.count if self.seconds is None else None,
            "seconds": self.seconds,
            "pipeline": self.pipeline,
            "size": self.size,
            "keys": self.keys,
            "rate": self.rate,
            "rounds": self.rounds,
            "loop": self.loop,
        }
