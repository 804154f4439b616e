"""Failover under load: when a dead shard is usable again, and how fast the other shards are meanwhile.

20 tasks for each shard set keys, one after the other. A primary is killed or frozen. A shard counts as ready when its
replica takes a write that the benchmark itself sends; the client's first success after that is the measurement.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from aioresp.testing import ClusterServers, ErrorReply, ServerFailed

from .clients import Adapter
from .load import working
from .worker import BIN

TASKS = 20
WARM = 2.0

#: Seconds that a dead shard may take longer than its servers, and share of their speed that the others keep.
LATE, KEPT = 0.3, 0.8


class Outcome(NamedTuple):
    """What one client did in one failover."""

    servers: float
    first: float
    last: float
    kept: float
    kept_by_cpu: float
    errors: int


def shards(servers: ClusterServers, each: int = TASKS) -> list[list[str]]:
    """Return keys of each primary."""
    found: dict[Any, list[str]] = {node: [] for node in servers.primaries()}
    number = 0
    while min(map(len, found.values())) < each:
        keys = found[servers.primary_of(f"key:{number}")]
        if len(keys) < each:
            keys.append(f"key:{number}")
        number += 1
    return list(found.values())


def _until_ready(heir: Any, key: str) -> float:
    while True:
        try:
            heir.call("SET", key, "ready", timeout=1.0)
        except (ErrorReply, ServerFailed):
            time.sleep(0.003)
        else:
            return time.monotonic()


def _rate(ledger: dict[str, Any], groups: Sequence[int], begin: float, end: float) -> float:
    first, last = int(begin / BIN) + 1, int(end / BIN)
    counts = (ledger["bins"][group].get(str(at), 0) for group in groups for at in range(first, last))
    return sum(counts) / max(last - first, 1) / BIN


def _cpu(ledger: dict[str, Any], begin: float, end: float) -> float:
    """Return the processor time of the worker between two moments."""
    samples = [seconds for at, seconds in ledger["cpu"].items() if begin <= (int(at) + 0.5) * BIN <= end]
    return (max(samples) - min(samples)) / (end - begin) if samples else 1.0


def fail_over(adapter: Adapter, how: str, executable: str | None, coverage: bool = False) -> Outcome | None:
    """Measure one failover; return None if the client does not come to an end."""
    with ClusterServers(node_timeout=1.0, full_coverage=coverage, executable=executable) as servers:
        victim = servers.primaries()[0]
        heir = servers.replicas_of(victim)[0]
        groups = shards(servers)
        with working(what="set", client=adapter.name, url=servers.url, groups=groups, tasks=TASKS) as worker:
            time.sleep(WARM)
            (victim.kill if how == "kill" else victim.pause)()
            dead = time.monotonic()
            ready = _until_ready(heir, groups[0][0])
            time.sleep(3.0)
            ledger = worker.stop()
        if how != "kill":
            victim.resume()
    if ledger is None:
        return None
    ends = [end for begin, end in ledger["gaps"][0] if begin < ready and end > dead + 0.1]
    ends = ends or [dead + 99]
    begin, over = dead - WARM + 0.5, max(ready, min(ends))
    kept = _rate(ledger, (1, 2), dead, over) / _rate(ledger, (1, 2), begin, dead)
    by_cpu = kept * _cpu(ledger, begin, dead) / _cpu(ledger, dead, over)
    errors = sum(ledger["errors"].values())
    return Outcome(ready - dead, min(ends) - ready, max(ends) - ready, kept, by_cpu, errors)


def run(adapters: Sequence[Adapter], rounds: int, executable: str | None) -> tuple[str, bool]:
    """Measure all clients, and return the report and whether aioresp meets its targets."""
    lines = [
        "| client | primary | servers ready after | usable later, first and last task | others keep, by CPU | errors |",
        "|---|---|---:|---:|---:|---:|",
    ]
    met = True
    for how in ("kill", "pause"):
        for adapter in adapters:
            found = []
            for number in range(rounds):
                outcome = fail_over(adapter, how, executable)
                print(f"{how}, {adapter.name}, {number + 1}: {outcome}", file=sys.stderr, flush=True)
                if outcome is not None:
                    found.append(outcome)
            if not found:
                lines.append(f"| {adapter.name} | {how} | | given up | | |")
                continue
            middle = Outcome(*(statistics.median(column) for column in zip(*found, strict=True)))
            if adapter.name == "aioresp":
                met = met and middle.first <= LATE and middle.kept >= KEPT
            lines.append(
                f"| {adapter.name} | {'killed' if how == 'kill' else 'frozen'} | {middle.servers:.2f} s "
                f"| {middle.first:+.2f} s, {middle.last:+.2f} s | {middle.kept:.2f}, "
                f"{middle.kept_by_cpu:.2f} | {middle.errors:,.0f} |"
            )
    return "\n".join(lines) + "\n", met
