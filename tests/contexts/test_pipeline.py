"""Pipelines: each command has its own value or its own error, one batch is one write, and nobody is held up by it."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import traceback
import tracemalloc
from collections.abc import Callable
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, CommandRefused, Pipeline, Retry, UnexpectedReply
from aioresp.contexts import large, routes
from aioresp.contexts.pipeline import Queued
from aioresp.facts.traits import Traits
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.commands.exact import exactly
from tests.rest import at_rest, in_step


def make(server: Server, protocol: int, **options: Any) -> Client[str]:
    number: Literal[2, 3] = 3 if protocol == 3 else 2
    return Client(server.url, protocol=number, **options)


# --- Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transaction", [False, True], ids=["plain", "transaction"])
@pytest.mark.parametrize("decode", [True, False], ids=["str", "bytes"])
async def test_each_command_has_its_own_typed_value(
    server: Server, prefix: str, protocol: int, transaction: bool, decode: bool
) -> None:
    k, h, s, z = (f"{prefix}{name}" for name in "khsz")
    text: Callable[[str], Any] = (lambda value: value) if decode else str.encode
    async with make(server, protocol) as client:
        r: Client[Any] = client if decode else client.with_options(decode_responses=False)
        async with r.pipeline(transaction=transaction) as p:
            handles = [
                p.set(k, "1"),
                p.set(k, "2", nx=True),
                p.get(k),
                p.incrbyfloat(k, 0.5),
                p.hset(h, mapping={"a": 1, "b": "%1"}),
                p.hgetall(h),
                p.sadd(s, "x"),
                p.smembers(s),
                p.zadd(z, {"m": 1.5}),
                p.zrange(z, 0, -1, withscores=True),
                p.mget([k, f"{prefix}none"]),
                p.exists(k, h),
                p.call("DUMP", f"{prefix}none"),
            ]
            assert len(p) == 13
        expected: list[Any] = [True, False, text("1"), 1.5, 2, {text("a"): text("1"), text("b"): text("%1")}]
        expected += [1, {text("x")}, 1, [(text("m"), 1.5)], [text("1.5"), None], 2, None]
        exactly([await handle for handle in handles], expected)
        exactly([await handle for handle in handles], expected)
        assert r.stats().leased == 0


async def test_as_redis_py_does_it(server: Server, prefix: str, protocol: int) -> None:
    async with make(server, protocol) as r:
        p = r.pipeline()
        first = p.set(f"{prefix}k", "v")
        p.get(f"{prefix}k")
        assert await p.execute() == [True, "v"]
        second = p.incr(f"{prefix}n")
        assert await p.execute() == [1]
        assert (await first, await second) == (True, 1)
        assert await p.execute() == []
        assert bool(p)


async def test_handles_are_what_a_coroutine_is_to_asyncio(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        async with r.pipeline() as p:
            one, two, three = p.incr(f"{prefix}n"), p.incr(f"{prefix}n"), p.incr(f"{prefix}n")
        assert [*await asyncio.gather(one, two)] == [1, 2]
        assert await asyncio.create_task(three) == 3
        assert await asyncio.wait_for(two, 1) == 2
        one.close()
        with pytest.raises(KeyError):
            one.throw(KeyError)


async def test_a_handle_tells_what_it_is(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        p = r.pipeline()
        handle = p.get("k")
        assert repr(handle) == "Queued(GET 'k', not executed)"
        assert repr(p) == "Pipeline(1 queued)"
        with pytest.raises(RuntimeError, match=r"GET 'k' is not executed yet: await it after the block"):
            await handle
        await p.execute()
        assert repr(handle) == f"Queued(done: {type(await handle).__name__})"
        assert repr(r.pipeline(transaction=True)) == "Pipeline(0 queued, transaction)"


async def test_what_is_no_text_comes_as_bytes(server: Server, prefix: str, protocol: int) -> None:
    k = f"{prefix}k"
    async with make(server, protocol) as r:
        for transaction in (False, True):
            async with r.pipeline(transaction=transaction) as p:
                p.set(k, "v")
                dumped, got = p.call("DUMP", k), p.get(k)
            assert isinstance(await dumped, bytes)
            assert await got == "v"


async def test_large_values(server: Server, prefix: str) -> None:
    keys = [f"{prefix}{n}" for n in range(12)]
    large = "ü" * 200_000
    async with Client(server.url) as r:
        async with r.pipeline() as p:
            for key in keys:
                p.set(key, large)
            values = [p.get(key) for key in keys]
            one = p.incr(f"{prefix}n")
        assert [await value for value in values] == [large] * 12
        assert await one == 1
        await r.delete(*keys)


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transaction", [False, True], ids=["plain", "transaction"])
async def test_an_error_belongs_to_its_command(server: Server, prefix: str, protocol: int, transaction: bool) -> None:
    k, b = f"{prefix}k", f"{prefix}b"
    async with make(server, protocol) as r:
        await r.set(b, b"\xff")
        p = r.pipeline(transaction=transaction)

        def fill() -> list[Any]:
            return [p.set(k, "v"), p.lpush(k, 1), p.get(b), p.get(k)]

        handles = fill()
        values = await p.execute(raise_on_error=False)
        assert [type(value).__name__ for value in values] == ["bool", "WrongTypeError", "DecodeError", "str"]
        assert await handles[3] == "v"
        for handle, kind in ((handles[1], aioresp.WrongTypeError), (handles[2], aioresp.DecodeError)):
            for _ in range(2):
                with pytest.raises(kind, match=r"\[(LPUSH|GET) '"):
                    await handle
        handles = fill()
        with pytest.raises(aioresp.WrongTypeError) as caught:
            await p.execute()
        assert str(caught.value).startswith("command #2 of 4 in the pipeline: WRONGTYPE ")
        assert (caught.value.index, caught.value.command, caught.value.code) == (1, "LPUSH", "WRONGTYPE")
        assert await handles[3] == "v"
        await in_step(r)


async def test_the_end_of_the_block_raises_the_first_error(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        p = r.pipeline()
        with pytest.raises(aioresp.WrongTypeError, match=r"command #2 of 3 .* \[LPUSH '"):
            async with p:
                p.set(f"{prefix}k", "v")
                p.lpush(f"{prefix}k", 1)
                p.get(f"{prefix}k")
        assert await r.get(f"{prefix}k") == "v"


async def test_leaving_by_an_exception_sends_nothing(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.ping()
        before = r.stats().commands
        handles = []
        with pytest.raises(KeyError):
            async with r.pipeline() as p:
                handles.append(p.set(f"{prefix}k", "v"))
                raise KeyError
        assert r.stats().commands == before
        with pytest.raises(aioresp.RedisError, match="not sent"):
            await handles[0]


async def test_a_converter_that_fails_concerns_its_command_only(server: Server, prefix: str) -> None:
    def fail(value: Any) -> str:
        raise ZeroDivisionError("SECRET")

    async with Client(server.url) as r:
        p = r.pipeline()
        before, bad, after = p.incr(f"{prefix}n"), p.execute(("GET", "k"), fail), p.incr(f"{prefix}n")
        with pytest.raises(UnexpectedReply, match="command #2 of 3 in the pipeline: an unexpected reply: "):
            await p.execute()
        assert (await before, await after) == (1, 2)
        with pytest.raises(UnexpectedReply, match=r"^an unexpected reply: .* \[GET 'k'\]$") as caught:
            await bad
        assert "SECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: p.set("k", None), TypeError, "SET: argument 2 is NoneType"),
        (lambda p: p.set("k", "v", ex=1, px=1), ValueError, "exclude each other"),
        (lambda p: p.delete(), ValueError, "empty"),
        (lambda p: p.get("\ud800"), ValueError, "no UTF-8 form"),
        (lambda p: p.select(1), CommandRefused, r"belongs to one connection: .* \[SELECT\]"),
        (lambda p: p.call("MULTI"), CommandRefused, r"pipeline\(transaction=True\)"),
        (lambda p: p.call("exec"), CommandRefused, r"pipeline\(transaction=True\)"),
        (lambda p: p.call("WATCH", "k"), CommandRefused, r"`watch\(\)`"),
        (lambda p: p.call("SUBSCRIBE", "c"), CommandRefused, "use `async with client.subscribe"),
        (lambda p: p.call("MONITOR"), CommandRefused, "use `async with client.monitor"),
        (lambda p: p.call("CLIENT REPLY", "OFF"), CommandRefused, "break the connection"),
        (lambda p: p.blpop("k"), CommandRefused, r"hold up all behind it.*\[BLPOP\]"),
        (lambda p: p.xread({"s": "$"}, block=0), CommandRefused, "hold up all behind it"),
        (lambda p: p.call("WAIT", 1, 0), CommandRefused, "belongs to one connection"),
    ],
)
async def test_what_cannot_be_right_fails_at_the_call(
    server: Server, call: Callable[[Pipeline[str]], object], error: type[Exception], message: str
) -> None:
    async with Client(server.url) as r:
        p = r.pipeline()
        with pytest.raises(error, match=message):
            call(p)
        assert len(p) == 0
        assert r.stats().made == 0


async def test_a_lease_has_pipelines_with_connection_state(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        async with r.connection() as c:
            mine = await c.client_id()
            async with c.pipeline() as p:
                chosen, made, number = p.select(5), p.set(f"{prefix}k", 1), p.client_id()
            assert (await chosen, await made, await number) == (True, True, mine)
            assert await c.get(f"{prefix}k") == "1"
            p = c.pipeline(transaction=True)
            p.delete(f"{prefix}k")
            assert await p.execute() == [1]
            with pytest.raises(CommandRefused):
                c.pipeline().blpop("k")
            with pytest.raises(CommandRefused):
                c.pipeline().call("SUBSCRIBE", "c")
        await at_rest(r)
        assert (await r.client_info()).db == 0
        assert r.stats().made == 1


# --- With others -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 5000])
async def test_many_tasks_with_pipelines_and_commands(server: Server, prefix: str, concurrency: int) -> None:
    async with Client(server.url, concurrency=concurrency, limit=4) as r:

        async def queue(n: int) -> None:
            for size in (1, 2, 50, 700):
                async with r.pipeline(transaction=size == 50) as p:
                    handles = [p.echo(f"{n}:{i}") for i in range(size)]
                assert [await handle for handle in handles] == [f"{n}:{i}" for i in range(size)]

        async def single(n: int) -> None:
            for i in range(50):
                assert await r.echo(f"{n}:{i}") == f"{n}:{i}"

        async with asyncio.TaskGroup() as tg:
            for n in range(10):
                tg.create_task(queue(n))
                tg.create_task(single(n))
        await at_rest(r)
        assert r.stats().open <= 4


async def test_a_batch_is_one_write(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        await r.ping()
        proxy.delay = 0.05
        started = time.monotonic()
        p = r.pipeline()
        for _ in range(100):
            p.incr(f"{prefix}n")
        assert await p.execute() == list(range(1, 101))
        assert time.monotonic() - started < 5  # one round trip takes 0.1, and a hundred take ten


async def test_replies_in_fragments(server: Server, prefix: str, protocol: int) -> None:
    number: Literal[2, 3] = 3 if protocol == 3 else 2
    async with (
        Proxy(server.host, server.port, split=(1, 40)) as proxy,
        Client(proxy.url, protocol=number) as r,
    ):
        for transaction in (False, True):
            async with r.pipeline(transaction=transaction) as p:
                p.hset(f"{prefix}h", mapping={"%1": "\r\n%2\r\n"})
                handles = [p.hgetall(f"{prefix}h") for _ in range(30)]
            assert [await handle for handle in handles] == [{"%1": "\r\n%2\r\n"}] * 30
        await in_step(r)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have batches of more than 50 commands take a connection, and pieces of some commands."""
    monkeypatch.setattr(routes, "LARGE", 50)
    monkeypatch.setattr(large, "PIECE", 300)


async def test_a_large_batch_travels_in_pieces_on_a_connection_of_its_own(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    async with Client(server.url) as r:
        await r.ping()
        for transaction in (False, True):
            p = r.pipeline(transaction=transaction)
            handles = [p.echo(f"{n}") for n in range(500)]
            task = asyncio.ensure_future(p.execute())
            async with asyncio.timeout(5):
                while not r.stats().leased:
                    await asyncio.sleep(0)
            assert r.node.pools.here().describe().count("leased by a pipeline of 50") == 1
            assert await task == [await handle for handle in handles] == [f"{n}" for n in range(500)]
            assert r.stats().leased == 0
        async with r.pipeline() as p:
            value = p.set(f"{prefix}k", "x" * (routes.LARGE_BYTES + 1))
        assert await value
        await in_step(r)
        await r.delete(f"{prefix}k")


async def test_a_batch_that_never_left_is_sent_again(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=5) as r:
        await asyncio.gather(r.ping(), r.ping())  # after several in one turn, the next are collected too
        connection = r.node.pools.here().current
        p = r.pipeline(transaction=True)
        first, second = p.incr(f"{prefix}n"), p.incr(f"{prefix}n")
        task = asyncio.ensure_future(p.execute())
        await asyncio.sleep(0)  # waiting for the write, which comes at the end of this turn
        connection.connection_lost(None)
        assert await task == [1, 2]
        assert (await first, await second) == (1, 2)


@pytest.mark.parametrize("transaction", [False, True], ids=["plain", "transaction"])
async def test_what_may_have_run_is_sent_again_only_if_harmless(server: Server, prefix: str, transaction: bool) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.cut_after(3)
        p = r.pipeline(transaction)
        handle = p.incr(f"{prefix}n")
        p.incr(f"{prefix}n")
        with pytest.raises(aioresp.ConnectionLost) as caught:
            await p.execute()
        assert caught.value.outcome == "unknown"
        with pytest.raises(aioresp.ConnectionLost):
            await handle
        async with asyncio.timeout(5):
            while await r.get(f"{prefix}n") != "2":
                await asyncio.sleep(0.01)
        proxy.cut_after(3)
        async with r.pipeline(transaction) as p:
            got = p.get(f"{prefix}n")
        assert await got == "2"
        proxy.cut_after(3)
        async with r.with_options(idempotent=True).pipeline(transaction) as p:
            again = p.set(f"{prefix}n", 5)
        assert await again
        await at_rest(r)


@pytest.mark.parametrize("large", [False, True], ids=["shared", "in pieces"])
async def test_a_connection_that_dies_anywhere(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        small(monkeypatch)
    outcomes = []
    for cut in [*range(0, 30, 3), *range(30, 700, 60)]:
        async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=5, retry=None) as r:
            await r.ping()
            proxy.cut_after(cut)
            p = r.pipeline()
            handles = [p.echo(f"{n}") for n in range(60)]
            try:
                assert await p.execute() == [f"{n}" for n in range(60)]
            except aioresp.ConnectionLost as error:
                outcomes.append(error.outcome)
                for handle in handles:
                    with pytest.raises(aioresp.ConnectionLost):
                        await handle
            proxy.heal()
            await asyncio.sleep(0.005)  # it may be cut behind the last reply
            await at_rest(r)
            await in_step(r)
    assert len(outcomes) > 10
    assert set(outcomes) == {"unknown"}


async def test_a_batch_that_a_server_refuses_for_now_is_sent_again(prefix: str) -> None:
    with start_server() as primary, start_server() as server:
        async with Client(server.url, retry=Retry(100, base=0.01, cap=0.02)) as r, Client(server.url) as admin:
            await admin.call("REPLICAOF", primary.host, primary.port)
            for transaction in (False, True):
                never = r.with_options(retry=None).pipeline(transaction)
                never.incr("n")
                with pytest.raises((aioresp.ReadOnlyError, aioresp.ExecAbortError), match="READONLY"):
                    await never.execute()
            waiting = []
            for transaction in (False, True):
                p = r.pipeline(transaction)
                p.incr("n")
                waiting.append(asyncio.ensure_future(p.execute()))
            await asyncio.sleep(0.1)
            assert not any(task.done() for task in waiting)
            await admin.call("REPLICAOF", "NO", "ONE")
            assert sorted(await asyncio.gather(*waiting)) == [[1], [2]]


async def test_deadlines(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=0.5) as r:
        await r.ping()
        proxy.stall("down")
        p = r.pipeline()
        handles = [p.incr(f"{prefix}n") for _ in range(10)]
        started = time.monotonic()
        with pytest.raises(aioresp.CommandTimeout):
            await p.execute()
        assert 0.4 < time.monotonic() - started < 4.5  # ten deadlines, one after the other, are five
        with pytest.raises(aioresp.CommandTimeout):
            await handles[5]
        proxy.resume()
        await at_rest(r)
        await in_step(r)
        assert r.stats().made == 1


async def test_many_replies_that_keep_arriving_are_not_late(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=0.3) as r:
        await r.set(f"{prefix}k", "x" * 10_000)
        proxy.split = 20_000
        proxy.delay = 0.01
        async with r.pipeline() as p:
            handles = [p.get(f"{prefix}k") for _ in range(300)]
        assert all([len(await handle or "") == 10_000 for handle in handles])


async def test_two_tasks_fill_one_pipeline(server: Server, prefix: str) -> None:
    """Who executes takes what is queued by then."""
    async with Client(server.url) as r:
        p = r.pipeline()
        p.incr(f"{prefix}n")
        first = asyncio.ensure_future(p.execute())
        await asyncio.sleep(0)
        p.incr(f"{prefix}n")
        assert [*await asyncio.gather(first, p.execute())] == [[1], [2]]


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
async def test_small_commands_are_not_held_up_by_a_large_pipeline(server: Server, prefix: str, count: int) -> None:
    async with Client(server.url, timeout=60) as r:
        loop = asyncio.get_running_loop()
        loop.set_debug(False)
        try:
            await r.set(f"{prefix}k", "v" * 32)
            p = r.pipeline()
            for n in range(count):
                p.get(f"{prefix}k")
                if n % 1000 == 0:
                    await asyncio.sleep(0)
            task = asyncio.ensure_future(p.execute())
            waits = []
            began = time.perf_counter()
            while not task.done():
                started = time.perf_counter()
                assert await r.get(f"{prefix}k") == "v" * 32
                waits.append(time.perf_counter() - started)
                await asyncio.sleep(0.001)
            took = time.perf_counter() - began
            assert await task == ["v" * 32] * count
        finally:
            loop.set_debug(True)
        assert len(waits) > 10
        assert statistics.median(waits) < took / 20  # held up, each would take a good part of it
        assert max(waits) < max(0.5, took / 2)


async def test_memory_is_bounded_by_commands_and_replies(server: Server, prefix: str) -> None:
    count = 100_000
    async with Client(server.url) as r:
        await r.set(f"{prefix}k", "v")
        gc.collect()
        tracemalloc.start()
        try:
            p = r.pipeline()
            for _ in range(count):
                p.get(f"{prefix}k")
            queued = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            values = await p.execute()
            peak = tracemalloc.get_traced_memory()[1]
            assert values == ["v"] * count
            del values
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert queued < 300 * count
        assert peak - queued < 120 * count  # the replies, twice a pointer to each, and what is under way
        assert after < queued / 20


# --- What a queued command knows -------------------------------------------------------------------------------------


def queued(handle: object) -> Traits:
    assert isinstance(handle, Queued)
    return handle.traits


@pytest.mark.parametrize("transaction", [False, True])
async def test_a_queued_command_knows_its_keys_whatever_the_size_of_its_arguments(
    server: Server, prefix: str, transaction: bool
) -> None:
    large, key = "v" * 100_000, "k" * 50_000
    async with Client(server.url) as r:
        script = r.register_script("return #KEYS")
        async with r.pipeline(transaction=transaction) as p:
            found = {
                "SET": queued(p.set(f"{prefix}a", large)),
                "MSET": queued(p.mset({f"{prefix}a": large, key: large, f"{prefix}b": "1"})),
                "EVAL": queued(script(keys=[f"{prefix}a", f"{prefix}b"], args=[large], client=p)),
                "EVALSHA": queued(script(keys=[f"{prefix}a", key], args=["1"], client=p)),
                "ZUNIONSTORE": queued(p.zunionstore(f"{prefix}z", [f"{prefix}y", f"{prefix}x"])),
                "SORT": queued(p.sort(f"{prefix}l", get="#", store=f"{prefix}m")),
                "XREAD": queued(p.xread({f"{prefix}s": "0", f"{prefix}t": "0"}, count=1)),
                "MGET": queued(p.mget([f"{prefix}{number}" for number in range(1000)])),
                "NOSUCHCOMMAND": queued(p.call("nosuchcommand", f"{prefix}a", large)),
                "PING": queued(p.ping()),
            }
            await p.reset()
    keys = {name: tuple(str(key, "ascii").removeprefix(prefix) for key in facts.keys) for name, facts in found.items()}
    assert keys == {
        "SET": ("a",),
        "MSET": ("a", key, "b"),
        "EVAL": ("a", "b"),
        "EVALSHA": ("a", key),
        "ZUNIONSTORE": ("z", "y", "x"),
        "SORT": ("l", "m"),
        "XREAD": ("s", "t"),
        "MGET": tuple(map(str, range(1000))),
        "NOSUCHCOMMAND": ("a",),
        "PING": (),
    }
    assert {name for name, facts in found.items() if facts.read_only} == {"XREAD", "MGET"}
    assert all(facts.name == name for name, facts in found.items())


async def test_a_queued_command_knows_what_is_sent_also_if_its_buffer_changes(server: Server, prefix: str) -> None:
    buffer = bytearray(prefix.encode())
    async with Client(server.url) as r, r.pipeline() as p:
        handle = queued(p.get(memoryview(buffer)))
        buffer[:] = bytes(len(buffer))
        assert handle.keys == (prefix.encode(),)
        await p.reset()


@pytest.mark.parametrize("transaction", [False, True])
async def test_values_of_no_keys_have_a_place(server: Server, prefix: str, transaction: bool) -> None:
    async with Client(server.url) as r:
        async with r.pipeline(transaction) as p:
            handles = p.echo("a"), p.mget([]), p.echo("b")
            assert await p.execute() == ["a", [], "b"]
        exactly([await handle for handle in handles], ["a", [], "b"])
        async with r.pipeline() as p:
            await p.watch(prefix)
            exactly(await p.mget([]), [])
            p.multi()
            p.mget([])
            assert await p.execute() == [[]]
        async with r.connection() as c:
            exactly(await c.mget([]), [])


async def test_values_of_no_keys_need_no_server() -> None:
    async with Client("redis://localhost:1") as r:
        exactly(await r.mget([]), [])
        exactly(await asyncio.create_task(r.mget([])), [])
