"""Arrays: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any

from aioresp import Client
from aioresp.replies.arrays import ArrayInfo, array_info, indexed, number_or_none, whole, whole_or_none, wholes
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.arcount("k"), ("ARCOUNT", "k")),
    (lambda r: r.ardel("k", 1, 2**64 - 2), ("ARDEL", "k", 1, 2**64 - 2)),
    (lambda r: r.ardelrange("k", (0, 5), (7, 9)), ("ARDELRANGE", "k", 0, 5, 7, 9)),
    (lambda r: r.arget("k", 1), ("ARGET", "k", 1)),
    (lambda r: r.argetrange("k", 1, 5), ("ARGETRANGE", "k", 1, 5)),
    (lambda r: r.argrep("k", 0, 5, [("EXACT", "a")]), ("ARGREP", "k", 0, 5, "EXACT", "a")),
    (
        lambda r: r.argrep("k", 0, 5, [("MATCH", "a"), ("GLOB", b"*")], "AND", 7, withvalues=True, nocase=True),
        ("ARGREP", "k", 0, 5, "MATCH", "a", "GLOB", b"*", "AND", "LIMIT", 7, "WITHVALUES", "NOCASE"),
    ),
    (lambda r: r.argrep("k", 0, 5, [("RE", "^a")], combinator="OR"), ("ARGREP", "k", 0, 5, "RE", "^a", "OR")),
    (lambda r: r.arinfo("k"), ("ARINFO", "k")),
    (lambda r: r.arinfo("k", full=True), ("ARINFO", "k", "FULL")),
    (lambda r: r.arinsert("k", "a", 1), ("ARINSERT", "k", "a", 1)),
    (lambda r: r.arlastitems("k", 5), ("ARLASTITEMS", "k", 5)),
    (lambda r: r.arlastitems("k", 5, rev=True), ("ARLASTITEMS", "k", 5, "REV")),
    (lambda r: r.arlen("k"), ("ARLEN", "k")),
    (lambda r: r.armget("k", 1, 2), ("ARMGET", "k", 1, 2)),
    (lambda r: r.armset("k", {0: "a", 7: 1.5}), ("ARMSET", "k", 0, "a", 7, 1.5)),
    (lambda r: r.arnext("k"), ("ARNEXT", "k")),
    (lambda r: r.arop("k", 0, 5, "MIN"), ("AROP", "k", 0, 5, "MIN")),
    (lambda r: r.arop("k", 0, 5, "MAX"), ("AROP", "k", 0, 5, "MAX")),
    (lambda r: r.arop("k", 0, 5, "AND"), ("AROP", "k", 0, 5, "AND")),
    (lambda r: r.arop("k", 0, 5, "OR"), ("AROP", "k", 0, 5, "OR")),
    (lambda r: r.arop("k", 0, 5, "XOR"), ("AROP", "k", 0, 5, "XOR")),
    (lambda r: r.arop("k", 0, 5, "USED"), ("AROP", "k", 0, 5, "USED")),
    (lambda r: r.arop("k", 0, 5, "SUM"), ("AROP", "k", 0, 5, "SUM")),
    (lambda r: r.arop("k", 0, 5, "MATCH", value="a"), ("AROP", "k", 0, 5, "MATCH", "a")),
    (lambda r: r.arring("k", 5, "a", "b"), ("ARRING", "k", 5, "a", "b")),
    (lambda r: r.arscan("k", 0, 5), ("ARSCAN", "k", 0, 5)),
    (lambda r: r.arscan("k", 0, 5, limit=2), ("ARSCAN", "k", 0, 5, "LIMIT", 2)),
    (lambda r: r.arseek("k", 5), ("ARSEEK", "k", 5)),
    (lambda r: r.arset("k", 5, "a", "b"), ("ARSET", "k", 5, "a", "b")),
]

REFUSED: Refused = [
    (lambda r: r.ardel("k"), ValueError, "ARDEL: indices is empty"),
    (lambda r: r.ardelrange("k"), ValueError, "ARDELRANGE: ranges is empty"),
    (lambda r: r.argrep("k", 0, 5, []), ValueError, "ARGREP: predicates is empty"),
    (lambda r: r.arinsert("k"), ValueError, "ARINSERT: values is empty"),
    (lambda r: r.armset("k", {}), ValueError, "ARMSET: mapping is empty"),
    (lambda r: r.arop("k", 0, 5, "MATCH"), ValueError, "AROP: MATCH and value need each other"),
    (lambda r: r.arop("k", 0, 5, "USED", "a"), ValueError, "AROP: MATCH and value need each other"),
    (lambda r: r.arset("k", 0), ValueError, "ARSET: values is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


def test_replies() -> None:
    exactly(whole(b"18446744073709551614"), 2**64 - 2)
    exactly(whole_or_none(None), None)
    exactly(wholes([1, "18446744073709551614"]), [1, 2**64 - 2])
    exactly(number_or_none("-7"), -7)
    exactly(number_or_none(b"1.5"), 1.5)
    exactly(number_or_none(None), None)
    exactly(indexed([[0, "a"], ["18446744073709551614", "b"]]), [(0, "a"), (2**64 - 2, "b")])
    exactly(indexed([0, "a", 5, "b"]), [(0, "a"), (5, "b")])
    exactly(indexed([]), [])
    said = [b"count", 3, b"len", 101, b"next-insert-index", 1, b"slices", 1, b"directory-size", 1]
    said += [b"super-dir-entries", 0, b"slice-size", 4096]
    assert array_info(said) == ArrayInfo(3, 101, 1, 1, 1, 0, 4096, {})
    assert array_info([*said, "dense-slices", 1]) == ArrayInfo(3, 101, 1, 1, 1, 0, 4096, {"dense_slices": 1})
    assert array_info({"count": 0, "len": 0}) == ArrayInfo(0, 0, None, None, None, None, None, {})
    assert array_info(None) is None


async def test_elements(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(8, 8)
    k = f"{prefix}k"
    exactly(await r.arset(k, 0, "a", "b"), 2)
    exactly(await r.armset(k, {5: "c", 9: "d"}), 2)
    exactly(await r.arget(k, 5), text("c"))
    exactly(await r.armget(k, 0, 3), [text("a"), None])
    exactly(await r.argetrange(k, 0, 2), [text("a"), text("b"), None])
    exactly(await r.arscan(k, 0, 100, limit=2), [(0, text("a")), (1, text("b"))])
    exactly((await r.arcount(k), await r.arlen(k)), (4, 10))
    exactly(await r.argrep(k, 0, 100, [("EXACT", "c")]), [5])
    exactly(await r.argrep(k, 0, 100, [("EXACT", "c")], withvalues=True), [(5, text("c"))])
    exactly(await r.arop(k, 0, 100, "USED"), 4)
    info = await r.arinfo(k, full=True)
    assert info is not None
    assert (info.count, info.len) == (4, 10)
    exactly(await r.ardel(k, 0, 3), 1)
    exactly(await r.ardelrange(k, (0, 100)), 3)


async def test_insertions(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(8, 8)
    k = f"{prefix}k"
    exactly(await r.arnext(k), 0)
    exactly(await r.arinsert(k, 1, 2), 1)
    exactly(await r.arseek(k, 10), True)
    exactly(await r.arinsert(k, 3), 10)
    exactly(await r.arlastitems(k, 1), text(["3"]))
    exactly(await r.arop(k, 0, 100, "SUM"), 6)
    exactly(await r.arring(f"{k}2", 2, "a", "b", "c"), 0)
