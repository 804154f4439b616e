"""Transports of asyncio and uvloop, made alike: how much they read at a time, and how their sockets end.

Owns the block that is read into, and the end of a socket. Never knows what the bytes mean.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, Final, cast

#: Bytes that a transport may hold back before it asks for a pause.
WRITE_BUFFER: Final = 1024 * 1024

#: Bytes read from the socket at a time. For a block as large as asyncio's own 256 KiB the C library asks the kernel for
#: memory, and gives it back, at each read: up to a quarter of the time of a lone command.
READ_SIZE: Final = 96 * 1024


#: Seconds that a closed connection may take to send what it still has and say good-bye.
CLOSE_GRACE: Final = 1.0

_generation = 0  # how many forks lie between the first process and this one


class Wire:
    """The socket under a transport, which ends for the server, too, and the sizes of the transport.

    A forked child has descriptors of its parent's sockets, so to close one does not end the connection while the child
    lives: it must be shut down. The child never does that to its parent's.
    """

    __slots__ = ("_generation", "_inode", "_timer", "_tls", "backlog", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        """The transport; None until it is attached."""
        self.backlog = 0
        """Bytes of large arguments that wait for the write of this turn."""
        self._inode = 0
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """Note the transport, which is new, and set its sizes."""
        self.transport = transport
        self._generation = _generation
        self._tls = transport.get_extra_info("ssl_object") is not None
        sock = transport.get_extra_info("socket")
        if _FORKS and sock is not None:
            self._inode = os.fstat(sock.fileno()).st_ino
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        if hasattr(transport, "max_size"):
            cast(Any, transport).max_size = READ_SIZE  # of asyncio's own transports; not in its interface

    def end(self, loop: asyncio.AbstractEventLoop, abort: bool) -> None:
        """Close when all is sent, within a second, or at once; `connection_lost` follows."""
        if abort:
            self._abort()
        elif self.transport is not None:
            self.transport.close()
            # A peer that reads nothing would keep the transport, and a TLS farewell, waiting.
            self._timer = loop.call_later(CLOSE_GRACE, self._abort)

    def _abort(self) -> None:
        self.cut()
        if self.transport is not None:
            self.transport.abort()

    def lost(self) -> None:
        """End the socket, as the transport has ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None and not self._tls:  # under TLS it is closed already, and the server was told
            self.cut()

    def cut(self) -> None:
        """End the connection for every process that has a descriptor of it."""
        if self.transport is None or not self._inode or self._generation != _generation:
            return
        try:
            # uvloop's stand-in for a socket cannot do it, and its number may be that of another one by now.
            number = self.transport.get_extra_info("socket").fileno()
            if os.fstat(number).st_ino == self._inode:
                twin = socket.socket(fileno=number)
                try:
                    twin.shutdown(socket.SHUT_RDWR)
                finally:
                    twin.detach()
        except (OSError, ValueError):
            pass  # it has ended already


def _after_fork() -> None:
    global _generation
    _generation += 1


_FORKS: Final = hasattr(os, "register_at_fork")
if _FORKS:
    os.register_at_fork(after_in_child=_after_fork)


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
