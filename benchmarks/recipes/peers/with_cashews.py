"""cashews: its decorator by default, or with `lock=True`."""

from __future__ import annotations

import measured
from cashews import cache
from measured import Job, Read


def decorated(job: Job, read: Read) -> Read:
    cache.setup(job["url"], client_side=False)
    return cache(ttl="60s", key="value:{number}", lock=job.get("variant") == "lock")(read)  # type: ignore[no-any-return]


measured.cache(decorated)
