"""Streams: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest

from aioresp import Client, ResponseError
from aioresp.replies.streams import (
    ConsumerDetails,
    ConsumerInfo,
    DeliveredEntry,
    Entry,
    GroupDetails,
    GroupInfo,
    StreamDetails,
    StreamInfo,
)
from aioresp.testing import Server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.xadd("s", {"f": "v"}), ("XADD", "s", "*", "f", "v")),
    (lambda r: r.xadd("s", {"f": 1, b"g": b"w"}, "5-1"), ("XADD", "s", "5-1", "f", 1, b"g", b"w")),
    (lambda r: r.xadd("s", {"f": 1.5}, id=5), ("XADD", "s", 5, "f", 1.5)),
    (lambda r: r.xadd("s", {"f": 1}, maxlen=0), ("XADD", "s", "MAXLEN", "~", 0, "*", "f", 1)),
    (lambda r: r.xadd("s", {"f": 1}, ref_policy="KEEPREF"), ("XADD", "s", "KEEPREF", "*", "f", 1)),
    (
        lambda r: r.xadd("s", {"f": 1}, maxlen=10, approximate=False, nomkstream=True),
        ("XADD", "s", "NOMKSTREAM", "MAXLEN", 10, "*", "f", 1),
    ),
    (
        lambda r: r.xadd("s", {"f": 1}, minid="5-0", limit=7, ref_policy="ACKED"),
        ("XADD", "s", "ACKED", "MINID", "~", "5-0", "LIMIT", 7, "*", "f", 1),
    ),
    (lambda r: r.xadd("s", {"f": 1}, idmpauto="p"), ("XADD", "s", "IDMPAUTO", "p", "*", "f", 1)),
    (lambda r: r.xadd("s", {"f": 1}, b"*", idmp=("p", b"i")), ("XADD", "s", "IDMP", "p", b"i", b"*", "f", 1)),
    (
        lambda r: r.xadd("s", {"f": 1}, maxlen=3, nomkstream=True, ref_policy="DELREF", idmp=("p", "i")),
        ("XADD", "s", "NOMKSTREAM", "DELREF", "IDMP", "p", "i", "MAXLEN", "~", 3, "*", "f", 1),
    ),
    (lambda r: r.xcfgset("s", timedelta(minutes=1)), ("XCFGSET", "s", "IDMP-DURATION", 60)),
    (lambda r: r.xcfgset("s", idmp_duration=60), ("XCFGSET", "s", "IDMP-DURATION", 60)),
    (lambda r: r.xcfgset("s", 60, idmp_maxsize=9), ("XCFGSET", "s", "IDMP-DURATION", 60, "IDMP-MAXSIZE", 9)),
    (lambda r: r.xdel("s", "1-0", b"2-0", 3), ("XDEL", "s", "1-0", b"2-0", 3)),
    (lambda r: r.xdelex("s", "1-0"), ("XDELEX", "s", "KEEPREF", "IDS", 1, "1-0")),
    (lambda r: r.xdelex("s", "1-0", 2, ref_policy="DELREF"), ("XDELEX", "s", "DELREF", "IDS", 2, "1-0", 2)),
    (lambda r: r.xdelex("s", 1, ref_policy="ACKED"), ("XDELEX", "s", "ACKED", "IDS", 1, 1)),
    (lambda r: r.xinfo_consumers("s", "g"), ("XINFO", "CONSUMERS", "s", "g")),
    (lambda r: r.xinfo_groups("s"), ("XINFO", "GROUPS", "s")),
    (lambda r: r.xinfo_stream("s"), ("XINFO", "STREAM", "s")),
    (lambda r: r.xinfo_stream("s", True), ("XINFO", "STREAM", "s", "FULL")),
    (lambda r: r.xinfo_stream("s", full=True, count=0), ("XINFO", "STREAM", "s", "FULL", "COUNT", 0)),
    (lambda r: r.xlen("s"), ("XLEN", "s")),
    (lambda r: r.xrange("s"), ("XRANGE", "s", "-", "+")),
    (lambda r: r.xrange("s", "(1-0", max=9, count=2), ("XRANGE", "s", "(1-0", 9, "COUNT", 2)),
    (lambda r: r.xread({"s": "0"}), ("XREAD", "STREAMS", "s", "0")),
    (lambda r: r.xread({"s": 0, b"t": b"$"}, 5), ("XREAD", "COUNT", 5, "STREAMS", "s", b"t", 0, b"$")),
    (lambda r: r.xread({"s": "0"}, block=0), ("XREAD", "BLOCK", 0, "STREAMS", "s", "0")),
    (
        lambda r: r.xread({"s": "0"}, count=1, block=timedelta(seconds=1.5), max_count=8, max_size=9),
        ("XREAD", "COUNT", 1, "MAXCOUNT", 8, "MAXSIZE", 9, "BLOCK", 1500, "STREAMS", "s", "0"),
    ),
    (lambda r: r.xrevrange("s"), ("XREVRANGE", "s", "+", "-")),
    (lambda r: r.xrevrange("s", 9, min="1-0", count=2), ("XREVRANGE", "s", 9, "1-0", "COUNT", 2)),
    (lambda r: r.xsetid("s", "9-0"), ("XSETID", "s", "9-0")),
    (
        lambda r: r.xsetid("s", 9, entries_added=0, max_deleted_id="8-0"),
        ("XSETID", "s", 9, "ENTRIESADDED", 0, "MAXDELETEDID", "8-0"),
    ),
    (lambda r: r.xtrim("s", 10), ("XTRIM", "s", "MAXLEN", "~", 10)),
    (lambda r: r.xtrim("s", maxlen=0, approximate=False), ("XTRIM", "s", "MAXLEN", 0)),
    (lambda r: r.xtrim("s", 9, ref_policy="DELREF"), ("XTRIM", "s", "MAXLEN", "~", 9, "DELREF")),
    (lambda r: r.xtrim("s", 9, ref_policy="ACKED"), ("XTRIM", "s", "MAXLEN", "~", 9, "ACKED")),
    (
        lambda r: r.xtrim("s", minid=5, limit=0, ref_policy="KEEPREF"),
        ("XTRIM", "s", "MINID", "~", 5, "LIMIT", 0, "KEEPREF"),
    ),
]

REFUSED: Refused = [
    (lambda r: r.xadd("s", {}), ValueError, "XADD: fields is empty"),
    (lambda r: r.xadd("s", {"f": 1}, maxlen=0, minid="1"), ValueError, "XADD: maxlen and minid exclude each other"),
    (lambda r: r.xadd("s", {"f": 1}, limit=5), ValueError, "XADD: limit needs maxlen or minid, and approximate"),
    (
        lambda r: r.xadd("s", {"f": 1}, maxlen=5, limit=5, approximate=False),
        ValueError,
        "XADD: limit needs maxlen or minid, and approximate",
    ),
    (
        lambda r: r.xadd("s", {"f": 1}, idmpauto="p", idmp=("p", "i")),
        ValueError,
        "XADD: idmpauto and idmp exclude each other",
    ),
    (lambda r: r.xadd("s", {"f": 1}, "1-0", idmpauto="p"), ValueError, "XADD: idmpauto and idmp need the id '*'"),
    (lambda r: r.xadd("s", {"f": 1}, 1, idmp=("p", "i")), ValueError, "XADD: idmpauto and idmp need the id '*'"),
    (lambda r: r.xcfgset("s"), ValueError, "XCFGSET: needs idmp_duration or idmp_maxsize"),
    (lambda r: r.xdel("s"), ValueError, "XDEL: ids is empty"),
    (lambda r: r.xdelex("s"), ValueError, "XDELEX: ids is empty"),
    (lambda r: r.xread({}), ValueError, "XREAD: streams is empty"),
    (lambda r: r.xtrim("s"), ValueError, "XTRIM: needs maxlen or minid"),
    (lambda r: r.xtrim("s", 1, minid=1), ValueError, "XTRIM: maxlen and minid exclude each other"),
    (lambda r: r.xtrim("s", 1, approximate=False, limit=1), ValueError, "XTRIM: limit needs maxlen or minid, and"),
    (lambda r: r.xinfo_stream("s", False, count=3), ValueError, "XINFO STREAM: count needs full"),  # type: ignore[call-overload]
]

#: Fields of XINFO STREAM that are of 8.6, and figures of the server's own choice.
IDEMPOTENT: Final = ("idmp_duration", "idmp_maxsize", "pids_tracked", "iids_tracked", "iids_added", "iids_duplicates")


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
def s(prefix: str) -> str:
    return f"{prefix}s"


@pytest.fixture
def some(text: Text) -> list[Entry[Any]]:
    """What `fill` adds."""
    return [Entry(text(f"{number}-0"), text({"f": f"v{number}", "ü": "ö"})) for number in (1, 2, 3)]


async def fill(r: Client[Any], name: str) -> None:
    for number in (1, 2, 3):
        await r.xadd(name, {"f": f"v{number}", "ü": "ö"}, f"{number}-0")


async def test_xadd(r: Client[Any], text: Text, s: str) -> None:
    exactly(await r.xadd(s, {"f": 1}, nomkstream=True), None)
    exactly(await r.xadd(s, {"f": 1}, "1-0"), text("1-0"))
    exactly(await r.xadd(s, {"f": 1}, 2), text("2-0"))
    exactly(await r.xadd(s, {"f": 1}, "3-0", maxlen=2, approximate=False, nomkstream=True), text("3-0"))
    exactly([entry.id for entry in await r.xrange(s)], text(["2-0", "3-0"]))
    exactly(await r.xadd(s, {"f": 1}, "4-0", minid=1, limit=100), text("4-0"))
    made = await r.xadd(s, {"f": 1})
    exactly((await r.xrevrange(s, count=1))[0], Entry(made, text({"f": "1"})))
    with pytest.raises(ResponseError, match="equal or smaller"):
        await r.xadd(s, {"f": 1}, "1-0")


async def test_xadd_of_a_millisecond(r: Client[Any], text: Text, s: str, since: Since) -> None:
    since(7, 0)
    exactly(await r.xadd(s, {"f": 1}, "5-*"), text("5-0"))
    exactly(await r.xadd(s, {"f": 1}, "5-*"), text("5-1"))


async def test_xadd_is_idempotent(r: Client[Any], s: str, since: Since) -> None:
    since(8, 6)
    first = await r.xadd(s, {"f": 1}, idmp=("p", "i"))
    exactly(await r.xadd(s, {"f": 1}, idmp=("p", "i")), first)
    second = await r.xadd(s, {"f": 2}, idmpauto="p")
    exactly(await r.xadd(s, {"f": 2}, idmpauto="p"), second)
    exactly(await r.xlen(s), 2)
    exactly(await r.xcfgset(s, idmp_duration=60, idmp_maxsize=9), True)
    info = await r.xinfo_stream(s)
    exactly((info.idmp_duration, info.idmp_maxsize), (60, 9))


async def test_ranges(r: Client[Any], some: list[Entry[Any]], s: str) -> None:
    exactly(await r.xrange(s), [])
    exactly(await r.xlen(s), 0)
    await fill(r, s)
    exactly(await r.xlen(s), 3)
    exactly(await r.xrange(s), some)
    exactly(await r.xrange(s, count=2), some[:2])
    exactly(await r.xrange(s, "(1-0", 2), some[1:2])
    exactly(await r.xrange(s, 9), [])
    exactly(await r.xrevrange(s), some[::-1])
    exactly(await r.xrevrange(s, "2-0", "1-0", count=1), some[1:2])


async def test_bytes_that_are_no_text(server: Server, protocol: int, s: str) -> None:
    async with Client(server.url, protocol=3 if protocol == 3 else 2, decode_responses=False) as b:
        await b.xadd(s, {b"\xff": b"\x00\xfe"}, "1-0")
        exactly(await b.xrange(s), [Entry(b"1-0", {b"\xff": b"\x00\xfe"})])


async def test_xdel(r: Client[Any], some: list[Entry[Any]], s: str) -> None:
    await fill(r, s)
    exactly(await r.xdel(s, "1-0", 3, "9-0"), 2)
    exactly(await r.xrange(s), some[1:2])


async def test_xdelex(r: Client[Any], s: str, since: Since) -> None:
    since(8, 2)
    await fill(r, s)
    exactly(await r.xdelex(s, "1-0", "9-0"), [1, -1])
    await r.xgroup_create(s, "g", "0")
    exactly(await r.xdelex(s, "2-0", ref_policy="ACKED"), [2])


async def test_xtrim(r: Client[Any], some: list[Entry[Any]], s: str) -> None:
    await fill(r, s)
    exactly(await r.xtrim(s, 100), 0)
    exactly(await r.xtrim(s, 2, approximate=False), 1)
    exactly(await r.xtrim(s, minid="3-0", approximate=False), 1)
    exactly(await r.xtrim(s, minid="3-0", limit=10), 0)
    exactly(await r.xrange(s), some[2:])


async def test_ref_policy(r: Client[Any], s: str, since: Since) -> None:
    since(8, 2)
    await fill(r, s)
    exactly(await r.xtrim(s, 2, approximate=False, ref_policy="DELREF"), 1)
    await r.xadd(s, {"f": 1}, maxlen=2, approximate=False, ref_policy="KEEPREF")
    exactly(await r.xlen(s), 2)


async def test_xread(r: Client[Any], text: Text, some: list[Entry[Any]], s: str) -> None:
    other = f"{s}2"
    exactly(await r.xread({s: 0}), {})
    await fill(r, s)
    exactly(await r.xread({s: "0", other: "0"}), {text(s): some})
    await r.xadd(other, {"f": 1}, "1-0")
    exactly(
        await r.xread({s: "1-0", other: 0}, count=1),
        {text(s): some[1:2], text(other): [Entry(text("1-0"), text({"f": "1"}))]},
    )
    exactly(await r.xread({s: "$"}), {})
    exactly(await r.xread({s: "$"}, block=1), {})


async def test_xread_waits(r: Client[Any], text: Text, s: str) -> None:
    reader = asyncio.create_task(r.xread({s: "0"}, block=20_000))
    await asyncio.sleep(0.02)
    await r.xadd(s, {"f": 1}, "1-0")  # by another connection: that of the reader waits
    exactly(await reader, {text(s): [Entry(text("1-0"), text({"f": "1"}))]})


async def test_xread_limits(r: Client[Any], text: Text, some: list[Entry[Any]], s: str, since: Since) -> None:
    since(8, 10)
    await fill(r, s)
    exactly(await r.xread({s: 0}, max_count=2), {text(s): some[:2]})
    exactly(await r.xread({s: 0}, max_size=1), {text(s): some[:1]})


async def test_xsetid(r: Client[Any], text: Text, s: str) -> None:
    await fill(r, s)
    exactly(await r.xsetid(s, "9-0"), True)
    exactly((await r.xinfo_stream(s)).last_generated_id, text("9-0"))


async def test_xsetid_with_counters(r: Client[Any], text: Text, s: str, since: Since) -> None:
    since(7, 0)
    await fill(r, s)
    exactly(await r.xsetid(s, "9-0", entries_added=7, max_deleted_id="8-0"), True)
    info = await r.xinfo_stream(s)
    exactly((info.entries_added, info.max_deleted_entry_id), (7, text("8-0")))


async def test_xinfo_stream(r: Client[Any], text: Text, some: list[Entry[Any]], s: str, server: Server) -> None:
    await fill(r, s)
    await r.xdel(s, "2-0")
    info = await r.xinfo_stream(s)
    expected: StreamInfo[Any] = StreamInfo(
        length=2,
        radix_tree_keys=1,
        radix_tree_nodes=info.radix_tree_nodes,
        last_generated_id=text("3-0"),
        max_deleted_entry_id=text("2-0"),
        entries_added=3,
        recorded_first_entry_id=text("1-0"),
        groups=0,
        first_entry=some[0],
        last_entry=some[2],
        **idempotent(server, info),
    )
    if server.version < (7,):
        expected = expected.replace(max_deleted_entry_id=None, entries_added=None, recorded_first_entry_id=None)
    exactly(info, expected)
    exactly(type(info.radix_tree_nodes), int)


async def test_xinfo_of_an_empty_stream(r: Client[Any], s: str) -> None:
    with pytest.raises(ResponseError, match="no such key"):
        await r.xinfo_stream(s)
    await r.xgroup_create(s, "g", mkstream=True)
    info = await r.xinfo_stream(s)
    exactly((info.length, info.groups, info.first_entry, info.last_entry), (0, 1, None, None))
    exactly((await r.xinfo_stream(s, True)).entries, [])


async def test_xinfo_stream_full(r: Client[Any], text: Text, some: list[Entry[Any]], s: str, server: Server) -> None:
    await fill(r, s)
    await r.xgroup_create(s, "g", "0")
    await r.xreadgroup("g", "c", {s: ">"}, count=1)
    info = await r.xinfo_stream(s, True, count=2)
    (group,) = info.groups
    (consumer,) = group.consumers
    pending: DeliveredEntry[Any] = DeliveredEntry(text("1-0"), text("c"), group.pending[0].delivery_time, 1)
    seven = server.version >= (7,)
    exactly(
        info,
        StreamDetails(
            length=3,
            radix_tree_keys=1,
            radix_tree_nodes=info.radix_tree_nodes,
            last_generated_id=text("3-0"),
            max_deleted_entry_id=text("0-0") if seven else None,
            entries_added=3 if seven else None,
            recorded_first_entry_id=text("1-0") if seven else None,
            entries=some[:2],
            groups=[
                GroupDetails(
                    name=text("g"),
                    last_delivered_id=text("1-0"),
                    entries_read=1 if seven else None,
                    lag=2 if seven else None,
                    pel_count=1,
                    pending=[pending],
                    consumers=[
                        ConsumerDetails(text("c"), consumer.seen_time, consumer.active_time, 1, pending=[pending])
                    ],
                )
            ],
            **idempotent(server, info),
        ),
    )
    exactly([type(pending.delivery_time), type(consumer.seen_time)], [int, int])
    exactly(type(consumer.active_time), int if server.version >= (7, 2) else type(None))


def idempotent(server: Server, info: StreamInfo[Any] | StreamDetails[Any]) -> dict[str, Any]:
    """Return the fields of 8.6: numbers there, None before."""
    found = {name: getattr(info, name) for name in IDEMPOTENT}
    known = server.flavour == "redis" and server.version >= (8, 6)
    exactly({type(value) for value in found.values()}, {int if known else type(None)})
    return found


async def test_xinfo_groups_and_consumers(r: Client[Any], text: Text, s: str, server: Server) -> None:
    await fill(r, s)
    exactly(await r.xinfo_groups(s), [])
    await r.xgroup_create(s, "g", "0")
    exactly(await r.xinfo_consumers(s, "g"), [])
    await r.xreadgroup("g", "c", {s: ">"}, count=2)
    seven = server.version >= (7,)
    exactly(
        await r.xinfo_groups(s),
        [GroupInfo(text("g"), 1, 2, text("2-0"), entries_read=2 if seven else None, lag=1 if seven else None)],
    )
    (consumer,) = await r.xinfo_consumers(s, "g")
    exactly(consumer, ConsumerInfo(text("c"), 2, consumer.idle, consumer.inactive))
    exactly(type(consumer.idle), int)
    exactly(type(consumer.inactive), int if server.version >= (7, 2) else type(None))
