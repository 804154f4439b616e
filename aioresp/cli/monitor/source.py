"""Source of the monitor's figures: the protocol that live servers and a recording share.

Owns the moment, which holds all that one look at the servers has found. Never asks a server itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from aioresp.cli.monitor.rates import Rates
from aioresp.cli.monitor.reading import Reading
from aioresp.cli.monitor.rows import (
    ClientRow,
    CommandRow,
    KeyReport,
    Listing,
    Notice,
    Pace,
    QueueRow,
    SlowRow,
    Tail,
)
from aioresp.cli.monitor.words import duration, place


@dataclass(frozen=True, slots=True)
class NodeMoment:
    """One server at one moment."""

    node: str
    """Its address in a cluster, else ""."""
    at: float
    """Unix time."""
    reading: Reading | None
    """The latest reading, which is old if there is `trouble`; None before the first."""
    rates: Rates | None
    """None at the first reading, after a gap, and while there is trouble."""
    trouble: str = ""
    """Trouble of the server, such as "does not answer"; `sentence` makes a sentence of it. "" if all is well."""
    since: float | None = None
    """Unix time at which the trouble began."""
    lacks: str = ""
    """The missing right, in a sentence, if there is no reading for want of it; else ""."""
    remark: str = ""
    """News since the previous moment, such as "the server was restarted"; else ""."""

    def sentence(self, address: str, now: float) -> str:
        """Return the trouble as a sentence: "the server at ... does not answer, for 12 s now; trying again"."""
        if not self.trouble:
            return ""
        so_far = "" if self.since is None or now - self.since < 1 else f", for {duration(now - self.since)} now"
        where = self.node or place(address)
        return f"the server {'' if ' at ' in where else 'at '}{where} {self.trouble}{so_far}; trying again"


@dataclass(frozen=True, slots=True)
class Moment:
    """All that one look has found."""

    at: float
    """Unix time."""
    address: str
    """The address without credentials, as the user gave it."""
    whole: NodeMoment
    """The server, or the sum over a cluster's nodes."""
    nodes: tuple[NodeMoment, ...]
    """One for each server, primaries first; for one server it is `whole` alone."""
    notices: tuple[Notice, ...]

    @property
    def is_cluster(self) -> bool:
        """Whether the figures are those of a cluster."""
        return any(each.node for each in self.nodes)


class Timeline(Protocol):
    """Playback of a recording."""

    begin: float
    """Unix time of the first moment."""
    end: float

    @property
    def speed(self) -> float:
        """Seconds of the recording that pass in a second."""
        ...

    @speed.setter
    def speed(self, value: float) -> None: ...

    @property
    def at(self) -> float:
        """Unix time that is played at present."""
        ...

    def seek(self, at: float) -> None:
        """Go on from another Unix time."""
        ...

    def pause(self, paused: bool) -> None:
        """Stop the time, or let it go on."""
        ...


class Source(Protocol):
    """Figures for the monitor. No method raises because of a server: they return what went wrong, too.

    `clients`, `commands`, `slow` and `queues` ask the servers once in their period at most, and return the same listing
    until then: call them as often as you like.
    """

    address: str
    """The address without credentials."""

    @property
    def timeline(self) -> Timeline | None:
        """Playback of a recording; None for live servers."""
        ...

    async def read(self) -> Moment:
        """Read the figures now. Call it once a period: the rates are those since the previous call."""
        ...

    async def clients(self, now: bool = False) -> Listing[ClientRow]:
        """List the connections, each 2 s; each 10 s above 500 clients, and above 5,000 only if `now`."""
        ...

    async def commands(self, now: bool = False) -> Listing[CommandRow]:
        """List the commands, each 2 s, or `now`."""
        ...

    async def slow(self) -> Listing[SlowRow]:
        """List the slow commands and the latency events, each 2 s, the latest first."""
        ...

    async def queues(self) -> Listing[QueueRow]:
        """List the queues, each 2 s. They are looked for little by little: see `note`."""
        ...

    def scan_keys(self, pace: Pace, resume: KeyReport | None = None) -> AsyncIterator[KeyReport]:
        """Look at all keys, and yield a report some times a second; end it early to pause, and `resume` it."""
        ...

    def tail(self, seconds: float = 10.0) -> AsyncIterator[Tail]:
        """Run MONITOR on a connection of its own, and yield what it shows some times a second."""
        ...

    async def kill(self, row: ClientRow) -> str:
        """End a connection; return what happened, in a sentence. Never the monitor's own."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
