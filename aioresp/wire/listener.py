"""Listener on a socket where the server speaks first: it hands items on in order, and has no FIFO of waiters.

Owns reading and writing, from the moment when it takes over the transport of a ready connection. Never knows what an
item means, and never connects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any, Final

from aioresp.errors import ProtocolError, RedisError
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed

logger = logging.getLogger("aioresp")

#: Bytes of a read from which on more may be waiting in the kernel.
LARGE: Final = 32 * 1024


class Listener(asyncio.Protocol):
    """Protocol that hands items to `take`, undecoded, and at the end the reason to `on_end`.

    `take` gets an iterator over the complete items, and returns whether there was one. It may leave items only if it
    called `hold`. An error that it raises means that an item makes no sense, and ends the connection.
    """

    def __init__(
        self, connection: Connection, take: Callable[[Iterator[Any]], bool], on_end: Callable[[RedisError], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.held = False
        """Set by `hold`, by an error and at the end, cleared by `release`. While it is set, nothing is handed on."""
        self.heard = self._loop.time()
        """The loop's time when bytes last arrived, or when reading began again."""
        self.connection = connection
        self._take = take
        self._on_end = on_end
        self._outgoing: list[bytes] = []
        self._enough = False  # set when a large read was handed on, cleared in the next turn of the loop
        self._kept = False  # set when bytes arrive while `_enough` is set, cleared when they are handed on
        self._transport, self._parser = connection.hand_over(self)
        self._parser.undecoded()

    def send(self, packed: Packed) -> None:
        """Send a command with this turn's others."""
        if not self._outgoing:
            self._loop.call_soon(self._flush, context=Context())
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
            # uvloop reads on while bytes are there: a whole burst would arrive before a task that reads it has run.
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
            # Only the class is logged: messages of Python's own errors show values.
            logger.debug("what the server sent could not be understood (%s)", type(error).__name__)
            self.held = True
            wrong = self._parser.broken(error)
            if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)):  # RESP, but no item
                wrong = ProtocolError("the server sent something that was not due; the connection was dropped")
            self.connection.end(wrong)

    def hold(self) -> None:
        """Read nothing more, and hand nothing on, until `release`."""
        if not self.held:
            self.held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read again; items that have arrived are handed on from the next turn of the loop on."""
        if self.held:
            self.held = False
            self.heard = self._loop.time()
            self._loop.call_soon(self._read, context=Context())
            Context().run(self._transport.resume_reading)  # which keeps its context until the next pause

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of the end."""
        if self._kept and not self.held:
            self._read()  # bytes that arrived before the end, and waited for a turn of the loop
        self.held = True  # later items are dropped, because `on_end` has been called by then
        self.connection.connection_lost(exc)
        assert self.connection.error is not None
        self._on_end(self.connection.error)
