"""Clients of redis-py that are dropped: nothing of them stays."""

from __future__ import annotations

import gc
import weakref

import pytest
import redis.asyncio as theirs

import aioresp.redis
from aioresp.testing import Server


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("kind", [theirs.Redis, aioresp.redis.Redis], ids=["install", "class"])
async def test_a_client_that_is_dropped_is_collected(
    server: Server, installed: None, kind: type[theirs.Redis], protocol: int
) -> None:
    pools = []
    async with kind.from_url(server.url, protocol=protocol) as closed:  # the last user, or a warning would come
        assert await closed.ping()
        for used in (False, True):
            client = kind.from_url(server.url, protocol=protocol)
            if used:
                assert await client.ping()
            pools.append(weakref.ref(client.connection_pool))
            del client
        gc.collect()
        assert [pool() for pool in pools] == [None, None]
