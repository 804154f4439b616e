"""The same as `test_credentials`, for the connections of who listens: subscriptions and MONITOR."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import aioresp
from aioresp import Client, Credentials, Gap, Message
from aioresp.pubsub import liveness
from aioresp.testing import Server
from tests.security.test_credentials import Provider, locked, root, until, users

__all__ = ["locked", "root"]  # fixtures

ONE = Credentials("one", "one-pw", renew_after=0.05)
TWO = ("two", "two-pw")


async def test_asked_at_every_handshake(locked: Server, root: Client[str], protocol: Any) -> None:
    provider = Provider(("one", "one-pw"), TWO, ("one", "one-pw"), TWO)
    options: Any = {"credential_provider": provider, "protocol": protocol, "client_name": "app"}
    async with Client(locked.url, **options) as r, r.subscribe("c", gaps=True) as s:
        assert provider.asked == 1
        assert set((await users(root)).values()) == {"one"}
        await root.client_kill_filter(_type="pubsub")
        assert isinstance(await s.get(5), Gap)
        assert provider.asked == 2
        assert set((await users(root)).values()) == {"two"}
        async with r.monitor() as monitor:
            assert provider.asked == 3
            assert set((await users(root)).values()) == {"one", "two"}
            await r.echo("x")
            assert provider.asked == 4
            while (await monitor.get()).arguments[-1] != "x":
                pass


@pytest.mark.parametrize("given", [OSError("no"), "wrong", ("one", "wrong"), 1])
async def test_what_keeps_us_from_connecting_ends_who_enters(locked: Server, root: Client[str], given: Any) -> None:
    async with Client(locked.url, credential_provider=Provider(given), retry=None) as r:
        for context in (r.subscribe("c"), r.monitor()):
            with pytest.raises((aioresp.ConnectError, aioresp.AuthenticationError)) as caught:
                async with context:
                    pass
            assert "wrong" not in str(caught.value)


async def test_a_provider_that_raises_once_is_asked_again(locked: Server, root: Client[str]) -> None:
    provider = Provider(("one", "one-pw"), OSError("not now"), asyncio.CancelledError(), TWO)
    async with Client(locked.url, credential_provider=provider) as r, r.subscribe("c", gaps=True) as s:
        await root.client_kill_filter(_type="pubsub")
        assert isinstance(await s.get(5), Gap)
        assert provider.asked == 4


@pytest.mark.parametrize("what", ["subscribe", "monitor"])
async def test_a_slow_provider_is_covered_by_the_deadline(locked: Server, what: str) -> None:
    tasks = asyncio.all_tasks()
    cancelled = 0

    async def slow() -> str:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return "root"

    async with Client(locked.url, credential_provider=slow, timeout=0.2, retry=None) as r:
        start = time.monotonic()
        with pytest.raises((aioresp.ConnectTimeout, aioresp.PoolTimeout)):
            async with r.subscribe("c") if what == "subscribe" else r.monitor():
                pass
        assert time.monotonic() - start < 20  # the provider sleeps for 60
    assert cancelled >= 1
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("end", ["close", "cancel"])
async def test_an_end_while_the_provider_is_asked(locked: Server, end: str) -> None:
    tasks = asyncio.all_tasks()
    asked = asyncio.Event()

    async def slow() -> str:
        asked.set()
        await asyncio.sleep(60)
        return "root"

    async def listen(r: Client[str]) -> None:
        async with r.subscribe("c"):
            pass

    async with Client(locked.url, credential_provider=slow) as r:
        call = asyncio.create_task(listen(r))
        await asked.wait()
        if end == "cancel":
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
    if end == "close":
        with pytest.raises(aioresp.ClientClosed):
            await call
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the connection of subscriptions looked after all the time, and failed providers asked again."""
    monkeypatch.setattr(liveness, "PING_AFTER", 0.05)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.5)
    monkeypatch.setattr("aioresp.wire.renewal.AGAIN", 0.05)


async def test_a_live_connection_becomes_another_user(locked: Server, root: Client[str], soon: None) -> None:
    """Between messages, of which none is missed, whatever the provider does meanwhile."""
    late = asyncio.get_running_loop().create_future()
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    provider = Provider(ONE, ValueError("s3cr3t"), late, cancelled, ("one", "old"), TWO)
    options: Any = {"credential_provider": provider, "client_name": "app", "connect_timeout": 0.3}
    async with Client(locked.url, **options) as r, r.subscribe("c", gaps=True) as s:
        sent = 0
        while "two" not in (await users(root)).values():
            await root.publish("c", sent)
            sent += 1
            await asyncio.sleep(0.005)
        assert [await s.get(1) for _ in range(sent)] == [Message("c", str(n)) for n in range(sent)]
        assert provider.asked == 6
        assert s.gaps == ()


async def test_renewed_credentials_that_are_refused(
    locked: Server, root: Client[str], soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider(ONE, ("one", "s3cr3t"), ("one", "s3cr3t"), TWO)
    options: Any = {"credential_provider": provider, "client_name": "app"}
    async with Client(locked.url, **options) as r, r.subscribe("c", gaps=True) as s:
        assert isinstance(await s.get(5), Gap)
        assert set((await users(root)).values()) == {"two"}
        await root.publish("c", "after")
        assert await s.get(5) == Message("c", "after")
    assert "refused the renewed credentials" in caplog.text
    assert "s3cr3t" not in caplog.text


async def test_under_resp2_a_new_connection_is_introduced(locked: Server, root: Client[str], soon: None) -> None:
    """A subscriber may send no AUTH there."""
    provider = Provider(ONE, TWO)
    options: Any = {"credential_provider": provider, "client_name": "app", "protocol": 2}
    async with Client(locked.url, **options) as r, r.subscribe("c", gaps=True) as s:
        assert isinstance(await s.get(5), Gap)
        assert set((await users(root)).values()) == {"two"}


async def test_a_monitor_is_left_alone(locked: Server, root: Client[str], soon: None) -> None:
    """What it reads is one stream to its end, and its connection nobody's afterwards."""
    provider = Provider(ONE)
    async with Client(locked.url, credential_provider=provider) as r:
        async with r.monitor() as monitor:
            await until(lambda: provider.asked > 5)
            await root.echo("x")
            while (await monitor.get()).arguments[-1] != "x":
                pass
        asked = provider.asked
        await asyncio.sleep(0.2)
        assert provider.asked <= asked + 1
        assert r.stats().open == 0
