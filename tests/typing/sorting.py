"""The types of SORT. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.sort("k"), list[str])
    assert_type(await r.sort("k", 0, 5, desc=True), list[str])
    assert_type(await r.sort("k", get="o_*"), list[str | None])
    assert_type(await r.sort("k", get=["#", "o_*"], groups=True), list[tuple[str | None, ...]])
    assert_type(await r.sort("k", store="to"), int)
    assert_type(await r.sort_ro("k"), list[str])
    assert_type(await r.sort_ro("k", get="o_*"), list[str | None])


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.sort("k"), list[bytes])
    assert_type(await b.sort_ro("k", get="o_*"), list[bytes | None])
