"""A connection that is killed in a call: the error names the method, and says that it may have run."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aioresp import Client, ConnectError, ConnectionLost
from aioresp.testing import Proxy, Server

SCRIPT = "return redis.call('INCR', KEYS[1])"


async def queued(r: Any, key: str, transaction: bool) -> None:
    async with r.pipeline(transaction) as p:
        p.incr(key)
        p.get(key)


async def handle(r: Any, key: str, transaction: bool) -> None:
    p = r.pipeline(transaction)
    p.incr(key)
    value = p.get(key)
    with pytest.raises(ConnectionLost):
        await p.execute()
    await value


async def watched(r: Any, key: str) -> None:
    async with r.pipeline(transaction=True) as p:
        await p.watch(key)


async def read_then_queue(p: Any) -> None:
    p.multi()
    p.incr("k")


#: Calls on a client or a lease, by the method that the error names.
CALLS: dict[str, tuple[str, Callable[[Any, str], Awaitable[object]]]] = {
    "incr": ("incr", lambda r, k: r.incr(k)),
    "incrby": ("incrby", lambda r, k: r.incrby(k, 3)),
    "delete": ("delete", lambda r, k: r.delete(k)),
    "call": ("rpush", lambda r, k: r.call("RPUSH", k, "secret")),
    "call in small letters": ("rpush", lambda r, k: r.call("rpush", k, "secret")),
    "large": ("set", lambda r, k: r.set(k, "v" * 300_000)),
    "config": ("config_set", lambda r, k: r.config_set("maxmemory", 0)),
    "object": ("object_freq", lambda r, k: r.object_freq(k)),
    "blocking": ("blpop", lambda r, k: r.blpop(k, 5)),
    "moving": ("blmove", lambda r, k: r.blmove(k, f"{k}2", 5)),
    "reading stream": ("xread", lambda r, k: r.xread({k: "$"}, block=5000)),
    "pipeline": ("pipeline", lambda r, k: queued(r, k, False)),
    "transaction": ("pipeline", lambda r, k: queued(r, k, True)),
    "handle": ("pipeline", lambda r, k: handle(r, k, False)),
    "handle in a transaction": ("pipeline", lambda r, k: handle(r, k, True)),
    "watch": ("watch", lambda r, k: watched(r, k)),
    "scan": ("scan", lambda r, k: anext(r.scan_iter())),
}

ON_CLIENTS: dict[str, tuple[str, Callable[[Any, str], Awaitable[object]]]] = {
    **CALLS,
    "view": ("getdel", lambda r, k: r.with_options(decode_responses=False, timeout=5).getdel(k)),
    "optimistic": ("transaction", lambda r, k: r.transaction(read_then_queue, k)),
    "optimistic, without keys": ("transaction", lambda r, k: r.transaction(lambda p: p.incr(k))),
}


async def around(arguments: Any, send: Any) -> Any:
    return await send()


async def error_of(p: Proxy, call: Awaitable[object]) -> ConnectionLost:
    """Kill the connection once the call is under way, and return its error."""
    sent = p.bytes_up
    p.stall("down")
    task = asyncio.ensure_future(call)
    while p.bytes_up == sent:
        await asyncio.sleep(0.001)
    p.cut()
    p.heal()
    with pytest.raises(ConnectionLost) as caught:
        await task
    return caught.value


def tells(error: ConnectionLost, method: str) -> None:
    assert f"`{method}` was under way: it may have run (outcome unknown)" in str(error)
    assert (error.method, error.outcome) == (method, "unknown")
    assert "secret" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(copy.copy(error)) == str(error)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", ON_CLIENTS)
async def test_on_a_client(server: Server, prefix: str, protocol: Any, name: str) -> None:
    method, call = ON_CLIENTS[name]
    async with Proxy(server.host, server.port) as p, Client(p.url, protocol=protocol, retry=None) as r:
        await r.ping()
        tells(await error_of(p, call(r, f"{prefix}k")), method)


@pytest.mark.parametrize("name", CALLS)
async def test_on_a_lease(server: Server, prefix: str, name: str) -> None:
    method, call = CALLS[name]
    async with Proxy(server.host, server.port) as p, Client(p.url, retry=None) as r, r.connection() as c:
        tells(await error_of(p, call(c, f"{prefix}k")), method)


@pytest.mark.parametrize("name", ["incr", "blocking", "pipeline", "transaction"])
@pytest.mark.parametrize(
    "options", [{}, {"middleware": around}, {"events": lambda event: None}], ids=["", "around", "events"]
)
async def test_with_retries_and_middleware(server: Server, prefix: str, name: str, options: dict[str, Any]) -> None:
    method, call = CALLS[name]
    async with Proxy(server.host, server.port) as p, Client(p.url, **options) as r:
        await r.ping()
        tells(await error_of(p, call(r, f"{prefix}k")), method)


async def test_of_many_each_is_named(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as p, Client(p.url, retry=None, limit=1) as r:
        await r.ping()
        calls = [r.incr(f"{prefix}n"), r.decr(f"{prefix}n", 2), r.lpush(f"{prefix}l", 1)]
        p.stall("down")
        tasks = [asyncio.ensure_future(call) for call in calls]
        sent = p.bytes_up
        while p.bytes_up == sent:
            await asyncio.sleep(0.001)
        p.cut()
        p.heal()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        for error, method in zip(errors, ("incr", "decrby", "lpush"), strict=True):
            assert isinstance(error, ConnectionLost)
            tells(error, method)


async def test_scripts(server: Server, prefix: str) -> None:
    """A script that the server is only asked for was not sent."""
    async with Proxy(server.host, server.port) as p, Client(p.url, retry=None, limit=1) as r:
        script = r.register_script(SCRIPT)
        await r.ping()
        lost = await error_of(p, script([f"{prefix}n"]))
        assert (lost.method, lost.outcome) == ("script", "not sent")
        assert "`script` was not sent" in str(lost)
        assert [await script([f"{prefix}n"]) for _ in range(2)] == [1, 2]
        tells(await error_of(p, script([f"{prefix}n"])), "script")


async def test_functions(server: Server, prefix: str) -> None:
    if server.version < (7, 0):
        pytest.skip("functions came with 7.0")
    library = "#!lua name=killed\nredis.register_function('killed', function(keys) return 1 end)"
    async with Proxy(server.host, server.port) as p, Client(p.url, retry=None, limit=1) as r:
        function = r.register_function("killed", library)
        await r.ping()
        lost = await error_of(p, function())
        assert (lost.method, lost.outcome) == ("function", "not sent")
        assert [await function() for _ in range(2)] == [1, 1]
        tells(await error_of(p, function()), "function")


async def test_what_was_not_sent_says_so() -> None:
    error = ConnectionLost("the connection was lost", "not sent")
    assert str(error) == "the connection was lost"
    error.method, error.command = "incr", "INCRBY"
    assert str(error) == "the connection was lost; `incr` was not sent [INCRBY]"


async def test_who_calls_nothing_is_told_of_no_method(server: Server) -> None:
    async with Proxy(server.host, server.port) as p, Client(p.url, retry=None) as r:
        async with r.monitor() as m:
            lost = await error_of(p, asyncio.gather(anext(m), r.ping()))
            assert "may have run" in str(lost) or lost.method is None
        p.refuse()
        with pytest.raises(ConnectError) as caught:
            await r.get("k")
        assert "may have run" not in str(caught.value)
