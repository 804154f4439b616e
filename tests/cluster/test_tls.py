"""TLS in a cluster: certificates have names, and nodes tell IP addresses, names, or no port without TLS (C9)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from aioresp import ConnectError, TLSError
from aioresp.cluster import Cluster, ClusterNode, Shard, Topology
from aioresp.cluster.nodes import Nodes
from aioresp.cluster.seeds import read_seeds
from aioresp.testing import ClusterServers
from tests.security.tls import Paths, program_with_tls


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return Paths(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def encrypted(paths: Paths) -> Iterator[ClusterServers]:
    """A cluster that talks TLS, and whose certificate is for localhost; the nodes tell clients of 127.0.0.1."""
    program = program_with_tls(paths)
    if program is None:
        pytest.skip("no server here was built with TLS")
    certificate = paths.certificate("localhost")
    tls = (certificate, certificate, paths.authority)
    with ClusterServers(primaries=2, replicas=1, node_timeout=1.0, executable=program or None, tls=tls) as c:
        yield c


def url(cluster: ClusterServers, host: str, scheme: str = "rediss+cluster") -> str:
    first = cluster.nodes[0]
    return f"{scheme}://:{first.password}@{host}:{first.tls_port}"


async def used(cluster: ClusterServers, r: Cluster[str]) -> None:
    await asyncio.gather(*(r.set(f"k{number}", "1") for number in range(20)))
    home = cluster.primary_of("k1")
    target = next(node for node in cluster.primaries() if node is not home)
    await asyncio.to_thread(cluster.migrate, "k1", target)
    try:
        assert await r.get("k1") == "1"
    finally:
        await asyncio.to_thread(cluster.migrate, "k1", home)
    async with r.subscribe("news") as s:
        await r.publish("news", "x")
        assert (await anext(s)).data == "x"
    assert await r.with_options(read_from="replica").mget("k1", "k2", "k3") == ["1"] * 3


@pytest.mark.parametrize("scheme", ["rediss+cluster", "valkeys+cluster", "rediss"])
async def test_the_name_of_a_seed_is_good_for_nodes_that_are_told_by_ip(
    encrypted: ClusterServers, paths: Paths, scheme: str
) -> None:
    async with Cluster(url(encrypted, "localhost", scheme), ssl_ca_certs=paths.authority) as r:
        await used(encrypted, r)
        assert {node.address for node in r.topology().nodes} == {("127.0.0.1", n.tls_port) for n in encrypted.nodes}


async def test_without_a_name_the_error_says_how_to_get_one(encrypted: ClusterServers, paths: Paths) -> None:
    async with Cluster(url(encrypted, "127.0.0.1"), ssl_ca_certs=paths.authority) as r:
        begin = asyncio.get_running_loop().time()
        with pytest.raises(TLSError) as caught:
            await r.get("a")
        assert asyncio.get_running_loop().time() - begin < 5
    said = str(caught.value)
    for hint in ("certificate is for another host", "cluster-announce-hostname", "address_map"):
        assert hint in said


async def test_other_faults_of_a_certificate_are_not_tried_under_other_names(
    encrypted: ClusterServers, paths: Paths
) -> None:
    async with Cluster(url(encrypted, "localhost"), ssl_ca_certs=paths.stranger) as r:
        with pytest.raises(TLSError, match="ssl_ca_certs") as caught:
            await r.get("a")
    assert "cluster-announce-hostname" not in str(caught.value)


async def test_addresses_are_mapped_to_names(encrypted: ClusterServers, paths: Paths) -> None:
    def named(address: tuple[str, int]) -> tuple[str, int]:
        return "localhost", address[1]

    async with Cluster(url(encrypted, "localhost"), ssl_ca_certs=paths.authority, address_map=named) as r:
        await used(encrypted, r)
        assert {node.host for node in r.topology().nodes} == {"localhost"}


async def test_names_that_the_nodes_announce_are_verified(encrypted: ClusterServers, paths: Paths) -> None:
    if encrypted.nodes[0].version < (7,):
        pytest.skip("since 7.0")
    await asyncio.to_thread(encrypted.announce, "localhost")
    try:
        async with Cluster(url(encrypted, "localhost"), ssl_ca_certs=paths.authority) as r:
            await used(encrypted, r)
            assert {node.host for node in r.topology().nodes} == {"localhost"}
            assert {node.hostname for node in r.topology().nodes} == {"localhost"}
    finally:
        await asyncio.to_thread(encrypted.announce, "", "ip")


async def test_nodes_without_a_plain_port(encrypted: ClusterServers, paths: Paths) -> None:
    """They tell port 0 for it."""
    if encrypted.nodes[0].version < (7,):
        pytest.skip("the port can be changed since 7.0")
    ports = {node: node.port for node in encrypted.nodes}
    encrypted.call_all("CONFIG", "SET", "port", 0)
    try:
        async with Cluster(url(encrypted, "localhost"), ssl_ca_certs=paths.authority) as r:
            await used(encrypted, r)
    finally:
        for node, port in ports.items():
            node.call("CONFIG", "SET", "port", port)


async def test_plain_text_to_a_port_with_tls_and_the_reverse(encrypted: ClusterServers, paths: Paths) -> None:
    async with Cluster(url(encrypted, "localhost", "redis+cluster")) as r:
        with pytest.raises(ConnectError, match="rediss://"):
            await r.get("a")
    first = encrypted.nodes[0]
    plain = f"rediss+cluster://:{first.password}@localhost:{first.port}"
    async with Cluster(plain, ssl_ca_certs=paths.authority, connect_timeout=1.0, retry=None) as r:
        with pytest.raises(ConnectError, match=r"redis://|that is not TLS"):
            await r.get("a")


def test_the_names_of_a_node_are_its_own_then_those_of_the_seeds() -> None:
    nodes = Nodes(*read_seeds("rediss+cluster://a.example,10.0.0.9,b.example", {}))
    assert nodes.names_of(("10.0.0.1", 1)) == ["a.example", "b.example"]
    assert nodes.names_of(("c.example", 1)) == []
    told = ClusterNode("n", "10.0.0.1", 1, "primary", hostname="n.example")
    nodes.topology = Topology(1, (Shard(((0, 16383),), told, ()),))
    assert nodes.names_of(("10.0.0.1", 1)) == ["n.example", "a.example", "b.example"]
    assert nodes.names_of(("10.0.0.2", 1)) == ["a.example", "b.example"]
    assert nodes.names_of(("fe80::1", 1)) == ["a.example", "b.example"]
