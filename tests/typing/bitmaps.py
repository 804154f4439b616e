"""The types of the commands on bitmaps. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.bitcount("k", 0, -1, "BIT"), int)
    assert_type(await r.bitfield("k", ("GET", "u8", 0)), list[int | None])
    assert_type(await r.bitfield("k", ("OVERFLOW", "SAT"), ("SET", "u8", 0, 1)), list[int | None])
    assert_type(await r.bitfield("k", ("INCRBY", "u8", "#1", 1), default_overflow="FAIL"), list[int | None])
    assert_type(await r.bitfield_ro("k", "u8", 0, [("u4", "#1"), ("u4", 2)]), list[int])
    assert_type(await r.bitop("AND", "d", "a", b"b"), int)
    assert_type(await r.bitpos("k", 1, 0, -1, "BYTE"), int)
    assert_type(await r.getbit("k", 7), int)
    assert_type(await r.setbit("k", 7, True), int)
