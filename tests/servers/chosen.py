"""Which servers a run of the tests is for: AIORESP_TEST_SERVERS, read and checked.

Owns what stands behind a name in that variable: a program to start, or a server that somebody else has started.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import pytest

from aioresp import Client
from aioresp.testing import Server
from tests.servers import FOLDER, MATRIX, Wanted

#: "all": the whole matrix; or names of the matrix, paths of programs and URLs of running servers, with spaces between.
#: Without it, one server: that of AIORESP_SERVER, or the one that is found.
VARIABLE: Final = "AIORESP_TEST_SERVERS"

#: Why a test is skipped on a server that runs already.
OWN: Final = "needs a server of the tests' own"

PROGRAMS: Final = {wanted.name: wanted.program for wanted in MATRIX}


def chosen() -> list[str]:
    """Return the words of AIORESP_TEST_SERVERS, "all" spelled out; none if the default server is meant."""
    words = os.environ.get(VARIABLE, "").split()
    return [name for word in words for name in (PROGRAMS if word == "all" else [word])]


def demand() -> None:
    """Raise pytest.UsageError if a chosen server of the matrix is not there: nothing is left out in silence."""
    names = chosen()
    missing = [wanted.name for wanted in MATRIX if wanted.name in names and not wanted.is_there]
    if missing:
        raise pytest.UsageError(f"{VARIABLE}: {', '.join(missing)} not in {FOLDER.name}: `make servers` gets them")


def program_of(name: str) -> str:
    """Return what runs the server called `name`, for `server(executable=...)`."""
    return str(PROGRAMS.get(name, name))


def marks_of(wanted: Wanted) -> list[pytest.MarkDecorator]:
    """Return the marks of a test on a server of the matrix: `make test` has the oldest and the newest, CI has all."""
    return [] if wanted in (MATRIX[0], MATRIX[-1]) else [pytest.mark.ci]


def is_remote(name: str) -> bool:
    """Return whether `name` is the URL of a server that runs already."""
    return "://" in name


class Remote:
    """A server that the tests did not start: they must not configure, empty or stop it."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.url, self.host, self.port = url, address.hostname, address.port or 6379
        self.password = address.password
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            facts = runner.run(self._ask())
        self.flavour = "valkey" if "valkey_version" in facts else "redis"
        self.version = tuple(map(int, re.findall(r"\d+", str(facts[f"{self.flavour}_version"]))))

    async def _ask(self) -> dict[str, Any]:
        async with Client(self.url, timeout=10) as client:
            return await client.info("server")

    def __repr__(self) -> str:
        return f"Remote({self.flavour} {'.'.join(map(str, self.version))}, {self.url})"

    def __getattr__(self, name: str) -> NoReturn:
        if not hasattr(Server, name):
            raise AttributeError(name)
        pytest.skip(f"{OWN}: {self.url} is somebody else's")
