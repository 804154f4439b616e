"""Planned failover of a Sentinel set under load: how many acknowledged writes are gone afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from aioresp.testing import SentinelServers

from .load import working
from .sentinels import OPEN

TASKS = 20

#: Seconds of load before and after: the old primary takes writes for 11 seconds, until the sentinels demote it.
BEFORE, AFTER = 1.0, 15.0


def run(names: Sequence[str], executable: str | None) -> str:
    """Measure all clients, and return the report."""
    lines = ["| client | acknowledged | errors | acknowledged and lost | pause |", "|---|---:|---:|---:|---:|"]
    for name in names:
        if name not in OPEN:
            continue
        with SentinelServers(executable=executable) as servers:
            keys = [f"list:{number}" for number in range(TASKS)]
            job = {
                "client": name,
                "groups": [[key] for key in keys],
                "addresses": servers.addresses,
                "name": servers.name,
                "password": servers.password,
                "sentinel_password": servers.sentinel_password,
            }
            with working(what="rpush", tasks=1, **job) as worker:
                time.sleep(BEFORE)
                primary = servers.failover()
                time.sleep(AFTER)
                ledger = worker.stop()
            kept = sum(int(str(primary.call("LLEN", key))) for key in keys)
        if ledger is None:
            lines.append(f"| {name} | | given up | | |")
            continue
        done, errors = sum(ledger["done"].values()), sum(ledger["errors"].values())
        gaps = [end - begin for group in ledger["gaps"] for begin, end in group]
        pause = f"{max(gaps):.1f} s" if gaps else "none"
        lines.append(f"| {name} | {done:,} | {errors:,} | {max(0, done - kept):,} | {pause} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines) + "\n"
