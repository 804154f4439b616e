"""Each warning on a real server that deserves it, and on one that does not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aioresp import Client
from aioresp.cli.monitor import notices
from aioresp.cli.monitor.live import Live
from aioresp.cli.monitor.notices import Watchman
from aioresp.cli.monitor.rates import Rates
from aioresp.cli.monitor.source import Moment, NodeMoment
from aioresp.errors import ConnectError, ResponseError
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.cli.monitor.watched import APART, named, until, watching


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that gets into all kinds of trouble."""
    with start_server(config={"dbfilename": "folder.rdb"}) as running:
        yield running


@pytest.fixture
async def client(own_server: Server) -> AsyncIterator[Client[str]]:
    async with Client(own_server.url) as r:
        await r.ping()
        yield r
        await r.flushall()
        await r.config_resetstat()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rules look at tenths of seconds where users have seconds."""
    monkeypatch.setattr(notices, "SPAN", 0.2)
    monkeypatch.setattr(notices, "CONNECTIONS_FOR", 1.0)
    monkeypatch.setattr("aioresp.cli.monitor.live.PERIOD", 0.1)


def warned(name: str) -> object:
    return lambda moment: bool(named(moment, name))


async def texts(live: Live, name: str, tries: int = 60) -> str:
    moment = await until(live, warned(name), tries)
    return named(moment, name)[0].text


async def save(client: Client[str]) -> None:
    """Begin to save, once the last save has ended."""
    while (await client.info("persistence")).integer("rdb_bgsave_in_progress"):
        await asyncio.sleep(0.01)
    await client.bgsave()


async def looked(live: Live, times: int = 8) -> list[str]:
    """Return the names of all warnings of some moments."""
    found = []
    for _ in range(times):
        await asyncio.sleep(APART)
        found += [notice.name for notice in (await live.read()).notices]
    return found


async def test_an_ordinary_server_gets_no_warning(own_server: Server, client: Client[str]) -> None:
    await client.mset({f"key:{number}": "x" for number in range(100)})
    async with watching(own_server) as live:

        async def work() -> None:
            while True:
                await asyncio.gather(client.get("key:1"), client.set("key:2", "x"), client.incr("counter"))
                await asyncio.sleep(0.01)

        task = asyncio.ensure_future(work())
        assert await looked(live) == []
        task.cancel()


async def test_a_client_for_each_job(own_server: Server, client: Client[str]) -> None:
    async def job() -> None:
        while True:
            async with Client(own_server.url) as own:
                await own.ping()
            await asyncio.sleep(0.02)

    async with watching(own_server) as live:
        task = asyncio.ensure_future(job())
        said = await texts(live, "connections")
        task.cancel()
    assert said.endswith(" new connections a second: something makes a client for each job")


async def test_a_pool_that_grows_is_none(own_server: Server, client: Client[str]) -> None:
    async with watching(own_server) as live, Client(own_server.url, concurrency=1) as pool:
        await looked(live, 4)
        for _ in range(3):
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(pool.ping())
        assert "connections" not in await looked(live, 16)


def moment_of(at: float, received: float, uptime: int = 10_000, total: int = 100) -> NodeMoment:
    """Return a moment of a server that has made so many connections in the last second, and in all."""
    reading = moment_of.reading  # type: ignore[attr-defined]  # a real one, from the test below
    rates = Rates(1.0, received, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0.1)
    return NodeMoment(
        "",
        at,
        replace(
            reading,
            clock=at,
            identity=replace(reading.identity, uptime=uptime),
            connections=replace(reading.connections, received=total),
        ),
        rates,
    )


async def test_connections_by_the_clock(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the thresholds that users have, and moments a second apart."""
    monkeypatch.undo()
    async with watching(own_server) as live:
        moment_of.reading = (await live.read()).whole.reading  # type: ignore[attr-defined]

    def names(made: list[float], **said: int) -> list[int]:
        watchman = Watchman()
        found = [watchman.look(moment_of(1000 + number, each, **said)) for number, each in enumerate(made)]
        return [number for number, each in enumerate(found) if any(one.name == "connections" for one in each)]

    assert names([1.0] * 8) == [5, 6, 7], "one a second, since now"
    assert names([1.0] * 8, uptime=1000, total=900) == list(range(8)), "one a second, since ever: seen at once"
    assert names([10.0, 0.0, 0.0], uptime=6, total=11) == [], "a pool that begins on a server that just has"
    assert names([0.0] * 3 + [40.0, 3.0] + [0.0] * 9) == [], "a pool that grows, or a fleet that starts"
    assert names([0.0, 1.0] * 6)[-1:] == [11], "one each two seconds"
    assert names([0.0, 0.0, 0.0, 1.0] * 4) == [], "one each four seconds"
    watchman = Watchman()
    assert (
        "1.0 new connections a second"
        in [notice.text for number in range(8) for notice in watchman.look(moment_of(number, 1.0))][-1]
    )


async def test_a_server_that_is_full(client: Client[str]) -> None:
    with start_server(config={"maxclients": "8"}) as full:
        async with watching(full) as live:
            assert await looked(live, 2) == []
            held = [socket.create_connection(("127.0.0.1", full.port)) for _ in range(8)]
            try:
                near = await texts(live, "maxclients")
                async with Client(full.url, retry=None) as late:
                    with pytest.raises((ConnectError, ResponseError)):
                        await late.ping()
                said = await texts(live, "rejected")
            finally:
                for each in held:
                    each.close()
    assert "of 8 connections are open (maxclients)" in near
    assert said.endswith("are rejected: maxclients is 8")


async def test_memory_that_is_full(own_server: Server, client: Client[str]) -> None:
    async with watching(own_server) as live:
        used = (await client.info("memory")).integer("used_memory")
        await client.config_set("maxmemory", used * 2)
        assert await looked(live, 2) == []
        await client.config_set("maxmemory", used + 100_000)
        try:
            said = await texts(live, "memory")
            await client.config_set("maxmemory-policy", "allkeys-lru")
            for number in range(400):
                await client.set(f"key:{number}", "x" * 1000)
            evicted = await texts(live, "evictions")
        finally:
            await client.config_set("maxmemory-policy", "noeviction")
            await client.config_set("maxmemory", 0)
    assert "of memory are in use (maxmemory): writes will fail" in said
    assert evicted.endswith("are evicted (allkeys-lru): the data does not fit into maxmemory")


async def test_a_hit_rate_that_falls(own_server: Server, client: Client[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute before is played by moments whose times are set back; their figures are the server's."""
    await client.set("key", "x")
    async with watching(own_server) as live:
        watchman = Watchman()

        async def look(at: float, key: str) -> list[str]:
            for _ in range(30):
                await client.get(key)
            await asyncio.sleep(APART)
            found = (await live.read()).whole
            assert found.reading is not None
            moment = replace(found, reading=replace(found.reading, clock=at))
            return [notice.text for notice in watchman.look(moment) if notice.name == "hit_rate"]

        for number in range(6):
            assert await look(1000 + 8 * number, "key") == []
        assert await look(1055, "key") == [], "it did not fall"
        (said,) = await look(1060, "missing")
    assert said.startswith("the hit rate fell from 100% to 0%")


async def test_fragmentation_and_forks(
    own_server: Server, client: Client[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(own_server) as live:
        assert await looked(live, 2) == [], "a small server wastes little, whatever the ratio"
        monkeypatch.setattr(notices, "WASTE", 1_000_000)
        monkeypatch.setattr(notices, "FORK", 1)
        await save(client)
        assert "(fragmentation " in await texts(live, "fragmentation")
        assert "to begin its last save (fork)" in await texts(live, "fork", 100)


async def test_saves_that_fail(own_server: Server, client: Client[str]) -> None:
    folder = Path(own_server.folder, "folder.rdb")
    folder.unlink(missing_ok=True)
    folder.mkdir()
    async with watching(own_server) as live:
        await client.set("key", "x")
        await save(client)
        assert "the last save to disk failed" in await texts(live, "save", 100)
        folder.rmdir()
        await save(client)
        await until(live, lambda moment: not named(moment, "save"), 100)


async def test_queues_without_a_log_on_disk(own_server: Server, client: Client[str]) -> None:
    async with watching(own_server) as live:
        assert await looked(live, 2) == []
        await client.rpush("{mails}:ready:0", "1", "2")
        live._searches[""]._ended = 0.0  # a queue that is new is found within a minute
        said = await texts(live, "queues")
        await client.config_set("maxmemory", 10**9)
        await client.config_set("maxmemory-policy", "allkeys-lru")
        evicted = await texts(live, "evictable")
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", 0)
        await client.config_set("appendonly", "yes")
        await until(live, lambda moment: not named(moment, "queues"))
        await client.config_set("appendonly", "no")
    assert said.startswith("2 jobs are in queues and the server has no AOF")
    assert evicted == "the server may evict jobs of queues (maxmemory-policy allkeys-lru): set it to noeviction"


async def test_blocked_connections(own_server: Server, client: Client[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "BLOCKED", 30)
    async with watching(own_server) as live, Client(own_server.url) as workers:

        async def block(count: int) -> list[asyncio.Task[object]]:
            return [asyncio.ensure_future(workers.blpop("nothing", timeout=0)) for _ in range(count)]

        tasks = await block(20)
        assert "blocked" not in await looked(live, 4)
        tasks += await block(20)
        said = await texts(live, "blocked")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert "connections wait in blocking commands" in said


async def test_keys_is_called(own_server: Server, client: Client[str]) -> None:
    await client.rpush("list", *range(50))
    async with watching(own_server) as live:
        await client.lrange("list", 0, -1)
        await live.commands(now=True)
        assert await looked(live, 3) == [], "LRANGE of a short list does no harm"
        await client.keys("*")
        said = await texts(live, "greedy")
    assert said.startswith("KEYS was called ")
    assert said.endswith("each time: SCAN does not")


async def test_a_client_that_does_not_read(
    own_server: Server, client: Client[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "OUTPUT", 1_000_000)
    monkeypatch.setattr("aioresp.cli.monitor.live.OUTPUT", 1_000_000)
    await client.set("large", "x" * 300_000)
    async with watching(own_server) as live:
        assert await looked(live, 2) == []
        with socket.create_connection(("127.0.0.1", own_server.port)) as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            login = f"AUTH {own_server.password}\r\n" if own_server.password else ""
            lazy.sendall((login + "CLIENT SETNAME lazy\r\n" + "GET large\r\n" * 40).encode())
            said = await until(live, lambda moment: "wait for lazy" in str(named(moment, "output")), 100)
    assert "of replies wait for lazy (127.0.0.1:" in named(said, "output")[0].text


async def test_calls_that_fail(own_server: Server, client: Client[str]) -> None:
    await client.rpush("list", "x")
    async with watching(own_server) as live:

        async def fail() -> None:
            while True:
                with pytest.raises(ResponseError):
                    await client.append("list", "x")
                await asyncio.sleep(0.005)

        task = asyncio.ensure_future(fail())
        said = await texts(live, "failed")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(300):
            await client.ping()
        with pytest.raises(ResponseError):
            await client.append("list", "x")
    assert said.endswith("calls a second fail, most with WRONGTYPE")


async def test_replicas_that_lag_and_lose_their_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "LAG_SECONDS", 2)
    with start_server() as primary, start_server() as copy:
        async with Client(primary.url) as r, Client(copy.url) as c:
            await r.config_set("repl-diskless-sync-delay", 0)
            await c.config_set("masterauth", primary.password or "")
            await c.replicaof("127.0.0.1", primary.port)
            async with watching(primary) as live, watching(copy) as live_copy:

                def online(moment: Moment) -> bool:
                    reading = moment.whole.reading
                    return bool(reading and any(each.state == "online" for each in reading.replication.replicas))

                await until(live, online, 200)
                await until(live_copy, lambda moment: not moment.notices, 200)
                assert {"lag", "link"} & set(await looked(live, 3)) == set()
                copy.pause()
                said = await until(live, warned("lag"), 100)
                copy.resume()
                await asyncio.to_thread(primary.kill)
                lost = await until(live_copy, warned("link"), 200)
        ports = primary.port, copy.port
    assert f"the replica 127.0.0.1:{ports[1]} is " in named(said, "lag")[0].text
    assert f"lost its primary 127.0.0.1:{ports[0]}" in named(lost, "link")[0].text
