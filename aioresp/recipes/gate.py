"""FIFO gate before a lock: of all tasks of an event loop, only its head asks the server.

Owns the order within a loop, and the pause that lets other processes have their turn. Never knows what is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextvars import Context
from typing import Final, TypeAlias

from aioresp.client import Client
from aioresp.recipes.leases import Lease
from aioresp.recipes.wake import Wake

_Place: TypeAlias = tuple[asyncio.AbstractEventLoop, object, bytes]

_gates: Final[dict[_Place, Gate]] = {}

#: Seconds for which other processes are believed to wait still.
_MEMORY: Final = 1.0

#: Number of gates at which those of closed loops are looked for, twice as many as are left each time.
_crowded = 100


class Gate:
    """Line of the tasks of one loop for one key of one server."""

    def __init__(self, place: _Place) -> None:
        self.loop = place[0]
        self._place = place
        #: Turns in order. A dict, as thousands may be cancelled at once, of which each leaves from anywhere in it.
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self.is_taken = False  # set by the task that enters, cleared when one leaves and nobody waits
        self.is_refused = False  # set when the server has refused the head, cleared when one leaves
        self.lease: Lease | None = None  # of the task that holds the lock, while it is at the head
        self.ends: float | None = None  # monotonic time at which the lease in the way ends, as the server said last
        self._wake: Wake | None = None
        self._pause_until = -_MEMORY  # time of the loop until which other processes have their turn

    async def enter(self) -> None:
        """Wait for one's turn, in order. The caller leaves afterwards, but not if this raises."""
        if not self.is_taken:
            self.is_taken = True
            return
        turn = self.loop.create_future()
        self._waiters[turn] = None
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave()  # its turn came together with the cancellation
            else:
                self._waiters.pop(turn, None)
            raise

    def leave(self) -> None:
        """Let the next one in."""
        self.is_refused = False
        self.lease = None
        while self._waiters:
            turn, _ = self._waiters.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self.is_taken = False
        if self._wake is not None:
            self._wake.close()
            self._wake = None
        self.settle()

    def settle(self) -> None:
        """Be forgotten if nobody is here, but not before other processes had their turn."""
        if self._pause_until > self.loop.time():
            self.loop.call_at(self._pause_until, self._forget, context=Context())
        else:
            self._forget()

    def leave_from_anywhere(self) -> None:
        """Let the next one in, also from another thread, or when the loop is closed."""
        try:
            self.loop.call_soon_threadsafe(self.leave, context=Context())
        except RuntimeError:
            _gates.pop(self._place, None)

    def _forget(self) -> None:
        if not self.is_taken and _gates.get(self._place) is self:
            del _gates[self._place]

    def rest(self) -> float | None:
        """Return the seconds until the lease in the way ends, unless it is renewed; None if that is not known."""
        ends = self.ends if self.lease is None else self.lease.confirmed + self.lease.ttl
        return None if ends is None else max(0.0, ends - time.monotonic())

    @property
    def is_contended(self) -> bool:
        """Whether other processes have been told of a release lately."""
        return self._wake is not None or self.loop.time() < self._pause_until + _MEMORY

    async def let_others(self) -> None:
        """Wait until tasks of other processes, which were told before, could ask."""
        rest = self._pause_until - self.loop.time()
        if rest > 0:
            await asyncio.sleep(rest)

    def give_way(self, told: int, seconds: float) -> None:
        """Let others ask first for so long, if of the connections that were told of a release some are not its own."""
        if told > (self._wake is not None and self._wake.is_live):
            self._pause_until = self.loop.time() + seconds
        self.settle()

    async def wake(self, redis: Client[bytes], channel: bytes) -> tuple[Wake, bool]:
        """Return the wait for words on the channel, and whether it was there already."""
        if self._wake is not None:
            return self._wake, True
        wake = Wake(redis, channel)
        await wake.open()
        self._wake = wake
        return wake, False


def gate(loop: asyncio.AbstractEventLoop, server: object, key: bytes) -> Gate:
    """Return the gate of a loop for a key of a server; make it if there is none."""
    global _crowded
    place = (loop, server, key)
    found = _gates.get(place)
    if found is None:
        if len(_gates) >= _crowded:
            for each in list(_gates):
                if each[0].is_closed():
                    _gates.pop(each, None)
            _crowded = max(100, 2 * len(_gates))
        found = _gates[place] = Gate(place)
    return found
