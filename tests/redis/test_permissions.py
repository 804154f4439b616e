"""Users of the server who may do little: redis-py connects them without a command, and so does the layer."""

from __future__ import annotations

import pytest
from redis.exceptions import NoPermissionError

from aioresp import Client
from aioresp.testing import Server
from tests.redis.conftest import Make


async def test_a_user_who_may_not_ping(make: Make, server: Server, prefix: str) -> None:
    async with Client(server.url) as admin:
        await admin.call("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+get")
        try:
            reader = make(f"redis://reader:secret@{server.host}:{server.port}")
            assert await reader.get(prefix) is None
            with pytest.raises(NoPermissionError):
                await reader.set(prefix, 1)
        finally:
            await admin.call("ACL", "DELUSER", "reader")
