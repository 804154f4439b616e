"""Pushes on a lease: each is heard or there is an error, whatever else goes on on that connection."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, CommandRefused, Message, Push
from aioresp.testing import Proxy, Server
from tests.pubsub.listening import until
from tests.rest import at_rest, in_step


@pytest.fixture
async def r(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


def invalid(*keys: str) -> Push[str]:
    return Push("invalidate", list(keys))


async def test_changes_to_what_was_read(r: Client[str], other: Client[str], prefix: str) -> None:
    heard = []
    async with r.connection() as c:
        assert await c.client_tracking()
        await c.mget(f"{prefix}1", f"{prefix}2")
        pushes = c.pushes()
        await other.mset({f"{prefix}1": 1, f"{prefix}2": 2})
        async for push in pushes:
            heard.append(push)
            assert push.keys == push.data
            if len(heard) == 2:
                break
        assert await c.get(f"{prefix}1") == "1"
        await other.set(f"{prefix}1", 2)
        assert await pushes.get(5) == invalid(f"{prefix}1")
    assert heard == [invalid(f"{prefix}1"), invalid(f"{prefix}2")]
    with pytest.raises(StopAsyncIteration):
        await anext(pushes)
    with pytest.raises(aioresp.SubscriptionClosed):
        await pushes.get()


async def test_flushall_means_all_keys() -> None:
    from aioresp.testing import server as start_server  # noqa: PLC0415 (no other test may flush the shared one)

    with start_server() as own:
        async with Client(own.url) as r, r.connection() as c:
            await c.client_tracking()
            pushes = c.pushes()
            await r.flushall()
            push = await pushes.get(5)
            assert (push, push and push.keys) == (Push("invalidate", None), None)


@pytest.mark.parametrize("decode", [True, False], ids=["str", "bytes"])
async def test_they_are_decoded_like_replies(server: Server, other: Client[str], prefix: str, decode: bool) -> None:
    async with Client(server.url) as r:
        view: Client[Any] = r.with_options(decode_responses=decode)
        async with view.connection() as c:
            await c.client_tracking(prefix=[prefix], bcast=True)
            async with c.pushes() as pushes:
                await other.set(f"{prefix}\N{SNOWMAN}", 1)
                await other.set(prefix.encode() + b"\xff", 1)
                await other.set(f"{prefix}last", 1)
                found: list[Any] = []
                for _ in range(3):
                    try:
                        found.append((await anext(pushes)).keys)
                    except aioresp.DecodeError as error:
                        found.append(type(error))
    if decode:
        assert found == [[f"{prefix}\N{SNOWMAN}"], aioresp.DecodeError, [f"{prefix}last"]]
    else:
        assert found == [[f"{prefix}\N{SNOWMAN}".encode()], [prefix.encode() + b"\xff"], [f"{prefix}last".encode()]]


async def test_each_of_several_iterators_gets_all(r: Client[str], other: Client[str], prefix: str) -> None:
    async with r.connection() as c:
        await c.client_tracking()
        first = c.pushes()
        await c.get(f"{prefix}1")
        await other.set(f"{prefix}1", 1)
        assert await first.get(5) == invalid(f"{prefix}1")
        second = c.pushes()
        await c.get(f"{prefix}2")
        await other.set(f"{prefix}2", 1)
        assert [await first.get(5), await second.get(5)] == [invalid(f"{prefix}2")] * 2
        async with second:
            pass
        await c.get(f"{prefix}2")
        await other.set(f"{prefix}2", 1)
        assert await first.get(5) == invalid(f"{prefix}2")
        assert await anext(second, None) is None
        assert repr(first) == "Pushes(0 waiting, 0 dropped)"


async def test_commands_go_on_meanwhile(r: Client[str], other: Client[str], prefix: str) -> None:
    """Pushes between replies, in a pipeline, in a transaction, and while a pop waits: no reply is off by one."""
    keys = [f"{prefix}{n}" for n in range(300)]
    heard: list[str] = []

    async def listen(pushes: aioresp.Pushes[str]) -> None:
        async for push in pushes:
            heard.extend(push.keys or [])

    async with r.connection() as c:
        await c.client_tracking(noloop=True)
        task = asyncio.create_task(listen(c.pushes()))
        popping = None
        for key in keys:
            assert await c.get(key) is None
            await other.set(key, key)
        async with c.pipeline() as p:
            values = [p.get(key) for key in keys]
            for key in keys:
                await asyncio.sleep(0)
                await other.set(key, key + key)
        assert [await value for value in values] == [key + key for key in keys]
        async with c.pipeline(transaction=True) as p:
            value = p.get(keys[0])
        assert await value == keys[0] * 2
        popping = asyncio.create_task(c.blpop(f"{prefix}q", 0))
        await asyncio.sleep(0.05)
        await other.set(keys[0], 1)
        await until(lambda: heard.count(keys[0]) == 2)
        await other.rpush(f"{prefix}q", "x")
        assert await popping == (f"{prefix}q", "x")
        assert await c.echo("in step") == "in step"
    await task
    assert set(heard) == {*keys}


@pytest.mark.parametrize("overflow", ["close", "drop_oldest", "drop_newest"])
async def test_a_full_buffer(
    r: Client[str],
    other: Client[str],
    prefix: str,
    overflow: Literal["close", "drop_oldest", "drop_newest"],
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = [f"{prefix}{n}" for n in range(5)]
    async with r.connection() as c:
        await c.client_tracking()
        pushes = c.pushes(buffer=2, overflow=overflow)
        for key in keys:
            await c.get(key)
            await other.set(key, 1)
        await c.ping()  # behind them all
        if overflow == "close":
            assert [await pushes.get(), await pushes.get()] == [invalid(keys[0]), invalid(keys[1])]
            with pytest.raises(aioresp.SubscriptionOverflow):
                await anext(pushes)
            assert pushes.dropped == 1
        else:
            left = keys[3:] if overflow == "drop_oldest" else keys[:2]
            assert [await pushes.get(), await pushes.get()] == [invalid(key) for key in left]
            assert pushes.dropped == 3
            assert "the pushes of a lease are read too slowly: 2 did not fit" in caplog.text


async def test_the_default_is_an_error(r: Client[str], other: Client[str], prefix: str) -> None:
    """A cache that has missed an invalidation must know."""
    keys = [f"{prefix}{n}" for n in range(10_001)]
    await other.mset(dict.fromkeys(keys, 1))
    async with r.connection() as c:
        await c.client_tracking()
        pushes = c.pushes()
        await c.mget(keys)
        await other.delete(*keys)
        await c.ping()
        with pytest.raises(aioresp.SubscriptionOverflow):
            async for _ in pushes:
                pass


async def test_waiting_would_hold_up_replies(r: Client[str]) -> None:
    async with r.connection() as c:
        with pytest.raises(ValueError, match="not for pushes"):
            c.pushes(overflow="wait")
        with pytest.raises(ValueError, match="buffer is 0"):
            c.pushes(buffer=0)
        assert await c.ping()


async def test_a_lost_connection_is_an_error(proxy: Proxy, other: Client[str], prefix: str) -> None:
    async with Client(proxy.url) as r, r.connection() as c:
        await c.client_tracking()
        await c.get(f"{prefix}1")
        pushes, idle = c.pushes(), c.pushes()
        await other.set(f"{prefix}1", 1)
        await until(lambda: idle.waiting == 1)
        waiting = asyncio.create_task(pushes.get())
        assert await waiting == invalid(f"{prefix}1")
        waiting = asyncio.create_task(pushes.get())
        await asyncio.sleep(0)
        proxy.cut()
        with pytest.raises(aioresp.ConnectionLost):
            await waiting
        assert await idle.get() == invalid(f"{prefix}1")  # what has arrived is still there
        with pytest.raises(aioresp.ConnectionLost):
            await idle.get()
        with pytest.raises(aioresp.ConnectionLost):
            c.pushes()


async def test_a_closed_client_is_an_error(server: Server) -> None:
    async with Client(server.url) as r, r.connection() as c:
        await c.client_tracking()
        waiting = asyncio.create_task(anext(c.pushes()))
        await asyncio.sleep(0)
        closing = asyncio.create_task(r.aclose())
        with pytest.raises(aioresp.ConnectionLost):
            await waiting
        await closing


async def test_a_cancelled_wait_loses_nothing(r: Client[str], other: Client[str], prefix: str) -> None:
    async with r.connection() as c:
        await c.client_tracking(bcast=True, prefix=[prefix])
        pushes = c.pushes()
        found = []
        for n in range(200):
            waiting = asyncio.ensure_future(pushes.get())
            await asyncio.sleep(0)
            sending = asyncio.ensure_future(other.set(f"{prefix}{n}", n))
            for _ in range(n % 7):
                await asyncio.sleep(0)
            waiting.cancel()
            try:
                found.append(await waiting)
            except asyncio.CancelledError:
                pass
            await sending
        await c.ping()
        while pushes.waiting:
            found.append(await pushes.get())
    assert [push.keys for push in found] == [[f"{prefix}{n}"] for n in range(200)]


async def test_nothing_is_tracked_after_the_lease(
    server: Server, other: Client[str], prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Invalidations that are on their way at the end of the lease disturb nobody."""
    async with Client(server.url, limit=1) as r:
        with caplog.at_level(logging.WARNING, "aioresp"):
            for _ in range(20):
                async with r.connection() as c:
                    await c.client_tracking(bcast=True, prefix=[prefix])
                    pushes = c.pushes()
                    changing = asyncio.gather(*(other.set(f"{prefix}{n}", n) for n in range(50)))
                    await c.ping()
                await changing
                await in_step(r)
        await at_rest(r)
        assert all("tracking" not in info.flags and "t" not in info.flags for info in await other.client_list())
        async with r.connection() as c:
            assert (await c.client_trackinginfo()).flags == {"off"} if server.version >= (6, 2) else True
            pushes = c.pushes()
            await c.get(f"{prefix}1")
            await other.set(f"{prefix}1", 1)
            assert await pushes.get(0.05) is None
    assert [record.getMessage() for record in caplog.records if record.name == "aioresp"] == []


async def test_an_iterator_that_is_gone_costs_nothing(r: Client[str], other: Client[str], prefix: str) -> None:
    async with r.connection() as c:
        await c.client_tracking(bcast=True, prefix=[prefix])
        for _ in range(5):
            pushes = c.pushes()
            await other.set(prefix, 1)
            async for push in pushes:
                assert push == invalid(prefix)
                break
            del pushes
            await other.set(prefix, 1)
        gc.collect()
        listeners = c._entered().listeners
        c.pushes()
        await other.set(prefix, 1)
        await c.ping()
        assert list(listeners._push) == []
        kept = [c.pushes() for _ in range(3)]
        assert len([*listeners._push]) == len(kept)
    await at_rest(r)
    assert list(listeners._push) == []


async def test_resp2_has_no_pushes(server: Server) -> None:
    async with Client(server.url, protocol=2) as r, r.connection() as c:
        with pytest.raises(CommandRefused, match=r"need RESP3.*clientid"):
            c.pushes()
        await c.call("HELLO", 3)
        assert await c.pushes().get(0) is None


async def test_outside_of_the_lease(r: Client[str]) -> None:
    lease = r.connection()
    with pytest.raises(RuntimeError, match="not entered"):
        lease.pushes()
    async with lease:
        pass
    with pytest.raises(RuntimeError, match="not entered"):
        lease.pushes()


async def test_a_client_does_not_track(r: Client[str]) -> None:
    """Its commands go over any connection, so it would not be known what is tracked."""
    with pytest.raises(CommandRefused, match="connection"):
        await r.client_tracking()


# --- Redirected to the connection of subscriptions -------------------------------------------------------------------


async def redirected(r: Client[str], track: Callable[[int], Awaitable[object]]) -> None:
    """Have the connection of the subscriptions of `r` told of changes."""
    (info,) = [info for info in await r.client_list(_type="pubsub") if info.name == "told"]
    await track(info.id)


@pytest.mark.parametrize("decode", [True, False], ids=["str", "bytes"])
async def test_a_subscriber_is_told(server: Server, resp: Literal[2, 3], prefix: str, decode: bool) -> None:
    async with Client(server.url, protocol=resp, client_name="told") as client, Client(server.url) as other:
        r: Client[Any] = client.with_options(decode_responses=decode)
        channel: Any = "__redis__:invalidate" if decode else b"__redis__:invalidate"
        key: Any = f"{prefix}k" if decode else f"{prefix}k".encode()
        async with r.subscribe("__redis__:invalidate", prefix) as s, other.connection() as c:
            await redirected(client, lambda number: c.client_tracking(clientid=number))
            for _ in range(3):
                await c.get(f"{prefix}k")
                await other.set(f"{prefix}k", 1)
                assert await s.get(5) == Message(channel, [key], None)
            await c.get(b"%b\xff" % prefix.encode())
            await other.set(b"%b\xff" % prefix.encode(), 1)
            if decode:
                with pytest.raises(aioresp.DecodeError):
                    await s.get(5)
            else:
                assert await s.get(5) == Message(channel, [b"%b\xff" % prefix.encode()], None)
            await other.publish("__redis__:invalidate", "from a client")
            assert await s.get(5) == Message(channel, "from a client" if decode else b"from a client")
            assert s.gaps == ()


async def test_who_did_not_subscribe_to_them_is_not_disturbed(server: Server, resp: Literal[2, 3], prefix: str) -> None:
    async with (
        Client(server.url, protocol=resp, client_name="told") as r,
        Client(server.url) as other,
        r.subscribe(f"{prefix}c") as s,
        r.psubscribe("__redis__:*") as p,
        other.connection() as c,
    ):
        await redirected(r, lambda number: c.client_tracking(clientid=number))
        await c.get(f"{prefix}k")
        await other.set(f"{prefix}k", 1)
        await other.publish(f"{prefix}c", "x")
        assert await s.get(5) == Message(f"{prefix}c", "x")
        assert (s.gaps, p.gaps) == ((), ())


async def test_the_end_of_whom_a_lease_has_told(server: Server, other: Client[str], prefix: str) -> None:
    """The lease hears that its invalidations reach nobody any more, and goes on."""
    async with Client(server.url, client_name="told") as told, Client(server.url) as r, r.connection() as c:
        pushes = c.pushes()
        async with told.subscribe(prefix):
            await redirected(told, lambda number: c.client_tracking(clientid=number))
            number = await c.client_getredir()
        await told.aclose()
        await c.get(f"{prefix}k")
        await other.set(f"{prefix}k", 1)
        assert await pushes.get(5) == Push("tracking-redir-broken", [number])
        assert await c.echo("in step") == "in step"


async def test_a_monitor_that_is_told(server: Server, other: Client[str], prefix: str) -> None:
    async with Client(server.url, client_name="watching") as r, r.monitor() as m, other.connection() as c:
        (info,) = [info for info in await other.client_list() if info.name == "watching"]
        await c.client_tracking(clientid=info.id)
        await c.get(f"{prefix}k")
        await other.set(f"{prefix}k", 1)
        await other.echo("the end")
        async with asyncio.timeout(5):
            async for command in m:
                if command.arguments == ("ECHO", "the end"):
                    break
