"""The types of the commands on strings. Checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from aioresp import Client, Value

NOW = datetime.now(UTC)


async def text(r: Client[str]) -> None:
    assert_type(await r.append("k", "v"), int)
    assert_type(await r.decr("k"), int)
    assert_type(await r.decrby("k", 2), int)
    assert_type(await r.get("k"), str | None)
    assert_type(await r.getdel("k"), str | None)
    assert_type(await r.getex("k", ex=timedelta(seconds=1)), str | None)
    assert_type(await r.getrange("k", 0, -1), str)
    assert_type(await r.getset("k", "v"), str | None)
    assert_type(await r.incr("k"), int)
    assert_type(await r.incrby("k", 2), int)
    assert_type(await r.incrbyfloat("k", 0.5), float)
    assert_type(await r.mget("a", "b"), list[str | None])
    assert_type(await r.mget(["a", b"b"]), list[str | None])
    assert_type(await r.mset({"a": 1}), bool)
    assert_type(await r.msetnx({b"a": "1"}), bool)
    assert_type(await r.psetex("k", 1, "v"), bool)
    assert_type(await r.set("k", "v"), bool)
    assert_type(await r.set("k", "v", ex=10, nx=True), bool)
    assert_type(await r.set("k", "v", 10), bool)
    assert_type(await r.set("k", "v", exat=NOW), bool)
    assert_type(await r.set("k", "v", get=False), bool)
    assert_type(await r.set("k", "v", get=True), str | None)
    assert_type(await r.set("k", "v", px=timedelta(seconds=1), xx=True, get=True), str | None)
    assert_type(await r.setex("k", 1, "v"), bool)
    assert_type(await r.setnx("k", "v"), bool)
    assert_type(await r.setrange("k", 0, "v"), int)
    assert_type(await r.strlen("k"), int)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.get("k"), bytes | None)
    assert_type(await b.getdel("k"), bytes | None)
    assert_type(await b.getex("k", persist=True), bytes | None)
    assert_type(await b.getrange("k", 0, -1), bytes)
    assert_type(await b.getset("k", "v"), bytes | None)
    assert_type(await b.incr("k"), int)
    assert_type(await b.mget("a", "b"), list[bytes | None])
    assert_type(await b.set("k", "v"), bool)
    assert_type(await b.set("k", "v", get=True), bytes | None)


async def arguments(r: Client[str], value: Value, mapping: dict[str, Value], numbers: dict[str, int]) -> None:
    """Whatever can be sent is accepted, and nothing has to be cast."""
    await r.set(b"k", b"v")
    await r.set(memoryview(b"k"), bytearray(b"v"))
    await r.set("k", memoryview(b"v"))
    await r.set("k", 1)
    await r.set("k", 1.5)
    await r.set("k", value)
    await r.mset(mapping)
    await r.mset(numbers)
    await r.mset({"a": "1", b"b": 2})
    await r.mget({"a", "b"})
    await r.mget(str(n) for n in range(3))
