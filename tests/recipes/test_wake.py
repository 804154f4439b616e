"""Waiting for a word on a channel, or for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from aioresp import Client
from aioresp.errors import ClientClosed, NoPermissionError
from aioresp.recipes.wake import Wake
from aioresp.testing import Server


@pytest.fixture
async def view(server: Server) -> AsyncIterator[Client[bytes]]:
    async with Client(server.url, decode_responses=False) as client:
        yield client


async def test_a_word_or_a_time(view: Client[bytes], other: Client[str], prefix: str) -> None:
    async with Wake(view, prefix.encode()) as wake:
        assert wake.is_live
        assert not await wake.wait(0)
        since = time.monotonic()
        assert not await wake.wait(0.1)
        assert time.monotonic() - since >= 0.09
        for _ in range(3):
            await other.publish(prefix, "")
        assert await asyncio.wait_for(wake.wait(20), 10)
        await asyncio.sleep(0.05)
        while await wake.wait(0):  # at most once more: words that came together are one
            pass
        waiting = asyncio.create_task(wake.wait(20))
        await asyncio.sleep(0.01)
        assert await other.publish(prefix, "") == 1
        assert await asyncio.wait_for(waiting, 10)
    assert not wake.is_live


async def test_words_before_the_wait_are_not_missed(view: Client[bytes], other: Client[str], prefix: str) -> None:
    wake = Wake(view, prefix.encode())
    await wake.open()
    await other.publish(prefix, "")
    assert await asyncio.wait_for(wake.wait(20), 10)
    wake.close()
    wake.close()


async def test_a_cancelled_wait_takes_no_word(view: Client[bytes], other: Client[str], prefix: str) -> None:
    async with Wake(view, prefix.encode()) as wake:
        waiting = asyncio.create_task(wake.wait(20))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await other.publish(prefix, "")
        assert await asyncio.wait_for(wake.wait(20), 10)


async def test_a_lost_connection_is_a_word(view: Client[bytes], other: Client[str], prefix: str) -> None:
    async with Wake(view, prefix.encode()) as wake:
        await other.call("CLIENT", "KILL", "TYPE", "pubsub")
        assert await asyncio.wait_for(wake.wait(20), 10)
        await other.publish(prefix, "")
        assert await asyncio.wait_for(wake.wait(20), 10)


async def test_a_closed_client_is_told(server: Server, prefix: str) -> None:
    client = Client(server.url, decode_responses=False)
    async with Wake(client, prefix.encode()) as wake:
        waiting = asyncio.create_task(wake.wait(20))
        await asyncio.sleep(0.01)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(waiting, 10)


async def test_without_permission_it_waits_by_time(
    view: Client[bytes], prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wake, "_is_logged", False)
    for _ in range(2):
        wake = Wake(view, prefix.encode())
        subscription = wake._subscription
        assert subscription is not None

        async def refuse() -> None:
            raise NoPermissionError("NOPERM no channels")

        monkeypatch.setattr(type(subscription), "__aenter__", lambda _: refuse())
        await wake.open()
        assert not wake.is_live
        since = time.monotonic()
        assert await wake.wait(20)  # it means: look again
        assert time.monotonic() - since < 5
        wake.close()
    assert sum("waits by time" in record.message for record in caplog.records if record.levelname == "WARNING") == 1
