"""A server that restarts, hangs, loads, or refuses: the monitor says so, comes back, and no counter jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import aioresp
from aioresp import Client
from aioresp.cli.monitor import live as live_module
from aioresp.cli.monitor.rows import ClientRow, Pace
from aioresp.cli.monitor.source import Moment
from aioresp.errors import NoPermissionError
from aioresp.testing import ClusterServers, SentinelServers, Server
from aioresp.testing import server as start_server
from aioresp.testing.executables import find_executable
from tests.cli.monitor.watched import APART, until, watching

ROOT = Path(aioresp.__file__).parents[1]


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that comes and goes."""
    with start_server() as running:
        yield running


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for a server that hangs."""
    monkeypatch.setattr(live_module, "TIMEOUT", 0.3)


def well(moment: Moment) -> bool:
    return not moment.whole.trouble and moment.whole.rates is not None


async def test_a_restart_is_told_and_counts_nothing(own_server: Server) -> None:
    async with Client(own_server.url) as r:
        for _ in range(50):
            await r.ping()
        async with watching(own_server) as live:
            await asyncio.to_thread(own_server.stop)
            down = await live.read()
            assert down.whole.trouble == "cannot be reached (connection refused)"
            assert down.whole.rates is None
            assert down.whole.reading is not None, "the last reading stays"
            await asyncio.sleep(APART)
            later = await live.read()
            assert (later.whole.since, later.notices) == (down.whole.since, ())
            where = f"the server at 127.0.0.1:{own_server.port}"
            at = (later.whole.since or 0) + 12
            said = later.whole.sentence(live.address, at)
            assert said == f"{where} cannot be reached (connection refused), for 12 s now; trying again"
            assert (await live.clients()).lacks == "The server does not answer."
            await asyncio.to_thread(own_server.start)
            up = await until(live, lambda moment: not moment.whole.trouble)
            assert up.whole.remark == "the server was restarted"
            assert up.whole.rates is None, "its counters began again"
            await asyncio.sleep(APART)
            after = await until(live, well)
            assert after.whole.rates is not None
            assert (after.whole.remark, after.whole.rates.received) == ("", 0)


async def test_counters_that_are_set_to_zero(own_server: Server) -> None:
    async with Client(own_server.url) as r, watching(own_server) as live:
        for _ in range(20):
            await r.ping()
        await live.read()
        await r.config_resetstat()
        zero = await live.read()
        assert "CONFIG RESETSTAT" in zero.whole.remark
        assert zero.whole.rates is None
        await asyncio.sleep(APART)
        after = await live.read()
        assert after.whole.rates is not None
        assert (after.whole.rates.received, after.whole.rates.commands) == (0, 0)
        for _ in range(2):
            async with Client(own_server.url) as other:
                await other.ping()
        await asyncio.sleep(APART)
        later = await live.read()
        assert later.whole.reading is not None
        assert later.whole.reading.connections.received == 2


async def test_a_server_that_hangs(own_server: Server) -> None:
    async with watching(own_server) as live:
        own_server.pause()
        try:
            hung = await live.read()
            assert hung.whole.trouble == "does not answer"
            await live.read()
        finally:
            own_server.resume()
        back = await until(live, lambda moment: not moment.whole.trouble)
        await asyncio.sleep(APART)
        after = await until(live, well)
        assert back.whole.rates is None
        assert after.whole.rates is not None
        assert after.whole.rates.received * after.whole.rates.seconds < 2


async def test_a_password_that_changes(own_server: Server) -> None:
    async with Client(own_server.url) as r, watching(own_server) as live:
        (own,) = [row for row in (await live.clients()).rows if row.own]
        await r.config_set("requirepass", "another")
        try:
            assert not (await live.read()).whole.trouble, "a connection that is open stays"
            await r.client_kill_filter(_id=own.id)
            refused = await until(live, lambda moment: bool(moment.whole.trouble))
            assert refused.whole.trouble == "refuses the password (WRONGPASS)"
        finally:
            await r.config_set("requirepass", own_server.password or "")
        await until(live, well, tries=150)


@pytest.mark.ci
async def test_a_server_that_loads() -> None:
    if find_executable().version < (7, 0):
        pytest.skip("Redis 6.2 answers nothing while it loads a small file")
    slowly = {"save": "900 1", "key-load-delay": "3000", "loading-process-events-interval-bytes": "1024"}
    with start_server(config=slowly) as s:
        async with Client(s.url) as r:
            await r.mset({f"key:{number}": "x" for number in range(500)})
            async with watching(s) as live:
                await asyncio.to_thread(s.stop)
                starting = asyncio.create_task(asyncio.to_thread(s.start))
                loading = await until(live, lambda moment: "loads" in moment.whole.trouble)
                assert loading.whole.reading is not None
                assert loading.whole.reading.identity.loading
                assert loading.whole.rates is None
                await starting
                await until(live, well, tries=200)


# --- Rights -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def admin(own_server: Server) -> AsyncIterator[Client[str]]:
    async with Client(own_server.url) as r:
        await r.mset({f"key:{number}": "x" for number in range(20)})
        await r.rpush("{mails}:ready:0", "1")
        yield r
        await r.flushall()


#: A user's rules, and what each part says: of moments, clients, commands, slow, queues, keys and MONITOR.
RIGHTS = {
    "all": ("+@all", {}),
    "info": ("+@all -info", {"moment": "INFO", "commands": "INFO"}),
    "config": ("+@all -config", {}),
    "client": ("+@all -client", {"clients": "CLIENT LIST", "kill": "CLIENT KILL"}),
    "slowlog": ("+@all -slowlog", {"slow": "SLOWLOG GET"}),
    "latency": ("+@all -latency", {"slow": "LATENCY LATEST"}),
    "monitor": ("+@all -monitor", {"tail": "MONITOR"}),
    "memory": ("+@all -memory", {"keys": "MEMORY USAGE"}),
    "scan": ("+@all -scan", {"keys": "SCAN", "queues": "SCAN"}),
    "none": (
        "-@all",
        {
            "moment": "INFO",
            "commands": "INFO",
            "clients": "CLIENT LIST",
            "kill": "CLIENT KILL",
            "slow": "SLOWLOG GET",
            "tail": "MONITOR",
            "keys": "SCAN",
            "queues": "SCAN",
        },
    ),
}

#: A row of a client that is not there.
GONE = ClientRow("", 10**9, "127.0.0.1:1", "", "", "", 0, 0, "N", 0, "", 0, 0, 0, False)


#: Those that the quick form leaves out.
LATER = ("config", "slowlog", "latency", "monitor", "scan")


@pytest.mark.parametrize("rules", [pytest.param(each, marks=[pytest.mark.ci] * (each in LATER)) for each in RIGHTS])
async def test_each_part_says_what_right_it_lacks(own_server: Server, admin: Client[str], rules: str) -> None:
    words, lacking = RIGHTS[rules]
    extra = (
        ["-commandlog"]
        if "-slowlog" in words and own_server.flavour == "valkey" and own_server.version > (8, 1)
        else []
    )
    await admin.call("ACL", "SETUSER", "watcher", "reset", "on", "~*", "&*", ">secret", *words.split(), *extra)
    async with watching(f"redis://watcher:secret@127.0.0.1:{own_server.port}") as live:
        moment = (await live.read()).whole
        keys = [report async for report in live.scan_keys(Pace(None))][-1]
        tail = [tail async for tail in live.tail(0.05)][-1]
        said = {
            "moment": moment.lacks,
            "clients": (await live.clients()).lacks,
            "commands": (await live.commands()).lacks,
            "slow": (await live.slow()).lacks,
            "queues": (await live.queues()).lacks,
            "keys": keys.lacks,
            "tail": tail.lacks,
            "kill": await live.kill(GONE),
        }
    assert moment.trouble == ""
    if lacking.get("kill") is None:
        assert "gone already" in said.pop("kill")
    for part, found in said.items():
        command = lacking.get(part, "")
        if command and not (command == "SLOWLOG GET" and "COMMANDLOG" in found):
            assert f"may not run {command}: the right +{command.lower().replace(' ', '|')} is missing." in found
        elif not command:
            assert found == "", part
    if "memory" in rules:
        assert (keys.seen, keys.bytes, keys.finished) == (21, 0, True)


async def test_a_user_who_may_only_monitor(own_server: Server, admin: Client[str]) -> None:
    """The rules of the documentation are enough for all that needs no key."""
    page = (ROOT / "docs/monitor.md").read_text(encoding="utf-8")
    rules = page.partition("ACL SETUSER watcher on >secret ")[2].partition("\n")[0]
    if own_server.flavour == "valkey" and own_server.version >= (8, 1):
        rules += " +commandlog|get"
    await admin.call("ACL", "SETUSER", "watcher", "reset", "on", ">secret", *rules.split())
    async with watching(f"redis://watcher:secret@127.0.0.1:{own_server.port}") as live:
        assert (await live.read()).whole.lacks == ""
        found = (await live.clients(), await live.commands(), await live.slow(), await live.queues())
        assert [each.lacks for each in found] == ["", "", "", ""]
        assert [row.name for row in found[3].rows] == ["mails"]
        assert [report async for report in live.scan_keys(Pace(None))][-1].lacks == ""
    async with Client(f"redis://watcher:secret@127.0.0.1:{own_server.port}") as watcher:
        with pytest.raises(NoPermissionError):
            await watcher.set("key", "x")


async def test_what_the_monitor_is_refused_is_no_failure_of_others(own_server: Server, admin: Client[str]) -> None:
    client = "-client|info" if own_server.version >= (7, 0) else "-client"
    rules = ["on", "~key:1*", "&*", ">secret", "+@all", client, "-memory", "-latency"]
    await admin.call("ACL", "SETUSER", "watcher", "reset", *rules)
    await admin.config_resetstat()
    async with watching(f"redis://watcher:secret@127.0.0.1:{own_server.port}") as live:
        assert [report async for report in live.scan_keys(Pace(None))][-1].lacks
        await live.slow()
        await asyncio.sleep(APART)
        moment = await live.read()
        failed = [(row.name, row.all_failed) for row in (await live.commands(now=True)).rows if row.all_failed]
    assert moment.whole.rates is not None
    assert moment.whole.rates.errors == 0
    assert [notice.name for notice in moment.notices] == []
    # The handshake of the connection is refused CLIENT SETINFO or the like at most.
    assert [(name, count) for name, count in failed if count > 2] == []


# --- Several servers --------------------------------------------------------------------------------------------------


@pytest.mark.ci
async def test_a_failover(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelServers() as servers:
        async with watching(servers.url) as live:
            await asyncio.to_thread(servers.primary().kill)
            away = await until(live, lambda moment: bool(moment.whole.trouble))
            assert away.whole.sentence(live.address, away.at).startswith("the server mymaster at 127.0.0.1:")
            back = await until(live, lambda moment: not moment.whole.trouble, tries=300)
            assert "another server" in back.whole.remark
            assert back.whole.rates is None
            assert back.whole.reading is not None
            assert back.whole.reading.replication.role == "primary"
            await until(live, well)


@pytest.mark.ci
async def test_a_cluster_has_a_row_for_each_node() -> None:
    with ClusterServers(primaries=3, replicas=3) as servers:
        async with Client(servers.nodes[0].url) as r:
            await r.ping()
            async with watching(servers.url) as live:
                moment = await live.read()
                roles = [each.reading.replication.role for each in moment.nodes if each.reading is not None]
                assert roles == ["primary"] * 3 + ["replica"] * 3
                assert moment.is_cluster
                assert moment.whole.reading is not None
                opened = [each.reading.connections.open for each in moment.nodes if each.reading is not None]
                assert moment.whole.reading.connections.open == sum(opened)
                assert {row.node for row in (await live.clients()).rows} == {each.node for each in moment.nodes}
                victim = servers.primaries()[0]
                await asyncio.to_thread(victim.kill)
                away = await until(live, lambda found: any(each.trouble for each in found.nodes))
                assert away.whole.trouble == "", "the others answer"
                assert any(notice.name == "node" and str(victim.port) in notice.text for notice in away.notices)
                await until(
                    live,
                    lambda found: (
                        sum(each.reading.replication.role == "primary" for each in found.nodes if not each.trouble) == 3
                    ),
                    tries=400,
                )
