"""Proxies in front of a cluster and of a Sentinel set: clients meet their faults, and the servers themselves do not."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import warnings
from collections.abc import Iterator

import pytest

from aioresp import Client, ConnectionLost, ConnectTimeout
from aioresp.testing import ClusterNode, ClusterServers, Proxy, SentinelServers
from aioresp.testing.gates import Gate, Gates
from aioresp.testing.sockets import HOST
from tests.testing.processes import PROGRAMS

# The oldest server has no `bind-source-addr`; the default one stands for the others.
OLD_AND_DEFAULT = [*([] if PROGRAMS[0].id == "default" else PROGRAMS[:1]), pytest.param(None, id="default")]


@pytest.fixture(scope="module", params=OLD_AND_DEFAULT)
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterServers]:
    with ClusterServers(executable=request.param, node_timeout=1.0, proxies=True) as c:
        yield c


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelServers]:
    with SentinelServers(proxies=True) as s:
        yield s


def client_of(c: ClusterServers, node: ClusterNode) -> Client[str]:
    return Client(c.proxies[node].url, timeout=0.5)


def told_ports(node: ClusterNode) -> set[str]:
    slots = node.call("CLUSTER", "SLOTS")
    assert isinstance(slots, list)
    return {
        str(server[1]) for entry in slots if isinstance(entry, list) for server in entry[2:] if isinstance(server, list)
    }


async def test_clients_pass_the_proxies_and_servers_pass_untouched(cluster: ClusterServers) -> None:
    ports = {str(proxy.port) for proxy in cluster.proxies.values()}
    assert len(ports) == 6
    assert all(f"127.0.0.1:{port}" in cluster.url for port in ports)
    for node in cluster.nodes:
        assert await asyncio.to_thread(told_ports, node) == ports
    node = cluster.primary_of("k")
    proxy = cluster.proxies[node]
    assert [each.connections for each in cluster.proxies.values()] == [0] * 6
    async with client_of(cluster, node) as r:
        await r.set("k", "v")
        assert (proxy.connections, proxy.open) == (1, 1)
        proxy.cut_after(1)  # the primary's next bytes to its replica are no reply to this client
        assert await asyncio.to_thread(node.call, "SET", "k", "replicated") == "OK"
        assert await asyncio.to_thread(node.call, "WAIT", 1, 5000) == 1
        assert proxy.cuts == 0
        with pytest.raises(ConnectionLost):
            await r.call("INCR", "{k}n")
        assert proxy.cuts == 1
        proxy.half_open()
        with pytest.raises(ConnectTimeout):
            await r.get("k")
        assert await asyncio.to_thread(node.call, "SET", "k", "replicated again") == "OK"
        assert await asyncio.to_thread(node.call, "WAIT", 1, 5000) == 1
        proxy.refuse()
        cluster.wait_until_ok()  # the nodes do not notice
    cluster.restore()
    async with client_of(cluster, node) as r:
        assert await r.get("k") == "replicated again"
    cluster.flush()


def test_the_cluster_goes_on_behind_its_proxies(cluster: ClusterServers) -> None:
    node = cluster.primary_of("k")
    heir = cluster.failover("k")
    cluster.wait_until_ok()
    heir.kill()
    assert cluster.wait_until_promoted(heir) is node
    cluster.restore()
    before = {str(proxy.port) for proxy in cluster.proxies.values()}
    cluster.restart(elsewhere=True)
    after = {str(proxy.port) for proxy in cluster.proxies.values()}
    assert not before & after
    assert told_ports(node) == after
    cluster.migrate("k", next(other for other in cluster.primaries() if other is not cluster.primary_of("k")))


async def test_a_method_of_a_proxy_may_be_called_from_any_loop(cluster: ClusterServers) -> None:
    node = cluster.primary_of("k")
    proxy = cluster.proxies[node]

    async def one() -> None:
        async with client_of(cluster, node) as r:
            await r.ping()
            proxy.delay = 0.05
            assert proxy.delay == 0.05
            begin = asyncio.get_running_loop().time()
            await r.ping()
            assert asyncio.get_running_loop().time() - begin > 0.09
            proxy.heal()

    await one()
    await asyncio.to_thread(asyncio.run, one())


def test_a_sentinel_may_vanish_for_clients_alone(sentinels: SentinelServers) -> None:
    sentinel = sentinels.sentinels[0]
    assert sentinels.addresses[0] == f"127.0.0.1:{sentinels.proxies[sentinel].port}"
    told = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
    assert told == ["127.0.0.1", str(sentinels.proxies[sentinels.primary()].port)]
    rows = sentinel.call("SENTINEL", "SENTINELS", "mymaster")
    others = {str(sentinels.proxies[each].port) for each in sentinels.sentinels[1:]}
    assert isinstance(rows, list)
    assert {str(row[5]) for row in rows if isinstance(row, list)} == others
    for each in sentinels.sentinels:
        sentinels.proxies[each].half_open()
    old = sentinels.primary()
    assert sentinels.failover() is not old
    sentinels.restore()
    assert old in sentinels.replicas()


def test_a_proxy_of_a_server_of_ones_own_has_no_other_methods() -> None:
    for name in vars(Proxy):
        if not name.startswith("_"):
            assert vars(Gate)[name] is not vars(Proxy)[name], name


def test_without_proxies_there_are_none() -> None:
    with pytest.raises(RuntimeError, match="make the ClusterServers with proxies=True"):
        _ = ClusterServers().proxies


@pytest.mark.turns(2)
@pytest.mark.parametrize("count", [1, 20])
def test_connections_that_come_while_gates_close_leave_no_socket_open(
    recwarn: pytest.WarningsRecorder, count: int
) -> None:
    """As those of a client while `restart(elsewhere=True)` puts other proxies before the nodes."""
    warnings.simplefilter("always", ResourceWarning)
    unraisable = sys.unraisablehook
    lost: list[str] = []
    sys.unraisablehook = lambda found: lost.append(str(found.exc_value))
    try:
        for _ in range(10):
            gates = Gates()
            gate = gates.open()
            clients = [socket.socket() for _ in range(count)]
            for each in clients:
                each.connect((HOST, gate.port))
            gates.close()
            for each in clients:
                each.close()
            del gates, gate
        gc.collect()
    finally:
        sys.unraisablehook = unraisable
    assert lost + [str(each.message) for each in recwarn if each.category is ResourceWarning] == []
