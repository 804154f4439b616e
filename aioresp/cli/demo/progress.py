"""Progress of a demo run: plain data, written by the race and read by the display.

Owns the lanes of a run, their names and their colours. Never measures.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from aioresp.cli.demo.figures import ServerFacts


class Sample(NamedTuple):
    """Counts of a lane at one moment, as the lane told them."""

    at: float
    """Seconds since the lane began."""
    done: int
    """SETs that have their reply."""
    made: int
    """Connections that its clients made."""


@dataclass(slots=True)
class Lane:
    """Lane of the race: one way to send the SETs, in a process of its own."""

    number: int
    name: str
    colour: str
    total: int
    """Number of SETs to send."""
    samples: list[Sample] = field(default_factory=lambda: [Sample(0.0, 0, 0)])
    began: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    """The figures that the lane told at its end; empty until it has arrived."""

    def begin(self) -> None:
        """Note that the lane was let go."""
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it began, or from its beginning to its end by its own clock."""
        if self.result:
            return float(self.result["seconds"])
        return 0.0 if self.began is None else time.perf_counter() - self.began

    @property
    def done(self) -> int:
        """SETs that have their reply, as far as the lane has told."""
        return self.samples[-1].done

    @property
    def made(self) -> int:
        """Connections that its clients made, as far as the lane has told."""
        return self.samples[-1].made

    def at(self, moment: float) -> Sample:
        """Return the counts of a moment of its own clock, between two that it told in proportion."""
        after = bisect_right(self.samples, moment, key=itemgetter(0))
        if after == len(self.samples):
            return self.samples[-1]
        before, later = self.samples[after - 1], self.samples[after]
        part = (moment - before.at) / (later.at - before.at)
        done, made = (round(was + (then - was) * part) for was, then in zip(before[1:], later[1:], strict=True))
        return Sample(moment, done, made)


# Names short enough for a table of 80 columns. Colours of Okabe and Ito, which colour-blind people can tell apart.
NAMES_AND_COLOURS = (
    ("a connection for each SET", "#D55E00"),
    ("a client for a job of 20", "#E69F00"),
    ("a pool of 10 connections", "#0072B2"),
    ("the shared pool, Client()", "#009E73"),
    ("5 threads, one client", "#CC79A7"),
    ("redis-py, 20 connections", "#56B4E9"),
)

#: Numbers of the lanes from top to bottom, and in the order in which they run alone: that of the race is the last.
ORDER = (4, 3, 6, 5, 2, 1)

#: The number of the lane that the others are compared with, and of the one that they lose to.
BASE = 1
HERO = 4


@dataclass(slots=True)
class Progress:
    """A whole run."""

    server: ServerFacts
    count: int
    lanes: tuple[Lane, ...]
    """The lanes from top to bottom."""
    in_turn: bool = True
    """Whether one lane runs at a time."""
    began: float = field(default_factory=time.perf_counter)
    received: list[int] = field(default_factory=lambda: [0])
    """Rise of the server's `total_connections_received` since the beginning, a few times a second."""

    @property
    def clock(self) -> float | None:
        """Seconds of the race: of the last lane, which runs beside what the others told, or of all that run at once.

        None while lanes run alone that are going to be shown again.
        """
        last = self.lanes[-1]
        return None if last.began is None else last.seconds if self.in_turn else float("inf")

    def place(self, lane: Lane) -> int:
        """Return the place of a lane that has arrived, from 1, among those that have."""
        return 1 + sum(bool(other.result) and other.seconds < lane.seconds for other in self.lanes)

    def lane(self, number: int) -> Lane:
        """Return the lane of this number."""
        return next(lane for lane in self.lanes if lane.number == number)


def planned(server: ServerFacts, totals: Mapping[int, int], *, in_turn: bool) -> Progress:
    """Return the progress of a run that has not begun, with the lanes in `totals` and their numbers of SETs."""
    lanes = tuple(Lane(number, *NAMES_AND_COLOURS[number - 1], totals[number]) for number in ORDER if number in totals)
    return Progress(server, totals[BASE], lanes, in_turn)
