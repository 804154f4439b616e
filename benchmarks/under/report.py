"""The Markdown report: processor time, the ratios to redis-py by itself, and the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Result

from .ways import WAYS, Way


@dataclass(frozen=True)
class Target:
    """A way against redis-py by itself, at least `ratio` times as many operations in the same processor time."""

    job: str
    way: str
    ratio: float


_PLAIN = [f"{command}-{tasks}" for command in ("get", "set") for tasks in (50, 500)]

TARGETS = tuple(
    target
    for suffix in ("", "-2")
    for target in (
        *(Target(job, f"install{suffix}", 1.5) for job in _PLAIN),
        *(Target(job, f"class{suffix}", 12 if job.endswith("500") else 8) for job in _PLAIN),
        Target("pipeline-1000", f"install{suffix}", 1.5),
        Target("pipeline-1000", f"class{suffix}", 1.5),
    )
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a table whose first columns are words, and the others figures."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 3 else f"{value:.1f}"


def _time(result: Result, way: Way) -> str:
    rate = result.median(way.name)
    return "failed" if way.name in result.failures else "" if rate is None else f"{1e6 / rate:.1f}"


def markdown(facts: Mapping[str, Any], results: Sequence[Result], ways: Sequence[Way]) -> str:
    versions = facts["versions"]
    against = [way for way in ways if way.base in WAYS]
    lines = [
        f"{facts['machine']}; {facts['server']}; {facts['loop']}; {facts['rounds']} rounds, medians. "
        f"aioresp {versions['aioresp']}, redis-py {versions['redis']} with hiredis {versions['hiredis']}.",
        "",
        table(
            ["µs of processor time", *(way.title for way in ways)],
            [[result.title, *(_time(result, way) for way in ways)] for result in results],
        ),
    ]
    if against:
        ratios = [[result.title, *(_short(result.ratio(way.name, way.base)) for way in against)] for result in results]
        lines += ["", table(["times as fast as redis-py", *(way.title for way in against)], ratios)]
    failed = [f"- {way}, {result.title}: {why}" for result in results for way, why in result.failures.items()]
    if failed:
        lines += ["", "Failed:", "", *failed]
    return "\n".join(lines) + "\n"


def targets(results: Sequence[Result]) -> tuple[str, bool]:
    """Return the table of the targets, and whether all are met; one whose job failed is not."""
    by_name = {result.name: result for result in results}
    rows, met = [], True
    for target in TARGETS:
        result, way = by_name.get(target.job), WAYS[target.way]
        if result is None or not (result.rates.get(way.name) or way.name in result.failures):
            continue
        value = result.ratio(way.name, way.base)
        good = value is not None and value >= target.ratio
        met = met and good
        quartiles = "" if value is None else "{:.2f} to {:.2f}".format(*result.spread(way.name, way.base))
        measured = "failed" if value is None else f"{value:.2f}"
        verdict = "met" if good else "**not met**"
        rows.append([f"{result.title}, {way.title}", f"at least {target.ratio:g}", measured, quartiles, verdict])
    return table(["target", "ratio", "measured", "quartiles", ""], rows) if rows else "", met


def into(page: Path, begin: str, end: str, text: str) -> None:
    """Replace the lines between two marks of a page."""
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    if not found:
        raise SystemExit(f"{page} has no {begin}")
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
