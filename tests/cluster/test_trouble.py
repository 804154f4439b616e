"""Trouble and bad input: each has an error that says what to do, and each change of a cluster an event (C7 to C9)."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from typing import Any

import pytest

from aioresp import (
    ArgumentError,
    ArgumentTypeError,
    AuthenticationError,
    Client,
    ClientClosed,
    ClusterError,
    NoPermissionError,
)
from aioresp.cluster import Cluster
from aioresp.events import Event, Redirected, TopologyChanged
from aioresp.testing import ClusterNode, ClusterServers, Server
from tests.rest import tasks_besides


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


def since_7(cluster: ClusterServers) -> None:
    if cluster.nodes[0].version < (7,):
        pytest.skip("since 7.0")


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://a:1", {}, "redis+cluster://host:6379"),
        ("a:1", {}, "redis+cluster://host:6379"),
        ("redis+cluster://a:x", {}, "'port' in the URL"),
        ("redis+cluster://a:1?limit=x", {}, "'limit' in the URL"),
        ("redis+cluster://a:1", {"unix_socket_path": "/x"}, "no unix sockets"),
        ("redis+cluster://a:1", {"read_from": "anywhere"}, "read_from"),
        (None, {"host": ""}, "host is empty"),
    ],
)
def test_a_url_or_an_option_that_does_not_fit_is_named(url: str | None, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Cluster(url, **options)


def test_positions_and_unknown_options_are_refused() -> None:
    make: Any = Cluster
    with pytest.raises(ArgumentTypeError):
        make("redis+cluster://a:1", "b")
    with pytest.raises(ArgumentTypeError):
        make("redis+cluster://a:1", startup_nodes=[])


def test_seeds_and_credentials_are_read_from_the_url() -> None:
    r = Cluster("rediss+cluster://user:pa,ss@a:7000,b,[::1]:7001/0?timeout=3")
    assert repr(r) == "Cluster(rediss+cluster://a:7000,b:6379,[::1]:7001, not found yet)"
    plain = Cluster(host="a", port=7000, read_from="replica")
    assert "redis+cluster://a:7000" in repr(plain)


# --- Servers in trouble -----------------------------------------------------------------------------------------------


async def test_a_single_server_says_so(server: Server) -> None:
    async with Cluster(server.url) as r:
        with pytest.raises(ClusterError, match=r"single server: connect with aioresp\.Client"):
            await r.get("a")


async def test_no_node_that_answers_is_told_with_each_reason() -> None:
    async with Cluster("redis+cluster://127.0.0.1:1,127.0.0.1:2", timeout=0.5) as r:
        with pytest.raises(ConnectionError, match=r"(?=.*127\.0\.0\.1:1: )(?=.*127\.0\.0\.1:2: )"):
            await r.get("a")


async def test_a_wrong_password_is_told_at_once(fresh: ClusterServers) -> None:
    async with Cluster(re.sub(":[^:@/]*@", ":wrong@", fresh.url)) as r:
        with pytest.raises(AuthenticationError) as caught:
            await r.get("a")
        assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


async def test_a_user_who_may_not_ask_is_told_what_to_allow(fresh: ClusterServers) -> None:
    fresh.call_all("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "&*", "+@all", "-cluster")
    host = f"127.0.0.1:{fresh.nodes[0].port}"
    try:
        async with Cluster(f"redis+cluster://narrow:secret@{host}") as r:
            with pytest.raises(NoPermissionError, match=r"\+cluster\|shards"):
                await r.get("a")
    finally:
        fresh.call_all("ACL", "DELUSER", "narrow")


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
                await r._fleet.pools.here().renew()
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
        await asyncio.to_thread(fresh.migrate, "{told}a", target)
        try:
            assert await r.get("{told}a") == "1"
            (redirect,) = [event for event in heard if isinstance(event, Redirected)]
            assert (redirect.slot, redirect.asking) == (r.keyslot("{told}a"), False)
            assert redirect.to == f"127.0.0.1:{target.port}"
            assert redirect.server == f"127.0.0.1:{home.port}"
        finally:
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
