"""Reads from replicas: which commands go there, and what happens when a replica cannot serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from aioresp import ArgumentError, Client, PoolTimeout
from aioresp.reading import ReadFrom
from aioresp.replicated import node as replicated_node
from aioresp.testing import ErrorReply, Proxy
from aioresp.testing.member import Member
from aioresp.testing.servers import quoted
from aioresp.testing.sockets import HOST
from tests.replicated.conftest import Group, replicated


def calls(server: Member, command: str) -> int:
    """Return how often a server has run a command."""
    return server.commandstats().get(command, 0)


@pytest.fixture
async def r(servers: Group) -> AsyncIterator[Client[str]]:
    async with Client(servers.url(), timeout=10) as made:
        yield made


async def test_only_reads_go_to_replicas_and_all_of_these_do(r: Client[str], servers: Group) -> None:
    """R1, on every path: plain commands, pipelines, transactions, scripts, blocking commands, leases."""
    await r.set("k", "1")
    await r.rpush("list", "a")
    await replicated(r, "k", "1")
    primary, *replicas = servers.servers
    before = [calls(each, "get") for each in servers.servers]
    for _ in range(10):
        assert await r.get("k") == "1"
    async with r.pipeline() as p:
        values = [p.get("k") for _ in range(10)]
    assert {await value for value in values} == {"1"}
    assert calls(primary, "get") == before[0]
    assert all(calls(each, "get") > count for each, count in zip(replicas, before[1:], strict=True)), "both take turns"
    async with r.pipeline() as p:
        p.get("k")
        p.set("k", "1")
    async with r.pipeline(transaction=True) as p:
        p.get("k")
    async with r.connection() as c:
        await c.get("k")
    assert calls(primary, "get") == before[0] + 3
    assert await r.with_options(read_from="primary").get("k") == "1"
    assert calls(primary, "get") == before[0] + 4, "R5"
    assert await r.eval("return redis.call('get', KEYS[1])", 1, "k") == "1"
    assert await r.blpop(("list",), 1) == ("list", "a")
    assert sorted([key async for key in r.scan_iter()]) == ["k"]
    assert all(calls(each, name) == 0 for each in replicas for name in ("eval", "blpop", "scan"))
    assert await r.with_options(decode_responses=False).get("k") == b"1"
    assert await r.object_encoding("k") == "int"
    assert await r.dump("k")


async def test_values_and_errors_are_those_of_the_command(r: Client[str]) -> None:
    await r.hset("h", mapping={"a": "1"})
    await r.zadd("z", {"m": 1.5})
    await replicated(r, "missing", None)
    async with asyncio.timeout(5):
        while await r.hgetall("h") != {"a": "1"} or await r.zrange("z", 0, -1, withscores=True) != [("m", 1.5)]:
            await asyncio.sleep(0.01)
    with pytest.raises(Exception, match="WRONGTYPE"):
        await r.get("h")


async def test_one_server_has_no_replicas_to_read_from(servers: Group) -> None:
    one = servers.servers[0].url
    with pytest.raises(ArgumentError, match="read_from needs replicas"):
        Client(one, read_from="replica")
    async with Client(one) as r:
        with pytest.raises(ArgumentError, match="read_from needs replicas"):
            r.with_options(read_from="replica")
        assert r.with_options(read_from="primary").terms == r.terms
    with pytest.raises(ArgumentError, match="read_from is something else, not primary, replica"):
        Client(one, read_from="slave")  # type: ignore[call-overload]


# --- R3: a replica that cannot serve ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["replica", "prefer_replica", "nearest"])
async def test_replicas_that_are_killed_one_after_the_other_cost_no_error(servers: Group, policy: ReadFrom) -> None:
    async with Client(servers.url(policy), timeout=10) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        for replica in servers.servers[1:]:
            reads = [asyncio.create_task(r.get("k")) for _ in range(50)]
            await asyncio.to_thread(replica.kill)
            assert {await read for read in reads} == {"1"}
            assert {await r.get("k") for _ in range(20)} == {"1"}
        await r.set("k", "2")
        assert await r.get("k") == "2", "by the primary, as there is no other"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_replica_that_starts_and_is_not_in_step_is_not_read(servers: Group, protocol: Literal[2, 3]) -> None:
    """It would say that there is nothing, or what a file says."""
    primary, replica, _ = servers.servers
    async with Client(servers.url(), timeout=10, protocol=protocol) as r:
        new = f"new for RESP{protocol}"
        await r.set("k", new)
        await replicated(r, "k", new)
        replica.set_line("replicaof", f"{HOST} {primary.port}")
        replica.set_line("masterauth", "wrong")
        try:
            await asyncio.to_thread(replica.kill)
            await asyncio.to_thread(replica.start)
            assert replica.call("GET", "k") != new
            for _ in range(20):
                assert {await r.get("k") for _ in range(20)} == {new}
                await asyncio.sleep(0.05)  # by and by it is tried again
        finally:
            replica.set_line("replicaof", "no one")
            replica.set_line("masterauth", quoted(replica.password or ""))
            await asyncio.to_thread(replica.kill)
            await asyncio.to_thread(replica.start)


async def test_a_replica_of_another_primary_is_not_read(servers: Group) -> None:
    """Somebody has made it one of a server that the URL does not name, and which has other keys."""
    _, replica, other = servers.servers
    async with Client(servers.url(order=(1, 0)), timeout=10) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        other.call("REPLICAOF", "NO", "ONE")
        other.call("FLUSHALL")
        replica.call("REPLICAOF", HOST, other.port)
        async with asyncio.timeout(10):
            while replica.call("GET", "k") is not None or await r.get("k") is None:
                await asyncio.sleep(0.05)
        for _ in range(30):
            assert await r.get("k") == "1"
            await asyncio.sleep(0.05)


async def test_a_user_who_may_not_ask_for_more_than_roles_reads_from_replicas(servers: Group) -> None:
    for each in servers.servers:
        each.call("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-info")
    try:
        url = servers.url().replace(servers.servers[0].credentials or "//", "reader:secret@", 1)
        async with Client(url, timeout=10) as r:
            await r.set("k", "1")
            await replicated(r, "k", "1")
            before = calls(servers.servers[0], "get")
            assert {await r.get("k") for _ in range(20)} == {"1"}
            assert calls(servers.servers[0], "get") == before
    finally:
        for each in servers.servers:
            each.call("ACL", "DELUSER", "reader")


async def test_a_replica_that_hangs_costs_time_once(servers: Group) -> None:
    async with Client(servers.url(), timeout=2) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        servers.servers[1].pause()
        took = []
        for _ in range(20):
            since = time.monotonic()
            assert await r.get("k") == "1"
            took.append(time.monotonic() - since)
        servers.servers[1].resume()
        assert max(took) < 1.9
        assert sum(each > 0.5 for each in took) <= 3


async def test_a_replica_that_loads_or_has_lost_its_primary_is_passed_over(servers: Group) -> None:
    async with Client(servers.url(), timeout=5) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        replica = servers.servers[1]
        replica.call("CONFIG", "SET", "replica-serve-stale-data", "no")
        replica.call("REPLICAOF", HOST, "1")
        assert {await r.get("k") for _ in range(20)} == {"1"}


async def test_a_deadline_that_passes_is_the_callers(servers: Group) -> None:
    async with Client(servers.url(), timeout=0.5) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        for each in servers.servers:
            each.pause()
        since = time.monotonic()
        with pytest.raises((TimeoutError, PoolTimeout)):
            await r.get("k")
        assert time.monotonic() - since < 1.5
        for each in servers.servers:
            each.resume()


# --- Nearest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [3, 2])
async def test_the_nearest_is_in_the_own_zone(servers: Group, protocol: Literal[2, 3]) -> None:
    """R6: by the zone that HELLO tells (Valkey 8.1), or INFO (Valkey 8.0)."""
    for number, each in enumerate(servers.servers):
        try:
            each.call("CONFIG", "SET", "availability-zone", f"zone-{number}")
        except ErrorReply:
            pytest.skip("the server has no availability zones")
    for number in range(3):
        async with Client(servers.url("nearest"), protocol=protocol, availability_zone=f"zone-{number}") as r:
            for _ in range(10):
                await r.get("k")
            before = [calls(each, "get") for each in servers.servers]
            for _ in range(50):
                await r.get("k")
            after = [calls(each, "get") for each in servers.servers]
            assert after[number] - before[number] == 50


async def test_without_zones_the_fastest_is_the_nearest(servers: Group) -> None:
    async with Proxy(HOST, servers.servers[1].port) as slow:
        slow.delay = 0.02
        url = servers.url("nearest", order=(0, 1)).replace(f":{servers.servers[1].port}", f":{slow.port}")
        async with Client(url) as r:
            for _ in range(10):
                await r.get("k")
            before = calls(servers.servers[1], "get")
            for _ in range(50):
                await r.get("k")
            assert before > 0
            assert calls(servers.servers[1], "get") == before


async def test_a_view_without_a_deadline_does_not_wait_forever_for_a_replica(
    servers: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicated_node, "SHARE", 0.2)
    async with Client(servers.url(), timeout=None) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        servers.servers[1].pause()
        async with asyncio.timeout(5):
            assert {await r.get("k") for _ in range(10)} == {"1"}
        servers.servers[1].resume()
