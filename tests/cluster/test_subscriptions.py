"""Subscriptions over a cluster tell the truth: over moves of slots, failovers and redirects (C15)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from aioresp import CommandRefused, Gap, Message, MonitoredCommand, Subscription
from aioresp.cluster import Cluster
from aioresp.pubsub.topics import Moment
from aioresp.testing import ClusterNode, ClusterServers
from tests.cluster.fakes import HOST, fakes
from tests.rest import until


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


@pytest.fixture
def sharded(fresh: ClusterServers) -> ClusterServers:
    """The cluster, if it has shard channels."""
    if fresh.nodes[0].version < (7,):
        pytest.skip("shard channels are there since 7.0")
    return fresh


@asynccontextmanager
async def published(r: Cluster[str], names: list[str]) -> AsyncIterator[dict[str, list[str]]]:
    """Publish numbers on shard channels until the block ends, and tell them."""
    sent: dict[str, list[str]] = {name: [] for name in names}
    going = True

    async def publish(name: str) -> None:
        number = 0
        while going:
            number += 1
            await r.spublish(name, str(number))
            sent[name].append(str(number))
            await asyncio.sleep(0.005)

    tasks = [asyncio.create_task(publish(name)) for name in names]
    try:
        yield sent
    finally:
        going = False
        await asyncio.gather(*tasks)


async def test_channels_and_patterns_are_heard_from_all_nodes(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with r.subscribe("news") as s, r.psubscribe("ne*") as p:
        for node in await r.primaries():
            await node.publish("news", "x")
        for _ in range(3):
            assert (await anext(s)).data == "x"
            assert (await anext(p)).data == "x"


async def test_shard_channels_live_at_the_nodes_of_their_slots(sharded: ClusterServers, r: Cluster[str]) -> None:
    names = [f"shard:{number}" for number in range(30)]
    async with r.ssubscribe(*names) as s:
        for name in names:
            assert await r.spublish(name, name) == 1
        got = {(await anext(s)).data for _ in names}
    assert got == set(names)


async def test_a_shard_channel_moves_alone_and_with_a_gap(sharded: ClusterServers, r: Cluster[str]) -> None:
    home, target = sharded.primary_of("{ch}1"), other_than(sharded, "{ch}1")
    stays = next(name for name in map(str, range(1000)) if sharded.primary_of(name) is home)
    try:
        async with r.ssubscribe("{ch}1", gaps=True) as moving, r.ssubscribe(stays, gaps=True) as still:
            async with published(r, ["{ch}1", stays]) as sent:
                await asyncio.sleep(0.1)
                await asyncio.to_thread(sharded.migrate, "{ch}1", target)
                await asyncio.sleep(0.5)
            await r.spublish("{ch}1", "end")
            await r.spublish(stays, "end")
            heard: list[str] = []
            async for item in moving:
                if isinstance(item, Message) and item.data == "end":
                    break
                heard.append("gap" if isinstance(item, Gap) else item.data)
            assert heard.count("gap") == 1
            numbers = [int(each) for each in heard if each != "gap"]
            assert numbers == sorted(set(numbers))
            missing = set(map(int, sent["{ch}1"])) - set(numbers)
            before = [int(each) for each in heard[: heard.index("gap")]]
            assert all(number > before[-1] - 1 for number in missing)
            quiet = [item async for item in until_end(still)]
            assert [item.data for item in quiet if isinstance(item, Message)] == sent[stays]
            assert not still.gaps
    finally:
        sharded.migrate("{ch}1", home)


@dataclass
class Channel:
    """A shard channel with its subscriber, and what was published: the time before, the time after, whether heard."""

    name: str
    heard: list[int] = field(default_factory=list)
    sent: dict[int, tuple[float, float]] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()

    async def publish(self, r: Cluster[str], going: asyncio.Event) -> None:
        """Publish numbers until the event is set."""
        while not going.is_set():
            number, begin = len(self.sent), time.time()
            await r.spublish(self.name, str(number))
            self.sent[number] = begin, time.time()
            await asyncio.sleep(0.03)

    async def hear(self, s: Subscription[Message[str] | Gap]) -> None:
        """Take messages until the last one."""
        async for item in s:
            if isinstance(item, Message):
                if item.data == "end":
                    break
                self.heard.append(int(item.data))
        self.gaps = s.gaps

    def check(self) -> None:
        """Each missing message lies in a gap, and the others came once and in their order."""
        assert self.heard == sorted(set(self.heard)), self.name
        for number in set(self.sent) - set(self.heard):
            begin, end = self.sent[number]
            assert any(gap.at <= end and begin <= gap.at + gap.seconds for gap in self.gaps), (self.name, number)


async def test_a_hundred_shard_channels_over_moves_and_failovers(
    sharded: ClusterServers, r: Cluster[str], no_debug: None
) -> None:
    channels = [Channel(f"{{{number}}}") for number in range(100)]
    home = sharded.primary_of("{0}")
    there = other_than(sharded, "{0}")
    moved = [channel.name for channel in channels if sharded.primary_of(channel.name) is home][:3]
    quiet = [channel for channel in channels if sharded.primary_of(channel.name) is not home]
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        subscribed = [await stack.enter_async_context(r.ssubscribe(each.name, gaps=True)) for each in channels]
        hearing = [asyncio.create_task(each.hear(s)) for each, s in zip(channels, subscribed, strict=True)]
        publishing = [asyncio.create_task(each.publish(r, over)) for each in channels]
        try:
            for name in moved:
                await asyncio.to_thread(sharded.migrate, name, there)
            await asyncio.sleep(0.3)
            before = [s.gaps for s in subscribed]
            for name in moved:
                await asyncio.to_thread(sharded.migrate, name, home)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(sharded.failover, home)
            await asyncio.to_thread(sharded.wait_until_ok)
            await asyncio.sleep(0.3)
        finally:
            over.set()
            await asyncio.gather(*publishing)
        for each in channels:
            async with asyncio.timeout(10):
                while await r.spublish(each.name, "end") == 0:
                    await asyncio.sleep(0.02)
        await asyncio.gather(*hearing)
    for each, gaps in zip(channels, before, strict=True):
        each.check()
        assert len(gaps) == (each.name in moved), each.name
    assert [each.gaps for each in quiet] == [()] * len(quiet)
    assert [each.heard for each in quiet] == [list(each.sent) for each in quiet]


async def test_a_channel_that_is_left_as_its_slot_moves_leaves_others_in_peace(
    sharded: ClusterServers, r: Cluster[str]
) -> None:
    """valkey#1066: the word that the slot has moved looks as the answer to SUNSUBSCRIBE, which is an error then."""
    home, there = sharded.primary_of("{m}"), other_than(sharded, "{m}")
    still = [next(name for name in map(str, range(300)) if sharded.primary_of(name) is each) for each in (home, there)]
    async with r.ssubscribe(*still, gaps=True) as s:
        for target in (there, home):
            async with r.ssubscribe("{m}1", "{m}2", "{m}3"):
                sharded.migrate("{m}", target)  # the loop stands still: that it has moved is read after all have left
            async with r.ssubscribe("{m}2", "{m}4") as t:
                for name in (*still, "{m}2", "{m}4"):
                    assert await r.spublish(name, name) == 1
                assert [await anext(s) for _ in still] == [Message(name, name) for name in still]
                assert [(await anext(t)).data for _ in range(2)] == ["{m}2", "{m}4"]
        assert not s.gaps


async def test_a_channel_that_is_joined_as_it_moves_is_at_one_node(sharded: ClusterServers, r: Cluster[str]) -> None:
    home, there = sharded.primary_of("{m}"), other_than(sharded, "{m}")
    async with r.ssubscribe("{m}1") as first:
        for target in (there, home):
            sharded.migrate("{m}", target)
            router = r.fleet.pools.here()  # by a redirect, another caller knows it first
            router.patch(r.keyslot("{m}"), router.pool_at(("127.0.0.1", target.port)))
            async with r.ssubscribe("{m}1") as second:
                async with asyncio.timeout(10):
                    while await r.spublish("{m}1", "x") != 1:
                        await asyncio.sleep(0.02)
                assert ((await anext(first)).data, (await anext(second)).data) == ("x", "x")


async def until_end(s: object) -> AsyncIterator[object]:
    async for item in s:  # type: ignore[attr-defined]
        if isinstance(item, Message) and item.data == "end":
            return
        yield item


async def test_subscriptions_outlive_a_failover(sharded: ClusterServers, r: Cluster[str]) -> None:
    async with r.ssubscribe("{ch}1", gaps=True) as s, r.subscribe("plain") as plain:
        await asyncio.to_thread(sharded.failover, "{ch}1")
        await asyncio.to_thread(sharded.wait_until_ok)
        async with asyncio.timeout(10):
            while await r.spublish("{ch}1", "x") == 0:
                await asyncio.sleep(0.05)
        items = [await anext(s)]
        while not isinstance(items[-1], Message):
            items.append(await anext(s))
        assert [type(item) for item in items] == [Gap, Message]
        await r.publish("plain", "y")
        assert (await anext(plain)).data == "y"


async def test_subscriptions_outlive_a_killed_node(sharded: ClusterServers, r: Cluster[str]) -> None:
    victim = sharded.primary_of("{ch}1")
    async with r.ssubscribe("{ch}1", gaps=True) as s, r.subscribe("plain") as plain:
        await asyncio.to_thread(victim.kill)
        try:
            await asyncio.to_thread(sharded.wait_until_promoted, victim)
            async with asyncio.timeout(10):
                while await r.spublish("{ch}1", "x") == 0:
                    await asyncio.sleep(0.05)
                while not isinstance(await anext(s), Message):
                    pass
                hearing = asyncio.create_task(anext(plain))
                while not hearing.done():
                    await r.publish("plain", "y")  # the reply counts the subscribers of one node only
                    await asyncio.sleep(0.05)
                assert (await hearing).data == "y"
        finally:
            await asyncio.to_thread(victim.start)
            await asyncio.to_thread(sharded.wait_until_ok)
        assert len(s.gaps) == 1


async def test_keyspace_events_come_from_every_primary(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.config_set({"notify-keyspace-events": "KEA"})
    try:
        async with r.keyspace_events("event:*", events=["set"]) as s:
            names = {f"event:{number}" for number in range(30)}
            for name in names:
                await r.set(name, "1")
            assert {(await anext(s)).key for _ in names} == names
            moment = time.time()
            await asyncio.to_thread(fresh.failover, "event:1")
            await asyncio.to_thread(fresh.wait_until_ok)
            async with asyncio.timeout(10):
                while not s.gaps:  # nobody meets a redirect meanwhile
                    await asyncio.sleep(0.05)
            assert s.gaps[0].at <= moment + 0.5  # the deposed primary's word counts no more from then on
            for name in names:
                await r.set(name, "2")
            assert {(await anext(s)).key for _ in names} == names
            assert len(s.gaps) == 1
    finally:
        await r.config_set({"notify-keyspace-events": ""})


async def test_monitor_is_for_one_node(fresh: ClusterServers, r: Cluster[str]) -> None:
    with pytest.raises(CommandRefused, match="primaries"):
        async with r.monitor():
            pass
    node = (await r.primaries())[0]
    async with node.monitor() as m:
        await node.ping()
        assert isinstance(await anext(m), MonitoredCommand)


async def test_a_gap_comes_before_the_first_message_after_it(sharded: ClusterServers, r: Cluster[str]) -> None:
    """Two shard channels of one subscription are lost together, and one of them is live long before the other."""
    async with r.ssubscribe("one", "two", gaps=True) as s:
        one, two = s._topics.values()
        since = Moment.now()
        s.lose(two, since)
        s.lose(one, Moment.now())
        s.regain(one)
        await r.spublish("one", "1")
        assert isinstance(await s.get(5), Gap)
        assert await s.get(5) == Message("one", "1")
        s.regain(two)
        last = await s.get(5)
        assert isinstance(last, Gap)
        assert last.at == since.wall
        assert [gap.at for gap in s.gaps] == [since.wall]
        s.lose(one, Moment.now())
        s.lose(two, Moment.now())
        s.regain(two)
        s.regain(one)
        assert isinstance(await s.get(5), Gap)
        assert s.waiting == 0
        assert len(s.gaps) == 2


async def test_messages_of_a_channel_go_through_one_node_and_keep_their_order(
    fresh: ClusterServers, r: Cluster[str]
) -> None:
    async with r.subscribe("news", "other") as s:
        for number in range(60):
            await r.publish("news" if number % 2 else "other", str(number))
        messages = [await s.get(5) for _ in range(60)]
    heard = [int(message.data) for message in messages if message is not None]
    assert [number for number in heard if number % 2] == list(range(1, 60, 2))
    assert [number for number in heard if not number % 2] == list(range(0, 60, 2))
    published = {node: node.commandstats().get("publish", 0) for node in fresh.primaries()}
    assert sum(published.values()) == 60
    homes = {fresh.primary_of("news"), fresh.primary_of("other")}
    assert {node for node, count in published.items() if count} == homes


async def test_a_channel_that_has_moved_hears_nothing_more_of_its_old_node() -> None:
    """Otherwise an older message could come behind a newer one. Servers may do that; the client does not."""

    def answer(words: list[bytes]) -> str:
        return _push(words[0].lower(), words[1], 1) if words[0] == b"SSUBSCRIBE" else "+OK\r\n"

    async with fakes(answer, answer) as nodes, Cluster(f"redis+cluster://{HOST}:{nodes[0].port}") as r:
        async with r.ssubscribe("news", gaps=True) as s:
            old = next(node for node in nodes if node.asked[b"SSUBSCRIBE"])
            new = next(node for node in nodes if node is not old)
            old.push(_push(b"smessage", b"news", "1"))
            assert await s.get(5) == Message("news", "1")
            for node in nodes:
                node.owners = list(reversed(node.owners))
            await r.fleet.pools.here().renew()
            await until(lambda: new.asked[b"SSUBSCRIBE"])
            new.push(_push(b"smessage", b"news", "3"))
            assert isinstance(await s.get(5), Gap)
            assert await s.get(5) == Message("news", "3")
            old.push(_push(b"smessage", b"news", "2"))
            await asyncio.sleep(0.05)
            new.push(_push(b"smessage", b"news", "4"))
            assert await s.get(5) == Message("news", "4")
        assert old.asked[b"SSUBSCRIBE"] == 1


def _push(kind: bytes, name: bytes, last: str | int) -> str:
    end = f":{last}\r\n" if isinstance(last, int) else f"${len(last)}\r\n{last}\r\n"
    return f">3\r\n+{kind.decode()}\r\n+{name.decode()}\r\n{end}"
