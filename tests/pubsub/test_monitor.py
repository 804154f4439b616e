"""MONITOR: each command that the server runs, as it was, on a connection that nobody gets afterwards."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

import pytest

import aioresp
from aioresp import Client, MonitoredCommand
from aioresp.pubsub.monitor import _parsed
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import at_rest


async def heard(m: aioresp.Monitor[str], name: str) -> MonitoredCommand[str]:
    async with asyncio.timeout(5):
        async for command in m:
            if command.arguments[0] == name:
                return command
    raise AssertionError("it has ended")


async def test_commands_as_they_were(resp: Literal[2, 3]) -> None:
    with start_server() as own:
        async with Client(own.url, protocol=resp, db=2) as r, r.monitor() as m:
            await r.set("k", 'a "quoted" \\ value')  # Valkey before 8.1.2 does not escape it
            set_ = await heard(m, "SET")
            assert abs(set_.time - time.time()) < 60
            assert (set_.db, set_.arguments) == (2, ("SET", "k", 'a "quoted" \\ value'))
            assert set_.client.startswith("127.0.0.1:")
            await r.eval("return redis.call('get', KEYS[1])", 1, "ä\n")
            assert (await heard(m, "EVAL")).arguments[1:] == ("return redis.call('get', KEYS[1])", "1", "ä\n")
            script = await heard(m, "get")
            assert (script.db, script.client, script.arguments) == (2, "lua", ("get", "ä\n"))
            await r.set(b"\xff\x00", b"")
            assert (await heard(m, "SET")).arguments[1:] == ("\\xff\x00", "")


async def test_bytes_and_the_unix_socket() -> None:
    with start_server() as own:
        async with Client(own.unix_url, decode_responses=False) as r, r.monitor() as m:
            every = bytes(range(256))
            await r.set(b"k", every)
            async for command in m:
                if command.arguments[0] == b"SET":
                    assert command.arguments == (b"SET", b"k", every)
                    assert command.client.startswith("unix:")
                    break


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b'1339518083.107412 [0 127.0.0.1:60866] "keys" "*"',
            (1339518083.107412, 0, "127.0.0.1:60866", (b"keys", b"*")),
        ),
        (b'1.5 [15 lua] "a] \\"b" ""', (1.5, 15, "lua", (b'a] "b', b""))),
        (b'1.5 [0 lua] "a\\" " "b"', (1.5, 0, "lua", (b'a" ', b"b"))),
        (b'1.5 [0 lua] "SET" "a "b" \\d" "\\xff\\n\\\\"', (1.5, 0, "lua", (b"SET", b'a "b" \\d', b"\xff\n\\\\"))),
        (b'1.5 [0 [::1]:6379] "\\x00\\n\\\\x41"', (1.5, 0, "[::1]:6379", (b"\x00\n\\x41",))),
    ],
)
def test_lines(line: bytes, expected: tuple[object, ...]) -> None:
    found = _parsed(line, decode=False)
    assert (found.time, found.db, found.client, found.arguments) == expected


async def test_its_connection_is_lent_to_nobody_else(server: Server, resp: Literal[2, 3]) -> None:
    async with Client(server.url, protocol=resp) as r:
        async with r.monitor():
            assert r.stats().leased == 1
            assert r.stats().open == 2 or r.stats().open == 1
        await at_rest(r)
        async with r.connection() as c:
            assert await c.echo("mine") == "mine"
        with pytest.raises(aioresp.CommandRefused, match=r"client\.monitor"):
            await r.call("MONITOR")


async def test_a_lost_connection_ends_it(server: Server) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        async with r.monitor() as m:
            proxy.cut()
            with pytest.raises(aioresp.ConnectionLost):
                async with asyncio.timeout(5):
                    async for _ in m:
                        pass
        await at_rest(r)


async def test_what_the_server_says_instead(server: Server, resp: Literal[2, 3]) -> None:
    with start_server() as own:
        async with Client(own.url) as admin:
            await admin.call("ACL SETUSER", "u", "on", ">p", "+@all", "-monitor")
            async with Client(own.url, username="u", password="p", protocol=resp) as r:
                with pytest.raises(aioresp.NoPermissionError, match="MONITOR"):
                    async with r.monitor():
                        pass
                await at_rest(r)


async def test_a_server_that_does_not_answer(server: Server) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=0.5) as r:
        await r.ping()
        await asyncio.gather(*(r.ping() for _ in range(3)))
        async with r.connection():
            pass
        proxy.stall("down")
        with pytest.raises(aioresp.CommandTimeout):
            async with r.monitor():
                pass
        proxy.resume()
        await at_rest(r)


async def test_a_slow_reader_drops_the_oldest(server: Server) -> None:
    async with Client(server.url) as r, r.monitor(buffer=3) as m:
        await asyncio.gather(*(r.echo(f"{n}") for n in range(50)))
        async with asyncio.timeout(5):
            while m.dropped + m.waiting < 50:
                await asyncio.sleep(0.01)
        assert m.waiting == 3
        assert repr(m) == f"Monitor(3 waiting, {m.dropped} dropped)"
        assert (await m.get()).arguments[0] == "ECHO"


async def test_drops_do_not_flood_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with Client(server.url) as r, r.monitor(buffer=1) as m:
        await asyncio.gather(*(r.echo(f"{n}") for n in range(50)))
        async with asyncio.timeout(5):
            while m.dropped < 40:
                await asyncio.sleep(0.01)
    said = [record.getMessage() for record in caplog.records if "read too slowly" in record.getMessage()]
    assert 6 <= len(said) <= 7, "for 1, 2, 4, 8, 16, 32 and perhaps 64 commands"


async def test_one_that_overflows_takes_nothing_more(server: Server, resp: Literal[2, 3]) -> None:
    async with Client(server.url, protocol=resp) as r, r.monitor(buffer=3, overflow="close") as m:
        await asyncio.gather(*(r.echo(f"{n}") for n in range(50)))
        await at_rest(r)  # its connection is closed before it is left: what the server still told, nobody would read
        assert m.waiting == 3
        with pytest.raises(aioresp.SubscriptionOverflow):
            for _ in range(4):
                await m.get()
        assert m.waiting == 0


async def test_one_that_waits_misses_nothing(server: Server) -> None:
    async with Client(server.url) as r, r.monitor(buffer=3, overflow="wait") as m:
        expected = [f"{n}" for n in range(200)]
        await asyncio.gather(*(r.echo(text) for text in expected))
        told: list[str] = []
        while len(told) < 200:
            assert m.waiting <= 3
            told.append((await heard(m, "ECHO")).arguments[1])
        assert told == expected
        assert m.dropped == 0
