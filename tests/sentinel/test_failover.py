"""Failovers under Sentinel: nothing that was acknowledged is lost, and nobody waits for the old primary."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from aioresp import Client, ConnectionLost, Gap, RedisError
from aioresp.options import Options
from aioresp.replicated import outlook as outlook_module
from aioresp.replicated.outlook import Outlook
from aioresp.replicated.places import Address
from aioresp.sentinel.source import SentinelSource
from tests.sentinel.forming import Servers

pytestmark = pytest.mark.timeout(120)


class Load:
    """Tasks that write one element after another, and what they were told."""

    def __init__(self, r: Client[str], tasks: int = 20) -> None:
        self.acknowledged: list[str] = []
        self.errors: list[RedisError] = []
        self.longest = 0.0
        self._r = r
        self._end = False
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(tasks)]

    async def _write(self, number: int) -> None:
        count = 0
        while not self._end:
            element, count, since = f"{number}:{count}", count + 1, time.monotonic()
            try:
                await self._push(number, element)
                self.acknowledged.append(element)
            except RedisError as error:
                self.errors.append(error)
            self.longest = max(self.longest, time.monotonic() - since)
            await asyncio.sleep(0.005)

    async def _push(self, number: int, element: str) -> None:
        if number % 3 == 0:
            await self._r.rpush("list", element)
        elif number % 3 == 1:
            async with self._r.pipeline(transaction=number % 2 == 0) as p:
                p.rpush("list", element)
        else:
            await self._r.eval("return redis.call('rpush', KEYS[1], ARGV[1])", 1, "list", element)

    async def end(self) -> None:
        self._end = True
        await asyncio.gather(*self._tasks)

    async def lost(self) -> set[str]:
        return set(self.acknowledged) - set(await self._r.lrange("list", 0, -1))


async def fail_over(servers: Servers, load: Load) -> None:
    await asyncio.sleep(0.5)
    await asyncio.to_thread(servers.failover)
    await asyncio.sleep(4)
    await load.end()
    await asyncio.to_thread(servers.settle)


@pytest.mark.parametrize("options", [{}, {"limit": 3, "concurrency": 1}], ids=["shared", "classic pool"])
async def test_a_planned_failover_loses_nothing(servers: Servers, options: Options) -> None:
    """S3, S4. Reads of the primary go on all the time."""
    async with Client(servers.url, **options) as r:
        load = Load(r)
        reads = 0.0

        async def read() -> None:
            nonlocal reads
            while True:
                since = time.monotonic()
                await r.llen("list")
                reads = max(reads, time.monotonic() - since)
                await asyncio.sleep(0.005)

        reader = asyncio.create_task(read())
        await fail_over(servers, load)
        reader.cancel()
        assert len(load.acknowledged) > 500
        assert load.errors == []
        assert await load.lost() == set()
        assert load.longest > 0.2, "writes were held"
        assert reads < load.longest


async def test_without_the_hold_writes_are_lost(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation that shows what S4 is for: what the old primary took after the promotion is gone."""
    monkeypatch.setattr(Outlook, "hold", lambda self, why: None)
    async with Client(servers.url) as r:
        load = Load(r)
        await fail_over(servers, load)
        lost = await load.lost()
        assert lost
        assert len(lost) < len(load.acknowledged) / 2, "but no more than until +switch-master"


async def test_a_hold_ends_by_itself(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook_module, "HOLD", 0.3)
    async with Client(servers.url) as r:
        await r.set("k", "1")
        here = r.node.outlooks.here()  # type: ignore[attr-defined]
        here.hold("a test")
        since = time.monotonic()
        await r.set("k", "2")
        assert time.monotonic() - since > 0.25
        here.hold("a test")
        write = asyncio.create_task(r.set("k", "3"))
        await asyncio.sleep(0.05)
        assert not write.done()
        here.release("a test")
        assert await write


async def until(found: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await found():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_primary_that_dies_or_hangs_is_left_when_the_next_is_known(servers: Servers, number: int) -> None:
    """S12: nobody waits longer for the dead one than until the sentinels' word. A write is never run twice."""
    async with Client(servers.url, timeout=15) as r:
        await r.set("n", "0")
        old = servers.master()
        await asyncio.to_thread(servers.at(old).signal, number)
        since = time.monotonic()
        told: list[float] = []

        async def watch() -> None:
            while old in [await asyncio.to_thread(servers.master, number) for number in (0, 1)]:
                await asyncio.sleep(0.02)
            told.append(time.monotonic() - since)

        watching = asyncio.create_task(watch())
        impatient = r.with_options(timeout=0.3)
        with pytest.raises((TimeoutError, ConnectionLost)):
            await impatient.set("other", "1")  # on the connection that has just ended, or on none
        assert time.monotonic() - since < 1.0, "the deadline holds"
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(r.get("n")) for _ in range(20)]
        assert {read.result() for read in reads} == {"0"}
        took = time.monotonic() - since
        await watching
        assert took < told[0] + 2.5, "the leader is the last to tell the new address"
        assert await r.incr("n") == 1


async def test_subscriptions_move_with_a_gap(servers: Servers) -> None:
    async with Client(servers.url) as r, r.subscribe("news", gaps=True) as news:
        await r.publish("news", "before")
        assert getattr(await news.get(), "data", None) == "before"
        old = r.node.outlooks.here().primary  # type: ignore[attr-defined]
        before = time.time()
        await asyncio.to_thread(servers.failover)
        promoted: list[float] = []
        while not promoted:
            with suppress(OSError):  # a server that is promoted drops its clients
                promoted += [time.time() for each in servers.servers[1:] if "role:master" in servers.info(each)]
            await asyncio.sleep(0.01)
        gap = await news.get(timeout=20)
        assert isinstance(gap, Gap)
        assert before - 2 < gap.at < promoted[0], "others may publish at the new primary before it is told"
        assert r.node.outlooks.here().primary != old  # type: ignore[attr-defined]
        assert await r.publish("news", "after") == 1, "at the new primary, although the old one still answers"
        assert getattr(await news.get(), "data", None) == "after"


async def test_a_blocking_pop_moves_and_pops_once(servers: Servers) -> None:
    async with Client(servers.url) as r:
        found: list[Any] = []

        async def pop() -> None:
            while (item := await r.blpop(("jobs",), 20)) is not None:
                found.append(item[1])
                if item[1] == "end":
                    return

        popping = [asyncio.create_task(pop()) for _ in range(3)]
        await asyncio.sleep(0.2)
        old = r.node.outlooks.here().primary  # type: ignore[attr-defined]
        await asyncio.to_thread(servers.failover)

        async def moved() -> bool:
            return bool(r.node.outlooks.here().primary not in (old, None))  # type: ignore[attr-defined]

        await until(moved)
        await r.rpush("jobs", *map(str, range(100)))
        await r.rpush("jobs", "end", "end", "end")
        async with asyncio.timeout(5):
            await asyncio.gather(*popping)
        assert sorted(found) == sorted([*map(str, range(100)), *["end"] * 3])


async def test_a_lease_on_the_old_primary_writes_no_more(servers: Servers) -> None:
    async with Client(servers.url) as r, r.connection() as c:
        await c.set("k", "1")
        old = r.node.outlooks.here().primary  # type: ignore[attr-defined]
        await asyncio.to_thread(servers.failover)

        async def moved() -> bool:
            return bool(r.node.outlooks.here().primary != old)  # type: ignore[attr-defined]

        await until(moved)
        with pytest.raises(ConnectionLost) as caught:
            await c.set("k", "2")
        assert caught.value.outcome == "not sent"
        async with r.connection() as again:
            assert await again.set("k", "3")


async def test_a_primary_that_says_readonly_is_left_and_the_write_runs_once(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S5: even if no news is heard at all."""
    monkeypatch.setattr(SentinelSource, "watch", lambda self, outlook: None)
    async with Client(servers.url) as r:
        await r.set("n", "0")
        old = r.node.outlooks.here().primary  # type: ignore[attr-defined]
        await asyncio.to_thread(servers.failover)
        await asyncio.to_thread(servers.settle)
        for number in range(1, 20):
            assert await r.incr("n") == number
        assert r.node.outlooks.here().primary != old  # type: ignore[attr-defined]


async def test_news_that_was_missed_is_asked_for(servers: Servers) -> None:
    """The sentinels' connections are lost, and the failover happens before they are heard again."""
    async with Client(servers.url) as r:
        await r.set("k", "1")
        here = r.node.outlooks.here()  # type: ignore[attr-defined]
        old = here.primary
        monkey = here.switch
        missed = 0

        def deaf(to: Address, why: str) -> None:
            nonlocal missed
            missed += 1
            if "missed" in why:
                monkey(to, why)

        here.switch = deaf
        await asyncio.to_thread(servers.failover)
        async with asyncio.timeout(20):
            while missed < 2:
                await asyncio.sleep(0.05)
        assert here.primary == old
        for node in r.node.source.nodes():  # type: ignore[attr-defined]
            node.hubs.here().move(ConnectionLost("a test"))

        async def moved() -> bool:
            return bool(here.primary not in (old, None))

        await r.set("k", "2")
        await until(moved)
