"""Leased connection to the node that serves a key.

Owns the choice of that node when the lease is entered. Never follows a slot: a lease is one connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from aioresp.cluster.traced import Traced
from aioresp.command import AnyStr
from aioresp.contexts.lease import Lease
from aioresp.errors import ClientClosed, RedisError
from aioresp.options import Terms
from aioresp.pool.pool import Pool
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack

if TYPE_CHECKING:
    from aioresp.cluster.fleet import Fleet


class KeyLease(Traced, Lease[AnyStr], Generic[AnyStr]):
    """All commands, on one connection for exclusive use, to the primary of one slot."""

    def __init__(self, fleet: Fleet, terms: Terms, slot: int | None) -> None:
        super().__init__(self._chosen, terms, "connection()")
        self.find_router = fleet.pools.here
        self._fleet = fleet
        self._slot = slot
        self._node: Pool[Connection] | None = None  # the pool of the node, chosen by `borrow`

    async def borrow(self, deadline: float | None, *, writes: bool = False) -> Connection:
        """Take a connection from the pool of the node. Raises PoolTimeout at `deadline` (loop time)."""
        course = self._fleet.course(_PING, self._slot, self.terms, deadline)
        failed: RedisError | None = None
        try:
            while True:
                if failed is not None:
                    await course.after(failed)
                    failed = None
                self._node = await course.next()
                try:
                    return await super().borrow(deadline, writes=writes)
                except RedisError as error:
                    failed = error  # nothing was sent: another node may serve the slot by now
        finally:
            failed = None  # it holds this frame by its traceback

    def _chosen(self) -> Pool[Connection]:
        if self._node is None:
            raise ClientClosed("the lease is not entered")
        return self._node


_PING = pack(("PING",))
