"""The form of each peer's script: one job as JSON in its arguments, one result as JSON at its output.

Imports only the standard library at first, because each peer has an environment of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Job = dict[str, Any]
Done = dict[str, Any]


class Clock:
    """Seconds by the clock, and of the processor for all threads of this process, within the block."""

    def __enter__(self) -> Clock:
        gc.collect()
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop before the end of the block, at a moment that another task knows."""
        if self.wall < 0:
            self.wall += time.perf_counter()
            self.cpu += time.process_time()

    def told(self, count: int, **more: Any) -> Done:
        return {"count": count, "wall": self.wall, "cpu": self.cpu, **more}


class Finished:
    """Counts the runs of a job, and stops the clock when the last one ends."""

    def __init__(self, count: int) -> None:
        self._count = self._left = count
        self._clock = Clock()
        self._done = asyncio.Event()

    def one(self) -> None:
        self._left -= 1
        if not self._left:
            self._clock.stop()
            self._done.set()

    async def worked(self, worker: Coroutine[Any, Any, object]) -> Done:
        """Run a worker until all jobs have run, and measure that."""
        with self._clock:
            running = asyncio.create_task(worker)
            last = asyncio.create_task(self._done.wait())
            await asyncio.wait([running, last], return_when="FIRST_COMPLETED")
        if not last.done():
            running.result()
            raise RuntimeError("the worker ended early")
        return self._clock.told(self._count)


async def spread(call: Callable[[int], Awaitable[object]], count: int, tasks: int) -> None:
    """Have `tasks` tasks make `count` calls, one after the other, each told the number of its task."""

    async def one(task: int) -> None:
        for _ in range(task, count, tasks):
            await call(task)

    await asyncio.gather(*(one(task) for task in range(tasks)))


async def enqueued(enqueue: Callable[[], Awaitable[object]], job: Job) -> Done:
    """Measure `count` enqueues by `tasks` tasks."""
    await enqueue()
    with Clock() as clock:
        await spread(lambda _: enqueue(), job["count"], job["tasks"])
    return clock.told(job["count"])


async def locked(hold: Callable[[str, float], Awaitable[float]], job: Job) -> Done:
    """Measure `count` locks by `tasks` tasks, on a key each or on one; `hold(key, seconds)` returns when it got it."""
    await hold("warm", 0)
    waits: list[float] = []

    async def one(task: int) -> None:
        asked = time.perf_counter()
        waits.append(await hold("lock" if job["keys"] == 1 else f"lock:{task}", job["held"]) - asked)

    with Clock() as clock:
        await spread(one, job["count"], job["tasks"])
    waits.sort()
    return clock.told(len(waits), longest=waits[-1], p99=waits[int(len(waits) * 0.99)])


async def limited(hit: Callable[[str], Awaitable[bool]], job: Job) -> Done:
    """Measure `count` hits by `tasks` tasks, each on a key of its own, and how many of them pass."""
    await hit("warm")
    passed = 0

    async def one(task: int) -> None:
        nonlocal passed
        came = await hit(f"limit:{task}")
        passed += came

    with Clock() as clock:
        await spread(one, job["count"], job["tasks"])
    return clock.told(job["count"], passed=passed)


async def stampede(read: Callable[[int], Awaitable[object]], loads: Callable[[], int], job: Job) -> Done:
    """Have `callers` tasks read one cold key at once, at the moment `at` of the clock; count the loads."""
    await asyncio.sleep(max(0.0, job["at"] - time.time()))
    with Clock() as clock:
        came = await asyncio.gather(*(read(0) for _ in range(job["callers"])), return_exceptions=True)
    errors = [type(each).__name__ for each in came if isinstance(each, BaseException)]
    return clock.told(job["callers"], loads=loads(), errors=len(errors), error=errors[0] if errors else "")


async def hits(read: Callable[[int], Awaitable[object]], job: Job) -> Done:
    """Measure `count` reads by `tasks` tasks, each of a warm key of its own."""
    await spread(read, job["tasks"], job["tasks"])
    with Clock() as clock:
        await spread(read, job["count"], job["tasks"])
    return clock.told(job["count"])


Read = Callable[[int], Awaitable[object]]


def cache(decorated: Callable[[Job, Callable[[int], Awaitable[str]]], Read]) -> None:
    """Do a job of a cache: `decorated(job, read)` puts the peer's cache before a loader that counts its loads."""

    def prepared(job: Job) -> tuple[Read, Callable[[], int]]:
        loads = 0

        async def read(number: int) -> str:
            nonlocal loads
            loads += 1
            await asyncio.sleep(job["load"])
            return "v" * 100

        return decorated(job, read), lambda: loads

    async def cold(job: Job) -> Done:
        return await stampede(*prepared(job), job)

    async def warm(job: Job) -> Done:
        return await hits(prepared(job)[0], job)

    main(cold=cold, warm=warm)


def main(**jobs: Callable[[Job], Awaitable[Done] | Done]) -> None:
    """Do the job that the arguments tell, and print its result; with `layer`, put aioresp beneath redis-py before."""
    job: Job = json.loads(sys.argv[1])
    if job.get("layer"):
        import aioresp.redis  # noqa: PLC0415 (most environments have none)

        assert aioresp.redis.install()

    async def run() -> None:
        done = jobs[job["what"]](job)
        print("RESULT " + json.dumps(done if isinstance(done, dict) else await done), flush=True)
        os._exit(0)  # what a peer does at its end is not measured, and some never end

    asyncio.run(run())
