"""A subscriber in RESP whose connection is lost: it subscribes again, or ends if it is told not to restore."""

from __future__ import annotations

import asyncio

import pytest

from aioresp import Client, ConnectionLost, Gap, Message
from aioresp.testing import Proxy


async def test_it_subscribes_again(proxy: Proxy, prefix: str) -> None:
    channel = f"{prefix}c".encode()
    async with Client(proxy.url) as c, c.subscribe_raw(protocol=2) as s:
        await s.send((b"SUBSCRIBE", channel))
        confirmed = await s.read()
        assert confirmed.startswith(b"*3\r\n$9\r\nsubscribe\r\n")
        proxy.cut()
        assert await asyncio.wait_for(s.read(), 20) == confirmed


async def test_without_restore_it_ends_after_what_had_come(proxy: Proxy, prefix: str) -> None:
    channels = [f"{prefix}{name}".encode() for name in "abc"]
    other = f"{prefix}other"
    async with Client(proxy.url) as c, c.subscribe_raw(restore=False) as s, c.subscribe(other, gaps=True) as restored:
        await s.send((b"SUBSCRIBE", *channels))
        proxy.cut()
        for channel in channels:
            assert channel in await asyncio.wait_for(s.read(), 20)
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(s.read(), 20)
        # Others on the same connection are restored.
        assert isinstance(await restored.get(20), Gap)
        await c.publish(other, "again")
        assert isinstance(await restored.get(20), Message)
