"""Reads from replicas: which commands go there, and what happens when a replica cannot serve."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from aioresp import ArgumentError, Client, PoolTimeout
from aioresp.reading import ReadFrom
from aioresp.replicated import node as replicated_node
from aioresp.testing import Proxy
from tests.sentinel.forming import HOST, Process, Servers, raw

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def shared() -> Iterator[Servers]:
    with Servers() as made:
        yield made


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    made = Servers(sentinels=0)
    await asyncio.to_thread(made.__enter__)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.__exit__)


def by_names(servers: Servers, read_from: ReadFrom = "replica", order: tuple[int, ...] = (1, 0, 2)) -> str:
    hosts = ",".join(f"{HOST}:{servers.servers[number].port}" for number in order)
    return f"redis://{hosts}?read_from={read_from}"


def calls(server: Process, command: str) -> int:
    """Return how often a server has run a command."""
    said = raw(server.port, ["INFO", "commandstats"])
    _, found, rest = said.partition(f"cmdstat_{command}:calls=")
    return int(rest.partition(",")[0]) if found else 0


@pytest.fixture(params=["sentinel", "names"])
async def r(shared: Servers, request: pytest.FixtureRequest) -> AsyncIterator[Client[str]]:
    url = f"{shared.url}?read_from=replica" if request.param == "sentinel" else by_names(shared)
    async with Client(url) as made:
        await made.flushdb()
        yield made


async def replicated(r: Client[str], key: str, value: str) -> None:
    """Wait until all replicas have it."""
    async with asyncio.timeout(10):
        seen = 0
        while seen < 8:
            seen = seen + 1 if await r.get(key) == value else 0


async def test_only_reads_go_to_replicas_and_all_of_these_do(r: Client[str], shared: Servers) -> None:
    """R1, on every path: plain commands, pipelines, transactions, scripts, blocking commands, leases."""
    await r.set("k", "1")
    await r.rpush("list", "a")
    await replicated(r, "k", "1")
    primary, *replicas = shared.servers
    before = [calls(each, "get") for each in shared.servers]
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
    await replicated(r, "missing", None)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while await r.hgetall("h") != {"a": "1"} or await r.zrange("z", 0, -1, withscores=True) != [("m", 1.5)]:
            await asyncio.sleep(0.01)
    with pytest.raises(Exception, match="WRONGTYPE"):
        await r.get("h")


async def test_one_server_has_no_replicas_to_read_from(shared: Servers) -> None:
    one = f"redis://{HOST}:{shared.servers[0].port}"
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
async def test_replicas_that_are_killed_one_after_the_other_cost_no_error(servers: Servers, policy: ReadFrom) -> None:
    async with Client(by_names(servers, policy), timeout=10) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        for replica in servers.servers[1:]:
            reads = [asyncio.create_task(r.get("k")) for _ in range(50)]
            await asyncio.to_thread(replica.stop)
            assert {await read for read in reads} == {"1"}
            assert {await r.get("k") for _ in range(20)} == {"1"}
        await r.set("k", "2")
        assert await r.get("k") == "2", "by the primary, as there is no other"


async def test_a_replica_that_hangs_costs_time_once(servers: Servers) -> None:
    async with Client(by_names(servers), timeout=2) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        servers.servers[1].signal(signal.SIGSTOP)
        took = []
        for _ in range(20):
            since = time.monotonic()
            assert await r.get("k") == "1"
            took.append(time.monotonic() - since)
        servers.servers[1].signal(signal.SIGCONT)
        assert max(took) < 1.9
        assert sum(each > 0.5 for each in took) <= 3


async def test_a_replica_that_loads_or_has_lost_its_primary_is_passed_over(servers: Servers) -> None:
    async with Client(by_names(servers), timeout=5) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        replica = servers.servers[1]
        replica.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
        replica.ask("REPLICAOF", HOST, "1")
        assert {await r.get("k") for _ in range(20)} == {"1"}


async def test_a_deadline_that_passes_is_the_callers(servers: Servers) -> None:
    async with Client(by_names(servers), timeout=0.5) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        for each in servers.servers:
            each.signal(signal.SIGSTOP)
        since = time.monotonic()
        with pytest.raises((TimeoutError, PoolTimeout)):
            await r.get("k")
        assert time.monotonic() - since < 1.5
        for each in servers.servers:
            each.signal(signal.SIGCONT)


# --- A primary with replicas by their names ---------------------------------------------------------------------------


async def test_the_primary_is_found_by_its_role_and_again_after_a_failover(servers: Servers) -> None:
    old, new, other = servers.servers
    async with Client(by_names(servers), timeout=10) as r:
        await r.set("k", "1")
        assert r.node.found.primary.port == old.port  # type: ignore[attr-defined]
        await replicated(r, "k", "1")
        new.ask("REPLICAOF", "NO", "ONE")
        other.ask("REPLICAOF", HOST, str(new.port))
        old.ask("REPLICAOF", HOST, str(new.port))
        await r.set("k", "2")
        assert r.node.found.primary.port == new.port  # type: ignore[attr-defined]
        await replicated(r, "k", "2")


async def test_a_primary_that_is_killed_is_replaced_when_a_replica_is_promoted(servers: Servers) -> None:
    old, new, other = servers.servers
    async with Client(by_names(servers), timeout=10) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        await asyncio.to_thread(old.stop)
        write = asyncio.create_task(r.set("k", "2"))
        await asyncio.sleep(0.3)
        assert await r.get("k") == "1", "replicas still serve"
        new.ask("REPLICAOF", "NO", "ONE")
        other.ask("REPLICAOF", HOST, str(new.port))
        assert await write
        await replicated(r, "k", "2")


async def test_no_primary_is_told_with_the_roles(servers: Servers) -> None:
    url = by_names(servers, order=(1, 2))
    async with Client(url, timeout=0.5) as r:
        with pytest.raises(ConnectionError, match=f"none of .*{servers.servers[2].port} is a replica"):
            await r.set("k", "1")


# --- Nearest ----------------------------------------------------------------------------------------------------------


async def test_the_nearest_is_in_the_own_zone(servers: Servers) -> None:
    """R6: by the zone that HELLO tells (Valkey 8.1)."""
    for number, each in enumerate(servers.servers):
        if not each.ask("CONFIG", "SET", "availability-zone", f"zone-{number}").startswith("+OK"):
            pytest.skip("the server has no availability zones")
    for number in (0, 2):
        async with Client(by_names(servers, "nearest"), availability_zone=f"zone-{number}") as r:
            for _ in range(10):
                await r.get("k")
            before = [calls(each, "get") for each in servers.servers]
            for _ in range(50):
                await r.get("k")
            after = [calls(each, "get") for each in servers.servers]
            assert after[number] - before[number] == 50


async def test_without_zones_the_fastest_is_the_nearest(servers: Servers) -> None:
    async with Proxy(HOST, servers.servers[1].port) as slow:
        slow.delay = 0.02
        hosts = f"{HOST}:{servers.servers[0].port},{HOST}:{slow.port}"
        async with Client(f"redis://{hosts}?read_from=nearest") as r:
            for _ in range(10):
                await r.get("k")
            before = calls(servers.servers[1], "get")
            for _ in range(50):
                await r.get("k")
            assert before > 0
            assert calls(servers.servers[1], "get") == before


async def test_a_view_without_a_deadline_does_not_wait_forever_for_a_replica(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicated_node, "SHARE", 0.2)
    async with Client(by_names(servers), timeout=None) as r:
        await r.set("k", "1")
        await replicated(r, "k", "1")
        servers.servers[1].signal(signal.SIGSTOP)
        async with asyncio.timeout(5):
            assert {await r.get("k") for _ in range(10)} == {"1"}
        servers.servers[1].signal(signal.SIGCONT)
