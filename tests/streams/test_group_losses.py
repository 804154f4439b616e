"""Consumers of a group that are cancelled, cut off or killed: what was delivered to them comes again, to somebody."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from typing import Any

import anyio
import pytest

from aioresp import Client, ConnectionLost, DecodeError, GroupReader, Retry
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import at_rest, in_step, tasks_besides
from tests.streams.groups import Ledger, add, ledger, number_of, pending, s

__all__ = ["ledger", "s"]  # fixtures

SOON = Retry(base=0.001, cap=0.01)


async def waiting(direct: Client[Any], count: int = 1) -> None:
    """Wait until so many clients of the server wait there."""
    async with asyncio.timeout(5):
        while (await direct.info("clients"))["blocked_clients"] < count:
            await asyncio.sleep(0.005)


# --- Cancelled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["the same reader", "another reader"])
async def test_cancelled_at_any_time_nothing_is_lost(server: Server, prefix: str, again: str, ledger: Ledger) -> None:
    """Whoever asks next, under the same name, gets what was delivered to one who was cancelled."""
    before, name, last = tasks_besides(), f"{prefix}s", 241
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, timeout=5, middleware=ledger.middleware) as r,
        Client(server.url) as direct,
    ):
        proxy.delay = 0.001
        cancelled = 0

        def reader() -> GroupReader[str]:
            # The same one gets what its bodies have left after a while, another one at once.
            return r.group_reader(
                "g", "c", name, count=2, block=50, min_idle=50 if again == "the same reader" else None
            )

        async def work(g: GroupReader[str], until: int) -> None:
            async for entry in g:
                number = ledger.take(entry)
                await asyncio.sleep(0)
                ledger.ended.append(number)
                if len(set(ledger.ended)) == until:
                    await entry.ack()
                    break

        async def work_anew(until: int) -> None:
            async with reader() as g:
                await work(g, until)

        async with reader() as kept:
            for turn in range(1, 121):
                await add(direct, name, 2 * turn - 1, 2 * turn)
                body = work(kept, -1) if again == "the same reader" else work_anew(-1)
                task = asyncio.ensure_future(body)
                for _ in range(turn % 6):
                    await asyncio.sleep(0)
                await asyncio.sleep(turn % 7 / 700)
                task.cancel()
                await asyncio.wait([task])
                cancelled += task.cancelled()
            await add(direct, name, last)
            async with asyncio.timeout(20):
                await (work(kept, last) if again == "the same reader" else work_anew(last))
        assert sorted(set(ledger.ended)) == list(range(1, last + 1))
        assert cancelled == 120
        assert await pending(direct, name) == []
        await at_rest(r)
        await in_step(r)
    assert tasks_besides() <= before


async def test_what_is_delivered_to_a_command_that_outlived_its_caller(
    s: Client[str], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take a while until the server hears of the caller's end: the reader looks once more after that."""
    monkeypatch.setattr("aioresp.streams.group.GRACE", 0.1)
    name = f"{prefix}s"
    await s.xgroup_create(name, "g", mkstream=True)
    old = asyncio.ensure_future(s.xreadgroup("g", "c", {name: ">"}, block=5000))
    await waiting(s)
    async with s.group_reader("g", "c", name, min_idle=None, block=100) as g:
        task = asyncio.ensure_future(anext(g))
        await waiting(s, 2)
        await add(s, name, 1)
        assert list(await old) == [name]
        async with asyncio.timeout(3):
            entry = await task
        assert (entry.id, entry.deliveries) == ("1-1", 2)
        await entry.ack()


async def test_what_is_delivered_while_the_network_stands_still(
    s: Client[str], server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is late, so the reader asks again: what the server has delivered comes, and comes once."""
    monkeypatch.setattr("aioresp.contexts.blocking.GRACE", 0.1)
    monkeypatch.setattr("aioresp.streams.group.GRACE", 0.1)
    name = f"{prefix}s"
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, retry=SOON, timeout=1, connect_timeout=1) as r,
    ):
        async with r.group_reader("g", "c", name, min_idle=None, block=100) as g:
            task = asyncio.ensure_future(anext(g))
            await waiting(s)
            proxy.stall("down")
            await add(s, name, 1)
            await asyncio.sleep(0.5)
            assert not task.done()
            proxy.resume()
            async with asyncio.timeout(5):
                first = await task
            assert first.id == "1-1"
            await add(s, name, 2)
            async with asyncio.timeout(5):
                second = await anext(g)
            assert second.id == "2-1"
            await second.ack()
        assert await pending(s, name) == []
        await at_rest(r, 15)


@pytest.mark.parametrize("way", ["cancelled", "cut"])
async def test_what_was_delivered_and_not_seen_is_looked_for(
    s: Client[str], server: Server, prefix: str, way: str
) -> None:
    """At once, that is: nothing is claimed here, and to look once more is for later."""
    name = f"{prefix}s"
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, retry=SOON) as r,
        r.group_reader("g", "c", name, min_idle=None) as g,
    ):
        task = asyncio.ensure_future(anext(g))
        await waiting(s)
        proxy.stall("down")
        await add(s, name, 1)
        assert await pending(s, name, "c") == [1]
        if way == "cancelled":
            task.cancel()
            await asyncio.wait([task])
        else:
            proxy.cut()
        proxy.resume()
        async with asyncio.timeout(1.5):
            entry = await anext(g) if way == "cancelled" else await task
        assert (entry.id, entry.deliveries) == ("1-1", 2)
        await entry.ack()


async def test_what_was_left_pending_does_not_come_again_by_that(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await add(s, name, 1)
    await s.xadd(name, {"n": b"\xff"}, id="2-1")
    async with s.group_reader("g", "c", name, min_idle=None) as g:
        (await anext(g)).nack()
        with pytest.raises(DecodeError):
            await anext(g)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(g)
        await add(s, name, 3)
        assert number_of(await anext(g)) == 3
    assert await pending(s, name) == [1, 2, 3]


@pytest.mark.parametrize("way", ["the loop", "the entry's block"])
async def test_a_cancelled_acknowledgement_is_made_up_for(
    s: Client[str], server: Server, prefix: str, way: str
) -> None:
    """The body has ended well, and XACK is cancelled and lost: leaving sends it once more."""
    name = f"{prefix}s"
    await add(s, name, 1, 2)
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, retry=SOON) as r:

        async def work() -> None:
            async with r.group_reader("g", "c", name, auto_ack=way == "the loop") as g:
                async for entry in g:
                    ended.set()
                    if way == "the loop":
                        proxy.stall("up")
                    else:
                        async with entry:
                            proxy.stall("up")

        ended = asyncio.Event()
        task = asyncio.ensure_future(work())
        await ended.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.sleep(0.05)
        proxy.cut()
        proxy.resume()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await pending(s, name) == [2]


async def test_an_acknowledgement_that_fails_at_the_end(
    s: Client[str], server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{prefix}s"
    await add(s, name, 1, 2)
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, retry=None) as r:
        with pytest.raises(ConnectionError):
            async with r.group_reader("g", "c", name) as g:
                await anext(g)
                proxy.refuse()
                proxy.cut()
                with pytest.raises(ConnectionError):
                    await anext(g)
        proxy.accept()

        async def work() -> None:
            async with r.group_reader("g", "c", name) as g:
                entry = await anext(g)
                assert (entry.id, entry.deliveries) == ("1-1", 2)
                proxy.stall("up")
                ended.set()
                await anext(g)

        ended = asyncio.Event()
        task = asyncio.ensure_future(work())
        await ended.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        proxy.refuse()
        proxy.cut()
        await asyncio.wait([task])
        assert task.cancelled()
        assert "1 entries that are done stay pending" in caplog.text
    assert await pending(s, name) == [1, 2]


# --- The connection dies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["cut", "reset", "on the way up", "on the way down", "kill"])
async def test_lost_connections(server: Server, prefix: str, way: str, ledger: Ledger) -> None:
    name, last = f"{prefix}s", 60
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, retry=SOON, middleware=ledger.middleware) as r,
        Client(server.url) as direct,
    ):

        async def work() -> None:
            async with r.group_reader("g", "c", name, count=3, block=100, min_idle=100) as g:
                async for entry in g:
                    number = ledger.take(entry)
                    await asyncio.sleep(0.001)
                    ledger.ended.append(number)
                    if len(set(ledger.ended)) == last:
                        await entry.ack()
                        break

        task = asyncio.create_task(work())
        for n in range(1, last + 1):
            await asyncio.sleep(n % 3 / 300)
            if n % 4 == 0:
                if way == "kill":
                    await direct.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                elif way.startswith("on the way"):
                    proxy.cut_after(7 * n % 120, "up" if way == "on the way up" else "down")
                else:
                    proxy.cut(rst=way == "reset")
            await add(direct, name, n)
        async with asyncio.timeout(20):
            await task
        assert sorted(set(ledger.ended)) == list(range(1, last + 1))
        assert await pending(direct, name) == []
        assert r.stats().made > 2
        await at_rest(r)


async def test_a_server_that_is_started_anew(ledger: Ledger) -> None:
    with start_server(config={"appendonly": "yes", "appendfsync": "always"}) as running:
        async with (
            Client(running.url, retry=Retry(2, base=0.01, cap=0.05), middleware=ledger.middleware) as r,
            Client(running.url) as other,
        ):
            await add(r, "s", *range(1, 31))

            async def work() -> None:
                async with r.group_reader("g", "c", "s", count=4, block=200) as g:
                    async for entry in g:
                        number = ledger.take(entry)
                        await asyncio.sleep(0.005)
                        ledger.ended.append(number)
                        if len(set(ledger.ended)) == 40:
                            await entry.ack()
                            break

            task = asyncio.create_task(work())
            for _ in range(2):
                await asyncio.sleep(0.05)
                await asyncio.to_thread(running.kill)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(running.start)
            await add(other, "s", *range(31, 41))
            async with asyncio.timeout(20):
                await task
            assert sorted(set(ledger.ended)) == list(range(1, 41))
            assert await pending(other, "s") == []


async def test_a_process_that_was_killed(s: Client[str], server: Server, prefix: str) -> None:
    """What it had in hand and what it had fetched goes to others; what it had acknowledged does not."""
    name = f"{prefix}s"
    await add(s, name, *range(1, 9))
    program = f"""
import asyncio
from aioresp import Client
async def main():
    async with Client({server.url!r}) as r, r.group_reader("g", "dead", {name!r}, count=5) as g:
        async for entry in g:
            if entry.id == "3-1":
                print("now", flush=True)
                await asyncio.sleep(60)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"now\n"
    process.kill()
    await process.wait()
    async with s.group_reader("g", "c", name, min_idle=500) as g:
        found = []
        async with asyncio.timeout(10):
            async for entry in g:
                found.append((number_of(entry), entry.deliveries))
                if len(found) == 6:
                    await entry.ack()
                    break
    assert sorted(found) == [(3, 2), (4, 2), (5, 2), (6, 1), (7, 1), (8, 1)]
    assert await pending(s, name) == []


async def test_a_flushed_server(caplog: pytest.LogCaptureFixture) -> None:
    with start_server() as running:
        async with Client(running.url) as r:
            async with r.group_reader("g", "c", "s", block=100) as g:
                task = asyncio.ensure_future(anext(g))
                await asyncio.sleep(0.05)
                await r.flushall()
                await r.xadd("s", {"n": 1})
                async with asyncio.timeout(5):
                    assert (await task).fields == {"n": "1"}
            assert "made again" in caplog.text


async def test_without_retries_it_raises(server: Server, prefix: str) -> None:
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, retry=None) as r,
        r.group_reader("g", "c", f"{prefix}s") as g,
    ):
        task = asyncio.ensure_future(anext(g))
        await asyncio.sleep(0.05)
        proxy.cut()
        with pytest.raises(ConnectionLost):
            await task


async def test_readers_beyond_the_limit_take_turns_and_stop_nobody(
    server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="aioresp")
    async with Client(server.url, limit=10, timeout=20) as r:

        async def read(number: int) -> int:
            async with r.group_reader("g", f"c{number}", f"{prefix}{number}", block=50) as g:
                return number_of(await anext(g))

        tasks = [asyncio.create_task(read(number)) for number in range(1, 201)]
        with anyio.fail_after(90):
            while r.stats().leased < 9:
                await asyncio.sleep(0.01)
            await in_step(r)
            assert r.stats().leased <= 9
            for number in range(1, 201):
                await add(r, f"{prefix}{number}", number)
            assert await asyncio.gather(*tasks) == list(range(1, 201))
        await at_rest(r)
