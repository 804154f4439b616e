"""Replies of cluster nodes: the text of CLUSTER NODES and CLUSTER INFO, and structured replies of newer commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aioresp.command import Converter
from aioresp.record import Record
from aioresp.replies import complete, each, integer, lines, mapping, parts, record, required, string


class ClusterNode(Record):
    """Node of a cluster, from a line of CLUSTER NODES."""

    id: str
    host: str
    port: int
    bus_port: int | None
    hostname: str | None
    flags: frozenset[str]
    """Of "myself", "master", "slave", "fail?", "fail", "handshake", "noaddr", "nofailover"."""
    primary_id: str | None
    ping_sent: int
    """Unix time in ms, 0 if no ping is pending; likewise `pong_received`."""
    pong_received: int
    config_epoch: int
    connected: bool
    slots: list[tuple[int, int]]
    """First and last of each range."""
    migrating: dict[int, str]
    """Slots on their way to another node, with its id; likewise `importing`."""
    importing: dict[int, str]
    auxiliary: dict[str, str]
    """Further fields of newer servers: the shard's id, the availability zone, ..."""


class ClusterLink(Record):
    """One direction of a link to another node."""

    direction: str
    node: str
    create_time: int
    events: str
    send_buffer_allocated: int
    send_buffer_used: int


class ShardNode(Record):
    """Node of a shard; a field that the server does not send is None."""

    id: str
    host: str
    port: int | None
    tls_port: int | None
    role: str
    replication_offset: int
    health: str
    extra: dict[str, int | str]
    """Further fields of the server's reply: host name, ..."""


class ClusterShard(Record):
    """A shard: the ranges of its slots, and its nodes; `id` is of Valkey 8.0."""

    slots: list[tuple[int, int]]
    nodes: list[ShardNode]
    id: str | None


class SlotNode(Record):
    """A node that serves slots; `host` is None where the server does not know it, `id` is empty before 4.0."""

    host: str | None
    port: int
    id: str
    metadata: dict[str, str]


class SlotRange(Record):
    """The slots from `first` to `last`: the primary that serves them, and its replicas."""

    first: int
    last: int
    primary: SlotNode
    replicas: list[SlotNode]


class SlotStats(Record):
    """The figures of one slot; those that the server does not keep are None."""

    key_count: int
    cpu_usec: int | None
    network_bytes_in: int | None
    network_bytes_out: int | None
    memory_bytes: int | None


class Migration(Record):
    """A migration of slots, field by field as the server tells it; its names are those of the server."""

    said: dict[str, str | int]


def cluster_info(value: Any) -> dict[str, int | str]:
    """Return the lines of CLUSTER INFO."""
    fields = (line.partition(":") for line in lines(value))
    return {name: int(said) if said.isdigit() else said for name, colon, said in fields if colon}


def cluster_nodes(value: Any) -> list[ClusterNode]:
    """Return the lines of CLUSTER NODES."""
    return [cluster_node(line) for line in lines(value)]


def cluster_replicas(value: Any) -> list[ClusterNode]:
    """Return the lines of CLUSTER REPLICAS, which come as a list."""
    return [cluster_node(string(line)) for line in parts(value)]


def cluster_node(line: str) -> ClusterNode:
    """Return the node of a line.

    It is `id host:port@bus,hostname,name=value flags primary ping pong epoch link slots`.
    """
    node, address, flags, primary, ping, pong, epoch, link, *slots = line.split(" ")
    endpoint, *more = address.split(",")
    place, at, bus = endpoint.partition("@")
    host, _, port = place.rpartition(":")
    ranges: list[tuple[int, int]] = []
    leaving: dict[int, str] = {}
    coming: dict[int, str] = {}
    for slot in filter(None, slots):
        if slot.startswith("["):
            number, arrow, other = slot[1:-1].partition("->-") if "->-" in slot else slot[1:-1].partition("-<-")
            (leaving if arrow == "->-" else coming)[int(number)] = other
        else:
            first, _, last = slot.partition("-")
            ranges.append((int(first), int(last or first)))
    return ClusterNode(
        id=node,
        host=host,
        port=int(port),
        bus_port=int(bus) if at else None,
        hostname=more[0] if more and more[0] and "=" not in more[0] else None,
        flags=frozenset(flags.split(",")) - {"noflags"},
        primary_id=None if primary == "-" else primary,
        ping_sent=int(ping),
        pong_received=int(pong),
        config_epoch=int(epoch),
        connected=link == "connected",
        slots=ranges,
        migrating=leaving,
        importing=coming,
        auxiliary=dict(_pairs(part for part in more if "=" in part)),
    )


def _pairs(parts: Iterable[str]) -> Iterable[tuple[str, str]]:
    return ((name, said) for name, _, said in (part.partition("=") for part in parts))


def _said(value: Any) -> dict[str, Any]:
    """Return a map with its names and its texts as str."""
    return {
        string(name).replace("-", "_"): string(item) if isinstance(item, bytes) else item
        for name, item in mapping(value).items()
    }


def _facts(said: dict[str, Any]) -> dict[str, Any]:
    """Return a map of texts and integers alone."""
    if not {str, int}.issuperset(map(type, said.values())):
        raise TypeError("neither text nor integers")
    return said


_links: Converter[list[ClusterLink]] = each(record(ClusterLink, direction=string, node=string, events=string))
_slot_stats: Converter[SlotStats] = record(SlotStats)


def cluster_links(value: Any) -> list[ClusterLink]:
    """Return the links."""
    return _links(value)


def cluster_shards(value: Any) -> list[ClusterShard]:
    """Return the shards."""
    shards = []
    for shard in map(_said, parts(value)):
        bounds = iter(parts(shard["slots"]))
        nodes = [_shard_node(_said(node)) for node in parts(shard["nodes"])]
        shards.append(ClusterShard(list(zip(bounds, bounds, strict=True)), nodes, shard.get("id")))
    return shards


def _shard_node(said: dict[str, Any]) -> ShardNode:
    host = said.pop("endpoint", None) or said.get("ip", "")
    said.pop("ip", None)
    known = {name: said.pop(name, None) for name in ShardNode.record_fields if name not in ("host", "extra")}
    return complete(ShardNode(host=string(host), extra=_facts(said), **known), _REQUIRED)


_REQUIRED: Final = required(ShardNode)


def cluster_slots(value: Any) -> list[SlotRange]:
    """Return the slots, and the nodes that serve them."""
    return [
        SlotRange(integer(first), integer(last), _slot_node(primary), [_slot_node(replica) for replica in replicas])
        for first, last, primary, *replicas in map(parts, parts(value))
    ]


def _slot_node(value: Any) -> SlotNode:
    host, port, *more = parts(value)
    said = _said(more[1]) if len(more) > 1 else {}
    return SlotNode(string(host) if host else None, integer(port), string(more[0]) if more else "", said)


def slot_stats(value: Any) -> dict[int, SlotStats]:
    """Return the figures by slot, in the server's order."""
    return {integer(slot): _slot_stats(figures) for slot, figures in map(parts, parts(value))}


def migrations(value: Any) -> list[Migration]:
    """Return migrations."""
    return [Migration(_facts(_said(migration))) for migration in parts(value)]
