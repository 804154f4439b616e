"""The same as `test_secrets`, for who listens: subscriptions, keyspace notifications, MONITOR, readers of streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

import aioresp
from aioresp import Client, Credentials, Gap
from aioresp.command import KEY_SHOWN
from aioresp.testing import Proxy, Server
from tests.security.hostile import hostile, says
from tests.security.test_secrets import PASSWORD, VALUE, Odd, Watched, behind, locked, watched

__all__ = ["behind", "locked", "watched"]  # fixtures


@pytest.fixture
def options(watched: Watched, protocol: Any) -> Any:
    return {**watched.options, "protocol": protocol, "password": PASSWORD}


@pytest.fixture
async def other(locked: Server) -> AsyncIterator[Client[str]]:
    async with Client(locked.url, password=PASSWORD) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    """One without the brackets that tests have in their names: they mean something in a glob."""
    return f"{os.urandom(4).hex()}:"


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.005)


BAD = VALUE.encode() + b"\xff" + VALUE.encode()


# --- Subscriptions ---------------------------------------------------------------------------------------------------


async def test_messages(watched: Watched, locked: Server, other: Client[str], prefix: str, options: Any) -> None:
    """While they wait, are dropped, or are no text; with readers that are late, cancelled, or have gone."""
    async with Client(locked.url, **options) as r, r.with_options(decode_responses=False).psubscribe(f"{prefix}*"):
        for overflow in ("drop_oldest", "drop_newest", "close", "wait"):
            async with r.subscribe(prefix, buffer=2, overflow=overflow, gaps=True) as s:
                await s.psubscribe(f"{prefix}*")
                for data in (VALUE, BAD, VALUE, VALUE):
                    await other.publish(prefix, data)
                await until(lambda: s.waiting == 2)
                watched.shown += [repr(s), repr(r)]
                watched.look()
                for _ in range(8):
                    try:
                        await s.get(0.02)
                    except aioresp.RedisError as error:
                        watched.see(error)
                waiting = asyncio.ensure_future(s.get())
                await asyncio.sleep(0)
                watched.look()
                waiting.cancel()
                await asyncio.wait([waiting])
            await watched.fails(s.get())
        last = r.subscribe(prefix)
        await last.__aenter__()
        await other.publish(prefix, VALUE)
        await until(lambda: last.waiting)
    watched.look()
    assert "read too slowly" in watched.caplog.text
    assert {type(error) for error in watched.errors} > {aioresp.DecodeError, aioresp.SubscriptionOverflow}


async def test_a_connection_of_subscriptions_that_is_lost(
    watched: Watched, behind: Proxy, other: Client[str], prefix: str, options: Any
) -> None:
    given = Credentials(None, PASSWORD, renew_after=0.05)
    options.update(password=None, credential_provider=lambda: given, timeout=3)
    async with Client(behind.url, **options) as r, r.subscribe(prefix, gaps=True) as s:
        for garbage in (
            b"",
            f"+{VALUE}\r\n".encode(),
            b"-ERR nobody asked\r\n",
            f"*3\r\n${len(VALUE)}\r\n{VALUE}\r\n$1\r\nc\r\n+{VALUE}\r\n".encode(),
            f"*3\r\n$7\r\nmessage\r\n*1\r\n+{VALUE}\r\n+{VALUE}\r\n".encode(),
            f"*3\r\n$9\r\nsubscribe\r\n+{VALUE}\r\n:1\r\n".encode(),
            f"*1\r\n+{VALUE}\r\n".encode(),
            f"?{VALUE}\r\n".encode(),
            f"${VALUE}\r\n".encode(),
        ):
            await other.publish(prefix, VALUE)
            await until(lambda: s.waiting)
            if garbage:
                behind.inject(garbage)
            else:
                behind.cut(rst=True)
            watched.look()
            while not isinstance(await s.get(5), Gap):
                pass
        behind.refuse()
        behind.cut()
        await asyncio.sleep(0.1)
        watched.look()
        await watched.fails(_enter(r.subscribe(f"{prefix}x")))
        behind.heal()
        while not isinstance(await s.get(5), Gap):
            pass
    assert "was lost" in watched.caplog.text


async def _enter(context: Any) -> None:
    async with context:
        pass


async def test_who_may_not_listen(watched: Watched, locked: Server, other: Client[str], options: Any) -> None:
    allowed: Any = {"commands": ["+subscribe", "+publish"], "reset_channels": True}
    await other.acl_setuser("deaf", True, reset=True, passwords=f"+{PASSWORD}-2", **allowed)
    wrong: list[Any] = [
        {"password": f"{PASSWORD}-x"},
        {"username": "deaf", "password": f"{PASSWORD}-2"},
        {"password": None, "credential_provider": lambda: (PASSWORD, PASSWORD, PASSWORD)},
        {"password": None, "credential_provider": _raises},
        {"password": None},
    ]
    for more in wrong:
        given: Any = {**options, "retry": None, **more}
        async with Client(locked.url, **given) as r:
            ways: list[Any] = [r.subscribe("c"), r.psubscribe("c"), r.keyspace_events(), r.monitor()]
            for way in ways:
                await watched.fails(_enter(way))
                watched.shown.append(repr(way))


def _raises() -> str:
    raise ValueError("no")


async def test_names_of_channels_are_shortened(watched: Watched, locked: Server, options: Any) -> None:
    long = "c" * 1000
    async with Client(locked.url, **options) as r, r.subscribe(long, buffer=1) as s:
        for _ in range(3):
            await r.publish(long, VALUE)
        await until(lambda: s.dropped == 2)
        watched.shown += [repr(s), *(repr(topic) for topic in s._topics.values())]
        watched.look()
    async with hostile(says(b"-ERR no\r\n")) as url, Client(url) as r:
        error = await watched.fails(_enter(r.subscribe(long)))
        assert len(error.key) <= KEY_SHOWN + 3
    assert "c" * 100 not in "".join(watched.texts())


def test_what_is_no_channel(watched: Watched, locked: Server) -> None:
    r: Any = Client(locked.url)
    for wrong in (Odd(), [VALUE], {VALUE: VALUE}, VALUE + "\ud800"):
        watched.refuses(partial(r.subscribe, "c", wrong))
        watched.refuses(partial(r.psubscribe, wrong))
        watched.refuses(partial(r.ssubscribe, wrong))
        watched.refuses(partial(r.keyspace_events, wrong))
        watched.refuses(partial(r.stream_reader, wrong), TypeError, ValueError, AttributeError)
        watched.refuses(partial(r.group_reader, "g", "c", wrong), TypeError, ValueError, AttributeError)


# --- Keyspace notifications and MONITOR ------------------------------------------------------------------------------


async def test_keyspace_events(watched: Watched, behind: Proxy, other: Client[str], prefix: str, options: Any) -> None:
    async with Client(behind.url, **options) as r:
        await other.config_set("notify-keyspace-events", "")
        await watched.fails(_enter(r.keyspace_events()))
        await other.config_set("notify-keyspace-events", "KA")
        async with r.keyspace_events(f"{prefix}*", db="*", gaps=True, buffer=2) as s:
            for _ in range(5):
                await other.set(f"{prefix}k", VALUE)
                await other.lpush(f"{prefix}l", VALUE)
            await other.publish(f"__keyspace@{VALUE}__:{prefix}", VALUE)
            await until(lambda: s.dropped)
            watched.shown.append(repr(s))
            watched.look()
            behind.cut()
            while not isinstance(await s.get(5), Gap):
                pass


async def test_monitor(watched: Watched, behind: Proxy, other: Client[str], prefix: str, options: Any) -> None:
    """It sees everything, and shows it to who reads it alone."""
    async with Client(behind.url, **options) as r:
        async with r.monitor(buffer=2) as monitor:
            for _ in range(5):
                await other.set(f"{prefix}k", VALUE)
            await watched.fails(other.call("SET", f"{prefix}k", VALUE, VALUE))
            await until(lambda: monitor.dropped)
            watched.shown += [repr(monitor), repr(r)]
            watched.look()
            await monitor.get()
        await watched.fails(monitor.get())
        for garbage in (f"+{VALUE}\r\n", f'+1.1 [{VALUE}] "set" "{VALUE}"\r\n', f"*1\r\n+{VALUE}\r\n", f"?{VALUE}\r\n"):
            async with r.monitor() as monitor:
                behind.inject(garbage.encode())
                await watched.fails(_all(monitor))
        async with r.monitor(buffer=1, overflow="close") as monitor:
            for _ in range(3):
                await other.set(f"{prefix}k", VALUE)
            await watched.fails(_all(monitor))
        async with r.monitor() as monitor:
            behind.cut(rst=True)
            await watched.fails(_all(monitor))


async def _all(items: AsyncIterator[Any]) -> None:
    async for _ in items:
        pass


# --- Readers of streams ----------------------------------------------------------------------------------------------


async def test_readers_of_streams(
    watched: Watched, behind: Proxy, other: Client[str], prefix: str, options: Any
) -> None:
    name = f"{prefix}s"

    async def fill() -> None:
        for data in (VALUE, BAD, VALUE):
            await other.xadd(name, {VALUE: data})

    options["timeout"] = 3  # also the time for a connection, which a busy machine may take a second to make
    async with Client(behind.url, **options) as r:
        makes: list[Callable[[], Any]] = [
            lambda: r.stream_reader(name, last_id="0", block=200),
            lambda: r.group_reader("g", "c", name, start="0", block=200),
            lambda: r.group_reader("g", "d", name, start="0", block=200, min_idle=50),
        ]
        for make in makes:
            await fill()
            async with make() as reader:
                for turn in range(3):
                    try:
                        entry = await anext(reader)
                        assert VALUE in entry.fields
                    except aioresp.DecodeError as error:
                        watched.see(error)
                    watched.shown += [repr(reader), repr(r)]
                    watched.look()
                    if turn == 1:
                        behind.cut(rst=True)
                behind.refuse()
                behind.cut()
                call = asyncio.ensure_future(_until_stopped(reader))
                await asyncio.sleep(0.1)
                watched.look()
                behind.heal()
                await fill()
                for _ in range(2):
                    behind.cut()
                    await asyncio.sleep(0.05)
                call.cancel()
                with contextlib.suppress(asyncio.CancelledError, aioresp.RedisError):
                    await call
        await other.delete(name)
        await other.set(name, VALUE)
        failing: list[Callable[[], Awaitable[Any]]] = [partial(_first_of, make) for make in makes]
        for fail in failing:
            await watched.fails(fail())
    assert any("goes on" in record.getMessage() for record in watched.caplog.records)
    assert any(isinstance(error, aioresp.DecodeError) for error in watched.errors)


async def _until_stopped(reader: Any) -> None:
    while True:
        with contextlib.suppress(aioresp.DecodeError):
            await anext(reader)


async def _first_of(make: Callable[[], Any]) -> None:
    async with make() as reader:
        await anext(reader)
