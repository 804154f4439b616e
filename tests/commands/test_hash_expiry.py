"""Fields that expire: what is sent, and what comes back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioresp import Client
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WHEN = datetime(2033, 5, 18, 3, 33, 20, 500_000, UTC)

WIRE: Wire = [
    (lambda r: r.hexpire("h", 10, "f"), ("HEXPIRE", "h", 10, "FIELDS", 1, "f")),
    (lambda r: r.hexpire("h", timedelta(seconds=1.5), "f", 2), ("HEXPIRE", "h", 2, "FIELDS", 2, "f", 2)),
    (lambda r: r.hexpire("h", 10, "f", nx=True), ("HEXPIRE", "h", 10, "NX", "FIELDS", 1, "f")),
    (lambda r: r.hexpire("h", 10, "f", xx=True), ("HEXPIRE", "h", 10, "XX", "FIELDS", 1, "f")),
    (lambda r: r.hexpire("h", 10, "f", gt=True), ("HEXPIRE", "h", 10, "GT", "FIELDS", 1, "f")),
    (lambda r: r.hexpire("h", 10, "f", lt=True), ("HEXPIRE", "h", 10, "LT", "FIELDS", 1, "f")),
    (lambda r: r.hpexpire("h", 10, "f"), ("HPEXPIRE", "h", 10, "FIELDS", 1, "f")),
    (lambda r: r.hpexpire("h", timedelta(seconds=1), "f", nx=True), ("HPEXPIRE", "h", 1000, "NX", "FIELDS", 1, "f")),
    (lambda r: r.hpexpire("h", 10, "f", xx=True), ("HPEXPIRE", "h", 10, "XX", "FIELDS", 1, "f")),
    (lambda r: r.hpexpire("h", 10, "f", gt=True), ("HPEXPIRE", "h", 10, "GT", "FIELDS", 1, "f")),
    (lambda r: r.hpexpire("h", 10, "f", lt=True), ("HPEXPIRE", "h", 10, "LT", "FIELDS", 1, "f")),
    (lambda r: r.hexpireat("h", WHEN, "f"), ("HEXPIREAT", "h", 2_000_000_001, "FIELDS", 1, "f")),
    (lambda r: r.hexpireat("h", 5, "f", nx=True), ("HEXPIREAT", "h", 5, "NX", "FIELDS", 1, "f")),
    (lambda r: r.hexpireat("h", 5, "f", xx=True), ("HEXPIREAT", "h", 5, "XX", "FIELDS", 1, "f")),
    (lambda r: r.hexpireat("h", 5, "f", gt=True), ("HEXPIREAT", "h", 5, "GT", "FIELDS", 1, "f")),
    (lambda r: r.hexpireat("h", 5, "f", lt=True), ("HEXPIREAT", "h", 5, "LT", "FIELDS", 1, "f")),
    (lambda r: r.hpexpireat("h", WHEN, "f"), ("HPEXPIREAT", "h", 2_000_000_000_500, "FIELDS", 1, "f")),
    (lambda r: r.hpexpireat("h", 5, "f", nx=True), ("HPEXPIREAT", "h", 5, "NX", "FIELDS", 1, "f")),
    (lambda r: r.hpexpireat("h", 5, "f", xx=True), ("HPEXPIREAT", "h", 5, "XX", "FIELDS", 1, "f")),
    (lambda r: r.hpexpireat("h", 5, "f", gt=True), ("HPEXPIREAT", "h", 5, "GT", "FIELDS", 1, "f")),
    (lambda r: r.hpexpireat("h", 5, "f", lt=True), ("HPEXPIREAT", "h", 5, "LT", "FIELDS", 1, "f")),
    (lambda r: r.hexpiretime("h", "f", b"g"), ("HEXPIRETIME", "h", "FIELDS", 2, "f", b"g")),
    (lambda r: r.hpexpiretime("h", "f"), ("HPEXPIRETIME", "h", "FIELDS", 1, "f")),
    (lambda r: r.hpersist("h", "f"), ("HPERSIST", "h", "FIELDS", 1, "f")),
    (lambda r: r.httl("h", "f"), ("HTTL", "h", "FIELDS", 1, "f")),
    (lambda r: r.hpttl("h", "f"), ("HPTTL", "h", "FIELDS", 1, "f")),
    (lambda r: r.hgetdel("h", "f", 1), ("HGETDEL", "h", "FIELDS", 2, "f", 1)),
    (lambda r: r.hgetex("h", "f"), ("HGETEX", "h", "FIELDS", 1, "f")),
    (lambda r: r.hgetex("h", "f", "g", ex=timedelta(hours=1)), ("HGETEX", "h", "EX", 3600, "FIELDS", 2, "f", "g")),
    (lambda r: r.hgetex("h", "f", px=5), ("HGETEX", "h", "PX", 5, "FIELDS", 1, "f")),
    (lambda r: r.hgetex("h", "f", exat=WHEN), ("HGETEX", "h", "EXAT", 2_000_000_001, "FIELDS", 1, "f")),
    (lambda r: r.hgetex("h", "f", pxat=5), ("HGETEX", "h", "PXAT", 5, "FIELDS", 1, "f")),
    (lambda r: r.hgetex("h", "f", persist=True), ("HGETEX", "h", "PERSIST", "FIELDS", 1, "f")),
    (lambda r: r.hsetex("h", "f", "v"), ("HSETEX", "h", "FIELDS", 1, "f", "v")),
    (lambda r: r.hsetex("h", key=0, value=0, ex=5), ("HSETEX", "h", "EX", 5, "FIELDS", 1, 0, 0)),
    (lambda r: r.hsetex("h", mapping={"a": 1, "b": 2}, px=5), ("HSETEX", "h", "PX", 5, "FIELDS", 2, "a", 1, "b", 2)),
    (lambda r: r.hsetex("h", items=["a", 1], exat=5), ("HSETEX", "h", "EXAT", 5, "FIELDS", 1, "a", 1)),
    (lambda r: r.hsetex("h", "a", 1, pxat=5, fnx=True), ("HSETEX", "h", "FNX", "PXAT", 5, "FIELDS", 1, "a", 1)),
    (lambda r: r.hsetex("h", "a", 1, keepttl=True, fxx=True), ("HSETEX", "h", "FXX", "KEEPTTL", "FIELDS", 1, "a", 1)),
    (lambda r: r.hsetex("h", "a", 1, nx=True), ("HSETEX", "h", "NX", "FIELDS", 1, "a", 1)),
    (lambda r: r.hsetex("h", "a", 1, xx=True, fxx=True), ("HSETEX", "h", "XX", "FXX", "FIELDS", 1, "a", 1)),
    (lambda r: r.himport_prepare("s", "a", "b"), ("HIMPORT", "PREPARE", "s", "a", "b")),
    (lambda r: r.himport_set("h", "s", 1, "2"), ("HIMPORT", "SET", "h", "s", 1, "2")),
    (lambda r: r.himport_discard("s"), ("HIMPORT", "DISCARD", "s")),
    (lambda r: r.himport_discardall(), ("HIMPORT", "DISCARDALL")),
]

REFUSED: Refused = [
    (lambda r: r.hexpire("h", 10), ValueError, "HEXPIRE: fields is empty"),
    (lambda r: r.hexpire("h", 10, "f", nx=True, gt=True), ValueError, "HEXPIRE: nx and gt exclude each other"),
    (lambda r: r.httl("h"), ValueError, "HTTL: fields is empty"),
    (lambda r: r.hgetdel("h"), ValueError, "HGETDEL: keys is empty"),
    (lambda r: r.hgetex("h", "f", ex=1, persist=True), ValueError, "HGETEX: ex and persist exclude each other"),
    (lambda r: r.hsetex("h"), ValueError, "HSETEX: needs fields"),
    (lambda r: r.hsetex("h", "f"), ValueError, "HSETEX: key and value go together, but value is missing"),
    (lambda r: r.hsetex("h", items=["f"]), ValueError, "HSETEX: needs fields, each with a value"),
    (lambda r: r.hsetex("h", "f", 1, fnx=True, fxx=True), ValueError, "HSETEX: fnx and fxx exclude each other"),
    (lambda r: r.hsetex("h", "f", 1, ex=1, keepttl=True), ValueError, "HSETEX: ex and keepttl exclude each other"),
    (lambda r: r.himport_prepare("s"), ValueError, "HIMPORT PREPARE: fields is empty"),
    (lambda r: r.himport_set("h", "s"), ValueError, "HIMPORT SET: values is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
def h(prefix: str) -> str:
    return f"{prefix}h"


async def test_fields_expire(r: Client[Any], h: str, since: Since) -> None:
    since(7, 4, valkey=(9, 0))
    await r.hset(h, mapping={"a": 1, "b": 2, "c": 3, "d": 4})
    now = int(time.time())
    exactly(await r.hexpire(h, 100, "a", "none"), [1, -2])
    exactly(await r.hexpire(h, 50, "a", "b", nx=True), [0, 1])
    exactly(await r.hpexpire(h, 200_000, "a", gt=True), [1])
    exactly(await r.hexpireat(h, now + 300, "c"), [1])
    exactly(await r.hpexpireat(h, (now + 400) * 1000, "d", "c", xx=True), [0, 1])
    exactly(await r.hexpiretime(h, "c", "d", "none"), [now + 400, -1, -2])
    exactly(await r.hpexpiretime(h, "c"), [(now + 400) * 1000])
    (ttl,) = await r.httl(h, "b")
    assert 45 < ttl <= 50
    (pttl,) = await r.hpttl(h, "b")
    assert 45_000 < pttl <= 50_000
    exactly(await r.hpersist(h, "b", "d", "none"), [1, -1, -2])
    exactly(await r.httl(h, "b", "none"), [-1, -2])
    exactly(await r.hexpire(h, 0, "b"), [2])
    exactly(await r.hexists(h, "b"), False)
    exactly(await r.httl(f"{h}2", "f"), [-2])


async def test_hgetex(r: Client[Any], text: Text, h: str, since: Since) -> None:
    since(8, 0, valkey=(9, 0))
    await r.hset(h, mapping={"a": 1, "b": 2})
    exactly(await r.hgetex(h, "a", "none", ex=100), [text("1"), None])
    assert 95 < (await r.httl(h, "a"))[0] <= 100
    exactly(await r.hgetex(h, "a", persist=True), [text("1")])
    exactly(await r.httl(h, "a"), [-1])


async def test_hgetdel(r: Client[Any], text: Text, h: str, since: Since) -> None:
    since(8, 0, valkey=(9, 1))
    await r.hset(h, mapping={"a": 1, "b": 2})
    exactly(await r.hgetdel(h, "a", "none"), [text("1"), None])
    exactly(await r.hgetall(h), text({"b": "2"}))


async def test_hsetex(r: Client[Any], text: Text, h: str, since: Since) -> None:
    since(8, 0, valkey=(9, 0))
    exactly(await r.hsetex(h, "a", 1, {"b": 2}, ex=100), True)
    exactly(await r.hgetall(h), text({"a": "1", "b": "2"}))
    assert 95 < (await r.httl(h, "b"))[0] <= 100
    exactly(await r.hsetex(h, "a", 5, fnx=True), False)
    exactly(await r.hsetex(h, "a", 5, fxx=True, keepttl=True), True)
    assert 95 < (await r.httl(h, "a"))[0] <= 100


async def test_hsetex_of_valkey(r: Client[Any], h: str, since: Since) -> None:
    since(valkey=(9, 0))
    exactly(await r.hsetex(h, "a", 1, xx=True), False)
    exactly(await r.hsetex(h, "a", 1, nx=True), True)
    exactly(await r.hsetex(h, "b", 1, nx=True), False)


async def test_himport(r: Client[Any], text: Text, h: str, since: Since) -> None:
    since(8, 10)
    async with r.connection() as c:
        exactly(await c.himport_prepare("s", "a", "b"), True)
        exactly(await c.himport_set(h, "s", 1, 2), True)
        exactly(await c.himport_discard("s"), True)
        exactly(await c.himport_discardall(), 0)
    exactly(await r.hgetall(h), text({"a": "1", "b": "2"}))
