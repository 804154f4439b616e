"""Listener on a socket where the server speaks first: items are handed on in order, and nobody waits for a reply.

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

#: Bytes of a read from which on more may be waiting in the kernel.
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
        """Set by `hold`, by an error and at the end, cleared by `release`: nothing is handed on."""
        self.heard = self._loop.time()
        """The loop's time when bytes last arrived, or when reading began again."""
        self.connection = connection
        self._take = take
        self._on_end = on_end
        self._outgoing: list[bytes] = []
        self._enough = False  # set when a large read was handed on, cleared in the next turn of the loop
        self._kept = False  # set when bytes arrive while that is so, cleared when they are handed on
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
        self.connection.traffic.sent += len(data)
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the transport."""
        self.connection.traffic.received += len(data)
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
            limits = self.connection.limits
            if self._take(self._parser.items()) or not self._parser.has_data():
                limits.begin()
            elif limits.too_large():
                self.connection.end(ProtocolError(str(limits.refuse())))
        except Exception as error:
            # Only its class: the words of Python's own errors show values.
            logger.debug("what the server sent could not be understood (%s)", type(error).__name__)
            self.held = True
            wrong = self._parser.broken(error)
            if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)):  # RESP, but no item
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
            self._read()  # these bytes arrived in time, and only waited for a turn of the loop
        self.held = True  # items that are still here are too late: their taker has been told of the end
        self.connection.connection_lost(exc)
        assert self.connection.error is not None
        self._on_end(self.connection.error)
