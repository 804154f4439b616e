"""A queue for tests: its tasks, its journal, workers in processes of their own, and broken versions of its scripts.

Owns the process that forks the workers: to start Python and import the package takes longer than most of them live.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aioresp import Client
from aioresp.recipes import Again, Discard, Queue, Snooze, Worker, running
from aioresp.recipes.queue import books
from aioresp.recipes.queue.hand import Hand
from tests.snippets import ROOT

#: Script, text and another text in its place. CLOCK in it stands for the seconds by which a worker's clock is off.
Mutation = tuple[str, str, str]

#: Seconds within which anything happens on a busy machine.
SOON: Final = 20.0


#: Jobs that wait for each other: more than two workers of five hands have.
RELAYS: Final = 11


class Lab:
    """A queue with tasks that write a journal: a list with a word for each beginning and each end."""

    def __init__(
        self,
        redis: Client[Any],
        name: str,
        *,
        lease: float = 0.5,
        timeout: float = 30.0,
        aside: Client[Any] | None = None,
    ) -> None:
        #: The client of the journal, `aside` if the other one loses connections.
        self.redis: Client[str] = (aside or redis).with_options(decode_responses=True, idempotent=True)
        self.name = name
        self.queue = Queue(redis, name)
        task = self.queue.task(lease=lease, timeout=timeout, backoff=(0.01, 0.02), retries=2)

        @task
        async def note(n: int) -> int:
            await self._write(f"note {n}")
            return n

        @task
        async def quick(n: int) -> int:
            self.ran[n] += 1
            return n

        @task
        async def hold(n: int) -> int:
            await self._write(f"began {n}")
            await self.redis.blpop(f"{self.name}:go:{n}", timeout=60)
            await self._write(f"ended {n}")
            return n

        @task
        async def relay(n: int) -> None:
            await self.redis.incr(f"{self.name}:relays")
            while int(await self.redis.get(f"{self.name}:relays") or 0) < RELAYS:
                await asyncio.sleep(0.02)
            await note.options(delay=0.1).enqueue(n)

        @task
        async def poison() -> None:
            await self._write("began poison")
            os.kill(os.getpid(), signal.SIGKILL)

        @task
        async def hog(seconds: float) -> None:
            await self._write("began hog")
            time.sleep(seconds)
            await self._write("ended hog")

        @task
        async def ends(how: str) -> str:
            await self._write(f"{how} {running().attempt}")
            if how == "fails" or (how == "fails once" and running().attempt == 1):
                raise ValueError("it fails")
            if how == "again" and running().attempt == 1:
                raise Again(delay=0.01)
            if how == "snoozes" and await self.redis.incr(f"{self.name}:snoozed") < 3:
                raise Snooze(0.01)
            if how == "gives up":
                raise Discard("no use")
            if how == "cancels itself":
                raise asyncio.CancelledError
            return how

        self.note, self.quick, self.hold, self.poison, self.hog, self.ends = note, quick, hold, poison, hog, ends
        self.relay = relay
        #: How often `quick` has run, by its argument, in this process.
        self.ran: Counter[int] = Counter()

    async def _write(self, word: str) -> None:
        await self.redis.rpush(f"{self.name}:journal", word)

    async def journal(self) -> list[str]:
        return await self.redis.lrange(f"{self.name}:journal", 0, -1)

    async def until(self, *words: str, seconds: float = SOON) -> list[str]:
        """Wait until the journal has all these words."""
        async with asyncio.timeout(seconds):
            while Counter(words) - Counter(journal := await self.journal()):
                await asyncio.sleep(0.01)
        return journal

    async def at_rest(self, seconds: float = SOON) -> None:
        """Wait until no job waits, is delayed or runs."""
        async with asyncio.timeout(seconds):
            while (counts := await self.queue.counts()).waiting or counts.delayed or counts.running:
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def working(self, concurrency: int = 5, grace: float = 5.0) -> AsyncIterator[Worker]:
        """A worker that runs during the block."""
        async with self.queue.worker(concurrency=concurrency, grace=grace) as worker:
            run = asyncio.create_task(worker.run())
            try:
                yield worker
            finally:
                worker.stop()
                await run

    async def keys_without_owner(self) -> list[str]:
        """Return the keys of the queue that nothing will ever delete."""
        root = self.queue.books.root
        jobs: set[str] = set()
        for zset in ("delayed", "leases", "dead"):
            jobs |= set(await self.redis.zrange(f"{root}{zset}", 0, -1))
        for line in self.queue.books.keys[5:]:
            jobs |= set(await self.redis.lrange(line, 0, -1))
        owned = {f"{root}job:{id}" for id in jobs}
        lines = {key for key in self.queue.books.keys if not key.endswith(("wake", "unique"))}
        found = [key async for key in self.redis.scan_iter(match=f"{root}*")]
        lasting = [key for key in found if key not in owned | lines and await self.redis.ttl(key) == -1]
        for unique, id in (await self.redis.hgetall(f"{root}unique")).items():
            if id not in jobs:
                lasting.append(f"unique {unique}")
        return [key for key in lasting if not (key.endswith("}:unique") and jobs)]


# --- Broken versions --------------------------------------------------------------------------------------------------


@contextmanager
def broken(mutation: Mutation | None) -> Iterator[None]:
    """Replace a text in a script of the queue during the block, for books that are made in it."""
    if mutation is None:
        yield
        return
    name, old, new = mutation
    real: Callable[[str], str] = vars(books)["text"]

    def text(script: str) -> str:
        whole = real(script)
        if script == f"queue/scripts/{name}":
            assert whole.count(old) == 1, f"{name}.lua has this text {whole.count(old)} times: {old}"
            whole = whole.replace(old, new)
        return whole

    setattr(books, "text", text)  # noqa: B010 (it is imported there, not offered)
    try:
        yield
    finally:
        setattr(books, "text", real)  # noqa: B010


def _forget_deadlines() -> None:
    """Jobs have no deadline: neither the timer nor the renewal of leases watches it."""
    made: Callable[..., None] = vars(Hand)["__init__"]
    setattr(Hand, "__init__", lambda self, taken, lease, _: made(self, taken, lease, float("inf")))  # noqa: B010


def _reckon_delays() -> None:
    """An enqueue adds its delay to the client's clock, as queues of others do."""
    right: Callable[..., Awaitable[str]] = vars(books.Books)["put"]

    async def put(self: books.Books, priority: int, fields: tuple[Any, ...]) -> str:
        id, due, delay, *rest = fields
        if int(delay):
            due, delay = round(time.time() * 1000) + int(delay), 0
        return await right(self, priority, (id, due, delay, *rest))

    setattr(books.Books, "put", put)  # noqa: B010


#: Mutations that are no text of a script, by a word that a process can be told.
CHANGES: Final[dict[str, Callable[[], None]]] = {
    "forget deadlines": _forget_deadlines,
    "reckon delays": _reckon_delays,
}


# --- Workers in processes of their own --------------------------------------------------------------------------------


class Nursery:
    """A process that forks workers, which are killed by their process id."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.recipes.queue_kit"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._pids: list[int] = []

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def worker(self, url: str, name: str, **options: Any) -> int:
        """Start a worker of that lab's queue; return its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([url, name, options]), file=self._process.stdin, flush=True)
        self._pids.append(int(self._process.stdout.readline()))
        return self._pids[-1]

    def kill_all(self) -> None:
        """Kill all workers."""
        while self._pids:
            self.kill(self._pids.pop())

    @staticmethod
    def kill(pid: int, number: int = signal.SIGKILL) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


async def _child(
    url: str, name: str, concurrency: int = 5, lease: float = 0.5, timeout: float = 30.0, clock: float = 0.0,
    mutation: Mutation | str | None = None,
) -> None:  # fmt: skip
    if clock:
        real = time.time
        time.time = lambda: real() + clock
    if isinstance(mutation, str):
        CHANGES[mutation]()
        mutation = None
    elif mutation is not None:
        mutation = mutation[0], mutation[1], mutation[2].replace("CLOCK", f"{clock:.0f}")
    with broken(mutation):
        async with Client(url) as redis:
            lab = Lab(redis, name, lease=lease, timeout=timeout)
            async with lab.queue.worker(concurrency=concurrency, grace=5) as worker:
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
                await worker.run()


def _boot() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        url, name, options = json.loads(line)
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            asyncio.run(_child(url, name, **options))
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    _boot()
