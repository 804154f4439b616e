"""Clients for the round trips: RESP2 and RESP3, replies as str and as bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Literal, cast

import pytest

from aioresp import Client
from aioresp.testing import Server
from aioresp.testing import server as start_server
from aioresp.testing.executables import find_executable
from tests.commands.exact import Since, Text, as_bytes
from tests.servers import MATRIX
from tests.servers.chosen import OWN, Remote, chosen, is_remote, program_of

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
async def r(server: Server, protocol: int, decode: bool) -> AsyncIterator[Client[Any]]:
    async with make(server, protocol, decode) as client:
        yield client


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "where" in metafunc.fixturenames and (names := chosen()):
        metafunc.parametrize("where", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def where(request: pytest.FixtureRequest) -> str | None:
    """The server that the test is for: a name, a path or a URL; None for the default one."""
    name: str | None = getattr(request, "param", None)
    return name


@pytest.fixture(scope="session")
def executable(where: str | None) -> str | None:
    """What `aioresp.testing.server(executable=...)` needs to start another one of the kind that the test is for."""
    if where is not None and is_remote(where):
        pytest.skip(f"{OWN}: {where} is somebody else's")
    return None if where is None else program_of(where)


@pytest.fixture(scope="session")
def server(where: str | None) -> Iterator[Server]:
    """One server for all round trips, or in turn each of those that were chosen; keys carry a prefix."""
    if where is not None and is_remote(where):
        yield cast(Server, Remote(where))
        return
    with start_server(executable=None if where is None else program_of(where)) as running:
        yield running


@pytest.fixture(scope="module")
def own_server(executable: str | None) -> Iterator[Server]:
    """A server of the module's own, for what concerns all of it: its databases, its configuration, its clients."""
    with start_server(executable=executable) as running:
        yield running


@pytest.fixture
async def own(own_server: Server, protocol: int, decode: bool) -> AsyncIterator[Client[Any]]:
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
        wanted: tuple[int, ...] | None = version or None
        if server.flavour == "valkey":
            wanted = valkey or ((7, 2) if version < FORK else None)  # without `version`, `valkey` is given
        if wanted is None or server.version < wanted:
            versions = {"Redis": version, "Valkey": valkey}
            needed = [f"{flavour} {dotted(first)}" for flavour, first in versions.items() if first]
            pytest.skip(f"needs {' or '.join(needed)}; this is {server.flavour} {dotted(server.version)}")

    return check


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which servers of the matrix the commands were not tested on."""
    names = chosen()
    if names:
        on, left_out = names, [wanted.name for wanted in MATRIX if wanted.name not in names]
    else:
        found = find_executable()
        on = [f"{found.flavour} {dotted(found.version)}"]
        left_out = [wanted.name for wanted in MATRIX if not wanted.fits(found.flavour, found.version)]
    if left_out:
        terminalreporter.section("servers")
        terminalreporter.line(f"The commands were tested on {', '.join(on)}.")
        terminalreporter.line(f"Left out: {', '.join(left_out)}. `make matrix` runs them all.")
