"""A leased connection: commands with state work there, what they changed is undone, and a cancelled pop is settled."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, CommandRefused, Lease
from aioresp.facts.catalogue import CHANGES
from aioresp.replies.clients import ClientInfo
from aioresp.testing import Proxy, Server
from tests.rest import at_rest, in_step, until
from tests.security.hostile import answers

Change = tuple[str, ...]

#: Commands with connection state, with arguments for a server without replicas.
CHANGING: list[Change] = [
    ("SELECT", "5"),
    ("WATCH", "k"),
    ("MULTI",),
    ("READONLY",),
    ("ASKING",),
    ("CLIENT", "TRACKING", "ON"),
    ("CLIENT", "SETNAME", "changed"),
    ("CLIENT", "SETINFO", "LIB-NAME", "changed"),
    ("CLIENT", "NO-EVICT", "ON"),
    ("CLIENT", "NO-TOUCH", "ON"),
    ("HELLO", "2"),
    ("HELLO", "3"),
    ("RESET",),
    ("AUTH", "default", "wrong"),
]
PLAIN: list[Change] = [("WAIT", "0", "1"), ("WAITAOF", "0", "0", "1"), ("UNWATCH",), ("READWRITE",), ("GET", "k")]


def facts(info: ClientInfo) -> dict[str, Any]:
    """Return what CLIENT INFO tells of the state of a connection."""
    # "multi" is 0 or -1 outside of a transaction; the flag "x" is what tells.
    names = ("name", "flags", "db", "sub", "psub", "watch", "user", "resp", "lib_name", "capa", "redir")
    return {name: getattr(info, name) for name in names}


@pytest.mark.parametrize("change", CHANGING + PLAIN, ids=" ".join)
async def test_what_a_lease_changed_is_undone(server: Server, change: Change, protocol: int) -> None:
    number: Literal[2, 3] = 3 if protocol == 3 else 2
    async with Client(server.url, db=2, client_name="tester", limit=1, protocol=number) as r:
        async with r.connection() as c:
            before = facts(await c.client_info())
            mine = await c.client_id()
            try:
                await c.call(*change)
            except aioresp.ResponseError:
                pass  # this server does not know it, or does not want it
        await at_rest(r)
        number_now = 0
        for _ in range(3):
            async with r.connection() as c:
                assert facts(await c.client_info()) == before
                assert await c.call("PING") == "PONG"
                number_now = await c.client_id()
            await at_rest(r)
        name = " ".join(change[:2]) if change[0] == "CLIENT" else change[0]
        if r.stats().open == 2 and CHANGES.get(name, True):
            assert number_now == mine


async def test_a_changed_connection_is_kept(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        async with r.connection() as c:
            mine = await c.client_id()
            await c.call("SELECT", 5)
            await c.call("CLIENT", "SETNAME", "mine")
        await at_rest(r)
        assert (await r.client_id(), r.stats().made) == (mine, 1)
        assert await r.client_getname() in (None, "")


async def test_who_comes_next_is_not_in_the_transaction(server: Server, prefix: str) -> None:
    async with Client(server.url, limit=1) as r:
        async with r.connection() as c:
            await c.call("WATCH", f"{prefix}k")
            await c.call("MULTI")
            await c.set(f"{prefix}k", 1)
        async with r.connection() as c:
            with pytest.raises(aioresp.ResponseError, match="EXEC without MULTI"):
                await c.call("EXEC")
        assert await r.get(f"{prefix}k") is None


@pytest.mark.parametrize("end", ["EXEC", "DISCARD", "abort"])
async def test_a_transaction_that_ends_leaves_nothing_to_undo(server: Server, prefix: str, end: str) -> None:
    async with Client(server.url) as r:
        async with r.connection() as c:
            await c.call("WATCH", f"{prefix}k")
            await c.call("MULTI")
            await c.call("SET", f"{prefix}k", 1)
            if end == "abort":
                with pytest.raises(aioresp.UnknownCommandError):
                    await c.call("NOSUCHCOMMAND")
                with pytest.raises(aioresp.ExecAbortError):
                    await c.call("EXEC")
            else:
                await c.call(end)
        assert r.stats().leased == 0  # given back at once
        async with r.connection() as c:
            await c.call("WATCH", f"{prefix}k")
            await c.call("UNWATCH")
        assert r.stats().leased == 0


async def test_an_unwatch_within_a_transaction_is_but_queued(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        async with r.connection() as c:
            await c.call("WATCH", f"{prefix}k")
            await c.call("MULTI")
            await c.call("UNWATCH")
        assert r.stats().leased == 1
        await at_rest(r)


async def test_a_reply_that_is_owed_is_read_before_the_connection_goes_back(server: Server) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        async with r.connection() as c:
            await c.ping()
            proxy.delay = 0.05
            task = asyncio.ensure_future(c.echo("mine"))
            await asyncio.sleep(0.01)
            task.cancel()
        proxy.delay = 0
        await at_rest(r)
        await in_step(r)
        assert r.stats().made == 1


async def _cancelled(c: Lease[str]) -> None:
    call = asyncio.ensure_future(c.get("k"))
    await asyncio.sleep(0.02)
    call.cancel()
    await asyncio.wait([call])


async def _late(c: Lease[str]) -> None:
    with pytest.raises(aioresp.CommandTimeout):
        async with asyncio.timeout(10):
            await c.get("k")


async def _cancelled_pipeline(c: Lease[str]) -> None:
    p = c.pipeline()
    p.get("k")
    call = asyncio.ensure_future(p.execute())
    await asyncio.sleep(0.02)
    call.cancel()
    await asyncio.wait([call])


@pytest.mark.parametrize("leave", [_cancelled, _late, _cancelled_pipeline])
async def test_a_lease_that_owes_a_reply_is_reset_before_others_get_it(
    leave: Callable[[Lease[str]], Awaitable[None]],
) -> None:
    """The reply comes with that to RESET, and nothing of the next user is sent before."""
    heard: list[bytes] = []

    def tell(words: list[bytes]) -> bytes:
        heard.append(words[0])
        return {b"GET": b"", b"RESET": b"$4\r\nlate\r\n+RESET\r\n"}.get(words[0], b"+next\r\n")

    async with answers(tell) as url, Client(url, limit=1, retry=None, timeout=10) as r:
        async with r.connection() as c:
            c._timeout = 0.1 if leave is _late else 10
            await leave(c)
        async with r.connection() as c:
            assert await c.call("NEXT") == "next"
        assert heard == [b"GET", b"RESET", b"NEXT"]
        assert r.stats().made == 1
        await in_step(r)


#: What is sent on a lease; nothing of it is answered.
UNANSWERED: dict[str, Callable[[Lease[str]], Awaitable[Any]]] = {
    "command": lambda c: c.get("k"),
    "any command": lambda c: c.call("DEBUG", "SLEEP", 0),
    "state": lambda c: c.select(1),
    "script": lambda c: c.register_script("return 1")(),
    "iterator": lambda c: c.scan_iter().__anext__(),
    "pipeline": lambda c: _executed(c, transaction=False),
    "transaction": lambda c: _executed(c, transaction=True),
    "large pipeline": lambda c: _executed(c, transaction=False, value="x" * 100_000),
    "watch": lambda c: c.pipeline().watch("k"),
    "shutdown": lambda c: c.shutdown(),
}


def _executed(c: Lease[str], *, transaction: bool, value: str = "v") -> Awaitable[Any]:
    p = c.pipeline(transaction=transaction)
    for _ in range(20):
        p.set("k", value)
    return p.execute()


@pytest.mark.parametrize("pong", [b"", b"+PONG\r\n"], ids=["deaf", "answers PING"])
@pytest.mark.parametrize("what", UNANSWERED)
async def test_commands_on_a_lease_have_a_deadline(what: str, pong: bytes) -> None:
    async with (
        answers(lambda words: b"", pong=pong) as url,
        Client(url, timeout=0.2, retry=None) as r,
        asyncio.timeout(20),
    ):
        async with r.with_options(timeout=20).connection():
            pass  # a busy machine may take longer to connect
        async with r.connection() as c:
            with pytest.raises(aioresp.CommandTimeout, match=r"no reply in 0\.2 s"):
                await UNANSWERED[what](c)


async def test_a_connection_that_cannot_be_restored_is_dropped(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, connect_timeout=0.2) as r:
        async with r.connection() as c:
            await c.call("SELECT", 5)
            proxy.stall()
        await until(lambda: r.stats().open == 0)
        proxy.resume()
        assert await r.ping()


async def test_closing_does_not_wait_for_a_restoration(server: Server) -> None:
    async with Proxy(server.host, server.port) as proxy:
        r = Client(proxy.url)
        async with r.connection() as c:
            await c.call("SELECT", 5)
            proxy.stall()
        await asyncio.sleep(0)
        started = time.monotonic()
        await r.aclose()
        assert time.monotonic() - started < 2
        assert r.stats().open == 0


@pytest.mark.parametrize("change", [change for change in CHANGING if change[0] != "CLIENT"] + PLAIN[:4], ids=" ".join)
async def test_the_client_says_where_such_commands_belong(server: Server, change: Change) -> None:
    async with Client(server.url) as r:
        with pytest.raises(CommandRefused, match=r"belongs to one connection: use `async with client\.connection"):
            await r.call(*change)
        assert r.stats().made == 0


# --- Blocking commands ------------------------------------------------------------------------------------------------


async def test_after_a_cancelled_pop_the_next_command_waits_its_turn(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        async with r.connection() as c:
            mine = await c.client_id()
            for n in range(5):
                proxy.delay = 0.02
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01 + n / 100):
                        await c.blpop(f"{prefix}q")
                assert await c.echo(f"{n}") == f"{n}"
                assert await c.client_id() == mine
            await direct.rpush(f"{prefix}q", "job")
            assert await c.blpop(f"{prefix}q") == (f"{prefix}q", "job")
        await at_rest(r)
        assert r.stats().open == r.stats().made


async def test_elements_are_put_back_in_the_database_of_the_lease(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url, db=5) as direct:
        await direct.rpush(f"{prefix}q", "job")
        task: asyncio.Future[Any]
        async with r.connection() as c:
            await c.call("SELECT", 5)
            proxy.delay = 0.05
            task = asyncio.ensure_future(c.blpop(f"{prefix}q"))
            async with asyncio.timeout(5):
                while await direct.exists(f"{prefix}q"):
                    await asyncio.sleep(0.002)
            task.cancel()
            await asyncio.wait([task])
        proxy.delay = 0
        await at_rest(r)
        assert await direct.lrange(f"{prefix}q", 0, -1) == ["job"]
        assert await r.exists(f"{prefix}q") == 0
        assert r.stats().open == r.stats().made


async def test_leaving_does_not_wait_for_a_cancelled_pop(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:

        async def work() -> None:
            async with r.connection() as c:
                await c.call("SELECT", 5)
                await c.blpop(f"{prefix}q")

        task = asyncio.create_task(work())
        async with Client(server.url) as direct, asyncio.timeout(20):
            while not (await direct.info("clients")).integer("blocked_clients"):
                await asyncio.sleep(0.01)
        proxy.delay = 1
        task.cancel()
        await asyncio.wait([task])
        assert r.stats().leased == 1  # the pop's end takes two seconds, there and back: it goes on
        proxy.delay = 0
        await at_rest(r)
        assert [(await r.client_info()).db for _ in range(3)] == [0] * 3
        assert r.stats().open == r.stats().made


async def test_a_second_task_is_refused_while_one_is_blocked(server: Server, prefix: str) -> None:
    async with Client(server.url) as r, r.connection() as c:
        task = asyncio.ensure_future(c.blpop(f"{prefix}q"))
        await asyncio.sleep(0.05)
        with pytest.raises(CommandRefused, match=r"another task is in a blocking command on this connection \[PING\]"):
            await c.ping()
        await r.rpush(f"{prefix}q", "job")
        assert await task == (f"{prefix}q", "job")
        assert await c.ping()


async def test_of_those_that_wait_for_a_cancelled_pop_one_blocks_and_the_others_are_refused(
    r: Client[str], prefix: str
) -> None:
    """Otherwise two pops are under way on one connection, and the lease gives it back at the end of either."""
    async with r.connection() as c:
        cancelled = asyncio.ensure_future(c.blpop(f"{prefix}q", 0))
        await is_blocked(r)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        pop, *others = [
            asyncio.ensure_future(wait) for wait in (c.blpop(f"{prefix}1"), c.blpop(f"{prefix}2"), c.ping())
        ]
        await asyncio.wait(others, timeout=10)
        for other in others:
            assert isinstance(other.exception(), CommandRefused)
        await r.rpush(f"{prefix}1", "x")
        assert await pop == (f"{prefix}1", "x")
        assert await c.ping()


async def is_blocked(r: Client[str]) -> None:
    async with asyncio.timeout(10):
        while (await r.info("clients")).integer("blocked_clients") < 1:
            await asyncio.sleep(0.005)


async def test_a_lease_belongs_to_its_loop(r: Client[str], prefix: str) -> None:
    """Otherwise two threads would write on one connection, and a caller would wait for a future of another loop."""

    async def use(c: Lease[str]) -> None:
        for call in (c.get(prefix), c.blpop(prefix, 1), _executed(c, transaction=False, value="v")):
            with pytest.raises(RuntimeError, match="the lease was entered in another event loop"):
                await call

    async with r.connection() as c:
        await asyncio.to_thread(lambda: asyncio.run(use(c)))
        assert await c.ping()
        assert await c.exists(prefix) == 0


async def test_the_wait_for_a_cancelled_pop_has_an_end(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=0.5) as r:
        await r.ping()
        async with r.connection() as c:
            task = asyncio.ensure_future(c.blpop(f"{prefix}q"))
            await asyncio.sleep(0.05)
            proxy.stall()
            task.cancel()
            await asyncio.wait([task])
            with pytest.raises(aioresp.CommandTimeout, match="has not ended"):
                await c.ping()
            proxy.resume()
            assert await c.ping()


async def test_whatever_is_queued_says_so(server: Server, prefix: str, protocol: Any) -> None:
    """Also a method whose replies are converted: what it returns is no reply yet."""
    k = f"{prefix}k"
    for decode in (True, False):
        async with (
            Client(server.url, protocol=protocol) as r,
            r.with_options(decode_responses=decode).connection() as c,
        ):
            await c.call("MULTI")
            lease: Any = c
            said = [await lease.incr(k), await lease.set(k, 1), await lease.hgetall(f"{k}h"), await lease.time()]
            said += [await lease.info(), await lease.slowlog_get(), await lease.acl_whoami()]
            said += [
                await lease.blpop([f"{k}q"], 1),
                await lease.xread({f"{k}s": "$"}, block=5),
                await lease.wait(0, 1),
            ]
            assert said == [b"QUEUED" if not decode else "QUEUED"] * 10
            assert len(await c.call("EXEC")) == 10
            assert await c.incr(k) == 2


async def test_a_pop_within_a_transaction_is_queued(server: Server, prefix: str) -> None:
    async with Client(server.url) as r, r.connection() as c:
        await r.rpush(f"{prefix}q", "job")
        await c.call("MULTI")
        assert await c.call("BLPOP", f"{prefix}q", 0) == "QUEUED"
        assert await c.call("EXEC") == [[f"{prefix}q", "job"]]


async def test_a_cancelled_wait_for_replicas(server: Server) -> None:
    async with Client(server.url) as r, r.connection() as c:
        mine = await c.client_id()
        for _ in range(2):
            await c.set("k", 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await c.call("WAIT", 3, 0)
            assert await c.client_id() == mine


# --- Standing in line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 10, 100])
async def test_200_tasks_in_a_pop_do_not_stop_ordinary_commands(server: Server, prefix: str, limit: int) -> None:
    async with Client(server.url, limit=limit, timeout=5) as r:
        tasks = [asyncio.create_task(r.brpop(f"{prefix}q", 0)) for _ in range(200)]
        await asyncio.sleep(0.1)
        for n in range(20):
            assert await r.echo(f"{n}") == f"{n}"
        async with asyncio.timeout(5):
            while r.stats().leased < max(1, limit - 1):
                await asyncio.sleep(0.01)
        assert r.stats().open <= max(2, limit)
        for n in range(150):
            await r.lpush(f"{prefix}q", n)
        async with asyncio.timeout(10):
            while sum(task.done() for task in tasks) < 150:
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        got = [int(item[1]) for item in results if isinstance(item, tuple)]
        assert sorted(got) == list(range(150))
        await at_rest(r)
        assert await r.llen(f"{prefix}q") == 0
        await in_step(r)


async def test_a_pop_without_an_end_stands_in_line_without_an_end_and_says_so(
    server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(server.url, limit=1, timeout=0.5) as r:
        async with r.connection():
            task = asyncio.create_task(r.blpop(f"{prefix}q"))
            await asyncio.sleep(1.0)
            assert not task.done()
        await r.rpush(f"{prefix}q", "job")
        assert await task == (f"{prefix}q", "job")
    told = [record for record in caplog.records if record.name == "aioresp" and record.levelno == logging.WARNING]
    (line,) = [record.getMessage() for record in told]
    assert line.startswith("BLPOP has waited 0.5 s for a connection of its own, and goes on: Pool(")
    assert "leased by connection() in" in line


async def test_the_time_in_line_is_a_part_of_the_pops_own(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioresp.contexts.borrowed.GRACE", 0.2)
    async with Client(server.url, limit=1) as r:
        lease: Lease[str] = r.connection()
        await lease.__aenter__()
        started = time.monotonic()
        hasty = r.with_options(timeout=0.05)
        late = asyncio.create_task(hasty.blpop(f"{prefix}q", 0.3))
        shorter = asyncio.create_task(hasty.blpop(f"{prefix}q", 2))
        with pytest.raises(aioresp.PoolTimeout):
            await late
        assert 0.4 < time.monotonic() - started < 1.9  # before the other one
        await asyncio.sleep(1)
        await lease.__aexit__(None, None, None)
        assert await shorter is None
        assert 1.9 < time.monotonic() - started < 3.4  # two more than those in line are three and a half
