"""The types of the commands on sorted sets. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.bzmpop(1, 1, "z", min=True), tuple[str, list[tuple[str, float]]] | None)
    assert_type(await r.bzpopmax(["a", "b"], 1.5), tuple[str, str, float] | None)
    assert_type(await r.bzpopmin("z"), tuple[str, str, float] | None)
    assert_type(await r.zadd("z", {"a": 1}), int)
    assert_type(await r.zadd("z", {"a": 1}, nx=True, ch=True, incr=False), int)
    assert_type(await r.zadd("z", {"a": 1}, xx=True, incr=True), float | None)
    assert_type(await r.zcard("z"), int)
    assert_type(await r.zcount("z", "(1", 2.5), int)
    assert_type(await r.zdiff(["a", "b"]), list[str])
    assert_type(await r.zdiff(["a", "b"], withscores=False), list[str])
    assert_type(await r.zdiff(["a", "b"], withscores=True), list[tuple[str, float]])
    assert_type(await r.zdiffstore("d", ["a", "b"]), int)
    assert_type(await r.zincrby("z", 1, "a"), float)
    assert_type(await r.zinter(["a", "b"], "MIN"), list[str])
    assert_type(await r.zinter({"a": 2, "b": 0.5}, withscores=True), list[tuple[str, float]])
    assert_type(await r.zintercard(2, ["a", "b"]), int)
    assert_type(await r.zinterstore("d", {"a": 2}, "MAX"), int)
    assert_type(await r.zlexcount("z", "-", b"(b"), int)
    assert_type(await r.zmpop(1, "z", max=True, count=2), tuple[str, list[tuple[str, float]]] | None)
    assert_type(await r.zmscore("z", ["a", 1]), list[float | None])
    assert_type(await r.zpopmax("z"), list[tuple[str, float]])
    assert_type(await r.zpopmin("z", 2), list[tuple[str, float]])
    assert_type(await r.zrandmember("z"), str | None)
    assert_type(await r.zrandmember("z", 2), list[str])
    assert_type(await r.zrandmember("z", 2, withscores=True), list[tuple[str, float]])
    assert_type(await r.zrank("z", "a"), int | None)
    assert_type(await r.zrank("z", "a", withscore=True), tuple[int, float] | None)
    assert_type(await r.zrem("z", "a"), int)
    assert_type(await r.zrevrank("z", "a", False), int | None)
    assert_type(await r.zrevrank("z", "a", True), tuple[int, float] | None)
    assert_type(await r.zscan("z"), tuple[int, list[tuple[str, float]]])
    assert_type(await r.zscan("z", no_scores=True), tuple[int, list[str]])
    assert_type(await r.zscore("z", "a"), float | None)
    assert_type(await r.zunion("a"), list[str])
    assert_type(await r.zunion(["a", "b"], "SUM", withscores=True), list[tuple[str, float]])
    assert_type(await r.zunionstore("d", ["a", "b"]), int)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.bzmpop(1, 1, "z", min=True), tuple[bytes, list[tuple[bytes, float]]] | None)
    assert_type(await b.bzpopmax("z"), tuple[bytes, bytes, float] | None)
    assert_type(await b.bzpopmin("z"), tuple[bytes, bytes, float] | None)
    assert_type(await b.zdiff(["a", "b"]), list[bytes])
    assert_type(await b.zdiff(["a", "b"], True), list[tuple[bytes, float]])
    assert_type(await b.zinter("a"), list[bytes])
    assert_type(await b.zinter("a", withscores=True), list[tuple[bytes, float]])
    assert_type(await b.zmpop(1, "z", min=True), tuple[bytes, list[tuple[bytes, float]]] | None)
    assert_type(await b.zpopmax("z"), list[tuple[bytes, float]])
    assert_type(await b.zpopmin("z"), list[tuple[bytes, float]])
    assert_type(await b.zrandmember("z"), bytes | None)
    assert_type(await b.zrandmember("z", 2), list[bytes])
    assert_type(await b.zrandmember("z", 2, True), list[tuple[bytes, float]])
    assert_type(await b.zscan("z"), tuple[int, list[tuple[bytes, float]]])
    assert_type(await b.zunion("a"), list[bytes])
    assert_type(await b.zunion("a", withscores=True), list[tuple[bytes, float]])


async def arguments(r: Client[str], scores: dict[str, float], numbers: dict[bytes, int], both: dict[int, str]) -> None:
    """Whatever can be sent is accepted, and nothing has to be cast."""
    await r.zadd("z", scores)
    await r.zadd("z", numbers)
    await r.zadd("z", both)
    await r.zadd(b"z", {"a": 1, b"b": 2.5, 3: "+inf"})
    await r.zunion(scores)
    await r.zinterstore("d", numbers)
    await r.zunion({"a", "b"})
    await r.zdiff(str(n) for n in range(3))
    await r.zmscore("z", (n for n in range(3)))
