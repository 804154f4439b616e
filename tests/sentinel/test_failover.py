"""Failovers and failures under Sentinel, each with its own failure: S3, S4, S9 and S12."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from aioresp import Client, ConnectError, ConnectionLost, Retry
from aioresp.events import Event, MasterChanged
from aioresp.replicated import outlook as outlook_module
from aioresp.replicated.outlook import Outlook
from aioresp.replicated.places import Address
from aioresp.testing import ErrorReply, Proxy, SentinelServers
from aioresp.testing.member import Member
from aioresp.testing.sockets import HOST
from tests.rest import at_rest, until
from tests.sentinel.passengers import Counter


def outlook(r: Client[str]) -> Outlook:
    here: Outlook = r.node.outlooks.here()  # type: ignore[attr-defined]
    return here


def at(server: Member) -> Address:
    return Address(HOST, server.port)


# --- Writes are held --------------------------------------------------------------------------------------------------


async def test_a_hold_ends_by_itself(r: Client[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook_module, "HOLD", 0.9)
    await r.set("k", "1")
    here = outlook(r)
    here.hold("a test")
    since = time.monotonic()
    assert await r.get("k") == "1"
    assert time.monotonic() - since < 0.85, "reads are not held"
    await r.set("k", "2")
    assert time.monotonic() - since > 0.85
    here.hold("a test")
    write = asyncio.create_task(r.set("k", "3"))
    await asyncio.sleep(0.05)
    assert not write.done()
    here.release("a test")
    assert await write


async def test_the_deadline_of_a_write_that_is_held_counts(r: Client[str]) -> None:
    await r.set("k", "1")
    outlook(r).hold("a test")
    since = time.monotonic()
    hasty = r.with_options(timeout=0.1)
    with pytest.raises(TimeoutError, match=r"writes are held while a failover of redis\+sentinel.*SET .k"):
        await hasty.set("k", "2")
    with pytest.raises(TimeoutError, match="writes are held"):
        async with hasty.pipeline() as p:
            p.set("k", "2")
    async with hasty.connection() as c:
        with pytest.raises(TimeoutError, match="writes are held"):
            await c.set("k", "2")
    assert time.monotonic() - since < outlook_module.HOLD
    outlook(r).release("a test")
    assert await r.get("k") == "1"


async def test_a_blocking_pop_whose_time_passes_while_writes_are_held_ends_empty(shared: SentinelServers) -> None:
    """However little of its time is left: with this policy, too little for a pause before another attempt."""
    async with Client(shared.url, retry=Retry(base=0.2, jitter=False)) as r:
        await r.set("k", "1")
        popping = [asyncio.create_task(r.blpop(("nothing",), seconds)) for seconds in (0.3, 0.5)]
        await asyncio.sleep(0.2)
        outlook(r).hold("a test")
        await asyncio.sleep(0.5)
        outlook(r).release("a test")
        assert [await each for each in popping] == [None, None]


async def test_a_failover_that_is_given_up_lets_the_writes_go_on(
    servers: SentinelServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4: the replica that was chosen hangs, and the sentinel gives up after its failover-timeout."""
    monkeypatch.setattr(outlook_module, "HOLD", 60.0)  # so that only the sentinels' word ends it
    async with Client(servers.url, timeout=30) as r:
        await r.rpush("list", "before")
        old = servers.primary()
        for each in servers.replicas():
            each.pause()
        servers.sentinels[0].call("SENTINEL", "FAILOVER", servers.name)
        await until(lambda: outlook(r).state is outlook_module.State.HELD)
        await r.rpush("list", "after")
        assert [each for s in servers.sentinels for each in s.events("-failover-abort-slave-timeout")]
        assert outlook(r).primary == at(old)
        assert await r.lrange("list", 0, -1) == ["before", "after"]
        assert old.call("LLEN", "list") == 2


# --- The primary fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_primary_that_dies_or_hangs_is_left_when_the_next_is_known(servers: SentinelServers, how: str) -> None:
    """S12: nobody waits longer for the dead one than until the sentinels' word. A write is never run twice."""
    events: list[Event] = []
    async with Client(servers.url, timeout=15, events=events.append) as r:
        await r.set("n", "0")
        old = servers.primary()
        assert old.call("WAIT", 1, 5000)
        await asyncio.to_thread(getattr(old, how))
        since = time.monotonic()
        promoted: list[float] = []

        async def watch() -> None:
            await asyncio.to_thread(servers.wait_until_promoted, old)
            promoted.append(time.monotonic() - since)

        watching = asyncio.create_task(watch())
        with pytest.raises((TimeoutError, ConnectionLost)):
            await r.with_options(timeout=0.3).set("other", "1")  # on the connection that has just ended, or on none
        assert not promoted or time.monotonic() - since < 1.0, "the deadline holds"
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(r.get("n")) for _ in range(20)]
        assert {read.result() for read in reads} == {"0"}
        took = time.monotonic() - since
        await watching
        assert took < promoted[0] + 2.0
        assert await r.incr("n") == 1
        if how == "pause":
            old.resume()  # it wakes, and believes for seconds that it is the primary
            for number in range(2, 30):
                assert await r.incr("n") == number
                r.node.retire(ConnectionError("a test"))  # so that the next one finds the primary anew
            assert outlook(r).primary == at(servers.primary()) != at(old)
        assert sum(isinstance(event, MasterChanged) for event in events) == 1
        await at_rest(r)


async def test_two_failovers_directly_after_each_other(servers: SentinelServers) -> None:
    async with Client(servers.url, timeout=30) as r:
        pushed = 0
        stop = asyncio.Event()

        async def push() -> None:
            nonlocal pushed
            while not stop.is_set():
                await r.rpush("list", str(pushed))
                pushed += 1
                await asyncio.sleep(0.01)

        pushing = asyncio.create_task(push())
        await asyncio.sleep(0.1)
        for _ in range(2):
            await asyncio.to_thread(again, servers)
        await asyncio.sleep(0.5)
        stop.set()
        await pushing
        assert await r.lrange("list", 0, -1) == [str(number) for number in range(pushed)]
        assert outlook(r).primary == at(servers.primary())


def again(servers: SentinelServers) -> None:
    """Fail over as soon as a sentinel agrees to do so."""
    old = servers.primary()
    for _ in range(200):
        with suppress(ErrorReply):  # NOGOODSLAVE or INPROG
            servers.sentinels[0].call("SENTINEL", "FAILOVER", servers.name)
            break
        time.sleep(0.1)
    servers.wait_until_promoted(old)


# --- Sentinels fail ---------------------------------------------------------------------------------------------------


async def test_news_that_was_missed_is_asked_for(servers: SentinelServers) -> None:
    """The sentinels' connections are lost, and the failover happens before they are heard again."""
    async with Client(servers.url) as r:
        await r.set("k", "1")
        here = outlook(r)
        old = here.primary
        switch, missed = here.switch, 0

        def deaf(to: Address, why: str, before: Address | None = None) -> None:
            nonlocal missed
            missed += 1
            if "missed" in why:
                switch(to, why)

        here.switch = deaf  # type: ignore[method-assign]
        here.look = lambda: None  # type: ignore[method-assign]
        await asyncio.to_thread(servers.failover)
        await until(lambda: missed >= 2)
        assert here.primary == old
        for node in r.node.source.nodes():  # type: ignore[attr-defined]
            node.hubs.here().move(ConnectionLost("a test"))
        await until(lambda: here.primary != old)
        await r.set("k", "2")
        assert await r.get("k") == "2"
        assert here.primary == at(servers.primary())


@asynccontextmanager
async def proxied(servers: SentinelServers) -> AsyncIterator[tuple[list[Proxy], str]]:
    """Open a proxy before each sentinel; yield them, and an address that names these alone."""
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Proxy(HOST, each.port)) for each in servers.sentinels]
        url = servers.url
        for proxy, address in zip(proxies, servers.addresses, strict=True):
            url = url.replace(address, f"{HOST}:{proxy.port}")
        yield proxies, url


@pytest.mark.parametrize("seconds", [1.0, pytest.param(60.0, marks=pytest.mark.soak)])
async def test_without_any_sentinel_clients_go_on_and_hear_the_next_failover(
    servers: SentinelServers, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    """The sentinels come back on other ports, behind the names that the client has: S9."""
    async with proxied(servers) as (proxies, url), Client(url, timeout=10, read_from="replica") as r:
        primary = r.with_options(read_from="primary")
        await r.set("k", "1")
        await r.get("k")
        await until(lambda: len(r.node.source.sentinels) == 6)  # type: ignore[attr-defined]
        for each in servers.sentinels:
            await asyncio.to_thread(each.kill)
        since = time.monotonic()
        caplog.clear()
        while time.monotonic() - since < seconds:
            await r.set("k", "2")
            assert await r.get("k") in ("1", "2")
            async with r.connection() as c:
                await c.ping()
            await asyncio.sleep(0.05)
        r.node.retire(ConnectionError("a test"))  # a new connection finds nobody to ask
        assert await primary.get("k") == "2"
        assert await r.blpop(("nothing",), 0.1) is None
        assert sum("is used as the primary still" in record.message for record in caplog.records) == 1
        ports = [each.port for each in servers.sentinels]
        for each, proxy in zip(servers.sentinels, proxies, strict=True):
            await asyncio.to_thread(each.start, elsewhere=True)
            proxy.lead_to(HOST, each.port)
        assert not set(ports) & {each.port for each in servers.sentinels}
        await asyncio.to_thread(servers.wait_until_ok)
        old = servers.primary()
        await until(lambda: {each.port for each in servers.sentinels} < {at.port for at in known(r)}, 30.0)
        await asyncio.to_thread(servers.failover)
        await r.set("k", "3")
        assert outlook(r).primary == at(servers.primary()) != at(old)


def known(r: Client[str]) -> tuple[Address, ...]:
    source: tuple[Address, ...] = r.node.source.sentinels  # type: ignore[attr-defined]
    return source


async def test_a_sentinel_that_is_gone_is_forgotten_with_all_it_had(servers: SentinelServers) -> None:
    """Each one that was renamed would be tried each second, forever."""
    async with Client(servers.url.replace(",".join(servers.addresses), servers.addresses[0])) as r:
        await r.set("k", "1")
        assert len(known(r)) == 3
        nodes = {node.settings.endpoint.port: node for node in r.node.source.nodes()}  # type: ignore[attr-defined]
        source = r.node.source  # type: ignore[attr-defined]
        gone = servers.sentinels[2]
        hub = nodes[gone.port].hubs.here()
        await until(lambda: hub.state.value == "connected")
        source._panel.learn({at for at in known(r) if at.port != gone.port})
        assert len(known(r)) == 2
        await until(lambda: hub.state.value == "closed")
        assert nodes[gone.port].stats().open == 0


async def test_the_leading_sentinel_dies_in_the_middle(
    servers: SentinelServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has told that it chose a replica, and nobody tells how that ended: S4's seconds do."""
    monkeypatch.setattr(outlook_module, "HOLD", 1.0)
    async with Client(servers.url, timeout=10) as r:
        counter = Counter(r)
        counting = asyncio.create_task(counter.run())
        await asyncio.sleep(0.1)
        leader = servers.sentinels[0]
        leader.call("SENTINEL", "FAILOVER", servers.name)
        await until(lambda: outlook(r).state is outlook_module.State.HELD)
        await asyncio.to_thread(leader.kill)
        held = counter.acknowledged
        await until(lambda: counter.acknowledged > held + 5)
        await asyncio.to_thread(leader.start)
        await asyncio.to_thread(servers.restore)
        counting.cancel()
        assert counter.errors == []
        under_way = int(await r.get("counter") or 0) - counter.acknowledged  # when it was cancelled
        assert under_way in (0, 1)


async def test_a_name_is_removed_from_the_sentinels_and_monitored_again(servers: SentinelServers) -> None:
    """A client goes on with the primary that it has; a new one is told that the name is unknown."""
    async with Client(servers.url, timeout=10) as r:
        await r.set("k", "1")
        primary = servers.primary()
        for each in servers.sentinels:
            each.call("SENTINEL", "REMOVE", servers.name)
        r.node.retire(ConnectionError("a test"))
        await r.set("k", "2")
        async with Client(servers.url) as other:
            with pytest.raises(ConnectError, match="no sentinel knows a primary called 'mymaster': they watch none"):
                await other.ping()
        asked = [node.stats().commands for node in r.node.source.nodes()]  # type: ignore[attr-defined]
        for each in servers.sentinels:
            each.call("SENTINEL", "MONITOR", servers.name, HOST, primary.port, 2)
            each.call("SENTINEL", "SET", servers.name, "auth-pass", servers.password or "")
            each.call("SENTINEL", "SET", servers.name, "down-after-milliseconds", 1500, "failover-timeout", 3000)
        # By the message +monitor they are asked again.
        await until(lambda: [node.stats().commands for node in r.node.source.nodes()] > asked)  # type: ignore[attr-defined]
        await until(lambda: not r.node.source.silent)  # type: ignore[attr-defined]
        await r.set("k", "3")
        assert outlook(r).primary == at(primary)
