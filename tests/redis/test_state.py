"""State of a connection: it stays with the one client that began it, on a lease that is given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio as theirs
from redis import exceptions

import aioresp.redis
from aioresp import Client
from aioresp.testing import Proxy
from aioresp.testing import server as start_server
from tests.redis.conftest import Make
from tests.redis.seen import named, settle

# What a client of each kind does here is the same code: both are tried by the long run.
pytestmark = pytest.mark.turns(2)

KINDS: list[Any] = [theirs.Redis, aioresp.redis.Redis]


@pytest.fixture
def name(prefix: str) -> str:
    """A name for connections."""
    return prefix.replace(" ", "_")


# --- WATCH -----------------------------------------------------------------------------------------------------------


async def test_a_conflict_is_a_watch_error(make: Make, prefix: str) -> None:
    client = make(decode_responses=True)
    await client.set(prefix, 1)
    async with client.pipeline() as p:
        await p.watch(prefix)
        assert await p.get(prefix) == "1"
        await client.set(prefix, 2)
        p.multi()
        with pytest.raises(exceptions.WatchError):
            await p.set(prefix, 3).execute()
    assert await client.get(prefix) == "2"
    async with client.pipeline() as p:
        await p.watch(prefix)
        p.multi()
        assert await p.set(prefix, 3).get(prefix).execute() == [True, "3"]


async def test_two_watch_at_once(make: Make, prefix: str) -> None:
    """Each has a connection of its own, or both would succeed or both fail."""
    client = make(decode_responses=True)
    first, second = client.pipeline(), client.pipeline()
    await first.watch(prefix)
    await second.watch(prefix)
    first.multi()
    second.multi()
    assert await first.incr(prefix).execute() == [1]
    with pytest.raises(exceptions.WatchError):
        await second.incr(prefix).execute()


async def test_unwatch_forgets(make: Make, prefix: str) -> None:
    client = make()
    async with client.pipeline() as p:
        await p.watch(prefix)
        await client.set(prefix, 1)
        await p.unwatch()
        p.multi()
        assert await p.incr(prefix).execute() == [2]


async def transactions(client: Any, key: str, count: int, at_once: int) -> None:
    async def increase(p: Any) -> None:
        p.multi()
        p.incr(key)

    async def one() -> None:
        for _ in range(count // at_once):
            await client.transaction(increase, key)

    await asyncio.gather(*(one() for _ in range(at_once)))


async def test_leases_are_given_back(make: Make, other: Client[str], prefix: str, name: str) -> None:
    client = make(client_name=name)
    received = (await other.info("stats"))["total_connections_received"]
    await transactions(client, prefix, 200, 2)
    assert await client.get(prefix) == b"200"
    assert (await other.info("stats"))["total_connections_received"] - received <= 6
    assert len(await named(other, name)) <= 4
    for n in range(20):  # left in the middle
        async with client.pipeline() as p:
            await p.watch(prefix)
            if n % 2:
                p.multi()
                p.incr(prefix)
    for _ in range(10):  # and forgotten
        forgotten = client.pipeline()
        await forgotten.watch(prefix)
        await forgotten.reset()
    assert (await other.info("stats"))["total_connections_received"] - received <= 6
    async with asyncio.timeout(20):
        while any(info.watch not in (0, None, -1) for info in await named(other, name)):
            await asyncio.sleep(0.01)


async def test_cancelled_under_watch(make: Make, other: Client[str], prefix: str, name: str) -> None:
    client = make(client_name=name)
    await client.set(prefix, 0)

    async def increase() -> None:
        async with client.pipeline() as p:
            while True:
                try:
                    await p.watch(prefix)
                    value = int(await p.get(prefix))
                    p.multi()
                    await p.set(prefix, value + 1).execute()
                    return
                except exceptions.WatchError:
                    continue

    for n in range(60):
        task = asyncio.ensure_future(increase())
        for _ in range(n % 12):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    before = int(await client.get(prefix))
    await asyncio.gather(*(increase() for _ in range(5)))
    assert int(await client.get(prefix)) == before + 5, "no lease is left with a WATCH of before"
    assert len(await named(other, name)) <= 12


@pytest.mark.parametrize("moment", ["watch", "execute"])
async def test_what_a_cancelled_call_has_begun_is_nobody_elses(
    make: Make, proxy: Proxy, other: Client[str], prefix: str, moment: str
) -> None:
    client = make(proxy.url, client_name="watcher")
    await client.set(prefix, 1)
    async with client.pipeline() as p:
        if moment == "execute":
            await p.watch(prefix)
            p.multi()
            p.get(prefix)
        proxy.stall("down")
        task = asyncio.ensure_future(p.watch(prefix) if moment == "watch" else p.execute())
        async with asyncio.timeout(20):
            last = "watch" if moment == "watch" else "exec"
            while not any(info.cmd == last for info in await named(other, "watcher")):
                await asyncio.sleep(0.005)
        task.cancel()
        proxy.resume()
        with pytest.raises(asyncio.CancelledError):
            await task
    await other.set(prefix, 2)
    async with client.client() as single, client.client() as neighbour:
        assert await single.client_id() == await neighbour.client_id(), "none has a connection of its own"
    assert await client.pipeline().incr(prefix).execute() == [3], "no WATCH of before is in its way"


async def test_a_refused_command_has_begun_nothing(make: Make) -> None:
    client = make()
    async with client.client() as single, client.client() as neighbour:
        with pytest.raises(exceptions.ResponseError):
            await single.select(10_000)
        assert await single.client_id() == await neighbour.client_id(), "none has a connection of its own"


async def kill(other: Client[str], name: str) -> int:
    """End the connections with a name, and return how many there were."""
    ended = 0
    for info in await named(other, name):
        ended += await other.call("CLIENT", "KILL", "ID", info.id)
    return ended


@pytest.mark.parametrize("moment", ["after watch", "after multi"])
async def test_a_connection_that_ends_under_watch_is_no_silent_success(
    make: Make, other: Client[str], prefix: str, name: str, moment: str
) -> None:
    client = make(client_name=name)
    await client.set(prefix, 1)
    async with client.pipeline() as p:
        await p.watch(prefix)
        if moment == "after multi":
            p.multi()
            p.set(prefix, "lost")
        assert await kill(other, name)
        await other.set(prefix, "other")  # what the WATCH was for
        with pytest.raises((exceptions.WatchError, exceptions.ConnectionError)):
            if moment == "after watch":
                await p.get(prefix)
                p.multi()
                p.set(prefix, "lost")
            await p.execute()
    assert await client.get(prefix) == b"other"
    async with client.pipeline() as p:
        await p.watch(prefix)
        p.multi()
        assert await p.set(prefix, 2).execute() == [True]


# --- SELECT, CLIENT SETNAME, AUTH, RESET -----------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [False, True])
async def test_multi_in_a_pipeline_that_is_no_transaction(make: Make, prefix: str, ended: bool) -> None:
    """Its EXEC may come in a later pipeline, or before the last command."""
    client = make(decode_responses=True)
    p = client.pipeline(transaction=False).execute_command("MULTI").incr(prefix)
    if ended:
        p.execute_command("EXEC").get(prefix)
    assert await p.execute() == ["OK", "QUEUED", *([[1], "1"] if ended else [])]


async def test_select_keeps_for_one_client_only(make: Make, prefix: str) -> None:
    client = make(decode_responses=True)
    await client.set(prefix, "zero")
    async with client.client() as single:
        await single.select(5)
        await single.set(prefix, "five")
        assert await client.get(prefix) == "zero"
        assert await single.get(prefix) == "five"
        assert await asyncio.gather(*(client.get(prefix) for _ in range(20))) == ["zero"] * 20
        assert await single.get(prefix) == "five"
        await single.delete(prefix)


async def test_setname_keeps_for_one_client_only(make: Make) -> None:
    client = make(decode_responses=True)
    async with client.client() as single:
        await single.client_setname("mine")
        assert await single.client_getname() == "mine"
        mine = await single.client_id()
        assert mine == await single.client_id()
        assert not await client.client_getname()
        assert not any(await asyncio.gather(*(client.client_getname() for _ in range(20))))


async def test_select_on_a_client_of_many_connections(make: Make, prefix: str) -> None:
    """One call after the other they all use the connection that it changed, as in redis-py."""
    client, neighbour = make(decode_responses=True), make(decode_responses=True)
    await neighbour.set(prefix, "zero")
    await client.get(prefix)
    assert await client.select(7)
    await client.set(prefix, "seven")
    assert await client.get(prefix) == "seven"
    assert await neighbour.get(prefix) == "zero"
    await client.delete(prefix)


@pytest.mark.parametrize("how", ["OFF", "SKIP", "ON"])
async def test_client_reply_is_refused_with_the_reason(make: Make, how: Any) -> None:
    client = make()
    with pytest.raises(exceptions.RedisError, match="would break the connection"):
        await client.client_reply(how)
    async with client.client() as single:
        with pytest.raises(exceptions.RedisError, match="would break the connection"):
            await single.execute_command("CLIENT", "REPLY", how)
        assert await single.ping()
    assert await client.ping()


async def test_reset_undoes_what_was_begun(make: Make, prefix: str) -> None:
    client = make(decode_responses=True)
    async with client.client() as single:
        await single.select(4)
        await single.client_setname("mine")
        assert await single.execute_command("RESET") in ("RESET", True)
        with pytest.raises(exceptions.AuthenticationError):  # the server has a password
            await single.set(prefix, "zero")
    assert await client.set(prefix, 1)


async def test_auth_as_another_user_keeps_for_one_client_only() -> None:
    with start_server() as server:
        async with Client(server.url) as other:
            await other.call("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all")
            for kind in KINDS:
                aioresp.redis.install()
                try:
                    async with kind.from_url(server.url, decode_responses=True) as client, client.client() as single:
                        assert await single.execute_command("AUTH", "reader", "secret") in (True, "OK")
                        assert await single.acl_whoami() == "reader"
                        assert await client.acl_whoami() == "default"
                        assert await client.acl_whoami() == "default"
                        with pytest.raises(exceptions.AuthenticationError):
                            await single.execute_command("AUTH", "reader", "wrong")
                finally:
                    aioresp.redis.uninstall()


# --- WAIT ------------------------------------------------------------------------------------------------------------


async def reading(client: Any) -> None:
    while True:
        await client.get("k")


async def test_wait_counts_the_writes_of_the_shared_connection() -> None:
    with start_server() as primary, start_server("--repl-diskless-sync-delay", "0") as replica:
        async with Client(primary.url) as watcher, Client(replica.url) as copy:
            if primary.password:
                await copy.config_set({"masterauth": primary.password})
            await copy.call("REPLICAOF", primary.host, primary.port)
            async with asyncio.timeout(20):
                while "state=online" not in str(await watcher.call("INFO", "replication")):
                    await asyncio.sleep(0.05)
            for kind in KINDS:
                aioresp.redis.install()
                try:
                    async with kind.from_url(primary.url) as client:
                        # Commands in flight, or the pool lends the very connection that has written.
                        busy = [asyncio.ensure_future(reading(client)) for _ in range(3)]
                        await client.set("k", "before")
                        assert await client.wait(1, 5000) == 1
                        replica.pause()
                        await client.set("k", "after")
                        if primary.flavour == "valkey" or primary.version >= (8,):
                            # A connection that has written nothing waits for nothing: the answer is true of nobody.
                            async with watcher.connection() as bare:
                                assert await bare.wait(1, 50) == 1
                        assert await client.wait(1, 50) == 0
                        assert await client.pipeline(transaction=False).set("k", "again").wait(1, 50).execute() == [
                            True,
                            0,
                        ]
                        replica.resume()
                        assert await client.wait(1, 10_000) == 1
                        for task in busy:
                            task.cancel()
                        await asyncio.gather(*busy, return_exceptions=True)
                finally:
                    replica.resume()
                    aioresp.redis.uninstall()


async def test_closing_ends_what_was_begun(make: Make, other: Client[str], prefix: str, name: str) -> None:
    client = make(client_name=name)
    async with client.client() as single, client.pipeline() as p:
        await single.select(3)
        await p.watch(prefix)
        assert len(await named(other, name)) >= 2
        await client.connection_pool.disconnect()
        if isinstance(client, aioresp.redis.Redis):
            await client.aclose()
        await settle(other, name, 0)
