"""Redirects: each is followed, none reaches a caller, and nothing runs twice by accident (C1 to C4, C9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aioresp import (
    ArgumentError,
    AskError,
    Client,
    ClientClosed,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    MovedError,
    RedisError,
    Retry,
)
from aioresp.cluster import Cluster
from aioresp.cluster.redirect import Step, step_after
from aioresp.errors import response_error
from aioresp.facts.traits import traits
from aioresp.options import Terms
from aioresp.testing import ClusterNode, ClusterServers
from aioresp.testing.migration import Migration

#: Keys of one slot, of which the first half moves.
KEYS = [f"{{half}}{number}" for number in range(200)]


def other_than(cluster: ClusterServers, place: str | int) -> ClusterNode:
    """Return a primary that does not own the slot."""
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


@asynccontextmanager
async def half_moved(cluster: ClusterServers, r: Cluster[str]) -> AsyncIterator[Migration]:
    """Leave a slot half way between two nodes, and bring it home afterwards."""
    await r.mset({key: key for key in KEYS})
    home = cluster.primary_of(KEYS[0])
    migration = cluster.begin_migration(KEYS[0], other_than(cluster, KEYS[0]))
    migration.move(len(KEYS) // 2)
    try:
        yield migration
    finally:
        migration.end()
        await r.delete(*KEYS)
        cluster.migrate(KEYS[0], home)


def one_of_each(migration: Migration) -> tuple[str, str]:
    """Return a key that is still at the source, and one that has left it."""
    here = migration.source.call("CLUSTER", "GETKEYSINSLOT", migration.slot, len(KEYS))
    assert isinstance(here, list)
    stays = {str(key) for key in here}
    return min(stays), min(set(KEYS) - stays)


@pytest.mark.parametrize("tasks", [1, 20, 200])
async def test_a_slot_that_is_half_moved_is_read_by_any_number_of_tasks(
    fresh: ClusterServers, r: Cluster[str], tasks: int
) -> None:
    async with half_moved(fresh, r):
        fresh.reset_stats()
        left = iter(KEYS * 2)

        async def read() -> None:
            for key in left:
                assert await r.get(key) == key

        await asyncio.gather(*(read() for _ in range(tasks)))
        errors = fresh.errorstats()
        assert errors.get("MOVED", 0) == 0
        if fresh.nodes[0].version >= (7,):  # 6.2 counts ASK alike, and tells the counts by the same name
            assert errors["ASK"] == len(KEYS)


async def test_commands_with_several_keys_wait_for_the_end_of_a_move(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with half_moved(fresh, r) as migration:
        stays, gone = one_of_each(migration)
        reading = asyncio.create_task(r.mget(stays, gone))
        renaming = asyncio.create_task(r.rename(stays, gone))
        await asyncio.sleep(0.1)
        assert not renaming.done()
        migration.end()
        await renaming
        assert set(await reading) <= {stays, gone, None}
        assert await r.get(gone) == stays


async def test_a_deadline_ends_a_call_that_is_never_served(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with half_moved(fresh, r) as migration:
        stays, gone = one_of_each(migration)
        begin = time.monotonic()
        with pytest.raises(CommandTimeout, match=r"the last answer was: (TRYAGAIN|ASK)") as caught:
            await r.with_options(timeout=0.5).rename(stays, gone)
        assert 0.5 <= time.monotonic() - begin < 5
        assert caught.value.command == "RENAME"


async def test_redirects_are_followed_without_retries_too(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with half_moved(fresh, r):
        view = r.with_options(retry=None)
        assert await asyncio.gather(*map(view.get, KEYS)) == KEYS


async def test_a_moved_slot_is_learned_from_the_first_redirect(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.set("{to}a", "1")
    home, target = fresh.primary_of("{to}a"), other_than(fresh, "{to}a")
    fresh.migrate("{to}a", target)
    try:
        fresh.reset_stats()
        assert await r.get("{to}a") == "1"
        assert await r.incr("{to}a") == 2
        assert fresh.errorstats().get("MOVED", 0) == 1
    finally:
        fresh.migrate("{to}a", home)


async def test_nothing_runs_twice_while_slots_move_to_and_fro(fresh: ClusterServers, r: Cluster[str]) -> None:
    names = [f"{{fro}}{number}" for number in range(10)]
    home, target = fresh.primary_of(names[0]), other_than(fresh, names[0])
    moving = True

    async def move() -> None:
        nonlocal moving
        try:
            for owner in (target, home) * 4:
                await asyncio.to_thread(fresh.migrate, names[0], owner)
        finally:
            moving = False

    totals = dict.fromkeys(names, 0)

    async def count_all(name: str) -> None:
        while moving:
            await r.incr(name)
            totals[name] += 1

    await asyncio.gather(move(), *(count_all(name) for name in names for _ in range(3)))
    assert [int(value or 0) for value in await r.mget(names)] == list(totals.values())
    await r.delete(*names)


async def test_a_client_of_one_server_says_that_it_has_met_a_cluster(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with Client(other_than(fresh, "key").url) as client:
        with pytest.raises(MovedError, match=r"aioresp\.Cluster"):
            await client.get("key")


# --- Nodes that redirect without an end -------------------------------------------------------------------------------


#: What a node says that owns all slots.
_SHARD = "\r\n".join(
    (
        *("*1", "%2", "+slots", "*2", ":0", ":16383", "+nodes", "*1", "%6", "+id", "+n1", "+port", ":PORT"),
        *("+ip", "+127.0.0.1", "+endpoint", "+127.0.0.1", "+role", "+master", "+health", "+online", ""),
    )
)


async def read_word(reader: asyncio.StreamReader) -> bytes:
    size = int((await reader.readline())[1:])
    return (await reader.readexactly(size + 2))[:-2]


@asynccontextmanager
async def fake(answer: str) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A node that owns all slots by its own words, and has this answer to GET."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                words = [await read_word(reader) for _ in range(int(line[1:]))]
                if words[0] in (b"GET", b"INCRBY"):
                    asked.append(words[1])
                    if not answer:
                        break  # the command has run, and its reply is lost
                    writer.write(answer.replace("PORT", str(port)).encode())
                elif words[:2] == [b"CLUSTER", b"SHARDS"]:
                    writer.write(_SHARD.replace("PORT", str(port)).encode())
                elif words[0] == b"HELLO":
                    writer.write(b"%2\r\n+id\r\n:1\r\n+proto\r\n:3\r\n")
                else:
                    writer.write(b"+OK\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield port, asked
    finally:
        server.close()


@pytest.mark.parametrize("where", ["127.0.0.1:PORT", ":PORT", "?:PORT"])
async def test_a_node_that_redirects_to_itself_is_not_asked_in_a_hot_loop(where: str) -> None:
    async with fake(f"-MOVED 12182 {where}\r\n") as (port, asked):
        async with Cluster(f"redis+cluster://127.0.0.1:{port}", timeout=1.0) as client:
            with pytest.raises(CommandTimeout, match="MOVED 12182"):
                await client.get("foo")
        assert len(asked) <= 20


@pytest.mark.parametrize("error", ["MOVED 99999 127.0.0.1:1", "MOVED 12182 nowhere", "MOVED 7 127.0.0.1:1", "ASK"])
async def test_a_redirect_that_makes_no_sense_is_the_answer(error: str) -> None:
    async with fake(f"-{error}\r\n") as (port, asked):
        async with Cluster(f"redis+cluster://127.0.0.1:{port}") as client:
            with pytest.raises((MovedError, AskError), match=error):
                await client.get("foo")
        assert len(asked) == 1


async def test_without_retries_a_dead_node_is_told_at_once() -> None:
    async with Cluster("redis+cluster://127.0.0.1:1", retry=Retry(1)) as client:
        with pytest.raises(
            ConnectionError, match=r"no node of the cluster tells its topology: nothing listens at 127\.0\.0\.1:1"
        ):
            await client.get("foo")


async def test_a_lost_reply_is_not_asked_for_again_unless_that_is_harmless() -> None:
    async with fake("") as (port, asked), Cluster(f"redis+cluster://127.0.0.1:{port}", timeout=1.0) as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.incr("foo")
        assert (caught.value.outcome, caught.value.method, len(asked)) == ("unknown", "incr", 1)
        async with client.pipeline() as p:
            lost = p.incr("foo")
            p.get("foo")
            with pytest.raises(ConnectionLost):
                await p.execute()
        with pytest.raises(ConnectionLost):
            await lost
        before = len(asked)
        with pytest.raises(ConnectionLost):
            await client.with_options(idempotent=True).incr("foo")
        assert len(asked) > before + 1


@pytest.mark.parametrize(
    ("error", "command", "step"),
    [
        (ConnectionLost("x", "unknown"), ("INCR", "foo"), Step.STOP),
        (ConnectionLost("x", "unknown"), ("GET", "foo"), Step.SEEK),
        (ConnectionLost("x", "not sent"), ("INCR", "foo"), Step.SEEK),
        (response_error("MOVED 12182 a:1"), ("EVAL", "x", 1, "foo"), Step.MOVE),
        (response_error("MOVED 1 a:1"), ("EVAL", "x", 1, "foo"), Step.STOP),
        (response_error("ASK 12182 a:1"), ("INCR", "foo"), Step.ASK),
        (response_error("TRYAGAIN Multiple keys request during rehashing of slot"), ("EVAL", "x", 1, "foo"), Step.WAIT),
        (response_error("LOADING by a script"), ("EVAL", "x", 1, "foo"), Step.STOP),
        (response_error("LOADING"), ("INCR", "foo"), Step.WAIT),
        (response_error("WRONGTYPE"), ("INCR", "foo"), Step.STOP),
        (ConnectError("x"), ("INCR", "foo"), Step.SEEK),
        (ClientClosed("x"), ("GET", "foo"), Step.STOP),
    ],
)
def test_what_follows_an_error(error: RedisError, command: tuple[str | int, ...], step: Step) -> None:
    assert step_after(error, traits(command), 12182, Terms(retry=Retry())) is step


def test_a_client_refuses_the_url_of_a_cluster_and_names_its_class() -> None:
    with pytest.raises(ArgumentError, match=r"aioresp\.Cluster"):
        Client("redis+cluster://localhost:7000")
