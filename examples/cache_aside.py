"""Keep the results of something slow for a while: who finds none computes it, while the others wait for that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta

from aioresp import Client

client = Client(os.environ.get("AIORESP_URL", "redis://localhost"))


async def cached(key: str, ttl: timedelta, compute: Callable[[], Awaitable[str]]) -> str:
    """Return the value at `key`; of all who ask, in whatever process, one computes it (two, if the lock expires)."""
    while (value := await client.get(key)) is None:
        if await client.set(f"{key}:lock", "computing", nx=True, ex=10):
            try:
                value = await compute()
                await client.set(key, value, ex=ttl)
                return value
            finally:
                await client.delete(f"{key}:lock")
        await asyncio.sleep(0.02)
    return value


async def main() -> None:
    computed = 0

    async def forecast() -> str:
        nonlocal computed
        computed += 1
        await asyncio.sleep(0.1)  # the slow part
        return "sunny"

    key = "example:forecast:oslo"
    await client.delete(key, f"{key}:lock")
    answers = await asyncio.gather(*(cached(key, timedelta(minutes=5), forecast) for _ in range(100)))
    print(f"{len(answers)} answers, {set(answers)}, computed: {computed}")  # 100 answers, {'sunny'}, computed: 1
    print("seconds to live:", await client.ttl(key))  # seconds to live: 300
    await client.delete(key)


if __name__ == "__main__":
    asyncio.run(main())
