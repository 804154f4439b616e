"""Consumer of a group: acknowledges an entry after the work on it, and fetches unacknowledged entries again.

Owns the order of its requests: its own pending entries, then entries that others left for too long, then new ones.
Never acknowledges an entry that was not handed out, or whose body failed. Never keeps more than the server keeps: each
fetched entry is pending there until it is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Final, Self

from aioresp.arguments import numeral
from aioresp.command import AnyStr, Key, Seconds, as_bytes
from aioresp.commands.base import milliseconds
from aioresp.commands.streams import StreamId
from aioresp.contexts.blocking import GRACE
from aioresp.errors import ArgumentError, BusyGroupError, NoGroupError, RedisError
from aioresp.replies.shapes import unexpected
from aioresp.replies.streams import Entry, GroupEntry
from aioresp.streams.delivery import LEFT, Delivery, Outstanding, Place
from aioresp.streams.reader import Reader, Source, is_behind, shown
from aioresp.timers import Timeout

logger = logging.getLogger("aioresp")

#: Id at which a walk through pending entries begins; XAUTOCLAIM returns it at the end of a walk.
ZERO: Final = b"0-0"


class GroupReader(Reader[AnyStr], AsyncIterator[Delivery[AnyStr]]):
    """Iterates over the entries that a group delivers to one consumer: see `Client.group_reader`."""

    _command = "XREADGROUP"
    _entering = "async with r.group_reader(...) as g:"
    _reading = "async for entry in g:"

    def __init__(
        self,
        source: Source,
        group: Key,
        consumer: Key,
        names: tuple[Key, ...],
        count: int,
        block: Seconds | None,
        min_idle: Seconds | None,
        create: bool,
        start: StreamId,
        auto_ack: bool,
    ) -> None:
        super().__init__(source, names, count, block)
        self._group = group
        self._consumer = consumer
        self._create = create
        self._auto_ack = auto_ack
        self._min_idle = None if min_idle is None else milliseconds(min_idle, "XREADGROUP", "min_idle")
        if self._min_idle is not None and self._min_idle < 1:
            raise ArgumentError(f"XREADGROUP: min_idle is {numeral(self._min_idle)}, not 1 or more")
        self._starts: dict[bytes, StreamId] = dict.fromkeys(self._names, start)
        self._follow = start in ("$", b"$")
        self._queue: deque[tuple[Place, dict[bytes, bytes], int]] = deque()
        self._fetched_at = -math.inf
        self._hand = Outstanding(self._acknowledge, LEFT if self._min_idle is None else self._min_idle / 1000)
        #: Entry that the body of the loop works on.
        self._current: Place | None = None
        #: Position of the walk through this consumer's pending entries, by stream; empty when it is over.
        self._own: dict[bytes, bytes] = {}
        #: The same for entries that others left.
        self._claims: dict[bytes, bytes] = {}
        #: Loop times of the next claim, and of the next walk through this consumer's own entries.
        self._claim_at = self._look_again = math.inf

    def __repr__(self) -> str:
        if not hasattr(self, "_hand"):  # its constructor failed
            return "GroupReader(not made)"
        what = f"{shown(self._names)}, group {self._group!r}, consumer {self._consumer!r}"
        state = f"{len(self._queue)} fetched" if self._entered else "not entered"
        return f"GroupReader({what}: {len(self._hand)} out, {state})"

    async def __aenter__(self) -> Self:
        self._enter()
        try:
            if self._create:
                await self._make_groups()
        except BaseException:
            self._entered = False
            raise
        self._queue.clear()
        self._doubt()
        if self._min_idle is not None:
            self._claim_at = -math.inf
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_body(well=False)
        self._entered = False
        self._queue.clear()
        if not self._hand.due:
            return
        try:
            async with Timeout(None if kind is None else GRACE):
                await self._hand.acknowledge_due()
        except (RedisError, TimeoutError) as failure:
            if kind is None:
                raise
            logger.warning("%r: %d entries that are done stay pending: %s", self, len(self._hand.due), failure)

    def __aiter__(self) -> Self:
        # A loop begins, so an earlier one was left inside its body, by `break` or by an exception.
        self._end_body(well=False)
        return self

    async def __anext__(self) -> Delivery[AnyStr]:
        self._begin()
        try:
            self._end_body(well=True)
            if self._hand.due:
                await self._steadily(self._hand.acknowledge_due)
            if self._min_idle is not None and self._queue and _now() - self._fetched_at > self._min_idle / 2000:
                # Others may claim them soon, or have done so: ask again which of them are ours.
                self._queue.clear()
                self._own = dict.fromkeys(self._names, ZERO)
            while not self._queue:
                if not await self._steadily(self._fetch):
                    raise StopAsyncIteration
            return self._hand_out()
        finally:
            self._busy = False

    # --- Entries handed out ------------------------------------------------------------------------------------------

    def _hand_out(self) -> Delivery[AnyStr]:
        place, fields, deliveries = self._queue.popleft()
        self._hand.take(place)
        try:
            stream, number, decoded = self._decoded(*place, fields)
        except RedisError:  # not UTF-8, or not an entry
            self._hand.leave(place)
            raise
        if self._auto_ack:
            self._current = place
        return Delivery(self._hand, place, stream, number, decoded, deliveries)

    def _end_body(self, well: bool) -> None:
        place, self._current = self._current, None
        if place is not None:
            (self._hand.end if well else self._hand.leave)(place)

    async def _acknowledge(self, place: Place) -> bool:
        return await self._source.harmless.xack(place[0], self._group, place[1]) > 0

    # --- Fetching ----------------------------------------------------------------------------------------------------

    def _doubt(self) -> None:
        """Note that the server may have delivered entries that this consumer has not seen.

        It may still do so while it holds back a command whose caller has gone, or whose connection has ended without
        the server's knowledge. So look at once, and once more when that time is over.
        """
        self._own = dict.fromkeys(self._names, ZERO)
        self._look_again = _now() + (self._block or 0) / 1000 + GRACE

    async def _fetch(self) -> bool:
        """Request entries, and return whether there may be more."""
        now = _now()
        if now >= self._look_again:
            self._look_again = math.inf
            self._own = dict.fromkeys(self._names, ZERO)
        if self._min_idle is not None and now >= self._claim_at:
            self._claim_at = now + max(self._min_idle / 2000, 0.01)
            self._claims = dict.fromkeys(self._names, ZERO)
        self._hand.begin()
        try:
            if self._own:
                await self._reread()
            elif self._claims:
                await self._claim(*next(iter(self._claims.items())))
            else:
                return await self._read(now)
        except NoGroupError as error:
            if not self._create:
                raise
            logger.warning("%r: the group is gone, and made again: %s", self, error)
            await self._make_groups()
        except BaseException:
            self._doubt()
            raise
        return True

    async def _read(self, now: float) -> bool:
        """Read new entries."""
        wait = None
        if self._block is not None and not self._more:
            wait = max(1, math.ceil(min(self._block, (min(self._claim_at, self._look_again) - now) * 1000)))
        found = await self._source.raw.xreadgroup(
            self._group, self._consumer, dict.fromkeys(self._names, ">"), self._count, wait
        )
        new = dict.fromkeys(self._names)
        if not all(self._new(stream, entries, new) for stream, entries in found.items()):
            raise unexpected(found, (self._command,))
        self._more = any(len(entries) >= self._count for entries in found.values())
        for stream, entries in found.items():
            if self._follow:
                self._starts[stream] = entries[-1].id
            self._take(stream, entries, {})
        return bool(found) or self._block is not None

    async def _reread(self) -> None:
        """Read this consumer's pending entries, except those in hand."""
        answer = await self._source.harmless.xreadgroup(self._group, self._consumer, self._own, self._count)
        found = {stream: entries for stream, entries in answer.items() if entries}
        if not all(self._new(stream, entries, self._own) for stream, entries in found.items()):
            raise unexpected(answer, (self._command,))
        deliveries = {}
        for stream, entries in found.items():
            gone = [entry.id for entry in entries if entry.fields is None]
            if gone:
                await self._source.harmless.xack(stream, self._group, *gone)
                self._mourn(stream, gone)
            deliveries[stream] = await self._deliveries(stream, entries)
        # Nothing is awaited from here on: after a failure before, all of it is requested again.
        for stream, entries in found.items():
            self._take(stream, entries, deliveries[stream], left=True)
        self._own = {stream: entries[-1].id for stream, entries in found.items()}

    async def _claim(self, stream: bytes, cursor: bytes) -> None:
        """Claim entries that have been pending for too long, of any consumer."""
        assert self._min_idle is not None
        found = await self._source.raw.xautoclaim(
            stream, self._group, self._consumer, self._min_idle, cursor, self._count
        )
        entries = [entry for entry in found.entries if entry is not None]
        pending = not entries or self._new(stream, entries, {stream: None})
        if not pending or not (found.next_id == ZERO or is_behind(found.next_id, cursor)):
            raise unexpected([found.next_id, found.entries, found.deleted], ("XAUTOCLAIM",))
        deliveries = await self._deliveries(stream, entries)
        if len(entries) < len(found.entries):
            self._own = dict.fromkeys(self._names, ZERO)  # before 7.0 it claims deleted entries without an id
        if found.deleted:
            self._mourn(stream, found.deleted)
        self._take(stream, entries, deliveries)
        if found.next_id == ZERO:
            del self._claims[stream]
        else:
            self._claims[stream] = found.next_id

    def _take(
        self,
        stream: bytes,
        entries: Iterable[Entry[bytes] | GroupEntry[bytes]],
        deliveries: dict[bytes, int],
        *,
        left: bool = False,
    ) -> None:
        """Queue entries, except those in hand; with `left`, also except those that were left pending."""
        self._fetched_at = _now()
        for entry in entries:
            place = (stream, entry.id)
            if entry.fields is not None and not self._hand.has(place, left=left):
                self._queue.append((place, entry.fields, deliveries.get(entry.id, 1)))

    async def _deliveries(self, stream: bytes, entries: list[Any]) -> dict[bytes, int]:
        """Return the number of deliveries of each of these entries, which are in the order of their ids."""
        if not entries:
            return {}
        most = len(entries) + self._hand.known
        lines = await self._source.harmless.xpending_range(
            stream, self._group, entries[0].id, entries[-1].id, most, self._consumer
        )
        return {line.id: line.deliveries for line in lines}

    def _mourn(self, stream: bytes, gone: list[bytes]) -> None:
        logger.warning("%r: %d pending entries are no longer in the stream %s", self, len(gone), shown((stream,)))

    # --- The group ---------------------------------------------------------------------------------------------------

    async def _make_groups(self) -> None:
        """Create the group in each stream that has none."""
        for stream, start in self._starts.items():
            try:
                await self._source.harmless.xgroup_create(stream, self._group, start, mkstream=True)
            except BusyGroupError:
                pass
            if start in ("$", b"$"):
                # A group that is created again begins at its former position, not at the end of the stream by then.
                groups = await self._source.raw.xinfo_groups(stream)
                group = as_bytes(self._group, "the name of a group")
                last = [found.last_delivered_id for found in groups if found.name == group]
                self._starts[stream] = last[0] if last else ZERO


def _now() -> float:
    return asyncio.get_running_loop().time()
