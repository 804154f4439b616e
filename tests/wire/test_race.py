"""A name with several addresses, some of which are black holes: the first that answers is used, and soon."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Server
from aioresp.testing import server as start_server
from aioresp.wire import dialing, race
from tests.holes import black_hole, family, listener
from tests.pubsub.listening import until
from tests.security.hostile import command

NAME = "name.test"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what gives a name its addresses: the resolver is the one thing that is not real here."""

    def found(*addresses: str) -> None:
        def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
            assert host == NAME
            return [(family(address), socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    monkeypatch.setattr(race, "_failed", {})
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def client(server: Server, **options: Any) -> Client[str]:
    given = {"host": NAME, "port": server.port, "password": server.password, "retry": None}
    return Client(**(given | options))  # type: ignore[call-overload, no-any-return]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


HOLES = ("127.0.0.2", "::1")


@pytest.mark.parametrize("hole", HOLES)
async def test_the_address_behind_a_black_hole_is_reached(
    names: Callable[..., None], stack: ExitStack, server: Server, monkeypatch: pytest.MonkeyPatch, hole: str
) -> None:
    black_hole(stack, hole, server.port)
    names(hole, server.host)
    before = descriptors()
    async with client(server, timeout=10, connect_timeout=60) as r:
        assert await r.ping()
        async with r.subscribe("c") as s:
            await r.publish("c", "m")
            assert (await s.get(5)).data == "m"  # type: ignore[union-attr]
    # The address that worked is the first one now: nothing waits for the hole.
    monkeypatch.setattr(dialing, "HEAD_START", 120)
    async with client(server, timeout=30, connect_timeout=240) as r:
        assert await r.ping()
    await until(lambda: descriptors() <= before + 2)  # uvloop opens one of its own now and then


@pytest.mark.parametrize("timeout", [0.5, None])
async def test_several_black_holes_and_whichever_limit(
    names: Callable[..., None], stack: ExitStack, server: Server, timeout: float | None
) -> None:
    holes = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    for hole in holes:
        black_hole(stack, hole, server.port)
    names(*holes, server.host)
    async with client(server, timeout=30, connect_timeout=timeout, retry=aioresp.Retry()) as r:
        assert await r.ping()
    assert race.ordered([*holes, server.host], server.port)[0] == server.host


async def test_a_server_that_accepts_and_keeps_silent(
    names: Callable[..., None], stack: ExitStack, server: Server
) -> None:
    """Of a hung process the kernel still takes connections."""
    listener(stack, "127.0.0.2", server.port)
    names("127.0.0.2", server.host)
    async with client(server, timeout=30, connect_timeout=3) as r:
        assert await r.ping()
    assert race.ordered(["127.0.0.2", server.host], server.port) == [server.host, "127.0.0.2"]


async def test_a_server_that_accepts_and_closes(names: Callable[..., None], server: Server) -> None:
    """So do proxies, such as Docker's, whose own server is not there."""
    closed = 0

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal closed
        closed += 1
        writer.close()

    names("127.0.0.2", server.host)
    async with await asyncio.start_server(close, "127.0.0.2", server.port):
        for _ in range(3):
            async with client(server) as r:
                assert await r.ping()
    assert closed == 1


async def test_the_order_of_the_resolver_is_kept(names: Callable[..., None], server: Server) -> None:
    asked = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer.get_extra_info("sockname")[0])
        with suppress(ValueError):  # the end of the stream is no command
            while await command(reader):  # how many there are depends on what the server before it knew
                writer.write(b"-ERR invalid password\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.2", server.port):
        for order in ((server.host, "127.0.0.2"), ("127.0.0.2", server.host)):
            names(*order)
            async with client(server) as r:
                if order[0] == server.host:
                    assert await r.ping()
                else:  # the same password would be wrong at each address
                    with pytest.raises(aioresp.AuthenticationError):
                        await r.ping()
    assert asked == ["127.0.0.2"]


async def test_all_addresses_are_black_holes(names: Callable[..., None], stack: ExitStack, server: Server) -> None:
    holes = ("127.0.0.2", "127.0.0.3")
    for hole in holes:
        black_hole(stack, hole, server.port)
    names(*holes)
    before = descriptors()
    async with client(server, connect_timeout=0.3) as r:
        with pytest.raises(aioresp.ConnectTimeout):
            await r.ping()
    await until(lambda: descriptors() <= before + 2)


async def test_cancelled_at_any_point_no_loser_stays(
    names: Callable[..., None], stack: ExitStack, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "HEAD_START", 0.001)
    black_hole(stack, "127.0.0.2", server.port)
    listener(stack, "127.0.0.3", server.port)
    names("127.0.0.2", "127.0.0.3", server.host)
    before = descriptors()
    for turns in range(0, 60, 2):
        monkeypatch.setattr(race, "_failed", {})
        async with client(server, connect_timeout=0.02) as r:
            call = asyncio.create_task(r.ping())
            for _ in range(turns):
                await asyncio.sleep(0.0003 if turns % 3 == 0 else 0)
            call.cancel()
            await asyncio.wait([call])
    await until(lambda: descriptors() <= before + 2)


def test_no_more_addresses_are_remembered_than_fit() -> None:
    for number in range(race.REMEMBERED + 50):
        race.avoid(f"10.0.{number // 256}.{number % 256}", 1)
    assert len(race._failed) <= race.REMEMBERED
    assert race.ordered(["10.0.0.0", "10.0.4.1", "10.9.9.9"], 1) == ["10.0.0.0", "10.9.9.9", "10.0.4.1"]
    race._failed.clear()


@pytest.mark.parametrize("kind", [asyncio.SelectorEventLoop, "uvloop"])
@pytest.mark.parametrize("seconds", [0.05, 0.4])
def test_a_loop_that_is_closed_in_the_middle(
    names: Callable[..., None], stack: ExitStack, monkeypatch: pytest.MonkeyPatch, kind: Any, seconds: float
) -> None:
    """Nothing is asked of the closed loop when the attempts are collected."""
    if kind == "uvloop":
        kind = pytest.importorskip("uvloop").new_event_loop
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda seen: unraisable.append(seen.exc_value))
    port = listener(stack, "127.0.0.2", 0).getsockname()[1]
    listener(stack, "127.0.0.3", port)
    names("127.0.0.2", "127.0.0.3")
    loop: asyncio.AbstractEventLoop = kind()
    loop.set_exception_handler(lambda loop, context: None)  # which hears of tasks that were destroyed
    client = Client(f"redis://{NAME}:{port}")
    call = loop.create_task(client.ping())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the loop was closed with open transports
        loop.call_later(seconds, loop.stop)
        loop.run_forever()
        loop.close()
        del call
        gc.collect()
        del client
        gc.collect()
    assert not unraisable


async def test_an_address_of_the_wrong_server_is_tried_last(server: Server, names: Callable[..., None]) -> None:
    """A name leads to a replica and to the primary: after READONLY the retry goes to the other address."""
    with start_server() as replica:
        async with Client(replica.url) as direct:
            await direct.replicaof(server.host, server.port)
        tried: list[Server] = []
        forwarding: list[Any] = []

        async def forward(target: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tried.append(target)
            forwarding.append(asyncio.current_task())
            there, back = await asyncio.open_connection(target.host, target.port)
            await asyncio.gather(copied(reader, back), copied(there, writer))
            await asyncio.gather(writer.wait_closed(), back.wait_closed())

        try:
            first = await asyncio.start_server(partial(forward, replica), "127.0.0.2", 0)
            port = first.sockets[0].getsockname()[1]
            second = await asyncio.start_server(partial(forward, server), "127.0.0.3", port)
        except OSError as error:
            pytest.skip(f"not all of 127.0.0.0/8 is here: {error}")
        names("127.0.0.2", "127.0.0.3")
        async with first, second:
            url = f"redis://:{server.password or ''}@{NAME}:{port}"
            async with Client(url) as r:
                assert await r.set("written", "x", ex=60)
                assert await r.get("written") == "x"
                assert tried == [replica, server]
            await asyncio.gather(*forwarding)


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
