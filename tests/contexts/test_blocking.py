"""Blocking commands whose callers go: nothing is lost, the connection goes on, and what cannot be saved is reported."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, CommandTimeout, Lost
from aioresp.contexts import blocking
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import at_rest, in_step, tasks_besides

#: Scores of which a careless way back would lose something.
SCORES = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), -0.0, 2**53 + 2.0, 1e22]

Since = Callable[..., None]
Wait = Callable[[Client[Any], str], Awaitable[object]]

# What is there before, the command, what it would take, and since which server there is such a command.
LISTS: dict[str, tuple[Wait, tuple[int, int]]] = {
    "blpop": (lambda r, k: r.blpop(k), (2, 0)),
    "brpop": (lambda r, k: r.brpop([f"{k}:other", k], 0), (2, 0)),
    "call": (lambda r, k: r.call("blpop", k, "0"), (2, 0)),
    "blmpop-left": (lambda r, k: r.call("BLMPOP", 0, 2, f"{k}:other", k, "LEFT", "COUNT", 3), (7, 0)),
    "blmpop-right": (lambda r, k: r.call("BLMPOP", 0, 1, k, b"right", "COUNT", 3), (7, 0)),
    "blmpop-all": (lambda r, k: r.call("BLMPOP", 0, 1, k, "RIGHT", "COUNT", 99), (7, 0)),
}
SORTED_SETS: dict[str, tuple[Wait, tuple[int, int]]] = {
    "bzpopmin": (lambda r, k: r.bzpopmin(k), (5, 0)),
    "bzpopmax": (lambda r, k: r.bzpopmax([f"{k}:other", k], 0), (5, 0)),
    "bzmpop": (lambda r, k: r.call("BZMPOP", 0, 1, k, "MIN", "COUNT", 4), (7, 0)),
    "bzmpop-all": (lambda r, k: r.call("BZMPOP", 0, 1, k, "MAX", "COUNT", 99), (7, 0)),
}
POPS = LISTS | SORTED_SETS
OTHERS: dict[str, tuple[Wait, tuple[int, int]]] = {
    "blmove": (lambda r, k: r.blmove(k, f"{k}:to", 0), (6, 2)),
    "brpoplpush": (lambda r, k: r.brpoplpush(k, f"{k}:to", 0), (2, 2)),
    "xread": (lambda r, k: r.xread({f"{k}:stream": "$"}, block=0), (5, 0)),
    "xreadgroup": (lambda r, k: r.xreadgroup("group", "me", {f"{k}:stream": ">"}, block=0), (5, 0)),
}


@pytest.fixture
def since(server: Server) -> Since:
    def check(*version: int) -> None:
        if server.version < version:
            pytest.skip(f"needs a server of {version}")

    return check


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was logged as an error by now."""
    caplog.set_level(logging.DEBUG, logger="aioresp")
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR and r.name == "aioresp"]


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server() as running:
        yield running


async def cancel(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def is_blocked(direct: Client[Any], count: int = 1) -> None:
    """Wait until so many clients of the server are blocked."""
    async with asyncio.timeout(5):
        while (await direct.info("clients"))["blocked_clients"] < count:
            await asyncio.sleep(0.005)


async def is_written(r: Client[Any]) -> None:
    """Wait until a command is on its way on a lease."""
    async with asyncio.timeout(5):
        while not (r.stats().leased and r.stats().in_flight):
            await asyncio.sleep(0.005)


async def fill(direct: Client[Any], key: str, command: str) -> object:
    """Put elements there, and return how to find them unchanged."""
    if command in LISTS:
        await direct.rpush(key, b"\xff\x00", "a", "b", "b", "c")
    else:
        await direct.zadd(key, {f"m{n}": score for n, score in enumerate(SCORES)})
    return await found(direct, key, command)


async def found(direct: Client[Any], key: str, command: str) -> object:
    if command in LISTS:
        return await direct.lrange(key, 0, -1)
    return await direct.zrange(key, 0, -1, withscores=True)


# --- Nothing had been popped ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*POPS, *OTHERS])
async def test_a_cancelled_wait_ends_on_the_server_and_keeps_its_connection(
    server: Server, prefix: str, since: Since, resp: Literal[2, 3], command: str, errors: Callable[[], list[str]]
) -> None:
    wait, version = (POPS | OTHERS)[command]
    since(*version)
    async with Client(server.url, protocol=resp) as r, Client(server.url) as direct:
        await direct.xgroup_create(f"{prefix}k:stream", "group", mkstream=True)
        await r.ping()
        for _ in range(3):
            task = asyncio.ensure_future(wait(r, f"{prefix}k"))
            await is_blocked(direct)
            await cancel(task)
            await at_rest(r)
            assert (await direct.info("clients"))["blocked_clients"] == 0
        await in_step(r)
        assert r.stats().made == r.stats().open <= 2
    assert errors() == []


async def test_the_caller_is_released_at_once(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        await r.ping()
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await asyncio.sleep(0.05)
        proxy.delay = 0.2
        started = time.monotonic()
        await cancel(task)
        assert time.monotonic() - started < 0.1
        assert r.stats().leased == 1
        await at_rest(r)
        assert r.stats().open == r.stats().made


async def test_an_unblock_that_comes_before_the_pop_is_sent_again(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())  # so that two connections are open
        delays = [0.15]
        proxy.delay = lambda: delays.pop() if delays else 0.0
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await asyncio.sleep(0.02)  # the pop is on its way, and stays there for a while
        assert delays == []
        calls = (await r.info("commandstats")).get("cmdstat_client|unblock", {"calls": 0})["calls"]
        await cancel(task)
        await at_rest(r)
        stats = await r.info("commandstats")
        if "cmdstat_client|unblock" in stats:  # since 7.0
            assert stats["cmdstat_client|unblock"]["calls"] - calls >= 2
        assert r.stats().made == r.stats().open == 2


async def test_a_late_unblock_does_not_end_the_next_command(server: Server, prefix: str) -> None:
    """The connection is not given back while a CLIENT UNBLOCK for it is under way."""
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, limit=2) as r, Client(server.url) as direct:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await is_blocked(direct)
        delays = [0.2]
        proxy.delay = lambda: delays.pop() if delays else 0.0
        await cancel(task)
        await asyncio.sleep(0.02)
        assert delays == []  # this is how long the CLIENT UNBLOCK is on its way
        await direct.rpush(f"{prefix}q", "job")  # ends the pop at once
        await asyncio.sleep(0.05)
        assert await direct.lrange(f"{prefix}q", 0, -1) == ["job"]  # and was put back
        waiting = asyncio.create_task(r.blpop(f"{prefix}other", 5))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await direct.rpush(f"{prefix}other", "mine")
        assert await waiting == (f"{prefix}other", "mine")
        assert r.stats().made == 2


# --- An element had been popped --------------------------------------------------------------------------------------


@pytest.mark.parametrize("decode", [True, False], ids=["str", "bytes"])
@pytest.mark.parametrize("command", POPS)
async def test_elements_are_put_back_where_they_were(
    server: Server, prefix: str, since: Since, resp: Literal[2, 3], decode: bool, command: str
) -> None:
    wait, version = POPS[command]
    since(*version)
    key = f"{prefix}k"
    async with Proxy(server.host, server.port) as proxy, Client(server.url, decode_responses=False) as direct:
        r: Client[Any] = (
            Client(proxy.url, protocol=resp) if decode else Client(proxy.url, protocol=resp, decode_responses=False)
        )
        async with r:
            await r.ping()
            before = await fill(direct, key, command)
            proxy.delay = 0.02
            task = asyncio.ensure_future(wait(r, key))
            async with asyncio.timeout(5):
                while await found(direct, key, command) == before:
                    await asyncio.sleep(0.002)
            await cancel(task)  # the reply is on its way
            await at_rest(r)
            assert await found(direct, key, command) == before
            assert r.stats().made == r.stats().open


@pytest.mark.parametrize("command", POPS)
async def test_a_reply_and_a_cancellation_in_the_same_turn(
    server: Server, prefix: str, since: Since, command: str
) -> None:
    """Wherever between the reply and the task that it wakes the cancellation comes: no element is lost or doubled."""
    wait, version = POPS[command]
    since(*version)
    key = f"{prefix}k"
    raw: Client[Any] = Client(server.url, decode_responses=False)
    async with raw as r, Client(server.url, decode_responses=False) as direct:
        await r.ping()
        before = await fill(direct, key, command)
        outcomes = []
        for turns in range(12):
            task = asyncio.ensure_future(wait(r, key))
            await asyncio.sleep(0)
            async with asyncio.timeout(5):
                while not any(connection.in_flight for connection in r._loops.pool()._leased):
                    await asyncio.sleep(0)
                while any(connection.in_flight for connection in r._loops.pool()._leased):
                    await asyncio.sleep(0)
            for _ in range(turns // 4):
                await asyncio.sleep(0)
            task.cancel()
            outcomes.append((await asyncio.gather(task, return_exceptions=True))[0])
            await at_rest(r)
            if isinstance(outcomes[-1], asyncio.CancelledError):
                assert await found(direct, key, command) == before
            else:
                assert await found(direct, key, command) != before
                await direct.delete(key)
                await fill(direct, key, command)
        assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert any(isinstance(outcome, (tuple, list)) for outcome in outcomes)


async def test_a_score_that_was_set_meanwhile_stays(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        await r.ping()
        await direct.zadd(f"{prefix}z", {"m": 1})
        proxy.delay = 0.1
        task = asyncio.create_task(r.bzpopmin(f"{prefix}z"))
        await asyncio.sleep(0.05)
        await cancel(task)
        async with asyncio.timeout(5):
            while await direct.exists(f"{prefix}z"):
                await asyncio.sleep(0.002)
        await direct.zadd(f"{prefix}z", {"m": 5})
        await at_rest(r)
        assert await direct.zscore(f"{prefix}z", "m") == 5


async def test_moves_and_streams_need_no_putting_back(server: Server, prefix: str, since: Since) -> None:
    since(6, 2)
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        await r.ping()
        await direct.xgroup_create(f"{prefix}s", "group", mkstream=True)
        await direct.xadd(f"{prefix}s", {"a": 1})
        await direct.rpush(f"{prefix}from", "job")
        proxy.delay = 0.05
        task: asyncio.Future[Any] = asyncio.ensure_future(r.blmove(f"{prefix}from", f"{prefix}to", 0))
        async with asyncio.timeout(5):
            while await direct.exists(f"{prefix}from"):
                await asyncio.sleep(0.002)
        await cancel(task)
        task = asyncio.ensure_future(r.xreadgroup("group", "me", {f"{prefix}s": ">"}, block=0))
        async with asyncio.timeout(5):
            while not (await direct.xpending(f"{prefix}s", "group")).pending:
                await asyncio.sleep(0.002)
        await cancel(task)
        await at_rest(r)
        assert await direct.lrange(f"{prefix}to", 0, -1) == ["job"]
        assert (await direct.xpending(f"{prefix}s", "group")).pending == 1


# --- Deadlines --------------------------------------------------------------------------------------------------------


async def test_a_pop_that_is_later_than_the_server_said_is_put_back(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "GRACE", 0.1)
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=0.05) as r:
        await r.ping()
        async with Client(server.url) as direct:
            task = asyncio.create_task(r.blpop(f"{prefix}q", 0.2))
            await is_blocked(direct)
            proxy.stall("down")
            await direct.rpush(f"{prefix}q", "job")
            started = time.monotonic()
            with pytest.raises(CommandTimeout, match=r"no reply in 0\.3 s \[BLPOP 'test_"):
                await task
            assert time.monotonic() - started < 1
            assert await direct.lrange(f"{prefix}q", 0, -1) == []
            proxy.resume()
            await at_rest(r)
            assert await direct.lrange(f"{prefix}q", 0, -1) == ["job"]


async def test_a_pop_without_an_end_is_not_cut_by_the_deadline_of_the_client(server: Server, prefix: str) -> None:
    async with Client(server.url, timeout=0.05) as r:
        task = asyncio.create_task(r.brpop(f"{prefix}q", 0))
        await asyncio.sleep(0.3)
        assert not task.done()
        await r.with_options(timeout=5).lpush(f"{prefix}q", "job")
        assert await task == (f"{prefix}q", "job")


async def test_a_big_reply_that_keeps_arriving_is_not_late(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "GRACE", 0.4)  # a third of what it takes in all
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        await r.ping()
        await direct.rpush(f"{prefix}q", "x" * 400_000)
        turns = iter(range(10**6))

        def piece() -> int:
            time.sleep(0.003)  # the proxy sends but one piece in a turn of the loop
            return next(turns) and 1000

        proxy.split = piece
        popped = await r.blpop(f"{prefix}q", 0.01)
        assert popped is not None
        assert len(popped[1]) == 400_000


# --- What cannot be put back ------------------------------------------------------------------------------------------


async def test_a_connection_that_ends_is_reported(server: Server, prefix: str, errors: Callable[[], list[str]]) -> None:
    losses: list[Lost] = []
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, on_lost=losses.append) as r:
        await r.ping()
        task = asyncio.create_task(r.brpop(f"{prefix}q"))
        await is_written(r)
        proxy.stall()
        await cancel(task)
        assert losses == []
        proxy.cut()
        await at_rest(r)
        (lost,) = losses
        assert lost.command == ("BRPOP", f"{prefix}q", 0)
        assert (lost.key, lost.elements, lost.scores) == (None, (), ())
        assert isinstance(lost.error, aioresp.ConnectionLost)
        (line,) = errors()
        assert line.startswith("BRPOP 'test_")
        assert "an element may be lost: its connection ended" in line


async def test_a_caller_who_learns_of_the_end_of_the_connection_is_told_nothing_twice(
    server: Server, prefix: str, errors: Callable[[], list[str]]
) -> None:
    losses: list[Lost] = []
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, on_lost=losses.append) as r:
        task = asyncio.create_task(r.brpop(f"{prefix}q"))
        await is_written(r)
        proxy.cut()
        with pytest.raises(aioresp.ConnectionLost) as caught:
            await task
        assert caught.value.outcome == "unknown"
        await at_rest(r)
    assert (losses, errors()) == ([], [])


async def test_a_move_whose_connection_ends_loses_nothing(
    server: Server, prefix: str, errors: Callable[[], list[str]]
) -> None:
    losses: list[Lost] = []
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, on_lost=losses.append) as r:
        task = asyncio.create_task(r.brpoplpush(f"{prefix}q", f"{prefix}to"))
        await is_written(r)
        proxy.stall()
        await cancel(task)
        proxy.cut()
        await at_rest(r)
    assert (losses, errors()) == ([], [])


async def test_the_connection_ends_right_behind_the_reply(server: Server, prefix: str) -> None:
    """The element is known, and goes back on another connection."""
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await is_blocked(direct)
        (leased,) = r._loops.pool()._leased
        proxy.stall()
        await cancel(task)
        await direct.rpush(f"{prefix}q", "job")
        reply = f"*2\r\n${len(prefix) + 1}\r\n{prefix}q\r\n$3\r\njob\r\n"
        # The bytes and the end of the stream reach the connection in one turn of the loop.
        leased.data_received(reply.encode())
        leased.close()
        proxy.resume()
        await at_rest(r)
        assert await direct.lrange(f"{prefix}q", 0, -1) == ["job"]


async def test_a_key_that_became_something_else_is_reported_with_its_element(
    server: Server, prefix: str, errors: Callable[[], list[str]]
) -> None:
    losses: list[Lost] = []
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, on_lost=losses.append) as r,
        Client(server.url) as direct,
    ):
        await r.ping()
        await direct.zadd(f"{prefix}z", {b"\xff": 0.1})
        proxy.delay = 0.1
        task = asyncio.create_task(r.bzpopmax(f"{prefix}z"))
        await asyncio.sleep(0.05)
        await cancel(task)
        async with asyncio.timeout(5):
            while await direct.exists(f"{prefix}z"):
                await asyncio.sleep(0.002)
        await direct.set(f"{prefix}z", "text")
        await at_rest(r)
        (lost,) = losses
        assert (lost.key, lost.elements, lost.scores) == (f"{prefix}z".encode(), (b"\xff",), (0.1,))
        assert isinstance(lost.error, aioresp.WrongTypeError)
        assert "elements lost: 1: WRONGTYPE" in errors()[0]
        assert r.stats().open == r.stats().made


async def test_an_element_that_is_no_text_is_reported(
    server: Server, prefix: str, errors: Callable[[], list[str]]
) -> None:
    losses: list[Lost] = []
    async with Client(server.url, on_lost=losses.append) as r:
        await r.rpush(f"{prefix}q", b"\xff")
        with pytest.raises(aioresp.DecodeError, match="not UTF-8"):
            await r.blpop(f"{prefix}q")
        assert [lost.elements for lost in losses] == [(b"\xff",)]
        assert len(errors()) == 1
        assert await r.llen(f"{prefix}q") == 0
        assert (r.stats().leased, r.stats().open) == (0, r.stats().made)


async def test_a_hook_that_fails_is_logged(server: Server, prefix: str, errors: Callable[[], list[str]]) -> None:
    def hook(lost: Lost) -> None:
        raise RuntimeError("hook")

    async with Client(server.url, on_lost=hook) as r:
        await r.rpush(f"{prefix}q", b"\xff")
        with pytest.raises(aioresp.DecodeError):
            await r.blpop(f"{prefix}q")
    assert errors()[1] == "on_lost raised an error"


async def test_who_may_not_unblock_loses_the_connection(
    own_server: Server, prefix: str, errors: Callable[[], list[str]]
) -> None:
    losses: list[Lost] = []
    async with Client(own_server.url) as direct:
        await direct.call("ACL", "SETUSER", "worker", "on", ">pw", "~*", "+@all", "-client")
        async with Client(own_server.url, username="worker", password="pw", on_lost=losses.append) as r:
            task = asyncio.create_task(r.blpop(f"{prefix}q"))
            await is_blocked(direct)
            await cancel(task)
            await at_rest(r)
            async with asyncio.timeout(5):
                while (await direct.info("clients"))["blocked_clients"]:
                    await asyncio.sleep(0.01)
            assert [lost.elements for lost in losses] == [()]
            assert "an element may be lost: CLIENT UNBLOCK was refused: NOPERM" in errors()[0]
            await in_step(r)


async def test_who_may_not_push_is_told_what_was_lost(
    own_server: Server, prefix: str, errors: Callable[[], list[str]]
) -> None:
    losses: list[Lost] = []
    async with Proxy(own_server.host, own_server.port) as proxy, Client(own_server.url) as direct:
        await direct.call("ACL", "SETUSER", "worker", "on", ">pw", "~*", "+@all", "-lpush")
        await direct.rpush(f"{prefix}q", "job")
        async with Client(proxy.url, username="worker", password="pw", on_lost=losses.append) as r:
            await r.ping()
            proxy.delay = 0.05
            task = asyncio.create_task(r.blpop(f"{prefix}q"))
            async with asyncio.timeout(5):
                while await direct.exists(f"{prefix}q"):
                    await asyncio.sleep(0.002)
            await cancel(task)
            await at_rest(r)
            assert [lost.elements for lost in losses] == [(b"job",)]
            assert isinstance(losses[0].error, aioresp.NoPermissionError)
            assert "elements lost: 1" in errors()[0]


async def test_a_server_that_is_loaded_or_full_gets_the_element_later(own_server: Server, prefix: str) -> None:
    """OOM and its like pass by themselves."""
    async with Proxy(own_server.host, own_server.port) as proxy, Client(own_server.url) as direct:
        await direct.rpush(f"{prefix}q", "job")
        async with Client(proxy.url) as r:
            await r.ping()
            proxy.delay = 0.05
            task = asyncio.create_task(r.blpop(f"{prefix}q"))
            async with asyncio.timeout(5):
                while await direct.exists(f"{prefix}q"):
                    await asyncio.sleep(0.002)
            await direct.config_set("maxmemory", 1)
            await cancel(task)
            await asyncio.sleep(0.4)
            assert r.stats().leased == 1
            await direct.config_set("maxmemory", 0)
            await at_rest(r)
            assert await direct.lrange(f"{prefix}q", 0, -1) == ["job"]


@pytest.mark.parametrize("command", [*POPS, "blmove", "xreadgroup"])
async def test_a_paused_server_survives(own_server: Server, prefix: str, since: Since, command: str) -> None:
    """CLIENT UNBLOCK of a command that CLIENT PAUSE WRITE holds back crashes Redis 6.2 to 8.0 and Valkey to 8.1.1."""
    wait, version = (POPS | OTHERS)[command]
    since(*version)
    since(6, 2)
    async with Client(own_server.url) as r, Client(own_server.url) as direct:
        await direct.xgroup_create(f"{prefix}k:stream", "group", mkstream=True)
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())
        await direct.client_pause(300, all=False)
        task = asyncio.ensure_future(wait(r, f"{prefix}k"))
        await asyncio.sleep(0.05)
        await cancel(task)
        await at_rest(r)
        assert await direct.ping()
        assert (await direct.info("clients"))["blocked_clients"] == 0
        assert r.stats().made == r.stats().open


async def test_what_has_not_begun_to_wait_is_sent_again(own_server: Server, prefix: str) -> None:
    """A replica that becomes a primary, for instance; what was lost while it waited is another matter."""
    async with Client(own_server.url) as r, Client(own_server.url) as direct:
        await direct.call("REPLICAOF", "127.0.0.1", 1)
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await asyncio.sleep(0.1)
        assert not task.done()
        await direct.call("REPLICAOF", "NO", "ONE")
        await is_blocked(direct)
        await direct.rpush(f"{prefix}q", "job")
        assert await task == (f"{prefix}q", "job")


async def test_a_read_that_was_lost_while_it_waited_is_not_sent_again(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        task = asyncio.ensure_future(r.xread({f"{prefix}s": "$"}, block=0))
        await asyncio.sleep(0.1)
        proxy.cut()
        with pytest.raises(aioresp.ConnectionLost):
            await task


# --- The end of the client and of the loop ---------------------------------------------------------------------------


async def test_closing_waits_until_elements_are_put_back(server: Server, prefix: str) -> None:
    before = tasks_besides()
    async with Proxy(server.host, server.port) as proxy, Client(server.url) as direct:
        async with Client(proxy.url) as r:
            await r.ping()
            await direct.rpush(f"{prefix}q", "1", "2")
            proxy.delay = 0.1
            task = asyncio.create_task(r.blpop(f"{prefix}q"))
            await asyncio.sleep(0.05)
            await cancel(task)
        assert await direct.lrange(f"{prefix}q", 0, -1) == ["1", "2"]
    assert tasks_besides() <= before


async def test_closing_ends_the_pops_under_way(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(server.url) as direct:
        async with Client(proxy.url) as r:
            await r.ping()
            await direct.rpush(f"{prefix}full", "job")
            waiting = asyncio.create_task(r.blpop(f"{prefix}empty"))
            await is_blocked(direct)
            proxy.delay = 0.05
            popping = asyncio.create_task(r.blpop(f"{prefix}full"))
            async with asyncio.timeout(5):
                while await direct.exists(f"{prefix}full"):
                    await asyncio.sleep(0.002)
        for task in (waiting, popping):
            with pytest.raises(aioresp.ClientClosed, match=r"the client was closed \[BLPOP"):
                await task
        assert (await direct.info("clients"))["blocked_clients"] == 0
        assert await direct.lrange(f"{prefix}full", 0, -1) == ["job"]


async def test_closing_does_not_wait_for_ever(server: Server, prefix: str, errors: Callable[[], list[str]]) -> None:
    losses: list[Lost] = []
    async with Proxy(server.host, server.port) as proxy:
        r = Client(proxy.url, on_lost=losses.append)
        await r.ping()
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await is_written(r)
        proxy.stall()
        await cancel(task)
        started = time.monotonic()
        await r.aclose()
        assert time.monotonic() - started < 4
        assert [lost.elements for lost in losses] == [()]
        assert len(errors()) == 1


LEAVERS: dict[str, Callable[[Client[str], str], Awaitable[None]]] = {}


def leaver(function: Callable[[Client[str], str], Awaitable[None]]) -> Callable[[Client[str], str], Awaitable[None]]:
    LEAVERS[function.__name__] = function
    return function


@leaver
async def cancels_and_goes(r: Client[str], key: str) -> None:
    task = asyncio.create_task(r.blpop(key))
    await asyncio.sleep(0.05)
    task.cancel()


@leaver
async def goes(r: Client[str], key: str) -> None:
    asyncio.create_task(r.blpop(key))  # noqa: RUF006
    await asyncio.sleep(0.05)


@leaver
async def goes_while_it_is_settled(r: Client[str], key: str) -> None:
    task = asyncio.create_task(r.blpop(key))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.02)


@contextmanager
def slow_network(server: Server) -> Iterator[str]:
    """A proxy in a loop of its own, which goes on when the loops of the clients end."""
    loop = asyncio.new_event_loop()
    proxy = Proxy(server.host, server.port, delay=0.03)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(5)
        yield proxy.url
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def command(server: Server, *words: str) -> Any:
    async def send() -> Any:
        async with Client(server.url) as r:
            return await r.call(*words)

    return asyncio.run(send())


@pytest.mark.parametrize("leave", LEAVERS)
def test_a_loop_that_ends_puts_back_first(
    server: Server, prefix: str, leave: str, errors: Callable[[], list[str]]
) -> None:
    """asyncio.run() cancels what is left, and then gives the client time to see to it, closed or not."""
    command(server, "RPUSH", f"{prefix}q", "1", "2")
    with slow_network(server) as url:
        r = Client(url)

        async def work() -> None:
            await r.ping()
            await LEAVERS[leave](r, f"{prefix}q")

        asyncio.run(work())
    assert command(server, "LRANGE", f"{prefix}q", "0", "-1") == ["1", "2"]
    assert errors() == []


CLOSED = """
import asyncio, sys
from aioresp import Client

async def work():
    await r.ping()
    task = asyncio.create_task(r.blpop("nothing"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])

r = Client(sys.argv[1], on_lost=lambda lost: print(lost.command, lost.elements, lost.error))
loop = asyncio.new_event_loop()
loop.run_until_complete(work())
loop.close()
print("closed")
asyncio.run(r.aclose())  # finds that the loop is gone
"""


def test_a_loop_that_is_closed_without_a_word_is_reported(server: Server) -> None:
    with slow_network(server) as url:
        done = subprocess.run(
            [sys.executable, "-c", CLOSED, url], capture_output=True, text=True, timeout=20, check=True
        )
    assert done.stdout.splitlines() == [
        "closed",
        "('BLPOP', 'nothing', 0) () the client was closed, or its event loop",
    ]
    assert "BLPOP 'nothing': an element may be lost: the client was closed, or its event loop" in done.stderr
