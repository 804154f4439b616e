"""A process that writes, deletes from a cache and reads again, with readers beside it that are cancelled at random.

`python -m tests.recipes.writers URL PREFIX SEED SECONDS KILLS` prints how often it has written, and how often it was
given a value that was older than its own write. With KILLS all connections of the server are killed now and then.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time

from aioresp import Client
from aioresp.recipes import Cache


async def main(url: str, prefix: str, seed: int, seconds: float, kills: bool) -> None:
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    writes = stale = 0
    async with Client(url) as client, Client(url) as database:
        cache = Cache(client, prefix=prefix, ttl=chance.choice([0.05, 0.3, 20]), stale=chance.choice([0, 0.2]), lease=1)
        safe = database.with_options(idempotent=True)

        async def load() -> int:
            found = int(await safe.get(f"{prefix}version") or 0)
            await asyncio.sleep(chance.random() * 0.01)
            if chance.random() < 0.05:
                raise LookupError
            return found

        async def write() -> None:
            nonlocal writes, stale
            while time.monotonic() < end:
                version = await safe.incr(f"{prefix}version")
                await cache.delete("k")
                try:
                    found = await cache.get("k", load)
                except LookupError:
                    continue
                writes += 1
                stale += found < version
                await asyncio.sleep(chance.random() * 0.01)

        async def read() -> None:
            while time.monotonic() < end:
                reading = asyncio.create_task(cache.get("k", load))
                await asyncio.sleep(chance.random() * 0.004)
                if chance.random() < 0.3:
                    reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

        async def kill() -> None:
            while kills and time.monotonic() < end:
                await asyncio.sleep(0.3)
                await safe.call("CLIENT KILL", "TYPE", "normal")
                await safe.call("CLIENT KILL", "TYPE", "pubsub")

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(write())
                group.create_task(read())
            group.create_task(kill())
    print(writes, stale)


if __name__ == "__main__":
    logging.disable()
    url, prefix, seed, seconds, kills = sys.argv[1:]
    asyncio.run(main(url, prefix, int(seed), float(seconds), kills == "1"))
