"""The types of cluster administration. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.cluster import ClusterLink, ClusterNode, ClusterShard, Migration, SlotRange, SlotStats


async def text(r: Client[str]) -> None:
    assert_type(await r.cluster_addslots(1), bool)
    assert_type(await r.cluster_addslotsrange((1, 2)), bool)
    assert_type(await r.cluster_bumpepoch(), str)
    assert_type(await r.cluster_count_failure_reports("id"), int)
    assert_type(await r.cluster_countkeysinslot(1), int)
    assert_type(await r.cluster_delslots(1), bool)
    assert_type(await r.cluster_delslotsrange((1, 2)), bool)
    assert_type(await r.cluster_failover(), bool)
    assert_type(await r.cluster_flushslot(1), bool)
    assert_type(await r.cluster_flushslots(), bool)
    assert_type(await r.cluster_forget("id"), bool)
    assert_type(await r.cluster_getkeysinslot(1, 5), list[str])
    assert_type(await r.cluster_info(), dict[str, int | str])
    assert_type(await r.cluster_keyslot("k"), int)
    assert_type(await r.cluster_links(), list[ClusterLink])
    assert_type(await r.cluster_meet("ip", 1), bool)
    assert_type(await r.cluster_migration_import((1, 2)), str)
    assert_type(await r.cluster_migration_cancel(), int)
    assert_type(await r.cluster_migration_status(), list[Migration])
    assert_type(await r.cluster_myid(), str)
    assert_type(await r.cluster_myshardid(), str)
    assert_type(await r.cluster_nodes(), list[ClusterNode])
    assert_type(await r.cluster_replicas("id"), list[ClusterNode])
    assert_type(await r.cluster_replicate(None), bool)
    assert_type(await r.cluster_reset(), bool)
    assert_type(await r.cluster_saveconfig(), bool)
    assert_type(await r.cluster_set_config_epoch(1), bool)
    assert_type(await r.cluster_setslot(1, "STABLE"), bool)
    assert_type(await r.cluster_shards(), list[ClusterShard])
    assert_type(await r.cluster_slaves("id"), list[ClusterNode])
    assert_type(await r.cluster_slot_stats(slotsrange=(0, 5)), dict[int, SlotStats])
    assert_type(await r.cluster_slots(), list[SlotRange])
    assert_type(await r.cluster_migrateslots("id", (0, 5)), bool)
    assert_type(await r.cluster_getslotmigrations(), list[Migration])
    assert_type(await r.cluster_cancelslotmigrations(), bool)
    assert_type(await r.clusterscan(), tuple[str, list[str]])
    assert_type(await r.readonly(), bool)
    assert_type(await r.readwrite(), bool)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.cluster_getkeysinslot(1, 5), list[bytes])
    assert_type(await b.clusterscan(), tuple[bytes, list[bytes]])
