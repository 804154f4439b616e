"""Consumers of a group: each entry is acknowledged after the work on it, and what is not comes again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from aioresp import Client, DecodeError, Delivery, GroupReader, NoGroupError
from aioresp.testing import Server
from tests.streams.groups import Ledger, add, ledger, number_of, pending, s, text

__all__ = ["ledger", "s"]  # fixtures


@pytest.fixture(params=[True, False], ids=["str", "bytes"])
async def r(server: Server, protocol: int, request: pytest.FixtureRequest) -> AsyncIterator[Client[Any]]:
    async with Client[Any](server.url, decode_responses=request.param, protocol=3 if protocol == 3 else 2) as client:
        yield client


async def rest(g: GroupReader[Any]) -> list[int]:
    return [number_of(entry) async for entry in g]


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
    async with Client(server.url, middleware=ledger.middleware) as r:
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
