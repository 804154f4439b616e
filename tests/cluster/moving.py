"""What several tests of the cluster need: slots half way between two nodes, and relays before the nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aioresp.cluster import Cluster
from aioresp.testing import ClusterNode, ClusterServers, Proxy
from aioresp.testing.migration import Migration

HOST = "127.0.0.1"


def other_than(cluster: ClusterServers, place: str | int) -> ClusterNode:
    """Return a primary that does not own the slot."""
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


@asynccontextmanager
async def half_moved(cluster: ClusterServers, r: Cluster[str], keys: list[str]) -> AsyncIterator[Migration]:
    """Leave the slot of these keys half way between two nodes, and bring it home afterwards."""
    await r.mset({key: key for key in keys})
    home = await asyncio.to_thread(cluster.primary_of, keys[0])
    migration = await asyncio.to_thread(cluster.begin_migration, keys[0], other_than(cluster, keys[0]))
    await asyncio.to_thread(migration.move, len(keys) // 2)
    try:
        yield migration
    finally:
        await asyncio.to_thread(migration.end)
        await r.delete(*keys)
        await asyncio.to_thread(cluster.migrate, keys[0], home)


@asynccontextmanager
async def moved(cluster: ClusterServers, place: str) -> AsyncIterator[ClusterNode]:
    """Give a slot to another node, and bring it home afterwards."""
    home, target = cluster.primary_of(place), other_than(cluster, place)
    await asyncio.to_thread(cluster.migrate, place, target)
    try:
        yield target
    finally:
        await asyncio.to_thread(cluster.migrate, place, home)


def commands(data: bytes) -> Iterator[list[bytes]]:
    """Parse commands."""
    at = 0
    while at < len(data):
        words: list[bytes] = []
        end = data.index(b"\r\n", at)
        count, at = int(data[at + 1 : end]), end + 2
        for _ in range(count):
            end = data.index(b"\r\n", at)
            size, at = int(data[at + 1 : end]), end + 2
            words.append(data[at : at + size])
            at += size + 2
        yield words


class Noting:
    """A transport that notes each of its writes. A relay cannot tell: two writes may arrive in one read."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))
        self._transport.write(data)

    def writelines(self, chunks: Iterable[bytes]) -> None:
        chunks = list(chunks)
        self.written.append(b"".join(chunks))
        self._transport.writelines(chunks)


class Tap:
    """A relay before one node."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        #: Function that may answer what was written in place of the node; None leaves it to the node.
        self.answer: Callable[[bytes], bytes | None] = lambda data: None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Tap:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.close()
            return

        async def up() -> None:
            try:
                while data := await reader.read(1 << 20):
                    own = self.answer(data)
                    (forth if own is None else writer).write(own or data)
            except ConnectionError:
                pass
            finally:
                forth.close()

        async def down() -> None:
            try:
                while data := await back.read(1 << 20):
                    writer.write(data)
            except ConnectionError:
                pass
            finally:
                writer.close()

        await asyncio.gather(up(), down())


def through(cluster: ClusterServers, relays: Mapping[int, Tap | Proxy], **options: Any) -> Cluster[str]:
    """Return a client of the cluster that goes through relays, which are known by the ports of their nodes."""
    places = ",".join(f"{HOST}:{relay.port}" for relay in relays.values())
    ports = {port: relay.port for port, relay in relays.items()}
    return Cluster(
        f"redis+cluster://{cluster.nodes[0].credentials}{places}",
        address_map=lambda address: (HOST, ports.get(address[1], address[1])),
        **options,
    )


@asynccontextmanager
async def taps(cluster: ClusterServers) -> AsyncIterator[dict[int, Tap]]:
    """A tap before each node."""
    async with AsyncExitStack() as stack:
        yield {node.port: await stack.enter_async_context(Tap(node.port)) for node in cluster.nodes}


@asynccontextmanager
async def proxies(cluster: ClusterServers) -> AsyncIterator[dict[int, Proxy]]:
    """A `Proxy` before each node."""
    async with AsyncExitStack() as stack:
        yield {node.port: await stack.enter_async_context(Proxy(HOST, node.port)) for node in cluster.nodes}


@asynccontextmanager
async def tapped(cluster: ClusterServers, **options: Any) -> AsyncIterator[tuple[Cluster[str], dict[int, Tap]]]:
    """A client behind a tap before each node."""
    async with taps(cluster) as relays, through(cluster, relays, **options) as client:
        yield client, relays


@asynccontextmanager
async def proxied(cluster: ClusterServers, **options: Any) -> AsyncIterator[tuple[Cluster[str], dict[int, Proxy]]]:
    """A client behind a `Proxy` before each node."""
    async with proxies(cluster) as relays, through(cluster, relays, **options) as client:
        yield client, relays
