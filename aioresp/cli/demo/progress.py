"""Progress of a demo run: plain data, written by the measuring side and read by the display.

Owns the phases of a run, their names and their colours. Never costs the measured code more than an append to a
list.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from aioresp.cli.demo.figures import ServerFacts


class Sample(NamedTuple):
    """The server's `total_connections_received` at one moment."""

    at: float
    """Seconds since the run began."""
    total: int
    """Connections since the run began."""
    phase: int
    """Number of the phase at that moment."""


@dataclass(slots=True)
class Phase:
    """Phase of a run (one way, or the threads): its name and its progress."""

    number: int
    name: str
    colour: str
    total: int
    """Number of SETs to send."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of each SET that has its reply."""
    baseline: int = 0
    """Number of connections that the server had received at its beginning."""
    connections: int = 0
    """Number of connections that the server has received in this phase so far."""
    began: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds since it began, or from its beginning to its end."""
        if self.began is None:
            return 0.0
        return (time.perf_counter() if self.ended is None else self.ended) - self.began


# Names short enough for a table of 80 columns. Colours of Okabe and Ito, which colour-blind people can tell apart.
NAMES_AND_COLOURS = (
    ("a connection for each SET", "#D55E00"),
    ("a client for a job of 20", "#E69F00"),
    ("a pool of 10 connections", "#0072B2"),
    ("the shared pool, Client()", "#009E73"),
    ("5 threads, one client", "#CC79A7"),
)


@dataclass(slots=True)
class Progress:
    """A whole run."""

    server: ServerFacts
    count: int
    phases: tuple[Phase, ...]
    current: Phase
    """The present phase, or the last one."""
    samples: list[Sample] = field(default_factory=list)


def planned(server: ServerFacts, count: int, sets_of_threads: int) -> Progress:
    """Return the progress of a run that has not begun: four ways with `count` SETs each, then the threads."""
    phases = tuple(
        Phase(number, name, colour, count if number < len(NAMES_AND_COLOURS) else sets_of_threads)
        for number, (name, colour) in enumerate(NAMES_AND_COLOURS, 1)
    )
    return Progress(server, count, phases, phases[0])
