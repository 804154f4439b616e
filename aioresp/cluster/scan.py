"""Scan of all keys of a cluster: until each slot was scanned while it stayed where it was.

Owns the slots that are still to be scanned. Where there is CLUSTERSCAN, the servers go through the slots themselves.
Otherwise node after node is scanned. A slot that has changed hands meanwhile is scanned again, at its new node. Never
holds anything between two pages, on the server or here.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, cast

from aioresp.client import Client
from aioresp.cluster.routes import all_of
from aioresp.cluster.slots import SLOTS, slot_of
from aioresp.cluster.topology import Address
from aioresp.errors import (
    ClusterDownError,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    NoPermissionError,
    RedisError,
    UnknownCommandError,
)
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.record import Record
from aioresp.retry import not_now
from aioresp.wire.packing import pack

if TYPE_CHECKING:
    from aioresp.cluster.fleet import Fleet

#: Seconds between two rounds without a change.
PAUSE: Final = 0.1

#: Scans of a node that are repeated as slots may have left it meanwhile and come back. What one misses the next finds.
DOUBTS: Final = 3

#: Cursor at which CLUSTERSCAN begins, and which it tells at its end.
_ENDS: Final = ("0", b"0")

_NO_SLOTS: Final[frozenset[int]] = frozenset()


class Holding(Record):
    """Slots of a node by its own words."""

    owned: frozenset[int]
    leaving: frozenset[int]
    """Slots of `owned` whose keys are on their way to another node."""
    coming: frozenset[int]
    """Slots of other nodes whose keys are on their way here."""
    epoch: int
    """Its configuration epoch, which rises when a slot comes back that has been elsewhere."""


class SlotScan:
    """Iteration over all keys; `page` is called for one page after another."""

    def __init__(
        self, fleet: Fleet, terms: Terms, match: str | bytes | None, count: int | None, kind: str | None
    ) -> None:
        self._fleet = fleet
        self._terms = terms
        self._wanted = match, count, kind
        self._todo = set(range(SLOTS))
        #: Cursor of CLUSTERSCAN, and what the nodes held before; None for the cursor when that is over.
        self._walk: str | bytes | None = _ENDS[0] if fleet.nodes.has_clusterscan else None
        self._held: dict[Address, Holding] | None = None
        self._doubts: Counter[Address] = Counter()  # scans of each node that were repeated
        #: Slots on the way whose source was scanned: what was no longer there is at the target.
        self._scanned_at_source: set[int] = set()
        self._round: list[Address] = []
        self._left = SLOTS + 1  # slots to do at the beginning of the round
        self._node: Client[Any] | None = None
        self._before = Holding(_NO_SLOTS, _NO_SLOTS, _NO_SLOTS, 0)
        self._address: Address = ("", 0)  # that of the node
        self._cursor = 0
        self._give_up_at = math.inf  # loop time, unless the scan gets on before

    async def page(self, cursor: int) -> tuple[int, list[Any]]:
        """Return keys, and 0 after the last page. A step that was cancelled or failed is repeated by the next call."""
        try:
            if self._walk is not None:
                return await self._step(self._walk)
            if self._node is None:
                await self._choose()
                return (1 if self._todo else 0), []
            following, keys = await self._node.scan(self._cursor, *self._wanted)
            found = [key for key in keys if slot_of(key) in self._todo]
            if not following:
                await self._finish(self._node)
        except CommandTimeout as error:
            if not isinstance(error.__cause__, ClusterDownError):
                raise
            raise ClusterDownError(*error.args) from error.__cause__
        except RedisError as error:
            if not (isinstance(error, (ConnectionLost, ConnectError)) or not_now(error)) or self._is_late():
                raise
            self._node = None  # its slots stay to be scanned, at their next node
            await asyncio.sleep(PAUSE)
            return 1, []
        self._cursor = following
        return (1 if self._todo else 0), found

    # --- By CLUSTERSCAN ----------------------------------------------------------------------------------------------

    async def _step(self, cursor: str | bytes) -> tuple[int, list[Any]]:
        """Return the keys at a cursor of CLUSTERSCAN. At its end, the slots that have changed hands are to do."""
        if self._held is None:
            self._held = await self._holdings()
        arguments: list[Any] = ["CLUSTERSCAN", cursor]
        for name, value in zip(("MATCH", "COUNT", "TYPE"), self._wanted, strict=True):
            arguments += () if value is None else (name, value)
        try:
            following, keys = await self._fleet.send(pack(tuple(arguments)), slot_of(cursor), self._terms)
        except (NoPermissionError, UnknownCommandError):
            self._fleet.nodes.has_clusterscan = False
            self._walk = None
            return 1, []
        if following in _ENDS:
            after = await self._holdings()
            for address, before in self._held.items():
                held = after.get(address)
                if held is not None and held.epoch == before.epoch:
                    self._todo -= (before.owned & held.owned) - before.leaving - held.leaving
            self._walk = None
            return (1 if self._todo else 0), keys
        self._walk = following
        return 1, keys

    async def _holdings(self) -> dict[Address, Holding]:
        addresses = [node.address for node in (await self._fleet.topology(self._terms)).primaries]
        clients: list[Client[Any]] = [Client.over(self._fleet.nodes.at(address), self._terms) for address in addresses]
        found = await all_of(map(_holding, clients))
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return dict(zip(addresses, cast(list[Holding], found), strict=True))

    # --- Node after node ---------------------------------------------------------------------------------------------

    def _is_late(self) -> bool:
        now = running_loop().time()
        if self._give_up_at == math.inf and self._terms.timeout is not None:
            self._give_up_at = now + self._terms.timeout
        return now >= self._give_up_at

    async def _choose(self) -> None:
        """Choose the next node that has slots to scan."""
        if not self._round:
            await self._begin_round()
        address = self._round[0]
        client: Client[Any] = Client.over(self._fleet.nodes.at(address), self._terms)
        before = await _holding(client)
        del self._round[0]
        if not self._todo.isdisjoint(before.owned | before.coming):
            self._node, self._address, self._before, self._cursor = client, address, before, 0

    async def _begin_round(self) -> None:
        if len(self._todo) == self._left:  # nothing was gained by the last one
            await asyncio.sleep(PAUSE)
            if self._is_late():
                raise ClusterDownError(f"CLUSTERDOWN {len(self._todo)} slots do not come to rest on any node")
        elif self._left <= SLOTS:
            self._give_up_at = math.inf
        if self._left <= SLOTS:
            await self._fleet.pools.here().renew()
        topology = await self._fleet.topology(self._terms)
        if topology.covered < SLOTS and self._is_late():
            raise ClusterDownError(f"CLUSTERDOWN {SLOTS - topology.covered} slots have no node")
        self._left = len(self._todo)
        self._round = [node.address for node in topology.primaries]

    async def _finish(self, node: Client[Any]) -> None:
        """Note the slots that have stayed at a node for all of its scan."""
        after, before = await _holding(node), self._before
        address = self._address
        if after.epoch != before.epoch and self._doubts[address] < DOUBTS:
            self._doubts[address] += 1
            self._node = None
            return
        on_the_way = before.leaving | after.leaving
        stayed = (before.owned & after.owned) - on_the_way
        arrived = (before.owned | before.coming) & (after.owned | after.coming) & self._scanned_at_source
        self._todo -= stayed | (arrived - on_the_way)
        self._scanned_at_source |= before.owned - stayed
        self._node = None


async def _holding(node: Client[Any]) -> Holding:
    for line in await node.cluster_nodes():
        if "myself" in line.flags:
            owned = {slot for first, last in line.slots for slot in range(first, last + 1)}
            return Holding(frozenset(owned), frozenset(line.migrating), frozenset(line.importing), line.config_epoch)
    return Holding(_NO_SLOTS, _NO_SLOTS, _NO_SLOTS, 0)
