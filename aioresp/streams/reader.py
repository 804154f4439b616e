"""Stream reader: entries of several streams one after the other, across reconnects.

Owns the position in each stream. The position moves when an entry is handed out, so a cancelled or failed wait loses
nothing. Reads bytes and decodes each entry by itself, so that an entry that is not UTF-8 fails alone. Never holds a
connection between two reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from aioresp.arguments import encoded, numeral
from aioresp.command import AnyStr, Key, Seconds, as_bytes, locate
from aioresp.commands import Commands
from aioresp.commands.base import milliseconds
from aioresp.commands.streams import StreamId
from aioresp.errors import ArgumentError, ArgumentTypeError, DecodeError, PoolTimeout, RedisError, about
from aioresp.misuse import Iterated
from aioresp.record import Record
from aioresp.replies.shapes import unexpected
from aioresp.retry import Retry, may_read_on
from aioresp.typed import Generic

T = TypeVar("T")

logger = logging.getLogger("aioresp")

#: Milliseconds that one read waits on the server by default, or for a `block` of 0.
BLOCK: Final = 5000

#: Ids that stand for the last entry of a stream.
_LAST: Final = ("$", b"$")


class Source(Record):
    """Clients that a reader sends through: replies are bytes, and a command sent through `harmless` may run twice."""

    raw: Commands[bytes]
    harmless: Commands[bytes]
    decode: bool
    retry: Retry


class StreamEntry(Record, Generic[AnyStr]):
    """An entry and its stream. Of a field that occurs twice, the last value is kept."""

    stream: AnyStr
    id: AnyStr
    fields: dict[AnyStr, AnyStr]


class Reader(Iterated, Generic[AnyStr]):
    """Base of readers: one caller at a time, retries of a failed step, decoding."""

    _instead = "make one in the process that reads it, from that process's client"
    _entering = "async with r.stream_reader(...) as s:"
    _reading = "async for entry in s:"

    _command: str

    def __init__(self, source: Source, names: Iterable[Key], count: int, block: Seconds | None) -> None:
        if type(count) is not int:
            raise ArgumentTypeError(f"{self._command}: count is {type(count).__name__}, not int")
        if count < 1:
            raise ArgumentError(f"{self._command}: count is {numeral(count)}, not 1 or more")
        wait = None if block is None else milliseconds(block, self._command, "block")
        if wait is not None and wait < 0:
            raise ArgumentError(f"{self._command}: block is {numeral(wait)}, not 0 or more")
        self._source = source
        self._names = tuple(dict.fromkeys(as_bytes(name, "the name of a stream") for name in names))
        if not self._names:
            raise ArgumentError(f"{self._command}: names is empty")
        self._count = count
        self._block = BLOCK if wait == 0 else wait
        #: Set by a read that brought `count` entries, cleared by one that did not: the next read need not wait.
        self._more = False
        #: Set when the reader is entered, cleared when it is left.
        self._entered = False
        #: Set while a task waits for the next entry.
        self._busy = False

    def __aiter__(self) -> Self:
        return self

    def _enter(self) -> None:
        if self._entered:
            raise RuntimeError("the reader was entered already")
        self._entered = True

    def _begin(self) -> None:
        """Begin to fetch the next entry. Raises RuntimeError while another task does so."""
        if not self._entered:
            raise RuntimeError("the reader is not entered, or was left: use `async with`")
        if self._busy:
            raise RuntimeError("another task waits for the next entry of this reader")
        self._busy = True

    async def _steadily(self, step: Callable[[], Awaitable[T]]) -> T:
        """Do a step that keeps its position; repeat it while the server is away."""
        failures = 0
        while True:
            try:
                return await step()
            except PoolTimeout as error:
                logger.warning("%r goes on: %s; a higher `limit` would let it begin", self, error)
                if self._source.retry.attempts == 1:
                    raise
            except RedisError as error:
                failures += 1
                pause = self._source.retry.pause_without_end(failures) if may_read_on(error) else None
                if pause is None:
                    raise
                if failures & (failures - 1) == 0:  # 1, 2, 4, 8, …
                    logger.warning("%r goes on as soon as it can, after %d failures: %s", self, failures, error)
                await asyncio.sleep(pause)

    def _new(self, stream: bytes, entries: Sequence[Any], before: Mapping[bytes, object]) -> bool:
        """Return whether these are entries of a requested stream, behind those `before`.

        Otherwise the reader would take a wrong position, or request the same entries forever.
        """
        if stream not in before or not entries:
            return False
        ids = [entry.id for entry in entries]
        if not b"".join(ids).translate(None, b"-").isdigit():
            return False
        return is_behind(ids[-1], before[stream])

    def _decoded(self, stream: bytes, number: bytes, fields: dict[bytes, bytes]) -> tuple[Any, Any, dict[Any, Any]]:
        """Return an entry as text or bytes, as the reader wants it; raise DecodeError if it is not UTF-8."""
        if not self._source.decode:
            return stream, number, fields
        try:
            text = {name.decode(): value.decode() for name, value in fields.items()}
            return stream.decode(), number.decode(), text
        except UnicodeDecodeError as error:
            why = error.reason
        except AttributeError:
            why = ""
        # Raised outside of the handlers, as an error inside would show the value by its context.
        if not why:
            raise unexpected((number, fields), (self._command,))
        where = f"entry {number.decode('utf-8', 'backslashreplace')} is not UTF-8 ({why})"
        failure = DecodeError(f"{where}; use decode_responses=False. To iterate again goes on behind it")
        raise about(failure, self._command, locate(("XLEN", stream))[1])


class StreamReader(Reader[AnyStr], AsyncIterator[StreamEntry[AnyStr]]):
    """Iterator over the entries of streams: see `Client.stream_reader`."""

    _command = "XREAD"

    def __init__(self, source: Source, starts: dict[Key, StreamId], count: int, block: Seconds | None) -> None:
        super().__init__(source, starts, count, block)
        self._starts = {as_bytes(name, "the name of a stream"): start for name, start in starts.items()}
        for start in self._starts.values():
            if start in ("+", b"+", ">", b">", "*", b"*"):
                raise ArgumentError(f"XREAD: last_id is {start!r}, not an id or '$'")
        #: Last id handed out, by stream.
        self._last: dict[bytes, bytes] = {}
        #: Last id fetched, by stream.
        self._fetched: dict[bytes, bytes] = {}
        self._queue: deque[tuple[bytes, bytes, dict[bytes, bytes]]] = deque()

    def __repr__(self) -> str:
        if not hasattr(self, "_queue"):  # its constructor failed
            return "StreamReader(not made)"
        state = f"{len(self._queue)} fetched" if self._entered else "not entered"
        return f"StreamReader({shown(self._names)}, {state})"

    @property
    def last_ids(self) -> dict[AnyStr, AnyStr]:
        """Id of the last entry handed out, by stream; pass it as `last_id=` to go on from there later."""
        found: Any = self._last
        if self._source.decode:
            found = {name.decode("utf-8", "backslashreplace"): number.decode() for name, number in self._last.items()}
        return dict(found)

    async def __aenter__(self) -> Self:
        self._enter()
        try:
            for name, start in self._starts.items():
                if name not in self._last:
                    self._last[name] = await self._resolved(name, start)
        except BaseException:
            self._entered = False
            raise
        self._fetched = dict(self._last)
        self._queue.clear()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered = False

    async def __anext__(self) -> StreamEntry[AnyStr]:
        self._begin()
        try:
            while not self._queue:
                if not await self._steadily(self._fetch):
                    raise StopAsyncIteration
            stream, number, fields = self._queue.popleft()
            self._last[stream] = number
            return StreamEntry(*self._decoded(stream, number, fields))
        finally:
            self._busy = False

    async def _resolved(self, name: bytes, start: StreamId) -> bytes:
        """Return an id for `$`, whose meaning would change from one read to the next."""
        if start not in _LAST:
            return encoded(("XREAD", start))[1] if isinstance(start, int) else as_bytes(start, "an id")
        found = await self._source.raw.xrevrange(name, count=1)
        return found[0].id if found else b"0-0"

    async def _fetch(self) -> bool:
        """Read, and return whether there may be more."""
        wait = None if self._more else self._block
        found = await self._source.raw.xread(self._fetched, count=self._count, block=wait)
        if not all(self._new(stream, entries, self._fetched) for stream, entries in found.items()):
            raise unexpected(found, (self._command,))
        self._more = any(len(entries) >= self._count for entries in found.values())
        for stream, entries in found.items():
            self._queue.extend((stream, entry.id, entry.fields) for entry in entries)
            self._fetched[stream] = entries[-1].id
        return bool(found) or self._block is not None


def is_behind(number: bytes, before: object) -> bool:
    """Return whether `number` is an id behind `before`; every id is behind a `before` that is no id."""
    place, last = _place(number), _place(before)
    return place is not None and (last is None or place > last)


def _place(number: object) -> tuple[int, int] | None:
    """Return the two numbers of an id, or None for anything else."""
    if not isinstance(number, bytes) or len(number) > 41:  # 20 digits each
        return None
    time, _, count = number.partition(b"-")
    return (int(time), int(count or b"0")) if time.isdigit() and (count or b"0").isdigit() else None


def shown(names: tuple[bytes, ...]) -> str:
    """Return the names of streams in the form for errors and logs."""
    first = locate(("XLEN", names[0]))[1]
    return f"{first}" if len(names) == 1 else f"{first} and {len(names) - 1} more"
