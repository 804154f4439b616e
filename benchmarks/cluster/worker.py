"""The load of one client in a process of its own: `python -m benchmarks.cluster.worker JOB FD`, with the job as JSON.

It writes "ready" to the descriptor when the client is open, works until its input ends or its work is done, and then
writes its ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from .clients import ADAPTERS
from .sentinels import OPEN

#: Seconds of a bin of successes, and seconds without a success of a task that count as a gap.
BIN = 0.05
GAP = 0.2

#: Seconds that a task waits after an error: a tight loop of errors would take the processor from all others.
REST = 0.01

Call = Callable[[str], Awaitable[Any]]


class Ledger:
    """The successes and errors of the tasks of one process."""

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self.bins: list[Counter[int]] = [Counter() for _ in groups]
        self.gaps: list[list[tuple[float, float]]] = [[] for _ in groups]
        self.cpu: dict[int, float] = {}
        self.done: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def told(self) -> dict[str, Any]:
        """Return the whole as JSON can have it."""
        bins = [dict(each) for each in self.bins]
        return {"bins": bins, "cpu": self.cpu, "gaps": self.gaps, "done": dict(self.done), "errors": dict(self.errors)}


def _named(error: BaseException) -> str:
    outcome = getattr(error, "outcome", "")
    return f"{type(error).__name__}{f' ({outcome})' if outcome else ''}"


async def _work(ledger: Ledger, group: int, keys: Sequence[str], call: Call, left: Callable[[], bool]) -> None:
    bins, gaps, done, clock = ledger.bins[group], ledger.gaps[group], ledger.done, time.monotonic
    last, turn = clock(), 0
    while left():
        key = keys[turn % len(keys)]
        turn += 1
        try:
            await call(key)
        except Exception as error:
            ledger.errors[_named(error)] += 1
            await asyncio.sleep(REST)
            continue
        now = clock()
        done[key] += 1
        bins[int(now / BIN)] += 1
        if now - last > GAP:
            gaps.append((last, now))
        last = now


async def _watch_cpu(ledger: Ledger) -> None:
    """Note the processor time of this process at the beginning of each bin."""
    while True:
        ledger.cpu.setdefault(int(time.monotonic() / BIN), time.process_time())
        await asyncio.sleep(BIN / 2)


async def _until_told(job: dict[str, Any], call: Call) -> dict[str, Any]:
    """Have `tasks` tasks for each group of keys call until the input ends."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: stopped.set())
    groups, tasks = job["groups"], job["tasks"]
    ledger = Ledger(groups)
    running = [
        asyncio.create_task(_work(ledger, number, [*keys[task:], *keys[:task]], call, lambda: not stopped.is_set()))
        for number, keys in enumerate(groups)
        for task in range(tasks)
    ]
    watching = asyncio.create_task(_watch_cpu(ledger))
    _tell("ready")
    await stopped.wait()
    watching.cancel()
    _, late = await asyncio.wait(running, timeout=15)
    for task in late:
        task.cancel()
    return ledger.told()


async def _until_done(job: dict[str, Any], call: Call) -> dict[str, Any]:
    """Have `tasks` tasks call `count` times in all, and compare the replies with `expected`, if there is such."""
    keys, expected = job["groups"][0], job.get("expected")
    numbers = iter(range(job["count"]))
    ledger = Ledger([keys])
    right = 0

    async def one() -> None:
        nonlocal right
        for number in numbers:
            key = keys[number % len(keys)]
            try:
                value = await call(key)
            except Exception as error:
                ledger.errors[_named(error)] += 1
            else:
                ledger.done[key] += 1
                right += expected is None or value in (expected, str(expected).encode())

    _tell("ready")
    begin = time.monotonic()
    await asyncio.gather(*(one() for _ in range(job["tasks"])))
    return {**ledger.told(), "right": right, "seconds": time.monotonic() - begin}


@contextlib.asynccontextmanager
async def _calls(job: dict[str, Any]) -> AsyncIterator[Call]:
    if job["what"] == "rpush":
        items = iter(range(1 << 60))
        async with OPEN[job["client"]](job) as rpush:
            yield lambda key: rpush(key, f"{next(items)}")
        return
    async with ADAPTERS[job["client"]].open(job["url"]) as bound:
        calls: dict[str, Call] = {"get": bound.get, "incr": bound.incr, "set": lambda key: bound.set(key, "v" * 32)}
        call = calls[job["what"]]
        for keys in job["groups"]:  # so that the client has found the nodes
            await bound.get(keys[0])
        yield call


def _tell(line: str) -> None:
    with open(int(sys.argv[2]), "w", closefd=False) as file:
        print(line, file=file)


async def _main(job: dict[str, Any]) -> None:
    async with _calls(job) as call:
        ledger = await (_until_done if "count" in job else _until_told)(job, call)
    _tell(json.dumps(ledger))


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
