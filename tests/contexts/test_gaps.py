"""A lost connection: subscriptions go on by themselves, and tell what may have been missed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Literal, cast

import pytest

from aioresp import Client, Credentials, Gap, Message
from aioresp.contexts import hub as hubs
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.contexts.listening import flood, subscribers, until


@pytest.fixture
def prefix() -> str:
    """One without the brackets that tests have in their names: they mean something in a glob."""
    return f"{os.urandom(4).hex()}:"


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server() as running:
        yield running


@pytest.mark.parametrize("rst", [False, True])
async def test_after_a_cut_it_goes_on_and_tells_the_gap(
    proxy: Proxy, other: Client[str], resp: Literal[2, 3], prefix: str, rst: bool
) -> None:
    async with (
        Client(proxy.url, protocol=resp) as r,
        r.subscribe(f"{prefix}a", f"{prefix}b", gaps=True) as s,
        r.psubscribe(f"{prefix}a*") as p,
    ):
        await other.publish(f"{prefix}a", "before")
        assert await s.get() == Message(f"{prefix}a", "before")
        before = time.time()
        proxy.refuse()
        proxy.cut(rst=rst)
        await subscribers(other, f"{prefix}a", 0)
        await asyncio.sleep(0.2)
        proxy.accept()
        gap = await s.get(timeout=5)
        assert isinstance(gap, Gap)
        assert before - 0.2 < gap.at < before + 0.2
        assert 0.2 <= gap.seconds < 5
        assert s.gaps == (gap,)
        await other.publish(f"{prefix}a", "after")
        await other.publish(f"{prefix}b", "after")
        assert [await s.get(), await s.get()] == [Message(f"{prefix}a", "after"), Message(f"{prefix}b", "after")]
        assert await p.get() == Message(f"{prefix}a", "before", f"{prefix}a*")
        assert await p.get() == Message(f"{prefix}a", "after", f"{prefix}a*"), "no gap where none was asked for"
        assert len(p.gaps) == 1


async def test_a_server_that_restarts(prefix: str, resp: Literal[2, 3]) -> None:
    with start_server() as own:
        async with Client(own.url, protocol=resp) as r, r.subscribe(prefix, gaps=True) as s:
            own.kill()
            await asyncio.sleep(0.3)
            own.start()
            async with asyncio.timeout(10):
                assert isinstance(await s.get(), Gap)
            await r.publish(prefix, "after")
            assert (await s.get()) == Message(prefix, "after")


async def test_channels_may_come_and_go_while_there_is_no_connection(
    proxy: Proxy, other: Client[str], prefix: str
) -> None:
    async with Client(proxy.url) as r, r.subscribe(f"{prefix}a", f"{prefix}b", gaps=True) as s:
        proxy.refuse()
        proxy.cut()
        await subscribers(other, f"{prefix}a", 0)
        adding = asyncio.create_task(s.subscribe(f"{prefix}c"))
        await s.unsubscribe(f"{prefix}a")
        await asyncio.sleep(0.05)
        assert not adding.done()
        proxy.accept()
        await adding
        assert isinstance(await s.get(5), Gap)
        for channel in ("a", "b", "c"):
            await other.publish(f"{prefix}{channel}", channel)
        assert [cast(Message[str], await s.get()).data for _ in range(2)] == ["b", "c"]


async def test_a_dead_peer_is_noticed(
    proxy: Proxy, resp: Literal[2, 3], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hubs.PING_AFTER + hubs.PING_WAIT <= 10, "as the documentation says"
    monkeypatch.setattr(hubs, "PING_AFTER", 0.1)
    monkeypatch.setattr(hubs, "PING_WAIT", 0.1)
    # The attempt to connect that follows may meet the same silence.
    async with Client(proxy.url, protocol=resp, connect_timeout=0.5) as r, r.subscribe(prefix, gaps=True) as s:
        assert await s.get(0.5) is None, "it answers its PINGs"
        assert s.gaps == ()
        proxy.half_open()
        since = time.monotonic()
        await until(lambda: r.stats().open == 0)
        assert time.monotonic() - since < 1
        proxy.heal()
        assert isinstance(await s.get(5), Gap)


async def test_who_may_not_ping_is_answered_all_the_same(
    own_server: Server, resp: Literal[2, 3], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "PING_AFTER", 0.05)
    monkeypatch.setattr(hubs, "PING_WAIT", 0.1)
    async with Client(own_server.url) as admin:
        await admin.call("ACL SETUSER", "reader", "on", ">p", "+subscribe", "+hello", "&*")
        async with (
            Client(own_server.url, username="reader", password="p", protocol=resp) as r,
            r.subscribe("c") as s,
        ):
            await asyncio.sleep(0.5)
            assert s.gaps == ()
            await admin.publish("c", "still here")
            assert await s.get(5) == Message("c", "still here")


async def test_a_busy_loop_does_not_look_like_a_dead_peer(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "PING_AFTER", 0.05)
    monkeypatch.setattr(hubs, "PING_WAIT", 0.05)
    async with Client(server.url) as r, r.subscribe(prefix) as s:
        for _ in range(5):
            await asyncio.sleep(0.03)
            time.sleep(0.2)  # what is meant: somebody blocks the loop
        await asyncio.sleep(0.1)
        assert s.gaps == ()


async def test_nothing_is_missed_without_a_gap(
    proxy: Proxy, other: Client[str], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers are published all the time, while connections are cut: where some are missing, there is a gap."""
    monkeypatch.setattr(hubs, "LASTING", 0.0)  # each loss is the first: short pauses
    async with Client(proxy.url) as r, r.subscribe(prefix, gaps=True, buffer=1_000_000) as s:
        stop = False

        async def publish() -> int:
            n = 0
            while not stop:
                for _ in range(20):
                    await other.publish(prefix, n)
                    n += 1
                await asyncio.sleep(0)
            return n

        publishing = asyncio.create_task(publish())
        for n in range(30):
            waiting = s.waiting
            await until(lambda: s.waiting > waiting + 10)  # noqa: B023  # it is called in this turn
            if n % 3:
                proxy.cut(rst=n % 2 == 0)
            else:
                proxy.cut_after(100 + 37 * n)
        waiting = s.waiting
        await until(lambda: s.waiting > waiting + 1000)
        stop = True
        published = await publishing
        await other.publish(prefix, "end")
        expected, holes, gaps, after_gap = 0, 0, 0, False
        async with asyncio.timeout(10):
            async for item in s:
                if isinstance(item, Gap):
                    gaps += 1
                    after_gap = True
                elif item.data == "end":
                    break
                else:
                    number = int(item.data)
                    assert number >= expected, "twice, or out of order"
                    if number > expected:
                        holes += 1
                        assert after_gap, f"{expected} to {number} are missing without a word"
                    expected, after_gap = number + 1, False
        assert gaps >= 10
        assert holes
        assert expected <= published


async def test_garbage_costs_the_connection_and_nothing_else(proxy: Proxy, other: Client[str], prefix: str) -> None:
    for garbage in (
        b"?what\r\n",
        b"*3\r\n$7\r\nmessage\r\n*0\r\n$1\r\nx\r\n",
        b"*0\r\n",
        b"+PONG\r\n",
        b"-ERR nobody asked\r\n",
        b"*3\r\n$9\r\nsubscribe\r\n$5\r\nnever\r\n:1\r\n",
        b"*3\r\n$12\r\nsunsubscribe\r\n$5\r\nmoved\r\n:0\r\n",
        b":1\r\n",
    ):
        async with Client(proxy.url) as r, r.subscribe(prefix, gaps=True) as s:
            await other.publish(prefix, "before")
            assert cast(Message[str], await s.get()).data == "before"
            proxy.inject(garbage)
            assert isinstance(await s.get(5), Gap), garbage
            await other.publish(prefix, "after")
            assert await s.get(5) == Message(prefix, "after")


async def test_a_message_without_an_end_is_refused(proxy: Proxy, other: Client[str], prefix: str) -> None:
    async with Client(proxy.url, max_reply=1_000_000) as r, r.subscribe(prefix, gaps=True, buffer=99_999) as s:
        await other.publish(prefix, "x" * 900_000)
        assert len(cast(Message[str], await s.get(5)).data) == 900_000
        for _ in range(3):
            await flood(other, prefix, 20_000)  # all of them together are more, which is no harm
            await until(lambda: s.waiting == 20_000)
            for _ in range(20_000):
                await s.get()
        assert s.gaps == ()
        await other.publish(prefix, "x" * 2_000_000)
        assert isinstance(await s.get(5), Gap)


async def test_new_credentials_reach_the_connection_of_subscriptions(
    resp: Literal[2, 3], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "PING_AFTER", 0.05)
    monkeypatch.setattr(hubs, "PING_WAIT", 0.5)
    asked = 0

    def provide() -> Credentials:
        nonlocal asked
        asked += 1
        return Credentials("u", "p", renew_after=0.1 if asked == 1 else 1000)

    with start_server(config={"requirepass": ""}) as own:
        async with Client(own.url) as admin:
            await admin.call("ACL SETUSER", "u", "on", ">p", "+@all", "~*", "&*")
            async with (
                Client(own.url, credential_provider=provide, protocol=resp) as r,
                r.subscribe(prefix, gaps=True) as s,
            ):
                await until(lambda: asked >= 2)
                if resp == 2:
                    assert isinstance(await s.get(5), Gap), "RESP2 takes no AUTH from a subscriber"
                else:
                    await asyncio.sleep(0.7)
                    assert s.gaps == ()
                    info = await admin.info("commandstats")
                    assert info["cmdstat_auth"]["calls"] == 1
                await admin.publish(prefix, "still here")
                assert await s.get(5) == Message(prefix, "still here")
