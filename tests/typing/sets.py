"""The types of the commands on sets. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.sdiffcard(1, "a"), int)
    assert_type(await r.sunioncard(1, "a"), int)
    assert_type(await r.sadd("s", "m", 1), int)
    assert_type(await r.scard("s"), int)
    assert_type(await r.sdiff("a", "b"), set[str])
    assert_type(await r.sdiffstore("d", ["a", "b"]), int)
    assert_type(await r.sinter(["a", "b"]), set[str])
    assert_type(await r.sintercard(2, ["a", "b"]), int)
    assert_type(await r.sinterstore("d", "a"), int)
    assert_type(await r.sismember("s", "m"), bool)
    assert_type(await r.smembers("s"), set[str])
    assert_type(await r.smismember("s", "m", "n"), list[bool])
    assert_type(await r.smove("a", "b", "m"), bool)
    assert_type(await r.spop("s"), str | None)
    assert_type(await r.spop("s", None), str | None)
    assert_type(await r.spop("s", 2), set[str])
    assert_type(await r.srandmember("s"), str | None)
    assert_type(await r.srandmember("s", 2), list[str])
    assert_type(await r.srem("s", "m"), int)
    assert_type(await r.sscan("s"), tuple[int, set[str]])
    assert_type(await r.sunion("a", "b"), set[str])
    assert_type(await r.sunionstore("d", "a"), int)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.sdiff("a", "b"), set[bytes])
    assert_type(await b.sinter("a", "b"), set[bytes])
    assert_type(await b.smembers("s"), set[bytes])
    assert_type(await b.spop("s"), bytes | None)
    assert_type(await b.spop("s", 2), set[bytes])
    assert_type(await b.srandmember("s"), bytes | None)
    assert_type(await b.srandmember("s", 2), list[bytes])
    assert_type(await b.sscan("s"), tuple[int, set[bytes]])
    assert_type(await b.sunion("a", "b"), set[bytes])
