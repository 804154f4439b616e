"""Keys of any kind: what is sent, and what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioresp import Client, ResponseError
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

NEW_YEAR = datetime(2050, 1, 1, tzinfo=UTC)

WIRE: Wire = [
    (lambda r: r.copy("a", "b"), ("COPY", "a", "b")),
    (lambda r: r.copy("a", "b", destination_db=2), ("COPY", "a", "b", "DB", 2)),
    (lambda r: r.copy("a", "b", destination_db=0, replace=True), ("COPY", "a", "b", "DB", 0, "REPLACE")),
    (lambda r: r.copy(source="a", destination="b", replace=True), ("COPY", "a", "b", "REPLACE")),
    (lambda r: r.delete("a"), ("DEL", "a")),
    (lambda r: r.delete("a", b"b"), ("DEL", "a", b"b")),
    (lambda r: r.exists("a", "a"), ("EXISTS", "a", "a")),
    (lambda r: r.expire("k", 10), ("EXPIRE", "k", 10)),
    (lambda r: r.expire("k", timedelta(hours=1)), ("EXPIRE", "k", 3600)),
    (lambda r: r.expire("k", timedelta(milliseconds=1)), ("EXPIRE", "k", 1)),
    (lambda r: r.expire("k", time=-1), ("EXPIRE", "k", -1)),
    (lambda r: r.expire("k", 10, nx=True), ("EXPIRE", "k", 10, "NX")),
    (lambda r: r.expire("k", 10, xx=True), ("EXPIRE", "k", 10, "XX")),
    (lambda r: r.expire("k", 10, gt=True), ("EXPIRE", "k", 10, "GT")),
    (lambda r: r.expire("k", 10, lt=True), ("EXPIRE", "k", 10, "LT")),
    (lambda r: r.expire("k", 10, xx=True, lt=True), ("EXPIRE", "k", 10, "XX", "LT")),
    (lambda r: r.expireat("k", 10), ("EXPIREAT", "k", 10)),
    (lambda r: r.expireat("k", NEW_YEAR), ("EXPIREAT", "k", 2524608000)),
    (lambda r: r.expireat("k", when=10, nx=True), ("EXPIREAT", "k", 10, "NX")),
    (lambda r: r.expireat("k", 10, xx=True), ("EXPIREAT", "k", 10, "XX")),
    (lambda r: r.expireat("k", 10, gt=True), ("EXPIREAT", "k", 10, "GT")),
    (lambda r: r.expireat("k", 10, lt=True), ("EXPIREAT", "k", 10, "LT")),
    (lambda r: r.expiretime("k"), ("EXPIRETIME", "k")),
    (lambda r: r.keys(), ("KEYS", "*")),
    (lambda r: r.keys("a*"), ("KEYS", "a*")),
    (lambda r: r.keys(pattern=b"a*"), ("KEYS", b"a*")),
    (lambda r: r.move("k", 1), ("MOVE", "k", 1)),
    (lambda r: r.persist("k"), ("PERSIST", "k")),
    (lambda r: r.pexpire("k", 10), ("PEXPIRE", "k", 10)),
    (lambda r: r.pexpire("k", timedelta(seconds=1.5)), ("PEXPIRE", "k", 1500)),
    (lambda r: r.pexpire("k", time=10, nx=True), ("PEXPIRE", "k", 10, "NX")),
    (lambda r: r.pexpire("k", 10, xx=True), ("PEXPIRE", "k", 10, "XX")),
    (lambda r: r.pexpire("k", 10, gt=True), ("PEXPIRE", "k", 10, "GT")),
    (lambda r: r.pexpire("k", 10, lt=True), ("PEXPIRE", "k", 10, "LT")),
    (lambda r: r.pexpireat("k", 10), ("PEXPIREAT", "k", 10)),
    (lambda r: r.pexpireat("k", NEW_YEAR), ("PEXPIREAT", "k", 2524608000000)),
    (lambda r: r.pexpireat("k", when=10, nx=True), ("PEXPIREAT", "k", 10, "NX")),
    (lambda r: r.pexpireat("k", 10, xx=True), ("PEXPIREAT", "k", 10, "XX")),
    (lambda r: r.pexpireat("k", 10, gt=True), ("PEXPIREAT", "k", 10, "GT")),
    (lambda r: r.pexpireat("k", 10, lt=True), ("PEXPIREAT", "k", 10, "LT")),
    (lambda r: r.pexpiretime("k"), ("PEXPIRETIME", "k")),
    (lambda r: r.pttl("k"), ("PTTL", "k")),
    (lambda r: r.randomkey(), ("RANDOMKEY",)),
    (lambda r: r.rename("a", "b"), ("RENAME", "a", "b")),
    (lambda r: r.renamenx("a", "b"), ("RENAMENX", "a", "b")),
    (lambda r: r.scan(), ("SCAN", 0)),
    (lambda r: r.scan(17), ("SCAN", 17)),
    (lambda r: r.scan(match="a*"), ("SCAN", 0, "MATCH", "a*")),
    (lambda r: r.scan(count=100), ("SCAN", 0, "COUNT", 100)),
    (lambda r: r.scan(_type="hash"), ("SCAN", 0, "TYPE", "hash")),
    (lambda r: r.scan(17, b"a*", 100, "set"), ("SCAN", 17, "MATCH", b"a*", "COUNT", 100, "TYPE", "set")),
    (lambda r: r.touch("a", "b"), ("TOUCH", "a", "b")),
    (lambda r: r.ttl("k"), ("TTL", "k")),
    (lambda r: r.type("k"), ("TYPE", "k")),
    (lambda r: r.unlink("a", "b"), ("UNLINK", "a", "b")),
]

REFUSED: Refused = [
    (lambda r: r.delete(), ValueError, "DEL: names is empty"),
    (lambda r: r.exists(), ValueError, "EXISTS: names is empty"),
    (lambda r: r.touch(), ValueError, "TOUCH: names is empty"),
    (lambda r: r.unlink(), ValueError, "UNLINK: names is empty"),
    (lambda r: r.expire("k", 1, nx=True, xx=True), ValueError, "EXPIRE: nx and xx exclude each other"),
    (lambda r: r.expireat("k", 1, nx=True, gt=True), ValueError, "EXPIREAT: nx and gt exclude each other"),
    (lambda r: r.pexpire("k", 1, nx=True, lt=True), ValueError, "PEXPIRE: nx and lt exclude each other"),
    (lambda r: r.pexpireat("k", 1, gt=True, lt=True), ValueError, "PEXPIREAT: gt and lt exclude each other"),
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


async def test_existence(r: Client[Any], k: str, prefix: str) -> None:
    a, b, c = (f"{prefix}{name}" for name in "abc")
    await r.mset({a: 1, b: 2, c: 3})
    exactly(await r.exists(k), 0)
    exactly(await r.exists(a, a, k), 2)
    exactly(await r.touch(a, b, k), 2)
    exactly(await r.delete(a, k), 1)
    exactly(await r.unlink(b, c, a), 2)
    exactly(await r.exists(a, b, c), 0)


async def test_copy(r: Client[Any], text: Text, prefix: str) -> None:
    a, b = (f"{prefix}{name}" for name in "ab")
    exactly(await r.copy(a, b), False)
    await r.mset({a: 1, b: 2})
    exactly(await r.copy(a, b), False)
    exactly(await r.copy(a, b, replace=True), True)
    exactly(await r.get(b), text("1"))


async def test_copy_and_move_to_another_database(own: Client[Any], k: str) -> None:
    await own.set(k, "v")
    exactly(await own.copy(k, k, destination_db=1), True)
    exactly(await own.move(k, 1), False)
    exactly(await own.move(k, 2), True)
    exactly(await own.move(k, 2), False)
    async with own.connection() as c:
        await c.select(1)
        exactly(await c.exists(k), 1)
        await c.select(2)
        exactly(await c.exists(k), 1)


async def test_expiry(r: Client[Any], k: str) -> None:
    exactly(await r.ttl(k), -2)
    exactly(await r.pttl(k), -2)
    exactly(await r.expire(k, 10), False)
    exactly(await r.persist(k), False)
    await r.set(k, "v")
    exactly(await r.ttl(k), -1)
    exactly(await r.pttl(k), -1)
    exactly(await r.expire(k, timedelta(minutes=1)), True)
    assert 59 <= await r.ttl(k) <= 60
    exactly(await r.pexpire(k, 90_000), True)
    assert 89_000 < await r.pttl(k) <= 90_000
    now, _ = await r.time()
    exactly(await r.expireat(k, now + 100), True)
    assert 97 <= await r.ttl(k) <= 100
    exactly(await r.pexpireat(k, datetime.fromtimestamp(now + 200, UTC)), True)
    assert 197 <= await r.ttl(k) <= 200
    exactly(await r.persist(k), True)
    exactly(await r.ttl(k), -1)
    exactly(await r.expire(k, -1), True)
    exactly(await r.exists(k), 0)


async def test_the_time_of_expiry(r: Client[Any], k: str, since: Since) -> None:
    since(7, 0)
    exactly(await r.expiretime(k), -2)
    exactly(await r.pexpiretime(k), -2)
    await r.set(k, "v")
    exactly(await r.expiretime(k), -1)
    exactly(await r.pexpiretime(k), -1)
    await r.pexpireat(k, NEW_YEAR)
    exactly(await r.expiretime(k), 2524608000)
    exactly(await r.pexpiretime(k), 2524608000000)


async def test_expiry_with_a_condition(r: Client[Any], k: str, since: Since) -> None:
    since(7, 0)
    await r.set(k, "v")
    exactly(await r.expire(k, 10, xx=True), False)
    exactly(await r.expire(k, 10, xx=True, lt=True), False)
    exactly(await r.expire(k, 100, nx=True), True)
    exactly(await r.expire(k, 10, gt=True), False)
    exactly(await r.expire(k, 200, lt=True), False)
    exactly(await r.pexpire(k, 10, nx=True), False)
    exactly(await r.pexpire(k, 200_000, gt=True), True)
    exactly(await r.expireat(k, NEW_YEAR, nx=True), False)
    exactly(await r.expireat(k, NEW_YEAR, gt=True), True)
    exactly(await r.pexpireat(k, NEW_YEAR, lt=True), False)
    exactly(await r.pexpireat(k, NEW_YEAR, xx=True), True)
    exactly(await r.expire(k, 10, xx=True, lt=True), True)


async def test_names(own: Client[Any], text: Text, k: str) -> None:
    exactly(await own.randomkey(), None)
    exactly(await own.keys(), [])
    await own.set(k, "v")
    exactly(await own.randomkey(), text(k))
    exactly(await own.keys(), text([k]))
    exactly(await own.keys(f"{k}?"), [])


async def test_scan(r: Client[Any], text: Text, prefix: str) -> None:
    names = [f"{prefix}{number}" for number in range(30)]
    await r.mset(dict.fromkeys(names, 1))
    await r.sadd(f"{prefix}set", 1)
    glob = prefix.replace("[", "\\[").replace("]", "\\]") + "*"
    for _type, expected in (("string", {*names}), ("set", {f"{prefix}set"}), (None, {*names, f"{prefix}set"})):
        cursor, found = 0, []
        while True:
            cursor, page = await r.scan(cursor, match=glob, count=10, _type=_type)
            exactly(cursor, int(cursor))
            assert type(page) is list
            found += page
            if not cursor:
                break
        exactly({*found}, text(expected))


async def test_scan_of_nothing(own: Client[Any]) -> None:
    exactly(await own.scan(), (0, []))


async def test_rename(r: Client[Any], text: Text, prefix: str) -> None:
    a, b, c = (f"{prefix}{name}" for name in "abc")
    with pytest.raises(ResponseError, match="no such key"):
        await r.rename(a, b)
    await r.mset({a: 1, b: 2})
    exactly(await r.rename(a, b), True)
    exactly(await r.mget(a, b), text([None, "1"]))
    exactly(await r.renamenx(b, c), True)
    await r.set(b, "v")
    exactly(await r.renamenx(b, c), False)


async def test_type(r: Client[Any], k: str) -> None:
    exactly(await r.type(k), "none")
    await r.rpush(k, 1)
    exactly(await r.type(k), "list")
