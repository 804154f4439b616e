"""Options of `Client` given to a `Cluster`: each does what it does with one server, for every node."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from aioresp import ArgumentError, Client, ReplyTooLarge, Retry
from aioresp.cluster import Cluster
from aioresp.events import ConnectionMade
from aioresp.options import OPTIONS
from aioresp.testing import ClusterServers

#: A value for each option that stands for itself; those of TLS need files.
VALUES: dict[str, Any] = {
    "host": "a",
    "port": 1,
    "db": 1,
    "username": "me",
    "password": "x",
    "credential_provider": lambda: "x",
    "limit": 1,
    "concurrency": 1,
    "idle_timeout": 1,
    "max_age": 1,
    "timeout": 1,
    "connect_timeout": 1,
    "max_reply": 1,
    "protocol": 2,
    "client_name": "a",
    "lib_name": None,
    "on_lost": print,
    "events": print,
    "slow_after": 1,
    "middleware": print,
    "read_from": "replica",
    "availability_zone": "a",
    "retry": Retry(2),
    "address_map": lambda address: address,
    "decode_responses": False,
    "ssl": True,
    "ssl_context": None,
}

#: Values of options that are for TLS, and need it.
TLS: dict[str, Any] = {
    **dict.fromkeys(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password"), __file__),
    "ssl_check_hostname": False,
    "ssl_min_version": ssl.TLSVersion.TLSv1_3,
}

#: Options that do not fit a cluster, each with the words that say so.
REFUSED = {
    "unix_socket_path": "a cluster has no unix sockets",
    **{
        name: f"{name} needs Sentinel"
        for name in ("sentinel_username", "sentinel_password", "sentinel_ssl", "sentinel_ssl_context")
    },
}


def test_each_option_is_taken_or_says_why_not() -> None:
    make: Any = Cluster
    for name in OPTIONS:
        if name in REFUSED:
            value: Any = {"sentinel_ssl": True, "sentinel_ssl_context": ssl.create_default_context()}.get(name, "/x")
            with pytest.raises(ArgumentError, match=REFUSED[name]):
                make(**{name: value})
        elif name == "idempotent":
            with pytest.raises(ArgumentError, match="with_options"):
                make(**{name: True})
        elif name in VALUES:
            more = {"username": {"password": "x"}}.get(name, {})
            make(**{name: VALUES[name]}, **more)
        else:
            with pytest.raises(ArgumentError, match="needs ssl=True or a rediss://"):
                make(**{name: TLS[name]})


async def test_options_reach_every_node(fresh: ClusterServers) -> None:
    seen: list[str] = []
    events: list[Any] = []
    asked = 0

    async def around(arguments: Any, send: Any) -> Any:
        seen.append(str(arguments[0]))
        return await send()

    def provider() -> tuple[str, str]:
        nonlocal asked
        asked += 1
        return "default", str(fresh.nodes[0].password)

    options: dict[str, Any] = {
        "client_name": "shop",
        "lib_name": "shoplib",
        "protocol": 2,
        "limit": 2,
        "concurrency": 1,
        "max_reply": 100_000,
        "idle_timeout": 60,
        "max_age": 600,
        "connect_timeout": 5,
        "retry": Retry(5),
        "middleware": around,
        "events": events.append,
        "slow_after": None,
        "credential_provider": provider,
        "timeout": 5,
        "read_from": "replica",
        "availability_zone": "here",
        "on_lost": print,
    }
    ports = ",".join(f"127.0.0.1:{node.port}" for node in fresh.nodes)
    async with Cluster(f"redis+cluster://{ports}", **options) as r:
        await asyncio.gather(*(r.set(f"k{number}", "x" * 1_000_000) for number in range(20)))
        for node in await r.primaries():
            assert await node.client_getname() == "shop"
            clients = [client for client in await node.client_list() if client.name == "shop"]
            assert len(clients) <= 3  # one of them asks for the topology at times
        with pytest.raises(ReplyTooLarge):
            await r.with_options(read_from="primary").get("k1")
        async with r.pipeline() as p:
            for number in range(6):
                p.strlen(f"k{number}")
            assert await p.execute() == [1_000_000] * 6
        assert r.stats().open <= 12
    assert asked >= 3
    assert {"SET", "GET", "PIPELINE"} <= set(seen)
    assert len({event.server for event in events if isinstance(event, ConnectionMade)}) >= 3


async def test_a_client_of_a_node_has_the_url_of_that_node(fresh: ClusterServers) -> None:
    """A URL with one node's address, also of a single server, is enough for a cluster, and the other way round."""
    first = fresh.nodes[0]
    async with Cluster(first.url) as r:
        assert await r.set("a", "1")
        assert len(r.topology().nodes) == 6
    async with Client(first.url) as one:
        assert await one.ping()
