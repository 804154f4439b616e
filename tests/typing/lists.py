"""The types of the commands on lists. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.lmpop(1, "a", direction="LEFT"), tuple[str, list[str]] | None)
    assert_type(await r.blmpop(0, 1, "a", direction="LEFT"), tuple[str, list[str]] | None)
    assert_type(await r.lmovem("a", "b", count=2), list[str] | None)
    assert_type(await r.blmovem("a", "b", 0), list[str] | None)
    assert_type(await r.blmove("a", "b", 1.5), str | None)
    assert_type(await r.blpop("a"), tuple[str, str] | None)
    assert_type(await r.blpop(["a", "b"], timeout=1), tuple[str, str] | None)
    assert_type(await r.brpop("a", 0.5), tuple[str, str] | None)
    assert_type(await r.brpoplpush("a", "b"), str | None)
    assert_type(await r.lindex("l", 0), str | None)
    assert_type(await r.linsert("l", "BEFORE", "p", "v"), int)
    assert_type(await r.llen("l"), int)
    assert_type(await r.lmove("a", "b", "LEFT", "RIGHT"), str | None)
    assert_type(await r.lpop("l"), str | None)
    assert_type(await r.lpop("l", None), str | None)
    assert_type(await r.lpop("l", 2), list[str] | None)
    assert_type(await r.lpop("l", count=2), list[str] | None)
    assert_type(await r.lpos("l", "v"), int | None)
    assert_type(await r.lpos("l", "v", 2, maxlen=3), int | None)
    assert_type(await r.lpos("l", "v", count=0), list[int])
    assert_type(await r.lpos("l", "v", rank=-1, count=2, maxlen=3), list[int])
    assert_type(await r.lpush("l", "v", 1, b"w"), int)
    assert_type(await r.lpushx("l", "v"), int)
    assert_type(await r.lrange("l", 0, -1), list[str])
    assert_type(await r.lrem("l", 0, "v"), int)
    assert_type(await r.lset("l", 0, "v"), bool)
    assert_type(await r.ltrim("l", 0, 1), bool)
    assert_type(await r.rpop("l"), str | None)
    assert_type(await r.rpop("l", 2), list[str] | None)
    assert_type(await r.rpoplpush("a", "b"), str | None)
    assert_type(await r.rpush("l", "v"), int)
    assert_type(await r.rpushx("l", "v"), int)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.lmpop(1, "a", direction="LEFT"), tuple[bytes, list[bytes]] | None)
    assert_type(await b.blmpop(0, 1, "a", direction="LEFT"), tuple[bytes, list[bytes]] | None)
    assert_type(await b.lmovem("a", "b", count=2), list[bytes] | None)
    assert_type(await b.blmovem("a", "b", 0), list[bytes] | None)
    assert_type(await b.blmove("a", "b", 1), bytes | None)
    assert_type(await b.blpop("a"), tuple[bytes, bytes] | None)
    assert_type(await b.brpop("a"), tuple[bytes, bytes] | None)
    assert_type(await b.brpoplpush("a", "b"), bytes | None)
    assert_type(await b.lindex("l", 0), bytes | None)
    assert_type(await b.lmove("a", "b"), bytes | None)
    assert_type(await b.lpop("l"), bytes | None)
    assert_type(await b.lpop("l", 2), list[bytes] | None)
    assert_type(await b.lpos("l", "v"), int | None)
    assert_type(await b.lrange("l", 0, -1), list[bytes])
    assert_type(await b.rpop("l"), bytes | None)
    assert_type(await b.rpop("l", 2), list[bytes] | None)
    assert_type(await b.rpoplpush("a", "b"), bytes | None)
