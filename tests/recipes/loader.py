"""A process that asks a cache for values, with a wall clock that may be wrong.

`python -m tests.recipes.loader URL PREFIX CALLS SECONDS SHIFT [LEASE]` makes so many calls for one key at a time. Its
loader counts itself in Redis, takes so many seconds, and prints "loading" first; at the end it prints the values.
"""

from __future__ import annotations

import asyncio
import sys
import time

from aioresp import Client
from aioresp.recipes import Cache


async def main(url: str, prefix: str, calls: int, seconds: float, lease: float) -> None:
    async with Client(url) as client:
        cache = Cache(client, prefix=prefix, lease=lease)

        async def load() -> int:
            number = await client.incr(f"{prefix}loads")
            print("loading", flush=True)
            if await client.incr(f"{prefix}at-once") > 1:
                await client.set(f"{prefix}two", "1")
            await asyncio.sleep(seconds)
            await client.decr(f"{prefix}at-once")
            return number

        values = await asyncio.gather(*(cache.get("k", load) for _ in range(calls)))
    print(*set(values), flush=True)


if __name__ == "__main__":
    url, prefix, calls, seconds, shift, *lease = sys.argv[1:]
    right = time.time
    time.time = lambda: right() + float(shift)
    asyncio.run(main(url, prefix, int(calls), float(seconds), float(*lease or (5,))))
