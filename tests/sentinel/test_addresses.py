"""Sentinels whose addresses nobody reaches from outside, options of all kinds, and users with few permissions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from aioresp import ArgumentError, ArgumentTypeError, Client, ConnectError, NoPermissionError, ReplyTooLarge, Sentinel
from aioresp.events import ConnectionMade
from aioresp.sentinel.watch import CHANGES
from aioresp.testing import Proxy, SentinelServers
from aioresp.testing.sentinels import SentinelNode
from tests.cases import cases

Address = tuple[str, int]


@pytest.fixture(scope="module")
def set_() -> Iterator[SentinelServers]:
    """A primary, a replica, and two sentinels, which have a password of their own."""
    with SentinelServers(replicas=1, sentinels=2, down_after=1.0) as made:
        yield made


def url(servers: SentinelServers, more: str = "", **seeds: str) -> str:
    addresses = seeds.get("seeds") or ",".join(servers.addresses)
    secrets = f"sentinel_password={servers.sentinel_password}"
    return f"redis+sentinel://:{servers.password}@{addresses}/{servers.name}{more}?{secrets}"


# --- Inside and outside -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def outside(servers: SentinelServers) -> AsyncIterator[dict[Address, Address]]:
    """Open a port for each server and sentinel, as Docker would, and yield them by the address inside."""
    async with AsyncExitStack() as stack:
        table = {}
        for each in (*servers.servers, *servers.sentinels):
            proxy = await stack.enter_async_context(Proxy("127.0.0.1", each.port))
            table["127.0.0.1", each.port] = ("127.0.0.1", proxy.port)
        yield table


async def test_addresses_are_mapped_also_in_a_failover(set_: SentinelServers) -> None:
    async with outside(set_) as table:
        outer = set(table.values())
        seed = table["127.0.0.1", set_.sentinels[1].port]
        made = Client(url(set_, seeds=f"{seed[0]}:{seed[1]}"), address_map=table.__getitem__)
        async with made as r, r.subscribe("news") as s:
            assert await r.set("k", "1")
            node: Any = r.node
            old = node.found.primary
            assert {old, *node.found.replicas, *node.source.sentinels} <= outer
            assert len(node.source.sentinels) == 2
            await r.publish("news", "x")
            assert (await anext(s)).data == "x"
            assert await r.with_options(read_from="replica").get("k") in ("1", None)
            await asyncio.to_thread(set_.failover)
            assert await r.set("k", "2")
            async with asyncio.timeout(20):
                while node.found.primary == old:
                    await asyncio.sleep(0.02)
            assert node.outlooks.here().primary in outer
            assert node.found.primary in outer


async def test_a_sentinel_maps_for_all_names(set_: SentinelServers) -> None:
    async with outside(set_) as table:
        seeds = [table["127.0.0.1", each.port] for each in set_.sentinels]
        s = Sentinel(
            seeds,
            sentinel_password=set_.sentinel_password,
            password=set_.password,
            address_map=table.__getitem__,
        )
        async with s:
            r = s.master_for(set_.name)
            assert await r.set("k", "3")
            node: Any = r.node
            assert node.found.primary in table.values()


@pytest.mark.parametrize(("answer", "message"), [(LookupError(), "raised LookupError"), (7, "returned int")])
async def test_a_map_that_fails_is_told_at_once(set_: SentinelServers, answer: Any, message: str) -> None:
    def wrong(address: Address) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with Client(url(set_), address_map=wrong, timeout=20) as r:
        begin = asyncio.get_running_loop().time()
        with pytest.raises(ArgumentError, match=f"address_map {message}"):
            await r.set("k", "1")
        assert asyncio.get_running_loop().time() - begin < 10


# --- Options ----------------------------------------------------------------------------------------------------------


@cases(
    "options, message",
    [
        ({"password": "x"}, "Sentinel(..., password=...) takes it"),
        ({"timeout": 1}, "master_for(name).with_options(timeout=...) gives a view"),
        ({"socket_timeout": 1}, "it is `timeout` here"),
        ({"redis_class": Client}, "the client and its pool are the package's own"),
        ({"nonsense": 1}, "options belong to Sentinel(...)"),
    ],
)
def test_a_name_takes_no_options(options: Any, message: str) -> None:
    s: Any = Sentinel(["a"])
    for method in ("master_for", "replica_for", "slave_for"):
        with pytest.raises(ArgumentTypeError, match=re.escape(message.replace("master_for", method))):
            getattr(s, method)("mymaster", **options)


def test_a_url_is_for_a_client() -> None:
    with pytest.raises(ArgumentError, match=r"Client\('redis\+sentinel://"):
        Sentinel("redis+sentinel://a:1/mymaster")


async def test_options_are_for_the_servers(set_: SentinelServers) -> None:
    """Those of the user, of the database and of the protocol; and those of the client as with one server."""
    seen: list[str] = []
    events: list[Any] = []

    async def around(arguments: Any, send: Any) -> Any:
        seen.append(str(arguments[0]))
        return await send()

    options: dict[str, Any] = {
        "client_name": "shop",
        "lib_name": "shoplib",
        "protocol": 2,
        "db": 3,
        "limit": 2,
        "concurrency": 1,
        "max_reply": 100_000,
        "idle_timeout": 60,
        "max_age": 600,
        "connect_timeout": 5,
        "read_from": "replica",
        "middleware": around,
        "events": events.append,
        "slow_after": None,
        "availability_zone": "here",
        "credential_provider": lambda: set_.password,
        "sentinel_password": set_.sentinel_password,
    }
    async with Sentinel(set_.addresses, **options) as s:
        r = s.master_for(set_.name)
        assert await r.set("k", "x" * 1_000_000)
        async with r.connection() as c:
            told = await c.client_info()
        assert (told.name, told.db) == ("shop", 3)
        with pytest.raises(ReplyTooLarge):
            await r.with_options(read_from="primary").get("k")
        assert r.stats().open <= 8
    assert {"SET", "GET"} <= set(seen)
    assert any(isinstance(event, ConnectionMade) for event in events)


async def test_another_database_that_there_is_not(set_: SentinelServers) -> None:
    async with Client(url(set_, "/99"), timeout=20) as r:
        with pytest.raises(ConnectError, match=r"refused SELECT: .*it has no database 99"):
            await r.set("k", "1")


# --- Permissions ------------------------------------------------------------------------------------------------------


def is_heard(sentinel: SentinelNode) -> bool:
    """Return whether a client of the user hears all its channels."""
    return re.search(rf"sub={2 + len(CHANGES)} psub=1 .*user=narrow", str(sentinel.call("CLIENT", "LIST"))) is not None


async def test_a_user_who_may_not_ask_sentinels_is_told_what_to_allow(set_: SentinelServers) -> None:
    """And that is enough, also to hear of a failover."""
    for each in set_.sentinels:
        each.call("ACL", "SETUSER", "narrow", "reset", "on", ">secret", "+auth", "+hello", "+ping")
    try:
        credentials: Any = {"sentinel_username": "narrow", "sentinel_password": "secret", "password": set_.password}
        async with Sentinel(set_.addresses, **credentials) as s:
            r = s.master_for(set_.name)
            with pytest.raises(NoPermissionError, match="at each sentinel, `ACL SETUSER narrow ") as caught:
                await r.set("k", "1")
        for each in set_.sentinels:
            each.call(*str(caught.value).split("`")[1].split())
        async with Sentinel(set_.addresses, **credentials) as s:
            assert await s.master_for(set_.name).set("k", "1")
            async with asyncio.timeout(10):
                while not all(map(is_heard, set_.sentinels)):
                    await asyncio.sleep(0.02)
    finally:
        for each in set_.sentinels:
            each.call("ACL", "DELUSER", "narrow")
