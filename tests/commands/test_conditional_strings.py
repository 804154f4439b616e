"""Strings that are looked at before they change: what is sent, and what comes back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from aioresp import Client
from aioresp.replies.strings import Common, Match, common, increased, increased_float
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.delex("k"), ("DELEX", "k")),
    (lambda r: r.delex("k", ifeq="v"), ("DELEX", "k", "IFEQ", "v")),
    (lambda r: r.delex("k", ifne=0), ("DELEX", "k", "IFNE", 0)),
    (lambda r: r.delex("k", ifdeq="0af1"), ("DELEX", "k", "IFDEQ", "0af1")),
    (lambda r: r.delex("k", ifdne=b"0af1"), ("DELEX", "k", "IFDNE", b"0af1")),
    (lambda r: r.delifeq("k", "v"), ("DELIFEQ", "k", "v")),
    (lambda r: r.digest("k"), ("DIGEST", "k")),
    (lambda r: r.increx("k"), ("INCREX", "k", "BYINT", 1)),
    (lambda r: r.increx("k", 2, lbound=-5, ubound=5), ("INCREX", "k", "BYINT", 2, "LBOUND", -5, "UBOUND", 5)),
    (lambda r: r.increx("k", 0.5, ubound=2, saturate=True), ("INCREX", "k", "BYFLOAT", 0.5, "SATURATE", "UBOUND", 2)),
    (lambda r: r.increx("k", ex=timedelta(hours=1)), ("INCREX", "k", "BYINT", 1, "EX", 3600)),
    (lambda r: r.increx("k", px=5, enx=True), ("INCREX", "k", "BYINT", 1, "PX", 5, "ENX")),
    (lambda r: r.increx("k", exat=5), ("INCREX", "k", "BYINT", 1, "EXAT", 5)),
    (lambda r: r.increx("k", pxat=5), ("INCREX", "k", "BYINT", 1, "PXAT", 5)),
    (lambda r: r.increx("k", persist=True), ("INCREX", "k", "BYINT", 1, "PERSIST")),
    (lambda r: r.lcs("a", "b"), ("LCS", "a", "b")),
    (lambda r: r.lcs("a", "b", len=True), ("LCS", "a", "b", "LEN")),
    (lambda r: r.lcs("a", "b", idx=True), ("LCS", "a", "b", "IDX")),
    (
        lambda r: r.lcs("a", "b", idx=True, minmatchlen=4, withmatchlen=True),
        ("LCS", "a", "b", "IDX", "MINMATCHLEN", 4, "WITHMATCHLEN"),
    ),
    (lambda r: r.msetex({"a": 1, "b": "2"}), ("MSETEX", 2, "a", 1, "b", "2")),
    (lambda r: r.msetex({"a": 1}, ex=5, nx=True), ("MSETEX", 1, "a", 1, "NX", "EX", 5)),
    (lambda r: r.msetex({"a": 1}, px=5, xx=True), ("MSETEX", 1, "a", 1, "XX", "PX", 5)),
    (lambda r: r.msetex({"a": 1}, exat=5), ("MSETEX", 1, "a", 1, "EXAT", 5)),
    (lambda r: r.msetex({"a": 1}, pxat=5), ("MSETEX", 1, "a", 1, "PXAT", 5)),
    (lambda r: r.msetex({"a": 1}, keepttl=True), ("MSETEX", 1, "a", 1, "KEEPTTL")),
    (lambda r: r.substr("k", 1), ("SUBSTR", "k", 1, -1)),
    (lambda r: r.substr("k", 0, end=3), ("SUBSTR", "k", 0, 3)),
]

REFUSED: Refused = [
    (lambda r: r.delex("k", ifeq="v", ifne="w"), ValueError, "DELEX: ifeq and ifne exclude each other"),
    (lambda r: r.increx("k", 1, ubound=cast(Any, 0.5)), TypeError, "INCREX: ubound is float, and amount int"),
    (lambda r: r.increx("k", enx=True), ValueError, "INCREX: enx needs one of ex, px, exat and pxat"),
    (lambda r: r.increx("k", ex=1, px=1), ValueError, "INCREX: ex and px exclude each other"),
    (lambda r: r.increx("k", enx=True, persist=True), ValueError, "INCREX: enx and persist exclude each other"),
    (lambda r: cast(Any, r).lcs("a", "b", True, idx=True), ValueError, "LCS: len and idx exclude each other"),
    (lambda r: cast(Any, r).lcs("a", "b", withmatchlen=True), ValueError, "LCS: minmatchlen and withmatchlen need idx"),
    (lambda r: r.msetex({}), ValueError, "MSETEX: mapping is empty"),
    (lambda r: r.msetex({"a": 1}, nx=True, xx=True), ValueError, "MSETEX: nx and xx exclude each other"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


def test_replies() -> None:
    exactly(increased([7, 2]), (7, 2))
    exactly(increased_float([b"7.5", b"0.5"]), (7.5, 0.5))
    expected = Common([Match((4, 7), (5, 8), 4), Match((2, 3), (0, 1), 2)], 6)
    matches = [[[4, 7], [5, 8], 4], [[2, 3], [0, 1], 2]]
    assert common({"matches": matches, "len": 6}) == expected
    assert common([b"matches", matches, b"len", 6]) == expected


async def test_lcs(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(7, 0)
    a, b = f"{prefix}a", f"{prefix}b"
    await r.mset({a: "ohmytext", b: "mynewtext"})
    exactly(await r.lcs(a, b), text("mytext"))
    exactly(await r.lcs(a, b, len=True), 6)
    assert await r.lcs(a, b, idx=True) == Common([Match((4, 7), (5, 8), None), Match((2, 3), (0, 1), None)], 6)
    found = await r.lcs(a, b, idx=True, minmatchlen=3, withmatchlen=True)
    assert found == Common([Match((4, 7), (5, 8), 4)], 6)
    exactly(await r.lcs(a, f"{prefix}none"), text(""))


async def test_substr(r: Client[Any], text: Text, prefix: str) -> None:
    await r.set(f"{prefix}k", "value")
    exactly(await r.substr(f"{prefix}k", 1, 2), text("al"))
    exactly(await r.substr(f"{prefix}k", 1), text("alue"))


async def test_set_if_equal(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(8, 4, valkey=(8, 1))
    k = f"{prefix}k"
    await r.set(k, "a")
    exactly(await r.set(k, "b", ifeq="x"), False)
    exactly(await r.set(k, "b", ifeq="a"), True)
    exactly(await r.set(k, "c", ifeq="b", get=True), text("b"))


async def test_delifeq(r: Client[Any], prefix: str, since: Since) -> None:
    since(valkey=(9, 0))
    k = f"{prefix}k"
    await r.set(k, "a")
    exactly(await r.delifeq(k, "b"), False)
    exactly(await r.delifeq(k, "a"), True)


async def test_of_redis_8_4(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(8, 4)
    k, other = f"{prefix}k", f"{prefix}other"
    exactly(await r.msetex({k: "a", other: "b"}, ex=100, nx=True), True)
    exactly(await r.msetex({k: "a"}, nx=True), False)
    digest = await r.digest(k)
    assert digest is not None
    assert len(digest) == 16
    exactly(await r.set(k, "c", ifdne=digest), False)
    exactly(await r.delex(k, ifdeq=digest), True)
    exactly(await r.delex(other, ifeq="x"), False)
    exactly(await r.digest(k), None)


async def test_increx(r: Client[Any], prefix: str, since: Since) -> None:
    since(8, 8)
    k = f"{prefix}k"
    exactly(await r.increx(k, 3, ubound=5, ex=100), (3, 3))
    exactly(await r.increx(k, 3, ubound=5), (3, 0))
    exactly(await r.increx(k, 3, ubound=5, saturate=True), (5, 2))
    exactly(await r.increx(k, 0.5), (5.5, 0.5))
