"""Progress of a benchmark: each command by each way, as far as it has got.

Owns the figures while they grow. Never prints, and never sends anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from aioresp.cli.bench.histogram import Histogram
from aioresp.cli.bench.plan import Plan
from aioresp.cli.bench.server import Facts, Used
from aioresp.cli.bench.tally import Tally
from aioresp.cli.bench.template import Template
from aioresp.cli.bench.ways import WAYS, Traffic

#: Percentiles of a result.
PERCENTS: Final = (50.0, 99.0, 99.9, 99.99)


@dataclass(frozen=True)
class Round:
    """Figures of one round, by which the spread is told."""

    ops_per_second: float
    p50_ms: float
    p99_ms: float


@dataclass
class Lane:
    """One command by one way."""

    template: Template
    way: str
    calls: int | None
    """Calls of all rounds; None if the time ends them."""
    seconds: float | None
    """Seconds of all rounds, if the time can end them."""
    weight: int
    """Commands in a call."""
    total: Tally = field(default_factory=Tally)
    current: Tally | None = None
    """The round under way; None between rounds."""
    since: float = 0.0
    rounds: list[Round] = field(default_factory=list)
    used: Used = field(default_factory=Used)
    cpu: float = 0.0
    """Seconds of processor time of this process."""
    delay: float | None = None
    """Seconds in which this process was ready to run and had no core."""
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def title(self) -> str:
        """The way, in words."""
        return WAYS[self.way].title

    @property
    def begun(self) -> bool:
        """Whether anything was measured."""
        return self.current is not None or bool(self.rounds)

    @property
    def done(self) -> int:
        """Calls so far, failed ones too."""
        tallies = [self.total] if self.current is None else [self.total, self.current]
        return sum(tally.answered + tally.failed for tally in tallies)

    @property
    def elapsed(self) -> float:
        """Seconds of the rounds so far."""
        return self.total.seconds + (perf_counter() - self.since if self.current is not None else 0.0)

    @property
    def fraction(self) -> float:
        """Part of the work that is done, from 0 to 1."""
        by_calls = self.done / self.calls if self.calls else 0.0
        by_time = self.elapsed / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_calls, by_time))

    @property
    def live(self) -> float:
        """Commands a second so far."""
        seconds = self.elapsed
        return self.done * self.weight / seconds if seconds else 0.0

    @property
    def histogram(self) -> Histogram:
        """The latencies of all rounds that have ended."""
        return self.total.histogram

    @property
    def operations(self) -> int:
        """Commands that succeeded."""
        return self.total.calls * self.weight

    @property
    def rate(self) -> float:
        """Commands a second over all rounds."""
        return self.operations / self.total.seconds if self.total.seconds else 0.0

    def begin(self) -> Tally:
        """Begin a round."""
        self.current = Tally()
        self.since = perf_counter()
        return self.current

    def end(self) -> None:
        """End the round, also if it was broken off: what was measured counts."""
        tally, self.current = self.current, None
        if tally is None or not tally.seconds:
            return
        self.total += tally
        p50, p99 = tally.histogram.percentiles((50, 99))
        self.rounds.append(Round(tally.calls * self.weight / tally.seconds, p50 * 1000, p99 * 1000))


@dataclass
class Progress:
    """The whole run."""

    plan: Plan
    address: str
    lanes: list[Lane]
    facts: Facts = field(default_factory=Facts)
    notes: list[str] = field(default_factory=list)
    """Sentences about the server and the run that a reader of the figures must know."""
    prefix: str = ""
    deleted: int = 0
    complete: bool = False
    doing: str = ""
    """The step at present, while nothing is measured."""

    @property
    def measured(self) -> bool:
        """Whether there is anything to show."""
        return any(lane.rounds for lane in self.lanes)

    def of(self, template: Template) -> list[Lane]:
        """Return the lanes of one command."""
        return [lane for lane in self.lanes if lane.template is template]


def planned(plan: Plan, address: str) -> Progress:
    """Return the progress of a run that has not begun."""
    lanes = []
    for template in plan.templates:
        for way in plan.ways:
            calls = plan.calls(way)
            whole = None if calls is None else calls * plan.rounds
            seconds = plan.slice(way)
            lanes.append(Lane(template, way, whole, None if seconds is None else seconds * plan.rounds, plan.pipeline))
    return Progress(plan, address, lanes)
