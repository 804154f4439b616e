"""The runner: `python -m benchmarks.under --help`."""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aioresp.testing import server
from benchmarks import measure, scenarios
from benchmarks.measure import Result
from benchmarks.report import machine

from . import report
from .jobs import JOBS
from .ways import WAYS, Way

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks.md"
#: `--docs` writes the lines between these.
BEGIN, END = "<!-- under: begin -->", "<!-- under: end -->"


class Lane:
    """A process that measures one way."""

    def __init__(self, way: Way, url: str, loop: str, core: int | None) -> None:
        words = [sys.executable, "-m", "benchmarks.under.lane", way.name, url, loop]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if core is not None:
            measure.pin(self._process.pid, core)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def ask(self, job: str, units: int) -> dict[str, float]:
        """Have the process do so much of a job; raises RuntimeError with what went wrong there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{job} {units}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the process ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        told: dict[str, float] = answer
        return told

    def end(self) -> None:
        measure.end(self._process, 10)


@contextmanager
def _lanes(ways: Sequence[Way], url: str, loop: str, core: int | None) -> Iterator[dict[str, Lane]]:
    lanes: dict[str, Lane] = {}
    try:
        for way in ways:
            lanes[way.name] = Lane(way, url, loop, core)
        yield lanes
    finally:
        for lane in lanes.values():
            lane.end()


def _measure(lanes: dict[str, Lane], results: dict[str, Result], rounds: int) -> None:
    """Add figures to each result: in each round, each way has its turn at each job, in a new order."""
    units: dict[tuple[str, str], int] = {}
    for name, result in results.items():
        for way, lane in lanes.items():
            if way not in result.failures:
                try:
                    units[name, way] = int(lane.ask(name, 0)["units"])
                except RuntimeError as error:
                    result.failures[way] = str(error)
    for number in range(rounds + 1):
        for name, result in results.items():
            ready = [way for way in lanes if way not in result.failures]
            for way in random.sample(ready, len(ready)):
                try:
                    told = lanes[way].ask(name, units[name, way])
                except RuntimeError as error:
                    result.failures[way] = str(error)
                    result.rates.pop(way, None)
                    continue
                if number:  # the first round is warm-up
                    done = units[name, way] * JOBS[name].operations
                    result.rates.setdefault(way, []).append(done / told["cpu"])


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.under", description=__doc__)
    parser.add_argument("--only", metavar="NAMES", help=f"jobs: {','.join(JOBS)}")
    parser.add_argument("--ways", metavar="NAMES", help=f"ways: {','.join(WAYS)}")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds in a process, after one of warm-up (7)")
    parser.add_argument("--processes", type=int, default=2, help="processes of each way, one after the other (2)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--free", action="store_true", help="pin nothing to a core")
    parser.add_argument("--targets", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round")
    parser.add_argument("--markdown", metavar="FILE", help="write the report")
    parser.add_argument("--docs", action="store_true", help="write the report into docs/benchmarks.md")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    ways = [WAYS[name] for name in measure.chosen(options.ways, WAYS)]
    results = {name: Result(name, JOBS[name].title, "ops/s") for name in measure.chosen(options.only, JOBS)}
    placed = None if options.free else measure.cores()
    with server(config={"requirepass": "", "save": ""}) as process:
        if placed:
            measure.pin(process.pid, placed[1])
        asyncio.run(_all(process.url, ways, results, options, placed and placed[0]))
        flavour = f"{process.flavour} {'.'.join(map(str, process.version))}"
    facts = {
        "machine": machine(),
        "server": flavour,
        "versions": {name: importlib.metadata.version(name) for name in ("aioresp", "redis", "hiredis")},
        "loop": options.loop,
        "rounds": options.rounds * options.processes,
    }
    text = report.markdown(facts, list(results.values()), ways)
    table, met = report.targets(list(results.values()))
    text += f"\n{table}\n" if table else ""
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text, encoding="utf-8")
    if options.json:
        figures = {name: {"rates": result.rates, "failures": result.failures} for name, result in results.items()}
        Path(options.json).write_text(json.dumps({**facts, "jobs": figures}), encoding="utf-8")
    if options.docs:
        report.into(DOCS, BEGIN, END, text)
    return 1 if options.targets and not met else 0


async def _all(
    url: str, ways: Sequence[Way], results: dict[str, Result], options: argparse.Namespace, core: int | None
) -> None:
    async with scenarios.data(url):
        for number in range(options.processes):
            print(f"processes {number + 1} of {options.processes} ...", file=sys.stderr, flush=True)
            with _lanes(ways, url, options.loop, core) as lanes:
                _measure(lanes, results, options.rounds)


if __name__ == "__main__":
    raise SystemExit(main())
