"""The types of the commands on arrays. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.arrays import ArrayInfo


async def text(r: Client[str]) -> None:
    assert_type(await r.arcount("k"), int)
    assert_type(await r.ardel("k", 1), int)
    assert_type(await r.ardelrange("k", (0, 5)), int)
    assert_type(await r.arget("k", 1), str | None)
    assert_type(await r.argetrange("k", 0, 5), list[str | None])
    assert_type(await r.argrep("k", 0, 5, [("EXACT", "a")]), list[int])
    assert_type(await r.argrep("k", 0, 5, [("RE", "a")], withvalues=True), list[tuple[int, str]])
    assert_type(await r.arinfo("k"), ArrayInfo | None)
    assert_type(await r.arinsert("k", "a"), int)
    assert_type(await r.arlastitems("k", 5), list[str | None])
    assert_type(await r.arlen("k"), int)
    assert_type(await r.armget("k", 1), list[str | None])
    assert_type(await r.armset("k", {1: "a"}), int)
    assert_type(await r.arnext("k"), int | None)
    assert_type(await r.arop("k", 0, 5, "SUM"), int | float | None)
    assert_type(await r.arop("k", 0, 5, "XOR"), int | None)
    assert_type(await r.arop("k", 0, 5, "MATCH", "a"), int)
    assert_type(await r.arring("k", 5, "a"), int)
    assert_type(await r.arscan("k", 0, 5), list[tuple[int, str]])
    assert_type(await r.arseek("k", 5), bool)
    assert_type(await r.arset("k", 5, "a"), int)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.arget("k", 1), bytes | None)
    assert_type(await b.argetrange("k", 0, 5), list[bytes | None])
    assert_type(await b.argrep("k", 0, 5, [("RE", "a")], withvalues=True), list[tuple[int, bytes]])
    assert_type(await b.arlastitems("k", 5), list[bytes | None])
    assert_type(await b.armget("k", 1), list[bytes | None])
    assert_type(await b.arscan("k", 0, 5), list[tuple[int, bytes]])
