"""Pipelines over a cluster: any slots, each reply in its place, and transactions of one slot (C10, C11)."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest

from aioresp import (
    ClusterError,
    CommandRefused,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    CrossSlotError,
    PoolTimeout,
    RedisError,
    ResponseError,
    WatchError,
)
from aioresp.cluster import Cluster
from aioresp.cluster.batches import Commands
from aioresp.cluster.slots import slot_of
from aioresp.errors import response_error
from aioresp.options import Terms
from aioresp.testing import ClusterNode, ClusterServers
from aioresp.wire.packing import pack


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


async def test_each_reply_comes_to_its_place(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with r.pipeline() as p:
        results = [p.set(f"k{number}", str(number)) for number in range(100)]
        pong = p.ping()
        values = [p.get(f"k{number}") for number in range(100)]
    assert all([await result for result in results])
    assert await pong
    assert [await value for value in values] == [str(number) for number in range(100)]


async def test_an_error_belongs_to_its_command(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.set("text", "x")
    p = r.pipeline()
    p.incr("one")
    p.incr("text")
    p.incr("two")
    values = await p.execute(raise_on_error=False)
    assert (values[0], values[2]) == (1, 1)
    assert isinstance(values[1], ResponseError)
    assert values[1].key == "'text'"


async def test_a_pipeline_refuses_keys_of_two_slots_in_one_command(fresh: ClusterServers, r: Cluster[str]) -> None:
    p = r.pipeline()
    with pytest.raises(CrossSlotError, match="'a' and 'b'"):
        p.mset({"a": 1, "b": 2})
    with pytest.raises(CommandRefused, match="on the client"):
        p.dbsize()
    p.set("{t}a", 1)
    p.mget("{t}a", "{t}b")
    assert await p.execute() == [True, ["1", None]]


async def test_commands_over_several_slots_do_in_a_pipeline_as_outside(fresh: ClusterServers, r: Cluster[str]) -> None:
    chance = random.Random(11)
    names: list[str | bytes] = [*(f"name:{number}" for number in range(30)), *(b"raw:%d" % n for n in range(30))]
    model: dict[str | bytes, str] = {}
    for _ in range(6):
        p = r.pipeline()
        expected: list[object] = []
        for step in range(40):
            some = chance.choices(names, k=chance.randrange(1, 12))
            what = chance.randrange(6)
            if what == 0:
                p.set(some[0], str(step))
                model[some[0]] = str(step)
                expected.append(True)
            elif what == 1:
                p.mget(some)
                expected.append([model.get(name) for name in some])
            elif what in (2, 3):
                (p.exists if what == 2 else p.touch)(*some)
                expected.append(sum(name in model for name in some))
            else:
                (p.delete if what == 4 else p.unlink)(*some)
                expected.append(len(set(some) & set(model)))
                model = {name: value for name, value in model.items() if name not in some}
        assert await p.execute() == expected


async def test_the_error_of_a_part_is_that_of_its_command(fresh: ClusterServers, r: Cluster[str]) -> None:
    odd = fresh.primary_of("a")
    keys = ["a", *(name for name in "bcdef" if fresh.primary_of(name) is not odd)]
    odd.call("ACL", "SETUSER", "default", "-unlink")
    try:
        p = r.pipeline()
        p.set("z", "1")
        p.unlink(*keys)
        p.get("z")
        first, error, last = await p.execute(raise_on_error=False)
        assert (first, last) == (True, "1")
        assert isinstance(error, ResponseError)
        assert (error.command, error.key) == ("UNLINK", "'a'")
        assert "slots are done" in str(error)
    finally:
        odd.call("ACL", "SETUSER", "default", "+unlink")


async def test_a_transaction_splits_nothing(fresh: ClusterServers, r: Cluster[str]) -> None:
    for queue in ("mget", "delete"):
        with pytest.raises(CrossSlotError, match="'a' and 'b'"):
            async with r.pipeline(transaction=True) as p:
                getattr(p, queue)("a", "b")
    p = r.pipeline()
    p.delete("a", "b")
    await p.watch("c")
    with pytest.raises(CrossSlotError, match="'a' and 'b'"):
        await p.execute()
    await p.reset()


async def test_lists_stay_in_order_while_their_slot_moves(fresh: ClusterServers, r: Cluster[str]) -> None:
    names = ["{order}a", "{order}b", "elsewhere", "there"]
    home, target = fresh.primary_of("{order}a"), other_than(fresh, "{order}a")
    moving = True

    async def move() -> None:
        nonlocal moving
        try:
            for owner in (target, home) * 3:
                await asyncio.to_thread(fresh.migrate, "{order}a", owner)
        finally:
            moving = False

    number = 0

    async def push() -> None:
        nonlocal number
        while moving:
            async with r.pipeline() as p:
                for _ in range(20):
                    number += 1
                    for name in names:
                        p.rpush(name, str(number))

    await asyncio.gather(move(), push())
    for name in names:
        assert await r.lrange(name, 0, -1) == [str(each) for each in range(1, number + 1)]


async def test_a_half_moved_slot_answers_a_pipeline(fresh: ClusterServers, r: Cluster[str]) -> None:
    keys = [f"{{piped}}{number}" for number in range(100)]
    await r.mset({key: key for key in keys})
    home = fresh.primary_of(keys[0])
    migration = fresh.begin_migration(keys[0], other_than(fresh, keys[0]))
    migration.move(50)
    try:
        async with r.pipeline() as p:
            values = [p.get(key) for key in keys]
        assert [await value for value in values] == keys
        async with r.pipeline() as p:
            pushed = [p.append(key, "!") for key in keys]
        assert [await length for length in pushed] == [len(key) + 1 for key in keys]
        async with r.pipeline(transaction=True) as p:
            value = p.get("{piped}new")
            p.set("{piped}new", "1")
        assert await value is None
    finally:
        migration.end()
        fresh.migrate(keys[0], home)
    assert await r.get("{piped}new") == "1"


def test_no_redirect_reaches_the_caller_of_a_command_that_came_too_late() -> None:
    """Its slot was elsewhere, and has come back before the next command of the same key: the order must stay."""
    slot = slot_of("k")
    moved, asked = response_error(f"MOVED {slot} 127.0.0.1:1"), response_error(f"ASK {slot} 127.0.0.1:1")
    packed = [pack(("RPUSH", "k", number)) for number in range(3)] + [pack(("GET", "{k}other"))]
    batch: Any = Commands(cast(Any, lambda: None), packed, [slot] * 4, Terms(), lambda: None)
    batch.take([0, 1, 2, 3], [moved, asked, 1, moved], False)
    assert batch.to_repeat() == [3]
    replies = batch.outcome().raw
    assert [type(reply) for reply in replies[:3]] == [ClusterError, ClusterError, int]
    assert "a later command of its key has run" in str(replies[0])


# --- Transactions -----------------------------------------------------------------------------------------------------


async def test_a_transaction_of_one_slot(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with r.pipeline(transaction=True) as p:
        count = p.incr("{t}a")
        p.set("{t}b", "x")
    assert await count == 1
    assert await r.get("{t}b") == "x"


async def test_a_transaction_over_two_slots_is_refused_before_a_byte(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.ping()
    before = r.stats().commands
    with pytest.raises(CrossSlotError, match="'a' and 'b'"):
        async with r.pipeline(transaction=True) as p:
            p.incr("a")
            p.incr("b")
    assert r.stats().commands == before


async def test_watched_keys_have_the_slot_of_the_transaction(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with r.pipeline() as p:
        await p.watch("{w}a")
        with pytest.raises(CrossSlotError):
            await p.watch("b")
        assert await p.get("{w}a") is None
        p.multi()
        p.set("{w}a", "1")
        assert await p.execute() == [True]
        await p.watch("{w}a")
        p.multi()
        p.set("other", "1")
        with pytest.raises(CrossSlotError, match="'other' and the watched keys"):
            await p.execute()


async def test_a_watched_key_whose_slot_has_moved_counts_as_changed(fresh: ClusterServers, r: Cluster[str]) -> None:
    home, target = fresh.primary_of("{w}a"), other_than(fresh, "{w}a")
    try:
        async with r.pipeline() as p:
            await p.watch("{w}a")
            await asyncio.to_thread(fresh.migrate, "{w}a", target)
            p.multi()
            p.set("{w}a", "1")
            with pytest.raises(WatchError):
                await p.execute()
        assert await r.get("{w}a") is None
        async with r.pipeline() as p:
            await p.watch("{w}a")
            p.multi()
            p.set("{w}a", "2")
        assert await r.get("{w}a") == "2"
    finally:
        fresh.migrate("{w}a", home)


async def test_transfers_between_accounts_sum_to_nothing_while_their_slot_moves(
    fresh: ClusterServers, r: Cluster[str]
) -> None:
    home, target = fresh.primary_of("{bank}a"), other_than(fresh, "{bank}a")
    moving = True

    async def move() -> None:
        nonlocal moving
        try:
            for owner in (target, home) * 3:
                await asyncio.to_thread(fresh.migrate, "{bank}a", owner)
        finally:
            moving = False

    done = 0

    async def transfer() -> None:
        nonlocal done
        while moving:
            async with r.pipeline(transaction=True) as p:
                p.decr("{bank}a")
                p.incr("{bank}b")
            done += 1

    async def watch() -> None:
        nonlocal done
        while moving:

            async def step(p: object) -> None:
                assert isinstance(p, type(r.pipeline()))
                a = int(await p.get("{bank}a") or 0)
                p.multi()
                p.set("{bank}a", a - 1)
                p.incr("{bank}b")

            await r.transaction(step, "{bank}a", attempts=1000)
            done += 1

    await asyncio.gather(move(), *(transfer() for _ in range(5)), watch())
    found = [int(value or 0) for value in await r.mget("{bank}a", "{bank}b")]
    assert found == [-done, done]


@pytest.mark.parametrize("unknown", [ConnectionLost("gone"), CommandTimeout("late")])
@pytest.mark.parametrize(
    "unsent", [ConnectError("refused"), ConnectionLost("gone", "not sent"), PoolTimeout("full")], ids=repr
)
async def test_the_error_of_a_whole_pipeline_leaves_open_what_one_command_does(
    r: Cluster[str], unknown: RedisError, unsent: RedisError
) -> None:
    """Reads are sent again, and end with an error of their own, when a write may have run already."""
    await r.ping()
    commands = [pack(("GET", "a")), pack(("INCR", "a")), pack(("GET", "a"))]
    batch = Commands(r.fleet.pools.here(), commands, [0, 0, 0], r.terms, lambda: None)
    batch.fail([0], unsent)
    batch.fail([1], unknown)
    batch.fail([2], unsent)
    with pytest.raises(type(unknown)) as caught:
        batch.outcome()
    assert getattr(caught.value, "outcome", "unknown") == "unknown"
    assert caught.value.command == "INCR"
