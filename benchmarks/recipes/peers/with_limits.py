"""limits: the asyncio half, with the fixed window, which is its fastest, or the moving window."""

from __future__ import annotations

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from measured import Done, Job, limited, main


async def limit(job: Job) -> Done:
    storage = RedisStorage("async+" + job["url"], implementation="redispy")
    strategy = MovingWindowRateLimiter if job.get("variant") == "moving" else FixedWindowRateLimiter
    limiter, item = strategy(storage), RateLimitItemPerMinute(job["limit"])
    return await limited(lambda key: limiter.hit(item, key), job)


main(limit=limit)
