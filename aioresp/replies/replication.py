"""Replies about replication."""

from __future__ import annotations

from typing import Any, Literal

from aioresp.record import Record
from aioresp.replies import integer, parts, shown, string


class ConnectedReplica(Record):
    """A replica of a server, and its offset."""

    ip: str
    port: int
    offset: int


class MasterRole(Record):
    """A server that takes writes: how far it is, and its replicas."""

    offset: int
    replicas: list[ConnectedReplica]
    role: Literal["master"] = "master"


class ReplicaRole(Record):
    """A replica: its primary, the state of the link ("connect", "connecting", "sync", "connected"), and its offset."""

    host: str
    port: int
    state: str
    offset: int
    role: Literal["slave"] = "slave"


class SentinelRole(Record):
    """A sentinel, and the names of the masters that it watches."""

    masters: list[str]
    role: Literal["sentinel"] = "sentinel"


def role(value: Any) -> MasterRole | ReplicaRole | SentinelRole:
    """Return the role of a server; offsets and ports of replicas are text under both protocols."""
    kind = string(parts(value)[0])
    if kind == "master":
        replicas = [
            ConnectedReplica(shown(ip), int(port), int(offset)) for ip, port, offset in map(parts, parts(value[2]))
        ]
        return MasterRole(integer(value[1]), replicas)
    if kind == "slave":
        return ReplicaRole(shown(value[1]), int(value[2]), string(value[3]), int(value[4]))
    if kind != "sentinel":
        raise ValueError("an unknown role")
    return SentinelRole([shown(name) for name in parts(value[1])])
