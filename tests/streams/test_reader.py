"""Streams read on and on: across reconnects, cancelled or not, with no entry lost and none twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from aioresp import Client, ClientClosed, ConnectionLost, DecodeError, PoolTimeout, Retry, StreamEntry, WrongTypeError
from aioresp.command import Arguments
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import at_rest, in_step, tasks_besides, until

SOON = Retry(base=0.001, cap=0.01)


@pytest.fixture(params=[True, False], ids=["str", "bytes"])
async def r(server: Server, protocol: int, request: pytest.FixtureRequest) -> AsyncIterator[Client[Any]]:
    async with Client[Any](server.url, decode_responses=request.param, protocol=3 if protocol == 3 else 2) as client:
        yield client


def text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def add(r: Client[Any], name: str, *numbers: int) -> None:
    for number in numbers:
        await r.xadd(name, {"n": number}, id=f"{number}-1")


async def numbers(entries: AsyncIterator[StreamEntry[Any]], count: int) -> list[int]:
    found = []
    async for entry in entries:
        found.append(int(text(entry.id).partition("-")[0]))
        if len(found) == count:
            break
    return found


async def test_what_comes_out(r: Client[Any], prefix: str) -> None:
    kind = str if r._decode else bytes
    await r.xadd(f"{prefix}s", {"name": "é", "count": 1}, id="5-1")
    async with r.stream_reader(f"{prefix}s", last_id="0", block=None) as s:
        (entry,) = [entry async for entry in s]
    assert entry.__class__ is StreamEntry
    for value in (entry.stream, entry.id, *entry.fields, *entry.fields.values()):
        assert type(value) is kind
    assert (text(entry.stream), text(entry.id)) == (f"{prefix}s", "5-1")
    assert {text(name): text(value) for name, value in entry.fields.items()} == {"name": "é", "count": "1"}


async def test_page_after_page_to_the_end(r: Client[Any], prefix: str) -> None:
    await add(r, f"{prefix}s", *range(1, 26))
    async with r.stream_reader(f"{prefix}s", last_id="0", count=10, block=None) as s:
        assert await numbers(s, 100) == list(range(1, 26))
        await add(r, f"{prefix}s", 26)
        assert await numbers(s, 100) == [26], "to iterate again goes on"


async def test_it_waits_only_where_there_may_be_nothing(server: Server, prefix: str) -> None:
    """While there is more, reads travel on shared connections and take no lease."""
    waits: list[bool] = []

    async def middleware(arguments: Arguments, send: Callable[[], Awaitable[Any]]) -> Any:
        if arguments[0] == "XREAD":
            waits.append("BLOCK" in arguments)
        return await send()

    async with Client(server.url, middleware=middleware) as r:
        await add(r, f"{prefix}s", *range(1, 26))
        async with r.stream_reader(f"{prefix}s", last_id="0", count=10) as s:
            assert await numbers(s, 25) == list(range(1, 26))
            task = asyncio.ensure_future(anext(s))
            await until(lambda: len(waits) == 4)
            assert waits == [True, False, False, True]
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.parametrize("last_id", ["20-1", b"20-1", 21])
async def test_from_an_id_on(r: Client[Any], prefix: str, last_id: str | bytes | int) -> None:
    await add(r, f"{prefix}s", *range(1, 25))
    async with r.stream_reader(f"{prefix}s", last_id=last_id, block=None) as s:
        assert await numbers(s, 100) == [21, 22, 23, 24]


@pytest.mark.parametrize("there", [True, False])
async def test_the_last_entry_is_that_at_the_entrance(r: Client[Any], prefix: str, there: bool) -> None:
    """What is added between entering and the first read comes, and so does what is added between two reads."""
    if there:
        await add(r, f"{prefix}s", 1, 2)
    async with r.stream_reader(f"{prefix}s", count=1) as s:
        await add(r, f"{prefix}s", 3, 4)
        assert await numbers(s, 1) == [3]
        await add(r, f"{prefix}s", 5)
        assert await numbers(s, 2) == [4, 5]
        task = asyncio.create_task(numbers(s, 1))
        await asyncio.sleep(0.02)
        await add(r, f"{prefix}s", 6)
        assert await task == [6]


async def test_several_streams(r: Client[Any], prefix: str) -> None:
    a, b, c = (f"{prefix}{name}" for name in "abc")
    await add(r, a, 1, 2, 3)
    await add(r, b, 1, 2, 3)
    async with r.stream_reader(a, b.encode(), c, last_id={b: "2-1", c: "0"}, count=2, block=timedelta(seconds=5)) as s:
        await add(r, c, 1, 2, 3)
        await add(r, a, 4)
        found: set[tuple[str, str]] = set()
        while len(found) < 5:
            entry = await anext(s)
            found.add((text(entry.stream), text(entry.id)))
        assert found == {(a, "4-1"), (b, "3-1"), *((c, f"{n}-1") for n in (1, 2, 3))}
        assert {text(name): text(last) for name, last in s.last_ids.items()} == {a: "4-1", b: "3-1", c: "3-1"}
        assert {type(part) for item in s.last_ids.items() for part in item} == {str if r._decode else bytes}


async def test_entered_again_it_goes_on_behind_what_it_handed_out(r: Client[Any], prefix: str) -> None:
    await add(r, f"{prefix}s", *range(1, 10))
    reader = r.stream_reader(f"{prefix}s", last_id="0", block=None)
    async with reader:
        assert await numbers(reader, 4) == [1, 2, 3, 4]
    async with reader:
        assert await numbers(reader, 100) == [5, 6, 7, 8, 9]


async def test_an_entry_that_is_no_text_fails_alone(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.xadd(f"{prefix}s", {"n": 1}, id="1-1")
        await r.xadd(f"{prefix}s", {"n": b"\xff"}, id="2-1")
        await r.xadd(f"{prefix}s", {"n": 3}, id="3-1")
        async with r.stream_reader(f"{prefix}s", last_id="0", block=None) as s:
            assert (await anext(s)).id == "1-1"
            with pytest.raises(DecodeError, match=r"entry 2-1 is not UTF-8") as caught:
                await anext(s)
            assert caught.value.command == "XREAD"
            assert caught.value.key is not None
            assert [entry.id async for entry in s] == ["3-1"]
        async with r.with_options(decode_responses=False).stream_reader(f"{prefix}s", last_id="1-1", block=None) as b:
            assert [entry.fields async for entry in b] == [{b"n": b"\xff"}, {b"n": b"3"}]


# --- What goes wrong --------------------------------------------------------------------------------------------------


async def test_misuse(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        calls: list[tuple[Callable[[], object], str]] = [
            (lambda: r.stream_reader(), "names is empty"),
            (lambda: r.stream_reader(last_id={}), "names is empty"),
            (lambda: r.stream_reader("s", count=0), "count is 0"),
            (lambda: r.stream_reader("s", count=-(10**5000)), "count is a huge int"),
            (lambda: r.stream_reader("s", block=-1), "block is -1"),
            (lambda: r.stream_reader("s", last_id="+"), "not an id"),
            (lambda: r.stream_reader("s", last_id={"s": b">"}), "not an id"),
        ]
        for call, message in calls:
            with pytest.raises(ValueError, match=message):
                call()
        reader = r.stream_reader(f"{prefix}s")
        with pytest.raises(RuntimeError, match="not entered"):
            await anext(reader)
        async with reader:
            with pytest.raises(RuntimeError, match="entered already"):
                await reader.__aenter__()
            task = asyncio.ensure_future(anext(reader))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(reader)
            task.cancel()
            await asyncio.wait([task])
        with pytest.raises(RuntimeError, match="was left"):
            await anext(reader)
        assert repr(reader).startswith("StreamReader(")
        await r.set(f"{prefix}text", "x")
        with pytest.raises(WrongTypeError):
            await r.stream_reader(f"{prefix}text").__aenter__()
        async with r.stream_reader(f"{prefix}text", last_id="0") as s:
            with pytest.raises(WrongTypeError):
                await anext(s)


async def test_its_wait_ends_with_the_client(server: Server, prefix: str) -> None:
    r = Client(server.url)
    async with r.stream_reader(f"{prefix}s") as s:
        task = asyncio.ensure_future(anext(s))
        await asyncio.sleep(0.02)
        await r.aclose()
        with pytest.raises(ClientClosed):
            await task


async def test_cancelled_at_any_time_it_goes_on_where_it_was(server: Server, prefix: str) -> None:
    before = tasks_besides()
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, timeout=5) as r,
        Client(server.url) as direct,
    ):
        proxy.delay = 0.003
        found: list[int] = []
        cancelled = 0
        async with r.stream_reader(f"{prefix}s", last_id="0", count=2) as s:
            for n in range(1, 61):
                await add(direct, f"{prefix}s", 2 * n, 2 * n + 1)
                task = asyncio.ensure_future(anext(s))
                for _ in range(n % 5):
                    await asyncio.sleep(0)
                await asyncio.sleep(n % 4 / 250)
                task.cancel()
                try:
                    found.append(int((await task).id.partition("-")[0]))
                except asyncio.CancelledError:
                    cancelled += 1
            found += await numbers(s, 120 - len(found))
            assert found == list(range(2, 122))
            assert cancelled
        await at_rest(r)
        await in_step(r)
    assert tasks_besides() <= before


@pytest.mark.parametrize("way", ["cut", "reset", "in the reply", "kill"])
async def test_lost_connections(server: Server, prefix: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, retry=SOON) as r,
        Client(server.url) as direct,
    ):
        found: list[int] = []
        async with r.stream_reader(f"{prefix}s", count=3) as s:

            async def read() -> None:
                async for entry in s:
                    found.append(int(entry.id.partition("-")[0]))
                    if len(found) == 40:
                        break

            task = asyncio.create_task(read())
            for n in range(1, 41):
                await asyncio.sleep(n % 3 / 300)
                if n % 4 == 0:
                    if way == "kill":
                        await direct.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    elif way == "in the reply":
                        proxy.cut_after(n % 40)
                    else:
                        proxy.cut(rst=way == "reset")
                await add(direct, f"{prefix}s", n)
            async with asyncio.timeout(20):
                await task
        assert found == list(range(1, 41))
        assert any("goes on as soon as it can" in message for message in caplog.messages)
        assert r.stats().made > 2
        await at_rest(r)


async def test_a_server_that_is_away_for_longer_than_retries_last() -> None:
    with start_server() as running:
        async with Client(running.url, retry=Retry(2, base=0.01, cap=0.05)) as r:
            await r.xadd("s", {"n": 1}, id="1-1")
            async with r.stream_reader("s", last_id="1-1", block=500) as s:
                task = asyncio.ensure_future(anext(s))
                await asyncio.sleep(0.05)
                running.stop()
                await asyncio.sleep(1)
                assert not task.done()
                running.start()
                async with Client(running.url) as other:
                    await other.xadd("s", {"n": 2}, id="2-1")
                async with asyncio.timeout(10):
                    assert (await task).id == "2-1"


async def test_without_retries_it_raises(server: Server, prefix: str) -> None:
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, retry=None) as r,
        r.stream_reader(f"{prefix}s") as s,
    ):
        task = asyncio.ensure_future(anext(s))
        await asyncio.sleep(0.05)
        proxy.cut()
        with pytest.raises(ConnectionLost):
            await task


async def test_a_peer_that_vanished_is_noticed(server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioresp.contexts.blocking.GRACE", 0.1)
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, retry=SOON, timeout=0.5, connect_timeout=0.5) as r,
        Client(server.url) as direct,
        r.stream_reader(f"{prefix}s", block=100) as s,
    ):
        task = asyncio.ensure_future(anext(s))
        await asyncio.sleep(0.02)
        proxy.half_open()
        await asyncio.sleep(0.3)
        await add(direct, f"{prefix}s", 1)
        proxy.accept()
        async with asyncio.timeout(10):
            assert (await task).id == "1-1"


async def unblock(direct: Client[str], command: str) -> None:
    """End what waits on the server, as a failover does."""
    async with asyncio.timeout(5):
        while True:
            waiting = [client.id for client in await direct.client_list() if client.cmd == command]
            if waiting and await direct.client_unblock(waiting[0], error=True):
                return
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", ["stream", "group"])
async def test_a_failover_ends_its_wait_and_it_goes_on(
    server: Server, prefix: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(server.url, retry=SOON) as r, Client(server.url) as direct:
        name = f"{prefix}s"
        reader: Any = r.stream_reader(name) if kind == "stream" else r.group_reader("g", "c", name)
        async with reader as entries:
            task = asyncio.ensure_future(anext(entries))
            await unblock(direct, "xread" if kind == "stream" else "xreadgroup")
            while "UNBLOCKED" not in caplog.text:
                await asyncio.sleep(0.005)
            await add(direct, name, 1)
            async with asyncio.timeout(5):
                assert (await task).id == "1-1"


@pytest.mark.parametrize("kind", ["stream", "group"])
@pytest.mark.parametrize("retry", [SOON, None], ids=["retry", "no retry"])
async def test_a_wait_for_a_connection_that_takes_too_long(
    server: Server,
    prefix: str,
    kind: str,
    retry: Retry | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aioresp.contexts.borrowed.GRACE", 0.05)
    async with Client(server.url, limit=2, retry=retry) as r:
        name = f"{prefix}s"
        reader: Any = r.stream_reader(name, block=50) if kind == "stream" else r.group_reader("g", "c", name, block=50)
        async with reader as entries:
            async with r.connection():
                task = asyncio.ensure_future(anext(entries))
                await until(lambda: task.done() or "a higher `limit` would let it begin" in caplog.text)
            if retry is None:
                with pytest.raises(PoolTimeout):
                    await task
            else:
                await add(r, name, 1)
                async with asyncio.timeout(5):
                    assert (await task).id == "1-1"


async def test_readers_beyond_the_limit_take_turns_and_stop_nobody(
    server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """200 readers, 10 connections: ordinary commands go on, and each reader comes to its entry."""
    caplog.set_level(logging.ERROR, logger="aioresp")
    async with Client(server.url, limit=10, timeout=20) as r:

        async def read(number: int) -> str:
            async with r.stream_reader(f"{prefix}{number}", last_id="0", block=50) as s:
                return (await anext(s)).fields["n"]

        tasks = [asyncio.create_task(read(number)) for number in range(200)]
        with anyio.fail_after(90):
            while r.stats().leased < 9:
                await asyncio.sleep(0.01)
            await in_step(r)
            assert r.stats().leased <= 9
            for number in range(200):
                await r.xadd(f"{prefix}{number}", {"n": number})
            assert await asyncio.gather(*tasks) == [str(number) for number in range(200)]
        await at_rest(r)
