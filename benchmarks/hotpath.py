"""Before and after: two versions of aioresp against the floor, for every change on the hot path.

`python -m benchmarks.hotpath HEAD .` compares the last commit with the work tree; each argument is a git
revision, or a directory that holds the package. Both versions and the floor share one event loop and take
slices in turn; all of it in several processes, as the layout of memory makes one differ from the next. What is
compared is the processor time of the client, with which the rest of the machine interferes least.
"""

from __future__ import annotations

import argparse
import asyncio
import builtins
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aioresp.testing import server

from . import measure
from .clients import ADAPTERS, Adapter, Ask, Bound, iterating, queued
from .scenarios import SCENARIOS, data

HERE = Path(__file__).resolve().parent.parent
SLICE = 0.03  # seconds
DEFAULT = "get-50,get-500,tasks-10000"

#: Modules that a version imports at their first use, here when it is loaded; and the modules of each version.
LATE = ("aioresp.wire.outflow",)
LOADED: dict[str, dict[str, Any]] = {}
IMPORT: Any = builtins.__import__

PAIRS = (("before", "floor"), ("after", "floor"), ("after", "before"))


def _directory(version: str, stack: contextlib.ExitStack) -> str:
    """Return the directory of a version; a git revision is unpacked into a temporary one."""
    if (Path(version) / "aioresp").is_dir():
        return str(Path(version).resolve())
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    archive = subprocess.run(["git", "archive", version, "aioresp"], cwd=HERE, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def _forget() -> bool:
    """Make the next import of aioresp a fresh one, and return whether there was anything to forget."""
    names = [name for name in sys.modules if name.partition(".")[0] == "aioresp"]
    for name in names:
        del sys.modules[name]
    return bool(names)


def _no_pipelines() -> None:
    raise SystemExit("this version has no pipelines")


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """Import a module as Python does, but give functions of a version the modules of that version."""
    if fromlist and name in LATE and globals is not None:
        for directory, modules in LOADED.items():
            if Path(globals["__file__"]).is_relative_to(directory):
                return modules[name]
    return IMPORT(name, globals, locals, fromlist, level)


def _version(name: str, directory: str) -> Adapter:
    """Load the package from `directory`, whatever other version is loaded already."""
    _forget()
    sys.path.insert(0, directory)
    module: Any = importlib.import_module("aioresp")
    for late in LATE:
        with contextlib.suppress(ModuleNotFoundError):  # which an older version may not have
            importlib.import_module(late)
    sys.path.remove(directory)
    LOADED[directory] = {name: part for name, part in sys.modules.items() if name.partition(".")[0] == "aioresp"}
    if Path(module.__file__).resolve().parent.parent != Path(directory):
        raise SystemExit(f"found {module.__file__} instead of {directory}")

    @contextlib.asynccontextmanager
    async def opened(ask: Ask) -> AsyncIterator[Bound]:
        async with module.Client.from_url(ask.url, decode_responses=ask.decode) as client:
            # Versions before there were pipelines, or subscriptions, can be compared, too.
            pipeline = queued(getattr(client, "pipeline", None) or _no_pipelines)
            yield Bound(client.get, client.set, client.mget, client.hgetall, pipeline, iterating(client))

    return Adapter(name, "aioresp", "aioresp", opened)


async def _work(url: str, adapters: list[Adapter], names: list[str], rounds: int) -> list[list[list[float]]]:
    """Return for each scenario, for each of PAIRS, the ratios of the rounds."""
    ratios = []
    for name in names:
        ask = Ask(url, SCENARIOS[name].decode, SCENARIOS[name].tasks, 2)
        result = await measure.interleave(SCENARIOS[name], adapters, ask, rounds, SLICE, time.process_time)
        if result.failures:
            raise SystemExit(f"{name}: {result.failures}")
        ratios.append([result.ratios(client, base) for client, base in PAIRS])
    return ratios


def _worker(options: argparse.Namespace, names: list[str]) -> None:
    versions = {"before": options.before, "after": options.after}
    order = sorted(versions, reverse=os.getpid() % 2 == 0)
    adapters = [ADAPTERS["floor"], *(_version(name, versions[name]) for name in order)]
    _forget()
    builtins.__import__ = _import
    with asyncio.Runner(loop_factory=measure.new_loop("uvloop" if options.uvloop else "asyncio")) as runner:
        ratios = runner.run(_work(options.worker, adapters, names, options.rounds))
    if _forget():
        raise SystemExit("a version imported parts of itself late, and so perhaps of another version")
    print(json.dumps(ratios))


async def _compare(url: str, arguments: list[str], names: list[str], processes: int) -> None:
    found: list[list[list[float]]] = [[[] for _ in PAIRS] for _ in names]
    async with data(url):
        for number in range(processes):
            print(f"process {number + 1} of {processes} ...", file=sys.stderr, flush=True)
            command = [sys.executable, "-m", "benchmarks.hotpath", "--worker", url, *arguments]
            done = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True)
            for pairs, new in zip(found, json.loads(done.stdout), strict=True):
                for ratios, more in zip(pairs, new, strict=True):
                    ratios += more
    print("| scenario | before / floor | after / floor | after / before | quartiles |")
    print("|---|---:|---:|---:|---:|")
    for name, pairs in zip(names, found, strict=True):
        before, after, change = (statistics.median(ratios) for ratios in pairs)
        low, _, high = statistics.quantiles(pairs[2], n=4)
        print(f"| {name} | {before:.3f} | {after:.3f} | **{change:.3f}** | {low:.3f} to {high:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.hotpath", description="Compare two versions.")
    parser.add_argument("before", help="a directory with the package, or a git revision")
    parser.add_argument("after", help="the same")
    parser.add_argument("--only", default=DEFAULT, help=f"scenarios, comma-separated ({DEFAULT})")
    parser.add_argument("--processes", type=int, default=4, help="(4)")
    parser.add_argument("--rounds", type=int, default=40, help="rounds in a process (40)")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.only.split(",")
    if options.worker:
        return _worker(options, names)
    with contextlib.ExitStack() as stack:
        arguments = [_directory(options.before, stack), _directory(options.after, stack)]
        arguments += ["--only", options.only, "--rounds", str(options.rounds), *["--uvloop"] * options.uvloop]
        process = stack.enter_context(server(config={"requirepass": ""}))
        if cores := measure.cores():
            os.sched_setaffinity(0, {cores[0]})
            measure.pin(process.pid, cores[1])
        asyncio.run(_compare(process.url, arguments, names, options.processes))


if __name__ == "__main__":
    main()
