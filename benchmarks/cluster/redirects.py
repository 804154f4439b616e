"""Redirects under load: a slot that is half on its way, slots that move to and fro, and replies that are cut off.

The ledger of each client is compared with the counters on the servers: what ran more often than it was acknowledged or
failed has run twice.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from aioresp.testing import ClusterServers

from .clients import Adapter
from .load import working

HALF = [f"{{half}}{number}" for number in range(2_000)]
SLOTS = 5
COUNTERS = [f"{{fro{number % SLOTS}}}{number}" for number in range(50)]

#: Seconds that slots move, and seconds that a client has for 2,000 reads.
MOVING = 8.0
PATIENCE = 30.0


def _head(*columns: str) -> list[str]:
    return ["| client | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]


def _errors(ledger: dict[str, Any]) -> str:
    counts = sorted(ledger["errors"].items(), key=lambda each: -each[1])
    return ", ".join(f"{count:,} {name}" for name, count in counts[:3]) or "none"


def half(adapters: Sequence[Adapter], executable: str | None, sizes: Sequence[int] = (1, 20, 200)) -> str:
    """Read 2,000 keys of a slot whose keys have left, while the slot has not: each is redirected by ASK."""
    lines = _head("tasks", "right", "seconds", "errors")
    with ClusterServers(executable=executable) as servers:
        source = servers.primary_of("{half}")
        target = next(node for node in servers.primaries() if node is not source)
        for key in HALF:
            source.call("SET", key, "v")
        migration = servers.begin_migration("{half}", target)
        migration.move()
        for adapter in adapters:
            for tasks in sizes:
                job = {"client": adapter.name, "url": servers.url, "groups": [HALF], "expected": "v"}
                with working(what="get", tasks=tasks, count=len(HALF), **job) as worker:
                    ledger = worker.wait(PATIENCE)
                if ledger is None:
                    row = [f"{tasks}", "", f"more than {PATIENCE:g}", "given up"]
                else:
                    row = [f"{tasks}", f"{ledger['right']:,}", f"{ledger['seconds']:.1f}", _errors(ledger)]
                lines.append(f"| {adapter.name} | " + " | ".join(row) + " |")
                print(lines[-1], file=sys.stderr, flush=True)
        migration.end()
    return "\n".join(lines) + "\n"


def _counted(servers: ClusterServers) -> int:
    total = 0
    for key in COUNTERS:
        total += int(str(servers.primary_of(key).call("GET", key) or 0))
    return total


def _row(adapter: Adapter, servers: ClusterServers, ledger: dict[str, Any] | None, first: str) -> str:
    if ledger is None:
        return f"| {adapter.name} | {first} | | given up | | |"
    done, errors, counted = sum(ledger["done"].values()), sum(ledger["errors"].values()), _counted(servers)
    twice = max(0, counted - done - errors)
    row = [first, f"{done:,}", _errors(ledger), f"{counted - done:,}", f"{twice:,}"]
    line = f"| {adapter.name} | " + " | ".join(row) + " |"
    print(line, file=sys.stderr, flush=True)
    return line


def moving(adapters: Sequence[Adapter], executable: str | None) -> str:
    """Have 50 tasks count while slots move from node to node, key by key."""
    lines = _head("moves", "acknowledged", "errors", "ran without a reply", "of these twice, at least")
    for adapter in adapters:
        with ClusterServers(executable=executable) as servers:
            nodes = servers.primaries()
            job = {"client": adapter.name, "url": servers.url, "groups": [[key] for key in COUNTERS]}
            with working(what="incr", tasks=1, **job) as worker:
                moves, end = 0, time.monotonic() + MOVING
                while time.monotonic() < end:
                    slot = f"{{fro{moves % SLOTS}}}"
                    home = servers.primary_of(slot)
                    servers.migrate(slot, nodes[(nodes.index(home) + 1) % len(nodes)])
                    moves += 1
                ledger = worker.stop()
            lines.append(_row(adapter, servers, ledger, f"{moves:,}"))
    return "\n".join(lines) + "\n"


def cut(adapters: Sequence[Adapter], executable: str | None) -> str:
    """Have 10 tasks count 1,000 times, while proxies cut connections in the middle of replies."""
    lines = _head("cuts", "acknowledged", "errors", "ran without a reply", "of these twice, at least")
    for adapter in adapters:
        with ClusterServers(executable=executable, proxies=True) as servers:
            over = threading.Event()

            def harass(servers: ClusterServers = servers, over: threading.Event = over) -> None:
                luck, gates = random.Random(13), [servers.proxies[node] for node in servers.primaries()]
                while not over.wait(0.02):
                    luck.choice(gates).cut_after(luck.randrange(1, 12), "down")

            job = {"client": adapter.name, "url": servers.url, "groups": [COUNTERS]}
            thread = threading.Thread(target=harass)
            with working(what="incr", tasks=10, count=1_000, **job) as worker:
                thread.start()
                ledger = worker.wait(PATIENCE)
                over.set()
                thread.join()
            cuts = sum(proxy.cuts for proxy in servers.proxies.values())
            for proxy in servers.proxies.values():
                proxy.heal()
            lines.append(_row(adapter, servers, ledger, f"{cuts}"))
    return "\n".join(lines) + "\n"
