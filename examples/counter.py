"""Count hits of pages from ten thousand tasks at once, on two connections at most."""

from __future__ import annotations

import asyncio
import os
import random

from aioresp import Client

URL = os.environ.get("AIORESP_URL", "redis://localhost")
PAGES = ("home", "news", "about")


async def hit(r: Client[str], page: str) -> None:
    await r.incr(f"example:hits:{page}")


async def main() -> None:
    async with Client(URL) as r:
        keys = [f"example:hits:{page}" for page in PAGES]
        await r.delete(*keys)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(10_000):
                tasks.create_task(hit(r, random.choice(PAGES)))

        hits = [int(value or 0) for value in await r.mget(keys)]
        print(f"{sum(hits)} hits on {len(hits)} pages")  # 10000 hits on 3 pages
        print("connections made: 2 at most:", r.stats().made <= 2)  # connections made: 2 at most: True
        await r.delete(*keys)


if __name__ == "__main__":
    asyncio.run(main())
