"""Consumer groups: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioresp import Client, ResponseError
from aioresp.replies.streams import Autoclaimed, AutoclaimedIds, Entry, GroupEntry, PendingEntry, PendingSummary
from aioresp.testing import Server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.xack("s", "g", "1-0", 2), ("XACK", "s", "g", "1-0", 2)),
    (lambda r: r.xackdel("s", "g", "1-0"), ("XACKDEL", "s", "g", "KEEPREF", "IDS", 1, "1-0")),
    (lambda r: r.xackdel("s", "g", 1, ref_policy="DELREF"), ("XACKDEL", "s", "g", "DELREF", "IDS", 1, 1)),
    (
        lambda r: r.xackdel("s", "g", "1-0", b"2-0", ref_policy="ACKED"),
        ("XACKDEL", "s", "g", "ACKED", "IDS", 2, "1-0", b"2-0"),
    ),
    (lambda r: r.xautoclaim("s", "g", "c", 0), ("XAUTOCLAIM", "s", "g", "c", 0, "0-0")),
    (
        lambda r: r.xautoclaim("s", "g", "c", timedelta(seconds=1), start_id=5, count=9, justid=True),
        ("XAUTOCLAIM", "s", "g", "c", 1000, 5, "COUNT", 9, "JUSTID"),
    ),
    (lambda r: r.xclaim("s", "g", "c", 0, ["1-0", 2]), ("XCLAIM", "s", "g", "c", 0, "1-0", 2)),
    (lambda r: r.xclaim("s", "g", "c", timedelta(seconds=1), "1-0"), ("XCLAIM", "s", "g", "c", 1000, "1-0")),
    (
        lambda r: r.xclaim("s", "g", "c", 0, ("1-0",), idle=timedelta(seconds=2), retrycount=0, force=True),
        ("XCLAIM", "s", "g", "c", 0, "1-0", "IDLE", 2000, "RETRYCOUNT", 0, "FORCE"),
    ),
    (
        lambda r: r.xclaim("s", "g", "c", 0, 1, time=datetime(2026, 1, 1, tzinfo=UTC), justid=True),
        ("XCLAIM", "s", "g", "c", 0, 1, "TIME", 1767225600000, "JUSTID"),
    ),
    (lambda r: r.xclaim("s", "g", "c", 0, 1, lastid="9-0"), ("XCLAIM", "s", "g", "c", 0, 1, "LASTID", "9-0")),
    (lambda r: r.xgroup_create("s", "g"), ("XGROUP", "CREATE", "s", "g", "$")),
    (
        lambda r: r.xgroup_create("s", "g", id=0, mkstream=True, entries_read=0),
        ("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM", "ENTRIESREAD", 0),
    ),
    (lambda r: r.xgroup_createconsumer("s", "g", "c"), ("XGROUP", "CREATECONSUMER", "s", "g", "c")),
    (lambda r: r.xgroup_delconsumer("s", "g", "c"), ("XGROUP", "DELCONSUMER", "s", "g", "c")),
    (lambda r: r.xgroup_destroy("s", "g"), ("XGROUP", "DESTROY", "s", "g")),
    (lambda r: r.xgroup_setid("s", "g", "$"), ("XGROUP", "SETID", "s", "g", "$")),
    (lambda r: r.xgroup_setid("s", "g", 5, entries_read=3), ("XGROUP", "SETID", "s", "g", 5, "ENTRIESREAD", 3)),
    (lambda r: r.xnack("s", "g", "FAIL", "1-0"), ("XNACK", "s", "g", "FAIL", "IDS", 1, "1-0")),
    (lambda r: r.xnack("s", "g", "FATAL", "1-0"), ("XNACK", "s", "g", "FATAL", "IDS", 1, "1-0")),
    (
        lambda r: r.xnack("s", "g", "SILENT", "1-0", 2, retrycount=0, force=True),
        ("XNACK", "s", "g", "SILENT", "IDS", 2, "1-0", 2, "RETRYCOUNT", 0, "FORCE"),
    ),
    (lambda r: r.xpending("s", "g"), ("XPENDING", "s", "g")),
    (lambda r: r.xpending_range("s", "g", "-", "+", 10), ("XPENDING", "s", "g", "-", "+", 10)),
    (
        lambda r: r.xpending_range("s", "g", 1, max=2, count=3, consumername="c", idle=timedelta(milliseconds=5)),
        ("XPENDING", "s", "g", "IDLE", 5, 1, 2, 3, "c"),
    ),
    (
        lambda r: r.xreadgroup("g", "c", {"s": ">"}),
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"),
    ),
    (
        lambda r: r.xreadgroup("g", "c", {"s": ">", "t": 0}, 5, 0, True),
        ("XREADGROUP", "GROUP", "g", "c", "COUNT", 5, "BLOCK", 0, "NOACK", "STREAMS", "s", "t", ">", 0),
    ),
    (
        lambda r: r.xreadgroup("g", "c", {"s": ">"}, claim_min_idle_time=timedelta(seconds=1), max_count=8, max_size=9),
        ("XREADGROUP", "GROUP", "g", "c", "MAXCOUNT", 8, "MAXSIZE", 9, "CLAIM", 1000, "STREAMS", "s", ">"),
    ),
]

REFUSED: Refused = [
    (lambda r: r.xack("s", "g"), ValueError, "XACK: ids is empty"),
    (lambda r: r.xackdel("s", "g"), ValueError, "XACKDEL: ids is empty"),
    (lambda r: r.xnack("s", "g", "FAIL"), ValueError, "XNACK: ids is empty"),
    (lambda r: r.xclaim("s", "g", "c", 0, []), ValueError, "XCLAIM: message_ids is empty"),
    (lambda r: r.xclaim("s", "g", "c", 0, 1, idle=0, time=0), ValueError, "XCLAIM: idle and time exclude each other"),
    (lambda r: r.xreadgroup("g", "c", {}), ValueError, "XREADGROUP: streams is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
def s(prefix: str) -> str:
    return f"{prefix}s"


async def fill(r: Client[Any], name: str, deliver: int = 3) -> None:
    """Add three entries, and deliver some to a consumer `c` of a group `g`."""
    for number in (1, 2, 3):
        await r.xadd(name, {"f": number}, f"{number}-0")
    await r.xgroup_create(name, "g", "0")
    if deliver:
        await r.xreadgroup("g", "c", {name: ">"}, count=deliver)


def entry(text: Text, number: int) -> Entry[Any]:
    return Entry(text(f"{number}-0"), text({"f": str(number)}))


def group_entry(text: Text, number: int) -> GroupEntry[Any]:
    return GroupEntry(text(f"{number}-0"), text({"f": str(number)}))


async def test_groups(r: Client[Any], text: Text, s: str) -> None:
    with pytest.raises(ResponseError, match="MKSTREAM"):
        await r.xgroup_create(s, "g")
    exactly(await r.xgroup_create(s, "g", mkstream=True), True)
    with pytest.raises(ResponseError, match="BUSYGROUP"):
        await r.xgroup_create(s, "g")
    exactly(await r.xgroup_createconsumer(s, "g", "c"), True)
    exactly(await r.xgroup_createconsumer(s, "g", "c"), False)
    await r.xadd(s, {"f": 1}, "1-0")
    exactly(await r.xreadgroup("g", "c", {s: ">"}), {text(s): [group_entry(text, 1)]})
    exactly(await r.xgroup_setid(s, "g", 0), True)
    exactly(await r.xgroup_delconsumer(s, "g", "c"), 1)
    exactly(await r.xgroup_delconsumer(s, "g", "c"), 0)
    exactly(await r.xgroup_destroy(s, "g"), True)
    exactly(await r.xgroup_destroy(s, "g"), False)


async def test_entries_read(r: Client[Any], s: str, since: Since) -> None:
    since(7, 0)
    await r.xadd(s, {"f": 1}, "1-0")
    exactly(await r.xgroup_create(s, "g", "1-0", entries_read=1), True)
    exactly((await r.xinfo_groups(s))[0].entries_read, 1)
    exactly(await r.xgroup_setid(s, "g", "0", entries_read=0), True)
    exactly((await r.xinfo_groups(s))[0].entries_read, 0)


async def test_xreadgroup(r: Client[Any], text: Text, s: str) -> None:
    await fill(r, s, 0)
    exactly(await r.xreadgroup("g", "c", {s: "0"}), {text(s): []})
    exactly(await r.xreadgroup("g", "c", {s: ">"}, count=1), {text(s): [group_entry(text, 1)]})
    exactly(await r.xreadgroup("g", "c", {s: ">"}, noack=True), {text(s): [group_entry(text, n) for n in (2, 3)]})
    exactly(await r.xreadgroup("g", "c", {s: ">"}), {})
    exactly(await r.xreadgroup("g", "c", {s: ">"}, block=1), {})
    exactly(await r.xreadgroup("g", "c", {s: "0"}), {text(s): [group_entry(text, 1)]})
    await r.xdel(s, "1-0")
    exactly(await r.xreadgroup("g", "c", {s: "0"}), {text(s): [GroupEntry(text("1-0"), None)]})
    with pytest.raises(ResponseError, match="NOGROUP"):
        await r.xreadgroup("h", "c", {s: ">"})


async def test_xreadgroup_waits(r: Client[Any], text: Text, s: str) -> None:
    await r.xgroup_create(s, "g", mkstream=True)
    reader = asyncio.create_task(r.xreadgroup("g", "c", {s: ">"}, block=20_000))
    await asyncio.sleep(0.02)
    await r.xadd(s, {"f": 1}, "1-0")  # by another connection: that of the reader waits
    exactly(await reader, {text(s): [group_entry(text, 1)]})


async def test_xreadgroup_claims(r: Client[Any], text: Text, s: str, since: Since) -> None:
    since(8, 4)
    await fill(r, s, 2)
    found = (await r.xreadgroup("g", "d", {s: ">"}, claim_min_idle_time=0))[text(s)]
    exactly([(one.id, one.fields, type(one.idle)) for one in found], [(*entry(text, n), int) for n in (1, 2, 3)])
    exactly(all(isinstance(one.deliveries, int) for one in found), True)


async def test_xreadgroup_limits(r: Client[Any], text: Text, s: str, since: Since) -> None:
    since(8, 10)
    await fill(r, s, 0)
    exactly(await r.xreadgroup("g", "c", {s: ">"}, max_count=2), {text(s): [group_entry(text, n) for n in (1, 2)]})
    exactly(await r.xreadgroup("g", "c", {s: ">"}, max_size=1), {text(s): [group_entry(text, 3)]})


async def test_xack(r: Client[Any], s: str) -> None:
    await fill(r, s)
    exactly(await r.xack(s, "g", "1-0", 2, "9-0"), 2)
    exactly((await r.xpending(s, "g")).pending, 1)


async def test_xackdel(r: Client[Any], s: str, since: Since) -> None:
    since(8, 2)
    await fill(r, s)
    exactly(await r.xackdel(s, "g", "1-0", "9-0"), [1, -1])
    exactly(await r.xackdel(s, "g", "2-0", ref_policy="DELREF"), [1])
    exactly(await r.xlen(s), 1)


async def test_xnack(r: Client[Any], s: str, since: Since) -> None:
    since(8, 8)
    await fill(r, s)
    exactly(await r.xnack(s, "g", "FAIL", "1-0", "2-0"), 2)
    exactly(await r.xnack(s, "g", "SILENT", "9-0"), 0)


async def test_xpending(r: Client[Any], text: Text, s: str) -> None:
    await fill(r, s, 2)
    await r.xgroup_create(s, "h")
    exactly(await r.xpending(s, "h"), PendingSummary(0, None, None, {}))
    await r.xreadgroup("g", "d", {s: ">"})
    exactly(await r.xpending(s, "g"), PendingSummary(3, text("1-0"), text("3-0"), {text("c"): 2, text("d"): 1}))


async def test_xpending_range(r: Client[Any], text: Text, s: str) -> None:
    await fill(r, s, 2)
    exactly(await r.xpending_range(s, "g", "-", "+", 10, "d"), [])
    exactly(await r.xpending_range(s, "g", "-", "+", 10, idle=timedelta(hours=1)), [])
    await r.xreadgroup("g", "c", {s: "0"}, count=1)
    found = await r.xpending_range(s, "g", "-", "+", 10)
    exactly(
        found,
        [
            PendingEntry(text("1-0"), text("c"), found[0].idle, 2),
            PendingEntry(text("2-0"), text("c"), found[1].idle, 1),
        ],
    )
    exactly([type(one.idle) for one in found], [int, int])
    exactly([one.id for one in await r.xpending_range(s, "g", 2, "+", 1, consumername="c")], text(["2-0"]))


async def test_xclaim(r: Client[Any], text: Text, s: str) -> None:
    await fill(r, s, 2)
    exactly(await r.xclaim(s, "g", "d", timedelta(hours=1), ["1-0"]), [])
    exactly(await r.xclaim(s, "g", "d", 0, ["1-0", "2-0", "9-0"]), [entry(text, 1), entry(text, 2)])
    exactly(await r.xclaim(s, "g", "d", 0, "1-0", justid=True), text(["1-0"]))
    exactly(await r.xclaim(s, "g", "e", 0, "3-0"), [])
    exactly(await r.xclaim(s, "g", "e", 0, "3-0", idle=60_000, retrycount=7, force=True), [entry(text, 3)])
    (pending,) = await r.xpending_range(s, "g", "-", "+", 10, "e")
    exactly((pending.id, pending.deliveries, pending.idle >= 60_000), (text("3-0"), 7, True))
    exactly(await r.xclaim(s, "g", "e", 0, "3-0", time=0, lastid="3-0"), [entry(text, 3)])
    exactly((await r.xinfo_groups(s))[0].last_delivered_id, text("3-0"))


async def test_xclaim_of_a_deleted_entry(r: Client[Any], text: Text, s: str, server: Server) -> None:
    await fill(r, s, 2)
    await r.xdel(s, "1-0")
    gone: list[Entry[Any] | None] = [] if server.version >= (7,) else [None]
    exactly(await r.xclaim(s, "g", "d", 0, ["1-0", "2-0"]), [*gone, entry(text, 2)])


async def test_xautoclaim(r: Client[Any], text: Text, s: str) -> None:
    await fill(r, s)
    exactly(await r.xautoclaim(s, "g", "d", timedelta(hours=1)), Autoclaimed(text("0-0"), [], []))
    found = await r.xautoclaim(s, "g", "d", 0, count=2)
    exactly(found.entries, [entry(text, 1), entry(text, 2)])
    rest = await r.xautoclaim(s, "g", "d", 0, found.next_id)
    exactly(rest.entries[-1:], [entry(text, 3)])
    exactly(rest.next_id, text("0-0"))
    ids = await r.xautoclaim(s, "g", "d", 0, justid=True)
    exactly(ids, AutoclaimedIds(text("0-0"), text(["1-0", "2-0", "3-0"]), []))


async def test_xautoclaim_of_a_deleted_entry(r: Client[Any], text: Text, s: str, server: Server) -> None:
    await fill(r, s)
    await r.xdel(s, "2-0")
    seven = server.version >= (7,)
    gone: list[Entry[Any] | None] = [] if seven else [None]
    deleted = text(["2-0"] if seven else [])
    exactly(
        await r.xautoclaim(s, "g", "d", 0),
        Autoclaimed(text("0-0"), [entry(text, 1), *gone, entry(text, 3)], deleted),
    )
