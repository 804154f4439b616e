"""Replies for operators with bytes that are not UTF-8: a client of text gets them escaped, on any path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest

from aioresp import Client, DecodeError, NoPermissionError
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.rest import in_step
from tests.servers import MATRIX
from tests.servers.chosen import marks_of

NAME = b"caf\xe9"
SHOWN = "caf\\xe9"

#: What an operator asks, and where the name is in the reply.
ASKED: dict[str, Callable[[Any], Any]] = {
    "INFO": lambda r: r.info("replication"),
    "CONFIG GET": lambda r: r.config_get("*"),
    "ACL LIST": lambda r: r.acl_list(),
    "ACL USERS": lambda r: r.acl_users(),
    "ACL GETUSER": lambda r: r.call("ACL", "GETUSER", NAME),
    "ACL LOG": lambda r: r.acl_log(),
    "CLIENT LIST": lambda r: r.client_list(),
    "ROLE": lambda r: r.role(),
    "XINFO GROUPS": lambda r: r.xinfo_groups("s"),
    "XINFO CONSUMERS": lambda r: r.xinfo_consumers("s", NAME),
    "XINFO STREAM": lambda r: r.xinfo_stream("s"),
    "XINFO STREAM FULL": lambda r: r.xinfo_stream("s", full=True),
    "PUBSUB CHANNELS": lambda r: r.pubsub_channels(),
    "PUBSUB NUMSUB": lambda r: r.pubsub_numsub(NAME),
    "SLOWLOG GET": lambda r: r.slowlog_get(50),
    "raw CLIENT LIST": lambda r: r.call("CLIENT LIST"),
    "raw ACL LIST": lambda r: r.call("acl", "list"),
    "raw INFO": lambda r: r.call("INFO", "replication"),
}


def tells(reply: object) -> bool:
    """Return whether the name is somewhere in a reply, escaped or as bytes."""
    return "cafxe9" in str(reply).replace("\\", "")


HERE = [pytest.param(wanted.name, marks=marks_of(wanted)) for wanted in MATRIX if wanted.is_there]


@pytest.fixture(params=HERE or [pytest.param("found")])
async def prepared(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A server that has the name in each reply above."""
    programs = {wanted.name: str(wanted.program) for wanted in MATRIX}
    with start_server(executable=programs.get(request.param)) as running:
        async with Client(running.url, decode_responses=False) as r:
            await r.config_set({"slowlog-log-slower-than": 0})
            await r.call("CONFIG", "SET", "masteruser", NAME)
            await r.call("ACL", "SETUSER", NAME, "on", "nopass", "+@all", b"~" + NAME)
            await r.xadd("s", {NAME: NAME})
            await r.xgroup_create("s", NAME, "0")
            await r.xreadgroup(NAME, NAME, {"s": ">"})
            if running.version >= (7,):
                await r.function_load(b"#!lua name=l\nredis.register_function('f', function() return '%b' end)" % NAME)
            await r.call("REPLICAOF", NAME, 1)
        yield running


@pytest.mark.timeout(60)
async def test_operators_get_their_replies(prepared: Server, resp: Literal[2, 3]) -> None:
    asked = dict(ASKED)
    if prepared.version >= (7,):
        asked["FUNCTION LIST"] = lambda r: r.function_list(withcode=True)
        asked["ACL DRYRUN"] = lambda r: r.call("ACL", "DRYRUN", NAME, "GET", b"other" + NAME)
    async with (
        Client(prepared.url, protocol=resp) as r,
        Client(prepared.url, protocol=resp, decode_responses=False) as raw,
        raw.subscribe(NAME),
        raw.connection() as denied,
    ):
        await denied.call("AUTH", NAME, "")
        with pytest.raises(NoPermissionError):
            await denied.get(b"other" + NAME)
        assert await denied.acl_whoami() == SHOWN
        for name, ask in asked.items():
            assert tells(await ask(r)), name
            assert tells(await ask(raw)), name
            for transaction in (False, True):
                async with r.pipeline(transaction) as p:
                    queued, other = ask(p), p.echo("x")
                assert tells(await queued), name
                assert await other == "x"
            async with r.connection() as leased:
                assert tells(await ask(leased)), name
            async with r.pipeline() as p:
                await p.watch("s")
                assert tells(await ask(p)), name
        async with r.connection() as leased:
            await leased.call("AUTH", NAME, "")
            assert await leased.acl_whoami() == SHOWN
        await in_step(r)


async def test_data_is_never_escaped(server: Server, prefix: str) -> None:
    """An escaped key or element would be a wrong one."""
    key = prefix.encode() + NAME
    async with Client(server.url) as r:
        await r.set(key, NAME, ex=60)
        for ask in (lambda: r.get(key), lambda: r.keys(prefix + "*"), lambda: r.call("COMMAND GETKEYS", "GET", key)):
            with pytest.raises(DecodeError):
                await ask()
        await r.unlink(key)


async def test_a_zone_that_is_not_utf8() -> None:
    """It is in the greeting, so no connection could be made."""
    program = next((wanted.program for wanted in MATRIX if wanted.name == "valkey-9.1" and wanted.is_there), None)
    if program is None:
        pytest.skip("Valkey has zones")
    with start_server(executable=str(program)) as zoned:
        async with Client(zoned.url) as r:
            await r.call("CONFIG", "SET", "availability-zone", NAME)
        async with Client(zoned.url) as r, r.connection() as c:
            assert (await c.hello(3)).availability_zone == SHOWN
            assert tells(await c.call("HELLO"))
            assert tells(await r.info())
