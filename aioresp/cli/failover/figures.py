"""Figures of the cluster demo: plain values, and their JSON.

Owns the names of the figures, as scripts read them from `--json`. Never measures and never prints.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from aioresp.cli.demo.figures import as_json
from aioresp.cli.failover.load import Ledger
from aioresp.cli.failover.progress import Progress, Shard
from aioresp.version import VERSION

#: Seconds after the end of the pause that count for no rate: all calls that have waited are answered then.
SETTLING = 1.0


@dataclass(frozen=True, slots=True)
class ShardFigures:
    """One shard."""

    name: str
    primary: str
    """Address of the primary at the beginning."""
    replica: str
    slots: tuple[int, int]
    before: float
    """Calls acknowledged a second, before the kill."""
    during: float
    """The same, while the dead primary had no successor."""
    after: float
    errors: int
    longest_pause: float
    """Seconds of the longest time without a reply."""


@dataclass(frozen=True, slots=True)
class FailoverFigures:
    """The killed primary."""

    shard: str
    killed: str
    promoted: str
    seconds_to_promote: float
    """From the kill until the replica said that it is a primary."""
    seconds_to_serve: float
    """From the kill until the client's first call of the shard was acknowledged again."""


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """Outcomes that the tasks were told, against the counters in the servers."""

    acknowledged: int
    unknown: int
    lost: int
    twice: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of a run."""

    aioresp: str
    python: str
    server: str
    tasks: int
    node_timeout: float
    shards: tuple[ShardFigures, ...]
    failover: FailoverFigures
    ledger: LedgerFigures

    def to_json(self) -> str:
        """Return the figures as a JSON object."""
        return as_json(self)


def figures(progress: Progress, ledger: Ledger, node_timeout: float) -> Figures:
    """Return the figures of a run that has ended."""
    victim = progress.victim
    killed, promoted = progress.killed_at or 0.0, progress.promoted_at or 0.0
    served = max(victim.pause[1], killed)
    end = victim.samples[-1].at
    return Figures(
        aioresp=VERSION,
        python=platform.python_version(),
        server=progress.server,
        tasks=progress.count,
        node_timeout=node_timeout,
        shards=tuple(_figures(shard, killed, served, end) for shard in progress.shards),
        failover=FailoverFigures(victim.name, victim.primary, victim.replica, promoted - killed, served - killed),
        ledger=LedgerFigures(*ledger),
    )


def _figures(shard: Shard, killed: float, served: float, end: float) -> ShardFigures:
    return ShardFigures(
        name=shard.name,
        primary=shard.primary,
        replica=shard.replica,
        slots=shard.slots,
        before=shard.rate(0.0, killed),
        during=shard.rate(killed + 0.1, served - 0.05),
        after=shard.rate(served + SETTLING, end),
        errors=shard.errors,
        longest_pause=shard.paused,
    )
