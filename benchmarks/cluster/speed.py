"""Speed on a healthy cluster: commands per second of the client's processor time, with all of its threads.

All clients share one process and take short slices in turn, as in `benchmarks.measure`. Each command has another key,
so that the calls of all tasks spread over the nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from aioresp import Client, Cluster
from aioresp.testing import ClusterServers, server
from benchmarks import measure, report
from benchmarks.clients import Ask
from benchmarks.measure import Result
from benchmarks.report import Target
from benchmarks.scenarios import VALUE, Go, Scenario

from .clients import ONE, Adapter, Bound, open_glide

KEYS = [f"aioresp-benchmark:{n}" for n in range(10_000)]

TARGETS = (
    Target("get-1", ONE.name, 0.9),
    Target("get-50", ONE.name, 0.72),
    Target("get-500", ONE.name, 0.8),
    Target("pipeline-100", ONE.name, 0.68),
    Target("pipeline-10000", ONE.name, 0.75),
    Target("get-50", "redis-py", 10),
    Target("get-50", "coredis", 15),
    Target("get-50", "valkey-glide", 4),
    Target("get-500", "redis-py", 14),
    Target("get-500", "coredis", 20),
    Target("get-500", "valkey-glide", 4),
    Target("pipeline-100", "redis-py", 6),
    Target("pipeline-100", "coredis", 9),
    Target("pipeline-100", "valkey-glide", 2),
)


def _gets(tasks: int) -> Callable[[Any], Go]:
    """Have `tasks` tasks send GET, one after the other, each time for the next key of all."""

    def make(bound: Bound) -> Go:
        get, keys = bound.get, itertools.cycle(KEYS)

        async def one(n: int) -> None:
            for _ in range(n):
                await get(next(keys))

        async def go(n: int) -> None:
            await asyncio.gather(*[one(n) for _ in range(tasks)])

        return go

    return make


def _pipeline(size: int) -> Callable[[Any], Go]:
    def make(bound: Bound) -> Go:
        parts = itertools.cycle([KEYS[at : at + size] for at in range(0, len(KEYS), size)])

        async def go(n: int) -> None:
            for _ in range(n):
                await bound.pipeline(next(parts))

        return go

    return make


def _text(bound: Bound, value: Any) -> Any:
    if bound.texts:
        return value
    return [item.decode() for item in value] if isinstance(value, list) else value.decode()


async def _check(bound: Any) -> tuple[Any, Any]:
    single, many = await bound.get(KEYS[0]), list(await bound.pipeline(KEYS[:3]))
    return (_text(bound, single), _text(bound, many)), (VALUE, [VALUE] * 3)


def _get(tasks: int) -> Scenario:
    title = "GET, 1 task" if tasks == 1 else f"GET, {tasks} tasks"
    return Scenario(f"get-{tasks}", title, tasks, _gets(tasks), tasks, _check)


def _many(size: int) -> Scenario:
    return Scenario(f"pipeline-{size}", f"pipeline of {size:,} GETs, 1 task", 1, _pipeline(size), size, _check)


SCENARIOS = {each.name: each for each in (_get(1), _get(50), _get(500), _many(100), _many(10_000))}


def _at(adapter: Adapter, url: str) -> Adapter:
    """Return the client with its own URL, whatever the others have, and without a limit of time that it would meet."""
    opened = partial(open_glide, timeout=60_000) if adapter.open is open_glide else adapter.open
    return replace(adapter, open=lambda _: opened(url))  # type: ignore[misc]


async def _fill(url: str, one: str) -> None:
    async with Cluster(url) as cluster, Client(one) as client:
        for each in (cluster, client):
            async with each.pipeline() as p:
                for key in KEYS:
                    p.set(key, VALUE)


async def _measure(
    url: str, one: str, names: Sequence[str], base: Adapter, adapters: Sequence[Adapter], rounds: int
) -> list[Result]:
    await _fill(url, one)
    clients: Any = [_at(base, one), *(_at(adapter, url) for adapter in adapters)]
    results = []
    for name in names:
        ask = Ask(url, True, SCENARIOS[name].tasks, 2)
        result = await measure.interleave(SCENARIOS[name], clients, ask, rounds, clock=time.process_time)
        results.append(result)
        medians = ", ".join(f"{client} {result.median(client):,.0f}" for client in result.rates)
        print(f"{name}: {medians}", file=sys.stderr, flush=True)
    return results


def run(
    names: Sequence[str],
    adapters: Sequence[Adapter],
    rounds: int,
    loop: str,
    executable: str | None,
    core: int | None,
    base: Adapter = ONE,
) -> tuple[str, bool]:
    """Measure on a cluster of three primaries, and return the report and whether all targets are met.

    The servers stay on one `core`. `base` is the client of one server that the others are compared with.
    """
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(ClusterServers(replicas=0, executable=executable))
        single = stack.enter_context(server(executable=executable))
        for pid in (single.pid, *(node.pid for node in servers.nodes)) if core is not None else ():
            measure.pin(pid, core)
        with asyncio.Runner(loop_factory=measure.new_loop(loop)) as runner:
            results = runner.run(_measure(servers.url, single.url, names, base, adapters, rounds))
        version = servers.nodes[0].version
    clients = [base.name, *(adapter.name for adapter in adapters)]
    of = "aioresp" if base is ONE else adapters[0].name
    table, met = report.targets(results, TARGETS)
    text = f"{report.machine()}; server {'.'.join(map(str, version))}; three primaries; {loop}; {rounds} rounds.\n"
    text += f"Commands per second of the client's processor time.\n\n{report.medians(results, clients)}\n\n"
    text += f"{report.ratios(results, clients, of)}\n\n{table}\n"
    if lines := report.failures(results):
        text += f"\nFailed:\n\n{lines}\n"
    return text, met


def names_of(wanted: str | None) -> list[str]:
    """Return the scenarios that were asked for."""
    return measure.chosen(wanted, SCENARIOS)
