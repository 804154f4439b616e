"""Many commands behind one waiter: the entry of a batch in a connection's FIFO.

Owns the replies of one batch from the first to the last, and stays at the head of the FIFO until the last one is here,
whether its caller waits or has gone; and how the bytes of many commands are put together. Never knows what a command
means.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aioresp.errors import ERROR_TYPES, DecodeError, RedisError
from aioresp.wire.packing import INCOMPLETE, Packed, Parser, Push

#: Replies taken from the parser at a time. To ask for one that is not complete costs little, but not nothing.
BLOCK: Final = 256

#: Whether `writelines` copies nothing, as since Python 3.12, and asks for a pause when the transport's buffer is full,
#: as not before 3.12.9 and 3.13.2 (CVE-2024-12254).
WRITELINES: Final = sys.version_info >= (3, 13, 2) or (3, 12, 9) <= sys.version_info < (3, 13)


class Unfinished(Exception):
    """There are more replies to come than have arrived: not an error, but how `Batch.set_result` tells."""


if TYPE_CHECKING:  # protocols take time to import

    class Carrier(Protocol):
        """What a batch needs of the connection that it travels on."""

        on_push: Callable[[list[Any]], None]


class Batch:
    """The waiter of `count` commands, which are written in one. To the connection it looks like a future.

    The result of `future` is the list of the raw replies; error replies and text that cannot be decoded are values in
    it. What fails all of them, as the end of the connection does, fails the future.
    """

    __slots__ = ("_carrier", "_count", "_decode", "_owed", "_parser", "_put_back", "clean", "future", "replies")

    def __init__(self, count: int, decode: bool, future: asyncio.Future[list[Any]]) -> None:
        self.future = future
        self.replies: list[Any] = []
        self.clean = True
        """Whether no error is among the replies."""
        self._count = count
        self._decode = decode
        self._owed = count

    def __repr__(self) -> str:
        return f"Batch({self._owed} of {self._count} replies to come)"

    def __len__(self) -> int:
        return self._count

    def attach(self, carrier: Carrier, parser: Parser, stay: Callable[[Batch], None]) -> bool:
        """Note who carries the batch, where its replies come from, and how it stays at the head of the FIFO.

        Returns whether the replies are to be decoded.
        """
        self._carrier = carrier
        self._parser = parser
        self._put_back = stay
        return self._decode

    # --- Replies -----------------------------------------------------------------------------------------------------

    def set_result(self, reply: Any) -> None:
        """Take the next reply, and with it all others that are here. Raises Unfinished if there are more to come."""
        self.replies.append(reply)
        self._owed -= 1
        try:
            while self._owed:
                if not self._take():
                    raise Unfinished
        except BaseException:
            self._stay()  # also where the stream is broken: then the end of the connection fails the caller
            raise
        self._finish()

    def take_error(self, error: RedisError) -> None:
        """Take the next reply, which is an error, or text that cannot be decoded."""
        self.replies.append(error)
        self.clean = False
        self._owed -= 1
        if self._owed:
            self._stay()
        else:
            self._finish()

    def _take(self) -> bool:
        """Take a block of replies; return False if fewer are here."""
        replies = self.replies
        start = len(replies)
        wanted = min(self._owed, BLOCK)
        complete = True
        try:
            if self._parser.wary:
                complete = self._take_singly(wanted)
            else:
                # All in C. If it raises, what came before is in the list.
                replies.extend(map(self._parser.gets, repeat(self._decode, wanted)))
                while replies[-1] is INCOMPLETE:
                    replies.pop()
                    complete = False
        except UnicodeDecodeError as error:
            replies.append(undecodable(error))
        came = replies[start:]
        kinds = set(map(type, came))
        if Push in kinds:
            replies[start:] = [reply for reply in came if type(reply) is not Push]
            for reply in came:
                if type(reply) is Push:
                    self._carrier.on_push(reply)
        if self.clean and not kinds.isdisjoint(_ERRORS):
            self.clean = False
        self._owed -= len(replies) - start
        return complete

    def _take_singly(self, wanted: int) -> bool:
        parser = self._parser
        has_data, gets = parser.has_data, parser.gets
        for _ in range(wanted):
            if not has_data() or (reply := gets(self._decode)) is INCOMPLETE:
                return False
            self.replies.append(reply)
            if not parser.wary:
                break  # the others are taken faster
        return True

    def _stay(self) -> None:
        self._put_back(self)
        if self.future.done():
            self.replies.clear()  # for nobody

    def _finish(self) -> None:
        if self.future.done():
            self.replies.clear()
        else:
            self.future.set_result(self.replies)

    # --- As a future -------------------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Return whether nobody waits any more."""
        return self.future.done()

    def set_exception(self, error: RedisError) -> None:
        """Fail the caller; replies that still come are read and dropped."""
        self.future.set_exception(error)

    def exception(self) -> BaseException | None:
        """Return the error that the caller gets, which is then not logged if he has gone."""
        return self.future.exception()


_ERRORS: Final = frozenset({DecodeError, *ERROR_TYPES})


def joined(commands: list[Packed]) -> Packed:
    """Return commands as one: bytes, or chunks if one of them comes in chunks."""
    try:
        return b"".join(commands)  # type: ignore[arg-type]  # or it raises
    except TypeError:
        pass
    chunks: list[bytes] = []
    small: list[bytes] = []
    for packed in commands:
        if isinstance(packed, bytes):
            small.append(packed)
        else:
            chunks += (b"".join(small), *packed)
            small.clear()
    chunks.append(b"".join(small))
    return [chunk for chunk in chunks if chunk]


def write_chunks(transport: asyncio.Transport, commands: list[Packed]) -> int:
    """Write commands, some in chunks, without a copy of what the socket takes at once; return how many bytes."""
    chunks = cast("list[bytes]", joined(commands))
    if WRITELINES:
        transport.writelines(chunks)
    else:
        for chunk in chunks:
            transport.write(chunk)
    return sum(map(len, chunks))


def fail(waiter: asyncio.Future[Any], error: Exception) -> None:
    """Fail a waiter, unless it is done; if nobody is left to fetch the error, that is no reason for a log line."""
    if not waiter.done():
        waiter.set_exception(error)
        waiter.exception()


def undecodable(error: UnicodeDecodeError) -> DecodeError:
    """Return what the caller of a reply that is no text gets."""
    return DecodeError(f"the reply is not UTF-8 ({error.reason}); use decode_responses=False to get bytes")
