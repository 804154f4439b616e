"""Hashes: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp import Client, WrongTypeError
from tests.commands.exact import Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

# What the types forbid must fail at run time too.
ANY: Any = True

WIRE: Wire = [
    (lambda r: r.hscan("h", no_values=True), ("HSCAN", "h", 0, "NOVALUES")),
    (lambda r: r.hscan("h", 7, "f*", 100, no_values=True), ("HSCAN", "h", 7, "MATCH", "f*", "COUNT", 100, "NOVALUES")),
    (lambda r: r.hdel("h", "f"), ("HDEL", "h", "f")),
    (lambda r: r.hdel("h", "f", b"g", 3), ("HDEL", "h", "f", b"g", 3)),
    (lambda r: r.hexists("h", "f"), ("HEXISTS", "h", "f")),
    (lambda r: r.hget("h", "f"), ("HGET", "h", "f")),
    (lambda r: r.hgetall("h"), ("HGETALL", "h")),
    (lambda r: r.hincrby("h", "f"), ("HINCRBY", "h", "f", 1)),
    (lambda r: r.hincrby("h", "f", -2), ("HINCRBY", "h", "f", -2)),
    (lambda r: r.hincrbyfloat("h", "f"), ("HINCRBYFLOAT", "h", "f", 1.0)),
    (lambda r: r.hincrbyfloat("h", "f", 0.5), ("HINCRBYFLOAT", "h", "f", 0.5)),
    (lambda r: r.hkeys("h"), ("HKEYS", "h")),
    (lambda r: r.hlen("h"), ("HLEN", "h")),
    (lambda r: r.hmget("h", "f"), ("HMGET", "h", "f")),
    (lambda r: r.hmget("h", "f", "g"), ("HMGET", "h", "f", "g")),
    (lambda r: r.hmget("h", ["f", b"g"]), ("HMGET", "h", "f", b"g")),
    (lambda r: r.hmget("h", ("f",), "g"), ("HMGET", "h", "f", "g")),
    (lambda r: r.hmget("h", 1, 2), ("HMGET", "h", 1, 2)),
    (lambda r: r.hmset("h", {"f": 1, "g": "2"}), ("HMSET", "h", "f", 1, "g", "2")),
    (lambda r: r.hrandfield("h"), ("HRANDFIELD", "h")),
    (lambda r: r.hrandfield("h", 2), ("HRANDFIELD", "h", 2)),
    (lambda r: r.hrandfield("h", count=0), ("HRANDFIELD", "h", 0)),
    (lambda r: r.hrandfield("h", -2, withvalues=True), ("HRANDFIELD", "h", -2, "WITHVALUES")),
    (lambda r: r.hscan("h"), ("HSCAN", "h", 0)),
    (lambda r: r.hscan("h", 7, "f*", 100), ("HSCAN", "h", 7, "MATCH", "f*", "COUNT", 100)),
    (lambda r: r.hscan("h", match=b"f*"), ("HSCAN", "h", 0, "MATCH", b"f*")),
    (lambda r: r.hscan("h", count=100), ("HSCAN", "h", 0, "COUNT", 100)),
    (lambda r: r.hset("h", "f", "v"), ("HSET", "h", "f", "v")),
    (lambda r: r.hset("h", "", ""), ("HSET", "h", "", "")),
    (lambda r: r.hset("h", 0, 0), ("HSET", "h", 0, 0)),
    (lambda r: r.hset("h", key=b"f", value=1.5), ("HSET", "h", b"f", 1.5)),
    (lambda r: r.hset("h", mapping={"f": 1, "g": b"2"}), ("HSET", "h", "f", 1, "g", b"2")),
    (lambda r: r.hset("h", items=["f", 1, "g", 2]), ("HSET", "h", "f", 1, "g", 2)),
    (lambda r: r.hset("h", items=iter(("f", 1))), ("HSET", "h", "f", 1)),
    (
        lambda r: r.hset("h", "a", 1, mapping={"b": 2}, items=["c", 3]),
        ("HSET", "h", "a", 1, "c", 3, "b", 2),
    ),
    (lambda r: r.hsetnx("h", "f", "v"), ("HSETNX", "h", "f", "v")),
    (lambda r: r.hstrlen("h", "f"), ("HSTRLEN", "h", "f")),
    (lambda r: r.hvals("h"), ("HVALS", "h")),
]

REFUSED: Refused = [
    (lambda r: r.hdel("h"), ValueError, "HDEL: keys is empty"),
    (lambda r: r.hmget("h", []), ValueError, "HMGET: keys is empty"),
    (lambda r: r.hmset("h", {}), ValueError, "HMSET: mapping is empty"),
    (lambda r: r.hset("h"), ValueError, "HSET: mapping is empty"),
    (lambda r: r.hset("h", mapping={}), ValueError, "HSET: mapping is empty"),
    (lambda r: r.hset("h", items=[]), ValueError, "HSET: mapping is empty"),
    (lambda r: r.hset("h", "f"), ValueError, "HSET: key and value go together"),
    (lambda r: r.hset("h", value="v"), ValueError, "HSET: key and value go together"),
    (lambda r: r.hset("h", "f", None), ValueError, "HSET: key and value go together"),
    (lambda r: r.hset("h", items=["f"]), ValueError, "HSET: items has a field without a value"),
    (lambda r: r.hset("h", "f", "v", items=["g"]), ValueError, "HSET: items has a field without a value"),
    (lambda r: r.hrandfield("h", withvalues=ANY), ValueError, "HRANDFIELD: withvalues"),
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


async def test_one_field(r: Client[Any], text: Text, h: str) -> None:
    exactly(await r.hget(h, "f"), None)
    exactly(await r.hset(h, "f", "é"), 1)
    exactly(await r.hset(h, "f", "w"), 0)
    exactly(await r.hget(h, "f"), text("w"))
    exactly(await r.hget(h, "g"), None)
    exactly(await r.hexists(h, "f"), True)
    exactly(await r.hexists(h, "g"), False)
    exactly(await r.hstrlen(h, "f"), 1)
    exactly(await r.hstrlen(h, "g"), 0)
    exactly(await r.hsetnx(h, "f", "x"), False)
    exactly(await r.hsetnx(h, "g", "x"), True)
    exactly(await r.hlen(h), 2)
    exactly(await r.hdel(h, "f", "z"), 1)


async def test_all_fields(r: Client[Any], text: Text, h: str) -> None:
    exactly(await r.hgetall(h), {})
    exactly(await r.hkeys(h), [])
    exactly(await r.hvals(h), [])
    exactly(await r.hlen(h), 0)
    exactly(await r.hset(h, mapping={"f": 1, "g": 2.5}), 2)
    exactly(await r.hgetall(h), text({"f": "1", "g": "2.5"}))
    exactly(await r.hkeys(h), text(["f", "g"]))
    exactly(await r.hvals(h), text(["1", "2.5"]))


async def test_several_fields(r: Client[Any], text: Text, h: str) -> None:
    exactly(await r.hmset(h, {"f": "1", "g": "2"}), True)
    exactly(await r.hset(h, "a", 1, mapping={"b": 2}, items=["c", 3]), 3)
    exactly(await r.hmget(h, "f", "x", "a"), text(["1", None, "1"]))
    exactly(await r.hmget(h, ["g"]), text(["2"]))
    exactly(await r.hmget(f"{h}2", "g"), [None])


async def test_counters(r: Client[Any], text: Text, h: str) -> None:
    exactly(await r.hincrby(h, "f"), 1)
    exactly(await r.hincrby(h, "f", -3), -2)
    exactly(await r.hincrbyfloat(h, "f"), -1.0)
    exactly(await r.hincrbyfloat(h, "f", 0.25), -0.75)
    exactly(await r.hgetall(h), text({"f": "-0.75"}))


async def test_hrandfield(r: Client[Any], text: Text, h: str) -> None:
    exactly(await r.hrandfield(h), None)
    exactly(await r.hrandfield(h, 2), [])
    exactly(await r.hrandfield(h, 2, withvalues=True), [])
    await r.hset(h, "f", "v")
    exactly(await r.hrandfield(h), text("f"))
    exactly(await r.hrandfield(h, 2), text(["f"]))
    exactly(await r.hrandfield(h, 0), [])
    exactly(await r.hrandfield(h, -2), text(["f", "f"]))
    exactly(await r.hrandfield(h, 1, withvalues=True), text([("f", "v")]))
    exactly(await r.hrandfield(h, -2, withvalues=True), text([("f", "v"), ("f", "v")]))


async def test_hscan(r: Client[Any], text: Text, h: str) -> None:
    exactly(await r.hscan(h), (0, {}))
    fields = {f"f{number}": str(number) for number in range(1000)}  # more than stay in one piece
    await r.hset(h, mapping=fields)
    cursor, found = 0, dict[Any, Any]()
    while True:
        cursor, page = await r.hscan(h, cursor, count=100)
        exactly(cursor, int(cursor))
        assert type(page) is dict
        found |= page
        if not cursor:
            break
    exactly(found, text(fields))
    exactly((await r.hscan(h, match="f17", count=2000))[1], text({"f17": "17"}))


async def test_the_wrong_type(r: Client[Any], h: str) -> None:
    await r.set(h, "v")
    with pytest.raises(WrongTypeError, match=r"\[HGETALL '"):
        await r.hgetall(h)
