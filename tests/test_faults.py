"""The network and the server break: every caller gets a clear error in time, the pool recovers, nothing leaks."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from aioresp.wire.deadlines import SILENCE
from tests.rest import at_rest, in_step, nothing_left, until


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    """A proxy whose test must leave no task and no descriptor behind."""
    async with nothing_left(), Proxy(server.host, server.port) as running:
        yield running


async def outcomes(r: Client[str], calls: int = 20) -> list[Any]:
    return await asyncio.gather(*(r.echo(f"{n}" * 50) for n in range(calls)), return_exceptions=True)


# --- Cuts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rst", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("sent", [0, 1, 30, 57, 58, 400])
async def test_cut_while_replies_arrive(proxy: Proxy, sent: int, rst: bool) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.cut_after(sent, "down", rst=rst)
        answers = await outcomes(r)
        good = [a for a in answers if isinstance(a, str)]
        assert good == [f"{n}" * 50 for n in range(len(good))]
        for error in answers[len(good) :]:
            assert isinstance(error, aioresp.ConnectionLost)
            assert isinstance(error, ConnectionError)
            assert (error.outcome, error.command) == ("unknown", "ECHO")
        assert len(good) < 20
        assert r.stats().in_flight == 0
        await in_step(r)
        assert r.stats().made == 2


async def test_cut_before_any_reply(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.stall("down")
        calls = asyncio.ensure_future(outcomes(r))
        await asyncio.sleep(0.05)
        proxy.cut()
        answers = await calls
        assert [type(a) for a in answers] == [aioresp.ConnectionLost] * 20
        assert len({id(a) for a in answers}) == 20
        proxy.heal()
        await in_step(r)


@pytest.mark.parametrize("sent", [0, 5, 60, 100])
async def test_cut_during_the_handshake(proxy: Proxy, sent: int) -> None:
    async with Client(proxy.url, timeout=5, retry=None) as r:
        proxy.cut_after(sent, "down")
        answers = await outcomes(r, 5)
        assert [type(a) for a in answers] == [aioresp.ConnectError] * 5
        assert "ended the handshake" in str(answers[0])
        await in_step(r)
        assert r.stats().made == 1


@pytest.mark.parametrize("sent", [1, 100_000, 700_000])
async def test_cut_during_a_large_write(proxy: Proxy, prefix: str, sent: int) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.cut_after(sent, "up")
        with pytest.raises(aioresp.ConnectionLost) as caught:
            await r.set(f"{prefix}k", "x" * 1_000_000, ex=60)
        assert caught.value.outcome == "unknown"
        assert "x" * 10 not in str(caught.value)
        await in_step(r)
        assert await r.exists(f"{prefix}k") == 0


async def test_what_was_not_sent_says_so(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=5, retry=None) as r:
        await asyncio.gather(r.ping(), r.ping())  # after several in one turn, the next are collected too
        connection = r.node.pools.here().current
        calls = [asyncio.create_task(r.ping()) for _ in range(3)]
        await asyncio.sleep(0)  # packed and waiting for the write, which comes at the end of this turn
        connection.connection_lost(None)
        for call in calls:
            with pytest.raises(aioresp.ConnectionLost) as caught:
                await call
            assert caught.value.outcome == "not sent"


async def test_an_idle_connection_that_was_closed_is_not_handed_out(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=5) as r:
        for n in range(1, 5):
            await r.ping()
            assert r.stats().made == n
            proxy.cut()
            await until(lambda: r.stats().open == 0)


@pytest.mark.usefixtures("no_debug")
async def test_hundreds_of_cuts(proxy: Proxy) -> None:
    """At any byte of either direction: what is answered is right, what is not is an error, and it goes on."""
    rng = random.Random(7)
    async with Client(proxy.url, timeout=5) as r:
        lost = 0
        for _ in range(150):
            proxy.cut_after(rng.randrange(1500), rng.choice(("up", "down")), rst=rng.random() < 0.5)
            for n, answer in enumerate(await outcomes(r, 10)):
                if isinstance(answer, str):
                    assert answer == f"{n}" * 50
                else:
                    assert isinstance(answer, (aioresp.ConnectionLost, aioresp.ConnectError)), answer
                    lost += 1
        assert lost > 100
        proxy.heal()
        await at_rest(r)
        await in_step(r)


# --- Silence ---------------------------------------------------------------------------------------------------------


async def test_a_stalled_server_is_a_timeout_in_time(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=0.3) as r:
        await r.ping()
        proxy.stall()
        start = time.monotonic()
        answers = await outcomes(r)
        assert 0.29 < time.monotonic() - start < 5  # one after the other they take six
        assert [type(a) for a in answers] == [aioresp.CommandTimeout] * 20
        assert str(answers[0]).startswith("no reply in 0.3 s [ECHO")
        assert isinstance(answers[0], TimeoutError)
        proxy.resume()
        await at_rest(r)  # the late replies are read and dropped
        await in_step(r)
        assert r.stats().made == 1


async def test_each_view_has_its_own_deadline(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=None) as r:
        await r.ping()
        proxy.stall()
        views = {seconds: r.with_options(timeout=seconds) for seconds in (0.4, 0.1, 0.25, None)}
        start = time.monotonic()
        after: dict[float | None, float] = {}

        async def ask(seconds: float | None) -> None:
            try:
                await views[seconds].ping()
            except aioresp.CommandTimeout:
                pass
            after[seconds] = time.monotonic() - start

        tasks = [asyncio.create_task(ask(seconds)) for seconds in (0.4, None, 0.1, 0.25, 0.1)]
        await asyncio.sleep(0.6)
        proxy.resume()
        await asyncio.gather(*tasks)
        for seconds, took in after.items():
            assert (seconds or 0.6) <= took + 0.01 < (seconds or 0.6) + 0.3
        await in_step(r)


async def test_a_server_that_is_gone_without_a_word(proxy: Proxy) -> None:
    """Half-open: bytes go nowhere and no end is heard of. The calls time out, then a new connection is made."""
    async with Client(proxy.url, timeout=1.2) as r:
        await r.ping()
        proxy.half_open()
        answers = await outcomes(r)
        assert [type(a) for a in answers] == [aioresp.CommandTimeout] * 20
        proxy.accept()
        await in_step(r)
        assert (r.stats().made, r.stats().open) == (2, 1)


@pytest.mark.parametrize("way", ["half open", "silent", "alive"])
async def test_what_has_idled_is_asked_before_it_is_used_again(
    proxy: Proxy, prefix: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioresp.pool.idle.REST_AFTER", 0.1)
    async with Client(proxy.url, timeout=10) as r:
        await r.set(f"{prefix}k", 1, ex=60)
        await until(lambda: "resting" in repr(r.node.pools.here()._shared[0]))
        if way == "half open":
            proxy.half_open()
            asyncio.get_running_loop().call_later(0.5, proxy.accept)
        elif way == "silent":
            proxy.stall()
            asyncio.get_running_loop().call_later(0.5, proxy.cut)
            asyncio.get_running_loop().call_later(0.5, proxy.heal)
        start = time.monotonic()
        # A write: nothing of it went to the dead connection, so that it runs once.
        assert await asyncio.gather(*(r.incr(f"{prefix}k") for _ in range(50))) == list(range(2, 52))
        assert time.monotonic() - start < 9  # not the ten of its deadline
        assert r.stats().made == (1 if way == "alive" else 2)


@pytest.mark.parametrize("kind", ["call", "pipeline", "lease", "pop"])
@pytest.mark.parametrize(("limit", "concurrency"), [(8, 1), (8, 5000), (20, 1), (1, 5000)])
async def test_many_idle_connections_died_at_once(
    proxy: Proxy, prefix: str, limit: int, concurrency: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a suspended laptop: they take bytes, and nothing comes back."""
    async with Client(proxy.url, timeout=10, limit=limit, concurrency=concurrency) as r:

        async def lease() -> None:
            async with r.connection() as c:
                await c.ping()
                await asyncio.sleep(0.05)

        await r.rpush(f"{prefix}q", *range(20))
        await r.expire(f"{prefix}q", 60)
        await asyncio.gather(*(lease() for _ in range(min(limit - 1, 7))))
        monkeypatch.setattr("aioresp.pool.idle.REST_AFTER", 0.1)
        r.node.pools.here()._idle.look()
        while not all(connection.resting for connection in r.node.pools.here()._shared):
            await asyncio.sleep(0.02)
        monkeypatch.setattr("aioresp.pool.idle.REST_AFTER", 60)
        dead = r.stats().open
        assert dead >= min(limit, 6)
        proxy.half_open()
        proxy.accept()
        start = time.monotonic()
        if kind == "call":
            await asyncio.gather(*(r.echo("x") for _ in range(30)))
        elif kind == "pipeline":
            async with r.pipeline() as p:
                p.echo("x")
                await p.execute()
        elif kind == "lease":
            await lease()
        else:
            assert await r.blpop(f"{prefix}q", timeout=9) is not None
        if dead > 5:  # a second for each of them, when asked one by one
            assert time.monotonic() - start < 0.8 * dead + 0.9
        assert r.stats().open <= max(limit, 2)


async def test_a_short_deadline_drops_no_connection(proxy: Proxy) -> None:
    proxy.delay = 0.05
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        hasty = r.with_options(timeout=0.01)
        for _ in range(10):
            with pytest.raises(aioresp.CommandTimeout):
                await hasty.ping()
        await in_step(r)
        assert r.stats().made == 1


@pytest.mark.parametrize("who", ["server", "client"])
async def test_who_stands_still(proxy: Proxy, who: str) -> None:
    """What the server did not say while this process itself stood still does not end a connection."""
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.stall("down")
        with pytest.raises(aioresp.CommandTimeout):
            await r.with_options(timeout=0.01).ping()
        await asyncio.sleep(SILENCE * (0.5 if who == "client" else 1.5))
        proxy.resume("down")
        if who == "client":
            time.sleep(SILENCE)
        await asyncio.sleep(0.1)
        await in_step(r)
        assert r.stats().made == (1 if who == "client" else 2)


async def test_a_big_reply_that_keeps_arriving_is_not_late(proxy: Proxy, server: Server, prefix: str) -> None:
    async with Client(server.url) as direct, Client(proxy.url, timeout=1.0) as r:
        await direct.set(f"{prefix}k", "x" * 600_000, ex=60)
        await r.ping()
        proxy.split = 40_000
        pieces = itertools.count()
        proxy.delay = lambda: next(pieces) * 0.13
        start = time.monotonic()
        assert await r.get(f"{prefix}k") == "x" * 600_000
        assert time.monotonic() - start > 1.0


async def test_a_big_reply_that_stops_arriving_is_late(proxy: Proxy, server: Server, prefix: str) -> None:
    async with Client(server.url) as direct, Client(proxy.url, timeout=0.4) as r:
        await direct.set(f"{prefix}k", "x" * 3_000_000, ex=60)
        await r.ping()
        call = asyncio.ensure_future(r.get(f"{prefix}k"))
        while proxy.bytes_down < 200_000:
            await asyncio.sleep(0)
        proxy.stall()
        start = time.monotonic()
        with pytest.raises(aioresp.CommandTimeout):
            await call
        assert time.monotonic() - start < 3.5  # what keeps arriving has ten times its time, which is four


async def test_connecting_takes_too_long(proxy: Proxy) -> None:
    proxy.stall()
    async with Client(proxy.url, connect_timeout=0.2, timeout=5, retry=None) as r:
        start = time.monotonic()
        answers = await outcomes(r, 5)
        assert time.monotonic() - start < 4.5  # not the five of the deadline
        assert [type(a) for a in answers] == [aioresp.ConnectTimeout] * 5
        assert str(answers[0]).startswith(f"no connection to redis://127.0.0.1:{proxy.port} in 0.2 s")
        proxy.resume()
        await in_step(r)


async def test_the_deadline_covers_connecting(proxy: Proxy) -> None:
    proxy.stall()
    async with Client(proxy.url, connect_timeout=5, timeout=0.2) as r:
        start = time.monotonic()
        with pytest.raises(
            aioresp.ConnectTimeout, match=r"no connection in \d\.\d.*Pool\(0 open, 0 leased, 0 in flight, 1 opening"
        ):
            await r.ping()
        assert time.monotonic() - start < 4.5  # not the five of connect_timeout


async def test_a_refusing_server_recovers(proxy: Proxy) -> None:
    proxy.refuse()
    async with Client(proxy.url, timeout=5, retry=None) as r:
        answers = await outcomes(r, 5)
        assert [type(a) for a in answers] == [aioresp.ConnectError] * 5
        proxy.accept()
        await in_step(r)


# --- Back-pressure ---------------------------------------------------------------------------------------------------


async def test_a_server_that_reads_nothing_makes_no_memory_grow(proxy: Proxy, prefix: str) -> None:
    """What is sent is bounded by the transport's buffer and one turn's backlog; the other callers wait in line."""
    async with Client(proxy.url, limit=1, timeout=30) as r:
        await r.ping()
        proxy.stall("up")
        value = b"x" * 300_000
        calls = [asyncio.create_task(r.set(f"{prefix}{n}", value, ex=60)) for n in range(300)]
        await asyncio.sleep(0.5)
        stats = r.stats()
        assert stats.waiting > 200
        assert stats.in_flight * len(value) < 12_000_000
        proxy.resume()
        assert await asyncio.gather(*calls) == [True] * 300
        assert r.stats().made == 1
        await r.unlink(*(f"{prefix}{n}" for n in range(300)))


# --- Nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nonsense", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not RESP"),
        (b"!5\r\nERR x\r\n", "not RESP"),
        (b"*4294967296\r\n", "not RESP"),
    ],
    ids=["http", "bulk-error", "too-long"],
)
async def test_a_server_that_speaks_nonsense(proxy: Proxy, nonsense: bytes, message: str) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.corrupt(nonsense, replace=0)
        answers = await outcomes(r)
        for answer in answers:
            assert isinstance(answer, aioresp.ProtocolError), answer
            assert message in str(answer)
        await in_step(r)
        assert r.stats().made == 2


async def test_a_reply_nobody_asked_for(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.inject(b"+SURPRISE\r\n")
        await until(lambda: r.stats().open == 0)
        await in_step(r)


async def test_pushes_nobody_asked_for_are_no_replies(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.stall("up")
        calls = asyncio.ensure_future(outcomes(r))
        await asyncio.sleep(0.02)
        proxy.inject(b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n" * 3)
        await asyncio.sleep(0.02)
        proxy.resume()
        assert await calls == [f"{n}" * 50 for n in range(20)]
        assert r.stats().made == 1


async def test_something_else_listens_there() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with Client(port=port, host="127.0.0.1") as r:
        with pytest.raises(
            aioresp.ConnectError, match="ended the handshake: the server sent something that is not RESP"
        ):
            await r.ping()
    listener.close()
    await listener.wait_closed()


async def test_nothing_is_sent_of_a_bad_call(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        sent = proxy.bytes_up
        for bad in (None, True, [], {}, object()):
            with pytest.raises(TypeError, match=r"^SET: argument 2 is "):
                await r.set("k", bad)  # type: ignore[call-overload]  # the point of the test
        await asyncio.sleep(0.02)
        assert proxy.bytes_up == sent


# --- Size ------------------------------------------------------------------------------------------------------------


async def test_a_reply_of_a_million_elements(server: Server) -> None:
    async with Client(server.url, timeout=60) as r:
        numbers = await r.call("EVAL", "local t = {} for i = 1, 1000000 do t[i] = i end return t", 0)
        assert numbers == list(range(1, 1_000_001))


async def test_a_value_of_64_mib(server: Server, prefix: str) -> None:
    value = os.urandom(1024 * 1024) * 64
    async with Client(server.url, decode_responses=False, timeout=60) as r:
        assert await r.set(f"{prefix}k", value) is True
        assert await r.get(f"{prefix}k") == value
        await r.delete(f"{prefix}k")


# --- The server itself -----------------------------------------------------------------------------------------------


async def test_a_server_that_is_killed_and_comes_back() -> None:
    async with start_server() as own, Client(own.url, timeout=5, retry=None) as r:
        await r.set("k", 1)
        await asyncio.to_thread(own.kill)
        with pytest.raises(aioresp.RedisError) as caught:
            await r.get("k")
        assert isinstance(caught.value, ConnectionError)
        await asyncio.to_thread(own.start)
        await in_step(r)


async def test_a_server_that_is_full() -> None:
    async with (
        start_server(config={"maxclients": "3"}) as own,
        Client(own.url, concurrency=1, limit=10, timeout=5) as r,
        Client(own.url, timeout=5) as other,
    ):
        await r.ping()
        assert await asyncio.gather(*(r.echo(f"{n}") for n in range(100))) == [f"{n}" for n in range(100)]
        assert r.stats().open == 3
        with pytest.raises(aioresp.ConnectError, match="max number of clients reached"):
            await other.ping()
