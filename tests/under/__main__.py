"""Run redis-py's own asyncio suite on the layer: `make under ARGS="redis-7.0 -k lock"`, or `python -m tests.under`.

Prints a line for each server and protocol. Exit status 0 if what fails is what `known.toml` has, 1 if not, 2 for a
wrong argument, 3 if the suite cannot be had from this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.under import FOLDER, RELEASES, SERVERS, protocols
from tests.under.compared import KNOWN, Known, Verdict, compare, known
from tests.under.provided import Suite, Unavailable, Unreachable
from tests.under.runs import Lane, Outcome, Run, RunFailed, Selection, conditions, program_of, run

AGREED: Final = 0
DISAGREED: Final = 1
WRONG: Final = 2
NOT_HERE: Final = 3

#: How often the suite is run without the layer.
TIMES: Final = 2


@dataclass(frozen=True)
class Job:
    """What is asked for on each lane."""

    suite: Suite
    selection: Selection
    listed: list[Known]
    fresh: bool

    def judge(self, lane: Lane) -> tuple[Verdict, Run, int]:
        """Run a lane; return the verdict, the run with the layer, and the sockets of a run without it."""
        name = f"{self.suite.release}-{lane.slug}"
        layered = run(self.suite, lane, self.selection, layer=True, name=f"{name}-with")
        baseline, sockets = self._baseline(lane, name)
        kept: list[dict[str, Outcome]] = [
            {test: end for test, end in each.items() if self._asked(test, layered)} for each in baseline
        ]
        verdict = compare(kept, layered, lane, self.suite.release, self.listed)
        if verdict.new:
            wanted = Selection(tests=tuple(verdict.new))
            verdict.try_again(run(self.suite, lane, wanted, layer=True, name=f"{name}-again"))
        return verdict, layered, sockets

    def _asked(self, test: str, layered: Run) -> bool:
        return self.selection == Selection() or test in layered.outcomes

    def _baseline(self, lane: Lane, name: str) -> tuple[list[dict[str, Outcome]], int]:
        """Return the outcomes without the layer. Those of the whole suite are kept: nothing of ours is in them."""
        kept = FOLDER / "baseline" / f"{name}.json"
        found = json.loads(kept.read_text()) if kept.exists() and not self.fresh else {}
        if found.get("conditions") == conditions(self.suite):
            return found["outcomes"], found["sockets"]
        done = [
            run(self.suite, lane, self.selection, layer=False, name=f"{name}-without-{time_}") for time_ in range(TIMES)
        ]
        outcomes = [each.outcomes for each in done]
        if self.selection == Selection():
            kept.parent.mkdir(exist_ok=True)
            found = {"conditions": conditions(self.suite), "outcomes": outcomes, "sockets": done[0].sockets}
            kept.write_text(json.dumps(found))
        return outcomes, done[0].sockets


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.under", description="Run redis-py's own suite on the layer.")
    parser.add_argument("server", nargs="*", help=f"servers of the matrix, or programs (default: {', '.join(SERVERS)})")
    parser.add_argument("--redis-py", default=RELEASES[0], metavar="VERSION", help=f"e.g. {', '.join(RELEASES)}")
    parser.add_argument("--protocol", action="append", choices=["default", "2", "3"], help="default: each")
    parser.add_argument("--file", action="append", default=[], metavar="test_lock.py", help="only such files")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only such tests, as for pytest")
    parser.add_argument("--jobs", type=int, default=3, help="how many servers at once (default: 3)")
    parser.add_argument("--fresh", action="store_true", help="run the suite without the layer again, too")
    parser.add_argument("--known", type=Path, default=KNOWN, help="another list of tests that may fail")
    asked = parser.parse_args(arguments)
    servers = asked.server or list(SERVERS)
    if missing := [name for name in servers if not os.access(program_of(name), os.X_OK)]:
        parser.error(f"not there: {', '.join(missing)}; `make servers` gets those of the matrix")
    wanted = [each.replace("default", "") for each in asked.protocol or ()] or protocols(asked.redis_py)
    suite = Suite(asked.redis_py)
    try:
        suite.provide()
    except Unavailable as error:
        print(f"redis-py's suite cannot be had: {error}", file=sys.stderr)
        return NOT_HERE if isinstance(error, Unreachable) else DISAGREED
    job = Job(suite, Selection(tuple(asked.file), asked.k), known(asked.known), asked.fresh)
    lanes = [Lane(name, protocol) for name in servers for protocol in wanted]
    begin = time.monotonic()
    print(f"redis-py {suite.release} on {len(lanes)} of server and protocol: some minutes each", flush=True)
    with ThreadPoolExecutor(asked.jobs) as threads:
        agreed = [*threads.map(lambda lane: tell(job, lane), lanes)]
    print(f"{'agrees with' if all(agreed) else 'differs from'} {asked.known.name}, {time.monotonic() - begin:.0f} s")
    return AGREED if all(agreed) else DISAGREED


def tell(job: Job, lane: Lane) -> bool:
    """Run a lane and print what came of it; return whether it agrees with the list."""
    try:
        verdict, layered, sockets = job.judge(lane)
    except RunFailed as error:
        print(error, flush=True)
        return False
    print("\n".join(lines(lane, verdict, layered.sockets, sockets)), flush=True)
    return verdict.agrees


def lines(lane: Lane, verdict: Verdict, ours: int, theirs: int) -> list[str]:
    """Return what is said about a lane."""
    counts = f"{len(verdict.without):,} pass without, {len(verdict.passed):,} with the layer"
    told = [
        f"{lane}: {counts}; {len(verdict.known)} known, {len(verdict.new)} new, {len(verdict.stale)} known but passing",
        f"  {len(verdict.unstable)} unstable without it; redis-py opened {theirs:,} sockets without, {ours:,} with it",
    ]
    told += [f"  new: {short(test)}: {why}" for test, why in verdict.new.items()]
    told += [f"  failed, and passed when tried again: {short(test)}" for test in verdict.again]
    told += [f"  known but passing: {short(test)}" for test in verdict.stale]
    told += [f"  unstable: {short(test)}" for test in verdict.unstable]
    if not verdict.without:
        told.append("  no test was compared")
    return told


def short(test: str) -> str:
    """Return the id of a test as it stands in the list."""
    return test.removeprefix("tests/test_asyncio/")


if __name__ == "__main__":
    sys.exit(main())
