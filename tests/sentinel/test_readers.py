"""Readers of streams go on over failovers: each entry is handed out, and acknowledged once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from aioresp import Client, RedisError
from aioresp.testing import SentinelServers


@pytest.mark.turns(2)
@pytest.mark.parametrize("how", ["planned", "killed"])
async def test_readers_go_on_after_a_failover(servers: SentinelServers, how: str) -> None:
    """At least once, and in order; entries that died with their primary, unreplicated, are in no stream any more."""
    read: list[str] = []
    taken: Counter[str] = Counter()
    acknowledged: Counter[str] = Counter()
    written: list[str] = []
    stop = asyncio.Event()
    async with Client(servers.url, timeout=15) as r:

        async def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    written.append(await r.xadd("events", {"n": str(number)}))
                except RedisError:
                    pass  # whether that one has run is not known
                await asyncio.sleep(0.01)

        async def follow() -> None:
            async with r.stream_reader("events", last_id="0", block=500) as entries:
                async for entry in entries:
                    read.append(entry.id)

        async def work() -> None:
            async with r.group_reader("group", "me", "events", block=500, auto_ack=False) as entries:
                async for entry in entries:
                    taken[entry.id] += 1
                    acknowledged[entry.id] += await entry.ack()

        async with asyncio.timeout(60):
            writing = asyncio.create_task(write())
            readers = [asyncio.create_task(follow()), asyncio.create_task(work())]
            while len(acknowledged) < 20 or len(read) < 20:
                await asyncio.sleep(0.01)
            if how == "planned":
                await asyncio.to_thread(servers.failover)
            else:
                old = servers.primary()
                await asyncio.to_thread(old.kill)
                await asyncio.to_thread(servers.wait_until_promoted, old)
            count = len(written)
            while len(written) < count + 20:
                await asyncio.sleep(0.01)
            stop.set()
            await writing
            there = {id_ for id_, _ in await r.xrange("events")}
            while not there <= acknowledged.keys() or not there <= {*read}:
                assert not any(reader.done() for reader in readers)
                await asyncio.sleep(0.02)
            while (await r.xpending("events", "group")).pending:
                await asyncio.sleep(0.02)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert len(there) > 40
    assert read == sorted(read, key=lambda id_: tuple(map(int, id_.split("-"))))
    assert len(read) == len({*read})
    if how == "planned":
        assert there >= {*written}
        assert max(acknowledged.values()) == 1
        assert [id_ for id_, times in taken.items() if times > 1] == []
