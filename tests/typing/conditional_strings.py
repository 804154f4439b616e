"""The types of the commands that look at strings first. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.strings import Common


async def text(r: Client[str]) -> None:
    assert_type(await r.delex("k", ifeq="v"), bool)
    assert_type(await r.delifeq("k", "v"), bool)
    assert_type(await r.digest("k"), str | None)
    assert_type(await r.increx("k"), tuple[int, int])
    assert_type(await r.increx("k", 2, ubound=5), tuple[int, int])
    assert_type(await r.increx("k", 0.5), tuple[float, float])
    assert_type(await r.lcs("a", "b"), str)
    assert_type(await r.lcs("a", "b", len=True), int)
    assert_type(await r.lcs("a", "b", idx=True), Common)
    assert_type(await r.msetex({"k": 1}, ex=5), bool)
    assert_type(await r.substr("k", 0), str)
    assert_type(await r.set("k", "v", ifeq="w"), bool)
    assert_type(await r.set("k", "v", ifeq="w", get=True), str | None)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.digest("k"), str | None)
    assert_type(await b.lcs("a", "b"), bytes)
    assert_type(await b.substr("k", 0), bytes)
