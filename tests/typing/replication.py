"""The types of the commands on replication. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.replication import ConnectedReplica, MasterRole, ReplicaRole, SentinelRole


async def both(r: Client[str]) -> None:
    assert_type(await r.failover(), bool)
    assert_type(await r.replicaof("host", 7000), bool)
    assert_type(await r.slaveof(), bool)
    role = await r.role()
    assert_type(await r.role(), MasterRole | ReplicaRole | SentinelRole)
    if role.role == "master":
        assert_type(role.replicas, list[ConnectedReplica])
    elif role.role == "slave":
        assert_type(role.state, str)
    else:
        assert_type(role.masters, list[str])
