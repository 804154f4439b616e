"""Figures of a demo run: plain values, and their JSON.

Owns the names of the figures, as scripts read them from `--json`. Never measures and never prints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server that was used."""

    address: str
    """Without credentials."""
    flavour: str
    version: str
    embedded: bool
    """Whether the demo started it."""

    def __str__(self) -> str:
        """Return it as it is shown: "redis://127.0.0.1:6379 (redis 8.0.2, embedded)"."""
        return f"{self.address} ({self.flavour} {self.version}{', embedded' if self.embedded else ''})"


@dataclass(frozen=True, slots=True)
class WayFigures:
    """One way to send the SETs."""

    number: int
    name: str
    seconds: float
    ops_per_second: float
    connections: int
    """Connections that the clients of this way made. `race.received` is the server's count of all."""
    made: int
    """The same, under the name of earlier versions."""
    p50_ms: float
    p99_ms: float
    times_first: float
    """`ops_per_second` as a multiple of the first way's."""
    place: int
    """Place in the order of arrival, from 1."""
    cpu_seconds: float
    """Processor time of its process, without the server's."""


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """One round of SETs from all threads."""

    seconds: float
    connections: int
    made: int


@dataclass(frozen=True, slots=True)
class ThreadFigures:
    """One client used by several threads, each with an event loop of its own."""

    threads: int
    limit: int
    sets_a_round: int
    rounds: tuple[RoundFigures, ...]
    lane: WayFigures
    """Both rounds together."""


@dataclass(frozen=True, slots=True)
class RaceFigures:
    """The race as a whole."""

    in_turn: bool
    """Whether one lane ran at a time, or all at once."""
    seconds: float
    received: int
    """Rise of the server's `total_connections_received` during the run."""


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """Keys of the run, and how many were deleted."""

    prefix: str
    written: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of a run."""

    aioresp: str
    python: str
    server: ServerFacts
    count: int
    ways: tuple[WayFigures, ...]
    """The four ways of this client."""
    threads: ThreadFigures
    peers: tuple[WayFigures, ...]
    """Other clients, as far as they are installed."""
    redis_py: str | None
    """Version of redis-py, if it has a lane."""
    race: RaceFigures
    keys: KeyFigures

    @property
    def lanes(self) -> list[WayFigures]:
        """All lanes, in the order of arrival."""
        return sorted((*self.ways, self.threads.lane, *self.peers), key=lambda lane: lane.place)

    @property
    def strangers(self) -> int:
        """How many connections others made to the server meanwhile, as far as that shows."""
        return self.race.received - sum(lane.made for lane in self.lanes)

    def to_json(self) -> str:
        """Return the figures as a JSON object, floats with as many digits as mean something."""
        return as_json(self)


def as_json(figures: Any) -> str:
    """Return a dataclass as a JSON object, floats with as many digits as mean something."""
    return json.dumps(_rounded(asdict(figures)), indent=2)


def percentile(sorted_values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all do not exceed."""
    rank = math.ceil(len(sorted_values) * percent / 100)
    return sorted_values[max(rank, 1) - 1]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value
