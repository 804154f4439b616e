"""Transactions: all or nothing, whatever happens to their callers or their connections, and nothing is left behind."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, CommandRefused, Pipeline
from aioresp.contexts import large, routes
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import at_rest, in_step


def make(url: str, protocol: int, **options: Any) -> Client[str]:
    number: Literal[2, 3] = 3 if protocol == 3 else 2
    return Client(url, protocol=number, **options)


async def watches(r: Client[str]) -> int:
    """Return how many keys are watched by whom."""
    return sum((one.watch or 0) for one in await r.client_list())


# --- Without WATCH ----------------------------------------------------------------------------------------------------


async def test_nobody_comes_in_between(server: Server, prefix: str) -> None:
    """On one shared connection, while others use it."""
    async with Client(server.url, limit=1) as r:

        async def transfer() -> None:
            async with r.pipeline(transaction=True) as p:
                p.incr(f"{prefix}a")
                p.decr(f"{prefix}b")
                seen = p.mget(f"{prefix}a", f"{prefix}b")
            a, b = await seen
            assert int(a or 0) + int(b or 0) == 0

        async def meddle() -> None:
            a, b = await r.mget(f"{prefix}a", f"{prefix}b")
            assert int(a or 0) + int(b or 0) == 0

        await asyncio.gather(*(work() for work in [transfer, meddle] * 100))
        assert await r.get(f"{prefix}a") == "100"
        assert r.stats().made == 1


async def test_errors_within_exec_belong_to_their_commands(server: Server, prefix: str, protocol: int) -> None:
    async with make(server.url, protocol) as r:
        p = r.pipeline(transaction=True)
        p.set(f"{prefix}k", "v")
        bad = p.incr(f"{prefix}k")
        last = p.get(f"{prefix}k")
        with pytest.raises(
            aioresp.ResponseError, match=r"command #2 of 3 in the pipeline: ERR value is not an integer"
        ):
            await p.execute()
        assert await last == "v"
        with pytest.raises(aioresp.ResponseError, match=r"ERR value is not an integer.*\[INCRBY '"):
            await bad


@pytest.mark.parametrize("raise_on_error", [True, False])
async def test_a_refused_command_is_named(server: Server, prefix: str, protocol: int, raise_on_error: bool) -> None:
    async with make(server.url, protocol) as r:
        p = r.pipeline(transaction=True)
        good = p.set(f"{prefix}k", "v")
        bad = p.call("GET", f"{prefix}k", "too", "many")
        p.call("NOSUCHCOMMAND")
        with pytest.raises(aioresp.ExecAbortError) as caught:
            await p.execute(raise_on_error=raise_on_error)
        said = str(caught.value)
        assert said.startswith("nothing was done, as command #2 of 3 was refused: ERR wrong number of arguments")
        assert f"[GET '{prefix}k']" in said
        assert caught.value.index == 1
        assert isinstance(caught.value.__cause__, aioresp.ResponseError)
        assert caught.value.__cause__.command == "GET"
        with pytest.raises(aioresp.ResponseError, match="wrong number of arguments"):
            await bad
        with pytest.raises(aioresp.ExecAbortError, match="command #2 of 3"):
            await good
        assert await r.exists(f"{prefix}k") == 0
        await in_step(r)


async def test_a_user_who_may_not_begin_one(prefix: str) -> None:
    with start_server() as server:
        async with Client(server.url) as admin:
            await admin.call("ACL", "SETUSER", "poor", "on", "nopass", "~*", "+@all", "-multi")
            await admin.call("ACL", "SETUSER", "poorer", "on", "nopass", "~*", "+@all", "-exec")
        async with Client(server.url, username="poor", password="x") as r:
            p = r.pipeline(transaction=True)
            p.set("k", "v")
            with pytest.raises(aioresp.NoPermissionError, match="not begun; its commands ran without it, one by one"):
                await p.execute()
        async with Client(server.url, username="poorer", password="x") as r:
            p = r.pipeline(transaction=True)
            p.set("k", "w")
            with pytest.raises(aioresp.RedisError, match="EXEC"):
                await p.execute()
            await in_step(r)
            assert await r.get("k") == "v"


async def test_a_blocking_command_does_not_block_there(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.rpush(f"{prefix}q", "job")
        async with r.pipeline(transaction=True) as p:
            one, none = p.blpop(f"{prefix}q"), p.blpop(f"{prefix}q")
        assert (await one, await none) == ((f"{prefix}q", "job"), None)


# --- With WATCH ------------------------------------------------------------------------------------------------------


async def test_as_redis_py_does_it(server: Server, prefix: str, protocol: int) -> None:
    k = f"{prefix}k"
    async with make(server.url, protocol) as r:
        await r.set(k, 1)
        async with r.pipeline(transaction=True) as p:
            assert await p.watch(k) is True
            assert repr(p) == "Pipeline(0 queued, transaction, watching)"
            value = int(await p.get(k) or 0)
            p.multi()
            done = p.set(k, value + 1)
            read = p.get(k)
            assert await p.execute() == [True, "2"]
            assert (await done, await read) == (True, "2")
            assert r.stats().leased == 0
            p.get(k)  # and again, without WATCH
            assert await p.execute() == ["2"]
        assert r.stats().made <= 2


async def test_a_changed_key(server: Server, prefix: str, protocol: int) -> None:
    k = f"{prefix}k"
    async with make(server.url, protocol) as r:
        p = r.pipeline(transaction=True)
        await p.watch(k, f"{prefix}other")
        p.multi()
        handle = p.set(k, "mine")
        await r.set(k, "theirs")
        with pytest.raises(aioresp.WatchError, match="a watched key was changed"):
            await p.execute()
        with pytest.raises(aioresp.WatchError):
            await handle
        assert await r.get(k) == "theirs"
        await at_rest(r)
        assert await watches(r) == 0
        p.set(k, "now")
        assert await p.execute() == [True]


@pytest.mark.parametrize("end", ["exception", "cancelled", "return", "reset", "unwatch", "queued", "failed"])
async def test_however_it_is_left_the_connection_comes_back_clean(server: Server, prefix: str, end: str) -> None:
    k = f"{prefix}k"
    async with Client(server.url, limit=2) as r:
        await r.set(k, 1)

        async def work() -> None:
            async with r.pipeline(transaction=True) as p:
                await p.watch(k)
                await p.get(k)
                assert r.stats().leased == 1
                if end == "exception":
                    raise KeyError
                if end == "cancelled":
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                    await asyncio.sleep(1)
                if end == "reset":
                    await p.reset()
                if end == "unwatch":
                    await p.unwatch()
                if end == "queued":
                    p.multi()
                    p.set(k, 2)
                    raise KeyError
                if end == "failed":
                    p.multi()
                    p.incr(k)
                    p.lpush(k, 2)

        for _ in range(3):
            try:
                await asyncio.create_task(work())
            except (KeyError, asyncio.CancelledError, aioresp.WrongTypeError):
                pass
            await at_rest(r)
        assert r.stats().made <= 2  # never dropped
        assert r.stats().open == r.stats().made
        for one in await r.client_list():
            assert not one.watch
            assert "x" not in one.flags
        await in_step(r)


async def test_a_pipeline_that_is_forgotten_while_it_watches_warns(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        p = r.pipeline()
        await p.watch(f"{prefix}k")
        with pytest.warns(ResourceWarning, match="a pipeline watched keys and was neither executed nor reset"):
            del p


async def test_what_watch_and_multi_refuse(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        p = r.pipeline()
        with pytest.raises(ValueError, match="names is empty"):
            await p.watch()
        p.get("k")
        with pytest.raises(CommandRefused, match=r"queued before multi\(\)"):
            p.multi()
        await p.reset()
        p.multi()
        with pytest.raises(CommandRefused, match="already"):
            p.multi()
        with pytest.raises(CommandRefused, match="before multi"):
            await p.watch("k")
        await p.reset()
        assert await p.unwatch() is True
        assert await p.execute() == []
        assert r.stats().made == 0


async def test_multi_makes_a_transaction(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        p = r.pipeline()
        p.multi()
        p.set(f"{prefix}k", 1)
        p.call("NOSUCHCOMMAND")
        with pytest.raises(aioresp.ExecAbortError):
            await p.execute()
        assert await r.exists(f"{prefix}k") == 0


async def test_on_a_lease_the_lease_watches(server: Server, prefix: str) -> None:
    k = f"{prefix}k"
    async with Client(server.url) as r:
        async with r.connection() as c:
            async with c.pipeline(transaction=True) as p:
                await p.watch(k)
                await r.set(k, "theirs")
                p.multi()
                p.set(k, "mine")
                with pytest.raises(aioresp.WatchError):
                    await p.execute()
            async with c.pipeline(transaction=True) as p:
                await p.watch(k)
                assert await p.get(k) == "theirs"
            assert await c.get(k) == "theirs"
            await r.set(k, "again")
            async with c.pipeline(transaction=True) as p:
                done = p.set(k, "mine")
            assert await done
        assert r.stats().leased == 0


# --- WATCH without commands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multi", [True, False], ids=["multi", "no multi"])
@pytest.mark.parametrize("transaction", [True, False], ids=["transaction", "plain"])
async def test_what_was_only_read_is_checked(
    server: Server, prefix: str, protocol: int, transaction: bool, multi: bool
) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    async with make(server.url, protocol, limit=2) as r:
        for change in (True, False):
            async with r.pipeline(transaction) as p:
                await p.watch(a, b)
                await p.get(a)
                if change:
                    await r.mset({a: 1, b: 1})
                await p.get(b)
                if multi:
                    p.multi()
                if change:
                    with pytest.raises(aioresp.WatchError, match="a watched key was changed"):
                        await p.execute()
                else:
                    assert await p.execute() == []
                assert await p.execute() == []  # nothing is watched any more
                p.get(a)
                assert await p.execute() == ["1"]
        await at_rest(r)
        assert r.stats().made <= 2
        await in_step(r)


async def test_the_end_of_a_block_checks_what_was_only_read(server: Server, prefix: str) -> None:
    k = f"{prefix}k"
    async with Client(server.url, limit=2) as r:

        async def read(multi: bool, change: bool) -> None:
            async with r.pipeline() as p:
                await p.watch(k)
                await p.get(k)
                if change:
                    await r.incr(k)
                if multi:
                    p.multi()

        with pytest.raises(aioresp.WatchError):
            await read(multi=True, change=True)
        await read(multi=True, change=False)
        await read(multi=False, change=True)  # it has asked for no transaction
        await at_rest(r)
        assert await r.get(k) == "2"
        assert r.stats().made <= 2


async def test_what_was_queued_before_watch_is_checked_too(server: Server, prefix: str) -> None:
    k = f"{prefix}k"
    async with Client(server.url) as r:
        p = r.pipeline()
        p.set(k, "mine")
        await p.watch(k)
        await r.set(k, "theirs")
        with pytest.raises(aioresp.WatchError):
            await p.execute()
        assert await r.get(k) == "theirs"


@pytest.mark.parametrize("value", [False, True], ids=["values", "value from callable"])
@pytest.mark.parametrize("multi", [True, False], ids=["multi", "no multi"])
async def test_a_function_that_only_reads_is_called_again(
    server: Server, prefix: str, multi: bool, value: bool
) -> None:
    """What it returns are values of one moment."""
    a, b = f"{prefix}a", f"{prefix}b"
    calls = 0
    async with Client(server.url) as r:

        async def read(p: Pipeline[str]) -> tuple[str | None, str | None]:
            nonlocal calls
            calls += 1
            first = await p.get(a)
            if calls < 3:
                await r.mset({a: calls, b: calls})
            second = await p.get(b)
            if multi:
                p.multi()
            return first, second

        if value:
            assert await r.transaction(read, a, b, value_from_callable=True) == ("2", "2")
        else:
            assert await r.transaction(read, a, b) == []
        assert calls == 3
        await at_rest(r)
        assert await r.transaction(lambda p: None) == []

        async def lose(p: Pipeline[str]) -> None:
            await r.incr(a)

        with pytest.raises(aioresp.WatchError, match="in each of 2 attempts"):
            await r.transaction(lose, a, attempts=2)
        await at_rest(r)


async def test_what_a_lease_watches_is_checked_by_an_empty_transaction(server: Server, prefix: str) -> None:
    k = f"{prefix}k"
    async with Client(server.url) as r, r.connection() as c:
        for ending in ("execute", "block"):
            await c.call("WATCH", k)
            await r.incr(k)
            with pytest.raises(aioresp.WatchError):
                async with c.pipeline(transaction=True) as p:
                    if ending == "execute":
                        await p.execute()
        async with c.pipeline(transaction=True) as p:
            assert await p.execute() == []
        async with c.pipeline() as p:
            await p.watch(k)
            await r.incr(k)
            p.multi()
            with pytest.raises(aioresp.WatchError):
                await p.execute()
        assert await c.get(k) == "3"


@pytest.mark.parametrize("end", ["cancelled", "closed", "lost"])
async def test_an_empty_transaction_that_does_not_end_leaves_its_connection_clean(
    server: Server, prefix: str, end: str
) -> None:
    k = f"{prefix}k"
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=5, limit=2) as r:
        p = r.pipeline()
        await p.watch(k)
        p.multi()
        if end == "closed":
            step = p.execute()
            step.send(None)
            step.close()
        elif end == "cancelled":
            call = asyncio.create_task(p.execute())
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        else:
            proxy.cut_after(0, "down")
            with pytest.raises(aioresp.ConnectionLost):
                await p.execute()
            proxy.heal()
        await at_rest(r)
        await r.incr(k)
        async with r.connection() as c:
            await c.call("MULTI")
            assert await c.call("EXEC") == []
        await in_step(r)


# --- Attempts --------------------------------------------------------------------------------------------------------


async def test_attempts_until_nobody_was_faster(server: Server, prefix: str, protocol: int) -> None:
    k = f"{prefix}n"
    calls = 0

    async def increment(p: Pipeline[str]) -> int:
        nonlocal calls
        calls += 1
        number = int(await p.get(k) or 0)
        p.multi()
        p.set(k, number + 1)
        p.get(k)
        return number

    async with make(server.url, protocol) as r:
        results = await asyncio.gather(*(r.transaction(increment, k) for _ in range(20)))
        assert sorted(int(result[1]) for result in results) == list(range(1, 21))
        assert await r.get(k) == "20"
        assert calls > 20
        assert await r.transaction(increment, k, value_from_callable=True) == 20
        await at_rest(r)
        assert await watches(r) == 0


async def test_attempts_have_a_bound(server: Server, prefix: str) -> None:
    k = f"{prefix}n"
    calls = 0
    async with Client(server.url) as r:

        async def lose(p: Pipeline[str]) -> None:
            nonlocal calls
            calls += 1
            await r.incr(k)
            p.multi()
            p.set(k, 0)

        with pytest.raises(aioresp.WatchError, match="in each of 3 attempts"):
            await r.transaction(lose, k, attempts=3)
        assert (calls, await r.get(k)) == (3, "3")
        for wrong in (0, True, 1.5):
            with pytest.raises(ValueError, match="attempts is"):
                await r.transaction(lose, k, attempts=wrong)  # type: ignore[arg-type]
        await at_rest(r)


async def test_what_may_be_called(server: Server, prefix: str) -> None:
    k = f"{prefix}n"
    async with Client(server.url) as r:

        def queue(p: Pipeline[str]) -> str:
            p.incr(k)
            p.incr(k)
            return "mine"

        assert await r.transaction(queue) == [1, 2]
        assert await r.transaction(queue, value_from_callable=True) == "mine"
        assert await r.transaction(lambda p: p.incr(k)) == [5]
        assert await r.transaction(lambda p: p.incr(k), value_from_callable=True) == 6

        def fail(p: Pipeline[str]) -> None:
            p.multi()
            p.incr(k)
            raise KeyError

        with pytest.raises(KeyError):
            await r.transaction(fail, k)
        assert await r.get(k) == "6"
        await at_rest(r)
        assert await watches(r) == 0


# --- Connections that die --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_pieces", [False, True], ids=["shared", "in pieces"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_connection_that_dies_anywhere_leaves_all_or_nothing(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch, in_pieces: bool, direction: Literal["up", "down"]
) -> None:
    if in_pieces:
        monkeypatch.setattr(routes, "LARGE", 10)
        monkeypatch.setattr(large, "PIECE", 100)
    done = lost = 0
    for cut in range(0, 5200 if direction == "up" else 400, 260 if direction == "up" else 20):
        keys = [f"{prefix}{cut}:{n}" for n in range(25)]
        async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=5) as r:
            await r.ping()
            proxy.cut_after(cut, direction)
            p = r.pipeline(transaction=True)
            for key in keys:
                p.set(key, 1, ex=60)
            try:
                assert await p.execute() == [True] * 25
            except aioresp.ConnectionLost:
                lost += 1
            proxy.heal()
            await asyncio.sleep(0.005)  # it may be cut behind the last reply
            await at_rest(r)
            await in_step(r)
            there = await r.exists(*keys)
            assert there in (0, 25)
            done += there == 25
    assert lost
    assert done


@pytest.mark.parametrize("cut", range(0, 120, 10))
async def test_a_connection_that_dies_while_it_watches(server: Server, prefix: str, cut: int) -> None:
    k = f"{prefix}k"
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=5, limit=2) as r:
        await r.set(k, 0)
        async with r.pipeline(transaction=True) as p:
            await p.watch(k)
            proxy.cut_after(cut)
            try:
                number = int(await p.get(k) or 0)
                p.multi()
                p.set(k, number + 1)
                p.incr(k)
                await p.execute()
            except aioresp.ConnectionLost:
                pass
        proxy.heal()
        await at_rest(r)
        await in_step(r)
        assert await r.get(k) in ("0", "2")


async def test_an_empty_transaction_sends_nothing_where_nothing_is_watched(server: Server) -> None:
    async with Client(server.url) as r, r.connection() as c:
        await c.ping()
        sent = r.stats().commands
        async with c.pipeline(transaction=True) as p:
            assert await p.execute() == []
        assert r.stats().commands == sent
