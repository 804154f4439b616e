"""A peer that is no Redis server: a real TCP server that answers the handshake and then says what a test wants.

Owns the listener and the tasks of its connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Act = Callable[[asyncio.StreamWriter], Awaitable[None]]

HELLO = b"%1\r\n$2\r\nid\r\n:1\r\n"


async def command(reader: asyncio.StreamReader) -> list[bytes]:
    """Read one command."""
    count = int((await reader.readline())[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


#: What a peer says to one command: it writes, and the peer drains.
Tell = Callable[[list[bytes], asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(tell: Tell) -> AsyncIterator[str]:
    """Yield the URL of a peer that says to each command what `tell` writes."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                await tell(await command(reader), writer)
                await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(list(tasks), timeout=5)
        await listener.wait_closed()


@asynccontextmanager
async def hostile(act: Act, *, hello: bytes = HELLO) -> AsyncIterator[str]:
    """Yield the URL of a peer that goes through the handshake, and answers the first other command by `act`."""

    async def tell(words: list[bytes], writer: asyncio.StreamWriter) -> None:
        if words[0] == b"HELLO":
            writer.write(hello)
        elif words[0] == b"CLIENT":
            writer.write(b":1\r\n" if words[1] == b"ID" else b"+OK\r\n")
        elif words == [b"INFO", b"server"]:
            writer.write(b"-ERR unknown command\r\n")
        else:
            await act(writer)

    async with peer(tell) as url:
        yield url


@asynccontextmanager
async def answers(
    tell: Callable[[list[bytes]], bytes], hello: bytes = HELLO, *, pong: bytes = b"+PONG\r\n"
) -> AsyncIterator[str]:
    """Yield the URL of a peer that greets, answers ECHO and PING, and says to all else what `tell` gives.

    It refuses to tell who it is: that is asked only where another peer of its port has told it before.
    """

    async def reply(words: list[bytes], writer: asyncio.StreamWriter) -> None:
        if words[0] == b"HELLO" and len(words) == 2:
            writer.write(hello)
        elif words[0] == b"ECHO":
            writer.write(b"$%d\r\n%b\r\n" % (len(words[1]), words[1]))
        elif words[:2] == [b"CLIENT", b"SETINFO"]:
            writer.write(b"+OK\r\n")
        elif words == [b"INFO", b"server"]:
            writer.write(b"-ERR unknown command 'INFO'\r\n")
        elif words[0] == b"PING" and len(words) == 1:
            writer.write(pong)
        else:
            writer.write(tell(words))

    async with peer(reply) as url:
        yield url


def says(*pieces: bytes, pause: float = 0.0) -> Act:
    """Return what sends some bytes, piece by piece."""

    async def act(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)

    return act


def repeats(piece: bytes, pause: float = 0.0, first: bytes = b"") -> Act:
    """Return what sends the same bytes without an end."""

    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return act
