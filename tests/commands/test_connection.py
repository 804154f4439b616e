"""The connection itself: what is sent, and what comes back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aioresp import AuthenticationError, Client, CommandRefused, ConnectionLost, ResponseError
from aioresp.replies.clients import Hello
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.commands.conftest import make
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.auth("secret"), ("AUTH", "secret")),
    (lambda r: r.auth(password="secret", username="ann"), ("AUTH", "ann", "secret")),
    (lambda r: r.echo("v"), ("ECHO", "v")),
    (lambda r: r.hello(), ("HELLO",)),
    (lambda r: r.hello(protover=3), ("HELLO", 3)),
    (
        lambda r: r.hello(2, auth=("ann", "secret"), clientname="me"),
        ("HELLO", 2, "AUTH", "ann", "secret", "SETNAME", "me"),
    ),
    (lambda r: r.ping(), ("PING",)),
    (lambda r: r.ping(message=b"v"), ("PING", b"v")),
    (lambda r: r.ping(""), ("PING", "")),
    (lambda r: r.quit(), ("QUIT",)),
    (lambda r: r.readonly(), ("READONLY",)),
    (lambda r: r.readwrite(), ("READWRITE",)),
    (lambda r: r.reset(), ("RESET",)),
    (lambda r: r.select(2), ("SELECT", 2)),
    (lambda r: r.wait(1, 100), ("WAIT", 1, 100)),
    (lambda r: r.wait(1, timedelta(seconds=1)), ("WAIT", 1, 1000)),
    (lambda r: r.waitaof(0, 1, timedelta(seconds=1)), ("WAITAOF", 0, 1, 1000)),
    (lambda r: r.wait(num_replicas=1, timeout=0), ("WAIT", 1, 0)),
    (lambda r: r.waitaof(1, 2, 300), ("WAITAOF", 1, 2, 300)),
]

REFUSED: Refused = [
    (lambda r: r.hello(auth=("ann", "secret")), ValueError, "HELLO: auth and clientname need protover"),
    (lambda r: r.hello(clientname="me"), ValueError, "HELLO: auth and clientname need protover"),
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


async def test_hello(own: Client[Any], own_server: Server, protocol: int) -> None:
    version = ".".join(map(str, own_server.version))
    async with own.connection() as lease:
        number = await lease.client_id()
        said = await lease.hello()
        assert all(type(module.name) is str for module in said.modules)
        zone = "" if own_server.flavour == "valkey" and said.availability_zone is not None else None
        kind = own_server.flavour
        exactly(said, Hello(kind, version, protocol, number, "standalone", "master", said.modules, zone))
        for other in (5 - protocol, protocol):
            said = await lease.hello(2 if other == 2 else 3, clientname="me")
            exactly(said.proto, other)
            exactly(await lease.hset("h", "f", 1), 1)
            exactly(len(await lease.hgetall("h")), 1)
            await lease.delete("h")
        assert await lease.client_getname() in ("me", b"me")
    exactly(await own.client_getname(), None)


async def test_auth(own: Client[Any]) -> None:
    await own.acl_setuser("ann", enabled=True, passwords=["+secret"], commands=["+acl|whoami", "+auth", "+reset"])
    async with own.connection() as lease:
        with pytest.raises(AuthenticationError) as caught:
            await lease.auth("wrong password", "ann")
        assert "wrong password" not in str(caught.value)
        exactly(await lease.auth(password="secret", username="ann"), True)
        exactly(await lease.acl_whoami(), "ann")
        with pytest.raises(ResponseError, match="NOPERM"):
            await lease.get("k")
    exactly(await own.acl_whoami(), "default")
    exactly(await own.get("k"), None)
    await own.acl_deluser("ann")


async def test_reset(own: Client[Any], own_server: Server) -> None:
    async with own.connection() as lease:
        await lease.select(1)
        await lease.set("k", "in database 1")
        exactly(await lease.reset(), True)
        if own_server.password is not None:
            await lease.auth(own_server.password)
        exactly(await lease.get("k"), None)
    exactly((await own.client_info()).db, 0)


async def test_quit(own: Client[Any]) -> None:
    async with own.connection() as lease:
        exactly(await lease.quit(), True)
        with pytest.raises(ConnectionLost):
            await lease.ping()
    exactly(await own.ping(), True)


async def test_readonly(executable: str | None, protocol: int, decode: bool) -> None:
    with start_server(executable=executable, config={"cluster-enabled": "yes"}) as node:
        async with make(node, protocol, decode) as r, r.connection() as lease:
            exactly(await lease.readonly(), True)
            exactly((await lease.client_info()).flags, "r")
            exactly(await lease.readwrite(), True)
            exactly((await lease.client_info()).flags, "N")


@pytest.mark.parametrize("name", ["AUTH", "HELLO", "QUIT", "READONLY", "READWRITE", "RESET"])
async def test_what_changes_a_connection_belongs_on_a_lease(own: Client[Any], name: str) -> None:
    with pytest.raises(CommandRefused, match=rf"client\.connection\(\).*\[{name}\]"):
        await (own.auth("secret") if name == "AUTH" else getattr(own, name.lower())())


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
