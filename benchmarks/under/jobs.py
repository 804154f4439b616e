"""The work measured: scenarios of `benchmarks.scenarios` for the numbers of tasks here, and the hand-over by BRPOP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from benchmarks import floor, scenarios
from benchmarks.clients import Bound
from benchmarks.scenarios import KEY, PREFIX, VALUE, Go, Scenario

#: Tasks that wait in BRPOP, each on a list of its own.
WORKERS = 20


def _lists() -> list[str]:
    return [f"{PREFIX}list:{number}" for number in range(WORKERS)]


def _hand_over(bound: Bound) -> Go:
    """Push one element to each of the workers, which wait in BRPOP, and again when all have it.

    A bare connection pushes, at the same expense in every way.
    """
    assert bound.pop is not None
    pop: Callable[[str], Awaitable[Any]] = bound.pop

    async def go(n: int) -> None:
        pusher = await floor.connect(bound.url)

        async def work(name: str) -> None:
            taken = await pop(name)
            assert taken is not None, "no element came in time"

        for _ in range(n):
            workers = [asyncio.create_task(work(name)) for name in _lists()]
            for _ in range(3):  # turns of the loop in which they all send their BRPOP
                await asyncio.sleep(0)
            for name in _lists():
                pusher.send("LPUSH", name, VALUE)
            await asyncio.gather(*workers)
        pusher.transport.close()

    return go


async def _check_pop(bound: Bound) -> tuple[Any, Any]:
    assert bound.pop is not None
    name = _lists()[0]
    pusher = await floor.connect(bound.url)
    await pusher.send("LPUSH", name, VALUE)
    pusher.transport.close()
    return list(await bound.pop(name)), [name, VALUE]


def _set(tasks: int) -> Scenario:
    title = f"SET, {tasks} task{'' if tasks == 1 else 's'}"

    def make(bound: Bound) -> Go:
        return scenarios.calls(tasks, lambda b: lambda value: b.set(KEY, value), VALUE)(bound)

    return Scenario(f"set-{tasks}", title, tasks, make, tasks, scenarios.SCENARIOS["tasks-10000"].check)


_known = scenarios.SCENARIOS
_ALL = (
    *(_known[f"get-{tasks}"] for tasks in (1, 50, 500)),
    *(_set(tasks) for tasks in (1, 50, 500)),
    _known["pipeline-100"],
    replace(
        _known["pipeline-100"],
        name="pipeline-1000",
        title="pipeline of 1,000 GETs, 1 task",
        make=scenarios.pipelines(1_000, 1),
        operations=1_000,
    ),
    _known["messages"],
    Scenario("brpop", f"BRPOP hand-over, {WORKERS} tasks", WORKERS, _hand_over, WORKERS, _check_pop),
)
JOBS = {job.name: job for job in _ALL}
