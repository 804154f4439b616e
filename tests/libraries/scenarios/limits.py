"""limits: hits against each strategy, many at once, with exact counts; and connections killed between them."""

from __future__ import annotations

import asyncio
import time

from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    SlidingWindowCounterRateLimiter,
)
from stage import kill_connections


async def main(url: str) -> None:
    storage = RedisStorage(f"async+{url}", implementation="redispy")
    assert await storage.check()
    limit = parse("50/hour")
    for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter):
        limiter, name = strategy(storage), strategy.__name__
        assert await limiter.test(limit, name, "ada")
        for _ in range(2):
            hits = await asyncio.gather(*(limiter.hit(limit, name, "ada") for _ in range(100)))
            if _ == 0:
                assert sum(hits) == 50, f"{name}: {sum(hits)} of 100 hits passed"
            else:
                assert sum(hits) == 0
        assert not await limiter.test(limit, name, "ada")
        assert await limiter.hit(limit, name, "grace")
        stats = await limiter.get_window_stats(limit, name, "ada")
        assert stats.remaining == 0
        assert time.time() < stats.reset_time <= time.time() + 3601
        await kill_connections()
        assert (await limiter.get_window_stats(limit, name, "grace")).remaining == 49
        await limiter.clear(limit, name, "ada")
        assert await limiter.hit(limit, name, "ada", cost=50)
        assert not await limiter.hit(limit, name, "ada")
    # Callers that give up in the middle take at most the hits that they sent.
    limiter = FixedWindowRateLimiter(storage)
    tasks = [asyncio.create_task(limiter.hit(limit, "cancelled")) for _ in range(30)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(end is True for end in ended[1::2]), ended
    left = (await limiter.get_window_stats(limit, "cancelled")).remaining
    assert 20 <= left <= 35, left
    assert await storage.reset() is not None
