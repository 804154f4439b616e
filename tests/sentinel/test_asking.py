"""Questions to sentinels: whose word counts, what a silent one costs, and what a user is told."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import ExitStack
from typing import Literal
from urllib.parse import quote

import pytest

from aioresp import ArgumentError, AuthenticationError, Client, ConnectError, RedisError, Sentinel
from aioresp.options import Options
from aioresp.replicated.places import Address, Found
from aioresp.sentinel import source as source_module
from aioresp.sentinel.source import SentinelSource
from aioresp.sentinel.words import News, Word, fields, news, read
from aioresp.testing import Proxy, SentinelServers
from aioresp.testing.sockets import HOST
from tests.holes import black_hole
from tests.rest import until


def url(s: SentinelServers, name: str = "mymaster", seeds: list[str] | None = None) -> str:
    hosts = ",".join(seeds or s.addresses)
    secret = quote(s.sentinel_password or "", safe="")
    return f"redis+sentinel://{s.servers[0].credentials}{hosts}/{name}?sentinel_password={secret}"


# --- S1: the newest word wins -----------------------------------------------------------------------------------------


def word(port: int, epoch: int, switching: bool = False) -> Word:
    return Word(Address("h", port), (epoch, switching), (), ())


async def found(source: SentinelSource, *words: Word) -> int:
    async def ask() -> dict[Address, Word]:
        return {Address("s", number): each for number, each in enumerate(words)}

    source._panel.ask = ask  # type: ignore[method-assign]
    source._panel.learn = lambda told: None  # type: ignore[method-assign]
    return (await source.find()).primary.port


async def test_the_newest_word_counts_and_an_older_one_never_again(shared: SentinelServers) -> None:
    async with Client(url(shared)) as r:
        source = r.node.source  # type: ignore[attr-defined]
        assert await found(source, word(1, 3), word(2, 4), word(1, 3)) == 2
        assert await found(source, word(1, 3), word(2, 4), word(1, 4), word(1, 4)) == 1, "the most agreed"
        assert await found(source, word(1, 4), word(3, 4, True)) == 3, "a failover that has not ended"
        with pytest.raises(ConnectError, match="have not heard of its last failover"):
            await found(source, word(1, 3))
        assert await found(source, *[word(9, 0)] * 5) == 9, "all sentinels were reset"


async def test_a_reset_counts_although_one_sentinel_is_gone(
    shared: SentinelServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "RESET", 0.1)
    async with Client(url(shared)) as r:
        await r.ping()
        source = r.node.source  # type: ignore[attr-defined]
        assert len(source.sentinels) == 3
        assert await found(source, word(2, 4)) == 2
        with pytest.raises(ConnectError):
            await found(source, word(1, 0), word(1, 0))
        await asyncio.sleep(0.15)
        with pytest.raises(ConnectError):
            await found(source, word(1, 0))  # a minority, which may be cut off from the others
        with pytest.raises(ConnectError):
            await found(source, word(1, 0), word(1, 0))
        await asyncio.sleep(0.15)
        assert await found(source, word(1, 0), word(1, 0)) == 1


async def test_a_stale_sentinel_is_outvoted(servers: SentinelServers) -> None:
    """S1: one sentinel hangs during a failover, and wakes with its old word."""
    old = servers.primary()
    servers.sentinels[2].pause()
    await asyncio.to_thread(servers.failover)
    servers.sentinels[2].resume()
    async with Client(servers.url) as r:
        await r.set("k", "1")
        assert r.node.found.primary.port != old.port  # type: ignore[attr-defined]


# --- S2: the role is looked at ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_replica_is_not_taken_for_the_primary(shared: SentinelServers, protocol: Literal[2, 3]) -> None:
    """S2: sentinels may be behind; then they are asked again until they know."""
    async with Client(url(shared), protocol=protocol) as r:
        source = r.node.source  # type: ignore[attr-defined]
        right, asked = source.find, 0
        replica = Address(HOST, shared.replicas()[0].port)

        async def behind() -> Found:
            nonlocal asked
            asked += 1
            return Found(replica) if asked <= 3 else await right()

        source.find = behind
        await r.set("k", "1")
        assert asked >= 4
        source.find = lambda: _answer(Found(replica))
        r.node.retire(ConnectionError("a test"))
        with pytest.raises(ConnectError, match="is a replica"):
            await r.with_options(timeout=0.5).set("k", "2")


async def _answer(answer: Found) -> Found:
    return answer


# --- S6: a silent sentinel costs nothing ------------------------------------------------------------------------------


async def times(s: SentinelServers, seeds: list[str], again: int = 0) -> list[float]:
    """Return the seconds of a first call, and those of calls that make a connection again."""
    async with Client(url(s, seeds=seeds)) as r:
        took = []
        for _ in range(1 + again):
            since = time.monotonic()
            await r.set("k", "1")
            took.append(time.monotonic() - since)
            r.node.retire(ConnectionError("a test"))
        return took


@pytest.mark.parametrize("position", [0, 2])
async def test_a_silent_sentinel_costs_less_than_half_a_second(shared: SentinelServers, position: int) -> None:
    usual = await times(shared, shared.addresses[1:], 2)  # on a busy machine, nothing is fast
    async with Proxy(HOST, shared.sentinels[0].port) as proxy:
        proxy.stall("both")
        seeds = shared.addresses[1:]
        seeds.insert(position, f"{HOST}:{proxy.port}")
        took = await times(shared, seeds, 2)
        assert took[0] < 0.45 + 3 * usual[0]
        assert min(took[1:]) < 0.1 + 3 * max(usual[1:]), "it is not waited for again"


async def test_sentinels_out_of_reach_cost_less_than_half_a_second(shared: SentinelServers) -> None:
    (usual,) = await times(shared, shared.addresses[:1])
    with ExitStack() as stack:
        holes = [f"127.0.0.2:{black_hole(stack, '127.0.0.2')}" for _ in range(4)]
        (took,) = await times(shared, [*holes, shared.addresses[0]])
        assert took < 0.45 + 3 * usual


async def test_sentinels_that_refuse_connections_cost_nothing(shared: SentinelServers) -> None:
    (usual,) = await times(shared, shared.addresses[:1])
    (took,) = await times(shared, [f"{HOST}:1", f"{HOST}:2", shared.addresses[0]])
    assert took < 0.45 + 3 * usual


async def test_a_hundred_connections_at_once_ask_once(r: Client[str]) -> None:
    await r.set("k", "1")
    await asyncio.sleep(0.1)  # the questions that follow the first connection

    async def lease() -> None:
        async with r.connection() as c:
            await c.ping()
            await asyncio.sleep(0.2)

    def asked() -> int:
        return sum(node.stats().commands for node in r.node.source.nodes())  # type: ignore[attr-defined]

    before = asked()
    await asyncio.gather(*(lease() for _ in range(50)))
    assert r.stats().made > 50
    assert asked() - before < 100, "four commands to each of three sentinels are one question"


# --- S7: credentials of their own -------------------------------------------------------------------------------------


async def test_sentinels_have_a_password_of_their_own(r: Client[str]) -> None:
    await r.set("k", "1")
    assert await r.get("k") == "1"


async def test_a_database_is_selected_on_servers_alone(shared: SentinelServers) -> None:
    async with Client(url(shared, name="mymaster/3")) as r:
        await r.set("k", "three")
        assert await r.get("k") == "three"
        async with r.connection() as c:
            assert (await c.client_info()).db == 3


async def test_a_missing_password_of_sentinels_is_told_at_once(shared: SentinelServers) -> None:
    since = time.monotonic()
    async with Client(url(shared).partition("?")[0], timeout=30) as r:
        with pytest.raises(RedisError, match="sentinel_password") as caught:
            await r.set("k", "1")
    assert isinstance(caught.value, AuthenticationError)
    assert time.monotonic() - since < 5
    assert str(shared.password) not in str(caught.value)


async def test_a_wrong_password_of_sentinels_is_told_at_once_and_not_shown(shared: SentinelServers) -> None:
    async with Client(url(shared), sentinel_password="wr0ng", timeout=30) as r:
        with pytest.raises(AuthenticationError, match="sentinel_password") as caught:
            await r.set("k", "1")
        assert "wr0ng" not in str(caught.value)


# --- S8: names --------------------------------------------------------------------------------------------------------


async def test_an_unknown_name_lists_the_names_there_are(shared: SentinelServers) -> None:
    since = time.monotonic()
    async with Client(url(shared, name="mymastr"), timeout=30) as r:
        with pytest.raises(ConnectError, match=r"called 'mymastr': they know mymaster"):
            await r.set("k", "1")
    assert time.monotonic() - since < 5, "nothing is tried again"


async def test_no_sentinel_at_all_says_where_it_was_looked_for() -> None:
    async with Client(f"redis+sentinel://{HOST}:1,{HOST}:2/mymaster", timeout=1) as r:
        with pytest.raises(ConnectError, match=rf"{HOST}:1.*{HOST}:2"):
            await r.set("k", "1")


async def test_a_server_that_is_no_sentinel_is_told(shared: SentinelServers) -> None:
    port = shared.servers[0].port
    async with Client(url(shared, seeds=[f"{HOST}:{port}"]), sentinel_password=shared.password, timeout=10) as r:
        with pytest.raises(ConnectError, match=r"SENTINEL") as caught:
            await r.set("k", "1")
        assert str(shared.password) not in str(caught.value)


# --- S9: sentinels are learned ----------------------------------------------------------------------------------------


async def test_sentinels_are_learned(shared: SentinelServers) -> None:
    async with Client(url(shared, seeds=shared.addresses[:1])) as r:
        await r.set("k", "1")
        assert {at.port for at in r.node.source.sentinels} == {each.port for each in shared.sentinels}  # type: ignore[attr-defined]


async def test_a_question_soon_after_another_is_asked_a_moment_later(r: Client[str]) -> None:
    """What made it necessary may have happened since the other one."""
    await r.set("k", "1")
    await asyncio.sleep(0.1)
    source, here = r.node.source, r.node.outlooks.here()  # type: ignore[attr-defined]
    right, asked = source.find, [0]

    async def find() -> Found:
        asked[-1] += 1
        found: Found = await right()
        return found

    source.find = find
    for _ in range(5):  # on a busy machine a sentinel may have a reason of its own meanwhile
        asked.append(0)
        await r.node.find()  # type: ignore[attr-defined]
        for _ in range(10):
            here.look()
        await until(lambda: asked[-1] >= 2)
        await asyncio.sleep(0.3)
        if asked[-1] == 2:
            break
    assert asked[-1] == 2, f"once for ten reasons, and not {asked[1:]}"


async def test_a_user_of_the_sentinels_without_all_channels_hears_the_others(
    shared: SentinelServers, caplog: pytest.LogCaptureFixture
) -> None:
    for each in shared.sentinels:
        each.call("ACL", "SETUSER", "limited", "on", ">secret", "+@all", "resetchannels", "&+switch-master", "&+sdown")
    name = "sentinel_username=limited&sentinel_password=secret"
    async with Client(url(shared).partition("?")[0] + f"?{name}") as r:
        await r.set("k", "1")
        hubs = [node.hubs.here() for node in r.node.source.nodes()]  # type: ignore[attr-defined]
        await until(lambda: all("Hub(2 topics, connected)" in repr(hub) for hub in hubs))
        told = [record for record in caplog.records if "refuses its user" in record.message]
        await asyncio.sleep(1.2)
        assert len(hubs) == 3
        assert len(told) == len([record for record in caplog.records if "refuses its user" in record.message])
    for each in shared.sentinels:
        each.call("ACL", "DELUSER", "limited")


async def test_a_client_may_talk_to_a_sentinel(shared: SentinelServers) -> None:
    sentinel = shared.sentinels[0]
    for protocol in (2, 3):
        async with Client(sentinel.url, protocol=protocol) as c:
            (primary,) = await c.call("SENTINEL MASTERS")
            assert fields(primary)["name"] == "mymaster"
            told = await c.call("SENTINEL GET-MASTER-ADDR-BY-NAME", "mymaster")
            assert told == [HOST, str(shared.primary().port)]
            assert "sentinel_masters:1" in await c.call("INFO", "sentinel")


# --- S11: one client for each name ------------------------------------------------------------------------------------


async def test_each_name_has_one_client(shared: SentinelServers) -> None:
    options: Options = {"sentinel_password": shared.sentinel_password, "password": shared.password}
    async with Sentinel(shared.addresses, **options) as s:
        m, ro = s.master_for("mymaster"), s.replica_for("mymaster")
        assert s.master_for("mymaster") is m
        assert s.replica_for("mymaster") is ro is s.slave_for("mymaster")
        assert m.node is ro.node
        await m.set("k", "1")
        assert await ro.get("k") in ("1", None)
        assert await ro.set("k", "2"), "a write goes to the primary"
        assert repr(s).startswith(f"Sentinel({','.join(shared.addresses)}, mymaster: primary ")
        assert await s.discover_master("mymaster") == (HOST, shared.primary().port)
        async with asyncio.timeout(20):  # a sentinel's view of the replicas changes now and then
            for discover in (s.discover_replicas, s.discover_slaves):
                while {port for _, port in await discover("mymaster")} != {e.port for e in shared.replicas()}:
                    await asyncio.sleep(0.1)
        with pytest.raises(ConnectError, match="called 'other': they know mymaster"):
            await s.discover_master("other")
    assert m.node.closed


@pytest.mark.parametrize("wrong", [[], [""], ["a:x"], ["a:70000"], [("a", "1")], [3], ["re dis:1"]])
def test_a_wrong_address_of_a_sentinel_is_refused(wrong: list[object]) -> None:
    with pytest.raises(ArgumentError):
        Sentinel(wrong)  # type: ignore[arg-type]


def test_sentinels_are_spelled_in_many_ways() -> None:
    made = Sentinel(["a", "b:1", ("c", 2), "[::1]:3", "::1"])
    assert repr(made) == "Sentinel(a:26379,b:1,c:2,[::1]:3,[::1]:26379)"
    with pytest.raises(ArgumentError, match="name of a primary"):
        made.master_for("")
    with pytest.raises(ArgumentError, match="the sentinels tell"):
        Sentinel(["a"], host="b")
    with pytest.raises(ArgumentError, match=r"unknown option 'sentinel_pasword'.*sentinel_password"):
        Sentinel(["a"], sentinel_pasword="x")  # type: ignore[call-overload]


# --- Words ------------------------------------------------------------------------------------------------------------


async def test_words_are_read_alike_under_both_protocols(servers: SentinelServers) -> None:
    async with Client(servers.url, protocol=2) as two, Client(servers.url, protocol=3) as three:
        await two.ping()
        await three.ping()
        async with asyncio.timeout(20):  # the sentinels' own view of the replicas changes now and then
            while True:
                words = [set((await r.node.source._panel.ask()).values()) for r in (two, three)]  # type: ignore[attr-defined]
                if words[0] == words[1] and all(len(word.replicas) == len(word.sentinels) == 2 for word in words[0]):
                    break
                await asyncio.sleep(0.1)


def test_replicas_that_are_down_or_have_no_link_are_left_out() -> None:
    """S10."""

    def replica(port: int, flags: str, link: str) -> dict[str, str]:
        return {"ip": "h", "port": str(port), "flags": flags, "master-link-status": link}

    said = {"ip": "h", "port": "1", "config-epoch": "7"}
    replicas = [
        replica(2, "slave", "ok"),
        replica(3, "s_down,slave", "ok"),
        replica(4, "slave,disconnected", "ok"),
        replica(5, "slave", "err"),
        replica(6, "o_down,slave", "ok"),
    ]
    found = read(said, ["h", "1"], replicas, [{"ip": "?", "port": "1"}])
    assert found == Word(Address("h", 1), (7, False), (Address("h", 2),), ())
    assert read(said, ["h", "9"], [], []).epoch == (7, True)


@pytest.mark.parametrize(
    ("host", "port", "fit"),
    [
        ("1.1.1.1", "1", True),
        ("1.1.1.2", "1", False),
        ("1.1.1.1", "2", False),
        ("a-name", "1", True),  # it may stand for 1.1.1.1
        ("?", "0", True),  # not asked yet
    ],
)
def test_replicas_of_another_primary_are_left_out(host: str, port: str, fit: bool) -> None:
    """The sentinels bring them back, and wait for minutes before: until then they have other keys."""
    replica = {"ip": "1.1.1.3", "port": "1", "flags": "slave", "master-host": host, "master-port": port}
    word = read({"ip": "1.1.1.1", "port": "1"}, ["1.1.1.1", "1"], [replica], [])
    assert bool(word.replicas) == fit


def test_messages_are_read() -> None:
    assert news("+switch-master", "m 1.1.1.1 1 2.2.2.2 2") == News("m", Address("2.2.2.2", 2), Address("1.1.1.1", 1))
    assert news("+switch-master", "m ? 0 2.2.2.2 2") == News("m", Address("2.2.2.2", 2))
    assert news("+switch-master", "m 1.1.1.1 1 2.2.2.2 x") is None
    assert news("+selected-slave", "slave 1.1.1.1:1 1.1.1.1 1 @ m 2.2.2.2 2") == news("+sdown", "master m 2.2.2.2 2")
    assert news("+sdown", "") is None
    with pytest.raises(RedisError, match="no address"):
        read({"name": "m"}, None, [], [])


async def test_secrets_are_not_logged_or_shown(
    r: Client[str], shared: SentinelServers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await r.set("k", "1")
    r.node.outlooks.here().switch(Address(HOST, 1), "a test")  # type: ignore[attr-defined]
    await r.set("k", "2")
    shown = caplog.text + repr(r) + repr(r.node) + repr(r.node.source)  # type: ignore[attr-defined]
    assert str(shared.password) not in shown
    assert str(shared.sentinel_password) not in shown
