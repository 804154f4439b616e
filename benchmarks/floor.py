"""The floor: what asyncio and hiredis can do by themselves, as fast as we know to write it.

A bare protocol with a FIFO of futures and one write a loop turn. No pool, no types, no deadlines, no care for
cancellation, back-pressure or errors: it is not a client, it is the ceiling of one. It is never made slower
to flatter a ratio, and never given a trick that no client could use.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis


class Floor(asyncio.Protocol):
    def __init__(self, decode: bool) -> None:
        self.loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"encoding": "utf-8"} if decode else {}
        self.reader = hiredis.Reader(notEnoughData=Ellipsis, **options)
        self.waiters: deque[asyncio.Future[Any]] = deque()
        self.out: list[bytes] = []
        self.big: list[tuple[bytes, ...]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        if hasattr(transport, "max_size"):
            transport.max_size = 96 * 1024

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        reader.feed(data)
        gets = reader.gets
        pop = self.waiters.popleft
        while (reply := gets()) is not Ellipsis:
            pop().set_result(reply)

    def send(self, *arguments: Any) -> asyncio.Future[Any]:
        out = self.out
        if not out:
            self.loop.call_soon(self.flush)
        out.append(hiredis.pack_command(arguments))
        waiter = self.loop.create_future()
        self.waiters.append(waiter)
        return waiter

    def flush(self) -> None:
        self.transport.write(b"".join(self.out))
        self.out.clear()

    def send_big(self, *arguments: Any) -> asyncio.Future[Any]:
        """Send a command whose last argument is large bytes, unpacked: pack_command takes 1 ms a MiB."""
        if not self.big:
            self.loop.call_soon(self.flush_big)
        *head, value = arguments
        parts = [b"*%d\r\n" % len(arguments)]
        for argument in head:
            encoded = argument.encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(encoded), encoded))
        parts.append(b"$%d\r\n" % len(value))
        self.big.append((b"".join(parts), value, b"\r\n"))
        waiter = self.loop.create_future()
        self.waiters.append(waiter)
        return waiter

    def flush_big(self) -> None:
        # One writelines a command: before Python 3.12 it joins its parts, and joining all is slower.
        for parts in self.big:
            self.transport.writelines(parts)
        self.big.clear()

    async def hgetall(self, key: str) -> dict[Any, Any]:
        """Return HGETALL as the dict that every client returns."""
        reply = await self.send("HGETALL", key)
        if isinstance(reply, dict):
            return reply
        pairs = iter(reply)
        return dict(zip(pairs, pairs, strict=True))

    def mget(self, keys: Sequence[str]) -> asyncio.Future[Any]:
        return self.send("MGET", *keys)

    async def pipeline(self, key: str, n: int) -> list[Any]:
        """Send GET n times, with a future each, as who has no pipeline does it."""
        return await asyncio.gather(*[self.send("GET", key) for _ in range(n)])


class FloorSubscriber(asyncio.Protocol):
    """The floor of a subscription: what arrives goes into a deque, and one reader is woken."""

    def __init__(self, decode: bool) -> None:
        self.loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"encoding": "utf-8"} if decode else {}
        self.reader = hiredis.Reader(notEnoughData=Ellipsis, **options)
        self.items: deque[Any] = deque()
        self.waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if hasattr(transport, "max_size"):
            transport.max_size = 96 * 1024

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        gets, append = self.reader.gets, self.items.append
        while (item := gets()) is not Ellipsis:
            append(item)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def receive(self) -> Any:
        while not self.items:
            self.waiter = self.loop.create_future()
            await self.waiter
        return self.items.popleft()

    async def take(self, n: int) -> Any:
        """Return the data of the last of `n` messages."""
        for _ in range(n):
            message = await self.receive()
        return message[2]


@asynccontextmanager
async def subscribe(url: str, decode: bool, *channels: str) -> AsyncIterator[FloorSubscriber]:
    """Subscribe to channels on a connection of one's own (no password, no database: a benchmark's server has none)."""
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    where = address.hostname, address.port or 6379
    transport, subscriber = await loop.create_connection(lambda: FloorSubscriber(decode), *where)
    for channel in channels:
        transport.write(hiredis.pack_command(("SUBSCRIBE", channel)))
    for _ in channels:
        await subscriber.receive()
    try:
        yield subscriber
    finally:
        transport.close()


async def connect(url: str, decode: bool = True, protocol: int = 2, make: Callable[[bool], Floor] = Floor) -> Floor:
    """Open a floor connection to redis://[user:password@]host[:port][/db]; `make` makes its protocol."""
    address = urlsplit(url)
    if address.scheme not in ("redis", "valkey") or not address.hostname:
        raise SystemExit(f"the benchmark needs a redis://host:port URL, not {address.scheme}://")
    loop = asyncio.get_running_loop()
    _, floor = await loop.create_connection(lambda: make(decode), address.hostname, address.port or 6379)
    replies = []
    if address.password:
        user = unquote(address.username or "default")
        replies.append(await floor.send("AUTH", user, unquote(address.password)))
    if protocol == 3:
        replies.append(await floor.send("HELLO", "3"))
    if database := address.path.strip("/"):
        replies.append(await floor.send("SELECT", database))
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise SystemExit(f"the server refused the floor: {reply}")
    return floor
