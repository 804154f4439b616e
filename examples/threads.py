"""One global client, used by event loops in several threads at once: each loop has its own connections in it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from aioresp import Client

client = Client(os.environ.get("AIORESP_URL", "redis://localhost"), concurrency=1, limit=10)


async def work(thread: int) -> int:
    """Make a thousand increments, on ten connections at most."""
    await asyncio.gather(*(client.hincrby("example:threads", f"thread {thread}") for _ in range(1000)))
    return client.stats().made


def main() -> None:
    asyncio.run(client.delete("example:threads"))
    with ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda thread: asyncio.run(work(thread)), range(5)))

    counts = asyncio.run(client.hvals("example:threads"))
    print("threads:", len(counts), "increments:", sum(map(int, counts)))  # threads: 5 increments: 5000
    asyncio.run(client.delete("example:threads"))
    # Ten for each of the five loops, and one for each of the three short ones before and after.
    print("at most 53 connections made:", client.stats().made <= 53)  # at most 53 connections made: True


if __name__ == "__main__":
    main()
