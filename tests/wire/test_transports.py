"""Large replies, which uvloop reads in large blocks: whole, in order, and with an end that everybody is told of."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Proxy, Server
from aioresp.wire.transports import Intake
from tests.conftest import LOOP
from tests.rest import until
from tests.security.tls import Paths, tls_server

pytestmark = pytest.mark.quick

MIB = 1024 * 1024
SIZES = [3 * MIB, 5, MIB, 96 * 1024, 250_000, 0, 2 * MIB + 1]


async def set_values(r: Client[str], prefix: str) -> dict[str, str]:
    values = {f"{prefix}{n}": chr(97 + n) * size for n, size in enumerate(SIZES)}
    await r.mset(values)
    return values


def stands_between(r: Client[str]) -> bool:
    (connection,) = r.node.pools.here()._shared
    return connection._transport is not None and isinstance(connection._transport.get_protocol(), Intake)


async def read(r: Client[str], values: dict[str, str]) -> None:
    """Read all of it several times, with the loop held up so that much waits in the socket."""
    for _ in range(5):
        calls = [asyncio.create_task(r.get(key)) for key in values]
        small = [asyncio.create_task(r.echo(str(n))) for n in range(50)]
        await asyncio.sleep(0.001)
        time.sleep(0.02)
        assert await asyncio.gather(*calls) == list(values.values())
        assert await asyncio.gather(*small) == [str(n) for n in range(50)]


async def test_large_and_small_replies(
    server: Server, prefix: str, protocol: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    took_place = 0

    class Counted(Intake):
        def __init__(self, *arguments: Any) -> None:
            nonlocal took_place
            took_place += 1
            super().__init__(*arguments)

    monkeypatch.setattr("aioresp.wire.connection.Intake", Counted)
    async with Client(server.url, limit=1, protocol=protocol) as r:
        values = await set_values(r, prefix)
        for _ in range(10):
            await read(r, values)
            await r.ping()
            assert not stands_between(r), "small replies come without it"
        assert (took_place > 1) == (LOOP == "uvloop"), "asyncio's transports read less at a time"
        assert r.stats().made == 1
        async with r.subscribe(f"{prefix}c") as s:
            await r.publish(f"{prefix}c", "m")
            assert (await s.get()).data == "m"
        await r.delete(*values)


async def test_over_tls(server: Server, prefix: str, tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    async with (
        tls_server(server, paths.certificate("localhost"), paths.authority) as port,
        Client(f"rediss://localhost:{port}", password=server.password, ssl_ca_certs=paths.authority, limit=1) as r,
    ):
        values = await set_values(r, prefix)
        await read(r, values)
        await r.delete(*values)


@pytest.mark.parametrize("after", [300_000, 1_000_000, 2_900_000])
async def test_the_end_in_the_middle(server: Server, prefix: str, after: int) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, limit=1, retry=None) as r:
        values = await set_values(r, prefix)
        for _ in range(5):
            proxy.cut_after(after)
            calls = [asyncio.create_task(r.get(f"{prefix}0")) for _ in range(3)]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, aioresp.ConnectionLost)
            assert await r.get(f"{prefix}0") == values[f"{prefix}0"]
        await r.delete(*values)


async def test_cancelled_in_the_middle(server: Server, prefix: str) -> None:
    async with Client(server.url, limit=1) as r:
        values = await set_values(r, prefix)
        for turns in range(30):
            call = asyncio.create_task(r.get(f"{prefix}0"))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            assert await r.get(f"{prefix}2") == values[f"{prefix}2"]
        assert r.stats().made == 1
        await r.delete(*values)


async def test_closing_in_the_middle(server: Server, prefix: str) -> None:
    for turns in range(0, 30, 3):
        async with Client(server.url) as r:
            await set_values(r, prefix)
            call = asyncio.create_task(r.get(f"{prefix}0"))
            for _ in range(turns):
                await asyncio.sleep(0)
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(outcome, aioresp.ClientClosed) or outcome == "a" * 3 * MIB


async def test_what_does_not_fit_into_the_socket_stops_callers(server: Server, prefix: str) -> None:
    """The server reads nothing for a while: the connection takes no more, and goes on when it can.

    `writelines` of some releases of Python 3.12 and 3.13 asks for no pause.
    """
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, limit=1, timeout=30) as r:
        await r.ping()
        proxy.stall()
        calls = [asyncio.create_task(r.set(f"{prefix}{n}", "x" * MIB)) for n in range(24)]
        await until(lambda: r.stats().waiting > 10)
        proxy.resume()
        assert await asyncio.gather(*calls) == [True] * 24
        assert r.stats().waiting == 0
        await r.delete(*(f"{prefix}{n}" for n in range(24)))
