"""First flight of a pipeline over a cluster: one write to each node, all in one turn of the loop, and one wake-up.

Owns the short way of a pipeline whose nodes are all known, and have room. Never sends a command again, and never waits
for room: without it, there is no flight.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

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

    __slots__ = ("_parts", "_size", "landed", "left")

    def __init__(self, size: int, parts: int) -> None:
        self.landed: asyncio.Future[None] = running_loop().create_future()
        """Done when all parts have their replies or their errors."""
        self.left = parts
        """The number of parts under way."""
        self._size = size
        self._parts: list[tuple[_Share, Batch]] = []

    def send(self, share: _Share, decode: bool, timeout: float | None) -> None:
        """Send the part of one node, whose current connection has room."""
        part: Any = _Part(self)  # a future, as far as a batch knows futures
        batch = Batch(len(share.numbers), decode, part)
        self._parts.append((share, batch))
        try:
            share.pool.current.send_batch(share.packed, batch, timeout)
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
        if not all(batch.clean and batch.exception() is None for _, batch in self._parts):
            return None
        found: list[Any] = [None] * self._size
        for share, batch in self._parts:
            for number, reply in zip(share.numbers, batch.replies, strict=True):
                found[number] = reply
        self._parts.clear()
        return Replies(found, True)

    def outcomes(self) -> Iterator[tuple[_Share, Replies | RedisError]]:
        """Go through the parts: what went to one node, and the replies or the error of all of it."""
        for share, batch in self._parts:
            error = batch.exception()
            if isinstance(error, RedisError):
                yield share, error
            else:
                yield share, Replies(batch.replies, batch.clean, batch.origin)
        self._parts.clear()


class _Share(NamedTuple):
    """Commands of a pipeline that belong to one node: their numbers, their bytes, and these joined."""

    pool: Pool[Connection]
    numbers: list[int]
    commands: list[Packed]
    packed: Packed


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
    numbers_of: defaultdict[Any, list[int]] = defaultdict(list)
    for number, pool in enumerate(targets):
        numbers_of[pool].append(number)
    shares: list[_Share] = []
    for pool, numbers in numbers_of.items():
        connection = pool.current
        if connection.in_flight >= connection.capacity:
            return None
        own = [commands[number] for number in numbers]
        packed = joined(own)
        if size(packed) > LARGE_BYTES:
            return None
        shares.append(_Share(pool, numbers, own, packed))
    flight = Flight(len(commands), len(shares))
    for share in shares:
        flight.send(share, decode, timeout)
    return flight
