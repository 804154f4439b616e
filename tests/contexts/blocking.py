"""What the tests of blocking commands have in common: the commands, and how far one of them has come.

Owns the table of commands. Never puts an element anywhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aioresp import Client
from aioresp.testing import Server

Since = Callable[..., None]
Wait = Callable[[Client[Any], str], Awaitable[object]]

# What is there before, the command, what it would take, and since which server there is such a command.
LISTS: dict[str, tuple[Wait, tuple[int, int]]] = {
    "blpop": (lambda r, k: r.blpop(k), (2, 0)),
    "brpop": (lambda r, k: r.brpop([f"{k}:other", k], 0), (2, 0)),
    "call": (lambda r, k: r.call("blpop", k, "0"), (2, 0)),
    "blmpop-left": (lambda r, k: r.call("BLMPOP", 0, 2, f"{k}:other", k, "LEFT", "COUNT", 3), (7, 0)),
    "blmpop-right": (lambda r, k: r.call("BLMPOP", 0, 1, k, b"right", "COUNT", 3), (7, 0)),
    "blmpop-all": (lambda r, k: r.call("BLMPOP", 0, 1, k, "RIGHT", "COUNT", 99), (7, 0)),
}
SORTED_SETS: dict[str, tuple[Wait, tuple[int, int]]] = {
    "bzpopmin": (lambda r, k: r.bzpopmin(k), (5, 0)),
    "bzpopmax": (lambda r, k: r.bzpopmax([f"{k}:other", k], 0), (5, 0)),
    "bzmpop": (lambda r, k: r.call("BZMPOP", 0, 1, k, "MIN", "COUNT", 4), (7, 0)),
    "bzmpop-all": (lambda r, k: r.call("BZMPOP", 0, 1, k, "MAX", "COUNT", 99), (7, 0)),
}
POPS = LISTS | SORTED_SETS
OTHERS: dict[str, tuple[Wait, tuple[int, int]]] = {
    "blmove": (lambda r, k: r.blmove(k, f"{k}:to", 0), (6, 2)),
    "brpoplpush": (lambda r, k: r.brpoplpush(k, f"{k}:to", 0), (2, 2)),
    "xread": (lambda r, k: r.xread({f"{k}:stream": "$"}, block=0), (5, 0)),
    "xreadgroup": (lambda r, k: r.xreadgroup("group", "me", {f"{k}:stream": ">"}, block=0), (5, 0)),
}


@pytest.fixture
def since(server: Server) -> Since:
    def check(*version: int) -> None:
        if server.version < version:
            pytest.skip(f"needs a server of {version}")

    return check


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was logged as an error by now."""
    caplog.set_level(logging.DEBUG, logger="aioresp")
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR and r.name == "aioresp"]


async def cancel(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def is_blocked(direct: Client[Any], count: int = 1) -> None:
    """Wait until so many clients of the server are blocked."""
    async with asyncio.timeout(20):
        while (await direct.info("clients"))["blocked_clients"] < count:
            await asyncio.sleep(0.005)


async def is_written(r: Client[Any]) -> None:
    """Wait until a command is on its way on a lease."""
    async with asyncio.timeout(20):
        while not (r.stats().leased and r.stats().in_flight):
            await asyncio.sleep(0.005)


async def is_gone(direct: Client[Any], key: str) -> None:
    """Wait until the last element of a key has been popped."""
    async with asyncio.timeout(20):
        while await direct.exists(key):
            await asyncio.sleep(0.002)
