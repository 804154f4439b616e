"""The runner: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from aioresp.testing import server

from . import measure, report
from .clients import ADAPTERS, Adapter, Ask
from .measure import Result
from .scenarios import SCENARIOS, data


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description="aioresp, a bare floor, and the peers.")
    parser.add_argument("--only", metavar="NAMES", help=f"scenarios: {', '.join(SCENARIOS)}, import")
    parser.add_argument("--clients", metavar="NAMES", help=f"clients: {', '.join(ADAPTERS)}")
    parser.add_argument("--rounds", type=int, default=15, help="measured rounds, after one of warm-up (15)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "both"), default="asyncio")
    parser.add_argument("--uvloop", action="store_const", const="uvloop", dest="loop", help="= --loop uvloop")
    parser.add_argument("--url", help="a running server, instead of one started here")
    parser.add_argument("--free", action="store_true", help="pin nothing to a core")
    parser.add_argument("--no-freeze", action="store_true", help="let the collector go through what imports made")
    parser.add_argument("--floor-protocol", type=int, choices=(2, 3), default=2, help="its RESP version (2)")
    parser.add_argument("--targets", action="store_true", help="print the targets; exit with 1 if one is missed")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round")
    parser.add_argument("--markdown", metavar="FILE", help="write the report")
    return parser.parse_args(argv)


async def _measure(
    url: str, names: Sequence[str], adapters: Sequence[Adapter], rounds: int, floor_protocol: int
) -> tuple[list[Result], str]:
    results = []
    async with data(url) as version:
        for name in names:
            scenario = SCENARIOS[name]
            ask = Ask(url, scenario.decode, scenario.tasks, floor_protocol)
            result = await measure.interleave(scenario, adapters, ask, rounds)
            results.append(result)
            medians = ", ".join(f"{client} {result.median(client):,.0f}" for client in result.rates)
            print(f"{name}: {medians}", file=sys.stderr, flush=True)
    return results, version


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    names = measure.chosen(options.only, [*SCENARIOS, "import"])
    loops = ["asyncio", "uvloop"] if options.loop == "both" else [options.loop]
    cores = None if options.free else measure.cores()
    if cores:
        os.sched_setaffinity(0, {cores[0]})  # before any client starts threads: they inherit it
    wanted = [ADAPTERS[name] for name in measure.chosen(options.clients, ADAPTERS)]
    versions = {adapter.name: adapter.version() for adapter in wanted}
    adapters = [adapter for adapter in wanted if versions[adapter.name]]
    clients = [adapter.name for adapter in adapters]
    if not options.no_freeze:
        # What the imports of six clients made, some 77,000 objects, is in no real program. The collector would
        # go through all of it on behalf of the client that makes the most objects a second: the fastest.
        gc.collect()
        gc.freeze()

    measured: dict[str, list[Result]] = {}
    flavour = "no server"
    in_loop = [name for name in names if name != "import"]
    with contextlib.ExitStack() as stack:
        url = options.url
        if in_loop and not url:
            process = stack.enter_context(server(config={"requirepass": ""}))
            url = process.url
            if cores:
                measure.pin(process.pid, cores[1])
        for loop in loops:
            measured[loop] = []
            if in_loop:
                print(f"on {loop}:", file=sys.stderr)
                with asyncio.Runner(loop_factory=measure.new_loop(loop)) as runner:
                    work = _measure(url, in_loop, adapters, options.rounds, options.floor_protocol)
                    measured[loop], flavour = runner.run(work)
    if "import" in names:
        print("import ...", file=sys.stderr)
        measured[loops[0]].append(measure.imports(adapters, options.rounds))

    where = "nothing is pinned to a core"
    if cores:
        where = f"the client process with all its threads on core {cores[0]}"
        where += ", the server wherever --url found it" if options.url else f", the server on core {cores[1]}"
    installed = ", ".join(f"{client} {versions[client]}" for client in clients if client != "floor")
    text = f"{report.machine()}; {flavour}; {where}; {options.rounds} rounds.\n"
    hiredis = ADAPTERS["floor"].version()
    text += f"Floor: asyncio.Protocol over hiredis {hiredis}, RESP{options.floor_protocol}. {installed}.\n"
    for loop, results in measured.items():
        text += f"\n### {loop}\n\n{report.medians(results, clients)}\n\n{report.ratios(results, clients)}\n"
        if lines := report.failures(results):
            text += f"\nFailed:\n\n{lines}\n"
    met = True
    if options.targets:
        table, met = report.targets(measured[loops[0]])
        text += f"\n### Targets, on {loops[0]}\n\n{table}\n"
    print(text)
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(text)
    if options.json:
        facts = {"machine": report.machine(), "server": flavour, "versions": versions}
        figures = {loop: [asdict(result) for result in results] for loop, results in measured.items()}
        with open(options.json, "w") as file:
            json.dump({**facts, "loops": figures}, file)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
