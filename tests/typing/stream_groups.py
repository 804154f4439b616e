"""The types of the commands on consumer groups. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.streams import Autoclaimed, AutoclaimedIds, Entry, GroupEntry, PendingEntry, PendingSummary


async def text(r: Client[str]) -> None:
    assert_type(await r.xack("s", "g", "1-0"), int)
    assert_type(await r.xackdel("s", "g", "1-0"), list[int])
    assert_type(await r.xautoclaim("s", "g", "c", 0), Autoclaimed[str])
    assert_type(await r.xautoclaim("s", "g", "c", 0, "0-0", 5, False), Autoclaimed[str])
    assert_type(await r.xautoclaim("s", "g", "c", 0, justid=True), AutoclaimedIds[str])
    assert_type(await r.xclaim("s", "g", "c", 0, ["1-0", 2]), list[Entry[str] | None])
    assert_type(await r.xclaim("s", "g", "c", 0, "1-0", lastid=9), list[Entry[str] | None])
    assert_type(await r.xclaim("s", "g", "c", 0, "1-0", justid=True), list[str])
    assert_type(await r.xgroup_create("s", "g", "0"), bool)
    assert_type(await r.xgroup_createconsumer("s", "g", "c"), bool)
    assert_type(await r.xgroup_delconsumer("s", "g", "c"), int)
    assert_type(await r.xgroup_destroy("s", "g"), bool)
    assert_type(await r.xgroup_setid("s", "g", 0), bool)
    assert_type(await r.xnack("s", "g", "FAIL", "1-0"), int)
    assert_type(await r.xpending("s", "g"), PendingSummary[str])
    assert_type((await r.xpending("s", "g")).consumers, dict[str, int])
    assert_type(await r.xpending_range("s", "g", "-", "+", 5), list[PendingEntry[str]])
    assert_type(await r.xreadgroup("g", "c", {"s": ">"}), dict[str, list[GroupEntry[str]]])
    assert_type((await r.xreadgroup("g", "c", {"s": ">"}))["s"][0].fields, dict[str, str] | None)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.xautoclaim("s", "g", "c", 0), Autoclaimed[bytes])
    assert_type(await b.xautoclaim("s", "g", "c", 0, justid=True), AutoclaimedIds[bytes])
    assert_type(await b.xclaim("s", "g", "c", 0, ["1-0"]), list[Entry[bytes] | None])
    assert_type(await b.xclaim("s", "g", "c", 0, ["1-0"], justid=True), list[bytes])
    assert_type(await b.xpending("s", "g"), PendingSummary[bytes])
    assert_type(await b.xpending_range("s", "g", "-", "+", 5), list[PendingEntry[bytes]])
    assert_type(await b.xreadgroup("g", "c", {"s": ">"}), dict[bytes, list[GroupEntry[bytes]]])
