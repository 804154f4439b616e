"""Blocking commands whose element cannot be put back, or not yet: what is lost is reported, and what is not is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

import aioresp
from aioresp import Client, Lost
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.contexts.blocking import OTHERS, POPS, Since, cancel, errors, is_blocked, is_gone, is_written, since
from tests.rest import at_rest, in_step

__all__ = ["errors", "since"]  # fixtures


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server() as running:
        yield running


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
        (leased,) = r.node.pools.here()._leased
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
        await is_gone(direct, f"{prefix}z")
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
            await is_gone(direct, f"{prefix}q")
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
            await is_gone(direct, f"{prefix}q")
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


@pytest.mark.parametrize("command", ["blpop", "bzpopmin", "blmove", "xreadgroup"])
@pytest.mark.parametrize("how", ["replica", "full", "no replicas"])
async def test_a_paused_server_that_refuses_writes_survives(
    own_server: Server, prefix: str, since: Since, command: str, how: str
) -> None:
    """It refuses the guard before CLIENT UNBLOCK in place of holding it back, as after a failover."""
    wait, version = (POPS | OTHERS)[command]
    since(*version)
    since(6, 2)
    async with Client(own_server.url) as r, Client(own_server.url) as direct:
        await direct.xgroup_create(f"{prefix}k:stream", "group", mkstream=True)
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())
        await direct.client_pause(600, all=False)
        task = asyncio.ensure_future(wait(r, f"{prefix}k"))
        await asyncio.sleep(0.05)
        if how == "replica":
            await direct.call("REPLICAOF", "127.0.0.1", 1)
        else:
            await direct.config_set(*(("maxmemory", 1) if how == "full" else ("min-replicas-to-write", 1)))
        task.cancel()
        await asyncio.sleep(0.1)
        assert await direct.ping()
        await direct.call("REPLICAOF", "NO", "ONE")
        await direct.config_set("maxmemory", 0)
        await direct.config_set("min-replicas-to-write", 0)
        await at_rest(r)
        assert task.cancelled()
        assert await direct.ping()
        assert (await direct.info("clients"))["blocked_clients"] == 0


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
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        task = asyncio.ensure_future(r.xread({f"{prefix}s": "$"}, block=0))
        await is_blocked(direct)
        proxy.cut()
        with pytest.raises(aioresp.ConnectionLost):
            await task
