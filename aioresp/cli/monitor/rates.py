"""Rates: what happened each second between two readings, and a bounded history of it.

Owns what makes two readings incomparable. Never asks a server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from aioresp.cli.monitor.reading import Reading

#: Seconds by which both wall clocks may run ahead of the monitor's monotonic one. Beyond, the monitor was suspended.
_SUSPENDED: Final = 2.0

#: Readings closer together than this give no rates, in seconds.
_SHORTEST: Final = 0.02


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second between two readings, without the monitor's own."""

    seconds: float
    """Time between the readings."""
    received: float
    """Connections that the server accepted."""
    rejected: float
    commands: float
    bytes_in: float
    bytes_out: float
    hits: float
    misses: float
    expired: float
    evicted: float
    errors: float
    cpu: float
    """Cores in use: 1.0 is one core."""

    @property
    def hit_rate(self) -> float | None:
        """Share of the lookups that found their key, 0 to 1; None if there were none."""
        looked = self.hits + self.misses
        return self.hits / looked if looked else None


@dataclass(frozen=True, slots=True)
class Point:
    """Figures of one moment, for curves. `rates` is None where there is a gap."""

    at: float
    rates: Rates | None
    open: int
    used: int
    keys: int


class History:
    """The latest points of one server, oldest first. A gap is a point without rates."""

    def __init__(self, length: int = 600) -> None:
        self._points: deque[Point] = deque(maxlen=length)

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self._points)

    def add(self, point: Point) -> None:
        """Add a point; the oldest makes room."""
        self._points.append(point)

    def curve(self, of: Callable[[Rates], float | None], length: int | None = None) -> list[float | None]:
        """Return one figure of the latest points, None for gaps."""
        points = list(self._points)[-length if length else 0 :]
        return [None if point.rates is None else of(point.rates) for point in points]


def break_between(before: Reading, after: Reading) -> str:
    """Return why two readings, own shares included, cannot be compared, in words; "" if they can."""
    old, new = before.identity, after.identity
    if old.run_id != new.run_id:
        # A server that was started before the last reading is not the one that was read then.
        restarted = new.uptime <= after.at - before.at + 2 and old.version == new.version
        return "the server was restarted" if restarted else "another server answers at this address"
    one, two = before.totals, after.totals
    counters = (
        (before.connections.received, after.connections.received),
        (before.connections.rejected, after.connections.rejected),
        *((one.commands, two.commands), (one.bytes_in, two.bytes_in), (one.bytes_out, two.bytes_out)),
        *((one.hits, two.hits), (one.misses, two.misses), (one.expired, two.expired)),
        *((one.evicted, two.evicted), (one.errors, two.errors)),
    )
    if any(later < earlier for earlier, later in counters):
        return "the server's counters were set to zero (CONFIG RESETSTAT)"
    return ""


def seconds_between(before: Reading, after: Reading) -> float:
    """Return the time between two readings. A clock that was set, on either side, does not count."""
    passed = after.clock - before.clock
    if before.server_clock is not None and after.server_clock is not None:
        told = min(after.server_clock - before.server_clock, after.at - before.at)
        if told > passed + _SUSPENDED:  # while this machine sleeps, its monotonic clock stands still
            return told
    return passed


def between(before: Reading, after: Reading) -> Rates | None:
    """Return the rates between two readings that can be compared; None if they are too close together."""
    seconds = seconds_between(before, after)
    if seconds < _SHORTEST:
        return None

    def rate(earlier: float, later: float) -> float:
        # The monitor's own share is counted a moment later than the server counts it.
        return max(later - earlier, 0) / seconds

    one, two = before.totals, after.totals
    return Rates(
        seconds=seconds,
        received=rate(before.connections.received, after.connections.received),
        rejected=rate(before.connections.rejected, after.connections.rejected),
        commands=rate(one.commands, two.commands),
        bytes_in=rate(one.bytes_in, two.bytes_in),
        bytes_out=rate(one.bytes_out, two.bytes_out),
        hits=rate(one.hits, two.hits),
        misses=rate(one.misses, two.misses),
        expired=rate(one.expired, two.expired),
        evicted=rate(one.evicted, two.evicted),
        errors=rate(one.errors, two.errors),
        cpu=rate(one.cpu_system + one.cpu_user, two.cpu_system + two.cpu_user),
    )
