"""How the suite runs: every coroutine test on anyio's runner, asyncio's debug mode on, warnings are errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.servers.chosen import demand

#: "asyncio" (with its debug mode) or "uvloop"; `make test` runs the suite with the first and a part with the second.
LOOP = os.environ.get("AIORESP_TEST_LOOP", "asyncio")


def pytest_configure() -> None:
    demand()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    if LOOP == "uvloop":
        return "asyncio", {"use_uvloop": True}
    return "asyncio", {"debug": True}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for the whole run; keys carry a prefix of their test's own."""
    with start_server() as running:
        yield running


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix for keys that no other test uses."""
    return f"{request.node.nodeid.rpartition('::')[2]}:{os.urandom(4).hex()}:"


@pytest.fixture(params=[3, 2], ids=["resp3", "resp2"])
def protocol(request: pytest.FixtureRequest) -> int:
    return int(request.param)
