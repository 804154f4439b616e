"""The types of subscriptions, keyspace notifications and MONITOR. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client, Gap, KeyEvent, Message, Monitor, MonitoredCommand, Subscription


async def messages(r: Client[str], b: Client[bytes]) -> None:
    async with r.subscribe("a") as s:
        assert_type(s, Subscription[Message[str]])
        async for message in s:
            assert_type(message, Message[str])
            assert_type(message.channel, str)
            assert_type(message.data, str)
            assert_type(message.pattern, str | None)
        assert_type(await s.get(), Message[str])
        assert_type(await s.get(timeout=1), Message[str] | None)
        assert_type(s.gaps, tuple[Gap, ...])
        assert_type(s.dropped, int)
    async with b.psubscribe(b"a*", gaps=True, buffer=10, overflow="close") as p:
        assert_type(await p.get(), Message[bytes] | Gap)
        async for item in p:
            assert_type(item, Message[bytes] | Gap)
            if isinstance(item, Gap):
                assert_type(item.at, float)
                assert_type(item.seconds, float)
            else:
                assert_type(item.data, bytes)
    async with r.ssubscribe("a", overflow="wait") as shard:
        assert_type(await shard.get(timeout=0), Message[str] | None)


async def events(r: Client[str], b: Client[bytes]) -> None:
    async with r.keyspace_events("a*", events=["set"], db="*") as k:
        assert_type(k, Subscription[KeyEvent[str]])
        event = await k.get()
        assert_type(event.key, str)
        assert_type(event.event, str)
        assert_type(event.db, int)
    async with b.keyspace_events(gaps=True) as g:
        assert_type(await g.get(), KeyEvent[bytes] | Gap)


async def monitoring(r: Client[str], b: Client[bytes]) -> None:
    async with r.monitor() as m, b.monitor(buffer=5, overflow="drop_newest") as n:
        assert_type(m, Monitor[str])
        assert_type(await m.get(), MonitoredCommand[str])
        async for command in n:
            assert_type(command.arguments, tuple[bytes, ...])
            assert_type(command.client, str)
