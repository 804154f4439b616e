"""Addresses that nodes tell: nobody reaches them from outside, they are IPv6, or there are none (C9)."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from aioresp import ArgumentError, Client, MovedError
from aioresp.cluster import Cluster
from aioresp.testing import ClusterNode, ClusterServers, Proxy
from aioresp.testing.executables import find_executable
from tests.rest import until

Address = tuple[str, int]


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


def since_7(cluster: ClusterServers) -> None:
    if cluster.nodes[0].version < (7,):
        pytest.skip("since 7.0")


# --- Inside and outside -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def outside(cluster: ClusterServers) -> AsyncIterator[dict[int, Proxy]]:
    """Open a port for each node, as a router or Docker would, and yield them by the port inside."""
    async with AsyncExitStack() as stack:
        yield {node.port: await stack.enter_async_context(Proxy("127.0.0.1", node.port)) for node in cluster.nodes}


@asynccontextmanager
async def announced(cluster: ClusterServers, kind: str, names: dict[ClusterNode, str]) -> AsyncIterator[None]:
    """Let each node tell clients of a name, until all nodes know all names; take it back afterwards."""
    for node, name in names.items():
        node.call("CONFIG", "SET", "cluster-announce-hostname", name)
    cluster.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", kind)
    told = {node.id: name for node, name in names.items()}

    def all_know() -> bool:
        views = [node.view() for node in cluster.nodes]
        return all(view[name].hostname == hostname for view in views for name, hostname in told.items())

    await until(all_know)
    try:
        yield
    finally:
        cluster.call_all("CONFIG", "SET", "cluster-announce-hostname", "")
        cluster.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")


async def used_in_every_way(cluster: ClusterServers, r: Cluster[str]) -> None:
    """Use plain calls, a pipeline, a lease and subscriptions, and follow a slot to another node."""
    keys = [f"k{number}" for number in range(30)]
    await asyncio.gather(*(r.set(key, key) for key in keys))
    assert await r.mget(keys) == keys
    async with r.pipeline() as p:
        for key in keys:
            p.get(key)
        assert await p.execute() == keys
    async with r.connection(key="k1") as c:
        assert await c.get("k1") == "k1"
    async with r.ssubscribe("k1") as s, r.subscribe("k1") as t:
        await r.spublish("k1", "sharded")
        await r.publish("k1", "plain")
        assert ((await anext(s)).data, (await anext(t)).data) == ("sharded", "plain")
        home, target = cluster.primary_of("k1"), other_than(cluster, "k1")
        await asyncio.to_thread(cluster.migrate, "k1", target)
        try:
            assert await r.get("k1") == "k1"
            assert await r.blpop("k1{k1}", timeout=0.01) is None
            async with r.pipeline(transaction=True) as p:
                p.get("k1")
                assert await p.execute() == ["k1"]
        finally:
            await asyncio.to_thread(cluster.migrate, "k1", home)
        assert await r.get("k1") == "k1"
    assert await r.with_options(read_from="replica").get("k1") == "k1"


async def test_addresses_that_nobody_reaches_are_mapped(fresh: ClusterServers) -> None:
    """The case of Docker: the nodes reach each other, and tell of names that mean nothing outside."""
    since_7(fresh)
    names = {node: f"inside-{number}.invalid" for number, node in enumerate(fresh.nodes)}
    async with announced(fresh, "hostname", names), outside(fresh) as proxies:
        table = {(name, node.port): ("127.0.0.1", proxies[node.port].port) for node, name in names.items()}
        seeds = f"127.0.0.1:{proxies[fresh.nodes[4].port].port}"
        login = fresh.url.partition("://")[2].rpartition("@")[0]
        async with Cluster(f"redis+cluster://{login}@{seeds}", address_map=table.__getitem__) as r:
            await used_in_every_way(fresh, r)
            outer = set(table.values())
            assert {node.address for node in r.topology().nodes} == outer
            used = set(r.stats().nodes) - {"subscriptions"}
            assert used <= {f"127.0.0.1:{proxy.port}" for proxy in proxies.values()}
        unmapped = Cluster(f"redis+cluster://{login}@{seeds}", timeout=0.5)
        async with unmapped:
            with pytest.raises(ConnectionError, match=r"inside-\d\.invalid"):
                await unmapped.get("k1")


async def test_without_an_endpoint_the_port_is_mapped(fresh: ClusterServers) -> None:
    since_7(fresh)
    fresh.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
    try:
        async with outside(fresh) as proxies:
            outer = {proxy.port for proxy in proxies.values()}

            def translate(address: Address) -> Address:
                return address[0], proxies[address[1]].port if address[1] in proxies else address[1]

            login = fresh.url.partition("://")[2].rpartition("@")[0]
            seed = f"127.0.0.1:{proxies[fresh.nodes[0].port].port}"
            async with Cluster(f"redis+cluster://{login}@{seed}", address_map=translate) as r:
                await used_in_every_way(fresh, r)
                assert {node.port for node in r.topology().nodes} == outer
                used = set(r.stats().nodes) - {"subscriptions"}
                assert used <= {f"127.0.0.1:{port}" for port in outer}
    finally:
        fresh.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (KeyError("x"), r"address_map raised KeyError for 127\.0\.0\.1:\d+: .* as it is"),
        (None, r"address_map returned NoneType for 127\.0\.0\.1:\d+, not \(host, port\)"),
        (("a", "1"), r"address_map returned tuple"),
        (("", 1), r"empty host"),
        (("a", 70_000), r"not in 1 to 65535"),
    ],
)
async def test_a_map_that_fails_is_told_at_once(fresh: ClusterServers, answer: Any, message: str) -> None:
    def wrong(address: Address) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with Cluster(fresh.url, address_map=wrong) as r:
        begin = asyncio.get_running_loop().time()
        with pytest.raises(ArgumentError, match=message):
            await r.get("a")
        assert asyncio.get_running_loop().time() - begin < 5


async def test_a_map_that_fails_for_one_redirect_fails_that_call(fresh: ClusterServers) -> None:
    fail = False

    def moody(address: Address) -> Address:
        if fail:
            raise LookupError
        return address

    async with Cluster(fresh.url, address_map=moody) as r:
        await r.set("k1", "1")
        home, target = fresh.primary_of("k1"), other_than(fresh, "k1")
        await asyncio.to_thread(fresh.migrate, "k1", target)
        try:
            fail = True
            with pytest.raises(ArgumentError, match="address_map raised LookupError"):
                await r.get("k1")
            fail = False
            assert await r.get("k1") == "1"
        finally:
            await asyncio.to_thread(fresh.migrate, "k1", home)


# --- IPv6 -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ipv6() -> Iterator[ClusterServers]:
    """A cluster whose nodes tell of ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("there is no IPv6 here")
    found = find_executable()
    options = ("--bind", "127.0.0.1", "::1", "--cluster-announce-ip", "::1")
    with ClusterServers(
        primaries=2, replicas=0, node_timeout=1.0, executable=shlex.join([*found.program, *found.options, *options])
    ) as c:
        yield c


async def test_a_cluster_on_ipv6(ipv6: ClusterServers) -> None:
    login = ipv6.url.partition("://")[2].rpartition("@")[0]
    first = ipv6.nodes[0]
    async with Cluster(f"redis+cluster://{login}@[::1]:{first.port}") as r:
        await asyncio.gather(*(r.set(f"k{number}", "1") for number in range(30)))
        assert {node.host for node in r.topology().nodes} == {"::1"}
        assert str(r.topology().primaries[0]).startswith("[::1]:")
        assert repr(r).startswith(f"Cluster(redis+cluster://[::1]:{first.port}, ")
        assert set(r.stats().nodes) >= {f"[::1]:{node.port}" for node in ipv6.nodes}
        home, target = ipv6.primary_of("k1"), other_than(ipv6, "k1")
        async with r.subscribe("news") as s:
            await r.publish("news", "x")
            assert (await anext(s)).data == "x"
            await asyncio.to_thread(ipv6.migrate, "k1", target)
            try:
                assert await r.get("k1") == "1"
                async with Client(f"redis://{login}@[::1]:{home.port}") as plain:
                    with pytest.raises(MovedError, match=rf"MOVED \d+ ::1:{target.port}") as caught:
                        await plain.get("k1")
                assert (caught.value.host, caught.value.port) == ("::1", target.port)
            finally:
                await asyncio.to_thread(ipv6.migrate, "k1", home)
        assert await r.get("k1") == "1"


async def test_an_ipv6_address_is_in_brackets_in_errors() -> None:
    async with Cluster("redis+cluster://[::1]:1,[::1]:2", timeout=0.3) as r:
        with pytest.raises(ConnectionError, match=r"(?=.*\[::1\]:1)(?=.*\[::1\]:2)"):
            await r.get("a")
