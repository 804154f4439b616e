"""Salvage of a stream in which hiredis refuses a reply, so that only that reply's own caller fails.

Owns the bytes since a boundary between replies, and those behind the refused one until a new reader gets them. Never
guesses: unless the end of the refused reply is certain, the connection ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from aioresp.errors import ProtocolError
from aioresp.wire.faults import Lost, unreadable

if TYPE_CHECKING:  # protocols take time to import
    from typing import Protocol

    from aioresp.errors import RedisError
    from aioresp.wire.refused import Walk

    class Stream(Protocol):
        """The parser, as far as it is needed here."""

        def feed(self, data: bytes, partial: bool) -> None:
            """Take bytes."""
            ...

        def has_more(self) -> bool:
            """Return whether it has bytes for `next_reply`."""
            ...

        def next_reply(self, decode: bool) -> Any:
            """Return the next reply of the bytes that it has, or INCOMPLETE."""
            ...


#: Result of `Parser.gets` while the reply is not complete.
INCOMPLETE: Final = object()

#: Most bytes that are kept since a boundary between replies; behind more of them, nothing can be salvaged.
KEPT: Final = 2 * 1024 * 1024

#: Bytes of a read below which it is joined to those kept before it.
SHORT: Final = 1024

#: Bytes behind a refused reply that the next reader gets at a time. It would lose all of them with another refusal.
PIECE: Final = 16 * 1024


class Salvage:
    """Bytes of one stream that are kept in case hiredis refuses a reply, and those that wait behind such a reply."""

    __slots__ = ("_between", "_refused", "_rest", "_size", "_walk", "active", "at", "chunks")

    def __init__(self) -> None:
        self.chunks: list[bytes | bytearray | memoryview] = []
        """The reads since a boundary between replies; empty if none is known. The parser sets it at each boundary."""
        self.at = -1
        """The place of a boundary later than in `chunks`, in the bytes that the parser holds; -1 if there is none."""
        self.active = False
        """Set by a refusal, cleared when its caller has its error and the reader has all bytes behind it."""
        self._between = True  # set when the reader returned a reply, cleared when it found one incomplete
        #: The error of a refused reply that has ended, until the parser returns it.
        self._refused: RedisError | None = None
        self._size = 0  # about the bytes of `chunks`, once there are two
        self._walk: Walk | None = None  # the walk through a refused reply, until its end
        self._rest: deque[bytes] = deque()  # the bytes that no reader has had yet, in pieces

    @property
    def waiting(self) -> int:
        """Number of bytes that no reader has had yet."""
        return sum(map(len, self._rest))

    def takes(self, data: bytes) -> bool:
        """Note a read that may have begun within a reply; return whether the reader has to wait for it."""
        if self.active:
            self._pass(data)
            return True
        chunks = self.chunks
        if chunks:
            if len(chunks) == 1:
                self._size = len(chunks[0])
            self._size += len(data)
            if self._size > KEPT:
                self.chunks = []
            elif len(data) >= SHORT:
                chunks.append(data)
            elif type(last := chunks[-1]) is bytearray:
                last += data
            else:
                chunks.append(bytearray(data))
        return False

    def let_go(self, held: bytes, queue: list[bytes]) -> None:
        """Keep nothing before the reply that is under way: the memory of earlier reads serves later ones."""
        if self.at >= 0:
            self.chunks = [memoryview(held)[self.at :], *queue]
            self._size = len(held) - self.at + sum(map(len, queue))
            self.at = -1

    def start(self, said: str) -> bool:
        """Look for the reply that hiredis refused with these words; return whether the stream can go on behind it."""
        from aioresp.wire.refused import Walk  # noqa: PLC0415 (hiredis refuses few replies)

        data = b"".join(self.chunks)
        self.chunks = []
        waiting, self._rest = self._rest, deque()
        self._walk = walk = Walk()
        self._pass(data)
        if walk.why is None or walk.why[0] != said:
            return False
        while waiting and self._refused is None:
            self._pass(waiting.popleft())
        self._rest += waiting
        self.chunks = [b""]  # the next reader begins at a boundary
        self.at = -1
        self._between = True
        self.active = True
        return not isinstance(self._refused, ProtocolError)

    def _pass(self, data: bytes) -> None:
        """Walk on through a refused reply, and keep the bytes behind it."""
        at = 0
        if self._walk is not None:
            try:
                at = self._walk.go(data)
            except Lost:
                self._walk = None
                self._refused = ProtocolError("a reply without a certain end")
                return
            if at < 0:
                return
            assert self._walk.why is not None
            self._refused = unreadable(self._walk.why[1])
            self._walk = None
        self._rest.extend(data[place : place + PIECE] for place in range(at, len(data), PIECE))

    def gets(self, stream: Stream, decode: bool) -> Any:
        """Return the error of the refused reply once that has ended, and then the replies behind it.

        Raises what the stream raises, and ProtocolError if the end of the refused reply is not certain.
        """
        refused, self._refused = self._refused, None
        if refused is None:
            return self._next(stream, decode)
        if isinstance(refused, ProtocolError):
            raise refused
        self.active = bool(self._rest)
        return refused

    def _next(self, stream: Stream, decode: bool) -> Any:
        while True:
            if stream.has_more():
                self._between = True  # even if the reply cannot be decoded
                reply = stream.next_reply(decode)
                if reply is not INCOMPLETE:
                    return reply
                self._between = False
            if not self._rest:
                self.active = self._walk is not None
                return INCOMPLETE
            piece = self._rest.popleft()
            self.active = False  # or the piece would come back here
            stream.feed(piece, not self._between)
            self.active = bool(self._rest)
