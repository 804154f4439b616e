"""Lists: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from aioresp import Client, ResponseError
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.lmpop(2, "a", b"b", direction="LEFT"), ("LMPOP", 2, "a", b"b", "LEFT")),
    (lambda r: r.lmpop(1, "a", direction="RIGHT", count=5), ("LMPOP", 1, "a", "RIGHT", "COUNT", 5)),
    (lambda r: r.blmpop(0.5, 1, "a", direction="LEFT"), ("BLMPOP", 0.5, 1, "a", "LEFT")),
    (lambda r: r.blmpop(0, 2, "a", "b", direction="RIGHT", count=5), ("BLMPOP", 0, 2, "a", "b", "RIGHT", "COUNT", 5)),
    (lambda r: r.lmovem("a", "b"), ("LMOVEM", "a", "b", "LEFT", "RIGHT")),
    (lambda r: r.lmovem("a", "b", "RIGHT", "LEFT", count=5), ("LMOVEM", "a", "b", "RIGHT", "LEFT", "COUNT", 5, "OBO")),
    (
        lambda r: r.lmovem("a", "b", src="LEFT", dest="LEFT", exactly=5, order="BULK"),
        ("LMOVEM", "a", "b", "LEFT", "LEFT", "EXACTLY", 5, "BULK"),
    ),
    (lambda r: r.blmovem("a", "b", 0), ("BLMOVEM", "a", "b", "LEFT", "RIGHT", 0)),
    (
        lambda r: r.blmovem("a", "b", 0.5, "RIGHT", "LEFT", count=5, order="BULK"),
        ("BLMOVEM", "a", "b", "RIGHT", "LEFT", 0.5, "COUNT", 5, "BULK"),
    ),
    (
        lambda r: r.blmovem("a", "b", 0.5, src="LEFT", dest="LEFT", exactly=5),
        ("BLMOVEM", "a", "b", "LEFT", "LEFT", 0.5, "EXACTLY", 5, "OBO"),
    ),
    (lambda r: r.blmove("a", "b", 5), ("BLMOVE", "a", "b", "LEFT", "RIGHT", 5)),
    (lambda r: r.blmove("a", "b", 0.5, src="RIGHT", dest="LEFT"), ("BLMOVE", "a", "b", "RIGHT", "LEFT", 0.5)),
    (lambda r: r.blpop("a"), ("BLPOP", "a", 0)),
    (lambda r: r.blpop("a", timedelta(minutes=1)), ("BLPOP", "a", 60.0)),
    (lambda r: r.blpop("a", timedelta(microseconds=1)), ("BLPOP", "a", 1e-06)),
    (lambda r: r.brpop("a", timedelta(seconds=1.5)), ("BRPOP", "a", 1.5)),
    (lambda r: r.brpoplpush("a", "b", timedelta(seconds=1)), ("BRPOPLPUSH", "a", "b", 1.0)),
    (lambda r: r.blmove("a", "b", timedelta(0)), ("BLMOVE", "a", "b", "LEFT", "RIGHT", 0.0)),
    (lambda r: r.blmovem("a", "b", timedelta(seconds=2)), ("BLMOVEM", "a", "b", "LEFT", "RIGHT", 2.0)),
    (lambda r: r.blmpop(timedelta(seconds=2), 1, "a", direction="LEFT"), ("BLMPOP", 2.0, 1, "a", "LEFT")),
    (lambda r: r.blpop("a", 1.5), ("BLPOP", "a", 1.5)),
    (lambda r: r.blpop(["a", b"b"], timeout=1), ("BLPOP", "a", b"b", 1)),
    (lambda r: r.brpop("a"), ("BRPOP", "a", 0)),
    (lambda r: r.brpop(("a", "b"), timeout=1), ("BRPOP", "a", "b", 1)),
    (lambda r: r.brpoplpush("a", "b"), ("BRPOPLPUSH", "a", "b", 0)),
    (lambda r: r.brpoplpush("a", "b", timeout=2), ("BRPOPLPUSH", "a", "b", 2)),
    (lambda r: r.lindex("l", -1), ("LINDEX", "l", -1)),
    (lambda r: r.linsert("l", "BEFORE", "p", "v"), ("LINSERT", "l", "BEFORE", "p", "v")),
    (lambda r: r.linsert("l", where="AFTER", refvalue=1, value=2), ("LINSERT", "l", "AFTER", 1, 2)),
    (lambda r: r.llen("l"), ("LLEN", "l")),
    (lambda r: r.lmove("a", "b"), ("LMOVE", "a", "b", "LEFT", "RIGHT")),
    (lambda r: r.lmove("a", "b", "RIGHT", "LEFT"), ("LMOVE", "a", "b", "RIGHT", "LEFT")),
    (lambda r: r.lpop("l"), ("LPOP", "l")),
    (lambda r: r.lpop("l", 2), ("LPOP", "l", 2)),
    (lambda r: r.lpos("l", "v"), ("LPOS", "l", "v")),
    (lambda r: r.lpos("l", "v", 2), ("LPOS", "l", "v", "RANK", 2)),
    (lambda r: r.lpos("l", "v", rank=-1), ("LPOS", "l", "v", "RANK", -1)),
    (lambda r: r.lpos("l", "v", count=0), ("LPOS", "l", "v", "COUNT", 0)),
    (lambda r: r.lpos("l", "v", maxlen=0), ("LPOS", "l", "v", "MAXLEN", 0)),
    (lambda r: r.lpos("l", 1, 2, count=3, maxlen=4), ("LPOS", "l", 1, "RANK", 2, "COUNT", 3, "MAXLEN", 4)),
    (lambda r: r.lpush("l", "v"), ("LPUSH", "l", "v")),
    (lambda r: r.lpush("l", "v", b"w", 3, 1.5), ("LPUSH", "l", "v", b"w", 3, 1.5)),
    (lambda r: r.lpushx("l", "v", "w"), ("LPUSHX", "l", "v", "w")),
    (lambda r: r.lrange("l", 0, -1), ("LRANGE", "l", 0, -1)),
    (lambda r: r.lrem("l", -2, "v"), ("LREM", "l", -2, "v")),
    (lambda r: r.lset("l", 0, "v"), ("LSET", "l", 0, "v")),
    (lambda r: r.ltrim("l", 1, 2), ("LTRIM", "l", 1, 2)),
    (lambda r: r.rpop("l"), ("RPOP", "l")),
    (lambda r: r.rpop("l", count=0), ("RPOP", "l", 0)),
    (lambda r: r.rpoplpush("a", "b"), ("RPOPLPUSH", "a", "b")),
    (lambda r: r.rpush("l", "v", "w"), ("RPUSH", "l", "v", "w")),
    (lambda r: r.rpushx("l", "v", "w"), ("RPUSHX", "l", "v", "w")),
]

REFUSED: Refused = [
    (lambda r: r.lmpop(2, "a", direction="LEFT"), ValueError, "LMPOP: the number of keys is 2, but there are 1"),
    (lambda r: r.blmpop(0, 0, direction="LEFT"), ValueError, "BLMPOP: the number of keys is 0, but there are 0"),
    (lambda r: r.lmovem("a", "b", count=1, exactly=1), ValueError, "LMOVEM: count and exactly exclude each other"),
    (lambda r: r.blmovem("a", "b", 0, order="OBO"), ValueError, "BLMOVEM: order needs count or exactly"),
    (lambda r: r.blpop([]), ValueError, "BLPOP: keys is empty"),
    (lambda r: r.brpop([], timeout=1), ValueError, "BRPOP: keys is empty"),
    (lambda r: r.lpush("l"), ValueError, "LPUSH: values is empty"),
    (lambda r: r.lpushx("l"), ValueError, "LPUSHX: values is empty"),
    (lambda r: r.rpush("l"), ValueError, "RPUSH: values is empty"),
    (lambda r: r.rpushx("l"), ValueError, "RPUSHX: values is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
def key(prefix: str) -> str:
    return f"{prefix}l"


async def test_push_and_range(r: Client[Any], text: Text, key: str) -> None:
    exactly(await r.lrange(key, 0, -1), [])
    exactly(await r.llen(key), 0)
    exactly(await r.rpushx(key, "x"), 0)
    exactly(await r.lpushx(key, "x"), 0)
    exactly(await r.rpush(key, "b", "c"), 2)
    exactly(await r.lpush(key, "a", "ä"), 4)
    exactly(await r.rpushx(key, "d"), 5)
    exactly(await r.lpushx(key, 0), 6)
    exactly(await r.llen(key), 6)
    exactly(await r.lrange(key, 0, -1), text(["0", "ä", "a", "b", "c", "d"]))
    exactly(await r.lrange(key, 1, 2), text(["ä", "a"]))


async def test_pop(r: Client[Any], text: Text, key: str) -> None:
    exactly(await r.lpop(key), None)
    exactly(await r.rpop(key), None)
    exactly(await r.lpop(key, 2), None)
    exactly(await r.rpop(key, 2), None)
    await r.rpush(key, 1, 2, 3, 4, 5)
    exactly(await r.lpop(key), text("1"))
    exactly(await r.rpop(key), text("5"))
    exactly(await r.lpop(key, 1), text(["2"]))
    exactly(await r.rpop(key, 9), text(["4", "3"]))


async def test_pop_of_none(r: Client[Any], key: str, since: Since) -> None:
    since(7, 0)
    await r.rpush(key, 1)
    exactly(await r.lpop(key, 0), [])


async def test_elements(r: Client[Any], text: Text, key: str) -> None:
    await r.rpush(key, "a", "b", "a", "c")
    exactly(await r.lindex(key, 0), text("a"))
    exactly(await r.lindex(key, -1), text("c"))
    exactly(await r.lindex(key, 9), None)
    exactly(await r.lset(key, 1, "x"), True)
    with pytest.raises(ResponseError, match="index out of range"):
        await r.lset(key, 9, "x")
    exactly(await r.linsert(key, "BEFORE", "x", "w"), 5)
    exactly(await r.linsert(key, "AFTER", "nothing", "w"), -1)
    exactly(await r.linsert(f"{key}2", "AFTER", "x", "w"), 0)
    exactly(await r.lrem(key, 0, "a"), 2)
    exactly(await r.lrange(key, 0, -1), text(["w", "x", "c"]))
    exactly(await r.ltrim(key, 0, 1), True)
    exactly(await r.lrange(key, 0, -1), text(["w", "x"]))


async def test_lpos(r: Client[Any], key: str) -> None:
    exactly(await r.lpos(key, "a"), None)
    exactly(await r.lpos(key, "a", count=0), [])
    await r.rpush(key, "a", "b", "a", "c")
    exactly(await r.lpos(key, "a"), 0)
    exactly(await r.lpos(key, "a", 2), 2)
    exactly(await r.lpos(key, "z"), None)
    exactly(await r.lpos(key, "c", maxlen=2), None)
    exactly(await r.lpos(key, "a", count=0), [0, 2])
    exactly(await r.lpos(key, "a", -1, count=1, maxlen=3), [2])
    exactly(await r.lpos(key, "z", count=2), [])


async def test_move(r: Client[Any], text: Text, prefix: str) -> None:
    a, b = (f"{prefix}{name}" for name in "ab")
    exactly(await r.lmove(a, b), None)
    exactly(await r.rpoplpush(a, b), None)
    await r.rpush(a, 1, 2, 3)
    exactly(await r.lmove(a, b), text("1"))
    exactly(await r.lmove(a, b, "RIGHT", "LEFT"), text("3"))
    exactly(await r.rpoplpush(a, b), text("2"))
    exactly(await r.lrange(b, 0, -1), text(["2", "3", "1"]))


async def test_blocking_commands_that_find_something(r: Client[Any], text: Text, prefix: str) -> None:
    a, b = (f"{prefix}{name}" for name in "ab")
    await r.rpush(b, 1, 2, 3, 4)
    exactly(await r.blpop([a, b], timeout=1), text((b, "1")))
    exactly(await r.brpop(b, 1), text((b, "4")))
    exactly(await r.blmove(b, a, 1), text("2"))
    exactly(await r.brpoplpush(b, a, 1), text("3"))
    exactly(await r.lrange(a, 0, -1), text(["3", "2"]))


async def test_blocking_commands_that_find_nothing(r: Client[Any], prefix: str) -> None:
    a, b = (f"{prefix}{name}" for name in "ab")
    exactly(
        await asyncio.gather(
            r.blpop(a, timedelta(milliseconds=1)),
            r.brpop([a, b], 0.01),
            r.blmove(a, b, 0.01),
            r.brpoplpush(a, b, timeout=0.01),
        ),
        [None] * 4,
    )


@pytest.mark.parametrize(
    "timeout", [0.001, 0.0001, 1e-9, timedelta(milliseconds=1), timedelta(microseconds=1)], ids=str
)
async def test_the_shortest_time_limits_are_not_for_ever(
    r: Client[Any], prefix: str, timeout: float | timedelta
) -> None:
    """Redis 6.2 takes them for 0. Such a call failed two seconds later."""
    a, b = (f"{prefix}{name}" for name in "ab")
    exactly(await asyncio.gather(r.blpop(a, timeout), r.blmove(a, b, timeout), r.bzpopmin(a, timeout)), [None] * 3)
    async with r.connection() as c:
        exactly(await c.brpop(a, timeout), None)
        if isinstance(timeout, float):
            exactly(await c.call("BRPOPLPUSH", a, b, timeout), None)


@pytest.mark.parametrize("timeout", [-0.0001, -0.001, -1.0])
async def test_time_limits_below_0_are_refused(r: Client[Any], prefix: str, timeout: float) -> None:
    """Of less than a millisecond, the servers would make 0."""
    with pytest.raises(ResponseError, match="timeout is negative"):
        await r.blpop(prefix, timeout)


async def test_a_blocking_command_waits(r: Client[Any], text: Text, prefix: str) -> None:
    waiting = asyncio.create_task(r.blpop([f"{prefix}a", f"{prefix}b"]))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await r.rpush(f"{prefix}b", "x")
    exactly(await waiting, text((f"{prefix}b", "x")))


async def test_pops_of_several_lists(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(7, 0)
    a, b = (f"{prefix}{name}" for name in "ab")
    exactly(await r.lmpop(2, a, b, direction="LEFT"), None)
    exactly(await r.blmpop(0.01, 2, a, b, direction="LEFT"), None)
    await r.rpush(b, 1, 2, 3, 4)
    exactly(await r.lmpop(2, a, b, direction="LEFT"), (text(b), text(["1"])))
    exactly(await r.blmpop(0.01, 2, a, b, direction="RIGHT", count=2), (text(b), text(["4", "3"])))


async def test_moves_of_several_elements(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(8, 10)
    a, b = (f"{prefix}{name}" for name in "ab")
    await r.rpush(a, 1, 2, 3, 4)
    exactly(await r.lmovem(a, b, "LEFT", "RIGHT", count=2), text(["1", "2"]))
    exactly(await r.lmovem(a, b, exactly=3), None)
    exactly(await r.blmovem(a, b, 0.01, exactly=2), text(["3", "4"]))
