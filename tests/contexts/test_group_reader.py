"""Consumers of a group: each entry is acknowledged after the work on it, and what is not comes again."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from aioresp import Client, ConnectionLost, DecodeError, Delivery, GroupReader, NoGroupError, Retry
from aioresp.command import Arguments
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import at_rest, in_step, tasks_besides

SOON = Retry(base=0.001, cap=0.01)


class Ledger:
    """What was handed out and ended well; sees to it that nothing else is acknowledged."""

    def __init__(self) -> None:
        self.handed: list[int] = []
        self.ended: list[int] = []
        self.acks = 0

    async def around(self, arguments: Arguments, send: Callable[[], Awaitable[Any]]) -> Any:
        if arguments[0] == "XACK":
            for number in arguments[3:]:
                assert isinstance(number, bytes)
                assert int(number.partition(b"-")[0]) in self.ended, "acknowledged before its body ended well"
                self.acks += 1
        return await send()

    def take(self, entry: Delivery[Any]) -> int:
        number = number_of(entry)
        self.handed.append(number)
        return number


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(params=[True, False], ids=["str", "bytes"])
async def r(
    anyio_backend: object, server: Server, protocol: int, request: pytest.FixtureRequest
) -> AsyncIterator[Client[Any]]:
    async with Client[Any](server.url, decode_responses=request.param, protocol=3 if protocol == 3 else 2) as client:
        yield client


@pytest.fixture
async def s(anyio_backend: object, server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


def text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def number_of(entry: Delivery[Any]) -> int:
    return int(text(entry.id).partition("-")[0])


async def add(r: Client[Any], name: str, *numbers: int) -> None:
    for number in numbers:
        await r.xadd(name, {"n": number}, id=f"{number}-1")


async def rest(g: GroupReader[Any]) -> list[int]:
    return [number_of(entry) async for entry in g]


async def pending(r: Client[Any], name: str, consumer: str | None = None) -> list[int]:
    lines = await r.xpending_range(name, "g", "-", "+", 1000, consumer)
    return [int(text(line.id).partition("-")[0]) for line in lines]


async def waiting(direct: Client[Any], count: int = 1) -> None:
    """Wait until so many clients of the server wait there."""
    async with asyncio.timeout(5):
        while (await direct.info("clients"))["blocked_clients"] < count:
            await asyncio.sleep(0.005)


# --- What comes out, and in which order -------------------------------------------------------------------------------


async def test_what_comes_out(r: Client[Any], prefix: str) -> None:
    kind = str if r._decode else bytes
    await r.xadd(f"{prefix}s", {"name": "é"}, id="5-1")
    async with r.group_reader("g", "c", f"{prefix}s", block=None) as g:
        (entry,) = [entry async for entry in g]
    assert type(entry) is Delivery
    for value in (entry.stream, entry.id, *entry.fields, *entry.fields.values()):
        assert type(value) is kind
    assert (text(entry.stream), text(entry.id), entry.deliveries) == (f"{prefix}s", "5-1", 1)
    assert [(text(name), text(value)) for name, value in entry.fields.items()] == [("name", "é")]
    assert repr(entry).startswith("Delivery(stream=")


async def test_each_is_acknowledged_when_the_next_is_asked_for(r: Client[Any], prefix: str) -> None:
    name = f"{prefix}s"
    await add(r, name, *range(1, 8))
    async with r.group_reader("g", "c", name, count=3, block=None) as g:
        for n in range(1, 8):
            assert number_of(await anext(g)) == n
            assert (await pending(r, name))[0] == n
            assert "1 out" in repr(g)
        with pytest.raises(StopAsyncIteration):
            await anext(g)
        assert await pending(r, name) == []
        await add(r, name, 8)
        assert await rest(g) == [8], "to iterate again goes on"
    assert await pending(r, name) == []


async def test_own_entries_come_first_then_claims_then_new_ones(r: Client[Any], prefix: str) -> None:
    name = f"{prefix}s"
    await add(r, name, *range(1, 11))
    await r.xgroup_create(name, "g", "0")
    await r.xreadgroup("g", "dead", {name: ">"}, count=3)
    await r.xreadgroup("g", "c", {name: ">"}, count=4)
    await r.xreadgroup("g", "dead", {name: ">"}, count=1)
    await asyncio.sleep(0.25)
    async with r.group_reader("g", "c", name, count=2, block=None, min_idle=200) as g:
        found = [(number_of(entry), entry.deliveries) async for entry in g]
    assert found == [(4, 2), (5, 2), (6, 2), (7, 2), (1, 2), (2, 2), (3, 2), (8, 2), (9, 1), (10, 1)]
    assert await pending(r, name) == []


async def test_several_streams(r: Client[Any], prefix: str) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    await add(r, a, 1, 2, 3)
    await add(r, b, 1, 2, 3)
    await r.xgroup_create(a, "g", "0")
    await r.xgroup_create(b, "g", "0")
    await r.xreadgroup("g", "c", {a: ">", b: ">"}, count=1)
    await r.xreadgroup("g", "dead", {a: ">", b: ">"}, count=1)
    await asyncio.sleep(0.15)
    async with r.group_reader("g", "c", a, b.encode(), a, block=None, min_idle=timedelta(milliseconds=100)) as g:
        found = [(text(entry.stream), number_of(entry)) async for entry in g]
    assert found == [(a, 1), (b, 1), (a, 2), (b, 2), (a, 3), (b, 3)]
    assert await pending(r, a) == await pending(r, b) == []


async def test_what_the_dead_left_is_claimed_while_waiting(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await s.xgroup_create(name, "g", mkstream=True)
    async with s.group_reader("g", "c", name, min_idle=60) as g:
        task = asyncio.ensure_future(anext(g))
        await asyncio.sleep(0.05)
        async with s.pipeline(transaction=True) as p:  # before the one who waits can have it
            await_added = p.xadd(name, {"n": 1}, id="1-1")
            p.xreadgroup("g", "dead", {name: ">"})
        assert await await_added == "1-1"
        async with asyncio.timeout(5):
            entry = await task
        assert (entry.id, entry.deliveries) == ("1-1", 2)
        assert await entry.ack()
    assert await pending(s, name) == []


async def test_without_min_idle_nothing_is_claimed(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await add(s, name, 1, 2)
    await s.xgroup_create(name, "g", "0")
    await s.xreadgroup("g", "dead", {name: ">"}, count=1)
    await asyncio.sleep(0.02)
    async with s.group_reader("g", "c", name, min_idle=None, block=None) as g:
        assert await rest(g) == [2]
    assert await pending(s, name) == [1]


# --- What is acknowledged, and what is not ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["break", "return", "a caught exception", "the end of the block"])
async def test_leaving_the_body_acknowledges_nothing(s: Client[str], prefix: str, way: str) -> None:
    """To the iterator they are all the same, so none of them may count as a good end."""
    name = f"{prefix}s"
    await add(s, name, 1, 2, 3)

    async def work(g: GroupReader[str]) -> None:
        async for entry in g:
            if entry.id == "2-1":
                if way == "break":
                    break
                if way == "return":
                    return
                raise KeyError

    async with s.group_reader("g", "c", name, block=None) as g:
        if way == "a caught exception":
            with pytest.raises(KeyError):
                await work(g)
        elif way == "the end of the block":
            await anext(g)
            await anext(g)
        else:
            await work(g)
        assert await pending(s, name) == [2, 3]
        if way == "break":
            assert await rest(g) == [3]
    assert await pending(s, name) == ([2] if way == "break" else [2, 3])
    async with s.group_reader("g", "c", name, block=None) as g:
        assert await rest(g) == ([2] if way == "break" else [2, 3])
    assert await pending(s, name) == []


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError, KeyboardInterrupt])
async def test_leaving_by_an_exception_does_not(s: Client[str], prefix: str, error: type[BaseException]) -> None:
    name = f"{prefix}s"
    await add(s, name, 1, 2, 3)
    with pytest.raises(error):
        async with s.group_reader("g", "c", name) as g:
            async for entry in g:
                if entry.id == "2-1":
                    raise error
    assert await pending(s, name) == [2, 3]
    async with s.group_reader("g", "c", name, block=None) as g:
        found = [(number_of(entry), entry.deliveries) async for entry in g]
        assert found == [(2, 2), (3, 2)]
    assert await pending(s, name) == []


async def test_nack_leaves_an_entry_until_it_is_claimed(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await add(s, name, 1, 2, 3)
    async with s.group_reader("g", "c", name, block=500, min_idle=400) as g:
        found = []
        async for entry in g:
            found.append((number_of(entry), entry.deliveries))
            if len(found) == 2:
                entry.nack()
            if len(found) == 4:
                await entry.ack()
                break
    assert found == [(1, 1), (2, 1), (3, 1), (2, 2)]
    assert await pending(s, name) == []


async def test_ack_at_once(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await add(s, name, 1, 2)
    with pytest.raises(KeyError):
        async with s.group_reader("g", "c", name) as g:
            async for entry in g:
                assert await entry.ack() is True
                assert await entry.ack() is False
                raise KeyError
    assert await pending(s, name) == [2]


async def test_a_block_for_each_entry_tells_for_sure(s: Client[str], prefix: str) -> None:
    """An exception that is caught between two entries: the iterator alone could not know of it."""
    name = f"{prefix}s"
    await add(s, name, *range(1, 7))
    async with s.group_reader("g", "c", name, block=None) as g:
        async for entry in g:
            try:
                async with entry:
                    if number_of(entry) % 2:
                        raise ValueError
                    assert number_of(entry) in await pending(s, name)
                assert number_of(entry) not in await pending(s, name)
            except ValueError:
                continue
        assert await pending(s, name) == [1, 3, 5]
        await add(s, name, 8)
        async with await anext(g) as entry:
            entry.nack()
    assert await pending(s, name) == [1, 3, 5, 8]


async def test_many_bodies_at_a_time(server: Server, prefix: str, ledger: Ledger) -> None:
    """Bodies that take longer than `min_idle` keep what they have; what fails comes again."""
    name = f"{prefix}s"
    async with Client(server.url, around=ledger.around) as r:
        await add(r, name, *range(1, 101))

        async def work(entry: Delivery[str]) -> None:
            async with room, entry:
                number = ledger.take(entry)
                await asyncio.sleep(0.1 if number % 7 == 0 else 0.001)
                if number % 10 == 0 and ledger.handed.count(number) == 1:
                    raise ValueError(number)
                ledger.ended.append(number)

        room = asyncio.Semaphore(8)
        tasks = []
        async with r.group_reader("g", "c", name, auto_ack=False, min_idle=30) as g:
            async for entry in g:
                tasks.append(asyncio.create_task(work(entry)))
                if len(tasks) == 110:
                    break
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert len([result for result in results if result is not None]) == 10
        assert sorted(ledger.ended) == list(range(1, 101)), "claimed from itself and handed out twice"
        assert await pending(r, name) == []
        assert ledger.acks == 100


async def test_an_entry_can_be_acknowledged_after_the_reader_was_left(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await add(s, name, 1, 2)
    async with s.group_reader("g", "c", name, auto_ack=False) as g:
        entries = [await anext(g), await anext(g)]
    assert await pending(s, name) == [1, 2]
    for entry in entries:
        assert await entry.ack()
    assert await pending(s, name) == []


async def test_an_entry_that_is_no_text_fails_alone_and_stays_pending(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await s.xadd(name, {"n": 1}, id="1-1")
    await s.xadd(name, {"n": b"\xff"}, id="2-1")
    await s.xadd(name, {"n": 3}, id="3-1")
    async with s.group_reader("g", "c", name, block=None) as g:
        assert number_of(await anext(g)) == 1
        with pytest.raises(DecodeError, match=r"entry 2-1 is not UTF-8.*\[XREADGROUP"):
            await anext(g)
        assert await rest(g) == [3]
    assert await pending(s, name) == [2]
    async with s.with_options(decode_responses=False).group_reader("g", "c", name, block=None) as b:
        assert [entry.fields async for entry in b] == [{b"n": b"\xff"}]
    assert await pending(s, name) == []


async def test_an_entry_that_is_no_text_is_claimed_like_any_other(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await s.xadd(name, {"n": b"\xff"}, id="2-1")
    async with s.group_reader("g", "c", name, min_idle=50) as g, asyncio.timeout(10):
        for _ in range(3):
            with pytest.raises(DecodeError, match="entry 2-1"):
                await anext(g)
    assert await pending(s, name) == [2]


# --- What is gone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["own", "dead"])
async def test_entries_that_were_deleted_while_they_were_pending(
    r: Client[Any], prefix: str, whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{prefix}s"
    await add(r, name, *range(1, 8))
    await r.xgroup_create(name, "g", "0")
    await r.xreadgroup("g", "c" if whose == "own" else "dead", {name: ">"}, count=5)
    await r.xdel(name, "2-1", "3-1", "5-1")
    await asyncio.sleep(0.02)
    async with r.group_reader("g", "c", name, count=2, block=None, min_idle=None if whose == "own" else 10) as g:
        assert await rest(g) == [1, 4, 6, 7]
        assert await pending(r, name) == []
    assert "pending entries are no longer in the stream" in caplog.text


async def test_a_batch_that_has_waited_too_long_is_asked_for_again(s: Client[str], prefix: str) -> None:
    """Another consumer claims what was fetched and not handed out in time: it is not handed out here."""
    name = f"{prefix}s"
    await add(s, name, *range(1, 6))
    async with s.group_reader("g", "slow", name, count=5, block=None, min_idle=400) as g:
        async with await anext(g) as entry:
            assert number_of(entry) == 1
        await asyncio.sleep(0.45)
        claimed = await s.xclaim(name, "g", "other", 400, ["2-1", "3-1"])
        assert len(claimed) == 2
        assert await rest(g) == [4, 5]
    assert await pending(s, name) == [2, 3]


@pytest.mark.parametrize("how", ["destroyed", "deleted"])
@pytest.mark.parametrize("waiting", [True, False])
async def test_a_group_that_is_gone_is_made_again(
    s: Client[str], prefix: str, how: str, waiting: bool, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{prefix}s"
    await add(s, name, 1, 2)
    async with s.group_reader("g", "c", name, block=200, count=1) as g:
        assert number_of(await anext(g)) == 1
        assert number_of(await anext(g)) == 2
        task: asyncio.Future[Any] | None = None
        if waiting:
            task = asyncio.ensure_future(anext(g))
            await asyncio.sleep(0.05)
        if how == "destroyed":
            await s.xgroup_destroy(name, "g")
        else:
            await s.delete(name)
        await add(s, name, 3)
        async with asyncio.timeout(5):
            entry = await (task or anext(g))
            found = [number_of(entry)]
            while found[-1] != 3:
                entry = await anext(g)
                found.append(number_of(entry))
            await entry.ack()
        # From "0" on: twice is better than never.
        assert found == ([1, 2, 3] if how == "destroyed" else [3])
    assert "made again" in caplog.text
    assert await pending(s, name) == []


async def test_a_group_that_follows_is_made_again_where_it_was(s: Client[str], prefix: str) -> None:
    name = f"{prefix}s"
    await add(s, name, 1, 2)
    async with s.group_reader("g", "c", name, block=None, start="$") as g:
        await s.xgroup_destroy(name, "g")
        await add(s, name, 3, 4)
        assert await rest(g) == [3, 4]
        await s.xgroup_destroy(name, "g")
        await add(s, name, 5)
        assert await rest(g) == [5]


async def test_without_create_it_raises(s: Client[str], prefix: str) -> None:
    async with s.group_reader("g", "c", f"{prefix}s", create=False) as g:
        with pytest.raises(NoGroupError):
            await anext(g)
    assert not await s.exists(f"{prefix}s")


async def test_misuse(s: Client[str], prefix: str) -> None:
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: s.group_reader("g", "c"), "names is empty"),
        (lambda: s.group_reader("g", "c", "s", count=0), "count is 0"),
        (lambda: s.group_reader("g", "c", "s", block=-1), "block is -1"),
        (lambda: s.group_reader("g", "c", "s", min_idle=0), "min_idle is 0"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()
    reader = s.group_reader("g", "c", f"{prefix}s")
    with pytest.raises(RuntimeError, match="not entered"):
        await anext(reader)
    async with reader:
        with pytest.raises(RuntimeError, match="entered already"):
            await reader.__aenter__()
        task = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(reader)
        task.cancel()
        await asyncio.wait([task])


# --- Cancelled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["the same reader", "another reader"])
async def test_cancelled_at_any_time_nothing_is_lost(server: Server, prefix: str, again: str, ledger: Ledger) -> None:
    """Whoever asks next, under the same name, gets what was delivered to one who was cancelled."""
    before, name, last = tasks_besides(), f"{prefix}s", 241
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, timeout=5, around=ledger.around) as r,
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
    monkeypatch.setattr("aioresp.contexts.group_reader.GRACE", 0.1)
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
    monkeypatch.setattr("aioresp.contexts.group_reader.GRACE", 0.1)
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
        Client(proxy.url, retry=SOON, around=ledger.around) as r,
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
            Client(running.url, retry=Retry(2, base=0.01, cap=0.05), around=ledger.around) as r,
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
    async with Client(server.url, limit=10, timeout=5) as r:

        async def read(number: int) -> int:
            async with r.group_reader("g", f"c{number}", f"{prefix}{number}", block=50) as g:
                return number_of(await anext(g))

        tasks = [asyncio.create_task(read(number)) for number in range(1, 201)]
        with anyio.fail_after(5):
            while r.stats().leased < 9:
                await asyncio.sleep(0.01)
            await in_step(r)
            assert r.stats().leased <= 9
            for number in range(1, 201):
                await add(r, f"{prefix}{number}", number)
        with anyio.fail_after(20):
            assert await asyncio.gather(*tasks) == list(range(1, 201))
        await at_rest(r)
