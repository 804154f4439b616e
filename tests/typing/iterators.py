"""The types of the iterators. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    async for key in r.scan_iter("k*", count=10, _type="string"):
        assert_type(key, str)
    async for member in r.sscan_iter("s"):
        assert_type(member, str)
    async for pair in r.hscan_iter("h"):
        assert_type(pair, tuple[str, str])
    async for field in r.hscan_iter("h", no_values=True):
        assert_type(field, str)
    async for scored in r.zscan_iter("z"):
        assert_type(scored, tuple[str, float])
    async for alone in r.zscan_iter("z", no_scores=True):
        assert_type(alone, str)


async def raw(b: Client[bytes]) -> None:
    async for key in b.scan_iter():
        assert_type(key, bytes)
    async with b.connection() as c:
        async for pair in c.hscan_iter("h"):
            assert_type(pair, tuple[bytes, bytes])
