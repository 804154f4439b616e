"""How much the transports of asyncio and uvloop read at a time, made alike.

Owns the block that is read into. Never knows what the bytes mean.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

#: Bytes that a transport may hold back before it asks for a pause.
WRITE_BUFFER: Final = 1024 * 1024

#: Bytes read from the socket at a time. For a block as large as asyncio's own 256 KiB the C library asks the kernel for
#: memory, and gives it back, at each read: up to a quarter of the time of a lone command.
READ_SIZE: Final = 96 * 1024


def prepare(transport: asyncio.Transport) -> None:
    """Set the sizes of a transport that is new."""
    transport.set_write_buffer_limits(high=WRITE_BUFFER)
    if hasattr(transport, "max_size"):
        cast(Any, transport).max_size = READ_SIZE  # of asyncio's own transports; not in its interface


class Intake(asyncio.BufferedProtocol):
    """Stands between a transport and its protocol while reads are large: they go into one block, once a turn.

    uvloop gives up to 250 KiB at once and goes on in the same turn. In blocks a megabyte arrives a third sooner; and
    callers whose reply is here send their next command while the server is still busy with the others.
    """

    def __init__(self, protocol: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport
        self._block = memoryview(bytearray(READ_SIZE))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the block."""
        return self._block

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what has arrived, and step aside if that was all."""
        transport = self._transport
        self._protocol.data_received(bytes(self._block[:nbytes]))
        if nbytes < READ_SIZE:
            if transport.get_protocol() is self:
                transport.set_protocol(self._protocol)
        elif transport.is_reading():  # else the protocol has paused it, and will have it read again
            transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Hand on that the transport's buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that it has drained."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on the end."""
        self._protocol.connection_lost(exc)
