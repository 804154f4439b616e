"""Loops, threads and the end of a client under Sentinel: nothing is left, and each loop has a look of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
import weakref
from typing import Any

import pytest

from aioresp import Client, ClientClosed, Sentinel
from aioresp.options import Options
from aioresp.replicated.places import Address
from aioresp.testing import SentinelServers
from aioresp.testing.sockets import HOST
from tests.rest import at_rest


def test_a_loop_that_ends_leaves_nothing(shared: SentinelServers) -> None:
    async def main() -> Client[str]:
        r = Client(f"{shared.url}&read_from=replica")
        await r.set("k", "1")
        await r.get("k")
        assert r.stats().open >= 4
        return r

    r = asyncio.run(main())
    assert r.stats().open == 0
    r = asyncio.run(main())
    assert r.stats().open == 0


async def test_closing_ends_all_connections_and_tasks(shared: SentinelServers) -> None:
    before = asyncio.all_tasks()
    async with Client(f"{shared.url}&read_from=replica") as r, r.subscribe("news") as news:
        await r.set("k", "1")
        await r.get("k")
        await r.publish("news", "x")
        assert (await news.get()).data == "x"
    assert r.stats().open == 0
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)
    with pytest.raises(ClientClosed):
        await r.get("k")
    async with r:  # it opens again
        await r.set("k", "2")
        assert await r.with_options(read_from="primary").get("k") == "2"
    await at_rest(r)


async def test_a_client_that_is_closed_at_any_turn_of_its_first_call_leaves_no_error(shared: SentinelServers) -> None:
    loop, said = asyncio.get_running_loop(), list[str]()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: said.append(context["message"]))
    try:
        for turns in range(60):
            r = Client(shared.url)
            call = asyncio.create_task(r.get("k"))
            for _ in range(turns):
                await asyncio.sleep(0)
            await r.aclose()
            await asyncio.wait([call])
            assert call.exception() is None or isinstance(call.exception(), ClientClosed)
            gc.collect()
            await asyncio.sleep(0)
        assert said == []
    finally:
        loop.set_exception_handler(before)


async def test_a_client_that_is_forgotten_is_collected(shared: SentinelServers) -> None:
    r = Client(shared.url)
    await r.set("k", "1")
    known = weakref.ref(r.node)
    await asyncio.sleep(0.2)  # the questions that follow the first connection
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del r
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0.05)
    assert known() is None


async def test_writes_that_are_held_end_with_the_client(shared: SentinelServers) -> None:
    r = Client(shared.url)
    await r.set("k", "1")
    r.node.outlooks.here().hold("a test")  # type: ignore[attr-defined]
    write = asyncio.create_task(r.set("k", "2"))
    await asyncio.sleep(0.02)
    await r.aclose()
    with pytest.raises(ClientClosed):
        await write


async def test_each_loop_leaves_the_old_primary_in_its_own_thread(shared: SentinelServers) -> None:
    r = Client(shared.url)
    ready, go, done = threading.Event(), threading.Event(), threading.Event()
    found: list[Any] = []

    async def elsewhere() -> None:
        await r.set("k", "1")
        found.append(r.node.pools.here())
        ready.set()
        await asyncio.to_thread(go.wait, 20)
        await r.set("k", "2")
        found.append(r.node.pools.here())
        done.set()

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await asyncio.to_thread(ready.wait, 20)
    await r.set("k", "3")
    mine = r.node.pools.here()
    r.node.outlooks.here().switch(Address(HOST, 1), "a test")  # type: ignore[attr-defined]
    await r.set("k", "4")
    assert r.node.pools.here() is not mine
    go.set()
    await asyncio.to_thread(thread.join, 20)
    assert done.is_set()
    assert found[0] is found[1], "the other loop has heard nothing"
    await r.aclose()


async def test_the_block_of_a_sentinel_holds_its_clients_open(shared: SentinelServers) -> None:
    options: Options = {"sentinel_password": shared.sentinel_password, "password": shared.password}
    s = Sentinel(shared.addresses, **options)
    async with s.master_for("mymaster") as first:
        await first.set("k", "1")
    with pytest.raises(ClientClosed):
        await first.get("k")
    async with s:
        async with s.master_for("mymaster") as r:
            assert r is first
            assert await r.get("k") == "1"
        assert await r.get("k") == "1", "redis-py's users write such a block for each use"
        assert not r.node.closed
    assert r.stats().open == 0
    with pytest.raises(ClientClosed):
        await r.get("k")
    async with s:
        assert await s.master_for("mymaster").get("k") == "1"
        await s.aclose()
        with pytest.raises(ClientClosed):
            await r.get("k")
    assert r.stats().open == 0


async def test_a_forked_child_has_an_outlook_of_its_own(shared: SentinelServers) -> None:
    r = Client(f"{shared.url}&read_from=replica")
    await r.set("k", "1")
    await r.get("k")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio._set_running_loop(None)
            asyncio.run(in_a_child(r))
            code = 0
        finally:
            os._exit(code)
    assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0
    await r.set("k", "2")
    assert await r.with_options(read_from="primary").get("k") == "2"
    await r.aclose()


async def in_a_child(r: Client[str]) -> None:
    await r.set("child", "1")
    assert await r.with_options(read_from="primary").get("child") == "1"
    await r.get("child")
    assert len(r.node.outlooks.pools) == 1  # type: ignore[attr-defined]
    await r.aclose()
    assert r.stats().open == 0


async def test_a_view_and_a_sentinel_share_connections(shared: SentinelServers) -> None:
    options: Options = {"sentinel_password": shared.sentinel_password, "password": shared.password}
    async with Sentinel([(HOST, each.port) for each in shared.sentinels], **options) as s:
        m = s.master_for("mymaster")
        await asyncio.gather(*(m.set("k", str(number)) for number in range(500)))
        assert m.node.pools.here().stats().open == 1, "one connection for 500 tasks"
        await s.replica_for("mymaster").get("k")
        since = time.monotonic()
        await s.aclose()
        assert time.monotonic() - since < 2
