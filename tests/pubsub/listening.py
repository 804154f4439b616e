"""What the tests of subscriptions have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aioresp import Client


async def until(reached: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not reached():
            await asyncio.sleep(0.005)


async def subscribers(r: Client[str], channel: str, expected: int) -> None:
    """Wait until the server counts so many subscribers of a channel."""
    async with asyncio.timeout(5):
        while (await r.pubsub_numsub(channel))[channel] != expected:
            await asyncio.sleep(0.005)


async def flood(r: Client[str], channel: str, count: int) -> None:
    p = r.pipeline()
    for n in range(count):
        p.publish(channel, n)
    await p.execute()
