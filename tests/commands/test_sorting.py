"""SORT: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any, cast

from aioresp import Client
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.sort("k"), ("SORT", "k")),
    (lambda r: r.sort("k", 0, 10, by="w_*", desc=True), ("SORT", "k", "BY", "w_*", "LIMIT", 0, 10, "DESC")),
    (lambda r: r.sort("k", alpha=True), ("SORT", "k", "ALPHA")),
    (lambda r: r.sort("k", get="o_*"), ("SORT", "k", "GET", "o_*")),
    (lambda r: r.sort("k", get=["#", b"o_*"], groups=True), ("SORT", "k", "GET", "#", "GET", b"o_*")),
    (lambda r: r.sort("k", start=2, num=3, store="to"), ("SORT", "k", "LIMIT", 2, 3, "STORE", "to")),
    (lambda r: r.sort_ro("k"), ("SORT_RO", "k")),
    (
        lambda r: r.sort_ro("k", 0, 10, by="w_*", get="#", desc=True, alpha=True),
        ("SORT_RO", "k", "BY", "w_*", "LIMIT", 0, 10, "GET", "#", "DESC", "ALPHA"),
    ),
]

REFUSED: Refused = [
    (lambda r: r.sort("k", start=1), ValueError, "SORT: start and num need each other"),
    (lambda r: r.sort_ro("k", num=1), ValueError, "SORT_RO: start and num need each other"),
    (lambda r: r.sort("k", get=["#"], groups=True), ValueError, "SORT: groups needs two patterns in get"),
    (
        lambda r: cast(Any, r).sort("k", get=["#", "a_*"], groups=True, store="to"),
        ValueError,
        "SORT: groups and store exclude each other",
    ),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_sort(r: Client[Any], text: Text, prefix: str) -> None:
    k = f"{prefix}k"
    await r.rpush(k, 10, 9, 2)
    await r.mset({f"{prefix}w_{n}": -n for n in (2, 9, 10)})
    await r.mset({f"{prefix}o_{n}": f"object {n}" for n in (2, 9)})
    exactly(await r.sort(k), text(["2", "9", "10"]))
    exactly(await r.sort(k, alpha=True), text(["10", "2", "9"]))
    exactly(await r.sort(k, 1, 2, desc=True), text(["9", "2"]))
    exactly(await r.sort(k, by=f"{prefix}w_*"), text(["10", "9", "2"]))
    exactly(await r.sort(k, get=f"{prefix}o_*"), [text("object 2"), text("object 9"), None])
    groups = await r.sort(k, get=["#", f"{prefix}o_*"], groups=True)
    exactly(groups, [text(("2", "object 2")), text(("9", "object 9")), (text("10"), None)])
    exactly(await r.sort(k, store=f"{prefix}to"), 3)
    exactly(await r.lrange(f"{prefix}to", 0, -1), text(["2", "9", "10"]))
    exactly(await r.sort(f"{prefix}none"), [])


async def test_sort_ro(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(7, 0)
    k = f"{prefix}k"
    await r.rpush(k, 10, 9, 2)
    exactly(await r.sort_ro(k), text(["2", "9", "10"]))
    exactly(await r.sort_ro(k, 0, 1, get=["#", f"{prefix}o_*"]), [text("2"), None])
