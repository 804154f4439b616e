"""The Markdown report: medians, ratios, and the targets of the project."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from .clients import PEERS
from .measure import Result


@dataclass(frozen=True)
class Target:
    """aioresp against `base`, at least `ratio` (at most, where less is better)."""

    scenario: str
    base: str
    ratio: float


TARGETS = (
    Target("get-1", "floor", 0.95),
    Target("get-50", "floor", 0.8),
    Target("get-500", "floor", 0.72),
    Target("tasks-10000", "floor", 0.8),
    Target("pipeline-100", "floor", 1.3),
    Target("pipeline-10000", "floor", 2),
    Target("pipeline-10000", "redis-py", 7),
    Target("pipeline-10000", "valkey-glide", 2.5),
    Target("mget", "floor", 0.85),
    Target("hgetall", "floor", 0.85),
    Target("get-50", "redis-py", 10),
    Target("get-500", "redis-py", 18),
    Target("tasks-10000", "redis-py", 8),
    Target("gather-1000", "redis-py", 8),
    Target("get-500", "valkey-glide", 7),
    *(Target(name, peer, 1) for name in ("get-1mib", "set-1mib") for peer in PEERS),
    Target("messages", "floor", 0.6),
    *(Target("messages", peer, 1) for peer in PEERS),
    Target("subscriptions", "redis-py", 5),
    Target("import", "floor", 1.5),
)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _rate(result: Result, client: str) -> str:
    if client in result.failures:
        return "failed"
    value = result.median(client)
    if value is None:
        return ""
    return f"{value:,.1f}" if result.unit == "ms" else f"{value:,.0f}"


def _ratio(result: Result, of: str, base: str) -> str:
    value = result.ratio(of, base)
    return "" if value is None else f"{value:.2f}" if value < 3 else f"{value:.1f}"


def machine() -> str:
    """Name the machine and the Python."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = (line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
            model = next(names, model)
    except OSError:
        pass
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, {python}"


def medians(results: Sequence[Result], clients: Sequence[str]) -> str:
    rows = []
    for result in results:
        title = result.title if result.unit == "ops/s" else f"{result.title}, {result.unit}"
        rows.append([title, *(_rate(result, client) for client in clients)])
    return _table(["ops/s, medians", *clients], rows)


def ratios(results: Sequence[Result], clients: Sequence[str], of: str = "aioresp") -> str:
    bases = [client for client in clients if client != of]
    rows = [[result.title, *(_ratio(result, of, base) for base in bases)] for result in results]
    return _table([f"{of}, times", *bases], rows)


def targets(results: Sequence[Result], wanted: Sequence[Target] = TARGETS) -> tuple[str, bool]:
    """Return the table of the targets that were measured, and whether all of them are met."""
    by_name = {result.name: result for result in results}
    rows, met = [], True
    for target in wanted:
        result = by_name.get(target.scenario)
        value = result.ratio("aioresp", target.base) if result else None
        if result is None or value is None:
            continue
        less = result.unit == "ms"
        good = value <= target.ratio if less else value >= target.ratio
        low, high = result.spread("aioresp", target.base)
        met = met and good
        rows.append(
            [
                f"{result.title.removesuffix(' (less is better)')}, against {target.base}",
                f"{'at most' if less else 'at least'} {target.ratio:g}",
                f"{value:.2f}",
                f"{low:.2f} to {high:.2f}",
                "yes" if good else "**no**",
            ]
        )
    return _table(["target", "ratio", "measured", "quartiles", "met"], rows), met


def failures(results: Sequence[Result]) -> str:
    lines = [f"- {client}, {result.title}: {why}" for result in results for client, why in result.failures.items()]
    return "\n".join(lines)
