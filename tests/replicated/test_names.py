"""A primary with replicas and no Sentinel: servers by their names, whose roles somebody else changes."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from aioresp import Client, ConnectionLost, NoReplicasError, Pipeline
from aioresp.events import Event, MasterChanged
from aioresp.replicated.places import Address
from aioresp.testing import Proxy, server
from aioresp.testing.sockets import HOST
from tests.replicated.conftest import Group, replicated
from tests.rest import at_rest, until


def primary(r: Client[str]) -> int:
    """Return the port of the primary that the client has found last."""
    port: int = r.node.found.primary.port  # type: ignore[attr-defined]
    return port


async def test_the_primary_is_found_by_its_role_and_again_after_a_failover(servers: Group) -> None:
    old, new, other = servers.servers
    async with Client(servers.url(), timeout=10) as r:
        await r.set("k", "1")
        assert r.node.found.primary.port == old.port  # type: ignore[attr-defined]
        await replicated(r, "k", "1")
        new.call("REPLICAOF", "NO", "ONE")
        other.call("REPLICAOF", HOST, str(new.port))
        old.call("REPLICAOF", HOST, str(new.port))
        await r.set("k", "2")
        assert r.node.found.primary.port == new.port  # type: ignore[attr-defined]
        await replicated(r, "k", "2")


async def test_a_primary_that_is_killed_is_replaced_when_a_replica_is_promoted(servers: Group) -> None:
    old, new, other = servers.servers
    async with Client(servers.url(), timeout=10) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        await asyncio.to_thread(old.kill)
        write = asyncio.create_task(r.set("k", "2"))
        await asyncio.sleep(0.3)
        assert await r.get("k") == "1", "replicas still serve"
        new.call("REPLICAOF", "NO", "ONE")
        other.call("REPLICAOF", HOST, str(new.port))
        assert await write
        await replicated(r, "k", "2")


async def test_no_primary_is_told_with_the_roles(servers: Group) -> None:
    url = servers.url(order=(1, 2))
    async with Client(url, timeout=0.5) as r:
        with pytest.raises(ConnectionError, match=f"none of .*{servers.servers[2].port} is a replica"):
            await r.set("k", "1")


async def test_writes_on_every_path_follow_a_failover_by_hand(servers: Group) -> None:
    """The primary is the last in the list. Nobody tells of the change: READONLY does, or a look at the roles."""
    events: list[Event] = []
    async with Client(servers.url("primary", order=(2, 1, 0)), timeout=10, events=events.append) as r:
        await r.set("n", "0")
        assert primary(r) == servers.servers[0].port
        popping = asyncio.create_task(r.blpop(("jobs",), 10))
        async with r.subscribe("news", gaps=True) as news:
            servers.promote(1)
            assert [await r.incr("n") for _ in range(5)] == [1, 2, 3, 4, 5]
            async with r.pipeline() as p:
                p.incr("n")
                p.get("n")
            async with r.pipeline(transaction=True) as p:
                p.incr("n")
            await r.transaction(count, "n")
            assert await r.eval("return redis.call('incr', KEYS[1])", 1, "n") == 9
            async with r.connection() as c:
                assert await c.incr("n") == 10
            assert primary(r) == servers.servers[1].port
            await r.rpush("jobs", "job")
            assert await popping == ("jobs", "job")
            await news.get(timeout=10)  # the gap
            await r.publish("news", "hello")
            assert (await news.get(timeout=10)).data == "hello"  # type: ignore[union-attr]
    changes = [event for event in events if isinstance(event, MasterChanged)]
    assert [event.primary for event in changes] == [f"{HOST}:{servers.servers[1].port}"]
    await at_rest(r)


def count(p: Pipeline[str]) -> None:
    p.multi()
    p.incr("n")


async def test_a_new_primary_that_waits_for_its_replicas_costs_no_error(servers: Group) -> None:
    """NOREPLICAS: what `min-replicas-to-write` refuses has not run, and the replicas come within a second."""
    old, new, other = servers.servers
    for each in servers.servers:
        each.call("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        async with Client(servers.url("primary"), timeout=20) as r:
            await r.set("n", "0")
            await asyncio.to_thread(old.kill)
            new.call("REPLICAOF", "NO", "ONE")
            async with asyncio.TaskGroup() as group:
                group.create_task(r.incr("n"))
                group.create_task(in_a_transaction(r))
                group.create_task(r.transaction(count, "n"))
                await until(lambda: new.errorstats().get("NOREPLICAS", 0) > 3)
                with pytest.raises(NoReplicasError):
                    await r.with_options(timeout=0.3).incr("n")
                other.call("REPLICAOF", HOST, new.port)
            assert await r.get("n") == "3"
    finally:
        for each in (new, other):
            each.call("CONFIG", "SET", "min-replicas-to-write", 0)


async def in_a_transaction(r: Client[str]) -> None:
    async with r.pipeline(transaction=True) as p:
        p.incr("n")


async def test_two_primaries_without_replicas_do_not_take_turns() -> None:
    """Nobody knows which one is right, least of all by the time that it takes to answer: the one in use stays."""
    async with (
        server() as one,
        server() as two,
        Proxy(HOST, one.port) as first,
        Proxy(HOST, two.port) as second,
    ):
        url = one.url.replace(f"{HOST}:{one.port}", f"{HOST}:{first.port},{HOST}:{second.port}")
        async with Client(url, timeout=10) as r:
            found = set()
            for slow, fast in (first, second), (second, first), (first, second):
                slow.delay, fast.delay = 0.02, 0.0
                await r.set("k", "1")
                found.add((await r.node.find()).primary)  # type: ignore[attr-defined]
            assert len(found) == 1


async def test_all_servers_are_down_and_come_back(servers: Group, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aioresp")
    async with Client(servers.url(), timeout=0.5) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        for each in servers.servers:
            await asyncio.to_thread(each.kill)
        for _ in range(3):
            with pytest.raises((ConnectionError, TimeoutError)):
                await r.get("k")
            with pytest.raises((ConnectionError, TimeoutError)):
                await r.set("k", "2")
        for each in servers.servers:
            await asyncio.to_thread(each.start)
        assert await r.with_options(timeout=10).set("k", "3")
        await replicated(r, "k", "3")
        told = [record for record in caplog.records if record.module == "outlook"]
        assert len(told) < 10, "not each second"


@pytest.mark.parametrize(
    ("url", "seeds"),
    [
        ("redis://a,b,a:6379,A", [("a", 6379), ("b", 6379)]),
        ("redis://a:1,b,c:3/2", [("a", 1), ("b", 6379), ("c", 3)]),
        ("redis://user:p%40ss@[::1],[fe80::1]:7", [("::1", 6379), ("fe80::1", 7)]),
        ("rediss://a,b", [("a", 6379), ("b", 6379)]),
    ],
)
def test_hosts_are_spelled_in_many_ways(url: str, seeds: list[tuple[str, int]]) -> None:
    assert list(Client(url).node.settings.seeds) == seeds


async def test_hosts_may_be_ipv6(servers: Group) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("there is no IPv6 here")
    for each in servers.servers:
        each.call("CONFIG", "SET", "bind", "127.0.0.1 ::1")
    async with Client(servers.url().replace(HOST, "[::1]"), timeout=10) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        assert str(servers.servers[0].port) in repr(r)
        assert r.node.found.primary == Address("::1", servers.servers[0].port)  # type: ignore[attr-defined]


async def test_a_replica_that_is_added_is_read_and_one_that_is_removed_is_not(servers: Group) -> None:
    first, second, third = servers.servers
    third.call("REPLICAOF", "NO", "ONE")
    async with Client(servers.url(), timeout=10) as r:
        await r.set("k", "1")
        await until(lambda: len(r.node.replicas) == 1)  # type: ignore[attr-defined]
        third.call("REPLICAOF", HOST, first.port)
        await until(lambda: len(r.node.replicas) == 2)  # type: ignore[attr-defined]
        await replicated(r, "k", "1")
        before = third.commandstats().get("get", 0)
        assert {await r.get("k") for _ in range(10)} == {"1"}
        assert third.commandstats().get("get", 0) > before
        reading = [asyncio.create_task(read_on(r)) for _ in range(5)]
        third.call("REPLICAOF", "NO", "ONE")
        await until(lambda: len(r.node.replicas) == 1)  # type: ignore[attr-defined]
        second.call("REPLICAOF", "NO", "ONE")
        await until(lambda: len(r.node.replicas) == 0)  # type: ignore[attr-defined]
        assert {await r.get("k") for _ in range(10)} == {"1"}, "by the primary"
        for each in reading:
            assert not each.done() or each.exception() is None
            each.cancel()
    await until(lambda: r.stats().open == 0)
    await until(lambda: second.info("clients")["connected_clients"] == "1")  # the kit alone


async def read_on(r: Client[str]) -> None:
    while True:
        assert await r.get("k") == "1"
        await asyncio.sleep(0.005)


async def test_a_lease_of_a_former_primary_ends(servers: Group) -> None:
    async with Client(servers.url("primary"), timeout=10) as r, r.connection() as c:
        await c.set("k", "1")
        servers.promote(1)
        await until(lambda: primary(r) == servers.servers[1].port)
        with pytest.raises(ConnectionLost) as caught:
            await c.set("k", "2")
        assert caught.value.outcome == "not sent"
