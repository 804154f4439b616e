"""CLIENT UNBLOCK behind a proxy: it ends the pop whose caller has gone, and never a stranger's on another server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Literal

import pytest

from aioresp import Client
from aioresp.facts.putback import Lost
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.contexts.blocking import cancel, is_blocked
from tests.rest import at_rest, in_step


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Server, Server]]:
    async with start_server() as first, start_server() as second:
        yield first, second


def lead(proxy: Proxy, server: Server) -> None:
    """Let later connections lead to `server`, while present ones stay: as a load balancer does."""
    proxy._target = (server.host, server.port)


async def test_a_stranger_on_another_server_is_left_alone(
    pair: tuple[Server, Server], resp: Literal[2, 3], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is that of the proxy, and the greetings are the same."""
    monkeypatch.setattr("aioresp.contexts.background.PATIENCE", 1.0)
    here, there = pair
    losses: list[Lost] = []
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(here.host, here.port))
        r = await stack.enter_async_context(Client(proxy.url, protocol=resp, on_lost=losses.append))
        first = await stack.enter_async_context(Client(here.url))
        second = await stack.enter_async_context(Client(there.url))
        for _ in range(10):  # so that the number is free there
            async with Client(here.url) as some:
                await some.ping()
        mine = await r.client_id()
        task = asyncio.create_task(r.blpop("q", 0))
        await is_blocked(first)
        stranger = second
        while (number := await stranger.client_id()) < mine:
            stranger = await stack.enter_async_context(Client(there.url))
        assert number == mine
        waiting = asyncio.create_task(stranger.blpop("q", 0))
        await is_blocked(second)
        lead(proxy, there)
        await cancel(task)
        await r.ping()
        await at_rest(r)
        assert not waiting.done()
        await is_blocked(second)
        await second.rpush("q", "x")
        assert await waiting == ("q", "x")
        assert (await first.info("clients"))["blocked_clients"] == 0
    assert [lost.outcome for lost in losses] == ["unknown"]


async def test_the_same_server_behind_a_proxy(server: Server, proxy: Proxy, resp: Literal[2, 3], prefix: str) -> None:
    async with Client(proxy.url, protocol=resp) as r, Client(server.url) as direct:
        before = await direct.info("commandstats")
        for _ in range(10):
            task = asyncio.create_task(r.blpop(f"{prefix}q", 0))
            await is_blocked(direct)
            await cancel(task)
            await at_rest(r)
        await in_step(r)
        assert r.stats().made == 2
        after = await direct.info("commandstats")
    name = "cmdstat_client|info"
    if name in after:  # asked once for each connection, and not for each pop
        assert after[name]["calls"] - before.get(name, {"calls": 0})["calls"] <= 2


@pytest.mark.parametrize("refused", ["-client|info", "-client|list", "-client +client|unblock +client|id"])
async def test_who_may_not_ask_is_believed(server: Server, prefix: str, refused: str) -> None:
    """Then the address and the greeting decide, and the refusals do not fill the server's log."""
    if server.version < (7, 0):
        pytest.skip("permissions of subcommands need Redis 7.0")
    async with Client(server.url) as direct:
        await direct.call("ACL", "SETUSER", "shy", "on", ">p", "+@all", "~*", "&*", *refused.split())
        await direct.acl_log_reset()
        async with Client(server.url, username="shy", password="p") as r:
            for _ in range(5):
                task = asyncio.create_task(r.blpop(f"{prefix}q", 0))
                await is_blocked(direct)
                await cancel(task)
                await at_rest(r)
            assert r.stats().made == 2
        asked = [entry for entry in await direct.acl_log() if entry.object in ("client|info", "client|list")]
        assert sum(entry.count for entry in asked) <= 2
        await direct.acl_deluser("shy")
