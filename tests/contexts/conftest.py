"""What tests of contexts stand on: a client of each protocol, another one, and a network that breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, cast

import pytest

from aioresp import Client
from aioresp.testing import Proxy, Server


@pytest.fixture(params=[3, 2], ids=["resp3", "resp2"])
def resp(request: pytest.FixtureRequest) -> Literal[2, 3]:
    return cast(Literal[2, 3], request.param)


@pytest.fixture
async def r(server: Server, resp: Literal[2, 3]) -> AsyncIterator[Client[str]]:
    async with Client(server.url, protocol=resp) as client:
        yield client


@pytest.fixture
async def other(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.host, server.port) as running:
        yield running
