"""Sentinels and servers that tell of IPv6 addresses."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import Iterator

import pytest

from aioresp import Client, Sentinel
from aioresp.events import Event, MasterChanged
from aioresp.testing import SentinelServers
from aioresp.testing import sentinels as kit
from aioresp.testing.executables import find_executable
from tests.rest import until

HOST = "::1"


@pytest.fixture
def ipv6(monkeypatch: pytest.MonkeyPatch) -> Iterator[SentinelServers]:
    """A set whose members know each other by ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((HOST, 0))
    except OSError:
        pytest.skip("there is no IPv6 here")
    monkeypatch.setattr(kit, "HOST", HOST)
    found = find_executable()
    program = shlex.join([*found.program, *found.options, "--bind", HOST, "127.0.0.1"])  # 6.2 sends from the first
    with SentinelServers(replicas=1, sentinels=1, executable=program) as s:
        yield s


async def tell(r: Client[str]) -> None:
    while True:
        await r.publish("news", "x")
        await asyncio.sleep(0.05)


async def test_a_failover_between_ipv6_addresses(ipv6: SentinelServers) -> None:
    heard: list[Event] = []
    written: list[int] = []
    old, (replica,) = ipv6.primary(), ipv6.replicas()
    (sentinel,) = ipv6.sentinels
    secrets = f"sentinel_password={ipv6.sentinel_password}"
    url = f"redis+sentinel://:{ipv6.password}@[{HOST}]:{sentinel.port}/{ipv6.name}?{secrets}"
    lone = Sentinel([f"[{HOST}]:{sentinel.port}"], password=ipv6.password, sentinel_password=ipv6.sentinel_password)

    async def write(r: Client[str]) -> None:
        while True:
            written.append(await r.incr("n"))
            await asyncio.sleep(0.005)

    async with Client(url, timeout=15, events=heard.append) as r, lone:
        assert await r.set("k", "1")
        assert f"[{HOST}]:{old.port}" in repr(r)
        assert {f"[{HOST}]:{old.port}", f"[{HOST}]:{sentinel.port}"} <= r.stats().nodes.keys()
        view = r.with_options(read_from="replica")
        await until(lambda: replica.info("keyspace"))
        assert await view.get("k") == await lone.replica_for(ipv6.name).get("k") == "1"
        assert replica.commandstats().get("get", 0) == 2
        assert await lone.master_for(ipv6.name).get("k") == "1"
        async with r.subscribe("news") as s:
            writing = asyncio.create_task(write(r))
            assert await asyncio.to_thread(ipv6.failover) is replica
            await until(lambda: any(isinstance(event, MasterChanged) for event in heard))
            assert await r.set("k", "2")
            assert replica.call("GET", "k") == "2"
            writing.cancel()
            assert int(await r.get("n") or "0") >= len(written) > 0
            telling = asyncio.create_task(tell(r))  # again and again: the subscription may still be on its way
            async with asyncio.timeout(30):
                async for message in s:
                    if getattr(message, "data", None) == "x":
                        break
            telling.cancel()
        (changed,) = [event for event in heard if isinstance(event, MasterChanged)]
        assert str(replica.port) in str(changed)
        assert HOST in str(changed)
    async with Client(f"redis://:{ipv6.password}@[{HOST}]:{old.port},[{HOST}]:{replica.port}") as plain:
        assert await plain.get("k") == "2"
        assert f"[{HOST}]:{replica.port}" in repr(plain)
