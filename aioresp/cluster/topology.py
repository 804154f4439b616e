"""Topology of a cluster: its shards, with their slots, primary and replicas, as one node tells it.

Owns the reading of CLUSTER SHARDS, CLUSTER SLOTS and CLUSTER INFO in both protocols, and which of several views is the
newest. Never asks a node, and never changes a topology: it is frozen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, TypeAlias

from aioresp.addresses import AddressMap, mapped
from aioresp.cluster.slots import SLOTS
from aioresp.errors import RedisError, UnexpectedReply
from aioresp.record import Record

#: Host and port of a node.
Address: TypeAlias = tuple[str, int]

Role: TypeAlias = Literal["primary", "replica"]

#: Ranges of slots that `spelled` tells.
RANGES: Final = 4

#: The host of a node whose name is preferred and not set.
UNNAMED: Final = "?"


def host_port(host: str, port: int) -> str:
    """Return host:port; an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Unclear(RedisError):
    """A view that does not tell which node serves some slots."""


class ClusterNode(Record):
    """A node of a cluster; `healthy` is what the node that was asked thinks of it."""

    id: str
    host: str
    port: int
    role: Role
    healthy: bool = True
    zone: str = ""
    """Its availability zone, where the server tells one."""
    hostname: str = ""
    """The name that it announces, also where the cluster prefers to tell IP addresses."""

    @property
    def address(self) -> Address:
        """Its host and port."""
        return self.host, self.port

    def __str__(self) -> str:
        return host_port(self.host, self.port)


class Shard(Record):
    """Ranges of slots, first and last, with the nodes that serve them. As a `str` it is one line with all of them."""

    slots: tuple[tuple[int, int], ...]
    primary: ClusterNode
    replicas: tuple[ClusterNode, ...]

    def __str__(self) -> str:
        replicas = ", ".join(map(str, self.replicas)) or "none"
        return f"{self.primary} {spelled(self.slots)}, replicas {replicas}"


def spelled(slots: tuple[tuple[int, int], ...]) -> str:
    """Return ranges of slots for a person: "slots 0-99, 101"; of many ranges the first, and how many slots more."""
    told = [f"{first}" if first == last else f"{first}-{last}" for first, last in slots[:RANGES]]
    if more := sum(last - first + 1 for first, last in slots[RANGES:]):
        told.append(f"and {more} more")
    return f"slots {', '.join(told)}" if told else "no slots"


class Topology(Record):
    """Shards of a cluster as one node saw them. `epoch` is the current epoch of the cluster by that node.

    As a `str` it has a line for each shard.
    """

    epoch: int
    shards: tuple[Shard, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.ordered))

    @property
    def ordered(self) -> list[Shard]:
        """The shards in the order of their slots; those without slots come last."""
        return sorted(self.shards, key=lambda shard: shard.slots or ((SLOTS, SLOTS),))

    @property
    def primaries(self) -> tuple[ClusterNode, ...]:
        """The primaries that serve slots."""
        return tuple(shard.primary for shard in self.shards if shard.slots)

    @property
    def replicas(self) -> tuple[ClusterNode, ...]:
        """All replicas."""
        return tuple(replica for shard in self.shards for replica in shard.replicas)

    @property
    def nodes(self) -> tuple[ClusterNode, ...]:
        """All nodes, those without slots too."""
        return tuple(node for shard in self.shards for node in (shard.primary, *shard.replicas))

    @property
    def followed(self) -> dict[Address, str]:
        """The primary that each replica follows, by its id."""
        return {replica.address: shard.primary.id for shard in self.shards for replica in shard.replicas}

    @property
    def covered(self) -> int:
        """Number of slots that have a primary."""
        return sum(last - first + 1 for shard in self.shards for first, last in shard.slots)

    def shard_of(self, slot: int) -> Shard | None:
        """Return the shard that serves a slot; None if no shard does."""
        for shard in self.shards:
            for first, last in shard.slots:
                if first <= slot <= last:
                    return shard
        return None

    def owners(self) -> frozenset[tuple[Address, tuple[tuple[int, int], ...]]]:
        """Return which node serves which slots."""
        return frozenset((shard.primary.address, shard.slots) for shard in self.shards if shard.slots)

    def knows_of(self, other: Topology) -> bool:
        """Return whether both topologies have a node in common, so that they are of one cluster."""
        return not {node.id for node in self.nodes}.isdisjoint(node.id for node in other.nodes)


def newest(views: Iterable[Topology]) -> Topology:
    """Return the view with the highest epoch; of several, the one that most nodes share, then that of most slots.

    A node that is cut off from the others holds them for dead: of equal views, that with the most healthy nodes counts.
    """
    known = list(views)
    shared = Counter(map(_layout, known))
    return max(
        known,
        key=lambda view: (view.epoch, shared[_layout(view)], view.covered, sum(node.healthy for node in view.nodes)),
    )


def _layout(view: Topology) -> frozenset[tuple[str, tuple[tuple[int, int], ...]]]:
    return frozenset((shard.primary.id, shard.slots) for shard in view.shards if shard.slots)


# --- Replies ----------------------------------------------------------------------------------------------------------


class Reading:
    """Reader of the replies of one node, whose own address stands in for those that it does not tell."""

    def __init__(self, asked: Address, tls: bool, address_map: AddressMap | None) -> None:
        self._asked = asked
        self._tls = tls
        self._map = address_map

    def address(self, host: str | None, port: int, ip: str | None = None) -> Address | None:
        """Return the address of a node; None if the cluster does not know it.

        Without a host it is that of the node that was asked, and likewise with port 0. For a name that is not set it is
        the IP address, if that is told.
        """
        if host == UNNAMED:
            host = ip or None
            if host is None:
                return None
        return mapped(self._map, host or self._asked[0], port or self._asked[1])

    def shards(self, raw: Any, epoch: int) -> Topology:
        """Return the topology that CLUSTER SHARDS tells. Raises Unclear if a shard has no primary, or several."""
        shards = []
        for said in map(_fields, raw):
            nodes = [node for node in map(self._shard_node, map(_fields, said["nodes"])) if node is not None]
            slots = tuple(_ranges(said["slots"]))
            primary = _primary(nodes)
            if primary is not None:
                shards.append(Shard(slots, primary, tuple(map(_as_replica, (n for n in nodes if n is not primary)))))
            elif slots:
                raise Unclear("CLUSTER SHARDS tells several primaries of a shard, or none")
        return Topology(epoch, tuple(shards))

    def _shard_node(self, said: dict[str, Any]) -> ClusterNode | None:
        # Without a port of its own for TLS, there may be something before the node that ends TLS.
        port = (self._tls and said.get("tls-port")) or said.get("port") or 0
        address = self.address(_text(said.get("endpoint")), port, _text(said.get("ip")))
        if address is None:
            return None
        role: Role = "primary" if _text(said["role"]) == "master" else "replica"
        zone, name = _text(said.get("availability-zone")) or "", _text(said.get("hostname")) or ""
        return ClusterNode(_text(said["id"]) or "", *address, role, _text(said["health"]) == "online", zone, name)

    def slots(self, raw: Any, epoch: int) -> Topology:
        """Return the topology that CLUSTER SLOTS tells. It leaves out nodes without slots, and failed replicas."""
        ranges: dict[str, list[tuple[int, int]]] = {}
        shards: dict[str, tuple[ClusterNode, tuple[ClusterNode, ...]]] = {}
        for first, last, *nodes in raw:
            primary, *replicas = [self._slot_node(node, not number) for number, node in enumerate(nodes)]
            if primary is not None:
                ranges.setdefault(primary.id, []).append((first, last))
                shards[primary.id] = primary, tuple(node for node in replicas if node is not None)
        return Topology(
            epoch,
            tuple(
                Shard(tuple(_ranges(number for pair in ranges[key] for number in pair)), *shards[key]) for key in shards
            ),
        )

    def _slot_node(self, raw: Any, leads: bool) -> ClusterNode | None:
        host, port, *more = raw
        said = _fields(more[1]) if len(more) > 1 else {}
        address = self.address(_text(host), port, _text(said.get("ip")))
        if address is None:
            return None
        name, hostname = _text(more[0]) if more else None, _text(said.get("hostname")) or ""
        role: Role = "primary" if leads else "replica"
        return ClusterNode(name or f"{address[0]}:{address[1]}", *address, role, hostname=hostname)


def epoch_of(info: Any) -> int:
    """Return the current epoch that CLUSTER INFO tells; 0 if it tells none."""
    for line in (_text(info) or "").splitlines() if isinstance(info, (bytes, str)) else ():
        name, _, said = line.partition(":")
        if name == "cluster_current_epoch" and said.isdigit():
            return int(said)
    return 0


def _primary(nodes: list[ClusterNode]) -> ClusterNode | None:
    """Return the only primary; of several, the only healthy one, as a failed one keeps its role."""
    leading = [node for node in nodes if node.role == "primary"]
    if len(leading) > 1:
        leading = [node for node in leading if node.healthy]
    return leading[0] if len(leading) == 1 else None


def _as_replica(node: ClusterNode) -> ClusterNode:
    """Return a node of a shard that has another primary; a failed one still says that it leads."""
    return node if node.role == "replica" else node.replace(role="replica")


def _ranges(bounds: Iterable[int]) -> Iterator[tuple[int, int]]:
    numbers = iter(bounds)
    for first, last in zip(numbers, numbers, strict=True):
        if not 0 <= first <= last < SLOTS:
            raise UnexpectedReply("a node tells a slot that no cluster has")
        yield first, last


def _fields(raw: Any) -> dict[str, Any]:
    """Return a map, which is a flat list under RESP2, with its names as text."""
    pairs = raw.items() if isinstance(raw, dict) else zip(raw[::2], raw[1::2], strict=True)
    return {_text(name) or "": value for name, value in pairs}


def _text(raw: Any) -> str | None:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
