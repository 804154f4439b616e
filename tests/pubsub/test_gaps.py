"""A lost connection: subscriptions go on by themselves, and tell what may have been missed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from threading import Thread
from typing import Literal, cast

import pytest

from aioresp import Client, Credentials, Gap, Message
from aioresp.pubsub import hub as hubs
from aioresp.pubsub import liveness
from aioresp.pubsub.subscription import Subscription
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.pubsub.listening import flood, subscribers, until


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
    assert liveness.PING_AFTER + liveness.PING_WAIT <= 10, "as the documentation says"
    monkeypatch.setattr(liveness, "PING_AFTER", 0.1)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.8)  # on a busy machine, an answer takes some of it
    # The attempt to connect that follows may meet the same silence.
    async with Client(proxy.url, protocol=resp, connect_timeout=0.5) as r, r.subscribe(prefix, gaps=True) as s:
        assert await s.get(0.5) is None, "it answers its PINGs"
        assert s.gaps == ()
        proxy.half_open()
        since = time.monotonic()
        await until(lambda: r.stats().open == 0)
        assert time.monotonic() - since < 4.5  # not the 10 s of those times as they are
        proxy.heal()
        assert isinstance(await s.get(5), Gap)


async def test_a_dead_peer_is_noticed_while_subscriptions_come_and_go(
    proxy: Proxy, resp: Literal[2, 3], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of those that leave was full, so none gives the server more time for its answer."""
    monkeypatch.setattr(liveness, "PING_AFTER", 0.1)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.3)
    async with Client(proxy.url, protocol=resp, connect_timeout=0.5) as r, r.subscribe(prefix, gaps=True) as s:
        proxy.half_open()
        async with asyncio.timeout(5):
            while r.stats().open:
                entering = asyncio.create_task(r.subscribe(f"{prefix}other").__aenter__())
                await asyncio.sleep(0.02)
                entering.cancel()
                await asyncio.wait((entering,))
        proxy.heal()
        assert isinstance(await s.get(5), Gap)


async def test_who_may_not_ping_is_answered_all_the_same(
    own_server: Server, resp: Literal[2, 3], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "PING_AFTER", 0.05)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.1)
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
    monkeypatch.setattr(liveness, "PING_AFTER", 0.05)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.05)
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
    monkeypatch.setattr(liveness, "PING_AFTER", 0.05)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.5)
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


# --- From when to when -----------------------------------------------------------------------------------------------


class Published:
    """Numbered messages with the times between which they were published."""

    def __init__(self, r: Client[str], channel: str, size: int = 10) -> None:
        self.times: list[float] = []
        self.ends: dict[int, float] = {}
        self._r = r
        self._channel = channel
        self._filler = "x" * size

    async def publish(self) -> int:
        number = len(self.times)
        self.times.append(time.time())
        try:
            return await self._r.publish(self._channel, f"{number}:{self._filler}")
        finally:
            self.ends[number] = time.time()

    def outside(self, items: list[Message[str] | Gap]) -> list[float]:
        """Return by how many seconds each missing message lies outside all gaps; there must be missing ones."""
        got = {int(item.data.partition(":")[0]) for item in items if isinstance(item, Message)}
        # A busy machine may take a while between the note of a time and the publication.
        missing = [(when, self.ends[number]) for number, when in enumerate(self.times) if number not in got]
        assert missing
        gaps = [(item.at, item.at + item.seconds) for item in items if isinstance(item, Gap)]
        return [
            min(max(start - last, first - end) for start, end in gaps)
            for first, last in missing
            if not any(start <= last and first <= end for start, end in gaps)
        ]


async def read(s: Subscription[Message[str] | Gap], items: list[Message[str] | Gap]) -> None:
    async for item in s:
        items.append(item)


async def test_what_a_full_subscription_misses_lies_in_the_gap(resp: Literal[2, 3], prefix: str) -> None:
    """What it does not read stays in buffers, here and there, and is lost with the connection."""
    items: list[Message[str] | Gap] = []
    with start_server(config={"client-output-buffer-limit": "pubsub 1mb 0 0"}) as own:
        async with (
            Client(own.url, protocol=resp) as r,
            Client(own.url) as admin,
            r.subscribe(prefix, gaps=True, buffer=4, overflow="wait") as s,
        ):
            # Valkey 9.1 does not copy larger ones, and hardly counts them: it would take thousands to reach the limit.
            published = Published(admin, prefix, 15 * 1024)
            async with asyncio.timeout(30):
                while await published.publish():
                    pass
            await asyncio.sleep(0.5)  # the longer nothing is read, the later is the loss noticed
            reading = asyncio.create_task(read(s, items))
            await until(lambda: len(s.gaps) == 1, 30)
            await published.publish()
            await until(lambda: isinstance(items[-1], Message) and len(items[-1].data) > 0 and s.waiting == 0, 30)
            await until(lambda: cast(Message[str], items[-1]).data.startswith(f"{len(published.times) - 1}:"))
            reading.cancel()
    assert published.outside(items) == []


@pytest.mark.parametrize("way", ["delayed", "stalled", "killed", "blocked"])
async def test_what_is_missed_lies_in_the_gap(
    proxy: Proxy,
    other: Client[str],
    resp: Literal[2, 3],
    prefix: str,
    way: str,
    no_debug: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(liveness, "PROVE_AFTER", 0.2)
    items: list[Message[str] | Gap] = []
    async with (
        Client(proxy.url, protocol=resp) as r,
        r.subscribe(prefix, gaps=True) as s,
        r.psubscribe(f"{prefix}*", gaps=True) as p,
    ):
        published = Published(other, prefix)
        reading = asyncio.create_task(read(s, items))
        stop = False

        async def go_on() -> None:
            while not stop:
                await published.publish()
                await asyncio.sleep(0.001)

        publishing = asyncio.create_task(go_on())
        await asyncio.sleep(0.5)
        proxy.refuse()
        if way == "delayed":
            proxy.delay = 0.5
            await asyncio.sleep(0.8)  # some come, half a second late
            proxy.cut(rst=True)
        elif way == "stalled":
            proxy.stall("down")
            await asyncio.sleep(0.5)
            proxy.cut()
        elif way == "killed":
            await other.call("CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(0.2)
        else:
            # In one turn of this loop: what is published is not read, and when it could be, it is gone.
            thread = Thread(target=asyncio.run, args=(_publish_and_kill(other, published),))
            thread.start()
            thread.join()
        proxy.delay = 0
        proxy.heal()
        proxy.accept()
        await until(lambda: len(s.gaps) == len(p.gaps) >= 1, 20)
        stop = True
        await publishing
        await published.publish()
        last = f"{len(published.times) - 1}:"
        await until(lambda: isinstance(items[-1], Message) and items[-1].data.startswith(last), 20)
        reading.cancel()
        assert [gap.at for gap in s.gaps] == [gap.at for gap in p.gaps]
    assert published.outside(items) == []


async def _publish_and_kill(r: Client[str], published: Published) -> None:
    for _ in range(50):
        await published.publish()
        await asyncio.sleep(0.005)
    await r.call("CLIENT", "KILL", "TYPE", "pubsub")
    for _ in range(50):
        await published.publish()


async def test_a_gap_begins_when_the_server_last_proved_that_all_is_here(
    proxy: Proxy, other: Client[str], resp: Literal[2, 3], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the last sign of life, which may be an old message; nor long before, as it is asked while they come."""
    monkeypatch.setattr(liveness, "PROVE_AFTER", 0.05)
    async with Client(proxy.url, protocol=resp) as r, r.subscribe(prefix, gaps=True) as s:
        start = time.time()
        published = Published(other, prefix)
        while time.time() < start + 1:
            await published.publish()
            await asyncio.sleep(0.01)
        await until(lambda: s.waiting == len(published.times))
        proxy.stall("up")  # messages come, answers do not
        stalled = time.time()
        await asyncio.sleep(0.5)
        await published.publish()
        await until(lambda: s.waiting == len(published.times))
        proxy.cut(rst=True)
        proxy.heal()
        await until(lambda: len(s.gaps) == 1)
        (gap,) = s.gaps
        assert start + 0.3 < gap.at < stalled + 0.2
        assert gap.seconds > 0.3


async def test_a_silent_peer_has_its_gap_from_before_the_silence(
    proxy: Proxy, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "PING_AFTER", 0.1)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.3)
    async with Client(proxy.url, connect_timeout=0.5) as r, r.subscribe(prefix) as s:
        await asyncio.sleep(0.5)
        proxy.half_open()
        silent = time.time()
        await until(lambda: r.stats().open == 0)
        proxy.heal()
        await until(lambda: len(s.gaps) == 1)
        assert s.gaps[0].at < silent
        assert s.gaps[0].seconds > 0.3


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_wall_clock_that_is_set(
    proxy: Proxy, other: Client[str], prefix: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long a gap took does not depend on it, nor what two gaps with nothing in between took together."""
    clock = time.time
    async with Client(proxy.url) as r, r.subscribe(prefix, gaps=True) as s:
        before = clock()
        proxy.cut()
        monkeypatch.setattr(time, "time", lambda: clock() + step)
        await until(lambda: len(s.gaps) == 1)
        proxy.cut()
        monkeypatch.setattr(time, "time", clock)
        await until(lambda: len(s.gaps) == 2)
        gap = await s.get(5)
        assert isinstance(gap, Gap)
        assert gap.at == s.gaps[0].at < before
        assert s.waiting == 0
        for each in (*s.gaps, gap):
            assert 0 < each.seconds < 60
        assert gap.seconds > s.gaps[0].seconds


async def test_a_gap_begins_no_earlier_than_its_subscription(proxy: Proxy, other: Client[str], prefix: str) -> None:
    async with Client(proxy.url) as r, r.subscribe(prefix) as early:
        await asyncio.sleep(0.5)
        entering = time.time()
        async with r.subscribe(prefix) as late:
            proxy.cut()
            await until(lambda: len(early.gaps) == len(late.gaps) == 1)
            assert early.gaps[0].at < entering <= late.gaps[0].at


async def test_a_loop_that_stood_still_while_an_answer_was_due(
    server: Server, prefix: str, no_debug: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PING leaves only when the loop goes on: the server has its time from then."""
    monkeypatch.setattr(liveness, "PING_AFTER", 0.05)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.5)
    async with Client(server.url) as r, r.subscribe(prefix) as s:
        for _ in range(3):
            await until(lambda: r.node.hubs.here()._life._pinged is None)
            async with asyncio.timeout(5):
                while r.node.hubs.here()._life._pinged is None:
                    await asyncio.sleep(0)
            time.sleep(0.7)
        await asyncio.sleep(0.1)
        assert s.gaps == ()
