"""Transports of asyncio and uvloop, made alike in the size of a read and in the end of the socket.

Owns the block for large reads, and the end of a socket. Never knows what the bytes mean.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, cast

from aioresp.wire.limits import Traffic

if TYPE_CHECKING:
    from aioresp.wire.cork import Cork
    from aioresp.wire.outflow import Outflow

#: Most unsent bytes in a transport before it asks for a pause.
WRITE_BUFFER: Final = 1024 * 1024

#: Most bytes of one read. For asyncio's own 256 KiB the C library requests memory from the kernel, and returns it, at
#: each read. That takes up to a quarter of the time of a lone command. It does so from 128 KiB on.
READ_SIZE: Final = 120 * 1024


#: Seconds that a closed connection may take to send what it still has and say good-bye.
CLOSE_GRACE: Final = 1.0

_generation = 0  # number of forks between the first process and this one


class Wire:
    """Socket under a transport, with the sizes of its buffers, and an end that the server notices.

    A forked child has descriptors of its parent's sockets. So closing a socket does not end the connection while the
    child lives: the socket must be shut down. A child never shuts down a socket of its parent.
    """

    __slots__ = (
        *("_generation", "_inode", "_made", "_timer", "_tls"),
        *("backlog", "cork", "outflow", "run", "soon", "transport"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: asyncio.Transport | None = None
        """The transport; None until it is attached."""
        self.backlog = 0
        """Bytes of large arguments that wait for the write of this turn."""
        self.outflow: Outflow | None = None
        """The progress of large writes; None before the first."""
        self.run = Context().run
        """Runs a write in a context of its own: a full socket keeps the context of a write until it has room again."""
        self.soon: Callable[[Callable[[], None]], object] = loop.call_soon
        """Calls the end of a turn's writes, when that turn has ended."""
        self.cork: Cork | None = None
        """The cork that calls it instead, and hears of each read; None without one."""
        self._inode = 0
        self._made = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """Note the transport, which is new, and set its sizes."""
        self.transport = transport
        self._made = time.monotonic()
        self._generation = _generation
        self._tls = transport.get_extra_info("ssl_object") is not None
        sock = transport.get_extra_info("socket")
        if _FORKS and sock is not None:
            self._inode = os.fstat(sock.fileno()).st_ino
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        if hasattr(transport, "max_size"):
            cast(Any, transport).max_size = READ_SIZE  # of asyncio's own transports, not in their interface

    def put_under(self, cork: Cork) -> None:
        """Let the cork call the ends of the turns."""
        self.cork, self.soon = cork, cork.add

    @property
    def peer(self) -> object:
        """The address of the other end of the socket; None if it is not known."""
        return None if self.transport is None else self.transport.get_extra_info("peername")

    def watch(self, loop: asyncio.AbstractEventLoop, traffic: Traffic, size: int, answered: int, number: int) -> None:
        """Watch the progress of a large write, which was counted and given to the transport; see `Outflow.watch`."""
        if self.transport is not None:
            if self.outflow is None:
                from aioresp.wire.outflow import Outflow  # noqa: PLC0415 (many programs write nothing large)

                self.outflow = Outflow(loop, self.transport, traffic)
            self.outflow.watch(size, answered, number)

    @property
    def age(self) -> float:
        """The seconds since the transport was made."""
        return time.monotonic() - self._made

    def arrives(self, answered: int) -> float:
        """Return the loop's time until which bytes of a large write may be on their way; see `Outflow.arrives`."""
        return -math.inf if self.outflow is None else self.outflow.arrives(answered)

    def end(self, loop: asyncio.AbstractEventLoop, abort: bool) -> None:
        """Close when all bytes are sent, within a second; with `abort`, at once. `connection_lost` follows."""
        if abort:
            self._abort()
        elif self.transport is not None:
            Context().run(self.transport.close)
            # A peer that reads nothing would keep the transport, and a TLS farewell, waiting.
            self._timer = loop.call_later(CLOSE_GRACE, self._abort, context=Context())

    def _abort(self) -> None:
        self.cut()
        if self.transport is not None:
            Context().run(self.transport.abort)

    def lost(self) -> None:
        """End the socket, as the transport has ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self.outflow is not None:
            self.outflow.end()
        if self.transport is not None and not self._tls:  # under TLS it is closed already, and the server got the alert
            self.cut()

    def cut(self) -> None:
        """End the connection for every process that has a descriptor of it."""
        if self.transport is None or not self._inode or self._generation != _generation:
            return
        try:
            # uvloop's stand-in for a socket has no shutdown, and its descriptor may belong to another socket by now.
            number = self.transport.get_extra_info("socket").fileno()
            if os.fstat(number).st_ino == self._inode:
                twin = socket.socket(fileno=number)
                try:
                    twin.shutdown(socket.SHUT_RDWR)
                finally:
                    twin.detach()
        except (OSError, ValueError):
            pass  # the socket has ended already


def _after_fork() -> None:
    global _generation
    _generation += 1


_FORKS: Final = hasattr(os, "register_at_fork")
if _FORKS:
    os.register_at_fork(after_in_child=_after_fork)


class Intake(asyncio.BufferedProtocol):
    """Protocol between a transport and its own protocol while reads are large: one block is read in each turn.

    uvloop reads up to 250 KiB at once, again and again in the same turn. In blocks a megabyte arrives a third sooner.
    And callers that have their reply send the next command while the server is busy with others.
    """

    def __init__(self, protocol: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport
        self._block = memoryview(bytearray(READ_SIZE))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the block."""
        return self._block

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on the bytes that have arrived; give the transport back to its protocol after a small read."""
        transport = self._transport
        self._protocol.data_received(bytes(self._block[:nbytes]))
        if nbytes < READ_SIZE:
            if transport.get_protocol() is self:
                transport.set_protocol(self._protocol)
        elif transport.is_reading():  # else the protocol has paused it, and will resume it
            transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Hand on that the transport's buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the transport's buffer has drained."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on the end."""
        self._protocol.connection_lost(exc)
