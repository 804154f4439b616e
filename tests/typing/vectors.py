"""The types of the commands on vector sets. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.vectors import RawVector, VectorSetInfo


async def text(r: Client[str]) -> None:
    assert_type(await r.vadd("k", [1, 0.5], "e"), bool)
    assert_type(await r.vcard("k"), int)
    assert_type(await r.vdim("k"), int)
    assert_type(await r.vemb("k", "e"), list[float] | None)
    assert_type(await r.vemb("k", "e", raw=True), RawVector | None)
    assert_type(await r.vgetattr("k", "e"), str | None)
    assert_type(await r.vinfo("k"), VectorSetInfo | None)
    assert_type(await r.vismember("k", "e"), bool)
    assert_type(await r.vlinks("k", "e"), list[list[str]] | None)
    assert_type(await r.vlinks("k", "e", with_scores=True), list[list[tuple[str, float]]] | None)
    assert_type(await r.vrandmember("k"), str | None)
    assert_type(await r.vrandmember("k", 3), list[str])
    assert_type(await r.vrange("k"), list[str])
    assert_type(await r.vrem("k", "e"), bool)
    assert_type(await r.vsetattr("k", "e", '{"a": 1}'), bool)
    assert_type(await r.vsim("k", "e"), list[str])
    assert_type(await r.vsim("k", [1], with_scores=True), list[tuple[str, float]])
    assert_type(await r.vsim("k", b"", with_attribs=True), list[tuple[str, str | None]])
    assert_type(await r.vsim("k", "e", True, True), list[tuple[str, float, str | None]])


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.vgetattr("k", "e"), bytes | None)
    assert_type(await b.vlinks("k", "e"), list[list[bytes]] | None)
    assert_type(await b.vrandmember("k"), bytes | None)
    assert_type(await b.vrange("k"), list[bytes])
    assert_type(await b.vsim("k", "e", with_scores=True), list[tuple[bytes, float]])
