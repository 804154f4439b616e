"""The types of the commands on ranges of sorted sets. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.zrange("z", 0, -1), list[str])
    assert_type(await r.zrange("z", 0, -1, True, withscores=False), list[str])
    assert_type(await r.zrange("z", "-", b"+", bylex=True, offset=0, num=1), list[str])
    assert_type(await r.zrange("z", "(1", 2.5, desc=True, byscore=True, withscores=True), list[tuple[str, float]])
    assert_type(await r.zrangebylex("z", "-", b"+", 0, 1), list[str])
    assert_type(await r.zrangebyscore("z", "-inf", 1), list[str])
    assert_type(await r.zrangebyscore("z", "-inf", 1, 0, 5, withscores=True), list[tuple[str, float]])
    assert_type(await r.zrangestore("d", "z", 0, -1), int)
    assert_type(await r.zremrangebylex("z", "-", "+"), int)
    assert_type(await r.zremrangebyrank("z", 0, -1), int)
    assert_type(await r.zremrangebyscore("z", "(1", 2.5), int)
    assert_type(await r.zrevrange("z", 0, -1), list[str])
    assert_type(await r.zrevrange("z", 0, -1, True), list[tuple[str, float]])
    assert_type(await r.zrevrangebylex("z", "+", "-"), list[str])
    assert_type(await r.zrevrangebyscore("z", 1, "-inf"), list[str])
    assert_type(await r.zrevrangebyscore("z", 1, "-inf", withscores=True), list[tuple[str, float]])


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.zrange("z", 0, -1), list[bytes])
    assert_type(await b.zrange("z", 0, -1, withscores=True), list[tuple[bytes, float]])
    assert_type(await b.zrangebylex("z", "-", "+"), list[bytes])
    assert_type(await b.zrangebyscore("z", 0, 1), list[bytes])
    assert_type(await b.zrangebyscore("z", 0, 1, withscores=True), list[tuple[bytes, float]])
    assert_type(await b.zrevrange("z", 0, -1), list[bytes])
    assert_type(await b.zrevrange("z", 0, -1, withscores=True), list[tuple[bytes, float]])
    assert_type(await b.zrevrangebylex("z", "+", "-"), list[bytes])
    assert_type(await b.zrevrangebyscore("z", 1, 0), list[bytes])
    assert_type(await b.zrevrangebyscore("z", 1, 0, withscores=True), list[tuple[bytes, float]])
