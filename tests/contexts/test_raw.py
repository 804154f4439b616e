"""Raw batches: commands in one write, replies as the server gave them, errors as values, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Proxy, Server
from tests.rest import at_rest


@pytest.fixture
async def raw(server: Server, protocol: int) -> AsyncIterator[Client[bytes]]:
    async with Client(server.url, decode_responses=False, protocol=3 if protocol == 3 else 2) as client:
        yield client


async def test_replies_are_raw_and_errors_are_values(raw: Client[bytes], prefix: str, protocol: int) -> None:
    key = f"{prefix}k"
    replies = await raw.send_raw(
        [
            ("SET", key, "v"),
            ("INCR", key),
            ("HSET", f"{key}h", "f", 1),
            ("HGETALL", f"{key}h"),
            ("NOSUCH",),
            (b"get", key.encode()),
            ("MGET", key, "none"),
        ]
    )
    assert replies[0] == b"OK"
    assert isinstance(replies[1], aioresp.ResponseError)
    assert replies[2:4] == [1, {b"f": b"1"} if protocol == 3 else [b"f", b"1"]]
    assert isinstance(replies[4], aioresp.ResponseError)
    assert replies[5:] == [b"v", [b"v", None]]


async def test_text(r: Client[str], prefix: str) -> None:
    assert await r.send_raw([("SET", prefix, "é"), ("GET", prefix)]) == ["OK", "é"]
    assert await r.send_raw([("SET", prefix, b"\xff")]) == ["OK"]
    (undecodable,) = await r.send_raw([("GET", prefix)])
    assert isinstance(undecodable, aioresp.DecodeError)


async def test_none_at_all(r: Client[str]) -> None:
    before = r.stats().open
    assert await r.send_raw([]) == []
    assert await r.send_raw(iter(())) == []
    assert r.stats().open == before


async def test_a_transaction(raw: Client[bytes], prefix: str) -> None:
    assert await raw.send_raw([("MULTI",), ("INCR", prefix), ("GET", prefix), ("EXEC",)]) == [
        b"OK",
        b"QUEUED",
        b"QUEUED",
        [1, b"1"],
    ]
    replies = await raw.send_raw([("MULTI",), ("LPUSH", prefix, 1), ("INCR", prefix), ("EXEC",)])
    assert isinstance(replies[-1][0], aioresp.ResponseError)
    assert replies[-1][1] == 2, "the others of a transaction run"
    refused = await raw.send_raw([("MULTI",), ("NOSUCH",), ("INCR", prefix), ("EXEC",)])
    assert isinstance(refused[1], aioresp.ResponseError)
    assert isinstance(refused[-1], aioresp.ResponseError)
    assert await raw.get(prefix) == b"2"
    blocking = [("MULTI",), ("BLPOP", f"{prefix}none", 0), ("EXEC",)]
    assert (await raw.send_raw(blocking))[-1] == [None], "in a transaction it does not wait"


@pytest.mark.parametrize(
    "command",
    [
        ("SELECT", 1),
        ("WATCH", "k"),
        ("CLIENT", "SETNAME", "x"),
        ("CLIENT", "REPLY", "OFF"),
        ("BLPOP", "k", 0),
        ("XREAD", "BLOCK", 0, "STREAMS", "k", "$"),
        ("SUBSCRIBE", "c"),
        ("MONITOR",),
        ("WAIT", 1, 0),
        ("MULTI",),
        ("EXEC",),
        ("RESET",),
        ("QUIT",),
    ],
    ids=lambda command: " ".join(map(str, command[:2])),
)
async def test_what_a_shared_connection_must_not_carry(raw: Client[bytes], prefix: str, command: Any) -> None:
    with pytest.raises(aioresp.CommandRefused):
        await raw.send_raw([("SET", prefix, 1), command])
    assert await raw.exists(prefix) == 0, "nothing was sent"
    assert await raw.ping()


@pytest.mark.parametrize(
    "batch", [["GET"], [None], [()], [{}], [("GET", None)], [("SET", "k", {})], [("GET", "\ud800")]]
)
async def test_bad_commands(raw: Client[bytes], prefix: str, batch: Any) -> None:
    with pytest.raises(aioresp.ArgumentError):
        await raw.send_raw([("SET", prefix, 1), *batch])
    assert await raw.exists(prefix) == 0, "nothing was sent"


async def test_a_lost_reply_is_an_error_and_not_sent_again(proxy: Proxy, other: Client[str], prefix: str) -> None:
    async with Client(proxy.url, retry=aioresp.Retry(5)) as r:
        await r.ping()
        proxy.stall("down")
        task = asyncio.ensure_future(r.send_raw([("INCR", prefix), ("GET", prefix)]))
        async with asyncio.timeout(20):
            while await other.get(prefix) is None:
                await asyncio.sleep(0.002)
        proxy.cut()
        proxy.resume()
        with pytest.raises(aioresp.ConnectionLost):
            await task
        assert await other.get(prefix) == "1"
        assert await r.send_raw([("INCR", prefix)]) == [2]


async def test_cancelled_batches_cross_no_reply(raw: Client[bytes], prefix: str) -> None:
    await raw.set(prefix, "mine")
    for n in range(40):
        task = asyncio.ensure_future(raw.send_raw([("ECHO", f"{n}:{each}") for each in range(50)]))
        for _ in range(n % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await raw.send_raw([("GET", prefix), ("ECHO", n)]) == [b"mine", b"%d" % n]


# --- On a lease ------------------------------------------------------------------------------------------------------


async def test_a_lease_takes_what_changes_it(r: Client[str], prefix: str) -> None:
    async with r.connection() as c:
        batch = [("SELECT", 5), ("CLIENT", "SETNAME", "raw"), ("SET", prefix, 1), ("CLIENT", "GETNAME")]
        assert await c.send_raw(batch) == ["OK", "OK", "OK", "raw"]
        assert await c.send_raw([("DEL", prefix), ("WATCH", prefix)]) == [1, "OK"]
        with pytest.raises(aioresp.CommandRefused):
            await c.send_raw([("CLIENT", "REPLY", "OFF")])
        with pytest.raises(aioresp.CommandRefused):
            await c.send_raw([("BLPOP", prefix, 0)])
    await at_rest(r)
    async with r.connection() as c:
        info = await c.client_info()
        assert (info.db, info.name) == (0, ""), "what the batch changed is undone"


async def test_watch_and_a_raw_transaction(r: Client[str], other: Client[str], prefix: str) -> None:
    async with r.connection() as c:
        await c.send_raw([("WATCH", prefix), ("GET", prefix)])
        await other.set(prefix, 1)
        assert (await c.send_raw([("MULTI",), ("INCR", prefix), ("EXEC",)]))[-1] is None
        assert (await c.send_raw([("MULTI",), ("INCR", prefix), ("EXEC",)]))[-1] == [2]
