"""Tasks that use a client while its primary changes, and what they were told.

Owns the tasks and their notes. Never judges them: tests do.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aioresp import Client, ConnectionLost, Gap, Pipeline, RedisError, WatchError

#: Seconds between two commands of a task, so that a failover costs little processor time.
PACE = 0.03

SCRIPT = "return redis.call('rpush', KEYS[1], ARGV[1])"


class Producer:
    """Tasks that change keys until they are told to stop: a cancelled one may change one more."""

    stopped = False

    def numbers(self) -> Iterator[int]:
        """Return the numbers from 0 on, until it is stopped."""
        return itertools.takewhile(lambda _: not self.stopped, itertools.count())


class Writers(Producer):
    """Tasks that push elements to one list, each in its own way: an element is pushed once at most.

    `moving` leaves out LMOVE, which finds other elements where some are lost.
    """

    def __init__(self, r: Client[str], key: str, *, moving: bool = True) -> None:
        self.acknowledged: list[str] = []
        self.sent: list[str] = []
        self.errors: dict[str, list[RedisError]] = {}
        self.astray: list[tuple[str, str | None]] = []  # what LMOVE should have moved, and what it did
        self.longest = 0.0
        self._r = r
        self._key = key
        script = r.register_script(SCRIPT)
        self._ways: dict[str, Callable[[str], Awaitable[object]]] = {
            "push": lambda element: r.rpush(key, element),
            "eval": lambda element: r.eval(SCRIPT, 1, key, element),
            "script": lambda element: script([key], [element]),
            "pipeline": lambda element: self._pipeline(element, False),
            "transaction": lambda element: self._pipeline(element, True),
            "optimistic": self._optimistic,
            "lease": self._lease,
        }
        if moving:
            self._ways["lmove"] = self._lmove

    async def _pipeline(self, element: str, whole: bool) -> None:
        async with self._r.pipeline(transaction=whole) as p:
            p.incr(f"{self._key}:count")
            p.rpush(self._key, element)

    async def _optimistic(self, element: str) -> None:
        def push(p: Pipeline[str]) -> None:
            p.multi()
            p.rpush(self._key, element)

        await self._r.transaction(push, f"{self._key}:watched")

    async def _lease(self, element: str) -> None:
        """Push within WATCH, MULTI and EXEC, on a lease that lasts for a while."""
        async with self._r.connection() as c, c.pipeline(transaction=True) as p:
            await p.watch(f"{self._key}:watched")
            await asyncio.sleep(0.01)
            p.multi()
            p.rpush(self._key, element)

    async def _lmove(self, element: str) -> None:
        await self._r.rpush(f"{self._key}:source", element)
        moved = await self._r.lmove(f"{self._key}:source", self._key)
        if moved != element:
            self.astray.append((element, moved))

    def tasks(self) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._write(name)) for name in self._ways]

    async def _write(self, way: str) -> None:
        for count in self.numbers():
            element, since = f"{way}:{count}", time.monotonic()
            self.sent.append(element)
            try:
                await self._ways[way](element)
            except RedisError as error:
                self.errors.setdefault(way, []).append(error)
                if way == "lmove":
                    return  # its source may hold an element more
            else:
                self.acknowledged.append(element)
            self.longest = max(self.longest, time.monotonic() - since)
            await asyncio.sleep(PACE)

    async def found(self) -> list[str]:
        return await self._r.lrange(self._key, 0, -1)


class Counter(Producer):
    """A task that counts by INCR and knows what it was told."""

    def __init__(self, r: Client[str]) -> None:
        self.acknowledged = self.unknown = 0
        self.errors: list[RedisError] = []
        self._r = r

    async def run(self) -> None:
        for _ in self.numbers():
            try:
                await self._r.incr("counter")
                self.acknowledged += 1
            except ConnectionLost as error:
                self.errors.append(error)
                self.unknown += error.outcome == "unknown"
            await asyncio.sleep(PACE)


class Reads:
    """A task that reads all the time."""

    def __init__(self, r: Client[str]) -> None:
        self.longest = 0.0
        self.errors: list[RedisError] = []
        self._r = r

    async def run(self) -> None:
        while True:
            since = time.monotonic()
            try:
                await self._r.get("constant")
            except RedisError as error:
                self.errors.append(error)
            self.longest = max(self.longest, time.monotonic() - since)
            await asyncio.sleep(PACE / 2)


class Queue(Producer):
    """A producer of jobs, and consumers that pop them in two ways."""

    def __init__(self, r: Client[str]) -> None:
        self.pushed: list[str] = []
        self.popped: list[str] = []
        self.errors: list[RedisError] = []
        self._r = r

    async def produce(self) -> None:
        for number in self.numbers():
            try:
                await self._r.rpush("jobs", str(number))
                self.pushed.append(str(number))
            except RedisError as error:
                self.errors.append(error)
            await asyncio.sleep(PACE)

    async def consume(self, *, move: bool) -> None:
        while True:
            try:
                if move:
                    item = await self._r.blmove("jobs", "done", 1)
                else:
                    pair = await self._r.blpop(("jobs",), 0)
                    item = None if pair is None else pair[1]
                if item is not None:
                    self.popped.append(item)
            except RedisError as error:
                self.errors.append(error)
                await asyncio.sleep(PACE)


class Ears(Producer):
    """A publisher of numbers and a subscriber, which notes messages and gaps in their order."""

    def __init__(self, r: Client[str]) -> None:
        self.heard: list[int | Gap] = []
        self.listening = asyncio.Event()
        self.published: list[tuple[int, float]] = []  # numbers that somebody has heard, and when they were published
        self.errors: list[RedisError] = []
        self._r = r

    async def listen(self) -> None:
        async with self._r.subscribe("news", gaps=True) as news:
            self.listening.set()
            async for item in news:
                self.heard.append(item if isinstance(item, Gap) else int(item.data))

    async def publish(self) -> None:
        await self.listening.wait()
        for number in self.numbers():
            try:
                await self._r.publish("news", str(number))
                self.published.append((number, time.time()))
            except RedisError as error:
                self.errors.append(error)
            await asyncio.sleep(PACE)


class Stream(Producer):
    """A task that adds entries to a stream, and a reader of it."""

    def __init__(self, r: Client[str]) -> None:
        self.added: list[str] = []
        self.read: list[str] = []
        self.errors: list[RedisError] = []
        self._r = r

    async def add(self) -> None:
        for number in self.numbers():
            try:
                await self._r.xadd("stream", {"n": str(number)})
                self.added.append(str(number))
            except RedisError as error:
                self.errors.append(error)
            await asyncio.sleep(PACE)

    async def follow(self) -> None:
        async with self._r.stream_reader("stream", last_id="0") as entries:
            async for entry in entries:
                self.read.append(entry.fields["n"])


class Holder:
    """A lease that watches a key from before the failover, and is used after it."""

    def __init__(self, r: Client[str]) -> None:
        self.error: RedisError | None = None
        self._r = r

    async def run(self, moved: asyncio.Event) -> None:
        try:
            async with self._r.connection() as c, c.pipeline(transaction=True) as p:
                await p.watch("lease")
                await moved.wait()
                p.multi()
                p.set("lease", "of the old primary")
        except (RedisError, WatchError) as error:
            self.error = error


async def cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and raise the error of one that has failed before."""
    failed = [task for task in tasks if task.done() and not task.cancelled()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in failed:
        task.result()
