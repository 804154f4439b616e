"""Rates: what happened each second between two readings.

Owns what makes two readings incomparable. Never asks a server.
"""

from __future__ import annotations

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
