"""cashews: its decorator by default, or with `lock=True`."""

from __future__ import annotations

import asyncio

from cashews import cache
from measured import Done, Job, hits, main, stampede

loads = 0


def _read(job: Job):  # type: ignore[no-untyped-def]
    cache.setup(job["url"], client_side=False)

    @cache(ttl="60s", key="value:{number}", lock=job.get("variant") == "lock")
    async def read(number: int) -> str:
        global loads
        loads += 1
        await asyncio.sleep(job["load"])
        return "v" * 100

    return read


async def cold(job: Job) -> Done:
    return await stampede(_read(job), lambda: loads, job)


async def warm(job: Job) -> Done:
    return await hits(_read(job), job)


main(cold=cold, warm=warm)
