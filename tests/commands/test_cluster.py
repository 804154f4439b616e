"""Cluster administration: what is sent, and what one node of a cluster answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from aioresp import Client, ResponseError
from aioresp.replies.cluster import (
    ClusterLink,
    ClusterNode,
    ClusterShard,
    Migration,
    ShardNode,
    SlotNode,
    SlotRange,
    SlotStats,
    cluster_links,
    cluster_node,
    cluster_shards,
    cluster_slots,
    migrations,
    slot_stats,
)
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.commands.conftest import make
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

ID = "07c37dfeb235213a872192d90877d0cd55635b91"

WIRE: Wire = [
    (lambda r: r.cluster_addslots(1, 2), ("CLUSTER", "ADDSLOTS", 1, 2)),
    (lambda r: r.cluster_addslotsrange((1, 2), (5, 9)), ("CLUSTER", "ADDSLOTSRANGE", 1, 2, 5, 9)),
    (lambda r: r.cluster_bumpepoch(), ("CLUSTER", "BUMPEPOCH")),
    (lambda r: r.cluster_count_failure_reports(ID), ("CLUSTER", "COUNT-FAILURE-REPORTS", ID)),
    (lambda r: r.cluster_countkeysinslot(7), ("CLUSTER", "COUNTKEYSINSLOT", 7)),
    (lambda r: r.cluster_delslots(1, 2), ("CLUSTER", "DELSLOTS", 1, 2)),
    (lambda r: r.cluster_delslotsrange((1, 2)), ("CLUSTER", "DELSLOTSRANGE", 1, 2)),
    (lambda r: r.cluster_failover(), ("CLUSTER", "FAILOVER")),
    (lambda r: r.cluster_failover("FORCE"), ("CLUSTER", "FAILOVER", "FORCE")),
    (lambda r: r.cluster_failover(option="TAKEOVER"), ("CLUSTER", "FAILOVER", "TAKEOVER")),
    (lambda r: r.cluster_flushslot(7), ("CLUSTER", "FLUSHSLOT", 7)),
    (lambda r: r.cluster_flushslot(7, mode="SYNC"), ("CLUSTER", "FLUSHSLOT", 7, "SYNC")),
    (lambda r: r.cluster_flushslot(7, "ASYNC"), ("CLUSTER", "FLUSHSLOT", 7, "ASYNC")),
    (lambda r: r.cluster_flushslots(), ("CLUSTER", "FLUSHSLOTS")),
    (lambda r: r.cluster_forget(ID), ("CLUSTER", "FORGET", ID)),
    (lambda r: r.cluster_getkeysinslot(7, 10), ("CLUSTER", "GETKEYSINSLOT", 7, 10)),
    (lambda r: r.cluster_info(), ("CLUSTER", "INFO")),
    (lambda r: r.cluster_keyslot("k"), ("CLUSTER", "KEYSLOT", "k")),
    (lambda r: r.cluster_links(), ("CLUSTER", "LINKS")),
    (lambda r: r.cluster_meet("127.0.0.1", 7000), ("CLUSTER", "MEET", "127.0.0.1", 7000)),
    (lambda r: r.cluster_meet("127.0.0.1", 7000, cluster_bus_port=8), ("CLUSTER", "MEET", "127.0.0.1", 7000, 8)),
    (lambda r: r.cluster_migration_import((1, 2), (5, 9)), ("CLUSTER", "MIGRATION", "IMPORT", 1, 2, 5, 9)),
    (lambda r: r.cluster_migration_cancel(), ("CLUSTER", "MIGRATION", "CANCEL", "ALL")),
    (lambda r: r.cluster_migration_cancel(task_id="x"), ("CLUSTER", "MIGRATION", "CANCEL", "ID", "x")),
    (lambda r: r.cluster_migration_status(), ("CLUSTER", "MIGRATION", "STATUS", "ALL")),
    (lambda r: r.cluster_migration_status(task_id="x"), ("CLUSTER", "MIGRATION", "STATUS", "ID", "x")),
    (lambda r: r.cluster_myid(), ("CLUSTER", "MYID")),
    (lambda r: r.cluster_myshardid(), ("CLUSTER", "MYSHARDID")),
    (lambda r: r.cluster_nodes(), ("CLUSTER", "NODES")),
    (lambda r: r.cluster_replicas(ID), ("CLUSTER", "REPLICAS", ID)),
    (lambda r: r.cluster_replicate(ID), ("CLUSTER", "REPLICATE", ID)),
    (lambda r: r.cluster_replicate(None), ("CLUSTER", "REPLICATE", "NO", "ONE")),
    (lambda r: r.cluster_reset(), ("CLUSTER", "RESET", "SOFT")),
    (lambda r: r.cluster_reset(hard=True), ("CLUSTER", "RESET", "HARD")),
    (lambda r: r.cluster_saveconfig(), ("CLUSTER", "SAVECONFIG")),
    (lambda r: r.cluster_set_config_epoch(5), ("CLUSTER", "SET-CONFIG-EPOCH", 5)),
    (lambda r: r.cluster_setslot(7, "IMPORTING", ID), ("CLUSTER", "SETSLOT", 7, "IMPORTING", ID)),
    (lambda r: r.cluster_setslot(7, "MIGRATING", node_id=ID), ("CLUSTER", "SETSLOT", 7, "MIGRATING", ID)),
    (lambda r: r.cluster_setslot(7, "NODE", ID, timeout=5), ("CLUSTER", "SETSLOT", 7, "NODE", ID, "TIMEOUT", 5)),
    (
        lambda r: r.cluster_setslot(7, "NODE", ID, timeout=timedelta(seconds=1)),
        ("CLUSTER", "SETSLOT", 7, "NODE", ID, "TIMEOUT", 1000),
    ),
    (lambda r: r.cluster_setslot(7, state="STABLE"), ("CLUSTER", "SETSLOT", 7, "STABLE")),
    (lambda r: r.cluster_shards(), ("CLUSTER", "SHARDS")),
    (lambda r: r.cluster_slaves(ID), ("CLUSTER", "SLAVES", ID)),
    (lambda r: r.cluster_slot_stats(slotsrange=(0, 5)), ("CLUSTER", "SLOT-STATS", "SLOTSRANGE", 0, 5)),
    (
        lambda r: r.cluster_slot_stats(orderby="key-count", limit=5, desc=True),
        ("CLUSTER", "SLOT-STATS", "ORDERBY", "key-count", "LIMIT", 5, "DESC"),
    ),
    (
        lambda r: r.cluster_slot_stats(orderby="cpu-usec", asc=True),
        ("CLUSTER", "SLOT-STATS", "ORDERBY", "cpu-usec", "ASC"),
    ),
    (lambda r: r.cluster_slots(), ("CLUSTER", "SLOTS")),
    (lambda r: r.cluster_migrateslots(ID, (1, 2)), ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 1, 2, "NODE", ID)),
    (lambda r: r.cluster_getslotmigrations(), ("CLUSTER", "GETSLOTMIGRATIONS")),
    (lambda r: r.cluster_cancelslotmigrations(), ("CLUSTER", "CANCELSLOTMIGRATIONS")),
    (lambda r: r.clusterscan(), ("CLUSTERSCAN", "0")),
    (
        lambda r: r.clusterscan("5", "k*", 10, "hash", slot=7),
        ("CLUSTERSCAN", "5", "MATCH", "k*", "COUNT", 10, "TYPE", "hash", "SLOT", 7),
    ),
    (lambda r: r.readonly(), ("READONLY",)),
    (lambda r: r.readwrite(), ("READWRITE",)),
]

REFUSED: Refused = [
    (lambda r: r.cluster_addslots(), ValueError, "CLUSTER ADDSLOTS: slots is empty"),
    (lambda r: r.cluster_delslotsrange(), ValueError, "CLUSTER DELSLOTSRANGE: ranges is empty"),
    (lambda r: r.cluster_setslot(7, "STABLE", ID), ValueError, "CLUSTER SETSLOT: STABLE has no node_id"),
    (lambda r: r.cluster_setslot(7, "NODE"), ValueError, "CLUSTER SETSLOT: NODE needs node_id"),
    (lambda r: cast(Any, r).cluster_slot_stats(), ValueError, "CLUSTER SLOT-STATS: needs slotsrange or orderby"),
    (
        lambda r: cast(Any, r).cluster_slot_stats(slotsrange=(0, 1), orderby="key-count"),
        ValueError,
        "CLUSTER SLOT-STATS: slotsrange and orderby exclude each other",
    ),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


def test_a_line_of_cluster_nodes() -> None:
    line = f"{ID} 127.0.0.1:30004@31004,host4,shard-id=69bc slave,fail? {ID[::-1]} 0 1426238317239 4 connected"
    assert cluster_node(line) == ClusterNode(
        id=ID,
        host="127.0.0.1",
        port=30004,
        bus_port=31004,
        hostname="host4",
        flags=frozenset({"slave", "fail?"}),
        primary_id=ID[::-1],
        ping_sent=0,
        pong_received=1426238317239,
        config_epoch=4,
        connected=True,
        slots=[],
        migrating={},
        importing={},
        auxiliary={"shard-id": "69bc"},
    )
    old = cluster_node(f"{ID} ::1:7000 myself,master - 0 0 1 disconnected 0-5460 7000 [93-<-{ID}] [77->-{ID}]")
    assert (old.host, old.port, old.bus_port, old.hostname, old.connected) == ("::1", 7000, None, None, False)
    assert old.slots == [(0, 5460), (7000, 7000)]
    assert (old.importing, old.migrating) == ({93: ID}, {77: ID})


def test_replies() -> None:
    link = [b"direction", b"to", b"node", ID.encode(), b"create-time", 1, b"events", b"rw"]
    link += [b"send-buffer-allocated", 4512, b"send-buffer-used", 0]
    assert cluster_links([link]) == [ClusterLink("to", ID, 1, "rw", 4512, 0)]
    node = {"id": ID, "port": 7000, "ip": "127.0.0.1", "endpoint": "127.0.0.1", "hostname": "", "role": "master"}
    node |= {"replication-offset": 72156, "health": "online"}
    expected = ShardNode(ID, "127.0.0.1", 7000, None, "master", 72156, "online", {"hostname": ""})
    assert cluster_shards([{"slots": [0, 5, 7, 7], "nodes": [node]}]) == [
        ClusterShard([(0, 5), (7, 7)], [expected], None)
    ]
    slots = [[0, 5, [b"127.0.0.1", 7000, ID.encode(), [b"hostname", b"h"]], [None, 7001, ID.encode()]]]
    assert cluster_slots(slots) == [
        SlotRange(0, 5, SlotNode("127.0.0.1", 7000, ID, {"hostname": "h"}), [SlotNode(None, 7001, ID, {})])
    ]
    assert slot_stats([[7, {"key-count": 1, "cpu-usec": 2}]]) == {7: SlotStats(1, 2, None, None, None)}
    assert migrations([[b"id", b"x", b"state", b"done", b"retries", 0]]) == [
        Migration({"id": "x", "state": "done", "retries": 0})
    ]


@pytest.fixture(scope="module")
def node(executable: str | None) -> Iterator[Server]:
    """A cluster of one node that serves every slot."""
    with start_server(executable=executable, config={"cluster-enabled": "yes"}) as running:
        yield running


@pytest.fixture
async def n(node: Server, protocol: int, decode: bool) -> AsyncIterator[Client[Any]]:
    async with make(node, protocol, decode) as client:
        await client.flushall()
        if (await client.cluster_info())["cluster_slots_assigned"] != 16384:
            exactly(await client.cluster_addslots(*range(16384)), True)
            while (await client.cluster_info())["cluster_state"] != "ok":
                pass
        yield client


async def test_slots_and_keys(n: Client[Any], text: Text) -> None:
    slot = await n.cluster_keyslot("k")
    exactly(slot, 7629)
    await n.set("k", 1)
    exactly(await n.cluster_countkeysinslot(slot), 1)
    exactly(await n.cluster_getkeysinslot(slot, 10), text(["k"]))
    with pytest.raises(ResponseError):
        await n.cluster_addslots(slot)
    exactly(await n.cluster_delslots(slot), True)
    exactly(await n.cluster_addslots(slot), True)


async def test_nodes(n: Client[Any], node: Server) -> None:
    me = await n.cluster_myid()
    info = await n.cluster_info()
    exactly((info["cluster_state"], info["cluster_slots_ok"]), ("ok", 16384))
    (itself,) = await n.cluster_nodes()
    assert (itself.id, itself.port, itself.connected) == (me, node.port, True)
    assert {"myself", "master"} <= itself.flags
    assert itself.slots == [(0, 16383)]
    (found,) = await n.cluster_slots()
    assert (found.first, found.last, found.primary.id, found.replicas) == (0, 16383, me, [])
    exactly(await n.cluster_replicas(me), [])
    exactly(await n.cluster_slaves(me), [])
    exactly(await n.cluster_count_failure_reports(me), 0)
    exactly(await n.cluster_saveconfig(), True)
    assert (await n.cluster_bumpepoch()).split()[0].upper() in ("BUMPED", "STILL")
    exactly(await n.cluster_setslot(7, "STABLE"), True)
    for refuse in (
        n.cluster_setslot(7, "MIGRATING", ID),
        n.cluster_forget(ID),
        n.cluster_replicate(ID),
        n.cluster_failover(),
        n.cluster_set_config_epoch(7),
        n.cluster_meet("nonsense", 1),
    ):
        with pytest.raises(ResponseError):
            await refuse
    async with n.connection() as c:
        exactly(await c.readonly(), True)
        exactly(await c.readwrite(), True)


async def test_slots_of_a_fresh_node(executable: str | None, protocol: int, decode: bool, since: Since) -> None:
    since(7, 0)
    with start_server(executable=executable, config={"cluster-enabled": "yes"}) as own:
        async with make(own, protocol, decode) as fresh:
            exactly(await fresh.cluster_addslotsrange((0, 10), (20, 20)), True)
            assert (await fresh.cluster_nodes())[0].slots == [(0, 10), (20, 20)]
            exactly(await fresh.cluster_delslotsrange((0, 9)), True)
            exactly(await fresh.cluster_flushslots(), True)
            assert (await fresh.cluster_nodes())[0].slots == []
            me = await fresh.cluster_myid()
            exactly(await fresh.cluster_reset(hard=True), True)
            assert await fresh.cluster_myid() != me


async def test_shards(n: Client[Any], node: Server, since: Since) -> None:
    since(7, 0)
    (shard,) = await n.cluster_shards()
    assert shard.slots == [(0, 16383)]
    (itself,) = shard.nodes
    assert (itself.id, itself.port, itself.role, itself.health) == (
        await n.cluster_myid(),
        node.port,
        "master",
        "online",
    )
    exactly(await n.cluster_links(), [])


async def test_myshardid(n: Client[Any], since: Since) -> None:
    since(7, 2)
    assert len(await n.cluster_myshardid()) == 40


async def test_slot_stats(n: Client[Any], since: Since) -> None:
    since(8, 2, valkey=(8, 0))
    await n.set("k", 1)
    found = await n.cluster_slot_stats(slotsrange=(7628, 7629))
    assert list(found) == [7628, 7629]
    assert (found[7628].key_count, found[7629].key_count) == (0, 1)
    assert list(await n.cluster_slot_stats(orderby="key-count", limit=1, desc=True)) == [7629]


async def test_migration(n: Client[Any], since: Since) -> None:
    since(8, 4)
    exactly(await n.cluster_migration_status(), [])
    exactly(await n.cluster_migration_cancel(), 0)
    with pytest.raises(ResponseError):
        await n.cluster_migration_import((0, 5))


async def test_of_valkey_9(n: Client[Any], text: Text, since: Since) -> None:
    since(valkey=(9, 0))
    await n.set("k", 1)
    exactly(await n.cluster_flushslot(7629, "SYNC"), True)
    exactly(await n.cluster_countkeysinslot(7629), 0)
    exactly(await n.cluster_getslotmigrations(), [])
    with pytest.raises(ResponseError):
        await n.cluster_migrateslots(ID, (0, 5))
    with pytest.raises(ResponseError, match="migration"):
        await n.cluster_cancelslotmigrations()


async def test_clusterscan(n: Client[Any], text: Text, since: Since) -> None:
    since(valkey=(9, 1))
    await n.mset({"{a}1": 1, "{a}2": 2})
    cursor: Any = "0"
    found: set[Any] = set()
    while True:
        cursor, keys = await n.clusterscan(cursor, count=1000)
        found |= set(keys)
        if cursor == text("0"):
            break
    assert found == set(text(["{a}1", "{a}2"]))
