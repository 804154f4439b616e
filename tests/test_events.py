"""The hook `events` hears of what an operator would want to know, and disturbs nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import aioresp
from aioresp import Client, Pipeline, Retry
from aioresp.command import Arguments
from aioresp.events import ConnectFailed, ConnectionEnded, ConnectionMade, Event, Repeated, Slow
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import until


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.host, server.port) as running:
        yield running


def of(kind: type[Event], heard: list[Event]) -> list[Any]:
    return [event for event in heard if isinstance(event, kind)]


async def test_connections(proxy: Proxy) -> None:
    heard: list[Event] = []
    async with Client(proxy.url, events=heard.append, timeout=5) as r:
        await r.ping()
        (made,) = of(ConnectionMade, heard)
        assert made.server == f"redis://127.0.0.1:{proxy.port}"
        assert 0 < made.seconds < 5
        proxy.cut()
        await until(lambda: bool(of(ConnectionEnded, heard)))
        (ended,) = of(ConnectionEnded, heard)
        assert isinstance(ended.error, aioresp.ConnectionLost)
        assert ended.commands >= 1
        await r.ping()
    assert [type(event) for event in heard] == [ConnectionMade, ConnectionEnded] * 2


async def test_failing_to_connect() -> None:
    heard: list[Event] = []
    async with Client("redis://127.0.0.1:1", events=heard.append, retry=Retry(3, base=0.01, jitter=False)) as r:
        with pytest.raises(aioresp.ConnectError):
            await r.ping()
    failed = of(ConnectFailed, heard)
    assert [(event.failures, event.pause) for event in failed] == [(1, 0.01), (2, 0.02), (3, None)]


async def test_what_is_sent_again(proxy: Proxy, prefix: str) -> None:
    heard: list[Event] = []
    async with Client(proxy.url, events=heard.append, timeout=5) as r:
        await r.ping()
        proxy.cut_after(0, "down")
        await r.get(f"{prefix}k")
    (repeated,) = of(Repeated, heard)
    assert (repeated.command, repeated.key, repeated.failures) == ("GET", repr(f"{prefix}k"), 1)
    assert isinstance(repeated.error, aioresp.ConnectionLost)


@pytest.mark.parametrize(("transaction", "name"), [(False, "PIPELINE"), (True, "MULTI")])
async def test_a_pipeline_that_is_sent_again(proxy: Proxy, prefix: str, transaction: bool, name: str) -> None:
    heard: list[Event] = []
    async with Client(proxy.url, events=heard.append, timeout=5) as r:
        await r.ping()
        proxy.cut_after(0, "down")
        async with r.pipeline(transaction) as p:
            value = p.get(f"{prefix}k")
        assert await value is None
    (repeated,) = of(Repeated, heard)
    assert (repeated.server, repeated.command, repeated.key, repeated.failures) == (
        f"redis://{proxy.host}:{proxy.port}",
        name,
        None,
        1,
    )
    assert isinstance(repeated.error, aioresp.ConnectionLost)


async def while_busy(own: Server, call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call of a server that is busy with a script, end the script, and return what the call returns."""
    async with Client(own.url) as spinning, Client(own.url) as other:
        script = asyncio.ensure_future(spinning.eval("while true do end", 0))
        await asyncio.sleep(0.2)
        calling = asyncio.ensure_future(call())
        await asyncio.sleep(0.3)
        await other.script_kill()
        value = await calling
        with pytest.raises(aioresp.ResponseError, match="killed"):
            await script
    return value


async def test_a_pipeline_that_the_server_does_not_run_yet() -> None:
    heard: list[Event] = []
    async with start_server(config={"lua-time-limit": "10"}) as own, Client(own.url, events=heard.append) as r:
        p = r.pipeline()
        p.incr("k")
        p.incr("k")
        assert await while_busy(own, p.execute) == [1, 2]
    repeated = of(Repeated, heard)
    assert [event.failures for event in repeated] == list(range(1, len(repeated) + 1))
    assert {(event.command, event.key, type(event.error)) for event in repeated} == {
        ("PIPELINE", None, aioresp.BusyError)
    }


async def test_a_blocking_command_that_is_sent_again() -> None:
    heard: list[Event] = []
    async with start_server(config={"lua-time-limit": "10"}) as own, Client(own.url, events=heard.append) as r:
        await r.rpush("q", "job")
        assert await while_busy(own, lambda: r.blpop("q", 5)) == ("q", "job")
    assert {(event.command, event.key, type(event.error)) for event in of(Repeated, heard)} == {
        ("BLPOP", "'q'", aioresp.BusyError)
    }


async def test_slow_calls_however_they_end(proxy: Proxy, prefix: str) -> None:
    heard: list[Event] = []
    async with Client(proxy.url, events=heard.append, slow_after=0.5, timeout=5) as r:
        await r.ping()
        await r.get(f"{prefix}k")
        assert of(Slow, heard) == []
        proxy.delay = 0.3
        await r.get(f"{prefix}k")
        proxy.delay = 1.5  # a busy machine gives the call time back, but not as much
        with pytest.raises(TimeoutError):
            await r.with_options(timeout=0.55).set(f"{prefix}k", "secret")
        late = of(Slow, heard)
        assert [(event.command, event.key) for event in late] == [
            ("GET", repr(f"{prefix}k")),
            ("SET", repr(f"{prefix}k")),
        ]
        assert 0.6 <= late[0].seconds < 5
        assert "secret" not in repr(heard)


async def test_a_hook_that_fails_disturbs_nobody(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise ValueError("oops")

    with caplog.at_level(logging.ERROR, "aioresp"):
        async with Client(server.url, events=broken, slow_after=1e-9) as r:
            assert await r.ping() is True
    assert caplog.messages == ["the hook `events` raised an error"] * 3


async def test_a_pipeline_is_one_call_to_what_is_around(server: Server, prefix: str) -> None:
    seen: list[str] = []

    async def middleware(arguments: Arguments, send: Any) -> Any:
        seen.append(str(arguments[0]))
        return await send()

    async with Client(server.url, middleware=middleware) as r:
        async with r.pipeline() as p:
            one, two = p.incr(f"{prefix}n"), p.incr(f"{prefix}n")
        assert (await one, await two) == (1, 2)
        await r.transaction(lambda p: p.incr(f"{prefix}n"))
    assert seen == ["PIPELINE", "MULTI"]


async def test_around(server: Server, prefix: str) -> None:
    seen: list[Arguments] = []

    async def middleware(arguments: Arguments, send: Any) -> Any:
        seen.append(arguments)
        return await send()

    async with Client(server.url, middleware=middleware) as r:
        await r.set(f"{prefix}k", "v", ex=60)
        view = r.with_options(decode_responses=False, timeout=1)
        assert await view.get(f"{prefix}k") == b"v"
        assert await r.brpop(f"{prefix}none", timeout=0.01) is None
    assert [arguments[0] for arguments in seen] == ["SET", "GET", "BRPOP"]


async def test_around_leased_connections_and_what_is_watched(server: Server, prefix: str) -> None:
    seen: list[str] = []

    async def middleware(arguments: Arguments, send: Any) -> Any:
        seen.append(str(arguments[0]))
        return await send()

    async with Client(server.url, middleware=middleware) as r:
        async with r.connection() as c:
            await c.select(1)
            async with c.pipeline() as p:
                p.get(f"{prefix}k")
            async with c.pipeline(transaction=True) as p:
                p.get(f"{prefix}k")
            assert await c.blpop(f"{prefix}none", 0.01) is None
        assert seen == ["SELECT", "PIPELINE", "MULTI", "BLPOP"]
        seen.clear()

        async def add(p: Pipeline[str]) -> None:
            value = int(await p.get(f"{prefix}k") or 0)
            p.multi()
            p.set(f"{prefix}k", value + 1, ex=60)

        await r.transaction(add, f"{prefix}k")
        assert await r.get(f"{prefix}k") == "1"
    assert seen == ["WATCH", "GET", "MULTI", "GET"]


async def test_what_is_around_goes_around_once() -> None:
    seen: list[str] = []

    async def middleware(arguments: Arguments, send: Any) -> Any:
        seen.append(str(arguments[0]))
        return await send()

    with start_server() as own:
        async with Client(own.url, middleware=middleware) as r:
            async with r.pipeline() as p:  # so large that it takes a connection of its own
                for _ in range(12_000):
                    p.ping()
            await r.shutdown(nosave=True)
    assert seen == ["PIPELINE", "SHUTDOWN"]


async def test_slow_calls_on_a_leased_connection(proxy: Proxy, prefix: str) -> None:
    heard: list[Event] = []
    async with Client(proxy.url, events=heard.append, slow_after=0.3, timeout=5) as r, r.connection() as c:
        await c.get(f"{prefix}k")
        proxy.delay = 0.2
        await c.get(f"{prefix}k")
        await c.pipeline().execute()
        async with c.pipeline() as p:
            p.get(f"{prefix}k")
    assert [(event.command, event.key) for event in of(Slow, heard)] == [
        ("GET", repr(f"{prefix}k")),
        ("PIPELINE", None),
    ]


async def read_stream(r: Client[str], key: str) -> None:
    async with r.stream_reader(key, block=800) as entries:
        async with asyncio.timeout(1.0):
            async for _ in entries:
                raise AssertionError


async def read_group(r: Client[str], key: str) -> None:
    async with r.group_reader("g", "c", key, block=800) as entries:
        async with asyncio.timeout(1.0):
            async for _ in entries:
                raise AssertionError


async def on_a_lease(r: Client[str], call: Callable[[Any], Awaitable[object]]) -> None:
    async with r.connection() as c:
        await call(c)


#: Calls that wait on the server for 0.8 s, or until they are given up.
IDLE: dict[str, Callable[[Client[str], str], Awaitable[object]]] = {
    "pop": lambda r, k: r.blpop(k, 0.8),
    "call": lambda r, k: r.call("brpop", k, "0.8"),
    "move": lambda r, k: r.blmove(k, k, 0.8),
    "read": lambda r, k: r.xread({k: "$"}, block=800),
    "reader": read_stream,
    "group": read_group,
    "lease": lambda r, k: on_a_lease(r, lambda c: c.bzpopmin(k, 0.8)),
    "wait": lambda r, k: on_a_lease(r, lambda c: c.wait(9, 800)),
    "cancelled": lambda r, k: asyncio.wait_for(r.blpop(k), 1.0),
    "bytes": lambda r, k: r.with_options(decode_responses=False).blpop(k, 0.8),
}


@pytest.mark.parametrize("call", IDLE.values(), ids=list(IDLE))
async def test_idle_blocking_commands_are_not_slow(
    server: Server, prefix: str, call: Callable[[Client[str], str], Awaitable[object]]
) -> None:
    heard: list[Event] = []
    loop = asyncio.get_running_loop()
    async with Client(server.url, events=heard.append, slow_after=0.6) as r:
        start = loop.time()
        try:
            await call(r, f"{prefix}k")
        except TimeoutError:
            pass
        assert loop.time() - start > 0.7
    assert of(Slow, heard) == []


async def test_middleware_may_send_from_a_task_of_its_own(server: Server, prefix: str) -> None:
    heard: list[Event] = []

    async def apart(arguments: Arguments, send: Any) -> Any:
        if arguments[0] == "BLPOP":
            await r.ping()  # another call, while this one is under way
        return await asyncio.create_task(send())

    async with Client(server.url, events=heard.append, slow_after=0.6, middleware=apart) as r:
        assert await r.blpop(f"{prefix}k", 0.8) is None
    assert of(Slow, heard) == []


@pytest.mark.parametrize("limit", [0, 5])
async def test_the_wait_for_a_connection_counts(server: Server, prefix: str, limit: int) -> None:
    heard: list[Event] = []
    async with Client(server.url, events=heard.append, slow_after=0.6, limit=1) as r:
        async with r.connection():
            task = asyncio.create_task(r.blpop(f"{prefix}k", limit))
            await asyncio.sleep(0.9)
        await asyncio.sleep(0.3)
        await r.rpush(f"{prefix}k", "x")
        await task
    (slow,) = of(Slow, heard)
    assert (slow.command, slow.key) == ("BLPOP", repr(f"{prefix}k"))
    assert slow.seconds >= 0.8


async def test_a_reply_that_comes_after_the_limit_of_a_blocking_command(proxy: Proxy, prefix: str) -> None:
    heard: list[Event] = []
    async with Client(proxy.url, events=heard.append, slow_after=0.6) as r:
        await r.ping()
        async with r.connection() as c:
            await c.ping()
            task = asyncio.ensure_future(c.blpop(f"{prefix}k", 0.2))
            await asyncio.sleep(0)
            proxy.stall("down")
            await asyncio.sleep(1.3)
            proxy.resume()
            assert await task is None
    (slow,) = of(Slow, heard)
    assert slow.seconds >= 0.6


async def test_nothing_is_in_the_way_without_a_hook(server: Server) -> None:
    async with Client(server.url) as r:
        assert "execute" not in vars(r)
        async with r.connection() as c:
            assert "execute" not in vars(c)
        assert r.node.pools.here()._connect.func.__name__ == "connect"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"events": 1}, "events"), ({"middleware": "x"}, "middleware"), ({"slow_after": 0}, "slow_after")],
)
def test_what_is_no_hook_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Client(**options)
