"""A large write takes longer than the time limit: while its bytes flow, no call is late."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import pytest

from aioresp import Client, CommandTimeout
from aioresp.testing import Proxy, Server

pytestmark = pytest.mark.usefixtures("no_debug")

#: Bytes a second that the network takes, seconds of the time limit, and a value that takes several times as long.
RATE = 2_000_000
LIMIT = 0.4
VALUE = b"x" * 3_000_000


class SlowNetwork:
    """Passes bytes on to the server at `RATE`, and those of the server at once."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replies, commands = await asyncio.open_connection(self._server.host, self._server.port)

        async def down() -> None:
            while data := await replies.read(65536):
                writer.write(data)

        task = asyncio.create_task(down())
        self._tasks.add(task)
        try:
            while data := await reader.read(20_000):
                commands.write(data)
                await commands.drain()
                await asyncio.sleep(len(data) / RATE)
        except OSError:
            pass
        finally:
            task.cancel()
            commands.close()
            writer.close()


@pytest.fixture(params=[65536, None], ids=["small buffer", "large buffer"])
async def url(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    listener = socket.socket()
    if request.param is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, request.param)
    listener.bind(("127.0.0.1", 0))
    network = await asyncio.start_server(SlowNetwork(server).relay, sock=listener)
    async with network:
        yield server.url.replace(str(server.port), str(listener.getsockname()[1]))
    await asyncio.sleep(0.05)


async def plain(r: Client[str], key: str) -> object:
    return await r.set(key, VALUE, ex=60)


async def several(r: Client[str], key: str) -> object:
    return all(await asyncio.gather(*(r.set(key, VALUE[: len(VALUE) // 4], ex=60) for _ in range(4))))


async def lease(r: Client[str], key: str) -> object:
    async with r.connection() as c:
        return await c.set(key, VALUE, ex=60)


async def pipeline(r: Client[str], key: str, transaction: bool = False) -> object:
    async with r.pipeline(transaction=transaction) as p:
        for _ in range(3):
            p.set(key, VALUE[: len(VALUE) // 3], ex=60)
        return await p.execute() == [True] * 3


async def shared_pipeline(r: Client[str], key: str) -> object:
    async with r.pipeline() as p:
        for _ in range(1000):
            p.set(key, VALUE[:1000], ex=60)
        return await p.execute() == [True] * 1000


async def transaction(r: Client[str], key: str) -> object:
    return await pipeline(r, key, transaction=True)


async def script(r: Client[str], key: str) -> object:
    return await r.register_script("return #ARGV[1]")(args=[VALUE]) == len(VALUE)


async def with_small_ones(r: Client[str], key: str) -> object:
    """Those behind it on the same connection have not been sent."""
    upload = asyncio.create_task(plain(r, key))
    await asyncio.sleep(0.02)
    answers = await asyncio.gather(upload, *(r.ping() for _ in range(3)))
    return all(answers)


@pytest.mark.turns(4)
@pytest.mark.parametrize(
    "upload", [plain, several, lease, pipeline, shared_pipeline, transaction, script, with_small_ones]
)
async def test_an_upload_that_flows_is_not_late(
    url: str, prefix: str, resp: Literal[2, 3], upload: Callable[[Client[str], str], Awaitable[object]]
) -> None:
    async with Client(url, protocol=resp, timeout=LIMIT, connect_timeout=5, retry=None) as r:
        await r.ping()
        start = time.monotonic()
        assert await upload(r, f"{prefix}k") is True
        assert time.monotonic() - start > LIMIT
        connection = r.node.pools.here()._shared[0]
        assert connection.viable
        await r.ping()
        assert r.stats().made == (2 if upload is with_small_ones and r.stats().made == 2 else 1)


async def test_an_upload_that_stops_is_late(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=LIMIT, retry=None) as r:
        await r.ping()
        pieces = itertools.count()
        proxy.split = 40_000
        proxy.delay = lambda: next(pieces) * 0.02
        upload: asyncio.Task[Any] = asyncio.create_task(r.set(f"{prefix}k", VALUE, ex=60))
        while proxy.bytes_up < 500_000:
            await asyncio.sleep(0.01)
        proxy.stall()
        start = time.monotonic()
        with pytest.raises(CommandTimeout):
            await upload
        assert time.monotonic() - start < 10 * LIMIT + 2
        proxy.heal()


async def test_a_small_command_gets_no_more_time(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=LIMIT, retry=None) as r:
        await r.ping()
        proxy.stall()
        start = time.monotonic()
        with pytest.raises(CommandTimeout):
            await r.echo("x" * 10_000)
        assert time.monotonic() - start < 2 * LIMIT + 1
        proxy.heal()


async def test_what_the_server_has_answered_is_no_longer_on_its_way(proxy: Proxy, prefix: str) -> None:
    """After fast uploads, a connection that dies is found out as soon as any other, and no call is late."""
    async with Client(proxy.url, timeout=0.5, retry=None, decode_responses=False) as r:
        for _ in range(10):
            await r.set(f"{prefix}k", VALUE[:1_000_000], ex=60)
        outflow = r.node.pools.here().current._wire.outflow
        assert outflow is not None
        assert len(outflow._writes) == 1  # the others were forgotten, without a look
        proxy.half_open()
        began = time.monotonic()
        with pytest.raises(CommandTimeout):
            await r.get(f"{prefix}n")
        assert time.monotonic() - began < 4  # 5 s, when 10 MB were thought to be on their way
