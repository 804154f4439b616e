"""Progress of the cluster demo: plain data, written by the load and read by the displays.

Owns the shards, their counts and the samples of these. Never measures, and never prints.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

#: Colours of Okabe and Ito, which colour-blind people can tell apart, for the shards.
COLOURS = ("#0072B2", "#D55E00", "#009E73")

#: Seconds over which a rate is taken.
WINDOW = 0.3


class Sample(NamedTuple):
    """Counts of one shard at one moment."""

    at: float
    """Seconds since the load began."""
    done: int
    errors: int
    waiting: int
    """Calls under way, those that wait for a node included."""
    serving: str
    """Address of the primary, as the client knows it."""


@dataclass(slots=True)
class Shard:
    """A shard: its nodes, and what its callers have seen so far."""

    name: str
    colour: str
    slots: tuple[int, int]
    primary: str
    """Address of the primary at the beginning."""
    replica: str
    done: int = 0
    """Calls that were acknowledged."""
    errors: int = 0
    waiting: int = 0
    replied: float | None = None
    """Time of the last reply, in seconds since the load began."""
    pause: tuple[float, float] = (0.0, 0.0)
    """Begin and end of the longest time without a reply."""
    samples: list[Sample] = field(default_factory=list)

    @property
    def paused(self) -> float:
        """Seconds of the longest time without a reply."""
        return self.pause[1] - self.pause[0]

    def rate(self, begin: float, end: float) -> float:
        """Return the replies a second between two times."""
        inside = [sample for sample in self.samples if begin <= sample.at <= end]
        if len(inside) < 2 or inside[-1].at == inside[0].at:
            return 0.0
        return (inside[-1].done - inside[0].done) / (inside[-1].at - inside[0].at)

    def rates(self, address: str | None = None, window: float = WINDOW) -> list[float]:
        """Return the rate at each sample but the first; with `address`, 0 while another node serves the shard."""
        found = []
        first = 0
        for number in range(1, len(self.samples)):
            now = self.samples[number]
            while first < number - 1 and now.at - self.samples[first].at > window:
                first += 1
            before = self.samples[first]
            rate = (now.done - before.done) / max(now.at - before.at, 0.001)
            found.append(rate if address in (None, now.serving) else 0.0)
        return found


@dataclass(slots=True)
class Progress:
    """A whole run."""

    server: str
    """Flavour and version of the servers."""
    count: int
    shards: tuple[Shard, ...]
    victim: Shard
    """The shard whose primary is killed."""
    began: float = field(default_factory=time.perf_counter)
    step: str = "the tasks begin"
    killed_at: float | None = None
    promoted_at: float | None = None

    def clock(self) -> float:
        """Return the seconds since the beginning."""
        return time.perf_counter() - self.began

    def begin(self) -> None:
        """Begin now, and forget what came before."""
        self.began = time.perf_counter()
        for shard in self.shards:
            shard.replied, shard.pause = None, (0.0, 0.0)

    @property
    def others(self) -> list[Shard]:
        """The shards whose primaries live on."""
        return [shard for shard in self.shards if shard is not self.victim]
