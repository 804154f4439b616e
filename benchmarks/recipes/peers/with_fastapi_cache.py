"""fastapi-cache2: its decorator on a function, with its backend for Redis."""

from __future__ import annotations

import measured
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from measured import Job, Read
from redis.asyncio import Redis


def decorated(job: Job, read: Read) -> Read:
    FastAPICache.init(RedisBackend(Redis.from_url(job["url"])), prefix="cache")
    return cache(expire=60)(read)  # type: ignore[no-any-return]


measured.cache(decorated)
