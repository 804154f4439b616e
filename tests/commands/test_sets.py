"""Sets: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp import Client
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.sdiffcard(2, ["a", "b"]), ("SDIFFCARD", 2, "a", "b")),
    (lambda r: r.sdiffcard(numkeys=1, keys="a", limit=5), ("SDIFFCARD", 1, "a", "LIMIT", 5)),
    (lambda r: r.sunioncard(2, ["a", "b"]), ("SUNIONCARD", 2, "a", "b")),
    (lambda r: r.sunioncard(1, "a", limit=5, approx=True), ("SUNIONCARD", 1, "a", "APPROX", "LIMIT", 5)),
    (lambda r: r.sadd("s", "m"), ("SADD", "s", "m")),
    (lambda r: r.sadd("s", "m", b"n", 3, 1.5), ("SADD", "s", "m", b"n", 3, 1.5)),
    (lambda r: r.scard("s"), ("SCARD", "s")),
    (lambda r: r.sdiff("a"), ("SDIFF", "a")),
    (lambda r: r.sdiff("a", "b"), ("SDIFF", "a", "b")),
    (lambda r: r.sdiff(["a", b"b"]), ("SDIFF", "a", b"b")),
    (lambda r: r.sdiffstore("d", "a", "b"), ("SDIFFSTORE", "d", "a", "b")),
    (lambda r: r.sdiffstore("d", ["a", "b"]), ("SDIFFSTORE", "d", "a", "b")),
    (lambda r: r.sinter("a", "b"), ("SINTER", "a", "b")),
    (lambda r: r.sinter(("a", "b"), "c"), ("SINTER", "a", "b", "c")),
    (lambda r: r.sintercard(2, ["a", "b"]), ("SINTERCARD", 2, "a", "b")),
    (lambda r: r.sintercard(numkeys=1, keys=("a",), limit=5), ("SINTERCARD", 1, "a", "LIMIT", 5)),
    (lambda r: r.sinterstore("d", "a", "b"), ("SINTERSTORE", "d", "a", "b")),
    (lambda r: r.sismember("s", "m"), ("SISMEMBER", "s", "m")),
    (lambda r: r.smembers("s"), ("SMEMBERS", "s")),
    (lambda r: r.smismember("s", "m"), ("SMISMEMBER", "s", "m")),
    (lambda r: r.smismember("s", ["m", 2]), ("SMISMEMBER", "s", "m", 2)),
    (lambda r: r.smismember("s", "m", "n"), ("SMISMEMBER", "s", "m", "n")),
    (lambda r: r.smove("a", "b", "m"), ("SMOVE", "a", "b", "m")),
    (lambda r: r.spop("s"), ("SPOP", "s")),
    (lambda r: r.spop("s", 2), ("SPOP", "s", 2)),
    (lambda r: r.spop("s", count=0), ("SPOP", "s", 0)),
    (lambda r: r.srandmember("s"), ("SRANDMEMBER", "s")),
    (lambda r: r.srandmember("s", -2), ("SRANDMEMBER", "s", -2)),
    (lambda r: r.srandmember("s", number=0), ("SRANDMEMBER", "s", 0)),
    (lambda r: r.srem("s", "m", "n"), ("SREM", "s", "m", "n")),
    (lambda r: r.sscan("s"), ("SSCAN", "s", 0)),
    (lambda r: r.sscan("s", 7, "f*", 100), ("SSCAN", "s", 7, "MATCH", "f*", "COUNT", 100)),
    (lambda r: r.sunion("a", "b"), ("SUNION", "a", "b")),
    (lambda r: r.sunionstore("d", ["a"], "b"), ("SUNIONSTORE", "d", "a", "b")),
]

REFUSED: Refused = [
    (lambda r: r.sdiffcard(0, []), ValueError, "SDIFFCARD: keys is empty"),
    (lambda r: r.sunioncard(2, ["a"]), ValueError, "SUNIONCARD: numkeys is 2, but keys has 1"),
    (lambda r: r.sadd("s"), ValueError, "SADD: values is empty"),
    (lambda r: r.srem("s"), ValueError, "SREM: values is empty"),
    (lambda r: r.smismember("s", []), ValueError, "SMISMEMBER: values is empty"),
    (lambda r: r.sdiff([]), ValueError, "SDIFF: keys is empty"),
    (lambda r: r.sdiffstore("d", []), ValueError, "SDIFFSTORE: keys is empty"),
    (lambda r: r.sinter([]), ValueError, "SINTER: keys is empty"),
    (lambda r: r.sinterstore("d", []), ValueError, "SINTERSTORE: keys is empty"),
    (lambda r: r.sunion([]), ValueError, "SUNION: keys is empty"),
    (lambda r: r.sunionstore("d", []), ValueError, "SUNIONSTORE: keys is empty"),
    (lambda r: r.sintercard(0, []), ValueError, "SINTERCARD: keys is empty"),
    (lambda r: r.sintercard(2, ["a"]), ValueError, "SINTERCARD: numkeys is 2, but keys has 1"),
    (lambda r: r.sintercard(10**5000, ["a"]), ValueError, "SINTERCARD: numkeys is a huge int, but keys has 1"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


def test_a_single_name_is_not_taken_for_its_letters() -> None:
    exactly(sent(lambda r: r.sintercard(1, "abc")), ("SINTERCARD", 1, "abc"))


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
def s(prefix: str) -> str:
    return f"{prefix}s"


async def test_members(r: Client[Any], text: Text, s: str) -> None:
    exactly(await r.smembers(s), set())
    exactly(await r.sadd(s, "a", "b", "ü"), 3)
    exactly(await r.sadd(s, "a", 1), 1)
    exactly(await r.smembers(s), text({"a", "b", "ü", "1"}))
    exactly(await r.scard(s), 4)
    exactly(await r.sismember(s, "a"), True)
    exactly(await r.sismember(s, "z"), False)
    exactly(await r.smismember(s, "a", "z"), [True, False])
    exactly(await r.smismember(s, ["z"]), [False])
    exactly(await r.srem(s, "a", "z"), 1)


async def test_smove(r: Client[Any], text: Text, s: str) -> None:
    other = f"{s}2"
    await r.sadd(s, "a", "b")
    exactly(await r.smove(s, other, "a"), True)
    exactly(await r.smove(s, other, "a"), False)
    exactly(await r.smembers(other), text({"a"}))


async def test_spop(r: Client[Any], text: Text, s: str) -> None:
    exactly(await r.spop(s), None)
    exactly(await r.spop(s, 2), set())
    await r.sadd(s, "a")
    exactly(await r.spop(s), text("a"))
    await r.sadd(s, "a", "b")
    exactly(await r.spop(s, 5), text({"a", "b"}))


async def test_srandmember(r: Client[Any], text: Text, s: str) -> None:
    exactly(await r.srandmember(s), None)
    exactly(await r.srandmember(s, 2), [])
    await r.sadd(s, "a")
    exactly(await r.srandmember(s), text("a"))
    exactly(await r.srandmember(s, 5), text(["a"]))
    exactly(await r.srandmember(s, -2), text(["a", "a"]))


async def test_algebra(r: Client[Any], text: Text, prefix: str) -> None:
    a, b, d = (f"{prefix}{name}" for name in "abd")
    await r.sadd(a, 1, 2)
    await r.sadd(b, 2, 3)
    exactly(await r.sdiff(a, b), text({"1"}))
    exactly(await r.sinter([a, b]), text({"2"}))
    exactly(await r.sunion(a, b), text({"1", "2", "3"}))
    exactly(await r.sinter(a, d), set())
    exactly(await r.sdiffstore(d, a, b), 1)
    exactly(await r.smembers(d), text({"1"}))
    exactly(await r.sinterstore(d, a, b), 1)
    exactly(await r.smembers(d), text({"2"}))
    exactly(await r.sunionstore(d, [a, b]), 3)
    exactly(await r.smembers(d), text({"1", "2", "3"}))


async def test_sintercard(r: Client[Any], prefix: str, since: Since) -> None:
    since(7, 0)
    a, b = (f"{prefix}{name}" for name in "ab")
    await r.sadd(a, 1, 2, 3)
    await r.sadd(b, 2, 3)
    exactly(await r.sintercard(2, [a, b]), 2)
    exactly(await r.sintercard(2, [a, b], limit=1), 1)


async def test_sscan(r: Client[Any], text: Text, s: str) -> None:
    exactly(await r.sscan(s), (0, set()))
    names = {f"m{number}" for number in range(1000)}  # more than stay in one piece
    await r.sadd(s, *names)
    cursor, found = 0, set()
    while True:
        cursor, page = await r.sscan(s, cursor, count=100)
        exactly(cursor, int(cursor))
        assert type(page) is set
        found |= page
        if not cursor:
            break
    exactly(found, text(names))
    exactly((await r.sscan(s, match="m17", count=2000))[1], text({"m17"}))


async def test_cardinalities_of_redis_8_10(r: Client[Any], prefix: str, since: Since) -> None:
    since(8, 10)
    a, b = (f"{prefix}{name}" for name in "ab")
    await r.sadd(a, 1, 2, 3)
    await r.sadd(b, 2, 3, 4, 5)
    exactly(await r.sdiffcard(2, [a, b]), 1)
    exactly(await r.sunioncard(2, [a, b]), 5)
    exactly(await r.sunioncard(2, [a, b], limit=2), 2)
