"""Rows of the monitor's tables: clients, commands, slow commands, keys, queues, and what MONITOR shows.

Owns their fields. Never asks a server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """Rows of a table at one moment."""

    at: float
    """Unix time; rows that are asked for again within their period are the same object."""
    rows: tuple[T, ...]
    lacks: str = ""
    """Why rows are missing, such as a right that the user lacks, in a sentence; else ""."""
    note: str = ""
    """A sentence about the rows that the user must know; else ""."""


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A connection. `node` is the server's address in a cluster, else ""."""

    node: str
    id: int
    address: str
    name: str
    user: str
    library: str
    """Name and version of the client library, if it tells."""
    age: int
    """Seconds since it was made."""
    idle: int
    """Seconds since its last command."""
    flags: str
    database: int
    command: str
    """Its last command."""
    subscriptions: int
    """Channels, patterns and shard channels."""
    output: int
    """Bytes of replies that wait for the client."""
    memory: int
    """Bytes in all, -1: unknown."""
    own: bool
    """Whether it is the monitor's own."""


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command, since the previous listing (`calls` ... `failed`) and since the start (`all_...`)."""

    node: str
    name: str
    calls: float
    """A second."""
    microseconds: float
    """Average of a call."""
    share: float
    """Share of the time that the server spent in commands, 0 to 1."""
    failed: float
    """Failed and rejected calls a second."""
    p50: float | None
    """Microseconds since the start; None before 7.0."""
    p99: float | None
    all_calls: int
    all_microseconds: int
    all_failed: int


@dataclass(frozen=True, slots=True)
class SlowRow:
    """An entry of the slow log, or an event of the latency monitor."""

    node: str
    id: int
    """-1 for an event."""
    at: float
    """Unix time."""
    milliseconds: float
    command: str
    """The command with its shortened arguments, or the name of an event."""
    client: str
    """Name of the client, or its address."""
    kind: str
    """"slow", "large-request", "large-reply" (their size stands in `size`) or "event"."""
    size: int = 0
    """Bytes of a large request or reply."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A large key."""

    node: str
    key: str
    type: str
    size: int
    """Bytes, by MEMORY USAGE."""
    ttl: int
    """Milliseconds, -1: none, -2: the user may not ask."""


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Keys of one type, or with one prefix."""

    name: str
    count: int
    size: int
    eternal: int
    """Keys without a TTL."""


@dataclass(frozen=True, slots=True)
class HotRow:
    """A key that is used much."""

    node: str
    key: str
    figure: int
    unit: str
    """"µs" of processor time, "bytes" of traffic, or "LFU" (0 to 255, logarithmic)."""


@dataclass(frozen=True, slots=True)
class KeyReport:
    """Finds of a scan so far."""

    seen: int
    total: int
    """Keys by DBSIZE when the scan began."""
    bytes: int
    eternal: int
    """Keys without a TTL."""
    largest: tuple[KeyRow, ...]
    types: tuple[KeyGroup, ...]
    prefixes: tuple[KeyGroup, ...]
    hot: tuple[HotRow, ...]
    cursors: tuple[tuple[str, int], ...]
    """Cursor of the next SCAN at each node, or -1 at its end. A scan is resumed from its report alone."""
    seconds: float
    """Time that the scan has taken."""
    finished: bool
    lacks: str = ""
    """The missing right, in a sentence; else ""."""

    @property
    def progress(self) -> float:
        """Share of the keys that were seen, 0 to 1."""
        return 1.0 if self.finished else min(self.seen / (self.total or 1), 0.999)


@dataclass(slots=True)
class Pace:
    """Speed of a scan, which may be changed while it runs."""

    keys_a_second: float | None = 2000.0
    """None: full speed."""


@dataclass(frozen=True, slots=True)
class TailLine:
    """A command that MONITOR has shown."""

    node: str
    at: float
    client: str
    database: int
    command: str
    """The command with its shortened arguments."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Commands that MONITOR has shown so far."""

    left: float
    """Seconds until it ends by itself."""
    seconds: float
    """Seconds that it has taken."""
    total: int
    dropped: int
    """Commands that came faster than they could be read."""
    lines: tuple[TailLine, ...]
    """The latest, oldest first."""
    commands: tuple[tuple[str, float], ...]
    """Calls a second by command, most first."""
    prefixes: tuple[tuple[str, float], ...]
    """Calls a second by prefix of the first key, most first."""
    finished: bool
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue of `aioresp.recipes`."""

    node: str
    name: str
    waiting: int
    delayed: int
    running: int
    dead: int
    oldest: float | None
    """Seconds that the first job in line has waited; None: unknown or none waits."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning in words."""

    name: str
    """Which one, such as "connections"; stable."""
    level: str
    """"warning", or "critical" where data or availability are in danger."""
    text: str
    page: str
    """Page of the documentation that tells more, such as "pool"."""
    node: str = ""


def in_all(listings: Iterable[Listing[T]]) -> Listing[T]:
    """Return one listing out of those of several nodes."""
    found = list(listings)
    if len(found) == 1:
        return found[0]
    return Listing(
        max(each.at for each in found),
        tuple(row for each in found for row in each.rows),
        next((each.lacks for each in found if each.lacks), ""),
        next((each.note for each in found if each.note), ""),
    )
