"""The scenarios: the same code for every client, given nothing but its bound methods.

A scenario makes a coroutine function `go(n)` out of a client; it does the scenario's unit of work `n` times.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import hiredis

from . import floor as bare
from .clients import Bound

Go = Callable[[int], Awaitable[None]]
Method = Callable[[Any], Awaitable[Any]]

PREFIX = "aioresp-benchmark:"
VALUE = "v" * 32
BIG = b"\xff\x00\r\n" * (1 << 18)  # 1 MiB that is not UTF-8
KEY, BIG_KEY, HASH = PREFIX + "key", PREFIX + "big", PREFIX + "hash"
KEYS = [f"{PREFIX}key:{n}" for n in range(100)]
FRESH = [f"{PREFIX}set:{n}" for n in range(10_000)]
CHANNEL = PREFIX + "channel"
PUBLISHED = hiredis.pack_command(("PUBLISH", CHANNEL, VALUE)) * 1_000
FIELDS = {f"field:{n}": VALUE for n in range(1_000)}


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    tasks: int
    make: Callable[[Bound], Go]
    operations: int  # in one unit of work
    check: Callable[[Bound], Awaitable[tuple[Any, Any]]]  # (what came, what should)
    decode: bool = True
    unit: str = "ops/s"
    once: bool = False  # one unit a slice, however short


def calls(tasks: int, choose: Callable[[Bound], Method], argument: Any) -> Callable[[Bound], Go]:
    """Have `tasks` tasks call one method, one call after the other."""

    def make(bound: Bound) -> Go:
        call = choose(bound)

        async def one(n: int) -> None:
            for _ in range(n):
                await call(argument)

        async def go(n: int) -> None:
            await asyncio.gather(*[one(n) for _ in range(tasks)])

        return go

    return make


def _tasks(bound: Bound) -> Go:
    """Give each call a task, as `create_task(client.set(...))` does.

    What is no coroutine (the floor's future, the request of coredis) is awaited by one, as its users must.
    """
    set_ = bound.set

    async def wait(key: str, value: str) -> None:
        await set_(key, value)

    call = set_ if bound.coroutines else wait

    async def go(n: int) -> None:
        create_task: Callable[[Any], asyncio.Task[Any]] = asyncio.create_task
        for _ in range(n):
            for task in [create_task(call(key, VALUE)) for key in FRESH]:
                await task

    return go


def _gather(bound: Bound) -> Go:
    get = bound.get

    async def go(n: int) -> None:
        for _ in range(n):
            await asyncio.gather(*[get(KEY) for _ in range(1_000)])

    return go


def pipelines(size: int, tasks: int) -> Callable[[Bound], Go]:
    """Have `tasks` tasks send pipelines of `size` commands, one after the other."""

    def make(bound: Bound) -> Go:
        pipeline = bound.pipeline

        async def one(n: int) -> None:
            for _ in range(n):
                await pipeline(KEY, size)

        async def go(n: int) -> None:
            await asyncio.gather(*[one(n) for _ in range(tasks)])

        return go

    return make


def _messages(bound: Bound) -> Go:
    """Have one subscriber read what is published, 1,000 messages at a time; publishing costs each client the same."""
    loop = asyncio.get_running_loop()
    address = urlsplit(bound.url)

    async def go(n: int) -> None:
        where = address.hostname, address.port or 6379
        transport, _ = await loop.create_connection(asyncio.Protocol, *where)
        try:
            async with bound.subscribe(CHANNEL) as take:
                for _ in range(n):
                    transport.write(PUBLISHED)
                await take(n * 1_000)
        finally:
            transport.close()

    return go


def _subscriptions(bound: Bound) -> Go:
    """Set up 1,000 subscriptions at a time, to a channel each, and leave them again."""

    async def one(channel: str, entered: asyncio.Semaphore, leave: asyncio.Event) -> None:
        async with bound.subscribe(channel):
            entered.release()
            await leave.wait()

    async def go(n: int) -> None:
        for _ in range(n):
            entered, leave = asyncio.Semaphore(0), asyncio.Event()
            tasks = [asyncio.create_task(one(f"{CHANNEL}:{k}", entered, leave)) for k in range(1_000)]
            for _ in tasks:
                await entered.acquire()
            leave.set()
            await asyncio.gather(*tasks)

    return go


def _text(bound: Bound, value: Any) -> Any:
    """Bring the replies of a client that only knows bytes to text; of any other they must be text already."""
    if bound.texts:
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {_text(bound, key): _text(bound, item) for key, item in value.items()}
    return [_text(bound, item) for item in value] if isinstance(value, (list, tuple)) else value


async def _check_get(bound: Bound) -> tuple[Any, Any]:
    return _text(bound, await bound.get(KEY)), VALUE


async def _check_set(bound: Bound) -> tuple[Any, Any]:
    answer = await bound.set(FRESH[0], VALUE[::-1])
    return (answer in (True, "OK"), _text(bound, await bound.get(FRESH[0]))), (True, VALUE[::-1])


async def _check_pipeline(bound: Bound) -> tuple[Any, Any]:
    return _text(bound, await bound.pipeline(KEY, 3)), [VALUE] * 3


async def _check_mget(bound: Bound) -> tuple[Any, Any]:
    return list(_text(bound, await bound.mget(KEYS))), [VALUE] * len(KEYS)


async def _check_hgetall(bound: Bound) -> tuple[Any, Any]:
    return _text(bound, await bound.hgetall(HASH)), FIELDS


async def _check_big(bound: Bound) -> tuple[Any, Any]:
    answer = await bound.set(BIG_KEY, BIG)
    return (answer in (True, "OK", b"OK"), await bound.get(BIG_KEY)), (True, BIG)


async def _check_messages(bound: Bound) -> tuple[Any, Any]:
    publisher = await bare.connect(bound.url)
    async with bound.subscribe(CHANNEL) as take:
        for data in ("first", "second"):
            await publisher.send("PUBLISH", CHANNEL, data)
        last = await take(2)
    publisher.transport.close()
    return _text(bound, last), "second"


def _get(tasks: int) -> Scenario:
    title = "GET, 1 task" if tasks == 1 else f"GET, {tasks} tasks"
    return Scenario(f"get-{tasks}", title, tasks, calls(tasks, lambda b: b.get, KEY), tasks, _check_get)


def _big(name: str, title: str, choose: Callable[[Bound], Method], argument: Any) -> Scenario:
    make = calls(8, choose, argument)
    return Scenario(name, f"{title} of 1 MiB, 8 tasks", 8, make, 8, _check_big, decode=False, unit="MiB/s")


_mget = calls(20, lambda b: b.mget, KEYS)
_hgetall = calls(20, lambda b: b.hgetall, HASH)
_ALL = (
    _get(1),
    _get(50),
    _get(500),
    Scenario("tasks-10000", "10,000 tasks, one SET each", 10_000, _tasks, 10_000, _check_set, once=True),
    Scenario("gather-1000", "`gather` of 1,000 GETs", 1_000, _gather, 1_000, _check_get),
    Scenario("pipeline-100", "pipeline of 100 GETs, 1 task", 1, pipelines(100, 1), 100, _check_pipeline),
    Scenario("pipeline-10000", "pipeline of 10,000 GETs, 1 task", 1, pipelines(10_000, 1), 10_000, _check_pipeline),
    Scenario("mget", "MGET of 100, 20 tasks", 20, _mget, 20, _check_mget),
    Scenario("hgetall", "HGETALL of 1,000 fields, 20 tasks", 20, _hgetall, 20, _check_hgetall),
    Scenario("messages", "messages to one subscriber", 1, _messages, 1_000, _check_messages, unit="messages/s"),
    Scenario("subscriptions", "1,000 subscriptions set up", 1_000, _subscriptions, 1_000, _check_messages, once=True),
    _big("get-1mib", "GET", lambda b: b.get, BIG_KEY),
    _big("set-1mib", "SET", lambda b: partial(b.set, BIG_KEY), BIG),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}


@asynccontextmanager
async def data(url: str) -> AsyncIterator[str]:
    """Write the keys that the scenarios read, yield the server's version, and delete them at the end."""
    connection = await bare.connect(url)
    information = await connection.send("INFO", "server")
    facts = dict(line.split(":", 1) for line in information.splitlines() if ":" in line)
    flavour = "Valkey" if "valkey_version" in facts else "Redis"
    await connection.send("SET", KEY, VALUE)
    await connection.send("MSET", *(part for key in KEYS for part in (key, VALUE)))
    await connection.send("HSET", HASH, *(part for pair in FIELDS.items() for part in pair))
    try:
        yield f"{flavour} {facts.get('valkey_version') or facts.get('redis_version')}"
    finally:
        await connection.send("DEL", KEY, BIG_KEY, HASH, *KEYS, *FRESH)
        connection.transport.close()
