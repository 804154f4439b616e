"""First flight of a pipeline over a cluster: one write to each node, all in one turn of the loop, and one wake-up.

Owns the short way of a pipeline whose nodes are all known, and have room. Never sends a command again, and never waits
for room: without it, there is no flight.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from aioresp.cluster.router import Router
from aioresp.contexts.large import Replies, size
from aioresp.contexts.routes import LARGE, LARGE_BYTES
from aioresp.errors import ConnectionLost, RedisError
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.pool.queue import forsake
from aioresp.wire.batch import Batch, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed


class Flight:
    """Commands of a pipeline on their way to the nodes of their slots, in one batch for each node."""

    __slots__ = ("_parts", "_targets", "landed", "left")

    def __init__(self, targets: list[Pool[Connection]], parts: int) -> None:
        self.landed: asyncio.Future[None] = running_loop().create_future()
        """Done when all parts have their replies or their errors."""
        self.left = parts
        """The number of parts under way."""
        self._targets: Final = targets
        self._parts: list[tuple[Pool[Connection], list[Packed], Batch]] = []

    def send(
        self, pool: Pool[Connection], own: list[Packed], packed: Packed, decode: bool, timeout: float | None
    ) -> None:
        """Send the part of one node, whose current connection has room."""
        part: Any = _Part(self)  # a future, as far as a batch knows futures
        batch = Batch(len(own), decode, part)
        self._parts.append((pool, own, batch))
        try:
            pool.current.send_batch(packed, batch, timeout)
        except ConnectionLost as error:  # it has just ended
            part.set_exception(error)

    async def land(self) -> Replies | None:
        """Wait for all replies; return them if there is no error among them."""
        try:
            await self.landed
        except BaseException:  # cancelled, or closed by hand: the replies are read and dropped
            forsake(self.landed)
            self._parts.clear()
            raise
        if not all(batch.clean and batch.exception() is None for _, _, batch in self._parts):
            return None
        # Each reply goes to the place of its command: those of one node have kept their order.
        nexts = {pool: iter(batch.replies) for pool, _, batch in self._parts}
        self._parts.clear()
        return Replies(list(map(next, map(nexts.__getitem__, self._targets))), True)

    def outcomes(self) -> Iterator[tuple[Pool[Connection], list[int], list[Packed], Replies | RedisError]]:
        """Go through the parts: the pool, the numbers of its commands, these, and the replies or the error of all."""
        for pool, own, batch in self._parts:
            numbers = [number for number, target in enumerate(self._targets) if target is pool]
            error = batch.exception()
            if isinstance(error, RedisError):
                yield pool, numbers, own, error
            else:
                yield pool, numbers, own, Replies(batch.replies, batch.clean, batch.origin)
        self._parts.clear()


class _Part:
    """Future of one batch of a flight. The last one to be done ends the wait of the caller."""

    __slots__ = ("_error", "_flight", "_over")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._over = False  # set by the last reply or an error, never cleared
        self._error: RedisError | None = None

    def done(self) -> bool:
        """Return whether the batch has its replies or its error, or its caller has gone."""
        return self._over or self._flight.landed.done()

    def set_result(self, replies: list[Any]) -> None:
        """Note that the batch has its replies."""
        self._over = True
        flight = self._flight
        flight.left -= 1
        if not flight.left and not flight.landed.done():
            flight.landed.set_result(None)

    def set_exception(self, error: RedisError) -> None:
        """Note the error of the batch."""
        self._error = error
        self.set_result([])

    def exception(self) -> RedisError | None:
        """Return the error of the batch."""
        return self._error


def take_off(
    router: Router, commands: list[Packed], slots: list[Any], decode: bool, timeout: float | None
) -> Flight | None:
    """Send commands to the nodes of their slots; return None, and send nothing, if one of them has no room."""
    if not 0 < len(commands) <= LARGE:
        return None
    pools = router.pools
    try:
        targets: list[Any] = [pools[slot] for slot in slots]
    except TypeError:  # one of them has no key
        return None
    groups: defaultdict[Any, list[Packed]] = defaultdict(list)
    for packed, pool in zip(commands, targets, strict=True):
        groups[pool].append(packed)
    parts: list[tuple[Any, list[Packed], Packed]] = []
    for pool, own in groups.items():
        connection = pool.current
        if connection.in_flight >= connection.capacity:
            return None
        packed = joined(own)
        if size(packed) > LARGE_BYTES:
            return None
        parts.append((pool, own, packed))
    flight = Flight(targets, len(parts))
    for pool, own, packed in parts:
        flight.send(pool, own, packed, decode, timeout)
    return flight
