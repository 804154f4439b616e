"""How many Python functions of the package a blocking pop enters, from the call to the element."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Server

ROOT = str(Path(aioresp.__file__).parent)

#: With the coroutines that are resumed.
MOST = 85


@pytest.mark.parametrize("timeout", [0, 1])
async def test_a_pop_that_finds_its_element(server: Server, prefix: str, timeout: int) -> None:
    frames: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ROOT):
            frames.append(frame.f_code.co_name)

    async with Client(server.url) as r:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())  # so that two connections are open
        await r.rpush(f"{prefix}q", "a", "b")
        await r.brpop(f"{prefix}q", timeout)
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            found = await r.brpop(f"{prefix}q", timeout)
        finally:
            sys.setprofile(before)
    assert found == (f"{prefix}q", "a")
    finds = frames.count("_find")  # of the pool: a loop of uvloop does not tell its thread
    assert 20 < len(frames) <= MOST + finds, frames
    assert frames.count("_timeout_place") == 1, "its facts are asked once, and handed on"
