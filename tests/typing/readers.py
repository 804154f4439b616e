"""The types of the readers of streams. Checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from aioresp import Client, Delivery, GroupReader, StreamEntry, StreamReader


async def text(r: Client[str]) -> None:
    async with r.stream_reader("s", b"t", last_id="0", count=10, block=timedelta(seconds=1)) as s:
        assert_type(s, StreamReader[str])
        assert_type(s.last_ids, dict[str, str])
        async for entry in s:
            assert_type(entry, StreamEntry[str])
            assert_type(entry.stream, str)
            assert_type(entry.id, str)
            assert_type(entry.fields, dict[str, str])
        assert_type(await anext(s), StreamEntry[str])
        last = s.last_ids
    r.stream_reader(last_id=last, block=None)
    r.stream_reader("s", last_id={"s": 5, b"t": b"$"})
    async with r.group_reader("g", "c", "s", b"t", count=1, block=None, min_idle=None, start=0) as g:
        assert_type(g, GroupReader[str])
        async for delivery in g:
            assert_type(delivery, Delivery[str])
            assert_type(delivery.stream, str)
            assert_type(delivery.id, str)
            assert_type(delivery.fields, dict[str, str])
            assert_type(delivery.deliveries, int)
            assert_type(await delivery.ack(), bool)
            async with delivery as same:
                assert_type(same, Delivery[str])


async def raw(b: Client[bytes]) -> None:
    async with b.stream_reader("s") as s:
        assert_type(s.last_ids, dict[bytes, bytes])
        async for entry in s:
            assert_type(entry.fields, dict[bytes, bytes])
    async with b.group_reader(b"g", b"c", "s", min_idle=timedelta(minutes=1), create=False, auto_ack=False) as g:
        async for delivery in g:
            assert_type(delivery.id, bytes)
            assert_type(delivery.fields, dict[bytes, bytes])
