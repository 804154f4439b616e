"""Cluster administration: queries and instructions for one node of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from aioresp.command import AnyStr, Key, Result, Seconds, Value
from aioresp.commands.base import Executor, at_most_one, condition, filled, milliseconds
from aioresp.errors import ArgumentError
from aioresp.replies import Late, integer, ok, parts, some_text, string, texts

if TYPE_CHECKING:
    from aioresp.replies import cluster as replies
    from aioresp.replies.cluster import ClusterLink, ClusterNode, ClusterShard, Migration, SlotRange, SlotStats
else:
    replies = Late("cluster")

Range: TypeAlias = tuple[int, int]
Metric: TypeAlias = Literal["key-count", "cpu-usec", "network-bytes-in", "network-bytes-out", "memory-bytes"]


class ClusterCommands(Executor[AnyStr]):
    """Commands of a cluster's node. A server that is no node of a cluster raises ResponseError."""

    def cluster_addslots(self, *slots: int) -> Result[bool]:
        """Let this node serve slots that no node serves."""
        return self.execute(("CLUSTER", "ADDSLOTS", *filled("CLUSTER ADDSLOTS", "slots", slots)), ok)

    def cluster_addslotsrange(self, *ranges: Range) -> Result[bool]:
        """Let this node serve ranges of slots, each with both its ends. Since 7.0."""
        return self.execute(("CLUSTER", "ADDSLOTSRANGE", *_bounds("CLUSTER ADDSLOTSRANGE", ranges)), ok)

    def cluster_bumpepoch(self) -> Result[str]:
        """Raise this node's configuration epoch and return what was done: "BUMPED 5" or "STILL 5"."""
        return self.execute(("CLUSTER", "BUMPEPOCH"), string)

    def cluster_count_failure_reports(self, node_id: str) -> Result[int]:
        """Return how many nodes report that a node fails."""
        return self.execute(("CLUSTER", "COUNT-FAILURE-REPORTS", node_id), integer)

    def cluster_countkeysinslot(self, slot: int) -> Result[int]:
        """Return how many keys this node has in a slot."""
        return self.execute(("CLUSTER", "COUNTKEYSINSLOT", slot), integer)

    def cluster_delslots(self, *slots: int) -> Result[bool]:
        """Let this node forget which nodes serve these slots."""
        return self.execute(("CLUSTER", "DELSLOTS", *filled("CLUSTER DELSLOTS", "slots", slots)), ok)

    def cluster_delslotsrange(self, *ranges: Range) -> Result[bool]:
        """Let this node forget which nodes serve these ranges of slots, both ends included. Since 7.0."""
        return self.execute(("CLUSTER", "DELSLOTSRANGE", *_bounds("CLUSTER DELSLOTSRANGE", ranges)), ok)

    def cluster_failover(self, option: Literal["FORCE", "TAKEOVER"] | None = None) -> Result[bool]:
        """Let this replica take over from its primary: without asking it (FORCE), or without a vote (TAKEOVER)."""
        return self.execute(("CLUSTER", "FAILOVER", *(() if option is None else (option,))), ok)

    def cluster_flushslot(self, slot: int, mode: Literal["SYNC", "ASYNC"] | None = None) -> Result[bool]:
        """Delete all keys of a slot. Valkey 9.0; not in Redis."""
        return self.execute(("CLUSTER", "FLUSHSLOT", slot, *(() if mode is None else (mode,))), ok)

    def cluster_flushslots(self) -> Result[bool]:
        """Let this node, which must have no keys, serve no slot."""
        return self.execute(("CLUSTER", "FLUSHSLOTS"), ok)

    def cluster_forget(self, node_id: str) -> Result[bool]:
        """Let this node forget another, for a minute at least."""
        return self.execute(("CLUSTER", "FORGET", node_id), ok)

    def cluster_getkeysinslot(self, slot: int, count: int) -> Result[list[AnyStr]]:
        """Return up to `count` keys that this node has in a slot."""
        return self.execute(("CLUSTER", "GETKEYSINSLOT", slot, count), texts)

    def cluster_info(self) -> Result[dict[str, int | str]]:
        """Return the state of the cluster as this node sees it; what is a number is int."""
        return self.execute(("CLUSTER", "INFO"), replies.cluster_info)

    def cluster_keyslot(self, key: Key) -> Result[int]:
        """Return the slot of a key."""
        return self.execute(("CLUSTER", "KEYSLOT", key), integer)

    def cluster_links(self) -> Result[list[ClusterLink]]:
        """Return this node's links to the others, two for each of them. Since 7.0."""
        return self.execute(("CLUSTER", "LINKS"), replies.cluster_links)

    def cluster_meet(self, ip: str, port: int, cluster_bus_port: int | None = None) -> Result[bool]:
        """Let this node get to know another, and the two clusters become one."""
        bus: tuple[Value, ...] = () if cluster_bus_port is None else (cluster_bus_port,)
        return self.execute(("CLUSTER", "MEET", ip, port, *bus), ok)

    def cluster_migration_import(self, *ranges: Range) -> Result[str]:
        """Start to take over ranges of slots with their keys, and return the task's id. Since 8.4."""
        bounds = _bounds("CLUSTER MIGRATION", ranges)
        return self.execute(("CLUSTER", "MIGRATION", "IMPORT", *bounds), string)

    def cluster_migration_cancel(self, task_id: str | None = None) -> Result[int]:
        """End a migration, or all of them, and return how many were ended. Since 8.4."""
        which = ("ALL",) if task_id is None else ("ID", task_id)
        return self.execute(("CLUSTER", "MIGRATION", "CANCEL", *which), integer)

    def cluster_migration_status(self, task_id: str | None = None) -> Result[list[Migration]]:
        """Return the state of a migration, or of all that are known. Since 8.4."""
        which = ("ALL",) if task_id is None else ("ID", task_id)
        return self.execute(("CLUSTER", "MIGRATION", "STATUS", *which), replies.migrations)

    def cluster_myid(self) -> Result[str]:
        """Return this node's id."""
        return self.execute(("CLUSTER", "MYID"), string)

    def cluster_myshardid(self) -> Result[str]:
        """Return the id of this node's shard. Since 7.2."""
        return self.execute(("CLUSTER", "MYSHARDID"), string)

    def cluster_nodes(self) -> Result[list[ClusterNode]]:
        """Return the nodes that this one knows, itself included."""
        return self.execute(("CLUSTER", "NODES"), replies.cluster_nodes)

    def cluster_replicas(self, node_id: str) -> Result[list[ClusterNode]]:
        """Return the replicas of a node."""
        return self.execute(("CLUSTER", "REPLICAS", node_id), replies.cluster_replicas)

    def cluster_replicate(self, node_id: str | None) -> Result[bool]:
        """Let this node be a replica of another, or with None a primary of its own (Valkey 9.0)."""
        whose = ("NO", "ONE") if node_id is None else (node_id,)
        return self.execute(("CLUSTER", "REPLICATE", *whose), ok)

    def cluster_reset(self, hard: bool = False) -> Result[bool]:
        """Let this node forget the cluster, and if `hard` its own id and epochs."""
        return self.execute(("CLUSTER", "RESET", "HARD" if hard else "SOFT"), ok)

    def cluster_saveconfig(self) -> Result[bool]:
        """Write this node's configuration to disk."""
        return self.execute(("CLUSTER", "SAVECONFIG"), ok)

    def cluster_set_config_epoch(self, epoch: int) -> Result[bool]:
        """Set the configuration epoch of a fresh node."""
        return self.execute(("CLUSTER", "SET-CONFIG-EPOCH", epoch), ok)

    def cluster_setslot(
        self,
        slot: int,
        state: Literal["IMPORTING", "MIGRATING", "NODE", "STABLE"],
        node_id: str | None = None,
        *,
        timeout: Seconds | None = None,
    ) -> Result[bool]:
        """Tell this node whose a slot is: it comes from a node, goes to one, belongs to one, or neither (STABLE).

        `timeout` is how many ms to wait for the replicas (Valkey 8.0; not in Redis).
        """
        if (state == "STABLE") is not (node_id is None):
            raise ArgumentError(f"CLUSTER SETSLOT: {state} {'has no' if state == 'STABLE' else 'needs'} node_id")
        node: tuple[Value, ...] = () if node_id is None else (node_id,)
        wait: tuple[Value, ...] = (
            () if timeout is None else ("TIMEOUT", milliseconds(timeout, "CLUSTER SETSLOT", "timeout"))
        )
        return self.execute(("CLUSTER", "SETSLOT", slot, state, *node, *wait), ok)

    def cluster_shards(self) -> Result[list[ClusterShard]]:
        """Return the shards: their slots, and their nodes. Since 7.0."""
        return self.execute(("CLUSTER", "SHARDS"), replies.cluster_shards)

    def cluster_slaves(self, node_id: str) -> Result[list[ClusterNode]]:
        """Return the replicas of a node; `cluster_replicas` is the newer name."""
        return self.execute(("CLUSTER", "SLAVES", node_id), replies.cluster_replicas)

    @overload
    def cluster_slot_stats(self, *, slotsrange: Range) -> Result[dict[int, SlotStats]]: ...
    @overload
    def cluster_slot_stats(
        self, *, orderby: Metric, limit: int | None = None, desc: bool = False, asc: bool = False
    ) -> Result[dict[int, SlotStats]]: ...
    def cluster_slot_stats(
        self,
        *,
        slotsrange: Range | None = None,
        orderby: Metric | None = None,
        limit: int | None = None,
        desc: bool = False,
        asc: bool = False,
    ) -> Result[dict[int, SlotStats]]:
        """Return figures of this node's slots: of a range, or the first in the order of one. Since 8.2; Valkey 8.0."""
        head: tuple[Value, ...] = ("CLUSTER", "SLOT-STATS")
        at_most_one("CLUSTER SLOT-STATS", slotsrange=slotsrange, orderby=orderby)
        if slotsrange is not None:
            return self.execute((*head, "SLOTSRANGE", *slotsrange), replies.slot_stats)
        if orderby is None:
            raise ArgumentError("CLUSTER SLOT-STATS: needs slotsrange or orderby")
        options: tuple[Value, ...] = () if limit is None else ("LIMIT", limit)
        options += condition("CLUSTER SLOT-STATS", desc=desc, asc=asc)
        return self.execute((*head, "ORDERBY", orderby, *options), replies.slot_stats)

    def cluster_slots(self) -> Result[list[SlotRange]]:
        """Return the slots, and the nodes that serve them; `cluster_shards` is the newer way."""
        return self.execute(("CLUSTER", "SLOTS"), replies.cluster_slots)

    def cluster_migrateslots(self, node_id: str, *ranges: Range) -> Result[bool]:
        """Start to move ranges of slots with their keys to another node. Valkey 9.0; not in Redis."""
        bounds = _bounds("CLUSTER MIGRATESLOTS", ranges)
        return self.execute(("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *bounds, "NODE", node_id), ok)

    def cluster_getslotmigrations(self) -> Result[list[Migration]]:
        """Return the migrations that go on or have ended lately. Valkey 9.0; not in Redis."""
        return self.execute(("CLUSTER", "GETSLOTMIGRATIONS"), replies.migrations)

    def cluster_cancelslotmigrations(self) -> Result[bool]:
        """End all migrations that go on. Valkey 9.0; not in Redis."""
        return self.execute(("CLUSTER", "CANCELSLOTMIGRATIONS"), ok)

    def clusterscan(
        self,
        cursor: str | bytes = "0",
        match: str | bytes | None = None,
        count: int | None = None,
        _type: str | None = None,
        slot: int | None = None,
    ) -> Result[tuple[AnyStr, list[AnyStr]]]:
        """Return the next cursor ("0": that was all) and some keys of the cluster. Valkey 9.1; not in Redis."""
        arguments: list[Value] = ["CLUSTERSCAN", cursor]
        for word, value in (("MATCH", match), ("COUNT", count), ("TYPE", _type), ("SLOT", slot)):
            if value is not None:
                arguments += (word, value)
        return self.execute(tuple(arguments), _text_page)

    def readonly(self) -> Result[bool]:
        """Let this leased connection to a replica read what it has, which may be old."""
        return self.execute(("READONLY",), ok)

    def readwrite(self) -> Result[bool]:
        """End what `readonly` began."""
        return self.execute(("READWRITE",), ok)


def _bounds(command: str, ranges: tuple[Range, ...]) -> tuple[Value, ...]:
    return filled(command, "ranges", tuple(bound for first, last in ranges for bound in (first, last)))


def _text_page(value: Any) -> tuple[Any, list[Any]]:
    cursor, found = parts(value)
    return some_text(cursor), texts(found)
