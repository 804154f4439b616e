"""Bitmaps: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp import Client, ResponseError
from tests.commands.exact import Since, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.bitcount("k"), ("BITCOUNT", "k")),
    (lambda r: r.bitcount("k", 0, -1), ("BITCOUNT", "k", 0, -1)),
    (lambda r: r.bitcount("k", start=1, end=9, mode="BIT"), ("BITCOUNT", "k", 1, 9, "BIT")),
    (lambda r: r.bitcount("k", 1, 9, "BYTE"), ("BITCOUNT", "k", 1, 9, "BYTE")),
    (lambda r: r.bitfield("k", ("GET", "u8", 0)), ("BITFIELD", "k", "GET", "u8", 0)),
    (
        lambda r: r.bitfield("k", ("SET", "i5", 100, -7), ("OVERFLOW", "SAT"), ("INCRBY", "u2", "#1", 1)),
        ("BITFIELD", "k", "SET", "i5", 100, -7, "OVERFLOW", "SAT", "INCRBY", "u2", "#1", 1),
    ),
    (
        lambda r: r.bitfield("k", ("INCRBY", "u2", 0, 1), default_overflow="FAIL"),
        ("BITFIELD", "k", "OVERFLOW", "FAIL", "INCRBY", "u2", 0, 1),
    ),
    (
        lambda r: r.bitfield("k", ("INCRBY", "u2", 0, 1), default_overflow="WRAP"),
        ("BITFIELD", "k", "OVERFLOW", "WRAP", "INCRBY", "u2", 0, 1),
    ),
    (lambda r: r.bitfield_ro("k", "u8", 0), ("BITFIELD_RO", "k", "GET", "u8", 0)),
    (
        lambda r: r.bitfield_ro("k", "u8", "#1", items=[("i4", 0), ("u2", "#3")]),
        ("BITFIELD_RO", "k", "GET", "u8", "#1", "GET", "i4", 0, "GET", "u2", "#3"),
    ),
    (lambda r: r.bitop("NOT", "d", "a"), ("BITOP", "NOT", "d", "a")),
    (lambda r: r.bitop("AND", "d", "a", b"b"), ("BITOP", "AND", "d", "a", b"b")),
    (lambda r: r.bitop("ANDOR", "d", "a", "b", "c"), ("BITOP", "ANDOR", "d", "a", "b", "c")),
    (lambda r: r.bitop("OR", "d", "a"), ("BITOP", "OR", "d", "a")),
    (lambda r: r.bitop("XOR", "d", "a"), ("BITOP", "XOR", "d", "a")),
    (lambda r: r.bitop("DIFF", "d", "a"), ("BITOP", "DIFF", "d", "a")),
    (lambda r: r.bitop("DIFF1", "d", "a"), ("BITOP", "DIFF1", "d", "a")),
    (lambda r: r.bitop("ONE", "d", "a"), ("BITOP", "ONE", "d", "a")),
    (lambda r: r.bitpos("k", 1), ("BITPOS", "k", 1)),
    (lambda r: r.bitpos("k", 0, 2), ("BITPOS", "k", 0, 2)),
    (lambda r: r.bitpos("k", 0, 0, -1), ("BITPOS", "k", 0, 0, -1)),
    (lambda r: r.bitpos("k", bit=1, start=8, end=15, mode="BIT"), ("BITPOS", "k", 1, 8, 15, "BIT")),
    (lambda r: r.bitpos("k", 1, 8, 15, "BYTE"), ("BITPOS", "k", 1, 8, 15, "BYTE")),
    (lambda r: r.getbit("k", 7), ("GETBIT", "k", 7)),
    (lambda r: r.setbit("k", 7, 1), ("SETBIT", "k", 7, 1)),
    (lambda r: r.setbit("k", 7, True), ("SETBIT", "k", 7, 1)),
]

REFUSED: Refused = [
    (lambda r: r.bitcount("k", 1), ValueError, "BITCOUNT: start and end go together"),
    (lambda r: r.bitcount("k", end=1), ValueError, "BITCOUNT: start and end go together"),
    (lambda r: r.bitcount("k", mode="BIT"), ValueError, "BITCOUNT: mode needs end"),
    (lambda r: r.bitfield("k"), ValueError, "BITFIELD: operations is empty"),
    (lambda r: r.bitfield("k", ("OVERFLOW", "SAT")), ValueError, "BITFIELD: operations is empty"),
    (lambda r: r.bitop("AND", "d"), ValueError, "BITOP: keys is empty"),
    (lambda r: r.bitop("NOT", "d", "a", "b"), ValueError, "BITOP: NOT takes one key, but keys has 2"),
    (lambda r: r.bitpos("k", 1, end=1), ValueError, "BITPOS: end needs start"),
    (lambda r: r.bitpos("k", 1, 0, mode="BIT"), ValueError, "BITPOS: mode needs end"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
async def k(r: Client[Any], prefix: str) -> str:
    await r.set(f"{prefix}k", b"\x00\xff\xf0")
    return f"{prefix}k"


async def test_single_bits(r: Client[Any], prefix: str) -> None:
    k = f"{prefix}k"
    exactly(await r.getbit(k, 7), 0)
    exactly(await r.setbit(k, 7, 1), 0)
    exactly(await r.setbit(k, 7, True), 1)
    exactly(await r.getbit(k, 7), 1)
    exactly(await r.setbit(k, 7, 0), 1)
    exactly(await r.strlen(k), 1)
    with pytest.raises(ResponseError, match="bit is not an integer or out of range"):
        await r.setbit(k, 7, 2)


async def test_bitcount(r: Client[Any], k: str) -> None:
    exactly(await r.bitcount(k), 12)
    exactly(await r.bitcount(k, 1, 1), 8)
    exactly(await r.bitcount(k, -1, -1), 4)
    exactly(await r.bitcount(f"{k}2"), 0)


async def test_bitpos(r: Client[Any], k: str) -> None:
    exactly(await r.bitpos(k, 1), 8)
    exactly(await r.bitpos(k, 0, 1), 20)
    exactly(await r.bitpos(k, 0, 1, 1), -1)
    exactly(await r.bitpos(f"{k}2", 1), -1)


async def test_units(r: Client[Any], k: str, since: Since) -> None:
    since(7, 0)
    exactly(await r.bitcount(k, 7, 9, "BIT"), 2)
    exactly(await r.bitcount(k, 0, 1, "BYTE"), 8)
    exactly(await r.bitpos(k, 1, 10, 12, "BIT"), 10)
    exactly(await r.bitpos(k, 1, 0, 0, mode="BYTE"), -1)


async def test_bitop(r: Client[Any], prefix: str) -> None:
    a, b, d = (f"{prefix}{name}" for name in "abd")
    await r.set(a, b"\x0c")
    await r.set(b, b"\x0a\x80")
    raw = r.with_options(decode_responses=False)
    exactly(await r.bitop("AND", d, a, b), 2)
    exactly(await raw.get(d), b"\x08\x00")
    exactly(await r.bitop("OR", d, a, b), 2)
    exactly(await raw.get(d), b"\x0e\x80")
    exactly(await r.bitop("XOR", d, a, b), 2)
    exactly(await raw.get(d), b"\x06\x80")
    exactly(await r.bitop("NOT", d, a), 1)
    exactly(await raw.get(d), b"\xf3")
    exactly(await r.bitop("NOT", d, f"{prefix}none"), 0)


async def test_newer_bitop(r: Client[Any], prefix: str, since: Since) -> None:
    since(8, 2)
    a, b, d = (f"{prefix}{name}" for name in "abd")
    await r.set(a, b"\x0c")
    await r.set(b, b"\x0a")
    raw = r.with_options(decode_responses=False)
    exactly(await r.bitop("DIFF", d, a, b), 1)
    exactly(await raw.get(d), b"\x04")
    exactly(await r.bitop("DIFF1", d, a, b), 1)
    exactly(await raw.get(d), b"\x02")
    exactly(await r.bitop("ANDOR", d, a, b), 1)
    exactly(await raw.get(d), b"\x08")
    exactly(await r.bitop("ONE", d, a, b), 1)
    exactly(await raw.get(d), b"\x06")


async def test_bitfield(r: Client[Any], prefix: str) -> None:
    k = f"{prefix}k"
    exactly(await r.bitfield(k, ("SET", "i8", 0, -100)), [0])
    exactly(await r.bitfield(k, ("GET", "i8", 0), ("GET", "u8", 0), ("GET", "u4", "#1")), [-100, 156, 12])
    exactly(await r.bitfield(k, ("INCRBY", "i8", 0, -100)), [56])
    exactly(await r.bitfield(k, ("OVERFLOW", "SAT"), ("INCRBY", "i8", 0, 100), ("GET", "i8", 0)), [127, 127])
    exactly(await r.bitfield(k, ("INCRBY", "i8", 0, 1), ("GET", "i8", 0), default_overflow="FAIL"), [None, 127])
    exactly(await r.bitfield(k, ("SET", "i64", "#1", -(2**63)), ("GET", "i64", "#1")), [0, -(2**63)])
    exactly(await r.bitfield_ro(k, "i8", 0), [127])
    exactly(await r.bitfield_ro(k, "u4", "#1", [("i64", "#1"), ("u1", 0)]), [15, -(2**63), 0])
