"""One way, in a process of its own: `python -m benchmarks.under.lane WAY URL LOOP`.

Reads lines `JOB UNITS` and answers each with JSON. With 0 units it opens the job's client, checks a reply, and tells
how many units fill a slice. With more it does them, and tells this process's processor time and the seconds by the
clock.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from contextlib import AsyncExitStack

from benchmarks import measure
from benchmarks.clients import Ask
from benchmarks.scenarios import Go

from .jobs import JOBS
from .ways import WAYS

SLICE = 0.1  # seconds of processor time


class Lane:
    def __init__(self, way: str, url: str) -> None:
        self._way, self._url = WAYS[way], url
        self._stack = AsyncExitStack()
        self._ready: dict[str, Go] = {}

    async def answer(self, name: str, units: int) -> dict[str, float]:
        if not units:
            return {"units": await self._calibrated(name)}
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await self._ready[name](units)
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}

    async def _calibrated(self, name: str) -> int:
        job = JOBS[name]
        ask = Ask(self._url, job.decode, job.tasks, 2)
        bound = (await self._stack.enter_async_context(self._way.open_(ask, self._way.protocol)))._replace(url=ask.url)
        came, expected = await job.check(bound)
        if came != expected:
            raise AssertionError(f"wrong reply: {str(came)[:80]}")
        self._ready[name] = go = job.make(bound)
        return await measure.calibrate(go, job, SLICE, time.process_time)

    async def close(self) -> None:
        await self._stack.aclose()


def main() -> None:
    way, url, loop = sys.argv[1:]
    lane = Lane(way, url)
    with asyncio.Runner(loop_factory=measure.new_loop(loop)) as runner:
        gc.collect()
        gc.freeze()  # what the imports made
        print("ready", flush=True)
        for line in sys.stdin:
            name, units = line.split()
            try:
                answer: dict[str, object] = {**runner.run(lane.answer(name, int(units)))}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"[:200]}
            print(json.dumps(answer), flush=True)
        runner.run(lane.close())


if __name__ == "__main__":
    main()
