"""Replication: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from aioresp import Client, ResponseError
from aioresp.replies.replication import ConnectedReplica, MasterRole, ReplicaRole
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.commands.conftest import make
from tests.commands.exact import exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.failover(), ("FAILOVER",)),
    (lambda r: r.failover(("host", 7000)), ("FAILOVER", "TO", "host", 7000)),
    (
        lambda r: r.failover(to=("host", 7000), force=True, timeout=500),
        ("FAILOVER", "TO", "host", 7000, "FORCE", "TIMEOUT", 500),
    ),
    (lambda r: r.failover(timeout=timedelta(seconds=2)), ("FAILOVER", "TIMEOUT", 2000)),
    (lambda r: r.failover(abort=True), ("FAILOVER", "ABORT")),
    (lambda r: r.replicaof(), ("REPLICAOF", "NO", "ONE")),
    (lambda r: r.replicaof("NO", "ONE"), ("REPLICAOF", "NO", "ONE")),
    (lambda r: r.replicaof(host="host", port=7000), ("REPLICAOF", "host", 7000)),
    (lambda r: r.role(), ("ROLE",)),
    (lambda r: r.slaveof(), ("SLAVEOF", "NO", "ONE")),
    (lambda r: r.slaveof(host="host", port=7000), ("SLAVEOF", "host", 7000)),
]

REFUSED: Refused = [
    (lambda r: r.failover(force=True), ValueError, "FAILOVER: force needs to and timeout"),
    (lambda r: r.failover(("host", 1), force=True), ValueError, "FAILOVER: force needs to and timeout"),
    (lambda r: r.failover(timeout=5, abort=True), ValueError, "FAILOVER: abort excludes all other options"),
    (lambda r: r.replicaof("host"), ValueError, "REPLICAOF: host and port go together"),
    (lambda r: r.slaveof(port=1), ValueError, "SLAVEOF: host and port go together"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
async def other(executable: str | None, protocol: int, decode: bool) -> AsyncIterator[tuple[Server, Client[Any]]]:
    """A second server."""
    async with start_server(executable=executable) as running, make(running, protocol, decode) as client:
        yield running, client


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(10):
        while not await true():
            await asyncio.sleep(0.01)


async def test_a_server_alone(own: Client[Any]) -> None:
    said = await own.role()
    assert isinstance(said, MasterRole)
    exactly((said.role, said.replicas, type(said.offset)), ("master", [], int))
    exactly(await own.slaveof(), True)
    with pytest.raises(ResponseError, match="requires connected replicas"):
        await own.failover()


async def test_replicas(own: Client[Any], own_server: Server, other: tuple[Server, Client[Any]]) -> None:
    server, replica = other
    await own.config_set("repl-diskless-sync-delay", 0)
    exactly(await replica.replicaof(own_server.host, own_server.port), True)

    async def in_step() -> bool:
        said = await replica.role()
        assert isinstance(said, ReplicaRole)
        exactly((said.role, said.host, said.port, type(said.offset)), ("slave", own_server.host, own_server.port, int))
        return said.state == "connected" and said.offset >= 0

    await until(in_step)

    async def online() -> bool:
        return bool((await own.info("replication"))["slave0"]["state"] == "online")

    await until(online)
    said = await own.role()
    assert isinstance(said, MasterRole)
    exactly(said.replicas, [ConnectedReplica(server.host, server.port, said.replicas[0].offset)])
    exactly(type(said.replicas[0].offset), int)

    exactly(await own.failover((server.host, server.port), timeout=5000, force=True), True)

    async def changed_places() -> bool:
        return isinstance(await own.role(), ReplicaRole) and isinstance(await replica.role(), MasterRole)

    await until(changed_places)
    exactly(await own.replicaof(), True)
    exactly(type(await own.role()), MasterRole)
