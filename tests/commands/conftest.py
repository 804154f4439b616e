"""Clients for the round trips: RESP2 and RESP3, replies as str and as bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Literal, cast

import pytest

from aioresp import Client
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.commands.exact import Since, Text, as_bytes

#: Where Valkey and Redis parted: what Redis brought from here on, Valkey has under its own versions, if at all.
FORK: Final = (7, 2, 5)


@pytest.fixture(params=[True, False], ids=["str", "bytes"])
def decode(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def text(decode: bool) -> Text:
    """Turn what a `Client[str]` returns into what the client at hand returns."""
    return (lambda value: value) if decode else as_bytes


@pytest.fixture
async def r(anyio_backend: object, server: Server, protocol: int, decode: bool) -> AsyncIterator[Client[Any]]:
    async with make(server, protocol, decode) as client:
        yield client


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server of the module's own, for what concerns all of it: its databases, its configuration, its clients."""
    with start_server() as running:
        yield running


@pytest.fixture
async def own(anyio_backend: object, own_server: Server, protocol: int, decode: bool) -> AsyncIterator[Client[Any]]:
    async with make(own_server, protocol, decode) as client:
        await client.flushall()
        yield client


def make(server: Server, protocol: int, decode: bool) -> Client[Any]:
    number = cast(Literal[2, 3], protocol)
    if decode:
        return Client(server.url, protocol=number)
    return Client(server.url, protocol=number, decode_responses=False)


@pytest.fixture
def since(server: Server) -> Since:
    """Skip the test on a server that is too old for it."""

    def check(*version: int, valkey: tuple[int, ...] | None = None) -> None:
        wanted: tuple[int, ...] | None = version
        if server.flavour == "valkey":
            wanted = valkey or ((7, 2) if version < FORK else None)
        if wanted is None or server.version < wanted:
            needed = [f"Redis {dotted(version)}", *([f"Valkey {dotted(valkey)}"] if valkey else [])]
            pytest.skip(f"needs {' or '.join(needed)}; this is {server.flavour} {dotted(server.version)}")

    return check


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
