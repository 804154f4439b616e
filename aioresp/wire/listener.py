"""A socket on which the server speaks first: what arrives is handed on in order, and nobody waits for a reply.

Takes over the transport of a connection that is ready, and owns reading and writing from then on. Never knows what an
item means, and never connects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from aioresp.errors import ProtocolError, RedisError
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed

logger = logging.getLogger("aioresp")

#: A chunk below this was all there was.
LARGE: Final = 32 * 1024


class Listener(asyncio.Protocol):
    """Hands what arrives to `take`, undecoded, and the reason of the end to `on_end`, once.

    `take` gets an iterator over the items that are here, goes through it, or leaves off where it called `hold`, and
    returns whether there was one. What it raises ends the connection: it could not make sense of an item.
    """

    def __init__(
        self, connection: Connection, take: Callable[[Iterator[Any]], bool], on_end: Callable[[RedisError], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.held = False
        self.heard = self._loop.time()  # when bytes last arrived
        self.connection = connection
        self._take = take
        self._on_end = on_end
        self._outgoing: list[bytes] = []
        self._enough = False  # was handed on in this turn of the loop
        self._kept = False  # something is here that was not
        self._transport, self._parser = connection.hand_over(self)
        self._parser.undecoded()

    def send(self, packed: Packed) -> None:
        """Send a command with this turn's others."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += packed if isinstance(packed, list) else [packed]

    def _flush(self) -> None:
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        if self.connection.error is not None:
            return  # uvloop's transports refuse it
        self.connection.bytes_sent += len(data)
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the transport."""
        self.connection.bytes_received += len(data)
        self.heard = self._loop.time()
        self._parser.feed(data, True)
        if self._enough:
            # uvloop goes on reading as long as there is something: a burst would come before any reader of it has run.
            self._kept = True
            self._transport.pause_reading()
        else:
            self._read()
            if len(data) >= LARGE:
                self._wait_for_readers()

    def _wait_for_readers(self) -> None:
        self._enough = True
        self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._enough = False
        if self.held or self._transport.is_closing():
            return
        if self._kept:
            self._kept = False
            self._read()
            self._wait_for_readers()
        else:
            self._transport.resume_reading()

    def _read(self) -> None:
        try:
            if self.held:
                return
            guard = self.connection.limits
            if self._take(self._parser.items()) or not self._parser.has_data():
                guard.since = self.connection.bytes_received
            elif guard.too_large(self.connection.bytes_received):
                self.connection.end(ProtocolError(str(guard.refuse(self.connection.bytes_received))))
        except Exception as error:
            # Only its class: the words of Python's own errors show values.
            logger.debug("what the server sent could not be understood (%s)", type(error).__name__)
            self.held = True
            wrong = self._parser.broken(error)
            if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)):  # RESP, but not what was due
                wrong = ProtocolError("the server sent something that was not due; the connection was dropped")
            self.connection.end(wrong)

    def hold(self) -> None:
        """Read nothing more, and keep back what is here, until `release`."""
        if not self.held:
            self.held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read again; what was kept back is handed on from the next turn of the loop on."""
        if self.held:
            self.held = False
            self.heard = self._loop.time()
            self._loop.call_soon(self._read)
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of the end."""
        if self._kept and not self.held:
            self._read()  # it came in time, and only waited for a turn of the loop
        self.held = True  # what is still here comes too late: its taker has been told of the end
        self.connection.connection_lost(exc)
        assert self.connection.error is not None
        self._on_end(self.connection.error)
