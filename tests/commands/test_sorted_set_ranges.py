"""Ranges of sorted sets: what is sent, and what comes back."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from aioresp import Client, ResponseError
from tests.commands.exact import Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.zrange("z", 0, -1), ("ZRANGE", "z", 0, -1)),
    (lambda r: r.zrange("z", 0, -1, True), ("ZRANGE", "z", 0, -1, "REV")),
    (lambda r: r.zrange("z", 0, -1, withscores=True), ("ZRANGE", "z", 0, -1, "WITHSCORES")),
    (lambda r: r.zrange("z", "(1", inf, byscore=True), ("ZRANGE", "z", "(1", inf, "BYSCORE")),
    (lambda r: r.zrange("z", "-", b"(\xff", bylex=True), ("ZRANGE", "z", "-", b"(\xff", "BYLEX")),
    (
        lambda r: r.zrange("z", "+inf", 1.5, desc=True, withscores=True, byscore=True, offset=0, num=-1),
        ("ZRANGE", "z", "+inf", 1.5, "BYSCORE", "REV", "LIMIT", 0, -1, "WITHSCORES"),
    ),
    (lambda r: r.zrangebylex("z", "-", b"(\xff"), ("ZRANGEBYLEX", "z", "-", b"(\xff")),
    (lambda r: r.zrangebylex("z", "[a", "+", start=0, num=2), ("ZRANGEBYLEX", "z", "[a", "+", "LIMIT", 0, 2)),
    (lambda r: r.zrangebyscore("z", "-inf", 2.5), ("ZRANGEBYSCORE", "z", "-inf", 2.5)),
    (lambda r: r.zrangebyscore("z", 1, 2, 3, 4), ("ZRANGEBYSCORE", "z", 1, 2, "LIMIT", 3, 4)),
    (
        lambda r: r.zrangebyscore("z", min="(1", max=inf, start=0, num=2, withscores=True),
        ("ZRANGEBYSCORE", "z", "(1", inf, "LIMIT", 0, 2, "WITHSCORES"),
    ),
    (lambda r: r.zrangestore("d", "z", 0, -1), ("ZRANGESTORE", "d", "z", 0, -1)),
    (lambda r: r.zrangestore("d", "z", 0, 1, desc=True), ("ZRANGESTORE", "d", "z", 0, 1, "REV")),
    (lambda r: r.zrangestore("d", "z", "-", "+", bylex=True), ("ZRANGESTORE", "d", "z", "-", "+", "BYLEX")),
    (
        lambda r: r.zrangestore(dest="d", name="z", start="(1", end=9, byscore=True, offset=1, num=2),
        ("ZRANGESTORE", "d", "z", "(1", 9, "BYSCORE", "LIMIT", 1, 2),
    ),
    (lambda r: r.zremrangebylex("z", "[a", b"(b"), ("ZREMRANGEBYLEX", "z", "[a", b"(b")),
    (lambda r: r.zremrangebyrank("z", 0, -2), ("ZREMRANGEBYRANK", "z", 0, -2)),
    (lambda r: r.zremrangebyscore("z", "(1", 2.5), ("ZREMRANGEBYSCORE", "z", "(1", 2.5)),
    (lambda r: r.zrevrange("z", 0, -1), ("ZREVRANGE", "z", 0, -1)),
    (lambda r: r.zrevrange("z", start=0, end=1, withscores=True), ("ZREVRANGE", "z", 0, 1, "WITHSCORES")),
    (lambda r: r.zrevrangebylex("z", "+", "-"), ("ZREVRANGEBYLEX", "z", "+", "-")),
    (
        lambda r: r.zrevrangebylex("z", max=b"[b", min="[a", start=0, num=2),
        ("ZREVRANGEBYLEX", "z", b"[b", "[a", "LIMIT", 0, 2),
    ),
    (lambda r: r.zrevrangebyscore("z", "+inf", 1), ("ZREVRANGEBYSCORE", "z", "+inf", 1)),
    (
        lambda r: r.zrevrangebyscore("z", max=2.5, min="(1", start=0, num=2, withscores=True),
        ("ZREVRANGEBYSCORE", "z", 2.5, "(1", "LIMIT", 0, 2, "WITHSCORES"),
    ),
]

REFUSED: Refused = [
    (lambda r: r.zrange("z", 0, 1, byscore=True, bylex=True), ValueError, "ZRANGE: byscore and bylex exclude each"),
    (lambda r: r.zrange("z", 0, 1, offset=0, num=1), ValueError, "ZRANGE: offset and num need byscore or bylex"),
    (lambda r: r.zrange("z", 0, 1, byscore=True, offset=0), ValueError, "ZRANGE: offset and num go together"),
    (lambda r: r.zrange("z", 0, 1, byscore=True, num=1), ValueError, "ZRANGE: offset and num go together"),
    (lambda r: r.zrangestore("d", "z", 0, 1, byscore=True, bylex=True), ValueError, "ZRANGESTORE: byscore and bylex"),
    (lambda r: r.zrangestore("d", "z", 0, 1, offset=0, num=1), ValueError, "ZRANGESTORE: offset and num need"),
    (lambda r: r.zrangestore("d", "z", 0, 1, bylex=True, num=1), ValueError, "ZRANGESTORE: offset and num go"),
    (lambda r: r.zrangebylex("z", "-", "+", num=1), ValueError, "ZRANGEBYLEX: start and num go together"),
    (lambda r: r.zrangebyscore("z", 0, 1, start=0), ValueError, "ZRANGEBYSCORE: start and num go together"),
    (lambda r: r.zrevrangebylex("z", "+", "-", 0), ValueError, "ZREVRANGEBYLEX: start and num go together"),
    (lambda r: r.zrevrangebyscore("z", 1, 0, num=0), ValueError, "ZREVRANGEBYSCORE: start and num go together"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


def test_a_range_by_member_has_no_scores() -> None:
    options: Any = {"bylex": True, "withscores": True}
    message = "ZRANGE: bylex and withscores exclude each other"
    check_refused(lambda r: r.zrange("z", "-", "+", **options), ValueError, message)


@pytest.fixture
async def z(r: Client[Any], prefix: str) -> str:
    """A sorted set with different scores."""
    await r.zadd(f"{prefix}z", {"a": -inf, "b": 1, "c": 2.5, "ü": inf})
    return f"{prefix}z"


@pytest.fixture
async def same(r: Client[Any], prefix: str) -> str:
    """A sorted set whose members all have one score."""
    await r.zadd(f"{prefix}same", dict.fromkeys("abcd", 1))
    return f"{prefix}same"


async def test_by_rank(r: Client[Any], text: Text, z: str) -> None:
    exactly(await r.zrange(z, 0, -1), text(["a", "b", "c", "ü"]))
    exactly(await r.zrange(z, 1, 2), text(["b", "c"]))
    exactly(await r.zrange(z, 0, 1, desc=True), text(["ü", "c"]))
    exactly(await r.zrange(z, 0, -1, withscores=True), text([("a", -inf), ("b", 1.0), ("c", 2.5), ("ü", inf)]))
    exactly(await r.zrange(z, 0, 0, desc=True, withscores=True), text([("ü", inf)]))
    exactly(await r.zrevrange(z, 0, 1), text(["ü", "c"]))
    exactly(await r.zrevrange(z, 1, 2, withscores=True), text([("c", 2.5), ("b", 1.0)]))
    exactly(await r.zrange(f"{z}2", 0, -1), [])
    exactly(await r.zrange(f"{z}2", 0, -1, withscores=True), [])
    exactly(await r.zrevrange(f"{z}2", 0, -1, withscores=True), [])


async def test_by_score(r: Client[Any], text: Text, z: str) -> None:
    exactly(await r.zrange(z, "(1", "+inf", byscore=True), text(["c", "ü"]))
    exactly(await r.zrange(z, -inf, inf, byscore=True, offset=1, num=2), text(["b", "c"]))
    exactly(await r.zrange(z, 2.5, 1, True, byscore=True, withscores=True), text([("c", 2.5), ("b", 1.0)]))
    exactly(await r.zrange(z, inf, 1, desc=True, byscore=True, offset=2, num=-1, withscores=True), text([("b", 1.0)]))
    exactly(await r.zrangebyscore(z, "-inf", "(2.5"), text(["a", "b"]))
    exactly(await r.zrangebyscore(z, 1, 2.5, withscores=True), text([("b", 1.0), ("c", 2.5)]))
    exactly(await r.zrangebyscore(z, -inf, inf, start=1, num=1), text(["b"]))
    exactly(await r.zrangebyscore(z, -inf, inf, 3, -1, withscores=True), text([("ü", inf)]))
    exactly(await r.zrevrangebyscore(z, "+inf", "(1"), text(["ü", "c"]))
    exactly(await r.zrevrangebyscore(z, 2.5, 1, withscores=True), text([("c", 2.5), ("b", 1.0)]))
    exactly(await r.zrevrangebyscore(z, inf, -inf, 3, 5), text(["a"]))
    with pytest.raises(ResponseError, match="not a float"):
        await r.zrangebyscore(z, "much", "more")


async def test_by_member(r: Client[Any], text: Text, same: str) -> None:
    exactly(await r.zrange(same, "-", "(c", bylex=True), text(["a", "b"]))
    exactly(await r.zrange(same, "+", b"[b", desc=True, bylex=True, offset=1, num=1), text(["c"]))
    exactly(await r.zrangebylex(same, "[b", b"[c"), text(["b", "c"]))
    exactly(await r.zrangebylex(same, "-", "+", start=3, num=-1), text(["d"]))
    exactly(await r.zrevrangebylex(same, "(d", "-"), text(["c", "b", "a"]))
    exactly(await r.zrevrangebylex(same, "+", "-", start=0, num=2), text(["d", "c"]))


async def test_zrangestore(r: Client[Any], text: Text, z: str, same: str) -> None:
    d = f"{z}2"
    exactly(await r.zrangestore(d, z, 1, -1), 3)
    exactly(await r.zrange(d, 0, -1, withscores=True), text([("b", 1.0), ("c", 2.5), ("ü", inf)]))
    exactly(await r.zrangestore(d, z, "+inf", "(1", desc=True, byscore=True, offset=0, num=1), 1)
    exactly(await r.zrange(d, 0, -1), text(["ü"]))
    exactly(await r.zrangestore(d, same, "[c", "+", bylex=True), 2)
    exactly(await r.zrange(d, 0, -1), text(["c", "d"]))
    exactly(await r.zrangestore(d, z, 9, 9), 0)
    exactly(await r.exists(d), 0)


async def test_zremrange(r: Client[Any], text: Text, z: str, same: str) -> None:
    exactly(await r.zremrangebyrank(z, -1, -1), 1)
    exactly(await r.zremrangebyscore(z, "(1", inf), 1)
    exactly(await r.zremrangebyscore(z, 1, 1.5), 1)
    exactly(await r.zrange(z, 0, -1), text(["a"]))
    exactly(await r.zremrangebylex(same, "[b", b"(d"), 2)
    exactly(await r.zrange(same, 0, -1), text(["a", "d"]))
