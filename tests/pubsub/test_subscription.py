"""Subscriptions: what is published arrives, in order; what may have been missed, or found no room, is said."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, Gap, Message, Subscription
from aioresp.pubsub import hub as hubs
from aioresp.pubsub import liveness
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.pubsub.listening import subscribers, until
from tests.rest import tasks_besides


@pytest.fixture
def prefix() -> str:
    """One without the brackets that tests have in their names: they mean something in a glob."""
    return f"{os.urandom(4).hex()}:"


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
    monkeypatch.setattr(liveness, "PING_AFTER", 0.02)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.02)
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
        with pytest.raises(aioresp.ConnectTimeout, match="nothing listens at"):
            async with r.subscribe("c"):
                pass
        assert time.monotonic() - since < 15  # a hundred attempts take a minute or more


async def test_a_server_that_does_not_answer(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=0.5) as r, r.subscribe(f"{prefix}a") as s:
        proxy.stall("down")
        with pytest.raises(aioresp.CommandTimeout, match=r"not confirmed the subscription in 0\.5 s"):
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
        (lambda r: r.subscribe("a", buffer=-(10**5000)), ValueError, "buffer is a huge int, not 1 or more"),
        (lambda r: r.subscribe("a", buffer=True), TypeError, "buffer is bool, not int"),
        (lambda r: r.subscribe("a", overflow="block"), ValueError, "overflow is 'block', not one of drop_oldest"),
        (lambda r: r.monitor(buffer=-1), ValueError, "buffer is -1"),
        (lambda r: r.keyspace_events("a", db=-1), ValueError, "db is -1"),
        (lambda r: r.keyspace_events("a", db=10**5000), ValueError, "db is a huge int"),
        (lambda r: r.keyspace_events("a", events="set"), TypeError, "events is str"),
        (lambda r: r.keyspace_events(1), TypeError, "pattern 0 is int"),
    ],
)
def test_bad_input_fails_at_the_call(make: Callable[[Any], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(Client())


async def test_a_wait_that_is_no_number_of_seconds(r: Client[str], prefix: str) -> None:
    """The timer of a NaN would fire at once, again and again; that of a huge number is one that never fires."""
    async with r.subscribe(prefix) as s:
        with pytest.raises(ValueError, match="timeout is nan, not a number of seconds"):
            await s.get(float("nan"))
        for huge in (10**5000, 1e300, float("inf")):
            waiting = asyncio.ensure_future(s.get(huge))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            await r.publish(prefix, "m")
            assert await waiting == aioresp.Message(prefix, "m")


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


async def _hear_one(r: Client[str], channel: str) -> str:
    async with r.subscribe(channel) as s:
        await r.publish(channel, "in the child")
        return (await s.get()).data


def _child(r: Client[str], channel: str, heard: Any) -> None:
    heard.put((asyncio.run(_hear_one(r, channel)), r.stats().made))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
async def test_a_forked_child_has_another_connection(server: Server, prefix: str) -> None:
    context = multiprocessing.get_context("fork")
    async with Client(server.url) as r, r.subscribe(prefix) as s:
        heard: multiprocessing.SimpleQueue[Any] = context.SimpleQueue()
        process = context.Process(target=_child, args=(r, prefix, heard))
        process.start()
        assert await s.get(10) == Message(prefix, "in the child")
        await asyncio.to_thread(process.join)
        assert heard.get() == ("in the child", 2)
        await r.publish(prefix, "after it")
        assert await s.get(10) == Message(prefix, "after it")
        assert s.gaps == ()


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
