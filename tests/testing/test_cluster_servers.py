"""The kit's cluster: it forms on every server of the matrix, does what it is told, and is always gone at the end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from aioresp import Client
from aioresp.testing import ClusterNode, ClusterServers, ErrorReply, MigrationFailed, ServerFailed
from aioresp.testing.executables import find_executable
from aioresp.testing.slots import share_out
from tests.security.tls import Paths, program_with_tls
from tests.testing.processes import PROGRAMS, alive, gone, wait_until


def error_of(node: ClusterNode, *words: str) -> str:
    with pytest.raises(ErrorReply) as caught:
        node.call(*words)
    return str(caught.value)


@pytest.fixture(scope="module", params=PROGRAMS)
def every(request: pytest.FixtureRequest) -> Iterator[ClusterServers]:
    """A cluster of each server of the matrix."""
    with ClusterServers(executable=request.param) as c:
        yield c


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterServers]:
    """A cluster of the default server, whose nodes are killed."""
    with ClusterServers(node_timeout=1.0, full_coverage=False) as c:
        yield c
        c.wait_until_ok()


def test_it_forms(every: ClusterServers) -> None:
    assert len(every.nodes) == 6
    assert every.primaries() == list(every.nodes[:3])
    assert every.replicas() == list(every.nodes[3:])
    for primary, replica in zip(every.nodes[:3], every.nodes[3:], strict=True):
        assert every.replicas_of(primary) == [replica]
    shares = share_out(3)
    assert [every.primary_of(share[-1]) for share in shares] == every.primaries()
    for node in every.nodes:
        slots = node.call("CLUSTER", "SLOTS")  # also of the replicas, and with them
        assert isinstance(slots, list)
        assert [entry[:2] for entry in slots if isinstance(entry, list)] == [[s[0], s[-1]] for s in shares]
        assert [len(entry) for entry in slots if isinstance(entry, list)] == [4] * 3
        assert "CLUSTERDOWN" not in every.errorstats()
    owner = every.primary_of("k")
    assert owner.call("CLUSTER", "KEYSLOT", "a{b}c") == every.keyslot("a{b}c") == every.keyslot("b")
    assert owner.call("SET", "k", "v") == "OK"
    assert owner.call("WAIT", "1", "5000") == 1
    password = owner.password
    addresses = ",".join(f"127.0.0.1:{node.port}" for node in every.nodes)
    assert every.url == f"redis+cluster://:{password}@{addresses}"
    every.flush()


def test_a_slot_goes_to_another_node_key_by_key(every: ClusterServers) -> None:
    slot = every.keyslot("k")
    source = every.primary_of(slot)
    target = next(node for node in every.primaries() if node is not source)
    for number in range(250):
        source.call("SET", f"{{k}}{number}", number)
    migration = every.begin_migration("k", target)
    assert migration.move(120) == 120
    assert every.primary_of("k") is source
    assert source.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 130
    assert error_of(source, "GET", "{k}") == f"ASK {slot} 127.0.0.1:{target.port}"
    assert error_of(target, "GET", "{k}") == f"MOVED {slot} 127.0.0.1:{source.port}"
    migration.end()
    assert every.primary_of("k") is target
    assert target.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 250
    for node in every.nodes:
        if node is not target:
            assert error_of(node, "GET", "{k}") == f"MOVED {slot} 127.0.0.1:{target.port}"
    every.migrate("k", source)
    assert source.call("GET", "{k}249") == "249"
    with pytest.raises(ValueError, match=f"slot {slot} is with"):
        every.migrate("k", source)
    every.flush()


def test_a_slot_goes_to_another_node_at_once(every: ClusterServers) -> None:
    source = every.primary_of("k")
    target = next(node for node in every.primaries() if node is not source)
    if source.flavour != "valkey" or source.version < (9, 0):
        with pytest.raises(ErrorReply, match="MIGRATESLOTS"):
            every.migrate("k", target, atomic=True)
        return
    source.call("SET", "k", "v")
    every.migrate("k", target, atomic=True)
    assert every.primary_of("k") is target
    assert target.call("GET", "k") == "v"
    every.migrate("k", source, atomic=True)
    with pytest.raises((MigrationFailed, ErrorReply)):
        every.migrate("k", every.replicas()[0], atomic=True)
    every.flush()


def test_a_replica_is_promoted_on_demand(every: ClusterServers) -> None:
    old = every.primary_of("k")
    (heir,) = every.replicas_of("k")
    assert every.failover("k") is heir
    assert every.primary_of("k") is heir
    assert every.failover(heir, old, how="force") is old
    with pytest.raises(ValueError, match="owns no slots"):
        every.failover(heir)
    every.wait_until_ok()
    assert every.replicas_of(old) == [heir]


def test_names_are_announced(every: ClusterServers) -> None:
    if every.nodes[0].version < (7, 0):
        with pytest.raises(ErrorReply, match="cluster-announce-hostname"):
            every.announce("localhost")
        return

    def told() -> set[object]:
        slots = every.nodes[0].call("CLUSTER", "SLOTS")
        assert isinstance(slots, list)
        return {server[0] for entry in slots for server in entry[2:]}  # type: ignore[index]

    every.announce("name.example")
    assert told() == {"name.example"}
    every.announce("", "unknown-endpoint")
    assert told() == {None}
    every.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
    assert told() == {"127.0.0.1"}


def test_the_counts_leave_the_kit_out(every: ClusterServers) -> None:
    every.wait_until_ok()
    node = every.primary_of("k")
    every.reset_stats()
    assert node.connections_received() == 0
    error_of(next(other for other in every.primaries() if other is not node), "GET", "k")
    node.call("GET", "k")
    assert every.errorstats() == {"MOVED": 1}
    assert node.commandstats()["get"] == 1
    assert node.connections_received() == 0
    assert {name for name in every.commandstats() if name.startswith("cluster|")} <= {"cluster|nodes", "cluster|info"}


def test_a_primary_that_dies_has_an_heir_and_comes_back_as_a_replica(cluster: ClusterServers) -> None:
    old = cluster.primary_of("k")
    (heir,) = cluster.replicas_of("k")
    old.kill()
    assert cluster.primary_of("k") is old  # no node has taken over yet
    assert cluster.wait_until_promoted(old) is heir
    assert cluster.primary_of("k") is heir
    cluster.wait_until_ok()
    assert old not in cluster.replicas()
    old.start()
    cluster.wait_until_ok()
    assert cluster.replicas_of("k") == [old]
    assert cluster.failover("k") is old


def test_a_primary_that_is_frozen_has_an_heir(cluster: ClusterServers) -> None:
    old = cluster.primary_of("k")
    old.pause()
    assert not old.reachable
    heir = cluster.wait_until_promoted(old)
    old.resume()
    cluster.wait_until_ok()
    assert cluster.replicas_of(heir) == [old]


def test_everything_is_brought_back(cluster: ClusterServers) -> None:
    primary = cluster.primary_of("k")
    replica = next(node for node in cluster.replicas() if node not in cluster.replicas_of(primary))
    primary.call("SET", "k", "v")
    primary.call("WAIT", 1, 5000)
    primary.pause()
    replica.kill()
    cluster.wait_until_promoted(primary)
    cluster.restore()
    assert all(node.reachable for node in cluster.nodes)
    assert len(cluster.replicas()) == 3
    assert cluster.primary_of("k").call("GET", "k") == "v"
    cluster.flush()


def test_what_a_test_has_left_half_moved_is_moved(cluster: ClusterServers) -> None:
    source = cluster.primary_of("k")
    target, third = (node for node in cluster.primaries() if node is not source)
    for number in range(10):
        source.call("SET", f"{{k}}{number}", number)
    cluster.begin_migration("k", target).move(4)
    third.call("CLUSTER", "SETSLOT", source.view()[source.id].slots[0].start, "IMPORTING", source.id)
    cluster.restore()
    assert cluster.primary_of("k") is target
    assert target.call("CLUSTER", "COUNTKEYSINSLOT", cluster.keyslot("k")) == 10
    lines = [node.view()[node.id] for node in cluster.primaries()]
    assert not any(line.leaving or line.arriving for line in lines)
    cluster.flush()


def test_a_primary_without_replicas_leaves_its_slots(cluster: ClusterServers) -> None:
    primary = cluster.primary_of("k")
    (replica,) = cluster.replicas_of(primary)
    replica.kill()
    primary.kill()
    with pytest.raises(ServerFailed, match="no node has taken over"):
        cluster.wait_until_promoted(primary, timeout=0.1)
    with pytest.raises(ServerFailed, match=r"ClusterServers\(.* down.*after 0.1 s"):
        cluster.wait_until_ok(0.1)
    primary.start()
    replica.start()
    cluster.wait_until_ok()


def test_the_whole_cluster_starts_again_elsewhere_with_its_keys(cluster: ClusterServers) -> None:
    for number in range(100):
        cluster.primary_of(f"k{number}").call("SET", f"k{number}", number)
    ports = {node.port for node in cluster.nodes}
    cluster.restart(elsewhere=True)
    assert not ports & {node.port for node in cluster.nodes}
    for number in range(100):
        assert cluster.primary_of(f"k{number}").call("GET", f"k{number}") == str(number)
    cluster.flush()
    primary = cluster.primary_of("k")
    primary.kill()
    primary.start()
    assert primary.call("DBSIZE") == 0  # the restart's own dump is gone


def test_other_shapes() -> None:
    with ClusterServers(primaries=2, replicas=0, password="of my own", config={"maxmemory": "64mb"}) as c:
        assert len(c.primaries()) == 2
        assert c.nodes[0].password == "of my own"
        assert c.url.startswith("redis+cluster://:of%20my%20own@127.0.0.1:")
        assert c.nodes[0].call("CONFIG", "GET", "maxmemory") == ["maxmemory", str(64 << 20)]
        c.migrate("k", next(node for node in c.nodes if node is not c.primary_of("k")))
        pids, folders = [node.pid for node in c.nodes], [node.folder for node in c.nodes]
    assert gone(pids, folders)
    assert repr(c) == "ClusterServers(not started)"
    with pytest.raises(ValueError, match="primaries is 0"):
        ClusterServers(primaries=0)


def test_tls(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    program = program_with_tls(paths)
    if program is None:
        pytest.skip("no server here was built with TLS")
    certificate = paths.certificate("127.0.0.1")

    async def main() -> None:
        tls = (certificate, certificate, paths.authority)
        async with ClusterServers(primaries=2, replicas=1, executable=program, tls=tls, proxies=True) as c:
            assert c.url.startswith("rediss+cluster://")
            old = c.primary_of("k")
            new = next(node for node in c.primaries() if node is not old)
            old.call("SET", "k", "v")
            c.migrate("k", new)
            ports = {c.proxies[node].port for node in c.nodes}
            async with Client(c.proxies[new].url, ssl_ca_certs=paths.authority) as r:
                assert await r.get("k") == "v"
                told = await r.call("CLUSTER", "SLOTS")
                assert {server[1] for entry in told for server in entry[2:]} == ports

    asyncio.run(main())


PARENT = """
import time
from aioresp.testing import ClusterServers
c = ClusterServers(primaries=1, replicas=0)
c.start()
print(c.nodes[0].pid, c.nodes[0].folder, flush=True)
time.sleep(60)
"""


def test_it_is_gone_even_if_the_tests_die() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: gone([int(pid)], [folder]))


def test_it_is_gone_after_an_error_in_the_forming(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def fail(c: ClusterServers) -> str:
        pids.extend(node.pid for node in c.nodes)
        raise ZeroDivisionError

    monkeypatch.setattr(ClusterServers, "_strangers", fail)
    with pytest.raises(ZeroDivisionError), ClusterServers(primaries=2, replicas=0):
        pass
    assert len(pids) == 2
    assert not any(map(alive, pids))


@pytest.mark.parametrize("seconds", [0.05, 0.4, 1.0])
def test_a_cancelled_forming_leaves_nothing_and_can_be_tried_again(seconds: float) -> None:
    c = ClusterServers(primaries=2, replicas=1, proxies=True)
    pids: list[int] = []

    async def main() -> None:
        entering = asyncio.ensure_future(c.__aenter__())
        await asyncio.sleep(seconds)
        pids.extend(child.pid for child in psutil.Process().children(recursive=True))
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    asyncio.run(main())
    assert not any(alive(pid) for pid in pids if pid not in before)
    if seconds == 1.0:
        with c:
            assert len(c.primaries()) == 2
            assert c.proxies[c.nodes[0]].connections == 0


FORK = """
import os, signal
from aioresp.testing import ClusterServers
with ClusterServers(primaries=1, replicas=0, proxies=True) as c:
    child = os.fork()
    if child == 0:
        c.close()
        os._exit(0)
    os.waitpid(child, 0)
    print(c.nodes[0].call("PING"), os.path.exists(c.nodes[0].folder))
"""


def test_a_forked_child_does_not_end_it() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["PONG", "True"]


def test_the_default_server_is_the_one_that_is_found(cluster: ClusterServers) -> None:
    assert cluster.nodes[0].version == find_executable().version
