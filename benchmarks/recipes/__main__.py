"""The runner: `python -m benchmarks.recipes --help`.

Each library works in a process of its own, against a server that is emptied before. In each round each library does
the same work, in shuffled order; a ratio is the median over the rounds of two results of the same round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from aioresp.testing import Server, server
from benchmarks import measure, report

from .environments import AIORESP, CACHES, LIMITERS, LOCKS, QUEUES, Peer

#: Seconds after which a peer's process is ended.
PATIENCE: Final = 300


@dataclass(frozen=True)
class Scenario:
    """One job, given to each of `peers` in `processes` processes at once, `less` of it to a slow peer."""

    name: str
    title: str
    job: dict[str, Any]
    peers: Sequence[Peer]
    processes: int = 1
    less: dict[str, int] = field(default_factory=dict)
    figure: str = "rate"  # what the table tells: operations per second, the "longest" wait, or "loads"


@dataclass(frozen=True)
class Target:
    """aioresp against the best of the peers, or against one: at least `ratio` times as much."""

    scenario: str
    against: str
    by: str
    ratio: float


_ASYNC: Final = [peer for peer in QUEUES if peer.name != "RQ"]
_LOCKING: Final = {"what": "lock", "keys": 1, "held": 0}
_COLD: Final = {"what": "cold", "callers": 1_000, "load": 0.1}

SCENARIOS: Final = (
    Scenario("enqueue-1", "enqueue, 1 task", {"what": "enqueue", "count": 2_000, "tasks": 1}, QUEUES),
    Scenario(
        "enqueue-50",
        "enqueue, 50 tasks",
        {"what": "enqueue", "count": 5_000, "tasks": 50},
        _ASYNC,
    ),
    Scenario(
        "work-50",
        "work, 50 at a time",
        {"what": "work", "count": 20_000, "tasks": 50},
        QUEUES,
        less={"arq": 3_000, "SAQ": 3_000, "taskiq-redis": 3_000, "streaq": 3_000, "RQ": 1_000},
    ),
    Scenario(
        "work-1",
        "work, 1 at a time",
        {"what": "work", "count": 2_000, "tasks": 1},
        _ASYNC,
        less={"arq": 10, "SAQ": 1_000, "taskiq-redis": 1_000, "streaq": 500},
    ),
    Scenario("lock-1", "lock, 1 task", {**_LOCKING, "count": 2_000, "tasks": 1}, LOCKS),
    Scenario(
        "lock-50",
        "lock, 50 tasks on 50 keys",
        {**_LOCKING, "count": 10_000, "tasks": 50, "keys": 50},
        LOCKS,
    ),
    Scenario(
        "lock-shared",
        "lock, 50 tasks on one key, held 2 ms",
        {**_LOCKING, "count": 500, "tasks": 50, "held": 0.002},
        LOCKS,
        less={"redis-py": 250, "pottery": 250},
        figure="longest",
    ),
    Scenario("limit-1", "limiter, 1 task", {"what": "limit", "count": 2_000, "tasks": 1, "limit": 10_000}, LIMITERS),
    Scenario(
        "limit-50", "limiter, 50 tasks", {"what": "limit", "count": 10_000, "tasks": 50, "limit": 10_000}, LIMITERS
    ),
    Scenario("warm-50", "cache, 50 tasks, found", {"what": "warm", "count": 10_000, "tasks": 50, "load": 0}, CACHES),
    Scenario("cold-1", "1,000 callers", _COLD, CACHES, figure="loads"),
    Scenario(
        "cold-3",
        "3,000 callers in 3 processes",
        {"what": "cold", "callers": 1_000, "load": 0.1},
        CACHES,
        3,
        figure="loads",
    ),
)

TARGETS: Final = (
    Target("work-50", "the best peer", "wall", 10),
    Target("work-50", "the best peer", "cpu", 10),
    Target("enqueue-1", "the best peer", "cpu", 5),
    Target("enqueue-50", "the best peer", "cpu", 5),
    Target("lock-50", "the best peer", "cpu", 3),
    Target("lock-shared", "redis-py", "longest", 10),
    Target("limit-50", "the best peer", "cpu", 5),
)

Result = dict[str, Any]
Results = dict[str, list[Result]]


@contextlib.contextmanager
def _servers(executable: str | None, core: int | None) -> Iterator[Server]:
    with server(executable=executable) as running:
        if core is not None:
            measure.pin(running.pid, core)
        yield running


def _run(peer: Peer, scenario: Scenario, url: str, core: int | None) -> Result:
    """Run one peer once, and return what its processes told, as one."""
    job = {**scenario.job, "url": url, "variant": peer.variant}
    if peer.name in scenario.less:
        job["count"] = scenario.less[peer.name]
    if job["what"] == "cold":
        job["at"] = time.time() + (2.5 if scenario.processes > 1 else 0)  # so that all of them begin together
    pinned = ["taskset", "-c", str(core)] if core is not None and scenario.processes == 1 else []
    command = [*pinned, *peer.command(), json.dumps(job)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(scenario.processes)
    ]
    told: list[Result] = []
    for process in started:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RuntimeError(f"took more than {PATIENCE} s") from None
        lines = [line for line in out.splitlines() if line.startswith("RESULT ")]
        if not lines:
            raise RuntimeError((err.strip().splitlines() or ["said nothing"])[-1][:200])
        told.append(json.loads(lines[-1].removeprefix("RESULT ")))
    whole: Result = {"wall": max(each["wall"] for each in told)}
    for name in ("count", "cpu", "loads", "errors"):
        whole[name] = sum(each.get(name, 0) for each in told)
    whole["longest"] = told[0].get("longest", 0)
    return whole


def _measure(
    scenario: Scenario, names: Sequence[str] | None, rounds: int, servers: Server, core: int | None
) -> Results:
    peers = [peer for peer in scenario.peers if names is None or peer is AIORESP or peer.name in names]
    results: Results = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in random.sample(peers, len(peers)):
            if peer.name not in results:
                continue
            servers.flush()
            try:
                results[peer.name].append(_run(peer, scenario, servers.url, core))
            except RuntimeError as error:
                print(f"{scenario.name}: {peer.name} failed: {error}", file=sys.stderr, flush=True)
                del results[peer.name]
    return results


def _per_second(result: Result, by: str) -> float:
    value: float = 1 / result["longest"] if by == "longest" else result["count"] / result[by]
    return value


def _ratio(results: Results, peer: str, by: str) -> float:
    pairs = zip(results[AIORESP.name], results[peer], strict=False)
    return median(_per_second(ours, by) / _per_second(theirs, by) for ours, theirs in pairs)


def _row(scenario: Scenario, results: Results) -> list[list[str]]:
    rows = []
    for peer, told in results.items():
        against = "" if peer == AIORESP.name else f"{_ratio(results, peer, 'wall'):.1f}"
        by_cpu = "" if peer == AIORESP.name else f"{_ratio(results, peer, 'cpu'):.1f}"
        rate = median(_per_second(each, "wall") for each in told)
        cpu = median(each["cpu"] / each["count"] for each in told) * 1e6
        row = [scenario.title, peer, f"{rate:,.0f}", f"{cpu:,.0f}", against, by_cpu]
        if scenario.figure == "longest":
            row.append(f"longest wait {median(each['longest'] for each in told) * 1000:,.0f} ms")
        elif scenario.figure == "loads":
            loads = sorted(each["loads"] for each in told)
            spread = str(loads[0]) if loads[0] == loads[-1] else f"{loads[0]} to {loads[-1]}"
            errors = max(each["errors"] for each in told)
            wall = median(each["wall"] for each in told)
            row.append(f"{spread} loads, {wall:.2f} s" + (f", {errors} errors" if errors else ""))
        else:
            row.append("")
        rows.append(row)
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _targets(measured: dict[str, Results]) -> tuple[str, bool]:
    rows, met = [], True
    for target in TARGETS:
        results = measured.get(target.scenario)
        if results is None or AIORESP.name not in results:
            continue
        peers = [peer for peer in results if peer != AIORESP.name and target.against in ("the best peer", peer)]
        if not peers:
            continue
        ratio = min(_ratio(results, peer, target.by) for peer in peers)
        met = met and ratio >= target.ratio
        said = "yes" if ratio >= target.ratio else "**no**"
        rows.append([target.scenario, f"{target.against}, {target.by}", f"{target.ratio:g}", f"{ratio:.1f}", said])
    return _table(["target", "against", "at least", "measured", "met"], rows), met


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.recipes",
        description="The recipes and their peers, on a server that this starts. Peers are installed into .bench.",
        epilog="scenarios: " + ", ".join(each.name for each in SCENARIOS),
    )
    parser.add_argument("--only", metavar="NAMES", help="scenarios, or beginnings of their names: work,lock,cold-3")
    parser.add_argument("--peers", metavar="NAMES", help="compare with these alone; none: aioresp alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", metavar="FILE", help="the server's executable")
    parser.add_argument("--free", action="store_true", help="pin nothing to a core")
    parser.add_argument("--targets", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--markdown", metavar="FILE", help="write the report")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    only = options.only.split(",") if options.only else [""]
    scenarios = [each for each in SCENARIOS if any(each.name.startswith(name) for name in only)]
    if not scenarios:
        raise SystemExit(f"no such scenario; known: {', '.join(each.name for each in SCENARIOS)}")
    names = options.peers.split(",") if options.peers else None
    for peer in dict.fromkeys(peer for each in scenarios for peer in each.peers):
        if names is None or peer.name in names:
            peer.install()
    cores = None if options.free else measure.cores()
    measured: dict[str, Results] = {}
    rows: list[list[str]] = []
    with _servers(options.server, cores[1] if cores else None) as running:
        for scenario in scenarios:
            core = cores[0] if cores else None
            measured[scenario.name] = results = _measure(scenario, names, options.rounds, running, core)
            rows += (found := _row(scenario, results))
            print("\n".join(" | ".join(row) for row in found), file=sys.stderr, flush=True)
    table, met = _targets(measured)
    head = ["work", "library", "a second", "µs of processor time each", "aioresp, times", "by processor time", ""]
    text = f"{report.machine()}; {options.rounds} rounds.\n\n{_table(head, rows)}\n\n{table}\n"
    print(text)
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(text)
    return 1 if options.targets and not met else 0


if __name__ == "__main__":
    raise SystemExit(main())
