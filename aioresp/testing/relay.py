"""Relay of one connection through the proxy: two transports, and a pipe with faults in each direction.

Owns the bytes on their way, their order, and back-pressure: a pipe that cannot pass bytes on stops reading them. The
only task is the one that connects. Never decides which faults act: a `Faults` for each direction, shared by all
connections and changed by the proxy, does.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from aioresp.testing.faults import Change, Cut, Faults

HELD = 1 << 20  # bytes held for one direction of one connection from which its sender is paused
LOOK = 0.05  # seconds between two looks whether the client of a half-open connection has closed it
SOON = 0.001  # seconds that count as now, because uvloop's clock counts in milliseconds


class Stream(enum.Enum):
    """State of one direction's stream of bytes: OPEN, then ENDED, then DELIVERED."""

    OPEN = enum.auto()  # the source may send more
    ENDED = enum.auto()  # the source has sent its last byte
    DELIVERED = enum.auto()  # the target has been told of the end, too


class Pipe:
    """One direction of one connection."""

    def __init__(self, link: Link, faults: Faults) -> None:
        self.link = link
        self.loop = link.loop
        self.faults = faults
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        self.blocked = False  # set while the target's write buffer is full, by its pause_writing()
        self.dead = False  # set for good by stop()
        self.stream = Stream.OPEN
        self.drop = 0  # bytes of the source to discard, because a Change replaced them
        self.held = 0  # bytes in the queue
        self._queue: deque[tuple[float, memoryview]] = deque()  # time of arrival and bytes; no bytes: the end
        self._due: float | None = None  # loop time at which the queue's head may go; None: not drawn yet
        self._last = 0.0  # due time of the piece before the head, because a random delay must not reorder
        self._timer: asyncio.Handle | None = None
        self._reading = True  # cleared when the source is paused, set when it is resumed
        self._turn = False  # set by the timer for one piece, cleared when that piece is written

    def feed(self, data: bytes) -> None:
        """Take bytes from the source."""
        if self.target is not None and not (self._queue or self.drop) and self.faults.none and self._may_pass():
            self.faults.passed += len(data)
            self.target.write(data)
        elif data and not self.dead:
            self._queue.append((self.loop.time(), memoryview(data)))
            self.held += len(data)
            self.settle()

    def feed_end(self) -> None:
        """Take the end of the stream from the source."""
        if self.stream is Stream.OPEN:
            self.stream = Stream.ENDED
            self._queue.append((self.loop.time(), memoryview(b"")))
            self.settle()

    def settle(self, redraw: bool = False) -> None:
        """Pass on what may pass now, set a timer for the rest, and pause or resume the source."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if redraw:
            self._due = None
        while self._queue and self.target is not None and self._may_pass() and self._step(self.target):
            pass
        reading = self.held < HELD and self._may_pass()
        if reading == self._reading or self.stream is not Stream.OPEN:
            return
        if self.source is None or self.source.is_closing():
            return
        self._reading = reading
        if reading:
            self.source.resume_reading()
        else:
            self.source.pause_reading()

    def stop(self) -> None:
        """Stop passing bytes on, and stop reading."""
        self.dead = True
        self._queue.clear()
        self.held = 0
        self.settle()

    def _may_pass(self) -> bool:
        closing = self.target is not None and self.target.is_closing()
        return not (self.dead or self.blocked or self.faults.stalled or closing)

    def _step(self, target: asyncio.Transport) -> bool:
        """Pass on the head of the queue or a part of it; False if the next step has to wait for the timer."""
        faults = self.faults
        arrival, data = self._queue[0]
        if self._due is None:
            self._due = max(self._last, arrival + faults.draw_delay())
        if self._due > self.loop.time() + SOON:
            self._timer = self.loop.call_at(self._due, self.settle)
            return False
        if faults.split is not None and not self._turn:
            # Each piece goes in its own loop turn, after the sockets were read, so a receiver on this loop reads it
            # alone. `call_soon` would run before the sockets are read.
            self._timer = self.loop.call_later(0, self._take_turn)
            return False
        self._last, self._due = self._due, None
        if not data:
            self._queue.popleft()
            self.stream = Stream.DELIVERED
            with contextlib.suppress(OSError):  # the target is gone; its connection_lost follows
                target.write_eof()
            self.link.settle()
            return True
        self._turn = False
        size = faults.draw_size(len(data))
        if self.drop:
            size = min(size, self.drop)
            self.drop -= size
        else:
            if (action := faults.due()) is not None:
                self._due = self._last
                self._act(action, target)
                return True
            if faults.triggers:
                size = min(size, faults.triggers[0].at - faults.passed)
            target.write(data[:size])
        faults.passed += size
        self.held -= size
        if size == len(data):
            self._queue.popleft()
        else:
            self._queue[0] = (arrival, data[size:])
        while not self.dead and (action := faults.due()) is not None:
            self._act(action, target)
        return True

    def _take_turn(self) -> None:
        self._turn = True
        self.settle()

    def _act(self, action: Cut | Change, target: asyncio.Transport) -> None:
        if isinstance(action, Change):
            self.drop += action.drop
            target.write(action.data)
        elif not self.link.finished:
            self.faults.cuts += 1
            self.link.finish(rst=action.rst, flush=True)


class Side(asyncio.Protocol):
    """One of the two transports: its input goes into `outgoing`, and `incoming` writes to it."""

    def __init__(self, link: Link, outgoing: Pipe, incoming: Pipe) -> None:
        self.link = link
        self.outgoing = outgoing
        self.incoming = incoming
        self.transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the two pipes."""
        self.transport = self.outgoing.source = self.incoming.target = cast(asyncio.Transport, transport)
        self.link.made(self)
        self.incoming.settle()
        self.outgoing.settle()

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on."""
        self.outgoing.feed(data)

    def eof_received(self) -> bool:
        """Pass the end on."""
        self.outgoing.feed_end()
        return True  # the other direction is still open

    def pause_writing(self) -> None:
        """Pause the pipe that writes here."""
        self.incoming.blocked = True
        self.incoming.settle()

    def resume_writing(self) -> None:
        """Resume the pipe that writes here."""
        self.incoming.blocked = False
        self.incoming.settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the link."""
        self.lost = True
        self.link.side_lost(exc)

    def close(self, *, rst: bool, flush: bool) -> None:
        """Close the socket with a FIN or an RST, at once or after the written bytes have gone out."""
        transport = self.transport
        if transport is None or self.lost:
            return
        connection = transport.get_extra_info("socket")
        if rst:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            discard(connection.fileno())
        if flush:
            transport.close()
        else:
            transport.abort()


class Link:
    """A client's connection and its counterpart to the server."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        up: Faults,
        down: Faults,
        arrived: Callable[[Link], None],
        gone: Callable[[Link], None],
    ) -> None:
        """Call `arrived` once the client is connected, and `gone` once both sides are closed."""
        self.loop = loop
        self.up = Pipe(self, up)
        self.down = Pipe(self, down)
        self.client = Side(self, self.up, self.down)
        self.server = Side(self, self.down, self.up)
        self.finished = False
        self.stranded = False
        self._arrived = arrived
        self._gone = gone
        self._connecting: asyncio.Task[None] | None = None

    def connect(self, host: str, port: int) -> None:
        """Open the connection to the server."""
        self._connecting = self.loop.create_task(self._connect(host, port))
        # Not in a `finally` of the task: a task cancelled before its first step never gets there.
        self._connecting.add_done_callback(self._connected)

    async def _connect(self, host: str, port: int) -> None:
        try:
            await self.loop.create_connection(lambda: self.server, host, port)
        except OSError:
            self.finish(rst=True)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting = None
        if task.cancelled():
            self.server.lost = True  # uvloop may have made a transport; it then closes it without connection_lost()
        self._check_gone()

    def made(self, side: Side) -> None:
        """Let the proxy decide about a new client; close a transport that is made too late."""
        if self.finished or (self.stranded and side is self.server):
            side.close(rst=False, flush=False)
        elif side is self.client and not self.stranded:
            self._arrived(self)

    def settle(self) -> None:
        """Close when both directions have ended."""
        if self.up.stream is Stream.DELIVERED and self.down.stream is Stream.DELIVERED:
            self.finish(flush=True)

    def side_lost(self, exc: Exception | None) -> None:
        """Close the other side as well, with an RST if this one was reset."""
        if not self.stranded or self.client.lost:
            self.finish(rst=exc is not None)
        self._check_gone()

    def strand(self) -> None:
        """Close the server's side, and leave the client connected to a silent peer."""
        if not self.finished:
            self.stranded = True
            self.up.stop()
            self.down.stop()
            self._stop_connecting()
            self.server.close(rst=False, flush=False)
            self._look()

    def _look(self) -> None:
        """Close if the client has closed. Nobody reads from it any more, so that its transport does not tell."""
        transport = self.client.transport
        if self.finished or self.client.lost:
            return
        if transport is not None and is_closed(transport.get_extra_info("socket").fileno()):
            self.finish()
        else:
            self.loop.call_later(LOOK, self._look)

    def finish(self, *, rst: bool = False, flush: bool = False) -> None:
        """Close both sides, and drop the bytes held here."""
        if not self.finished:
            self.finished = True
            self.up.stop()
            self.down.stop()
            self._stop_connecting()
            self.client.close(rst=rst, flush=flush)
            self.server.close(rst=rst, flush=flush)

    def abort(self) -> None:
        """Close both sides at once, also where an earlier close still waits for its last bytes to go out."""
        self.finish()
        for side in (self.client, self.server):
            if side.transport is not None and not side.lost:
                side.transport.abort()

    def _stop_connecting(self) -> None:
        # A made transport is closed by itself. Cancelled now, uvloop would close it without connection_lost().
        if self._connecting is not None and self.server.transport is None:
            self._connecting.cancel()

    def _check_gone(self) -> None:
        ended = self.server.transport is None or self.server.lost
        if self.client.lost and ended and self._connecting is None:
            self._gone(self)


def is_closed(fd: int) -> bool:
    """Return whether the peer has closed a connection, even if bytes are still to be read; False if that is unknown."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(fd, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))


def discard(fd: int) -> None:
    """Read and drop unread bytes: closing a socket with unread bytes sends an RST instead of a FIN."""
    try:
        for _ in range(64):
            if not os.read(fd, 1 << 16):
                break
    except OSError:
        pass
