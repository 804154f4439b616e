"""Strings: what is sent, and what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioresp import Client, DecodeError, ResponseError
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

NEW_YEAR = datetime(2050, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)

WIRE: Wire = [
    (lambda r: r.append("k", "v"), ("APPEND", "k", "v")),
    (lambda r: r.append(key=b"k", value=1.5), ("APPEND", b"k", 1.5)),
    (lambda r: r.decr("k"), ("DECRBY", "k", 1)),
    (lambda r: r.decr("k", 5), ("DECRBY", "k", 5)),
    (lambda r: r.decr(name="k", amount=-5), ("DECRBY", "k", -5)),
    (lambda r: r.decrby("k"), ("DECRBY", "k", 1)),
    (lambda r: r.decrby("k", amount=7), ("DECRBY", "k", 7)),
    (lambda r: r.get("k"), ("GET", "k")),
    (lambda r: r.get(name=b"\xff"), ("GET", b"\xff")),
    (lambda r: r.getdel("k"), ("GETDEL", "k")),
    (lambda r: r.getex("k"), ("GETEX", "k")),
    (lambda r: r.getex("k", ex=10), ("GETEX", "k", "EX", 10)),
    (lambda r: r.getex("k", ex=timedelta(seconds=1.2)), ("GETEX", "k", "EX", 2)),
    (lambda r: r.getex("k", px=10), ("GETEX", "k", "PX", 10)),
    (lambda r: r.getex("k", px=timedelta(seconds=1.2)), ("GETEX", "k", "PX", 1200)),
    (lambda r: r.getex("k", exat=10), ("GETEX", "k", "EXAT", 10)),
    (lambda r: r.getex("k", exat=NEW_YEAR.replace(microsecond=0)), ("GETEX", "k", "EXAT", 2524608000)),
    (lambda r: r.getex("k", pxat=10), ("GETEX", "k", "PXAT", 10)),
    (lambda r: r.getex("k", pxat=NEW_YEAR), ("GETEX", "k", "PXAT", 2524608000500)),
    (lambda r: r.getex("k", persist=True), ("GETEX", "k", "PERSIST")),
    (lambda r: r.getrange("k", 0, -1), ("GETRANGE", "k", 0, -1)),
    (lambda r: r.getset("k", "v"), ("GETSET", "k", "v")),
    (lambda r: r.incr("k"), ("INCRBY", "k", 1)),
    (lambda r: r.incr("k", amount=3), ("INCRBY", "k", 3)),
    (lambda r: r.incrby("k"), ("INCRBY", "k", 1)),
    (lambda r: r.incrby("k", 3), ("INCRBY", "k", 3)),
    (lambda r: r.incrbyfloat("k"), ("INCRBYFLOAT", "k", 1.0)),
    (lambda r: r.incrbyfloat("k", 0.1), ("INCRBYFLOAT", "k", 0.1)),
    (lambda r: r.mget("k"), ("MGET", "k")),
    (lambda r: r.mget("a", "b", b"c"), ("MGET", "a", "b", b"c")),
    (lambda r: r.mget(["a", "b"]), ("MGET", "a", "b")),
    (lambda r: r.mget(["a"], "b"), ("MGET", "a", "b")),
    (lambda r: r.mget(key for key in "ab"), ("MGET", "a", "b")),
    (lambda r: r.mset({"a": 1, "b": b"2"}), ("MSET", "a", 1, "b", b"2")),
    (lambda r: r.mset(mapping={b"a": "1"}), ("MSET", b"a", "1")),
    (lambda r: r.msetnx({"a": "1", "b": "2"}), ("MSETNX", "a", "1", "b", "2")),
    (lambda r: r.psetex("k", 1500, "v"), ("PSETEX", "k", 1500, "v")),
    (lambda r: r.psetex("k", timedelta(seconds=1.5), "v"), ("PSETEX", "k", 1500, "v")),
    (lambda r: r.set("k", "v"), ("SET", "k", "v")),
    (lambda r: r.set(name="k", value=0), ("SET", "k", 0)),
    (lambda r: r.set("k", "v", ex=10), ("SET", "k", "v", "EX", 10)),
    (lambda r: r.set("k", "v", 10), ("SET", "k", "v", "EX", 10)),
    (lambda r: r.set("k", "v", ex=0), ("SET", "k", "v", "EX", 0)),
    (lambda r: r.set("k", "v", ex=timedelta(minutes=1)), ("SET", "k", "v", "EX", 60)),
    (lambda r: r.set("k", "v", ex=timedelta(milliseconds=1)), ("SET", "k", "v", "EX", 1)),
    (lambda r: r.set("k", "v", px=10), ("SET", "k", "v", "PX", 10)),
    (lambda r: r.set("k", "v", px=timedelta(minutes=1)), ("SET", "k", "v", "PX", 60000)),
    (lambda r: r.set("k", "v", nx=True), ("SET", "k", "v", "NX")),
    (lambda r: r.set("k", "v", xx=True), ("SET", "k", "v", "XX")),
    (lambda r: r.set("k", "v", ex=10, nx=True), ("SET", "k", "v", "EX", 10, "NX")),
    (lambda r: r.set("k", "v", keepttl=True), ("SET", "k", "v", "KEEPTTL")),
    (lambda r: r.set("k", "v", keepttl=True, xx=True), ("SET", "k", "v", "KEEPTTL", "XX")),
    (lambda r: r.set("k", "v", get=True), ("SET", "k", "v", "GET")),
    (lambda r: r.set("k", "v", px=10, xx=True, get=True), ("SET", "k", "v", "PX", 10, "XX", "GET")),
    (lambda r: r.set("k", "v", exat=10), ("SET", "k", "v", "EXAT", 10)),
    (lambda r: r.set("k", "v", exat=NEW_YEAR.replace(microsecond=0)), ("SET", "k", "v", "EXAT", 2524608000)),
    (lambda r: r.set("k", "v", pxat=10), ("SET", "k", "v", "PXAT", 10)),
    (lambda r: r.set("k", "v", pxat=NEW_YEAR), ("SET", "k", "v", "PXAT", 2524608000500)),
    (lambda r: r.set("k", "v", ifeq="w"), ("SET", "k", "v", "IFEQ", "w")),
    (lambda r: r.set("k", "v", ifne=0, ex=5), ("SET", "k", "v", "EX", 5, "IFNE", 0)),
    (lambda r: r.set("k", "v", ifdeq="0af1", get=True), ("SET", "k", "v", "IFDEQ", "0af1", "GET")),
    (lambda r: r.set("k", "v", ifdne=b"0af1"), ("SET", "k", "v", "IFDNE", b"0af1")),
    (lambda r: r.setex("k", 10, "v"), ("SETEX", "k", 10, "v")),
    (lambda r: r.setex("k", timedelta(hours=1), "v"), ("SETEX", "k", 3600, "v")),
    (lambda r: r.setnx("k", "v"), ("SETNX", "k", "v")),
    (lambda r: r.setrange("k", 3, "v"), ("SETRANGE", "k", 3, "v")),
    (lambda r: r.strlen("k"), ("STRLEN", "k")),
]

REFUSED: Refused = [
    (lambda r: r.set("k", "v", nx=True, ifeq="w"), ValueError, "SET: nx and ifeq exclude each other"),
    (lambda r: r.getex("k", ex=1, px=1), ValueError, "GETEX: ex and px exclude each other"),
    (lambda r: r.getex("k", exat=1, pxat=1), ValueError, "GETEX: exat and pxat exclude each other"),
    (lambda r: r.getex("k", ex=1, persist=True), ValueError, "GETEX: ex and persist exclude each other"),
    (lambda r: r.mset({}), ValueError, "MSET: mapping is empty"),
    (lambda r: r.msetnx({}), ValueError, "MSETNX: mapping is empty"),
    (lambda r: r.set("k", "v", ex=1, px=1), ValueError, "SET: ex and px exclude each other"),
    (lambda r: r.set("k", "v", ex=0, pxat=1), ValueError, "SET: ex and pxat exclude each other"),
    (lambda r: r.set("k", "v", exat=1, keepttl=True), ValueError, "SET: exat and keepttl exclude each other"),
    (lambda r: r.set("k", "v", nx=True, xx=True), ValueError, "SET: nx and xx exclude each other"),
    (lambda r: r.set("k", "v", nx=True, xx=True, get=True), ValueError, "SET: nx and xx exclude each other"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
def k(prefix: str) -> str:
    return f"{prefix}k"


async def test_set_and_get(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.get(k), None)
    exactly(await r.set(k, "grüß dich"), True)
    exactly(await r.get(k), text("grüß dich"))
    exactly(await r.set(k, ""), True)
    exactly(await r.get(k), text(""))
    exactly(await r.set(k, 7), True)
    exactly(await r.get(k), text("7"))
    exactly(await r.set(k, 0.1), True)
    exactly(await r.get(k), text("0.1"))


async def test_set_with_a_condition(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.set(k, "a", xx=True), False)
    exactly(await r.set(k, "a", nx=True), True)
    exactly(await r.set(k, "b", nx=True), False)
    exactly(await r.set(k, "b", xx=True), True)
    exactly(await r.get(k), text("b"))


async def test_set_that_returns_the_old_value(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.set(k, "a", get=True), None)
    exactly(await r.set(k, "b", get=True), text("a"))
    exactly(await r.set(k, "c", xx=True, get=True), text("b"))
    exactly(await r.get(k), text("c"))


async def test_set_that_returns_the_old_value_unless_there_is_one(
    r: Client[Any], text: Text, k: str, since: Since
) -> None:
    since(7, 0)
    exactly(await r.set(k, "a", nx=True, get=True), None)
    exactly(await r.set(k, "b", nx=True, get=True), text("a"))
    exactly(await r.get(k), text("a"))


async def test_set_with_an_expiry(r: Client[Any], k: str) -> None:
    assert await r.set(k, "v", ex=timedelta(minutes=1))
    assert 59_000 < await r.pttl(k) <= 60_000
    assert await r.set(k, "v", px=90_000)
    assert 89_000 < await r.pttl(k) <= 90_000
    assert await r.set(k, "w", keepttl=True)
    assert 89_000 < await r.pttl(k) <= 90_000
    now, _ = await r.time()
    assert await r.set(k, "v", exat=now + 100)
    assert 97 <= await r.ttl(k) <= 100
    assert await r.set(k, "v", pxat=datetime.fromtimestamp(now + 200, UTC))
    assert 197 <= await r.ttl(k) <= 200
    assert await r.set(k, "v")
    exactly(await r.ttl(k), -1)
    with pytest.raises(ResponseError, match="invalid expire time"):
        await r.set(k, "v", ex=0)


async def test_setex_and_psetex(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.setex(k, 60, "v"), True)
    assert 59 <= await r.ttl(k) <= 60
    exactly(await r.psetex(k, timedelta(minutes=2), "w"), True)
    assert 119_000 < await r.pttl(k) <= 120_000
    exactly(await r.get(k), text("w"))


async def test_setnx(r: Client[Any], k: str) -> None:
    exactly(await r.setnx(k, "a"), True)
    exactly(await r.setnx(k, "b"), False)


async def test_getdel(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.getdel(k), None)
    await r.set(k, "v")
    exactly(await r.getdel(k), text("v"))
    exactly(await r.exists(k), 0)


async def test_getex(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.getex(k), None)
    await r.set(k, "v")
    exactly(await r.getex(k, ex=60), text("v"))
    assert 59 <= await r.ttl(k) <= 60
    exactly(await r.getex(k, px=90_000), text("v"))
    assert 89 <= await r.ttl(k) <= 90
    exactly(await r.getex(k, persist=True), text("v"))
    exactly(await r.ttl(k), -1)
    now, _ = await r.time()
    exactly(await r.getex(k, exat=now + 100), text("v"))
    assert 97 <= await r.ttl(k) <= 100
    exactly(await r.getex(k, pxat=(now + 200) * 1000), text("v"))
    assert 197 <= await r.ttl(k) <= 200


async def test_getset(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.getset(k, "a"), None)
    exactly(await r.getset(k, "b"), text("a"))


async def test_getrange_and_setrange(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.getrange(k, 0, -1), text(""))
    exactly(await r.setrange(k, 2, "cd"), 4)
    exactly(await r.getrange(k, 0, -1), text("\0\0cd"))
    exactly(await r.getrange(k, -2, 10), text("cd"))


async def test_append_and_strlen(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.strlen(k), 0)
    exactly(await r.append(k, "ab"), 2)
    exactly(await r.append(k, "ö"), 4)
    exactly(await r.strlen(k), 4)
    exactly(await r.get(k), text("abö"))


async def test_counters(r: Client[Any], text: Text, k: str) -> None:
    exactly(await r.incr(k), 1)
    exactly(await r.incr(k, 10), 11)
    exactly(await r.incrby(k, -1), 10)
    exactly(await r.decr(k), 9)
    exactly(await r.decr(k, 4), 5)
    exactly(await r.decrby(k, 10), -5)
    exactly(await r.incrby(k, 2**62), 2**62 - 5)
    exactly(await r.get(k), text(str(2**62 - 5)))


async def test_incrbyfloat(r: Client[Any], k: str) -> None:
    exactly(await r.incrbyfloat(k), 1.0)
    exactly(await r.incrbyfloat(k, 0.25), 1.25)
    exactly(await r.incrbyfloat(k, -0.25), 1.0)


async def test_mset_and_mget(r: Client[Any], text: Text, prefix: str) -> None:
    a, b, c = (f"{prefix}{name}" for name in "abc")
    exactly(await r.mset({a: 1, b: "2"}), True)
    exactly(await r.mget(a, c, b), text(["1", None, "2"]))
    exactly(await r.mget([a, b]), text(["1", "2"]))
    exactly(await r.mget(a), text(["1"]))
    exactly(await r.mget(c), [None])
    exactly(await r.mget([]), [])


async def test_msetnx(r: Client[Any], text: Text, prefix: str) -> None:
    a, b = (f"{prefix}{name}" for name in "ab")
    exactly(await r.msetnx({a: "1"}), True)
    exactly(await r.msetnx({a: "2", b: "2"}), False)
    exactly(await r.mget(a, b), text(["1", None]))


async def test_bytes_that_are_no_text(r: Client[Any], decode: bool, k: str) -> None:
    await r.set(k, b"\xff\0")
    raw: Client[bytes] = r.with_options(decode_responses=False)
    exactly(await raw.get(k), b"\xff\0")
    if decode:
        with pytest.raises(DecodeError, match="UTF-8"):
            await r.get(k)
