"""SAQ and arq by themselves and on aioresp: `python -m benchmarks.under.queues --help`.

Their own queues and workers, with the redis-py that each asks for, in a process of its own for each measurement. The
only difference is `aioresp.redis.install()` before the first connection.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from aioresp.testing import server
from benchmarks import measure
from benchmarks.recipes.environments import QUEUES, Peer
from benchmarks.report import machine

from . import report

DOCS: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
CLONE: Final = Path(__file__).parents[2]
#: `--docs` writes the lines between these.
BEGIN, END = "<!-- under.queues: begin -->", "<!-- under.queues: end -->"
#: Seconds after which a process is ended.
PATIENCE: Final = 300

#: Work of `benchmarks.recipes`, and how much of it.
JOBS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "enqueue-1": ("enqueue, 1 task", {"what": "enqueue", "count": 1_000, "tasks": 1}),
    "enqueue-50": ("enqueue, 50 tasks", {"what": "enqueue", "count": 3_000, "tasks": 50}),
    "work-10": ("work, 10 at a time", {"what": "work", "count": 1_500, "tasks": 10}),
    "work-50": ("work, 50 at a time", {"what": "work", "count": 1_500, "tasks": 50}),
}


def _peers() -> list[Peer]:
    """Return SAQ and arq as `benchmarks.recipes` has them, with the hiredis that aioresp needs."""
    return [
        Peer(peer.name, peer.script, (*peer.requirements, "hiredis>=3.5"), folder=f"under_{peer.script}")
        for peer in QUEUES
        if peer.name in ("SAQ", "arq")
    ]


def _version(peer: Peer) -> str:
    """Return the version of redis-py in an environment."""
    code = "import importlib.metadata as m; print(m.version('redis'))"
    return subprocess.run([peer.python(), "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _run(peer: Peer, job: dict[str, Any], core: int | None) -> dict[str, float]:
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    done = subprocess.run(
        [*pinned, *peer.command(), json.dumps(job)],
        env={**os.environ, "PYTHONPATH": str(CLONE)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise RuntimeError((done.stderr.strip().splitlines() or ["said nothing"])[-1][:200])
    told: dict[str, float] = json.loads(lines[-1].removeprefix("RESULT "))
    return told


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.under.queues", description=__doc__)
    parser.add_argument("--only", metavar="NAMES", help=f"jobs: {','.join(JOBS)}")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--free", action="store_true", help="pin nothing to a core")
    parser.add_argument("--markdown", metavar="FILE", help="write the report")
    parser.add_argument("--docs", action="store_true", help="write the report into docs/benchmarks.md")
    options = parser.parse_args(argv)
    names = measure.chosen(options.only, JOBS)
    peers = _peers()
    for peer in peers:
        peer.install()
    placed = None if options.free else measure.cores()
    rows: list[list[str]] = []
    with server() as running:
        if placed:
            measure.pin(running.pid, placed[1])
        for name in names:
            title, job = JOBS[name]
            for peer in peers:
                told: dict[bool, list[dict[str, float]]] = {False: [], True: []}
                for _ in range(options.rounds):
                    for layer in random.sample([False, True], 2):
                        running.flush()
                        asked = {**job, "url": running.url, "variant": "", "layer": layer}
                        told[layer].append(_run(peer, asked, placed and placed[0]))
                rows.append([title, peer.name, *_figures(told)])
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
        flavour = f"{running.flavour} {'.'.join(map(str, running.version))}"
    versions = ", ".join(f"{peer.requirements[0].replace('==', ' ')} on redis-py {_version(peer)}" for peer in peers)
    head = ["work", "library", "a second", "with `install()`", "times", "µs of processor time", "with it", "times"]
    text = f"{machine()}; {flavour}; {options.rounds} rounds, medians. {versions}; "
    text += f"aioresp {importlib.metadata.version('aioresp')}.\n\n{report.table(head, rows, words=2)}\n"
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text, encoding="utf-8")
    if options.docs:
        report.into(DOCS, BEGIN, END, text)


def _figures(told: dict[bool, list[dict[str, float]]]) -> list[str]:
    """Return jobs a second and processor time a job, without the layer and with it, and the medians of the ratios."""
    cells = []
    for by in ("wall", "cpu"):
        times = [[each[by] / each["count"] for each in told[layer]] for layer in (False, True)]
        alone, under = (median(each) for each in times)
        ratio = median(one / other for one, other in zip(*times, strict=True))
        shown = (1 / alone, 1 / under) if by == "wall" else (alone * 1e6, under * 1e6)
        cells += [*(f"{each:,.0f}" for each in shown), f"{ratio:.2f}"]
    return cells


if __name__ == "__main__":
    main()
