"""Nodes that answer what a test wants: a cluster by their own words, which counts what it is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

HOST = "127.0.0.1"


class Fake:
    """A node. `answer` gets the words of each command that is not about connecting, and returns the raw reply.

    None closes the connection. A number is a time to wait before PONG.
    """

    def __init__(self, answer: Callable[[list[bytes]], str | None]) -> None:
        self.answer = answer
        self.asked: Counter[bytes] = Counter()
        self.connections = 0
        self.health = "online"
        self.port = 0
        self.owners: list[Fake] = []
        """The nodes that share the slots, by its own words."""
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen, on the same port each time."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Listen no more, and close all connections."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.close()

    def push(self, raw: str) -> None:
        """Send what nobody has asked for, on all connections."""
        for writer in self._open:
            writer.write(raw.encode())

    def _shards(self) -> str:
        size = 16384 // len(self.owners)
        said = f"*{len(self.owners)}\r\n"
        for number, owner in enumerate(self.owners):
            last = 16383 if owner is self.owners[-1] else (number + 1) * size - 1
            said += (
                f"%2\r\n+slots\r\n*2\r\n:{number * size}\r\n:{last}\r\n+nodes\r\n*1\r\n%6\r\n+id\r\n+n{owner.port}\r\n"
            )
            said += f"+port\r\n:{owner.port}\r\n+ip\r\n+{HOST}\r\n+endpoint\r\n+{HOST}\r\n+role\r\n+master\r\n"
            said += f"+health\r\n+{owner.health}\r\n"
        return said

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while line := await reader.readline():
                words: list[bytes] = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                if words[:2] == [b"CLUSTER", b"SHARDS"]:
                    self.asked[b"SHARDS"] += 1
                    said: str | None = self._shards()
                elif words[0] == b"HELLO":
                    said = "%2\r\n+id\r\n:1\r\n+proto\r\n:3\r\n"
                elif words[0] in (b"CLUSTER", b"CLIENT"):
                    said = "+OK\r\n"
                else:
                    self.asked[words[0]] += 1
                    said = self.answer(words)
                if said is None:
                    break
                writer.write(said.encode())
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


@asynccontextmanager
async def fakes(*answers: Callable[[list[bytes]], str | None]) -> AsyncIterator[list[Fake]]:
    """Nodes that share the slots."""
    async with AsyncExitStack() as stack:
        nodes = [Fake(answer) for answer in answers]
        for node in nodes:
            node.owners = nodes
            await node.start()
            stack.callback(node.stop)
        yield nodes
    await asyncio.sleep(0.01)
