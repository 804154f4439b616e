"""The types of the client itself, and of what asyncio makes of its commands. Checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar, assert_type

from aioresp import (
    ArgumentError,
    ArgumentTypeError,
    Client,
    Credentials,
    Key,
    Lease,
    PoolStats,
    RedisError,
    Result,
    Retry,
    Stats,
    Value,
)
from aioresp.commands import Commands

T = TypeVar("T", bound=str | bytes)


def constructors(url: str, context: ssl.SSLContext) -> None:
    assert_type(Client(), Client[str])
    assert_type(Client(url), Client[str])
    assert_type(Client(url, decode_responses=True), Client[str])
    assert_type(Client(decode_responses=False), Client[bytes])
    assert_type(Client(url, decode_responses=False), Client[bytes])
    assert_type(Client.from_url(url), Client[str])
    assert_type(Client.from_url(url, decode_responses=True), Client[str])
    assert_type(Client.from_url(url, decode_responses=False), Client[bytes])
    assert_type(
        Client(
            url,
            host="localhost",
            port=6379,
            db=0,
            username="me",
            password="pw",
            credential_provider=None,
            unix_socket_path=None,
            ssl=True,
            ssl_context=context,
            limit=10,
            concurrency=1,
            idle_timeout=None,
            max_age=timedelta(minutes=10),
            timeout=0.5,
            connect_timeout=5,
            protocol=2,
            client_name="me",
        ),
        Client[str],
    )


def annotated() -> None:
    """A variable with a declared type takes what the constructor makes."""
    text: Client[str] = Client()
    raw: Client[bytes] = Client(decode_responses=False)
    assert_type(text, Client[str])
    assert_type(raw, Client[bytes])


def views(r: Client[str], b: Client[bytes]) -> None:
    assert_type(r.with_options(), Client[str])
    assert_type(r.with_options(timeout=0.2), Client[str])
    assert_type(r.with_options(timeout=None), Client[str])
    assert_type(r.with_options(decode_responses=True), Client[str])
    assert_type(r.with_options(decode_responses=False), Client[bytes])
    assert_type(r.with_options(decode_responses=False, timeout=1), Client[bytes])
    assert_type(b.with_options(), Client[bytes])
    assert_type(b.with_options(timeout=1), Client[bytes])
    assert_type(b.with_options(decode_responses=True), Client[str])
    assert_type(b.with_options(decode_responses=True, timeout=None), Client[str])
    assert_type(b.with_options(decode_responses=False), Client[bytes])


async def contexts(url: str) -> None:
    async with Client(url) as r:
        assert_type(r, Client[str])
    async with Client(url, decode_responses=False) as b:
        assert_type(b, Client[bytes])
        async with b.connection() as c:
            assert_type(c, Lease[bytes])
            assert_type(await c.get("k"), bytes | None)
            assert_type(await c.call("GET", "k"), Any)
    assert_type(await r.aclose(), None)


def stats(r: Client[str]) -> None:
    assert_type(r.stats(), Stats)
    assert_type(r.stats().made, int)
    assert_type(r.stats().loops, tuple[PoolStats, ...])


async def results(r: Client[str]) -> None:
    _ = assert_type(r.get("k"), Result[str | None])
    _ = assert_type(r.get("k"), Coroutine[Any, Any, str | None])
    _ = assert_type(r.call("GET", "k"), Result[Any])
    assert_type(await r.call("OBJECT", "ENCODING", b"k", 1, 1.5), Any)
    coroutine: Coroutine[Any, Any, str | None] = r.get("k")
    awaitable: Awaitable[str | None] = coroutine
    assert_type(await awaitable, str | None)


async def with_asyncio(r: Client[str], b: Client[bytes]) -> None:
    assert_type(asyncio.create_task(r.get("k")), "asyncio.Task[str | None]")
    assert_type(await asyncio.create_task(b.get("k")), bytes | None)
    assert_type(await asyncio.wait_for(r.get("k"), 1), str | None)
    assert_type(await asyncio.shield(r.incr("k")), int)
    assert_type(await asyncio.gather(r.get("a"), r.incr("b")), tuple[str | None, int])
    assert_type(await asyncio.gather(r.get("a"), b.get("b"), r.set("c", 1)), tuple[str | None, bytes | None, bool])
    assert_type(await asyncio.gather(*(r.get(k) for k in "ab")), list[str | None])
    assert_type(
        await asyncio.gather(r.get("a"), r.incr("b"), return_exceptions=True),
        tuple[str | BaseException | None, int | BaseException],
    )
    async with asyncio.TaskGroup() as tg:
        task = tg.create_task(r.incr("x"))
        tg.create_task(r.set("k", "v", ex=1), name="setter")
    assert_type(task, "asyncio.Task[int]")
    assert_type(task.result(), int)
    async with asyncio.timeout(1):
        assert_type(await r.hgetall("h"), dict[str, str])
    done, _ = await asyncio.wait([asyncio.create_task(r.get(k)) for k in "ab"])
    assert_type(done, "set[asyncio.Task[str | None]]")
    future = asyncio.run_coroutine_threadsafe(r.get("k"), asyncio.get_running_loop())
    assert_type(future.result(), str | None)
    assert_type(asyncio.run(r.get("k")), str | None)


async def for_any_client(r: Client[T], key: Key, value: Value) -> T | None:
    """Code that does not care about the decoding is generic over it."""
    await r.set(key, value)
    assert_type(await r.mget(key), list[T | None])
    return await r.get(key)


async def for_whoever_sends(c: Commands[T]) -> set[T]:
    """A client and a lease are both commands, and so can be what a function takes."""
    return await c.smembers("s")


async def both_are_commands(r: Client[str], lease: Lease[bytes]) -> None:
    assert_type(await for_any_client(r, "k", 1), str | None)
    assert_type(await for_whoever_sends(r), set[str])
    assert_type(await for_whoever_sends(lease), set[bytes])


class Provider:
    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        return ("me", "pw")


async def provider() -> Credentials:
    return Credentials("me", "pw", renew_after=60)


def providers() -> None:
    assert_type(Client(credential_provider=lambda: "pw"), Client[str])
    assert_type(Client(credential_provider=lambda: ("me", "pw")), Client[str])
    assert_type(Client(credential_provider=provider), Client[str])
    assert_type(Client(credential_provider=Provider(), decode_responses=False), Client[bytes])
    Client(credential_provider="pw")  # type: ignore[call-overload]
    Client(credential_provider=lambda: 1)  # type: ignore[arg-type, return-value]


def durations(r: Client[str]) -> None:
    hour = timedelta(hours=1)
    assert_type(Client(timeout=hour, connect_timeout=hour, idle_timeout=hour, slow_after=hour), Client[str])
    assert_type(r.with_options(timeout=hour), Client[str])
    assert_type(Retry(base=hour, cap=hour).cap, float)
    Client(timeout="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def mistakes(r: Client[str]) -> None:
    """What an error says at run time, checkers say before."""
    try:
        await r.get("k")
    except ArgumentTypeError as error:
        _kind: tuple[ArgumentError, TypeError] = (error, error)
    except ArgumentError as error:
        _value: tuple[RedisError, ValueError] = (error, error)
    r.pubsub()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    r.gett("k")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    r.pipeline().set("k", "v").get("k")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    Client("localhost", 6379)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    Client(max_connections=10)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
