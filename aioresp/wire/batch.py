"""Batch in the FIFO of a connection: many commands behind one waiter.

Owns the replies of one batch from the first to the last, the interface of any waiter, and the joined bytes of many
commands. Never knows what a command means.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aioresp.errors import ERROR_TYPES, DecodeError, RedisError
from aioresp.wire.packing import Packed, Parser, Push

#: Number of replies requested from the parser at a time: each request beyond the complete ones costs a little.
BLOCK: Final = 256

#: Whether `writelines` can be used. Since Python 3.12 it copies nothing; before 3.12.9 and 3.13.2 it never asks for a
#: pause when the transport's buffer is full (CVE-2024-12254).
WRITELINES: Final = sys.version_info >= (3, 13, 2) or (3, 12, 9) <= sys.version_info < (3, 13)


class Unfinished(Exception):
    """Signal of `set_result`, and no error: the waiter stays at the head of the FIFO, for more replies."""


class Finished(Exception):
    """Signal of `set_result`, and no error: the waiter is done, and the parser may have other methods than before."""


if TYPE_CHECKING:  # protocols take time to import

    class Waiter(Protocol):
        """Entry in a connection's FIFO: a future, which takes one reply, or a batch, which takes several."""

        def done(self) -> bool:
            """Return whether its caller has been answered or has gone."""
            ...

        def set_result(self, result: Any, /) -> None:
            """Take the next reply.

            Raises InvalidStateError if `done`, Unfinished if more are to come, and Finished after an error among them.
            """
            ...

        def set_exception(self, exception: Any, /) -> None:
            """Fail the caller; replies that still come are read and dropped."""
            ...

        def exception(self) -> BaseException | None:
            """Return the error that the caller gets; asyncio does not log an error that was fetched."""
            ...

    class Carrier(Protocol):
        """The connection that a batch travels on."""

        @property
        def number(self) -> int:
            """Its number among all connections of the process."""
            ...

        def hear(self, push: list[Any]) -> None:
            """Tell the listeners of a push."""
            ...

        def stay(self, batch: Batch) -> None:
            """Put the batch back to the head of the FIFO."""
            ...


class Batch:
    """Waiter for `count` commands in one write; it stays in the FIFO until its last reply has arrived.

    The result of `future` is the list of the raw replies. Error replies, and replies that are not UTF-8, are errors in
    it. An error of the whole batch, such as the end of the connection, fails the future.
    """

    __slots__ = ("_carrier", "_count", "_decode", "_owed", "_parser", "clean", "future", "replies")

    def __init__(self, count: int, decode: bool, future: asyncio.Future[list[Any]]) -> None:
        self.future = future
        self.replies: list[Any] = []
        """The replies that have arrived; it is emptied once the caller has gone."""
        self.clean = True
        """Set at first; cleared by an error reply, or a reply that is not UTF-8."""
        self._count = count
        self._decode = decode
        self._owed = count

    def __repr__(self) -> str:
        return f"Batch({self._owed} of {self._count} replies to come)"

    def __len__(self) -> int:
        return self._count

    def attach(self, carrier: Carrier, parser: Parser) -> bool:
        """Note the connection and the parser of the replies; return whether the replies are to be decoded."""
        self._carrier = carrier
        self._parser = parser
        return self._decode

    @property
    def origin(self) -> int:
        """Number of the connection that it was sent on."""
        return self._carrier.number

    # --- Replies -----------------------------------------------------------------------------------------------------

    def set_result(self, reply: Any) -> None:
        """Take the next reply, and all others that are complete.

        Raises Unfinished if more are to come, and Finished if there was an error among them.
        """
        self.replies.append(reply)
        self._owed -= 1
        try:
            while self._owed:
                if not self._take():
                    raise Unfinished
        except BaseException:
            self._stay()  # after a broken stream, too: then the end of the connection fails the caller
            raise
        self._finish()
        if not self.clean:
            raise Finished

    def take_error(self, error: RedisError) -> None:
        """Take an error as the next reply: an error reply, or one for a reply that is not UTF-8."""
        self.replies.append(error)
        self.clean = False
        self._owed -= 1
        if self._owed:
            self._stay()
        else:
            self._finish()

    def _take(self) -> bool:
        """Take a block of replies; return False if fewer are complete."""
        wanted = min(self._owed, BLOCK)
        came = self._parser.take(wanted, self._decode)
        complete = len(came) == wanted
        kinds = set(map(type, came))
        if Push in kinds:
            for reply in came:
                if type(reply) is Push:
                    self._carrier.hear(reply)
            came = [reply for reply in came if type(reply) is not Push]
        if self.clean and not kinds.isdisjoint(_ERRORS):
            self.clean = False
        self.replies += came
        self._owed -= len(came)
        return complete

    def _stay(self) -> None:
        self._carrier.stay(self)
        if self.future.done():
            self.replies.clear()  # the caller has gone

    def _finish(self) -> None:
        if self.future.done():
            self.replies.clear()
        else:
            self.future.set_result(self.replies)

    # --- As a waiter -------------------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Return whether its caller has been answered or has gone."""
        return self.future.done()

    def set_exception(self, error: RedisError) -> None:
        """Fail the caller; replies that still come are read and dropped."""
        self.future.set_exception(error)

    def exception(self) -> BaseException | None:
        """Return the error that the caller gets; asyncio does not log an error that was fetched."""
        return self.future.exception()


_ERRORS: Final = frozenset({DecodeError, *ERROR_TYPES})


def joined(commands: list[Packed]) -> Packed:
    """Return commands joined: bytes, or chunks if one of them has chunks."""
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
    """Write commands, some in chunks, and return the number of bytes; no byte that the socket takes is copied."""
    chunks = cast("list[bytes]", joined(commands))
    if WRITELINES:
        transport.writelines(chunks)
    else:
        for chunk in chunks:
            transport.write(chunk)
    return sum(map(len, chunks))


def fail(waiter: Waiter, error: Exception) -> None:
    """Fail a waiter, unless it is done, and fetch the error, so that asyncio never logs it."""
    if not waiter.done():
        waiter.set_exception(error)
        waiter.exception()
