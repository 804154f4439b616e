"""TCP proxy in front of a server that breaks the network on command.

Owns the listening socket, the connections and the switches. Never touches a byte itself; the pipes of `relay` do.
"""

from __future__ import annotations

import asyncio
import random
import socket
from types import TracebackType
from typing import Literal

from aioresp.misuse import Bound
from aioresp.testing.faults import Change, Cut, Delay, Direction, Faults, Split
from aioresp.testing.relay import Link, Side
from aioresp.testing.sockets import HOST, credentials

#: Turns of the loop in which a connection that has just been accepted arrives.
TURNS = 3


class Proxy(Bound):
    """A TCP proxy whose network can be broken; use it with `async with`, from one event loop.

    What is set applies at once, to the connections that exist and to new ones. Times are seconds, sizes
    bytes. "up" is the direction from the client to the server, "down" the one from the server to the client.

    `delay`: every piece of data waits so long in each direction, in order, while those behind it wait at the
    same time. A number, a range `(least, most)` to draw from, or a callable that returns the number.

    `split`: at most so many bytes in a write, each write in a turn of the loop of its own, so that replies
    arrive in fragments. A number, a range, or a callable; None leaves the data unsplit.

    `seed` makes the draws the same in each run. `receive_buffer` is the kernel's receive buffer for each
    connection from a client: a small one (65536) makes a stalled proxy push back on the client sooner.
    """

    _instead = "pass its `url`"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        delay: Delay = 0.0,
        split: Split = None,
        seed: int = 0,
        listen_port: int = 0,
        receive_buffer: int | None = None,
    ) -> None:
        chance = random.Random(seed)
        self._target = (host, port)
        self._up = Faults(chance, delay, split)
        self._down = Faults(chance, delay, split)
        self._wanted_port = listen_port
        self._receive_buffer = receive_buffer
        self._mode: Literal["accept", "refuse", "half open"] = "accept"
        self._listener: asyncio.Server | None = None
        self._links: set[Link] = set()
        self._all_gone = asyncio.Event()
        self._port = self._accepted = self._cuts = 0
        self.host = HOST

    def __repr__(self) -> str:
        if not hasattr(self, "_port"):  # its constructor failed
            return "Proxy(not made)"
        where = f"{self.host}:{self._port}" if self._port else "not listening"
        return f"Proxy({where} -> {self._target[0]}:{self._target[1]}, {self.open} open)"

    @property
    def port(self) -> int:
        """The port it listens on, at 127.0.0.1."""
        if not self._port:
            raise RuntimeError("the proxy does not listen: use `async with Proxy(host, port) as p:`")
        return self._port

    @property
    def url(self) -> str:
        """The proxy's address as a URL, with the password if a server of this process stands behind it."""
        behind = credentials(self._target[1]) if self._target[0] in (HOST, "localhost") else ""
        return f"redis://{behind}{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """Number of connections accepted since the start, refused ones included."""
        return self._accepted

    @property
    def open(self) -> int:
        """Number of open client connections, half-open ones included."""
        return sum(not link.client.lost for link in self._links)

    @property
    def bytes_up(self) -> int:
        """Number of bytes passed from clients to the server."""
        return self._up.passed

    @property
    def bytes_down(self) -> int:
        """Number of bytes passed from the server to clients."""
        return self._down.passed

    @property
    def cuts(self) -> int:
        """Number of connections closed by `cut` and `cut_after`."""
        return self._cuts + self._up.cuts + self._down.cuts

    @property
    def delay(self) -> Delay:
        """Delay of data in each direction; settable."""
        return self._up.delay

    @delay.setter
    def delay(self, value: Delay) -> None:
        self._up.delay = self._down.delay = value
        self._settle(redraw=True)

    @property
    def split(self) -> Split:
        """Number of bytes in a write; settable."""
        return self._up.split

    @split.setter
    def split(self, value: Split) -> None:
        self._up.split = self._down.split = value
        self._settle()

    def stall(self, direction: Direction | Literal["both"] = "both") -> None:
        """Let no byte pass; connections stay open, and senders feel it once the kernel's buffers are full."""
        self._stall(direction, True)

    def resume(self, direction: Direction | Literal["both"] = "both") -> None:
        """Let bytes pass again after `stall`."""
        self._stall(direction, False)

    def cut(self, *, rst: bool = False) -> None:
        """Close all connections now, with an orderly end of the stream or with `rst` (connection reset).

        Bytes on their way are lost.
        """
        for link in list(self._links):
            if not link.finished:
                self._cuts += 1
                link.finish(rst=rst)

    def cut_after(self, n: int, direction: Direction = "down", *, rst: bool = False) -> None:
        """Let `n` more bytes pass, of all connections together, and then cut the one that carried the last.

        With 0 it happens when the next byte comes. It happens once; several calls are several cuts.
        """
        self._faults(direction).add(_natural(n, "n"), Cut(rst))

    def corrupt(
        self, data: bytes, *, after: int = 0, replace: int | None = None, direction: Direction = "down"
    ) -> None:
        """Let `after` more bytes pass, of all connections together, then send `data` in place of the next.

        `replace` is how many of the stream's bytes it takes the place of, by default as many as `data` has; 0
        inserts, and no data at all removes. It happens once, on the connection that carried the last of the
        `after` bytes (with 0: the next byte); several calls are several changes.
        """
        count = len(data) if replace is None else _natural(replace, "replace")
        self._faults(direction).add(_natural(after, "after"), Change(data, count))

    def inject(self, data: bytes, direction: Direction = "down") -> None:
        """Send bytes on every open connection, as if its other end had sent them just now."""
        for link in list(self._links):
            (link.down if direction == "down" else link.up).feed(data)

    def half_open(self) -> None:
        """Make the server vanish silently: nothing is relayed any more, and clients get no end of the stream.

        The connections to the server are closed; those that exist stay so until the client closes them or the
        proxy ends. New ones are accepted and get no answer until `accept`.
        """
        self._mode = "half open"
        for link in list(self._links):
            link.strand()

    def refuse(self) -> None:
        """Close new connections at once; existing ones stay open."""
        self._mode = "refuse"

    def accept(self) -> None:
        """Relay new connections again, after `refuse` or `half_open`."""
        self._mode = "accept"

    def lead_to(self, host: str, port: int) -> None:
        """Lead new connections to another server, as after a failover; those that exist stay where they are."""
        self._target = (host, port)

    def heal(self) -> None:
        """Undo all faults: delay, split, stall, refusal, and cuts and changes still to come.

        Connections that were cut or are half open stay so.
        """
        self._mode = "accept"
        for faults in (self._up, self._down):
            faults.delay, faults.split, faults.stalled = 0.0, None, False
            faults.triggers.clear()
        self._settle(redraw=True)

    async def __aenter__(self) -> Proxy:
        if self._listener is not None:
            raise RuntimeError(f"{self!r} is listening already")
        # asyncio turns Nagle's algorithm off only where the socket says it is TCP; accepted ones say what this does.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._receive_buffer is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)  # connections inherit it
            listener.bind((self.host, self._wanted_port))
            self._listener = await asyncio.get_running_loop().create_server(self._client, sock=listener, backlog=1024)
        except BaseException:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        listener, self._listener, self._port = self._listener, None, 0
        if listener is None:
            return
        try:
            await _accept_no_more(listener)
        finally:
            listener.close()
        for link in list(self._links):
            link.abort()
        while self._links:
            self._all_gone.clear()
            await self._all_gone.wait()
        await listener.wait_closed()

    def _client(self) -> Side:
        """Return the protocol for a connection that comes in."""
        self._accepted += 1
        link = Link(asyncio.get_running_loop(), self._up, self._down, self._made, self._gone)
        if self._listener is not None:  # else nobody may ever hear of its end
            self._links.add(link)
        return link.client

    def _made(self, link: Link) -> None:
        """Accept, refuse or strand a new connection."""
        if self._mode == "refuse" or self._listener is None:
            link.abort()
        elif self._mode == "half open":
            link.strand()
        else:
            link.connect(*self._target)

    def _gone(self, link: Link) -> None:
        self._links.discard(link)
        if not self._links:
            self._all_gone.set()

    def _faults(self, direction: Direction) -> Faults:
        if direction not in ("up", "down"):
            raise ValueError(f"direction is {direction!r}: give 'up' or 'down'")
        return self._up if direction == "up" else self._down

    def _stall(self, direction: Direction | Literal["both"], stalled: bool) -> None:
        for faults in (self._up, self._down) if direction == "both" else (self._faults(direction),):
            faults.stalled = stalled
        self._settle()

    def _settle(self, redraw: bool = False) -> None:
        for link in list(self._links):
            link.up.settle(redraw)
            link.down.settle(redraw)


async def _accept_no_more(listener: asyncio.Server) -> None:
    """Let connections that are being accepted arrive: asyncio leaves their sockets open if the server closes first."""
    loop = asyncio.get_running_loop()
    for each in listener.sockets:
        loop.remove_reader(each.fileno())  # new ones stay with the kernel, which resets them
    for _ in range(TURNS):
        await asyncio.sleep(0)


def _natural(value: int, name: str) -> int:
    if value < 0:
        raise ValueError(f"{name} is {value}: give 0 or more")
    return value
