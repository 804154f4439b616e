"""Elements on their way back while the connection dies, the server refuses, or the user may not: once, or reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import aioresp
from aioresp import Client, Lost
from aioresp.contexts import background, undo
from aioresp.facts.putback import Popped, token_for
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.contexts.blocking import LISTS, POPS, Since, cancel, errors, is_gone, since
from tests.pubsub.listening import until
from tests.rest import at_rest
from tests.servers import MATRIX
from tests.servers.chosen import marks_of

__all__ = ["errors", "since"]  # fixtures

Take = Callable[[Client[Any], str], Any]


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server() as running:
        yield running


async def fill(direct: Client[Any], key: str, command: str) -> object:
    """Put elements there, and return how to find them unchanged."""
    if command in LISTS:
        await direct.rpush(key, "a", b"\xff", "b", "c", "c")
    else:
        await direct.zadd(key, {"a": 0.1, b"\xff": 1 / 3, "b": float("inf"), "c": 5, "d": 7})
    return await found(direct, key, command)


async def found(direct: Client[Any], key: str, command: str) -> object:
    if command in LISTS:
        return await direct.lrange(key, 0, -1)
    return await direct.zrange(key, 0, -1, withscores=True)


async def becomes(read: Callable[[], Any], wanted: object, same: bool = True) -> None:
    """Wait until `read` returns what is wanted, or with `same=False` something else."""
    async with asyncio.timeout(10):
        while (await read() == wanted) is not same:
            await asyncio.sleep(0.002)


@asynccontextmanager
async def popped_for_nobody(
    server: Server, key: str, command: str, **options: Any
) -> AsyncIterator[tuple[Client[Any], Client[Any], Proxy, list[Lost], object]]:
    """A pop was cancelled when the server had run it, and its reply is on its way: it takes a tenth of a second."""
    losses: list[Lost] = []
    direct_url = server.url
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(direct_url, decode_responses=False) as direct,
    ):
        before = await fill(direct, key, command)
        async with Client(proxy.url, on_lost=losses.append, **options) as r:
            async with r.connection() as c:
                await asyncio.gather(r.ping(), c.ping())  # so that two connections are open
            proxy.delay = 0.1
            task = asyncio.ensure_future(POPS[command][0](r, key))
            await becomes(lambda: found(direct, key, command), before, same=False)
            await cancel(task)
            yield r, direct, proxy, losses, before


async def tokens(direct: Client[Any], key: str) -> list[bytes]:
    return [name async for name in direct.scan_iter(count=1000) if name.startswith(f"{key}:put-back:".encode())]


# --- The script -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", POPS)
async def test_nothing_else_stays_at_the_server(server: Server, prefix: str, since: Since, command: str) -> None:
    since(*POPS[command][1])
    async with popped_for_nobody(server, f"{prefix}k", command) as (r, direct, _, losses, before):
        await at_rest(r)
        assert await found(direct, f"{prefix}k", command) == before
        assert await tokens(direct, f"{prefix}k") == []
        assert losses == []
        assert r.stats().open == r.stats().made


@pytest.mark.parametrize("again", [False, True], ids=["nobody else", "another worker"])
@pytest.mark.parametrize("command", POPS)
async def test_a_reply_to_a_put_back_is_lost(
    server: Server, prefix: str, since: Since, command: str, again: bool, errors: Callable[[], list[str]]
) -> None:
    """It has run, and is sent again: that adds nothing, also if another worker has popped everything meanwhile."""
    since(*POPS[command][1])
    key = f"{prefix}k"
    async with popped_for_nobody(server, key, command) as (r, direct, proxy, losses, before):
        await becomes(lambda: found(direct, key, command), before)
        if again:
            await direct.delete(key)
        proxy.cut()
        await at_rest(r)
        assert await found(direct, key, command) == ([] if again else before)
        assert (losses, errors()) == ([], [])
        (token,) = await tokens(direct, key)  # an attempt may be on its way still
        assert 0 < await direct.pttl(token) <= 300_000


@pytest.mark.parametrize("command", ["brpop", "bzpopmin"])
async def test_a_put_back_is_lost_on_its_way(
    server: Server, prefix: str, command: str, errors: Callable[[], list[str]]
) -> None:
    key = f"{prefix}k"
    async with popped_for_nobody(server, key, command) as (r, direct, proxy, losses, before):
        sent = r.stats().bytes_sent
        proxy.stall("up")
        async with asyncio.timeout(5):
            while r.stats().bytes_sent < sent + 1000:  # the script
                await asyncio.sleep(0.005)
        assert await found(direct, key, command) != before
        proxy.cut()
        proxy.resume()
        await becomes(lambda: found(direct, key, command), before)
        await at_rest(r)
        assert await found(direct, key, command) == before
        assert (losses, errors()) == ([], [])


@pytest.mark.parametrize("command", ["brpop", "bzpopmin"])
async def test_a_late_attempt_adds_nothing(
    server: Server, prefix: str, command: str, monkeypatch: pytest.MonkeyPatch, errors: Callable[[], list[str]]
) -> None:
    """Several attempts are on their way at a time, and all of them arrive."""
    monkeypatch.setattr(undo, "ATTEMPT", 0.05)
    key = f"{prefix}k"
    async with popped_for_nobody(server, key, command) as (r, direct, proxy, losses, before):
        await becomes(lambda: found(direct, key, command), before)
        await direct.delete(key)
        await at_rest(r)
        assert await found(direct, key, command) == []
        assert (losses, errors()) == ([], [])


async def test_attempts_that_a_paused_server_holds_back(
    own_server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo, "ATTEMPT", 0.05)
    async with popped_for_nobody(own_server, f"{prefix}k", "brpop") as (r, direct, proxy, losses, before):
        proxy.delay = 0
        await direct.client_pause(1000, all=False)
        await at_rest(r)
        calls = (await direct.info("commandstats"))["cmdstat_eval"]["calls"]
        assert calls > 1
        assert await found(direct, f"{prefix}k", "brpop") == before
        assert losses == []


async def test_more_elements_than_lua_passes_at_once(server: Server, prefix: str, since: Since) -> None:
    since(7, 0)
    key = f"{prefix}k"
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        await r.ping()
        await direct.rpush(f"{key}:list", *range(25_001))
        await direct.zadd(f"{key}:set", {str(n): n / 3 for n in range(25_001)})
        before = await direct.lrange(f"{key}:list", 0, -1), await direct.zrange(f"{key}:set", 0, -1, withscores=True)
        proxy.delay = 0.1
        tasks = [
            asyncio.ensure_future(r.call("BLMPOP", 0, 1, f"{key}:list", "LEFT", "COUNT", 99_999)),
            asyncio.ensure_future(r.call("BZMPOP", 0, 1, f"{key}:set", "MIN", "COUNT", 99_999)),
        ]
        for task, name in zip(tasks, ("list", "set"), strict=True):
            await is_gone(direct, f"{key}:{name}")
            await cancel(task)
        await at_rest(r, 20)
        after = await direct.lrange(f"{key}:list", 0, -1), await direct.zrange(f"{key}:set", 0, -1, withscores=True)
        assert after == before


async def test_a_key_that_was_gone_has_no_time_to_live(
    server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="aioresp")
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        await r.ping()
        for name, elements in (("one", "a"), ("two", "ab")):
            key = f"{prefix}{name}"
            caplog.clear()
            await direct.rpush(key, *elements)
            await direct.expire(key, 1000)
            proxy.delay = 0.1
            task = asyncio.create_task(r.blpop(key))
            await becomes(lambda key=key: direct.llen(key), len(elements) - 1)  # type: ignore[misc]
            await cancel(task)
            await at_rest(r)
            said = [record.getMessage() for record in caplog.records if "without a time to live" in record.getMessage()]
            assert len(said) == (name == "one")
            assert (await direct.ttl(key) == -1) is (name == "one")


# --- Where the script is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("may", ["~* +@all -eval", "~* +@all -set", "~* +@all -get", "~k +@all"])
async def test_a_user_without_the_script_has_the_plain_command(
    own_server: Server, may: str, errors: Callable[[], list[str]]
) -> None:
    async with Client(own_server.url) as admin:
        await admin.call("ACL", "SETUSER", "worker", "on", ">pw", *may.split())
    options = {"username": "worker", "password": "pw"}
    async with popped_for_nobody(own_server, "k", "blpop", **options) as (r, direct, _, losses, before):
        await at_rest(r)
        assert await found(direct, "k", "blpop") == before
        assert (losses, errors()) == ([], [])


@pytest.mark.parametrize("command", ["blpop", "bzpopmax"])
async def test_the_reply_to_a_plain_command_is_lost(
    own_server: Server, command: str, errors: Callable[[], list[str]]
) -> None:
    """It is sent once: the elements may be back, and `on_lost` is told that."""
    async with Client(own_server.url) as admin:
        await admin.call("ACL", "SETUSER", "worker", "on", ">pw", "~*", "+@all", "-eval")
    options = {"username": "worker", "password": "pw"}
    async with popped_for_nobody(own_server, "k", command, **options) as (r, direct, proxy, losses, before):
        await becomes(lambda: found(direct, "k", command), before)
        await direct.delete("k")
        proxy.cut()
        await at_rest(r)
        assert await found(direct, "k", command) == []
        (lost,) = losses
        assert (lost.outcome, lost.key, len(lost.elements)) == ("unknown", b"k", 1)
        assert isinstance(lost.error, aioresp.ConnectionLost)
        assert lost.error.outcome == "unknown"
        assert "outcome='unknown'" in repr(lost)
        assert "elements that may be lost, or back in their key: 1: " in errors()[0]


async def test_a_user_who_may_follow_a_prefix_has_the_script(own_server: Server) -> None:
    async with Client(own_server.url) as admin:
        words = "~jobs:* +blpop +lpush +lpop +client|unblock +eval +get +set +exists +del +ping"
        await admin.call("ACL", "SETUSER", "worker", "on", ">pw", *words.split())
    options = {"username": "worker", "password": "pw"}
    async with popped_for_nobody(own_server, "jobs:1", "blpop", **options) as (r, direct, proxy, losses, before):
        await at_rest(r)
        assert await found(direct, "jobs:1", "blpop") == before
        assert (await direct.info("commandstats"))["cmdstat_eval"]["calls"] == 1
        denied = [denial for denial in await direct.acl_log() if not denial.object.startswith(("client", "info"))]
        assert (denied, losses, await direct.dbsize()) == ([], [], 1)


@pytest.mark.parametrize("key", ["jobs", "{jobs}:1", "a{b", "{}jobs", "a}b"])
async def test_a_cluster_has_list_and_token_in_one_slot(key: str) -> None:
    with start_server(config={"cluster-enabled": "yes"}) as server:
        if server.version < (7, 0):
            pytest.skip("needs CLUSTER ADDSLOTSRANGE")
        async with Client(server.url) as admin:
            await admin.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            async with asyncio.timeout(10):
                while "cluster_state:ok" not in await admin.call("CLUSTER", "INFO"):
                    await asyncio.sleep(0.05)
        async with popped_for_nobody(server, key, "bzpopmin") as (r, direct, _, losses, before):
            await at_rest(r)
            assert await found(direct, key, "bzpopmin") == before
            assert losses == []
            stats = await direct.info("commandstats")
            assert stats["cmdstat_eval"]["failed_calls"] == 0


REFUSALS = {
    "OOM": (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0)),
    "NOREPLICAS": (("CONFIG", "SET", "min-replicas-to-write", 1), ("CONFIG", "SET", "min-replicas-to-write", 0)),
    "READONLY": (("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")),
    "WRONGTYPE": (("SET", "k", "text"), ("DEL", "k")),
    "NOPERM": (("ACL", "SETUSER", "default", "-zadd", "-lpush"), ("ACL", "SETUSER", "default", "+@all")),
}


@pytest.mark.parametrize("program", [pytest.param(w.name, marks=marks_of(w)) for w in MATRIX if w.is_there] or [None])
async def test_the_script_says_what_the_push_would_have_said(program: str | None) -> None:
    """Servers word the errors of scripts in different ways; the code is what the put-back goes by."""
    executable = next((str(w.program) for w in MATRIX if w.name == program), None)
    elements = (b"\xff", b"b")
    pops = (Popped(b"k", elements, (), "LPUSH"), Popped(b"k", elements, (b"0.1", 2.0), "ZADD"))
    with start_server(executable=executable) as server:
        async with Client(server.url, decode_responses=False) as r, Client(server.unix_url) as admin:
            for pop in pops:
                token = token_for(b"k")
                for code, (spoil, mend) in REFUSALS.items():
                    await admin.call(*spoil)
                    for once in (False, True):
                        async with Client(server.url, retry=None) as user:
                            with pytest.raises(aioresp.ResponseError) as caught:
                                await user.call(*(pop.undo_once(token) if once else pop.undo()))
                            assert code == "NOPERM" or caught.value.code == code
                    await asyncio.sleep(0.005)  # for so long the token says that it was not done
                    await admin.call(*mend)
                    assert await admin.exists("k") == 0
                assert [await r.call(*pop.undo_once(token)) for _ in range(3)] == [2, 0, 0]
                assert await r.call(*pop.undo_once(token_for(b"k"))) == 1
                await admin.call("REPLICAOF", "127.0.0.1", 1)
                async with Client(server.url) as user:
                    assert await user.call(*pop.undo_once(token)) == 0  # what was done is known there, too
                await admin.call("REPLICAOF", "NO", "ONE")
                assert await r.pttl(token) > 200_000
                await admin.flushall()


# --- Where there is no other way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [True, False])
async def test_the_connection_of_another_database_dies(
    server: Server, prefix: str, sent: bool, errors: Callable[[], list[str]]
) -> None:
    losses: list[Lost] = []
    key = f"{prefix}k"
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, on_lost=losses.append) as r,
        Client(f"{server.url}/9") as direct,
    ):
        await r.ping()
        await direct.rpush(key, "job")
        async with r.connection() as c:
            await c.select(9)
            proxy.delay = 0.1
            task = asyncio.ensure_future(c.blpop(key))
            await is_gone(direct, key)
            await cancel(task)
            if sent:
                proxy.delay = 1.5  # the put-back takes so long, and so does its reply
                await becomes(lambda: direct.lrange(key, 0, -1), ["job"])
                proxy.cut()
            else:
                (leased,) = r.node.pools.here()._leased
                proxy.stall("down")
                reply = f"*2\r\n${len(key)}\r\n{key}\r\n$3\r\njob\r\n"
                leased.data_received(reply.encode())  # and the end with it
                leased.close()
        proxy.resume()
        await at_rest(r)
        assert [(lost.elements, lost.outcome) for lost in losses] == [((b"job",), "unknown" if sent else "lost")]
        assert isinstance(losses[0].error, aioresp.ConnectionLost)
        assert losses[0].error.outcome == ("unknown" if sent else "not sent")
        assert len(errors()) == 1


async def test_a_put_back_in_another_database(server: Server, prefix: str) -> None:
    key = f"{prefix}k"
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url) as r,
        Client(f"{server.url}/9", decode_responses=False) as direct,
    ):
        await r.ping()
        await direct.zadd(key, {"job": 0.1})
        async with r.connection() as c:
            await c.select(9)
            proxy.delay = 0.05
            task = asyncio.ensure_future(c.bzpopmin(key))
            await is_gone(direct, key)
            await cancel(task)
            assert await c.zrange(key, 0, -1, withscores=True) == [("job", 0.1)]
            assert await tokens(direct, key) == []


async def test_no_attempt_is_answered_in_time(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch, errors: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(undo, "ATTEMPT", 0.1)
    monkeypatch.setattr(background, "PATIENCE", 0.6)
    key = f"{prefix}k"
    async with popped_for_nobody(server, key, "blpop") as (r, direct, proxy, losses, before):
        await becomes(lambda: found(direct, key, "blpop"), before)
        proxy.stall("down")
        async with asyncio.timeout(10):
            while not losses:
                await asyncio.sleep(0.01)
        proxy.resume()
        await at_rest(r)
        (lost,) = losses
        assert (lost.elements, lost.outcome) == ((b"a",), "unknown")
        assert isinstance(lost.error, aioresp.ConnectionLost)
        assert await found(direct, key, "blpop") == before
        assert len(errors()) == 1


async def test_a_server_that_refuses_for_too_long_loses_them_for_sure(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PATIENCE", 0.6)
    async with popped_for_nobody(own_server, "k", "blpop") as (r, direct, _, losses, _before):
        await direct.config_set("maxmemory", 1)
        await at_rest(r)
        assert [(lost.elements, lost.outcome) for lost in losses] == [((b"a",), "lost")]
        assert isinstance(losses[0].error, aioresp.CommandTimeout)


@pytest.mark.parametrize("ran", [True, False])
async def test_the_client_is_closed_while_a_put_back_is_on_its_way(
    server: Server, prefix: str, ran: bool, errors: Callable[[], list[str]]
) -> None:
    key = f"{prefix}k"
    async with popped_for_nobody(server, key, "bzpopmin") as (r, direct, proxy, losses, before):
        if ran:
            await becomes(lambda: found(direct, key, "bzpopmin"), before)
            proxy.stall("down")
        else:
            sent = r.stats().bytes_sent
            proxy.stall("up")
            async with asyncio.timeout(5):
                while r.stats().bytes_sent < sent + 1000:  # the script
                    await asyncio.sleep(0.005)
        await r.aclose()
        assert [(lost.elements, lost.outcome) for lost in losses] == [((b"a",), "unknown")]
        assert len(errors()) == 1


async def test_a_pop_whose_own_reply_never_comes_is_unknown(server: Server, prefix: str) -> None:
    async with popped_for_nobody(server, f"{prefix}k", "blpop") as (r, _, proxy, losses, _before):
        proxy.cut()
        await until(lambda: bool(losses))  # the client is at rest as well before it hears of the cut
        await at_rest(r)
        assert [(lost.elements, lost.outcome) for lost in losses] == [((), "unknown")]


async def test_a_reply_that_is_too_large_for_a_caller_who_has_gone(server: Server, prefix: str) -> None:
    """The element was popped, and nobody has read it: before, that was told to nobody."""
    key = f"{prefix}k"
    losses: list[Lost] = []
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, on_lost=losses.append, max_reply=300_000) as r,
        Client(server.url) as direct,
    ):
        await r.ping()
        await direct.rpush(key, "x" * 2_000_000)
        proxy.delay = 0.05
        task = asyncio.ensure_future(r.blpop(key))
        await is_gone(direct, key)
        await cancel(task)
        await at_rest(r)
        assert [(lost.elements, lost.outcome) for lost in losses] == [((), "unknown")]
        assert isinstance(losses[0].error, aioresp.ReplyTooLarge)
