"""Trouble and bad input: each has an error that says what to do, and each change of a cluster an event (C7 to C9)."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest

from aioresp import (
    ArgumentError,
    ArgumentTypeError,
    AskError,
    AuthenticationError,
    Client,
    ClientClosed,
    ClusterDownError,
    ClusterError,
    CommandTimeout,
    ConnectError,
    CrossSlotError,
    ExecAbortError,
    MovedError,
    NoPermissionError,
)
from aioresp.cluster import Cluster
from aioresp.events import Event, Redirected, TopologyChanged
from aioresp.testing import ClusterNode, ClusterServers, Server
from aioresp.testing import server as start_server
from tests.cases import cases
from tests.rest import tasks_besides
from tests.security.hostile import answers
from tests.servers import MATRIX


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


def since_7(cluster: ClusterServers) -> None:
    if cluster.nodes[0].version < (7,):
        pytest.skip("since 7.0")


# --- Bad input --------------------------------------------------------------------------------------------------------


BAD_INPUT: list[tuple[str | None, dict[str, Any], str]] = [
    ("http://a:1", {}, "'http': it is redis+cluster:// here"),
    ("a:1", {}, "redis+cluster://host:6379"),
    ("redis-cluster://a:1", {}, "it is redis+cluster:// here"),
    ("tls://a:1", {}, "it is rediss+cluster:// here"),
    ("unix:///run/redis.sock", {}, "no unix sockets"),
    ("redis+sentinel://a/mymaster", {}, "aioresp.Client connects by sentinels"),
    ("redis+cluster://a:x", {}, "'port' in the URL"),
    ("redis+cluster://a:70000", {}, "'port' in the URL"),
    ("redis+cluster://a,b:70000", {}, "its port is out of range"),
    ("redis+cluster://a,,b", {}, "one of them is empty"),
    ("redis+cluster://a,", {}, "one of them is empty"),
    ("redis+cluster://a:1?limit=x", {}, "'limit' in the URL"),
    ("redis+cluster://a:1?nonsense=x", {}, "unknown option"),
    ("redis+cluster://a:1/mymaster", {}, "'db' in the URL"),
    ("redis+cluster://me@a:1", {}, "username needs a password"),
    ("redis+cluster://a:1", {"unix_socket_path": "/x"}, "no unix sockets"),
    ("redis+cluster://a:1", {"read_from": "anywhere"}, "read_from"),
    ("redis+cluster://a:1,b:1", {"host": "c"}, "exclude several hosts in the URL"),
    ("redis+cluster://a:1", {"address_map": "x"}, "address_map is str, not a function"),
    ("redis+cluster://a:1", {"sentinel_password": "x"}, "sentinel_password needs Sentinel"),
    ("redis+cluster://a:1?address_map=x", {}, "cannot stand in the URL"),
    (None, {"host": ""}, "host is empty"),
    (None, {"host": "redis+cluster://a"}, "host is a URL"),
    (7, {}, "url is int"),  # type: ignore[list-item]  # a mistake
]


@cases("url, options, message", BAD_INPUT)
def test_a_url_or_an_option_that_does_not_fit_is_named(url: str | None, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Cluster(url, **options)


@cases(
    "name, advice",
    [
        ("startup_nodes", "Cluster('redis+cluster://a:7000,b:7001')"),
        ("address_remap", "`address_map`"),
        ("max_connections", "`limit`"),
        ("max_connections_per_node", "`limit`"),
        ("read_from_replicas", "`read_from`"),
        ("readonly", "`read_from`"),
        ("load_balancing_strategy", "`read_from`"),
        ("require_full_coverage", "none is needed"),
        ("skip_full_coverage_check", "none is needed"),
        ("reinitialize_steps", "none is needed"),
        ("dynamic_startup_nodes", "none is needed"),
        ("cluster_error_retry_attempts", "retry=Retry(...)"),
        ("max_redirects", "until `timeout`"),
        ("non_atomic_cross_slot", "mset_nonatomic"),
        ("socket_timeout", "`timeout`"),
        ("adress_map", "did you mean `address_map`?"),
    ],
)
def test_options_of_other_clients_lead_to_ours(name: str, advice: str) -> None:
    make: Any = Cluster
    with pytest.raises(ArgumentTypeError, match=re.escape(f"unknown option {name!r}")) as caught:
        make("redis+cluster://a:1", **{name: []})
    assert advice in str(caught.value)


def test_positions_are_refused() -> None:
    make: Any = Cluster
    with pytest.raises(ArgumentTypeError, match=r"Cluster\(\) takes a URL"):
        make("redis+cluster://a:1", "b")


def test_an_address_map_needs_somebody_who_tells_addresses() -> None:
    for url in ("redis://a", "redis://a,b", None):
        with pytest.raises(ArgumentError, match="address_map is for addresses that servers tell"):
            Client(url, address_map=lambda address: address)


@cases(
    "url, shown",
    [
        ("rediss+cluster://user:pa,ss@a:7000,b,[::1]:7001/0?timeout=3", "rediss+cluster://a:7000,b:6379,[::1]:7001"),
        ("redis+cluster://:p%40s%2Fs%2C@[::1]:7000", "redis+cluster://[::1]:7000"),
        ("valkey+cluster://a", "redis+cluster://a:6379"),
        ("valkeys+cluster://a:1,a:1", "rediss+cluster://a:1"),
        ("REDIS+CLUSTER://A:1", "redis+cluster://a:1"),
        ("redis+cluster://", "redis+cluster://localhost:6379"),
        ("redis://a:7000", "redis+cluster://a:7000"),
        ("valkeys://a", "rediss+cluster://a:6379"),
    ],
)
def test_seeds_are_read_from_the_url(url: str, shown: str) -> None:
    assert repr(Cluster(url)) == f"Cluster({shown}, not found yet)"
    assert repr(Cluster.from_url(url)) == f"Cluster({shown}, not found yet)"


def test_keywords_name_one_seed() -> None:
    plain = Cluster(host="a", port=7000, read_from="replica")
    assert "redis+cluster://a:7000" in repr(plain)
    assert repr(Cluster("redis+cluster://a:7000", host="b")).startswith("Cluster(redis+cluster://b:7000")
    assert repr(Cluster("redis+cluster://a:7000", port=1)).startswith("Cluster(redis+cluster://a:1")
    assert repr(Cluster()).startswith("Cluster(redis+cluster://localhost:6379")


def test_a_password_in_a_url_is_never_shown() -> None:
    forms = [
        *("redis+cluster://:{}@a:port", "redis+cluster://{}@a", "redis+cluster://a:1,:{}@b:x", "redis+cluster://:{}"),
        *("{}+cluster://a", "redis+cluster:/:{}@a", "redis+cluster://a?{}=1", "redis+cluster://a?password={}&limit=0"),
        *("redis+cluster://u:{}/x@a,b", "redis+cluster://u:{}#x@a,b", "redis+cluster://a,b:{}", "redis+cluster://a/{}"),
        *("redis+sentinel://:{}@a/b", "unix://:{}@/x", "http://:{}@a", "{}"),
    ]
    secret = "-".join(("hunter2", "word"))
    for form in forms:
        with pytest.raises(ArgumentError) as caught:
            Cluster(form.format(secret))
        shown = "".join(traceback.format_exception(caught.value))
        assert secret not in shown.replace(f"form.format({secret!r})", ""), form


# --- Servers in trouble -----------------------------------------------------------------------------------------------


async def test_a_single_server_says_so(server: Server) -> None:
    async with Cluster(server.url) as r:
        with pytest.raises(ClusterError, match=r"single server: connect with aioresp\.Client"):
            await r.get("a")


async def test_a_single_server_among_the_seeds_does_no_harm(fresh: ClusterServers, server: Server) -> None:
    login = fresh.url.partition("://")[2].rpartition("@")[0]
    async with Cluster(f"redis+cluster://{login}@127.0.0.1:{server.port},127.0.0.1:{fresh.nodes[0].port}") as r:
        assert await r.set("a", "1")
        assert len(r.topology().primaries) == 3


async def test_what_does_not_know_clusters_is_told(server: Server) -> None:
    """As a sentinel, and a proxy."""

    def tell(words: list[bytes]) -> bytes:
        return b"-ERR unknown command 'CLUSTER', with args beginning with: 'SHARDS' \r\n"

    async with answers(tell) as url, Cluster(url) as r:
        with pytest.raises(
            ClusterError, match=r"no node of a cluster: a sentinel .*redis\+sentinel://.*aioresp\.Client"
        ):
            await r.get("a")


async def test_no_node_that_answers_is_told_with_each_reason() -> None:
    async with Cluster("redis+cluster://127.0.0.1:1,127.0.0.1:2", timeout=0.5) as r:
        with pytest.raises(ConnectionError, match=r"(?=.*127\.0\.0\.1:1: )(?=.*127\.0\.0\.1:2: )"):
            await r.get("a")


async def test_an_error_does_not_tell_of_all_of_many_nodes() -> None:
    seeds = ",".join(f"127.0.0.1:{port}" for port in range(1, 31))
    async with Cluster(f"redis+cluster://{seeds}", timeout=1.0, retry=None) as r:
        with pytest.raises(ConnectionError, match=r"; and 24 more nodes \[GET 'a'\]$") as caught:
            await r.get("a")
        assert len(str(caught.value)) < 1000


async def test_a_wrong_password_is_told_at_once(fresh: ClusterServers) -> None:
    async with Cluster(re.sub(":[^:@/]*@", ":wrong@", fresh.url)) as r:
        with pytest.raises(AuthenticationError, match="as the default user") as caught:
            await r.get("a")
        assert "wrong" not in str(caught.value).replace("WRONGPASS", "")
    async with Cluster(re.sub("//.*@", "//", fresh.url)) as r:
        with pytest.raises(AuthenticationError, match="give a password"):
            await r.get("a")


async def test_a_wrong_password_at_one_node_is_told_with_the_node(fresh: ClusterServers) -> None:
    """The other nodes go on."""
    odd = fresh.primary_of("a")
    others = [key for key in map(str, range(100)) if fresh.primary_of(key) is not odd]
    odd.call("CONFIG", "SET", "requirepass", "-".join(("another", "password")))
    try:
        async with Cluster(fresh.url) as r:
            for _ in range(2):
                with pytest.raises(AuthenticationError) as caught:
                    await r.set("a", "1")
                said = str(caught.value)
                assert f"at 127.0.0.1:{odd.port}: all nodes need the same user and password" in said
                assert str(fresh.nodes[0].password) not in said
            assert await asyncio.gather(*(r.set(key, "1") for key in others[:10])) == [True] * 10
            async with r.pipeline() as p:
                refused, fine = p.set("a", "1"), p.set(others[0], "1")
                with pytest.raises(AuthenticationError, match=f"at 127.0.0.1:{odd.port}"):
                    await p.execute()
            assert await fine
            with pytest.raises(AuthenticationError):
                await refused
            with pytest.raises(AuthenticationError, match=f"127.0.0.1:{odd.port}"):
                await r.dbsize()
    finally:
        odd.call("CONFIG", "SET", "requirepass", str(fresh.nodes[0].password))


@asynccontextmanager
async def user(fresh: ClusterServers, *rules: str) -> AsyncIterator[str]:
    """Make a user at all nodes, and yield the URL of the cluster for it."""
    fresh.call_all("ACL", "SETUSER", "narrow", "reset", "on", ">secret", "~*", "&*", "+@all", *rules)
    try:
        yield re.sub("//.*@", "//narrow:secret@", fresh.url)
    finally:
        fresh.call_all("ACL", "DELUSER", "narrow")


async def test_a_user_who_may_not_ask_is_told_what_to_allow(fresh: ClusterServers) -> None:
    """And that is enough."""
    async with user(fresh, "-cluster") as url, Cluster(url) as r:
        with pytest.raises(NoPermissionError, match="`ACL SETUSER narrow ") as caught:
            await r.get("a")
        fresh.call_all(*str(caught.value).split("`")[1].split())
        assert await r.set("a", "1")


async def test_a_user_without_cluster_shards_asks_in_another_way(fresh: ClusterServers) -> None:
    since_7(fresh)
    async with user(fresh, "-cluster|shards") as url, Cluster(url) as r:
        assert await r.set("a", "1")
        assert len(r.topology().primaries) == len(r.topology().replicas) == 3
    async with user(fresh, "-cluster", "+cluster|shards") as url, Cluster(url) as r:
        assert await r.set("a", "1")  # without CLUSTER INFO


async def test_a_command_that_the_user_may_not_send_is_told_as_by_one_server(fresh: ClusterServers) -> None:
    async with user(fresh, "-set", "-@scripting") as url, Cluster(url) as r:
        with pytest.raises(NoPermissionError, match=r"\[SET 'a'\]"):
            await r.set("a", "1")
        assert await r.get("a") is None


@pytest.mark.parametrize("password", ["p@s:s/w?o#r,d%[]", "x y+z=&"])
async def test_a_password_of_any_letters(fresh: ClusterServers, password: str) -> None:
    fresh.call_all("ACL", "SETUSER", "odd", "on", f">{password}", "~*", "&*", "+@all")
    try:
        login = f"odd:{quote(password, safe='')}@"
        for scheme in ("redis+cluster", "valkey+cluster", "redis"):
            async with Cluster(re.sub(".*@", f"{scheme}://{login}", fresh.url)) as r:
                assert await r.set("a", "1")
        first = fresh.nodes[0].port
        async with Cluster(host="127.0.0.1", port=first, username="odd", password=password) as r:
            assert await r.set("a", "1")
            assert password not in repr(r) + repr(r.fleet.settings)
    finally:
        fresh.call_all("ACL", "DELUSER", "odd")


async def test_the_password_is_in_nothing_that_is_shown(
    fresh: ClusterServers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "-".join(("hunter2", "password"))
    shown: list[str] = []
    async with Cluster(
        re.sub(":[^:@/]*@", f":{secret}@", fresh.url), events=lambda event: shown.append(repr(event))
    ) as r:
        calls = [r.get("a"), r.mget("a", "b"), r.dbsize(), r.blpop("a", timeout=1), r.topology]
        for call in calls[:-1]:
            with pytest.raises(AuthenticationError) as caught:
                await call  # type: ignore[misc]  # the last one is no call
            shown += traceback.format_exception(caught.value)
        shown += [repr(r), repr(r.fleet), repr(r.fleet.settings), repr(r.fleet.pools.here()), caplog.text]
    assert secret not in "".join(shown)


async def test_a_client_of_one_server_says_what_it_has_met(fresh: ClusterServers) -> None:
    """Plain calls, a pipeline, a transaction, a blocking command and a lease alike."""
    node = other_than(fresh, "a")
    async with Client(node.url) as r, r.connection() as own, r.pipeline() as p:
        queued = p.get("a")
        with pytest.raises(MovedError, match=r"connect with aioresp\.Cluster"):
            await p.execute()
        with pytest.raises(MovedError, match=r"connect with aioresp\.Cluster"):
            await queued
        for call in (r.get("a"), r.incr("a"), r.blpop("a", timeout=1), own.get("a"), r.eval("return 1", 1, "a")):
            with pytest.raises(MovedError, match=r"connect with aioresp\.Cluster"):
                await call
        async with r.pipeline(transaction=True) as t:
            t.incr("a")
            with pytest.raises(ExecAbortError, match=r"connect with aioresp\.Cluster"):
                await t.execute()
        with pytest.raises(CrossSlotError, match=r"\{user:7\}:name"):
            await r.mget("a", "b")
    home = fresh.primary_of("a")
    migration = fresh.begin_migration("a", node)
    try:
        async with Client(home.url) as r:
            with pytest.raises(AskError, match=r"connect with aioresp\.Cluster"):
                await r.get("a")
    finally:
        migration.end()
        fresh.migrate("a", home)


async def test_keys_of_two_slots_are_named_with_the_way_to_send_them(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url) as r:
        await r.ping()
        before = fresh.commandstats()
        with pytest.raises(CrossSlotError, match=r"'a' and 'b' .*`mset_nonatomic\(\)`"):
            await r.mset({"a": "1", "b": "2"})
        with pytest.raises(CrossSlotError, match=r"'a' and 'b' .*\{user:7\}:name"):
            await r.rename("a", "b")
        async with r.pipeline(transaction=True) as p:
            p.set("a", "1")
            p.set("b", "2")
            with pytest.raises(CrossSlotError, match="'a' and 'b'"):
                await p.execute()
        async with r.pipeline() as p:
            with pytest.raises(CrossSlotError, match=r"'a' and 'b' .*`mset_nonatomic\(\)`"):
                p.mset({"a": "1", "b": "2"})
        after = fresh.commandstats()
        assert not {"mset", "rename", "set", "multi", "exec"} & (after.keys() - before.keys())


# --- Slots without a node ---------------------------------------------------------------------------------------------


@pytest.fixture
def lonely() -> Iterator[Server]:
    """A node that has not met another one, and owns no slot."""
    config = {"cluster-enabled": "yes", "cluster-require-full-coverage": "no", "cluster-node-timeout": "1000"}
    with start_server(config=config) as s:
        yield s


async def test_slots_without_a_node_are_told(lonely: Server) -> None:
    key = next(key for key in map(str, range(100)) if Cluster().keyslot(key) >= 8192)
    near = next(key for key in map(str, range(100)) if Cluster().keyslot(key) < 8192)
    slot = Cluster().keyslot(key)
    async with Cluster(lonely.url, timeout=0.4) as r, Client(lonely.url) as one:
        calls = r.get(key), r.randomkey(), r.ping(), r.dbsize(), r.time(), r.config_set({"maxmemory": 0})
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, ClusterDownError), error
            assert "it knows of no node with slots: has nobody made the cluster" in str(error)
        for low in range(0, 8192, 1024):
            await one.cluster_addslots(*range(low, low + 1024))
        async with asyncio.timeout(10):
            assert await r.with_options(timeout=10).set(near, "1")
        for view in (r, r.with_options(retry=None)):
            with pytest.raises(CommandTimeout, match=rf"slot {slot}; 8192 of 16384|CLUSTERDOWN Hash slot not served"):
                await view.get(key)
        async with r.pipeline() as p:
            lost, fine = p.get(key), p.get(near)
            with pytest.raises(CommandTimeout, match="redis-cli --cluster check"):
                await p.execute()
        assert await fine == "1"
        with pytest.raises(CommandTimeout):
            await lost
        with pytest.raises(CommandTimeout, match="CLUSTERDOWN"):
            await r.mget(key, near)
        for coverage in ("no", "yes"):
            await one.config_set({"cluster-require-full-coverage": coverage})
            with pytest.raises(ClusterDownError, match="CLUSTERDOWN"):
                [found async for found in r.scan_iter()]


async def test_a_cluster_that_is_down_as_a_whole_is_waited_for(lonely: Server) -> None:
    async with Cluster(lonely.url, timeout=0.4) as r, Client(lonely.url) as one:
        await one.config_set({"cluster-require-full-coverage": "yes"})
        await one.cluster_addslots(*range(1000))
        key = next(key for key in map(str, range(1000)) if r.keyslot(key) < 1000)
        with pytest.raises(CommandTimeout, match=r"CLUSTERDOWN.*redis-cli --cluster check"):
            await r.get(key)
        waiting = asyncio.create_task(r.with_options(timeout=20).set(key, "1"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await one.config_set({"cluster-require-full-coverage": "no"})
        assert await waiting


# --- Databases --------------------------------------------------------------------------------------------------------


async def test_another_database_is_refused_with_words(fresh: ClusterServers) -> None:
    for r in (Cluster(f"{fresh.url}/1"), Cluster(fresh.url, db=1), Cluster(f"{fresh.url}?db=1")):
        async with r:
            begin = asyncio.get_running_loop().time()
            with pytest.raises(ConnectError, match=r"refused SELECT: .*cluster-databases"):
                await r.get("a")
            assert asyncio.get_running_loop().time() - begin < 5


async def test_another_database_is_used_where_the_cluster_has_some() -> None:
    valkey = next((w for w in MATRIX if w.name == "valkey-9.1" and w.is_there), None)
    if valkey is None:
        pytest.skip("since Valkey 9.0")
    with ClusterServers(
        primaries=1, replicas=0, executable=str(valkey.program), config={"cluster-databases": "4"}
    ) as c:
        async with Cluster(f"{c.url}/3") as r, Cluster(c.url) as zero:
            assert await r.set("a", "three")
            assert await zero.get("a") is None
            async with r.connection(key="a") as own, r.pipeline() as p:
                assert await own.get("a") == "three"
                handle = p.get("a")
                await p.execute()
                assert await handle == "three"
            assert [key async for key in r.scan_iter()] == ["a"]
            assert await r.dbsize() == 1
        async with Cluster(f"{c.url}/9") as r:
            with pytest.raises(ConnectError, match=r"it has no database 9, .*cluster-databases"):
                await r.get("a")


# --- Addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hostname", "unknown-endpoint"])
async def test_nodes_without_addresses_of_their_own_are_found(fresh: ClusterServers, kind: str) -> None:
    since_7(fresh)
    fresh.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", kind)
    try:
        async with Cluster(fresh.url) as r:
            await asyncio.gather(*(r.set(f"k{number}", "1") for number in range(30)))
            home = fresh.primary_of("k1")
            await asyncio.to_thread(fresh.migrate, "k1", other_than(fresh, "k1"))
            assert await r.get("k1") == "1"
            await asyncio.to_thread(fresh.migrate, "k1", home)
    finally:
        fresh.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")


async def test_names_that_nodes_announce_are_used(fresh: ClusterServers) -> None:
    since_7(fresh)
    fresh.call_all("CONFIG", "SET", "cluster-announce-hostname", "localhost")
    fresh.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
    try:
        async with Cluster(fresh.url) as r, asyncio.timeout(20):
            await r.ping()
            while {node.host for node in r.topology().nodes} != {"localhost"}:
                await r.fleet.pools.here().renew()
                await asyncio.sleep(0.1)
            assert await r.set("a", "1")
    finally:
        fresh.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
        fresh.call_all("CONFIG", "SET", "cluster-announce-hostname", "")


async def test_addresses_are_mapped(fresh: ClusterServers) -> None:
    seen: list[tuple[str, int]] = []

    def outside(address: tuple[str, int]) -> tuple[str, int]:
        seen.append(address)
        return "localhost", address[1]

    async with Cluster(fresh.url, address_map=outside) as r:
        assert await r.set("a", "1")
        assert {node.host for node in r.topology().nodes} == {"localhost"}
    assert seen


# --- Events, loops, the end -------------------------------------------------------------------------------------------


async def test_changes_and_redirects_are_told(fresh: ClusterServers) -> None:
    heard: list[Event] = []
    async with Cluster(fresh.url, events=heard.append) as r:
        await r.set("{told}a", "1")
        (first,) = [event for event in heard if isinstance(event, TopologyChanged)]
        assert len(first.primaries) == len(first.replicas) == 3
        home, target = fresh.primary_of("{told}a"), other_than(fresh, "{told}a")
        source, to = home, target
        redirects: list[Redirected] = []
        try:
            for _ in range(10):  # a refresh may be faster than the redirect
                await asyncio.to_thread(fresh.migrate, "{told}a", to)
                assert await r.get("{told}a") == "1"
                if redirects := [event for event in heard if isinstance(event, Redirected)]:
                    break
                source, to = to, source
            (redirect,) = redirects
            assert (redirect.slot, redirect.asking) == (r.keyslot("{told}a"), False)
            assert redirect.to == f"127.0.0.1:{to.port}"
            assert redirect.server == f"127.0.0.1:{source.port}"
        finally:
            if fresh.primary_of("{told}a") is not home:
                await asyncio.to_thread(fresh.migrate, "{told}a", home)


async def test_nothing_is_left_behind(fresh: ClusterServers) -> None:
    since_7(fresh)
    before = tasks_besides()
    r = Cluster(fresh.url)
    async with r:
        await asyncio.gather(*(r.set(f"k{number}", "1") for number in range(50)))
        async with r.ssubscribe("a") as s, r.subscribe("b"):
            await r.spublish("a", "x")
            assert (await anext(s)).data == "x"
    assert r.stats().open == 0
    with pytest.raises(ClientClosed):
        await r.get("k1")
    async with r:
        assert await r.get("k1") == "1"
    await asyncio.sleep(0)
    assert tasks_besides() == before


def test_one_client_serves_loops_of_several_threads(fresh: ClusterServers) -> None:
    r = Cluster(fresh.url)
    results: list[list[str | None]] = []

    async def use(name: str) -> None:
        async with r:
            await asyncio.gather(*(r.set(f"{name}{number}", name) for number in range(20)))
            results.append(await r.mget(f"{name}{number}" for number in range(20)))

    threads = [threading.Thread(target=asyncio.run, args=(use(name),)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [[name] * 20 for name in "abc"]
    assert r.stats().open == 0


async def test_a_client_that_is_forgotten_warns(fresh: ClusterServers) -> None:
    r = Cluster(fresh.url)
    await r.get("a")
    with pytest.warns(ResourceWarning, match="unclosed client"):
        del r
        gc.collect()
        await asyncio.sleep(0.05)
        gc.collect()
    await asyncio.sleep(0.05)


async def test_a_plain_client_and_a_cluster_have_the_same_methods(fresh: ClusterServers, r: Cluster[str]) -> None:
    assert isinstance(r, Client)
    view = r.with_options(timeout=5)
    assert await view.set("a", "1")
    assert isinstance(view, Cluster)
