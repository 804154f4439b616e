"""Connections: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from aioresp import Client, CommandRefused, ConnectionLost, UnblockedError
from aioresp.testing import Server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.waitaof(1, 2, 300), ("WAITAOF", 1, 2, 300)),
    (lambda r: r.client_getname(), ("CLIENT", "GETNAME")),
    (lambda r: r.client_id(), ("CLIENT", "ID")),
    (lambda r: r.client_info(), ("CLIENT", "INFO")),
    (lambda r: r.client_kill_filter(_id=7), ("CLIENT", "KILL", "ID", 7, "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(_type="pubsub"), ("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(addr="a:1"), ("CLIENT", "KILL", "ADDR", "a:1", "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(laddr="a:1"), ("CLIENT", "KILL", "LADDR", "a:1", "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(user="u"), ("CLIENT", "KILL", "USER", "u", "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(user="u", skipme=False), ("CLIENT", "KILL", "USER", "u", "SKIPME", "NO")),
    (lambda r: r.client_kill_filter(maxage=60), ("CLIENT", "KILL", "MAXAGE", 60, "SKIPME", "YES")),
    (
        lambda r: r.client_kill_filter(_id=7, _type="normal", user="u"),
        ("CLIENT", "KILL", "ID", 7, "TYPE", "normal", "USER", "u", "SKIPME", "YES"),
    ),
    (lambda r: r.client_list(), ("CLIENT", "LIST")),
    (lambda r: r.client_list(_type="normal"), ("CLIENT", "LIST", "TYPE", "normal")),
    (lambda r: r.client_list(client_id=[1, 2]), ("CLIENT", "LIST", "ID", 1, 2)),
    (lambda r: r.client_pause(100), ("CLIENT", "PAUSE", 100)),
    (lambda r: r.client_pause(timeout=100, all=False), ("CLIENT", "PAUSE", 100, "WRITE")),
    (lambda r: r.client_unblock(7), ("CLIENT", "UNBLOCK", 7)),
    (lambda r: r.client_unblock(client_id=7, error=True), ("CLIENT", "UNBLOCK", 7, "ERROR")),
    (lambda r: r.client_unpause(), ("CLIENT", "UNPAUSE")),
    (lambda r: r.echo("v"), ("ECHO", "v")),
    (lambda r: r.ping(), ("PING",)),
    (lambda r: r.ping(message=b"v"), ("PING", b"v")),
    (lambda r: r.ping(""), ("PING", "")),
    (lambda r: r.select(2), ("SELECT", 2)),
    (lambda r: r.wait(1, 100), ("WAIT", 1, 100)),
    (lambda r: r.wait(num_replicas=1, timeout=0), ("WAIT", 1, 0)),
    (lambda r: r.acl_whoami(), ("ACL", "WHOAMI")),
]

REFUSED: Refused = [
    (lambda r: r.client_kill_filter(), ValueError, "CLIENT KILL: give at least one filter"),
    (lambda r: r.client_kill_filter(skipme=False), ValueError, "CLIENT KILL: give at least one filter"),
    (
        lambda r: r.client_list(_type="normal", client_id=[1]),
        ValueError,
        "CLIENT LIST: _type and client_id exclude each other",
    ),
    (lambda r: r.client_list(client_id=[]), ValueError, "CLIENT LIST: client_id is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_signs_of_life(r: Client[Any], text: Text) -> None:
    exactly(await r.ping(), True)
    exactly(await r.ping("näh"), text("näh"))
    exactly(await r.ping(""), text(""))
    exactly(await r.echo("näh"), text("näh"))
    exactly(await r.echo(1), text("1"))


async def test_who_we_are(r: Client[Any], server: Server) -> None:
    exactly(await r.client_getname(), None)
    number = await r.client_id()
    exactly(number, int(number))
    about = await r.client_info()
    exactly({type(part) for item in about.items() for part in item}, {str})
    expected = {"id": str(number), "name": "", "db": "0", "user": "default"}
    exactly({name: about[name] for name in expected}, expected)
    exactly(await r.acl_whoami(), "default")
    async with Client(server.url, client_name="me") as named:
        exactly(await named.client_getname(), "me")
        exactly(await named.with_options(decode_responses=False).client_getname(), b"me")


async def test_client_list(own: Client[Any]) -> None:
    number = await own.client_id()
    for lines in (
        await own.client_list(),
        await own.client_list(_type="normal"),
        await own.client_list(client_id=[number]),
    ):
        assert type(lines) is list
        (mine,) = [line for line in lines if line["id"] == str(number)]
        exactly({type(part) for item in mine.items() for part in item}, {str})
        assert mine["db"] == "0"
    exactly(await own.client_list(client_id=[10**9]), [])


async def test_kill(own: Client[Any]) -> None:
    exactly(await own.client_kill_filter(_id=10**9), 0)
    exactly(await own.client_kill_filter(addr="127.0.0.1:1"), 0)
    exactly(await own.client_kill_filter(laddr="127.0.0.1:1", _type="replica"), 0)
    async with own.connection() as lease:
        number = await lease.client_id()
        exactly(await own.client_kill_filter(_id=number, _type="normal", user="default"), 1)
        with pytest.raises(ConnectionLost):
            await lease.ping()


async def test_kill_by_age(own: Client[Any], since: Since) -> None:
    since(7, 4, valkey=(8, 0))
    exactly(await own.client_kill_filter(maxage=3600), 0)


async def test_pause(own: Client[Any]) -> None:
    exactly(await own.client_pause(10_000, all=False), True)
    exactly(await own.get("k"), None)
    waiting = asyncio.create_task(own.set("k", 1))
    async with own.connection() as lease:  # the paused write holds up what follows on its connection
        exactly(await lease.get("k"), None)
        assert not waiting.done()
        exactly(await lease.client_unpause(), True)
    exactly(await waiting, True)
    start = time.monotonic()
    exactly(await own.client_pause(30), True)
    await own.ping()
    assert time.monotonic() - start > 0.02


@pytest.mark.parametrize("error", [False, True])
async def test_unblock(own: Client[Any], error: bool) -> None:
    blocked = asyncio.create_task(own.blpop("nothing"))
    while not (ids := [line["id"] for line in await own.client_list() if line["cmd"] == "blpop"]):
        await asyncio.sleep(0.005)
    exactly(await own.client_unblock(int(ids[0]), error=error), True)
    if error:
        with pytest.raises(UnblockedError):
            await blocked
    else:
        exactly(await blocked, None)
    exactly(await own.client_unblock(int(ids[0])), False)


async def test_select_and_wait_belong_on_a_lease(own: Client[Any], text: Text) -> None:
    with pytest.raises(CommandRefused, match=r"client\.connection\(\).*\[SELECT\]"):
        await own.select(1)
    with pytest.raises(CommandRefused, match=r"client\.connection\(\).*\[WAIT\]"):
        await own.wait(0, 10)
    async with own.connection() as lease:
        exactly(await lease.select(1), True)
        await lease.set("k", "v")
        exactly(await lease.get("k"), text("v"))
        exactly(await lease.wait(0, 10), 0)
    exactly(await own.get("k"), None)


async def test_waitaof(r: Client[Any], prefix: str, since: Since) -> None:
    since(7, 2)
    async with r.connection() as c:
        await c.set(f"{prefix}k", 1, ex=60)
        exactly(await c.waitaof(0, 0, 10), (0, 0))
