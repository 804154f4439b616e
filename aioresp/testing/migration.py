"""Hand-over of one slot from a node of a test cluster to another, step by step or atomic.

Owns the order of CLUSTER SETSLOT and MIGRATE. Never chooses the nodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from aioresp.testing.node import ClusterNode
from aioresp.testing.sockets import HOST
from aioresp.testing.talk import expect, pairs

BATCH = 100  # keys in one MIGRATE
PATIENCE = 10.0  # seconds for an epoch to reach another node


class MigrationFailed(RuntimeError):
    """The servers gave a migration up."""


class Migration:
    """A slot on its way: made by `ClusterServers.begin_migration`, over with `end()`."""

    def __init__(
        self,
        slot: int,
        source: ClusterNode,
        target: ClusterNode,
        nodes: Sequence[ClusterNode],
        agree_on: Callable[[int, ClusterNode], None],
    ) -> None:
        if source is target:
            raise ValueError(f"slot {slot} is with the node on port {target.port} already")
        self.slot = slot
        self.source = source
        self.target = target
        self._nodes = nodes
        self._agree_on = agree_on
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move(self, count: int | None = None) -> int:
        """Move up to `count` keys, or all that there are, and return how many were moved."""
        login = ["AUTH", self.target.password] if self.target.password else []
        port = str(self.target.tls_port or self.target.port)
        moved = 0
        while count is None or moved < count:
            most = BATCH if count is None else min(BATCH, count - moved)
            keys = expect(list, self.source.call("CLUSTER", "GETKEYSINSLOT", self.slot, most))
            if not keys:
                break
            self.source.call("MIGRATE", HOST, port, "", 0, 5000, "REPLACE", *login, "KEYS", *map(str, keys))
            moved += len(keys)
        return moved

    def end(self) -> None:
        """Move the keys that are left, give the slot to the target, and return when all running nodes know it."""
        self.move()
        self._await_epoch()
        # The target first: if the source went first and died, the slot would have no owner.
        others = [node for node in self._nodes if node not in (self.target, self.source) and node.reachable]
        for node in (self.target, self.source, *others):
            if node.view()[node.id].is_primary:
                node.call("CLUSTER", "SETSLOT", self.slot, "NODE", self.target.id)
        self._agree_on(self.slot, self.target)

    def _await_epoch(self) -> None:
        """Wait until the target has heard the newest epoch: a claim with one that is not newer would be undone."""
        running = [node for node in self._nodes if node.reachable]
        newest = max(node.view()[node.id].epoch for node in running)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.target.current_epoch >= newest:
                return
            time.sleep(0.005)


def migrate_at_once(
    slot: int, source: ClusterNode, target: ClusterNode, until: Callable[[Callable[[], str]], None]
) -> None:
    """Hand a slot over with CLUSTER MIGRATESLOTS, and return when the source calls it done."""
    source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)

    def missing() -> str:
        jobs = map(pairs, expect(list, source.call("CLUSTER", "GETSLOTMIGRATIONS")))  # the newest first
        job = next(job for job in jobs if (job["operation"], job["slot_ranges"]) == ("EXPORT", f"{slot}-{slot}"))
        if job["state"] in ("failed", "canceled"):
            raise MigrationFailed(f"the migration of slot {slot} {job['state']}: {job.get('message', '')}")
        return "" if job["state"] == "success" else f"the migration of slot {slot} is at {job['state']!r}"

    until(missing)
