"""aiocache: `cached`, or `cached_stampede` with a lease of 2 s."""

from __future__ import annotations

from urllib.parse import urlsplit

import measured
from aiocache import Cache, cached, cached_stampede
from aiocache.serializers import JsonSerializer
from measured import Job, Read


def decorated(job: Job, read: Read) -> Read:
    at = urlsplit(job["url"])
    settings = {
        "ttl": 60,
        "cache": Cache.REDIS,
        "endpoint": at.hostname,
        "port": at.port,
        "password": at.password,
        "serializer": JsonSerializer(),
    }
    decorate = cached_stampede(lease=2, **settings) if job.get("variant") == "stampede" else cached(**settings)
    return decorate(read)  # type: ignore[no-any-return]


measured.cache(decorated)
