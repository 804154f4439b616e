"""How many Python functions a GET and a blocking pop enter, from the call to the value."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Server

ROOT = str(Path(aioresp.__file__).parent)

#: The functions of a GET, and of a blocking pop that finds its element; coroutines that are resumed count again.
GET = 16
POP = 85


@contextmanager
def functions() -> Iterator[list[str]]:
    """Note the functions of the package that are entered."""
    entered: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ROOT):
            entered.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield entered
    finally:
        sys.setprofile(before)


async def test_a_get(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.set(f"{prefix}k", "v")
        with functions() as entered:
            found = await r.get(f"{prefix}k")
    assert found == "v"
    assert {"get", "send", "data_received"} <= set(entered)
    assert len(entered) <= GET, entered


@pytest.mark.parametrize("timeout", [0, 1])
async def test_a_pop_that_finds_its_element(server: Server, prefix: str, timeout: int) -> None:
    async with Client(server.url) as r:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())  # so that two connections are open
        await r.rpush(f"{prefix}q", "a", "b", "c")
        # Each connection asks its server once who it is, before its first blocking command.
        await asyncio.gather(*(r.brpop(f"{prefix}q", timeout) for _ in range(2)))
        with functions() as entered:
            found = await r.brpop(f"{prefix}q", timeout)
    assert found == (f"{prefix}q", "a")
    assert 20 < len(entered) <= POP, entered
    assert entered.count("_timeout_place") == 1, "its facts are asked once, and handed on"
