"""The types of the commands on streams. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.streams import ConsumerInfo, Entry, GroupInfo, StreamDetails, StreamInfo


async def text(r: Client[str], flag: bool) -> None:
    assert_type(await r.xadd("s", {"f": 1}), str)
    assert_type(await r.xadd("s", {"f": 1}, 5, 10, False, False), str)
    assert_type(await r.xadd("s", {"f": 1}, nomkstream=True), str | None)
    assert_type(await r.xadd("s", {"f": 1}, nomkstream=flag, maxlen=5), str | None)
    assert_type(await r.xcfgset("s", idmp_duration=60), bool)
    assert_type(await r.xdel("s", "1-0", 2), int)
    assert_type(await r.xdelex("s", "1-0", ref_policy="ACKED"), list[int])
    assert_type(await r.xinfo_consumers("s", "g"), list[ConsumerInfo[str]])
    assert_type(await r.xinfo_groups("s"), list[GroupInfo[str]])
    assert_type(await r.xinfo_stream("s"), StreamInfo[str])
    assert_type(await r.xinfo_stream("s", True, count=5), StreamDetails[str])
    assert_type(await r.xinfo_stream("s", full=True), StreamDetails[str])
    assert_type(await r.xlen("s"), int)
    assert_type(await r.xrange("s"), list[Entry[str]])
    assert_type((await r.xrange("s"))[0].fields, dict[str, str])
    assert_type(await r.xread({"s": 0}), dict[str, list[Entry[str]]])
    assert_type(await r.xrevrange("s"), list[Entry[str]])
    assert_type(await r.xsetid("s", "9-0"), bool)
    assert_type(await r.xtrim("s", 5), int)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.xadd("s", {"f": 1}), bytes)
    assert_type(await b.xadd("s", {"f": 1}, nomkstream=True), bytes | None)
    assert_type(await b.xinfo_consumers("s", "g"), list[ConsumerInfo[bytes]])
    assert_type(await b.xinfo_groups("s"), list[GroupInfo[bytes]])
    assert_type((await b.xinfo_groups("s"))[0].name, bytes)
    assert_type(await b.xinfo_stream("s"), StreamInfo[bytes])
    assert_type(await b.xinfo_stream("s", True), StreamDetails[bytes])
    assert_type(await b.xrange("s"), list[Entry[bytes]])
    assert_type(await b.xread({"s": 0}), dict[bytes, list[Entry[bytes]]])
    assert_type(await b.xrevrange("s"), list[Entry[bytes]])
