"""Sorted sets: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from math import inf
from typing import Any, Final

import pytest

from aioresp import Client, ResponseError
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

MIN: Final = ("AGGREGATE", "MIN")

WIRE: Wire = [
    (lambda r: r.bzmpop(1, 2, ["a", "b"], min=True), ("BZMPOP", 1, 2, "a", "b", "MIN")),
    (lambda r: r.bzmpop(0.5, numkeys=1, keys="a", max=True, count=3), ("BZMPOP", 0.5, 1, "a", "MAX", "COUNT", 3)),
    (lambda r: r.bzmpop(timedelta(seconds=2), 1, "a", min=True), ("BZMPOP", 2.0, 1, "a", "MIN")),
    (lambda r: r.bzpopmax("a", timedelta(seconds=2)), ("BZPOPMAX", "a", 2.0)),
    (lambda r: r.bzpopmin("a", timedelta(seconds=2)), ("BZPOPMIN", "a", 2.0)),
    (lambda r: r.bzpopmax("a"), ("BZPOPMAX", "a", 0)),
    (lambda r: r.bzpopmax(["a", b"b"], 1.5), ("BZPOPMAX", "a", b"b", 1.5)),
    (lambda r: r.bzpopmin("a"), ("BZPOPMIN", "a", 0)),
    (lambda r: r.bzpopmin(("a", "b"), timeout=1), ("BZPOPMIN", "a", "b", 1)),
    (lambda r: r.zadd("z", {"a": 1}), ("ZADD", "z", 1, "a")),
    (
        lambda r: r.zadd("z", {"a": 1.5, b"b": -inf, 3: "+inf"}),
        ("ZADD", "z", 1.5, "a", -inf, b"b", "+inf", 3),
    ),
    (lambda r: r.zadd("z", {"a": 1}, nx=True), ("ZADD", "z", "NX", 1, "a")),
    (lambda r: r.zadd("z", {"a": 1}, xx=True), ("ZADD", "z", "XX", 1, "a")),
    (lambda r: r.zadd("z", {"a": 1}, gt=True), ("ZADD", "z", "GT", 1, "a")),
    (lambda r: r.zadd("z", {"a": 1}, lt=True), ("ZADD", "z", "LT", 1, "a")),
    (lambda r: r.zadd("z", {"a": 1}, ch=True), ("ZADD", "z", "CH", 1, "a")),
    (lambda r: r.zadd("z", {"a": 1}, incr=True), ("ZADD", "z", "INCR", 1, "a")),
    (lambda r: r.zadd("z", {"a": 1}, nx=True, ch=True, incr=True), ("ZADD", "z", "NX", "CH", "INCR", 1, "a")),
    (lambda r: r.zadd("z", {"a": 1, "b": 2}, xx=True, gt=True), ("ZADD", "z", "XX", "GT", 1, "a", 2, "b")),
    (lambda r: r.zcard("z"), ("ZCARD", "z")),
    (lambda r: r.zcount("z", "-inf", "(1"), ("ZCOUNT", "z", "-inf", "(1")),
    (lambda r: r.zcount("z", min=1, max=2.5), ("ZCOUNT", "z", 1, 2.5)),
    (lambda r: r.zdiff("a"), ("ZDIFF", 1, "a")),
    (lambda r: r.zdiff(["a", b"b"]), ("ZDIFF", 2, "a", b"b")),
    (lambda r: r.zdiff(["a", "b"], withscores=True), ("ZDIFF", 2, "a", "b", "WITHSCORES")),
    (lambda r: r.zdiffstore("d", ["a", "b"]), ("ZDIFFSTORE", "d", 2, "a", "b")),
    (lambda r: r.zincrby("z", 1.5, "a"), ("ZINCRBY", "z", 1.5, "a")),
    (lambda r: r.zinter(["a", "b"]), ("ZINTER", 2, "a", "b")),
    (lambda r: r.zinter("a", withscores=True), ("ZINTER", 1, "a", "WITHSCORES")),
    (lambda r: r.zinter("a", "SUM"), ("ZINTER", 1, "a", "AGGREGATE", "SUM")),
    (lambda r: r.zinter("a", "MIN"), ("ZINTER", 1, "a", *MIN)),
    (lambda r: r.zinter("a", "COUNT"), ("ZINTER", 1, "a", "AGGREGATE", "COUNT")),
    (
        lambda r: r.zinter({"a": 1, "b": 0.5}, "MAX", withscores=True),
        ("ZINTER", 2, "a", "b", "WEIGHTS", 1, 0.5, "AGGREGATE", "MAX", "WITHSCORES"),
    ),
    (lambda r: r.zintercard(2, ["a", "b"]), ("ZINTERCARD", 2, "a", "b")),
    (lambda r: r.zintercard(numkeys=1, keys="ab", limit=5), ("ZINTERCARD", 1, "ab", "LIMIT", 5)),
    (lambda r: r.zinterstore("d", ("a", "b")), ("ZINTERSTORE", "d", 2, "a", "b")),
    (lambda r: r.zinterstore("d", "a", "SUM"), ("ZINTERSTORE", "d", 1, "a", "AGGREGATE", "SUM")),
    (lambda r: r.zinterstore("d", "a", "MAX"), ("ZINTERSTORE", "d", 1, "a", "AGGREGATE", "MAX")),
    (lambda r: r.zinterstore("d", "a", "COUNT"), ("ZINTERSTORE", "d", 1, "a", "AGGREGATE", "COUNT")),
    (lambda r: r.zinterstore("d", {b"a": 2}, aggregate="MIN"), ("ZINTERSTORE", "d", 1, b"a", "WEIGHTS", 2, *MIN)),
    (lambda r: r.zlexcount("z", "-", b"[\xff"), ("ZLEXCOUNT", "z", "-", b"[\xff")),
    (lambda r: r.zmpop(2, ["a", "b"], min=True), ("ZMPOP", 2, "a", "b", "MIN")),
    (lambda r: r.zmpop(num_keys=1, keys="a", max=True, count=3), ("ZMPOP", 1, "a", "MAX", "COUNT", 3)),
    (lambda r: r.zmscore("z", ["a", b"b", 3]), ("ZMSCORE", "z", "a", b"b", 3)),
    (lambda r: r.zmscore("z", "ab"), ("ZMSCORE", "z", "ab")),
    (lambda r: r.zpopmax("z"), ("ZPOPMAX", "z")),
    (lambda r: r.zpopmax("z", 2), ("ZPOPMAX", "z", 2)),
    (lambda r: r.zpopmin("z"), ("ZPOPMIN", "z")),
    (lambda r: r.zpopmin("z", count=0), ("ZPOPMIN", "z", 0)),
    (lambda r: r.zrandmember("z"), ("ZRANDMEMBER", "z")),
    (lambda r: r.zrandmember("z", -2), ("ZRANDMEMBER", "z", -2)),
    (lambda r: r.zrandmember("z", 0, withscores=True), ("ZRANDMEMBER", "z", 0, "WITHSCORES")),
    (lambda r: r.zrank("z", "a"), ("ZRANK", "z", "a")),
    (lambda r: r.zrank("z", 1, withscore=True), ("ZRANK", "z", 1, "WITHSCORE")),
    (lambda r: r.zrem("z", "a", b"b", 3), ("ZREM", "z", "a", b"b", 3)),
    (lambda r: r.zrevrank("z", "a"), ("ZREVRANK", "z", "a")),
    (lambda r: r.zrevrank("z", "a", True), ("ZREVRANK", "z", "a", "WITHSCORE")),
    (lambda r: r.zscan("z"), ("ZSCAN", "z", 0)),
    (lambda r: r.zscan("z", 7, "f*", 100), ("ZSCAN", "z", 7, "MATCH", "f*", "COUNT", 100)),
    (lambda r: r.zscan("z", count=5, no_scores=True), ("ZSCAN", "z", 0, "COUNT", 5, "NOSCORES")),
    (lambda r: r.zscore("z", "a"), ("ZSCORE", "z", "a")),
    (lambda r: r.zunion(["a", "b"]), ("ZUNION", 2, "a", "b")),
    (lambda r: r.zunion("a", "SUM"), ("ZUNION", 1, "a", "AGGREGATE", "SUM")),
    (lambda r: r.zunion("a", "MAX"), ("ZUNION", 1, "a", "AGGREGATE", "MAX")),
    (lambda r: r.zunion({"a": -1}, aggregate="MIN"), ("ZUNION", 1, "a", "WEIGHTS", -1, *MIN)),
    (lambda r: r.zunion("a", "COUNT", withscores=True), ("ZUNION", 1, "a", "AGGREGATE", "COUNT", "WITHSCORES")),
    (lambda r: r.zunionstore("d", "a"), ("ZUNIONSTORE", "d", 1, "a")),
    (lambda r: r.zunionstore("d", "a", "SUM"), ("ZUNIONSTORE", "d", 1, "a", "AGGREGATE", "SUM")),
    (lambda r: r.zunionstore("d", "a", "MAX"), ("ZUNIONSTORE", "d", 1, "a", "AGGREGATE", "MAX")),
    (lambda r: r.zunionstore("d", "a", "COUNT"), ("ZUNIONSTORE", "d", 1, "a", "AGGREGATE", "COUNT")),
    (lambda r: r.zunionstore("d", {"a": 2.5, "b": 1}), ("ZUNIONSTORE", "d", 2, "a", "b", "WEIGHTS", 2.5, 1)),
    (lambda r: r.zunionstore("d", ["a"], aggregate="MIN"), ("ZUNIONSTORE", "d", 1, "a", *MIN)),
]

REFUSED: Refused = [
    (lambda r: r.bzmpop(0, 0, [], min=True), ValueError, "BZMPOP: keys is empty"),
    (lambda r: r.bzmpop(0, 2, ["a"], min=True), ValueError, "BZMPOP: numkeys is 2, but keys has 1"),
    (lambda r: r.bzmpop(0, 1, ["a"]), ValueError, "BZMPOP: min or max is needed"),
    (lambda r: r.bzmpop(0, 1, ["a"], True, True), ValueError, "BZMPOP: min and max exclude each other"),
    (lambda r: r.bzpopmax([]), ValueError, "BZPOPMAX: keys is empty"),
    (lambda r: r.bzpopmin([], 1), ValueError, "BZPOPMIN: keys is empty"),
    (lambda r: r.zadd("z", {}), ValueError, "ZADD: mapping is empty"),
    (lambda r: r.zadd("z", {}, incr=True), ValueError, "ZADD: mapping is empty"),
    (lambda r: r.zadd("z", {"a": 1}, nx=True, xx=True), ValueError, "ZADD: nx and xx exclude each other"),
    (lambda r: r.zadd("z", {"a": 1}, gt=True, lt=True), ValueError, "ZADD: gt and lt exclude each other"),
    (lambda r: r.zadd("z", {"a": 1}, nx=True, gt=True), ValueError, "ZADD: nx and gt exclude each other"),
    (lambda r: r.zadd("z", {"a": 1}, nx=True, lt=True), ValueError, "ZADD: nx and lt exclude each other"),
    (lambda r: r.zadd("z", {"a": 1, "b": 2}, incr=True), ValueError, "ZADD: incr takes one member, but mapping has 2"),
    (lambda r: r.zdiff([]), ValueError, "ZDIFF: keys is empty"),
    (lambda r: r.zdiffstore("d", []), ValueError, "ZDIFFSTORE: keys is empty"),
    (lambda r: r.zinter([]), ValueError, "ZINTER: keys is empty"),
    (lambda r: r.zinter({}), ValueError, "ZINTER: keys is empty"),
    (lambda r: r.zintercard(0, []), ValueError, "ZINTERCARD: keys is empty"),
    (lambda r: r.zintercard(2, ["a"]), ValueError, "ZINTERCARD: numkeys is 2, but keys has 1"),
    (lambda r: r.zinterstore("d", {}), ValueError, "ZINTERSTORE: keys is empty"),
    (lambda r: r.zmpop(0, [], min=True), ValueError, "ZMPOP: keys is empty"),
    (lambda r: r.zmpop(2, "ab", min=True), ValueError, "ZMPOP: num_keys is 2, but keys has 1"),
    (lambda r: r.zmpop(1, ["a"]), ValueError, "ZMPOP: min or max is needed"),
    (lambda r: r.zmpop(1, ["a"], min=True, max=True), ValueError, "ZMPOP: min and max exclude each other"),
    (lambda r: r.zmscore("z", []), ValueError, "ZMSCORE: members is empty"),
    (lambda r: r.zrem("z"), ValueError, "ZREM: values is empty"),
    (lambda r: r.zunion([]), ValueError, "ZUNION: keys is empty"),
    (lambda r: r.zunionstore("d", {}), ValueError, "ZUNIONSTORE: keys is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


def test_zrandmember_with_scores_needs_a_count() -> None:
    options: Any = {"withscores": True}
    check_refused(lambda r: r.zrandmember("z", **options), ValueError, "ZRANDMEMBER: withscores needs count")


@pytest.fixture
def z(prefix: str) -> str:
    return f"{prefix}z"


async def test_zadd(r: Client[Any], z: str) -> None:
    exactly(await r.zadd(z, {"a": 1, "ü": 2.5, b"c": "inf", 4: -inf}), 4)
    exactly(await r.zcard(z), 4)
    exactly(await r.zscore(z, "a"), 1.0)
    exactly(await r.zscore(z, "z"), None)
    exactly(await r.zmscore(z, ["ü", "z", "c", 4]), [2.5, None, inf, -inf])
    exactly(await r.zmscore(z, "a"), [1.0])
    exactly(await r.zmscore(f"{z}2", ["a", "b"]), [None, None])
    exactly(await r.zadd(z, {"a": 3, "n": 1}), 1)
    exactly(await r.zadd(z, {"a": 4, "m": 1, "n": 1}, ch=True), 2)
    exactly(await r.zadd(z, {"a": 9, "o": 1}, nx=True), 1)
    exactly(await r.zadd(z, {"a": 5, "p": 1}, xx=True), 0)
    exactly(await r.zadd(z, {"a": 4}, gt=True, ch=True), 0)
    exactly(await r.zadd(z, {"a": 4}, lt=True, ch=True), 1)
    exactly(await r.zmscore(z, ["a", "o", "p"]), [4.0, 1.0, None])
    exactly(await r.zrem(z, "a", "o", "p"), 2)
    with pytest.raises(ResponseError, match="not a valid float"):
        await r.zadd(z, {"a": "much"})


async def test_zadd_incr(r: Client[Any], z: str) -> None:
    exactly(await r.zadd(z, {"a": 1.5}, incr=True), 1.5)
    exactly(await r.zadd(z, {"a": 2}, incr=True), 3.5)
    exactly(await r.zadd(z, {"a": 1}, incr=True, nx=True), None)
    exactly(await r.zadd(z, {"b": 1}, incr=True, xx=True), None)
    exactly(await r.zadd(z, {"a": inf}, incr=True), inf)
    exactly(await r.zincrby(z, 2, "c"), 2.0)
    exactly(await r.zincrby(z, -0.1, "c"), 1.9)
    exactly(await r.zincrby(z, -inf, "c"), -inf)


@pytest.mark.parametrize("score", [0.1, 1 / 3, -1e-300, 5e-324, 1.7976931348623157e308, 2.0**53, -123456.789, inf])
async def test_scores_lose_nothing(r: Client[Any], text: Text, z: str, score: float) -> None:
    await r.zadd(z, {"a": score})
    exactly(await r.zscore(z, "a"), score)
    exactly(await r.zmscore(z, ["a"]), [score])
    exactly(await r.zunion(z, withscores=True), text([("a", score)]))
    exactly(await r.zscan(z), (0, text([("a", score)])))
    exactly(await r.zadd(z, {"a": 0}, incr=True), score)
    exactly(await r.zpopmin(z), text([("a", score)]))


async def test_ranks_and_counts(r: Client[Any], z: str) -> None:
    await r.zadd(z, {"a": 1, "b": 2, "c": 3})
    exactly(await r.zrank(z, "a"), 0)
    exactly(await r.zrevrank(z, "a"), 2)
    exactly(await r.zrank(z, "z"), None)
    exactly(await r.zrevrank(z, "z"), None)
    exactly(await r.zcount(z, "-inf", "+inf"), 3)
    exactly(await r.zcount(z, -inf, inf), 3)
    exactly(await r.zcount(z, "(1", 2.5), 1)
    exactly(await r.zlexcount(z, "-", "+"), 3)
    exactly(await r.zlexcount(z, "(a", b"[b"), 1)


async def test_ranks_with_scores(r: Client[Any], z: str, since: Since) -> None:
    since(7, 2)
    await r.zadd(z, {"a": 1.5, "b": inf})
    exactly(await r.zrank(z, "a", withscore=True), (0, 1.5))
    exactly(await r.zrevrank(z, "b", withscore=True), (0, inf))
    exactly(await r.zrank(z, "z", withscore=True), None)
    exactly(await r.zrevrank(z, "z", withscore=True), None)


async def test_algebra(r: Client[Any], text: Text, prefix: str) -> None:
    a, b, d = (f"{prefix}{name}" for name in "abd")
    await r.zadd(a, {"x": 1, "y": 2})
    await r.zadd(b, {"y": 10, "z": 20})
    exactly(await r.zdiff([a, b]), text(["x"]))
    exactly(await r.zdiff([a, b], withscores=True), text([("x", 1.0)]))
    exactly(await r.zdiff(d, withscores=True), [])
    exactly(await r.zdiffstore(d, [a, b]), 1)
    exactly(await r.zinter([a, b]), text(["y"]))
    exactly(await r.zinter([a, b], withscores=True), text([("y", 12.0)]))
    exactly(await r.zinter({a: 2, b: 0.5}, withscores=True), text([("y", 9.0)]))
    exactly(await r.zinter({a: 2, b: 0.5}, "MIN", withscores=True), text([("y", 4.0)]))
    exactly(await r.zinterstore(d, [a, b], "MAX"), 1)
    exactly(await r.zscore(d, "y"), 10.0)
    exactly(await r.zunion([a, b]), text(["x", "y", "z"]))
    exactly(await r.zunion([a, b], withscores=True), text([("x", 1.0), ("y", 12.0), ("z", 20.0)]))
    exactly(await r.zunion({a: 1, b: -1}, withscores=True), text([("z", -20.0), ("y", -8.0), ("x", 1.0)]))
    exactly(await r.zunionstore(d, {a: 1, b: 1}, aggregate="MIN"), 3)
    exactly(await r.zmscore(d, ["x", "y", "z"]), [1.0, 2.0, 20.0])


async def test_aggregated_by_count(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(8, 8)
    a, b = (f"{prefix}{name}" for name in "ab")
    await r.zadd(a, {"x": 10, "y": 20})
    await r.zadd(b, {"y": 30})
    exactly(await r.zunion([a, b], "COUNT", withscores=True), text([("x", 1.0), ("y", 2.0)]))


async def test_zintercard(r: Client[Any], prefix: str, since: Since) -> None:
    since(7, 0)
    a, b = (f"{prefix}{name}" for name in "ab")
    await r.zadd(a, {"x": 1, "y": 1, "z": 1})
    await r.zadd(b, {"x": 1, "y": 1})
    exactly(await r.zintercard(2, [a, b]), 2)
    exactly(await r.zintercard(2, [a, b], limit=1), 1)


async def test_zpop(r: Client[Any], text: Text, z: str) -> None:
    exactly(await r.zpopmin(z), [])
    exactly(await r.zpopmax(z), [])
    exactly(await r.zpopmin(z, 2), [])
    await r.zadd(z, {"a": 1, "b": 2, "c": 3, "d": 4, "e": inf})
    exactly(await r.zpopmin(z), text([("a", 1.0)]))
    exactly(await r.zpopmax(z), text([("e", inf)]))
    exactly(await r.zpopmin(z, 1), text([("b", 2.0)]))
    exactly(await r.zpopmax(z, 9), text([("d", 4.0), ("c", 3.0)]))


async def test_zmpop(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(7, 0)
    a, b = (f"{prefix}{name}" for name in "ab")
    exactly(await r.zmpop(2, [a, b], min=True), None)
    await r.zadd(b, {"x": 1, "y": 2, "z": 3})
    exactly(await r.zmpop(2, [a, b], min=True), text((b, [("x", 1.0)])))
    exactly(await r.zmpop(2, [a, b], max=True, count=9), text((b, [("z", 3.0), ("y", 2.0)])))
    await r.zadd(a, {"x": -inf})
    exactly(await r.bzmpop(1, 2, [a, b], max=True), text((a, [("x", -inf)])))
    exactly(await r.bzmpop(0.01, 1, a, min=True, count=2), None)


async def test_zrandmember(r: Client[Any], text: Text, z: str) -> None:
    exactly(await r.zrandmember(z), None)
    exactly(await r.zrandmember(z, 2), [])
    exactly(await r.zrandmember(z, 2, withscores=True), [])
    await r.zadd(z, {"a": 1})
    exactly(await r.zrandmember(z), text("a"))
    exactly(await r.zrandmember(z, 5), text(["a"]))
    exactly(await r.zrandmember(z, -2), text(["a", "a"]))
    exactly(await r.zrandmember(z, -2, withscores=True), text([("a", 1.0), ("a", 1.0)]))


async def test_zscan(r: Client[Any], text: Text, z: str) -> None:
    exactly(await r.zscan(z), (0, []))
    await r.zadd(z, {f"m{number}": number for number in range(1000)})  # more than stay in one piece
    cursor, found = 0, set()
    while True:
        cursor, page = await r.zscan(z, cursor, count=100)
        exactly(cursor, int(cursor))
        assert type(page) is list
        found |= set(page)
        if not cursor:
            break
    exactly(found, text({(f"m{number}", float(number)) for number in range(1000)}))
    exactly((await r.zscan(z, match="m17", count=2000))[1], text([("m17", 17.0)]))


async def test_zscan_without_scores(r: Client[Any], text: Text, z: str, since: Since) -> None:
    since(valkey=(8, 0))
    await r.zadd(z, {"a": 1, "b": 2})
    exactly(await r.zscan(z, no_scores=True), (0, text(["a", "b"])))


async def test_blocking_commands_that_find_something(r: Client[Any], text: Text, prefix: str) -> None:
    a, b = (f"{prefix}{name}" for name in "ab")
    await r.zadd(b, {"x": 1, "y": 2.5, "z": inf})
    exactly(await r.bzpopmin([a, b], timeout=1), text((b, "x", 1.0)))
    exactly(await r.bzpopmax(b, 1), text((b, "z", inf)))
    exactly(await r.bzpopmax([a, b]), text((b, "y", 2.5)))


async def test_blocking_commands_that_find_nothing(r: Client[Any], prefix: str) -> None:
    exactly(await asyncio.gather(r.bzpopmin(f"{prefix}a", 0.01), r.bzpopmax([f"{prefix}a"], 0.01)), [None] * 2)


async def test_a_blocking_command_waits(r: Client[Any], text: Text, prefix: str) -> None:
    waiting = asyncio.create_task(r.bzpopmin([f"{prefix}a", f"{prefix}b"]))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await r.zadd(f"{prefix}b", {"x": 1})
    exactly(await waiting, text((f"{prefix}b", "x", 1.0)))
