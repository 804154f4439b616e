"""Subscriptions: what is published arrives, in order; what may have been missed, or found no room, is said."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal, cast

import pytest

import aioresp
from aioresp import Client, Credentials, Gap, Message, Subscription
from aioresp.contexts import hub as hubs
from aioresp.events import Dropped
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import tasks_besides


@pytest.fixture(params=[3, 2], ids=["resp3", "resp2"])
def resp(request: pytest.FixtureRequest) -> Literal[2, 3]:
    return cast(Literal[2, 3], request.param)


@pytest.fixture
def prefix() -> str:
    """One without the brackets that tests have in their names: they mean something in a glob."""
    return f"{os.urandom(4).hex()}:"


@pytest.fixture
async def r(server: Server, resp: Literal[2, 3]) -> AsyncIterator[Client[str]]:
    async with Client(server.url, protocol=resp) as client:
        yield client


@pytest.fixture
async def other(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


async def until(reached: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not reached():
            await asyncio.sleep(0.005)


async def subscribers(r: Client[str], channel: str, expected: int) -> None:
    """Wait until the server counts so many subscribers of a channel."""
    async with asyncio.timeout(5):
        while (await r.pubsub_numsub(channel))[channel] != expected:
            await asyncio.sleep(0.005)


# --- Messages ---------------------------------------------------------------------------------------------------------


async def test_messages_of_channels_and_patterns(r: Client[str], prefix: str) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    async with r.subscribe(a, b) as s, r.psubscribe(f"{prefix}*") as p:
        assert await r.publish(a, "1") == 2, "entering returns when the server has confirmed"
        await r.publish(b, "2")
        await r.publish(f"{prefix}c", "3")
        assert [await s.get(), await s.get(), await s.get(timeout=0.05)] == [Message(a, "1"), Message(b, "2"), None]
        pattern = f"{prefix}*"
        found = [await p.get(timeout=5) for _ in range(3)]
        assert found == [Message(a, "1", pattern), Message(b, "2", pattern), Message(f"{prefix}c", "3", pattern)]


async def test_bytes(server: Server, resp: Literal[2, 3], prefix: str) -> None:
    async with Client(server.url, protocol=resp, decode_responses=False) as r:
        channel = prefix.encode() + b"\xff"
        async with r.subscribe(channel) as s, r.psubscribe(prefix.encode() + b"*") as p:
            await r.publish(channel, b"\x00\xfe\r\n%1\r\n")
            assert await s.get() == (channel, b"\x00\xfe\r\n%1\r\n", None)
            assert await p.get() == (channel, b"\x00\xfe\r\n%1\r\n", prefix.encode() + b"*")


async def test_shard_channels(server: Server, r: Client[str], prefix: str) -> None:
    if server.version < (7,):
        pytest.skip("shard channels came with 7.0")
    async with r.ssubscribe(prefix) as s, r.subscribe(prefix) as ordinary:
        assert await r.spublish(prefix, "sharded") == 1
        await r.publish(prefix, "ordinary")
        assert await s.get() == Message(prefix, "sharded")
        await s.sunsubscribe(prefix)
        await s.ssubscribe(f"{prefix}2")
        await r.spublish(f"{prefix}2", "again")
        assert await s.get() == Message(f"{prefix}2", "again")
        assert await ordinary.get() == Message(prefix, "ordinary")
        assert await ordinary.get(0.02) is None


async def test_channels_are_added_and_dropped_while_it_runs(r: Client[str], prefix: str) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    async with r.subscribe() as s:
        assert repr(s) == "Subscription(nothing, 0 waiting, 0 dropped)"
        await s.subscribe(a)
        await s.subscribe(a)
        await r.publish(a, "1")
        await s.psubscribe(f"{prefix}?")
        await s.unsubscribe(a)
        await r.publish(a, "2")
        # The server may answer who publishes before it sends the message on; what arrives after a channel was dropped
        # is not delivered.
        await until(lambda: s.waiting == 2)
        await s.punsubscribe()
        await s.subscribe(b, a)
        await s.unsubscribe("never subscribed to")
        await s.unsubscribe()
        await r.publish(b, "3")
        await s.subscribe(b)
        await r.publish(b, "4")
        assert [await s.get() for _ in range(3)] == [
            Message(a, "1"),
            Message(a, "2", f"{prefix}?"),
            Message(b, "4"),
        ]
        assert await s.get(timeout=0) is None
        assert repr(s) == "Subscription(1 channels, 0 waiting, 0 dropped)"


async def test_many_messages_keep_their_order(r: Client[str], other: Client[str], prefix: str) -> None:
    count = 5000
    async with r.subscribe(prefix) as s, r.subscribe(prefix) as same:
        p = other.pipeline()
        for n in range(count):
            p.publish(prefix, n)
        await p.execute()
        for subscription in (s, same):
            got = [int((await subscription.get()).data) for _ in range(count)]
            assert got == list(range(count))


async def test_text_that_is_none_is_an_error_in_its_place(r: Client[str], prefix: str) -> None:
    raw = r.with_options(decode_responses=False)
    async with r.subscribe(prefix) as s, r.psubscribe(f"{prefix}*") as p, raw.subscribe(prefix) as b:
        for data in (b"before", b"\xff", b"after"):
            await r.publish(prefix, data)
        for text in (s, p):
            assert (await text.get()).data == "before"
            with pytest.raises(aioresp.DecodeError, match="decode_responses=False"):
                await text.get()
            assert (await anext(text)).data == "after"
        assert [(await b.get()).data for _ in range(3)] == [b"before", b"\xff", b"after"]


# --- Sharing ----------------------------------------------------------------------------------------------------------


async def test_a_thousand_subscriptions_are_one_connection(r: Client[str], other: Client[str], prefix: str) -> None:
    async def listen(channel: str, entered: asyncio.Semaphore) -> str:
        async with r.subscribe(channel) as s:
            entered.release()
            return (await s.get()).data

    entered = asyncio.Semaphore(0)
    channels = [f"{prefix}{n % 500}" for n in range(1000)]
    tasks = [asyncio.create_task(listen(channel, entered)) for channel in channels]
    for _ in tasks:
        await entered.acquire()
    assert r.stats().open == 1
    counts = await other.pubsub_numsub(*channels[:500])
    assert set(counts.values()) == {1}, "a channel is subscribed to once"
    p = other.pipeline()
    for n, channel in enumerate(channels[:500]):
        p.publish(channel, n)
    await p.execute()
    assert await asyncio.gather(*tasks) == [str(n % 500) for n in range(1000)]
    for channel in (channels[0], channels[499]):
        await subscribers(other, channel, 0)


async def test_the_last_one_out_unsubscribes(r: Client[str], other: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix) as first:
        async with r.subscribe(prefix) as second:
            assert (await other.pubsub_numsub(prefix))[prefix] == 1
        await other.publish(prefix, "for the first")
        assert (await first.get()).data == "for the first"
        assert (await other.pubsub_numsub(prefix))[prefix] == 1
    await subscribers(other, prefix, 0)
    assert second.waiting == 0


async def test_leaving_and_coming_back_at_once(r: Client[str], prefix: str) -> None:
    for n in range(20):
        async with r.subscribe(prefix) as s:
            await r.publish(prefix, n)
            assert (await s.get()).data == str(n), "what another one left behind is not delivered"
    assert r.stats().made == 2


async def test_the_connection_is_closed_when_nobody_needs_it(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "PING_AFTER", 0.02)
    monkeypatch.setattr(hubs, "PING_WAIT", 0.02)
    monkeypatch.setattr(hubs, "LINGER", 0.05)
    async with Client(server.url) as r:
        async with r.subscribe(prefix):
            assert r.stats().open == 1
        await until(lambda: r.stats().open == 0)
        async with r.subscribe(prefix) as s:
            await r.publish(prefix, "again")
            assert (await s.get()).data == "again"


async def test_several_tasks_share_the_messages_of_one_subscription(r: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix) as s:
        tasks = [asyncio.create_task(s.get()) for _ in range(10)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        for n in range(5):
            await r.publish(prefix, n)
        got = await asyncio.gather(*tasks, return_exceptions=True)
        assert [message.data for message in got if isinstance(message, Message)] == ["0", "1", "2", "3", "4"]


async def test_a_reader_cancelled_as_it_wakes_leaves_the_message_to_the_next(r: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix) as s:
        for _ in range(20):
            first, second = asyncio.create_task(s.get()), asyncio.create_task(s.get())
            await asyncio.sleep(0.001)
            s.put(Message(prefix, "one"))
            first.cancel()
            async with asyncio.timeout(1):
                assert (await second).data == "one"
            with pytest.raises(asyncio.CancelledError):
                await first


# --- A lost connection ------------------------------------------------------------------------------------------------


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.host, server.port) as running:
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

    with start_server() as own:
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


# --- Slow readers -----------------------------------------------------------------------------------------------------


async def flood(r: Client[str], channel: str, count: int) -> None:
    p = r.pipeline()
    for n in range(count):
        p.publish(channel, n)
    await p.execute()


@pytest.mark.parametrize(
    ("overflow", "kept", "dropped"),
    [("drop_oldest", range(90, 100), 90), ("drop_newest", range(10), 90), ("close", range(10), 1)],
)
async def test_what_finds_no_room(
    r: Client[str],
    other: Client[str],
    prefix: str,
    overflow: Literal["drop_oldest", "drop_newest", "close"],
    kept: range,
    dropped: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with r.subscribe(prefix, buffer=10, overflow=overflow) as slow, r.subscribe(prefix, buffer=100) as quick:
        await flood(other, prefix, 100)
        await until(lambda: quick.waiting == 100)
        assert slow.dropped == dropped
        assert quick.dropped == 0, "one slow subscriber never holds up another"
        assert [int((await slow.get()).data) for _ in kept] == list(kept)
        if overflow == "close":
            with pytest.raises(aioresp.SubscriptionOverflow, match="10 messages waited"):
                await slow.get()
            with pytest.raises(aioresp.SubscriptionOverflow):
                async for _ in slow:
                    pass
        else:
            assert await slow.get(0) is None
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == (1 if overflow == "close" else 7), "for 1, 2, 4, 8, 16, 32 and 64 dropped messages"
    assert "read too slowly: 1 messages dropped" in said[0]


async def test_wait_drops_nothing(r: Client[str], other: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix, buffer=10, overflow="wait") as slow, r.subscribe(prefix) as another:
        await flood(other, prefix, 3000)
        await until(lambda: slow.waiting == 10)
        assert another.waiting == 10, "it is held up, too"
        for n in range(3000):
            assert int((await slow.get()).data) == n
            assert slow.waiting <= 10
            if n % 500 == 0:
                await asyncio.sleep(0.01)
        assert slow.dropped == 0
        await until(lambda: another.waiting == 3000)


async def test_a_full_subscriber_that_leaves_lets_the_others_go_on(
    r: Client[str], other: Client[str], prefix: str
) -> None:
    async with r.subscribe(prefix) as another:
        async with r.subscribe(prefix, buffer=2, overflow="wait") as slow:
            await flood(other, prefix, 50)
            await until(lambda: slow.waiting == 2)
        assert [int((await another.get(5) or Message("", "-1")).data) for _ in range(50)] == list(range(50))


async def test_one_that_waits_can_be_given_more_channels(proxy: Proxy, other: Client[str], prefix: str) -> None:
    """It is full before the confirmation is read: to read no more would be to wait for ever."""
    a, b = f"{prefix}a", f"{prefix}b"
    async with Client(proxy.url, timeout=5) as r, r.subscribe(a, buffer=2, overflow="wait") as s:
        proxy.stall("down")
        await flood(other, a, 10)
        adding = asyncio.create_task(s.subscribe(b))
        await subscribers(other, b, 1)
        proxy.resume("down")
        await adding
        await flood(other, b, 1000)
        data = [(await s.get()).data for _ in range(1010)]
        assert data == [*map(str, range(10)), *map(str, range(1000))]
        assert s.dropped == 0


async def test_who_is_held_up_is_told_by_whom(r: Client[str], other: Client[str], prefix: str) -> None:
    hasty = r.with_options(timeout=0.1)
    async with r.subscribe(prefix, buffer=2, overflow="wait") as slow:
        await flood(other, prefix, 10)
        await until(lambda: slow.waiting == 2)
        with pytest.raises(aioresp.CommandTimeout, match=r"Subscription\(1 channels, 2 waiting, 0 dropped\) is full"):
            async with hasty.subscribe(f"{prefix}b"):
                pass
        assert [int((await slow.get()).data) for _ in range(10)] == list(range(10))


async def test_a_gap_is_never_dropped(r: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix, gaps=True, buffer=2) as s:
        (topic,) = s._topics.values()
        for n in range(3):
            s.put(Message(prefix, str(n)))
            s.lose(topic, time.time() - 1)
            s.regain(topic)
        s.lose(topic, time.time())
        s.regain(topic)
        got = [await s.get() for _ in range(4)]
        assert [type(item) for item in got] == [Gap, Gap, Message, Gap]
        assert got[2] == Message(prefix, "2")
        assert (s.dropped, len(s.gaps)) == (2, 4)
        last = got[3]
        assert isinstance(last, Gap)
        assert last.at == s.gaps[2].at, "two gaps with nothing between them are one"
        assert await s.get(0) is None


async def test_a_drop_is_an_event(server: Server, prefix: str) -> None:
    heard: list[object] = []
    async with Client(server.url, events=heard.append) as r, r.subscribe(prefix, buffer=1) as s:
        await flood(r, prefix, 5)
        await until(lambda: s.dropped == 4)
    drops = [event.dropped for event in heard if isinstance(event, Dropped)]
    assert drops == [1, 2, 4]


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server() as running:
        yield running


async def test_a_channel_that_is_not_allowed(own_server: Server, resp: Literal[2, 3]) -> None:
    admin = Client(own_server.url)
    async with admin, Client(own_server.url, username="u", password="p", protocol=resp) as r:
        await admin.call("ACL SETUSER", "u", "on", ">p", "+@all", "~*", "resetchannels", "&ok*")
        async with r.subscribe("ok") as s:
            with pytest.raises(aioresp.NoPermissionError, match=r"\[SUBSCRIBE 'no'\]"):
                async with r.subscribe("no", "ok:too"):
                    pass
            with pytest.raises(aioresp.NoPermissionError):
                await s.subscribe("ok:3", "no")
            await admin.publish("ok", "still here")
            await admin.publish("ok:3", "none of them was added")
            assert (await s.get()).data == "still here"
            assert s.gaps == ()
            assert r.stats().made == 1
            # What was allowed and is not any more: the server cuts the connection, and refuses the new one.
            await admin.call("ACL SETUSER", "u", "resetchannels")
            with pytest.raises(aioresp.NoPermissionError):
                async with asyncio.timeout(5):
                    await s.get()


async def test_a_server_that_is_not_there() -> None:
    async with Client("redis://127.0.0.1:1", retry=aioresp.Retry(2, base=0.01)) as r:
        with pytest.raises(aioresp.ConnectError):
            async with r.subscribe("c"):
                pass
        assert tasks_besides() == set()
    async with Client("redis://127.0.0.1:1", retry=aioresp.Retry(100, base=0.01), timeout=0.2) as r:
        since = time.monotonic()
        with pytest.raises(aioresp.ConnectTimeout, match="cannot connect"):
            async with r.subscribe("c"):
                pass
        assert time.monotonic() - since < 1


async def test_a_server_that_does_not_answer(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=0.2) as r, r.subscribe(f"{prefix}a") as s:
        proxy.stall("down")
        with pytest.raises(aioresp.CommandTimeout, match=r"not confirmed the subscription in 0\.2 s"):
            await s.subscribe(f"{prefix}b")
        proxy.resume()
        await s.subscribe(f"{prefix}b")
        await r.publish(f"{prefix}b", "1")
        assert (await s.get()).data == "1"


async def test_wrong_credentials_end_a_subscription(own_server: Server) -> None:
    async with (
        Client(own_server.url) as admin,
        Client(own_server.url, username="u", password="p") as r,
    ):
        await admin.call("ACL SETUSER", "u", "on", ">p", "+@all", "~*", "&*")
        async with r.subscribe("c") as s:
            await admin.call("ACL SETUSER", "u", "resetpass", ">another")
            await admin.call("CLIENT KILL", "USER", "u")
            with pytest.raises(aioresp.AuthenticationError):
                async with asyncio.timeout(5):
                    await s.get()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda r: r.subscribe("a", 1), TypeError, "channel 1 is int, not str or bytes"),
        (lambda r: r.psubscribe(None), TypeError, "pattern 0 is NoneType"),
        (lambda r: r.ssubscribe(["a"]), TypeError, "shard channel 0 is list"),
        (lambda r: r.subscribe(b"\xff"), ValueError, "channel 0 has no UTF-8 form"),
        (lambda r: r.subscribe("\ud800"), ValueError, "channel 0 has no UTF-8 form"),
        (lambda r: r.subscribe("a", buffer=0), ValueError, "buffer is 0, not 1 or more"),
        (lambda r: r.subscribe("a", buffer=True), TypeError, "buffer is bool, not int"),
        (lambda r: r.subscribe("a", overflow="block"), ValueError, "overflow is 'block', not one of drop_oldest"),
        (lambda r: r.monitor(buffer=-1), ValueError, "buffer is -1"),
        (lambda r: r.keyspace_events("a", db=-1), ValueError, "db is -1"),
        (lambda r: r.keyspace_events("a", events="set"), TypeError, "events is str"),
        (lambda r: r.keyspace_events(1), TypeError, "pattern 0 is int"),
    ],
)
def test_bad_input_fails_at_the_call(make: Callable[[Any], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(Client())


async def test_it_is_entered_once_and_read_inside(r: Client[str], prefix: str) -> None:
    s = r.subscribe(prefix)
    with pytest.raises(RuntimeError, match="enter it"):
        await s.get()
    with pytest.raises(RuntimeError, match="not entered"):
        await s.subscribe("c")
    async with s:
        with pytest.raises(RuntimeError, match="entered once"):
            await s.__aenter__()
    with pytest.raises(RuntimeError, match="was left"):
        await s.subscribe("c")
    with pytest.raises(aioresp.SubscriptionClosed):
        await s.get()


# --- The end ----------------------------------------------------------------------------------------------------------


async def read(s: Subscription[Message[str]]) -> list[str]:
    return [message.data async for message in s]


async def test_an_iteration_ends_when_the_subscription_is_left(r: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix) as s:
        heard: list[str] = []

        async def read_on() -> None:
            async for message in s:
                heard.append(message.data)

        reading = asyncio.create_task(read_on())
        await r.publish(prefix, "1")
        await until(lambda: heard == ["1"])
        assert not reading.done()
    await reading
    assert heard == ["1"]


async def test_closing_the_client_ends_its_subscriptions(server: Server, prefix: str) -> None:
    r = Client(server.url)
    async with r.subscribe(prefix) as s, r.subscribe() as empty:
        reading = [asyncio.create_task(read(each)) for each in (s, empty)]
        await asyncio.sleep(0.01)
        await r.aclose()
        for task in reading:
            with pytest.raises(aioresp.ClientClosed):
                await task
        assert r.stats().open == 0
        with pytest.raises(aioresp.ClientClosed):
            async with r.subscribe(prefix):
                pass


async def test_closing_the_client_while_somebody_enters(proxy: Proxy, prefix: str) -> None:
    for stalled in ("handshake", "confirmation"):
        async with Client(proxy.url) as r:
            if stalled == "confirmation":
                await r.subscribe(f"{prefix}a").__aenter__()
            proxy.stall("down")
            entering = asyncio.create_task(r.subscribe(prefix).__aenter__())
            await asyncio.sleep(0.05)
        with pytest.raises(aioresp.ClientClosed):
            await entering
        proxy.resume()
    assert tasks_besides() == set()


def test_another_loop_has_another_connection(server: Server, prefix: str) -> None:
    r = Client(server.url)

    async def once() -> str:
        async with r.subscribe(prefix) as s:
            await r.publish(prefix, "hello")
            return (await s.get()).data

    assert [asyncio.run(once()) for _ in range(3)] == ["hello"] * 3
    assert r.stats().made == 6
    assert r.stats().open == 0


async def test_a_cancelled_attempt_to_connect_is_made_again(proxy: Proxy, other: Client[str], prefix: str) -> None:
    """Whoever cancels all tasks of a loop, as some frameworks do, must not silence a subscription."""
    async with Client(proxy.url) as r, r.subscribe(prefix, gaps=True) as s:
        proxy.refuse()
        proxy.cut()
        await until(lambda: r.stats().open == 0)
        for task in asyncio.all_tasks():
            if task.get_name().startswith("aioresp"):
                task.cancel()
        await asyncio.sleep(0)
        proxy.accept()
        assert isinstance(await s.get(5), Gap)
        await other.publish(prefix, "after")
        assert await s.get() == Message(prefix, "after")
