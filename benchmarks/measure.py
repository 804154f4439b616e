"""Interleaved measuring: short slices, all clients in every round, ratios taken within a round.

The speed of a busy machine drifts by a factor of two within seconds. A ratio of two slices of the same round
hardly notices; the median over the rounds drops the slices that a hiccup hit.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from .clients import Adapter, Ask
from .scenarios import Go, Scenario

SLICE = 0.1  # seconds


def chosen(wanted: str | None, known: Iterable[str]) -> list[str]:
    """Return the names of an option, separated by commas, or all that are known. Ends the program at another name."""
    known = list(known)
    names = wanted.split(",") if wanted else known
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def end(process: subprocess.Popen[str], patience: float) -> None:
    """Close the input of a process, which ends it, and kill it if it has not ended after so many seconds."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Result:
    """One scenario: for every client a figure of each round (None where it failed)."""

    name: str
    title: str
    unit: str
    rates: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, client: str) -> float | None:
        return statistics.median(self.rates[client]) if self.rates.get(client) else None

    def ratios(self, client: str, base: str) -> list[float]:
        """Return client/base round by round: above 1 the client is faster (with the unit ms, slower)."""
        return [x / y for x, y in zip(self.rates.get(client, ()), self.rates.get(base, ()), strict=False)]

    def ratio(self, client: str, base: str) -> float | None:
        values = self.ratios(client, base)
        return statistics.median(values) if values else None

    def spread(self, client: str, base: str) -> tuple[float, float]:
        """Return the quartiles of the ratios."""
        values = self.ratios(client, base)
        if len(values) < 2:
            return (values[0], values[0])
        low, _, high = statistics.quantiles(values, n=4)
        return low, high


async def timed(go: Go, n: int, clock: Callable[[], float] = time.perf_counter) -> float:
    gc.collect()
    start = clock()
    await go(n)
    return clock() - start


async def calibrate(go: Go, scenario: Scenario, target: float, clock: Callable[[], float] = time.perf_counter) -> int:
    """Return how many units of work fill a slice; this also opens the client's connections."""
    await timed(go, 1)
    if scenario.once:
        return 1
    n = 1
    # The least of three: one hiccup here would leave the client with too short slices to the end.
    while (seconds := min([await timed(go, n, clock) for _ in range(3)])) < target / 5:
        n *= 2
    return max(1, round(n * target / seconds))


async def interleave(
    scenario: Scenario,
    adapters: Sequence[Adapter],
    ask: Ask,
    rounds: int,
    target: float = SLICE,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Measure all clients in one loop of this process, in shuffled order, `rounds` times after a warm-up.

    `target` is the length of a slice in seconds.
    """
    result = Result(scenario.name, scenario.title, scenario.unit)
    ready: dict[str, tuple[Go, int]] = {}
    async with AsyncExitStack() as stack:
        for adapter in adapters:
            try:
                bound = (await stack.enter_async_context(adapter.open(ask)))._replace(url=ask.url)
                came, expected = await scenario.check(bound)
                if came != expected or type(came) is not type(expected):
                    raise AssertionError(f"wrong reply: {str(came)[:80]}")
                go = scenario.make(bound)
                ready[adapter.name] = (go, await calibrate(go, scenario, target))
                result.rates[adapter.name] = []
            except Exception as error:
                result.failures[adapter.name] = f"{type(error).__name__}: {error}"[:200]
        # Clients of about the same speed do the same work, so that the start of a slice weighs the same in each.
        most = max((n for _, n in ready.values()), default=1)
        ready = {name: (go, most if n > most / 4 else n) for name, (go, n) in ready.items()}
        for number in range(rounds + 1):
            order = list(ready)
            random.shuffle(order)
            for name in order:
                go, n = ready[name]
                try:
                    seconds = await timed(go, n, clock)
                except Exception as error:
                    result.failures[name] = f"{type(error).__name__}: {error}"[:200]
                    del ready[name], result.rates[name]
                    continue
                if number:  # the first round is warm-up
                    result.rates[name].append(n * scenario.operations / seconds)
    return result


def imports(adapters: Sequence[Adapter], rounds: int) -> Result:
    """Measure the import of each client in fresh processes, without the interpreter's own start."""
    with tempfile.TemporaryDirectory() as cache:
        # Compiled modules, as an installed package has them, wherever this one is run from.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": cache}
        return _imports(adapters, rounds, environment)


def _imports(adapters: Sequence[Adapter], rounds: int, environment: dict[str, str]) -> Result:
    result = Result("import", "import (less is better)", "ms")
    for number in range(rounds + 1):
        for adapter in random.sample(adapters, len(adapters)):
            code = f"from time import perf_counter as t; s = t(); import {adapter.imports}; print(t() - s)"
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            if number:
                result.rates.setdefault(adapter.name, []).append(float(done.stdout) * 1000)
    return result


def cores() -> tuple[int, int] | None:
    """Return a core for the client and one for the server (not its other thread); None if there are none."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    first, *others = sorted(os.sched_getaffinity(0))
    try:
        with open(f"/sys/devices/system/cpu/cpu{first}/topology/thread_siblings_list") as file:
            siblings = file.read().strip().replace("-", ",").split(",")
    except OSError:
        siblings = []
    apart = [core for core in others if str(core) not in siblings] or others
    return (first, apart[0]) if apart else None


def pin(pid: int, core: int) -> None:
    """Keep a process with all its threads on one core; threads it starts later inherit it."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {core})


def new_loop(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
