"""Reads from replicas of a cluster: the servers of each shard, in the order in which they are asked.

Owns the memory of the servers that reads went to. Never sends, and never decides whether a command only reads.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Final

from aioresp.cluster.nodes import Nodes
from aioresp.cluster.router import Router
from aioresp.cluster.topology import Address, Shard, Topology
from aioresp.errors import AskError, MovedError, RedisError, ResponseError, TryAgainError
from aioresp.pool.pool import Pool
from aioresp.reading import Choice, ReadFrom
from aioresp.wire.connection import Connection

#: Most seconds that a read waits for a replica, before another server is asked.
SHARE: Final = 5.0


class Reads:
    """Choice of the servers for reads, shared by all event loops."""

    def __init__(self, nodes: Nodes, zone: str | None) -> None:
        self._nodes = nodes
        #: Memory of the servers that reads go to.
        self.choice: Choice[Address] = Choice(zone)
        nodes.on_zone = self.choice.learn
        self._zones_of: Topology | None = None  # the topology whose zones `choice` knows

    def order(self, router: Router, shard: Shard, read_from: ReadFrom) -> list[Address]:
        """Return the servers to ask once each, the first one first, before the primary is asked as long as need be.

        The primary is among them where it comes before others, so that these serve while it is gone.
        """
        if router.topology is not self._zones_of and router.topology is not None:
            self._zones_of = router.topology
            self.choice.keep([node.address for node in router.topology.nodes])
            for node in router.topology.nodes:
                if node.zone:  # otherwise a connection to it tells, or it is none
                    self.choice.learn(node.address, node.zone)
        healthy = [replica.address for replica in shard.replicas if replica.healthy]
        order = self.choice.order(read_from, shard.primary.address, healthy)
        return order[:-1] if order[-1] == shard.primary.address else order

    def pool(self, router: Router, shard: Shard, address: Address) -> Pool[Connection]:
        """Return the pool for reads from a server of a shard, its primary or a replica. Raises ClientClosed."""
        if address == shard.primary.address:
            return router.pool_at(address)
        return self._nodes.at(address, readonly=True).pools.here()

    def served(self, address: Address, begin: float) -> None:
        """Note that a server has answered reads that were sent at `begin` (loop time)."""
        self.choice.served(address, asyncio.get_running_loop().time() - begin)

    def failed(self, router: Router, shard: Shard, address: Address, errors: Iterable[RedisError]) -> None:
        """Note that a server of a shard could not serve reads: it is asked after the others for a while."""
        self.choice.failed(address)
        leads = address == shard.primary.address
        for error in errors:
            told = isinstance(error, ResponseError) and not isinstance(error, (AskError, TryAgainError))
            if told and error.origin and not leads:  # a replica might serve again before it has the keys
                self.pool(router, shard, address).leave(error.origin, error)
            if isinstance(error, MovedError):
                router.refresh()


def is_redirect(error: BaseException) -> bool:
    """Return whether the primary of a slot tells by its error where the keys are, or that they are on their way."""
    return isinstance(error, (AskError, MovedError, TryAgainError))


def share_of(deadline: float, now: float) -> float:
    """Return the loop time by which a replica must answer: half of the time that is left, and some seconds at most."""
    return now + (SHARE if deadline == math.inf else min((deadline - now) / 2, SHARE))
