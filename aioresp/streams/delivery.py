"""Delivery ledger of one group consumer: entries that were handed out and await an acknowledgement.

Owns the state of each such entry on this side; the server keeps the rest. An entry is handed out, or left pending, or,
after its body ended well, due for acknowledgement. Never asks for entries, and never waits but for an
acknowledgement.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

from aioresp.command import AnyStr, locate
from aioresp.misuse import Bound
from aioresp.typed import Generic

logger = logging.getLogger("aioresp")

#: Seconds after which a pending entry may be delivered again, if no `min_idle` says so.
LEFT: Final = 60.0

#: A stream, and an id in it.
Place = tuple[bytes, bytes]


class Outstanding:
    """Entries that a consumer has in hand. `send` acknowledges one, and returns whether it was pending."""

    def __init__(self, send: Callable[[Place], Awaitable[bool]], left_for: float) -> None:
        self._send = send
        self._left_for = left_for
        self._out: set[Place] = set()
        #: Entries left pending, oldest first, each with the loop time since when.
        self._left: dict[Place, float] = {}
        #: Entries acknowledged since the last request began; its reply may still contain them.
        self._acked: set[Place] = set()
        #: Entries whose body ended well, and that have yet to be acknowledged.
        self.due: dict[Place, None] = {}

    def __len__(self) -> int:
        return len(self._out)

    @property
    def known(self) -> int:
        """Number of entries that were handed out and may be pending for this consumer."""
        return len(self._out) + len(self._left)

    def begin(self) -> None:
        """Begin a request for entries; forget entries that were left so long ago that they may be delivered again."""
        self._acked.clear()
        since = _now() - self._left_for
        while self._left and next(iter(self._left.values())) < since:
            del self._left[next(iter(self._left))]

    def has(self, place: Place, *, left: bool) -> bool:
        """Return whether the entry must not be handed out; with `left`, neither if it was left pending."""
        return place in self._out or place in self._acked or (left and place in self._left)

    def take(self, place: Place) -> None:
        """Note that the entry is handed out."""
        self._left.pop(place, None)
        self._out.add(place)

    def leave(self, place: Place) -> None:
        """Let the entry stay pending."""
        if place in self._out:
            self._out.discard(place)
            self.due.pop(place, None)
            self._left[place] = _now()

    def end(self, place: Place) -> None:
        """Note that the body ended well, unless it acknowledged the entry or left it pending itself."""
        if place in self._out:
            self.due[place] = None

    async def finish(self, place: Place) -> None:
        """Acknowledge the entry, as its body ended well, unless the body acknowledged it or left it pending itself."""
        if place in self._out:
            try:
                await self.acknowledge(place)
            except BaseException:
                self.end(place)  # perhaps it was acknowledged; the next request, or leaving the reader, makes sure
                raise

    async def acknowledge(self, place: Place) -> bool:
        """Acknowledge the entry and return whether it was pending; a second time is harmless."""
        found = await self._send(place)
        self._acked.add(place)
        self._out.discard(place)
        self._left.pop(place, None)
        self.due.pop(place, None)
        if not found:
            key = locate(("XACK", place[0]))[1]
            logger.info("%s of %s was not pending any more: claimed by another, or sent twice", place[1].decode(), key)
        return found

    async def acknowledge_due(self) -> None:
        """Acknowledge all entries whose bodies ended well."""
        for place in list(self.due):
            await self.acknowledge(place)


class Delivery(Bound, Generic[AnyStr]):
    """An entry that a group has delivered: `stream`, `id`, `fields` (of a field that occurs twice, the last value).

    `deliveries` counts all deliveries of it, also those that no consumer has seen. `async with entry:` acknowledges it
    when the block ends well, and otherwise leaves it pending.
    """

    _instead = "pass its `stream`, `id` and `fields`, and acknowledge it here"

    __slots__ = ("_hand", "_place", "deliveries", "fields", "id", "stream")

    def __init__(
        self,
        hand: Outstanding,
        place: Place,
        stream: AnyStr,
        number: AnyStr,
        fields: dict[AnyStr, AnyStr],
        deliveries: int,
    ) -> None:
        self._hand = hand
        self._place = place
        self.stream = stream
        self.id = number
        self.fields = fields
        self.deliveries = deliveries

    def __repr__(self) -> str:
        if not hasattr(self, "deliveries"):  # its constructor failed
            return "Delivery(not made)"
        return f"Delivery(stream={self.stream!r}, id={self.id!r}, fields={self.fields!r}, deliveries={self.deliveries})"

    async def ack(self) -> bool:
        """Acknowledge the entry now, and return whether it was pending; allowed after the reader was left."""
        return await self._hand.acknowledge(self._place)

    def nack(self) -> None:
        """Leave the entry pending, so that it comes again after `min_idle`, here or to another consumer."""
        self._hand.leave(self._place)

    async def __aenter__(self) -> Delivery[AnyStr]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self._hand.finish(self._place)
        else:
            self.nack()


def _now() -> float:
    return asyncio.get_running_loop().time()
