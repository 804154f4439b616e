"""throttled-py: the asyncio half, with GCRA."""

from __future__ import annotations

from measured import Done, Job, limited, main
from throttled.asyncio import RateLimiterType, Throttled, rate_limiter, store


async def limit(job: Job) -> Done:
    throttle = Throttled(
        using=RateLimiterType.GCRA.value,
        quota=rate_limiter.per_min(job["limit"], burst=job["limit"]),
        store=store.RedisStore(server=job["url"]),
    )

    async def hit(key: str) -> bool:
        return not (await throttle.limit(key)).limited

    return await limited(hit, job)


main(limit=limit)
