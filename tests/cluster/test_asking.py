"""ASKING and its command are adjacent on one connection, whatever else the connection carries (C1, C2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from aioresp.cluster import Cluster
from aioresp.testing import ClusterServers
from aioresp.wire.connection import Connection
from tests.cluster.moving import Noting, commands, half_moved, other_than, tapped
from tests.rest import until

KEYS = [f"{{ask}}{number}" for number in range(200)]


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Noting]:
    """The transports of all connections that are made from now on."""
    found: list[Noting] = []
    made = Connection.connection_made

    def note(connection: Connection, transport: asyncio.Transport) -> None:
        found.append(Noting(transport))
        made(connection, cast(Any, found[-1]))

    monkeypatch.setattr(Connection, "connection_made", note)
    return found


def asked(noted: list[Noting], *, in_one_write: bool = True) -> list[bytes]:
    """Return the names of the commands behind each ASKING: they stand in the same write, and have a key of the slot."""
    found = []
    for transport in noted:
        for data in transport.written if in_one_write else [b"".join(transport.written)]:
            words = list(commands(data))
            for number, command in enumerate(words):
                if command != [b"ASKING"]:
                    continue
                assert number + 1 < len(words), "ASKING is alone in its write"
                behind = words[number + 1]
                if behind == [b"MULTI"]:
                    assert [b"EXEC"] in words[number:]
                else:
                    assert any(word.startswith(b"{ask}") for word in behind), behind
                found.append(behind[0])
    return found


async def read_all(r: Cluster[str]) -> None:
    assert await asyncio.gather(*map(r.get, KEYS)) == KEYS


async def pipe(r: Cluster[str]) -> None:
    async with r.pipeline() as p:
        values = [p.get(key) for key in KEYS]
        added = [p.append(key, "!") for key in KEYS]
    assert [await value for value in values] == KEYS
    assert [await length for length in added] == [len(key) + 1 for key in KEYS]


async def pipe_much(r: Cluster[str]) -> None:
    async with r.pipeline() as p:
        added = [p.append(KEYS[number % 200], "!") for number in range(12_000)]
    assert [await length for length in added[-200:]] == [len(key) + 60 for key in KEYS]


async def transact(r: Cluster[str]) -> None:
    for key in ("{ask}new", "{ask}newer"):
        async with r.pipeline(transaction=True) as p:
            before = p.get(key)
            p.set(key, "1")
            after = p.incr(key)
        assert (await before, await after) == (None, 2)
    await r.delete("{ask}new")
    await r.delete("{ask}newer")


async def transact_much(r: Cluster[str]) -> None:
    async with r.pipeline(transaction=True) as p:
        p.set("{ask}large", "x" * 2_000_000)
        size = p.strlen("{ask}large")
    assert await size == 2_000_000
    await r.delete("{ask}large")


async def run_scripts(r: Cluster[str]) -> None:
    script = r.register_script("return redis.call('GET', KEYS[1])")
    assert await asyncio.gather(*(script([key]) for key in KEYS)) == KEYS
    async with r.pipeline() as p:
        values = [script([key], client=p) for key in KEYS]
    assert [await value for value in values] == KEYS


async def set_large(r: Cluster[str]) -> None:
    assert await asyncio.gather(*(r.set(f"{{ask}}large{n}", "x" * 300_000) for n in range(4))) == [True] * 4
    for number in range(4):
        await r.delete(f"{{ask}}large{number}")


@pytest.mark.parametrize(
    ("call", "behind"),
    [
        (read_all, {b"GET": 100}),
        (pipe, {b"GET": 100, b"APPEND": 100}),
        (transact, {b"MULTI": 2, b"DEL": 2}),
        (run_scripts, {b"EVALSHA": 100}),
        pytest.param(pipe_much, {b"APPEND": 6000}, marks=pytest.mark.soak),
        pytest.param(transact_much, {b"MULTI": 1, b"DEL": 1}, marks=pytest.mark.soak),
        pytest.param(set_large, {b"SET": 4, b"DEL": 4}, marks=pytest.mark.soak),
    ],
)
async def test_asking_stands_before_its_command_in_one_write(
    fresh: ClusterServers,
    r: Cluster[str],
    noted: list[Noting],
    call: Callable[[Cluster[str]], Awaitable[None]],
    behind: dict[bytes, int],
) -> None:
    async with Cluster(fresh.url) as client, half_moved(fresh, r, KEYS):
        await call(client)
        large = call in (pipe_much, transact_much, set_large)  # whose chunks are writes of their own on Python 3.11
        names = asked(noted, in_one_write=not large)
        assert {name: names.count(name) for name in behind} == behind
        assert set(names) <= {*behind, b"EVAL"}


@pytest.mark.parametrize("options", [{}, {"concurrency": 1, "limit": 20}, {"protocol": 2}])
async def test_asking_stands_before_a_blocking_command(
    fresh: ClusterServers, r: Cluster[str], noted: list[Noting], options: dict[str, Any]
) -> None:
    async with Cluster(fresh.url, **options) as client, half_moved(fresh, r, KEYS):
        for least in (10, 20):
            popping = [asyncio.create_task(client.blpop([f"{{ask}}queue{n % 5}"], timeout=60)) for n in range(10)]
            await until(lambda least=least: asked(noted).count(b"BLPOP") >= least)  # type: ignore[misc]
            await asyncio.gather(*(r.rpush(f"{{ask}}queue{n}", "a", "b") for n in range(5)))
            found = await asyncio.gather(*popping)
            assert {*found} == {(f"{{ask}}queue{n}", value) for n in range(5) for value in "ab"}


async def test_asking_is_no_write_of_its_own_on_a_connection_with_one_caller(
    fresh: ClusterServers, r: Cluster[str], noted: list[Noting]
) -> None:
    """What a lone caller sends is written at once, without a look for more commands of the turn."""
    async with Cluster(fresh.url, limit=1) as client, half_moved(fresh, r, KEYS) as migration:
        own = next(name for n in range(200) if fresh.primary_of(name := f"own{n}") is migration.target)
        for number in range(1, 4):
            assert await client.get(own) is None
            assert await client.blpop(["{ask}queue"], timeout=0.01) is None
            assert asked(noted) == [b"BLPOP"] * number


async def test_two_hundred_tasks_share_a_connection_with_asking(
    fresh: ClusterServers, r: Cluster[str], noted: list[Noting]
) -> None:
    """Commands for slots of the target, and for others, go over the connection that carries ASKING."""
    async with Cluster(fresh.url) as client, half_moved(fresh, r, KEYS) as migration:
        own = [name for n in range(200) if fresh.primary_of(name := f"own{n}") is migration.target][:40]
        await r.mset_nonatomic({name: name for name in own})
        fresh.reset_stats()
        left = iter([*KEYS, *own] * 4)

        async def read() -> None:
            for key in left:
                assert await client.get(key) == key

        await asyncio.gather(*(read() for _ in range(200)))
        assert set(asked(noted)) == {b"GET"}
        assert fresh.errorstats().get("MOVED", 0) == 0
        assert len([transport for transport in noted if b"ASKING" in b"".join(transport.written)]) == 1


async def test_a_redirect_behind_asking_is_followed(fresh: ClusterServers, r: Cluster[str]) -> None:
    """The slot goes to a third node between the ASK and the question at the target."""
    home, target = fresh.primary_of(KEYS[0]), other_than(fresh, KEYS[0])
    other = next(node for node in fresh.primaries() if node not in (home, target))
    await r.mset({key: key for key in KEYS})
    async with tapped(fresh) as (client, taps):
        await client.get(KEYS[0])
        migration = fresh.begin_migration(KEYS[0], target)
        migration.move(100)
        ended = False

        def end(data: bytes) -> None:
            nonlocal ended
            if b"ASKING" in data and not ended:
                ended = True
                migration.end()
                fresh.migrate(KEYS[0], other)

        for tap in taps.values():
            tap.answer = end
        try:
            assert await asyncio.gather(*map(client.get, KEYS)) == KEYS
            assert ended
        finally:
            if not ended:
                migration.end()
            fresh.migrate(KEYS[0], home)
