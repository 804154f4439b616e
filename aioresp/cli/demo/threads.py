"""Threaded round of the demo: one client, five threads, an event loop in each.

Owns the threads and their loops, which live across both rounds, because a pool lives as long as its loop. Never
prints.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

from aioresp import Client
from aioresp.cli.demo.tally import Tally
from aioresp.cli.demo.ways import LIMIT, all_at_once
from aioresp.cli.target import Target

T = TypeVar("T")

THREADS = 5
ROUNDS = 2


class LoopThread:
    """A thread that runs an event loop from entering to leaving."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> LoopThread:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the thread and return its result; cancelling reaches it, and waits until it has ended."""
        here = asyncio.get_running_loop()
        ended: asyncio.Future[None] = here.create_future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            tasks.append(self._loop.create_task(work))
            tasks[0].add_done_callback(lambda _: here.call_soon_threadsafe(ended.set_result, None))

        self._loop.call_soon_threadsafe(start)
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError:
            # Not left behind: the client is closed next, which would fail commands still in flight.
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            await asyncio.wait([ended])
            raise
        return tasks[0].result()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


async def run_threads(target: Target, keys: Sequence[str], tally: Tally) -> list[tuple[float, int]]:
    """Send a SET for each key in two rounds, a fifth of each round in each thread, all through one client.

    Return the seconds of each round, and the connections that the client made in it.
    """
    share = len(keys) // (THREADS * ROUNDS)
    shares = [keys[start : start + share] for start in range(0, len(keys), share)]
    rounds: list[tuple[float, int]] = []
    with ExitStack() as stack:
        threads = [stack.enter_context(LoopThread(f"aioresp demo {n}")) for n in range(1, THREADS + 1)]
        # Left before the threads are: it closes the pool of each loop in that loop.
        async with target.client(limit=LIMIT, concurrency=1, timeout=None, retry=None) as client:
            tally.watch(client)
            for _ in range(ROUNDS):
                began, made = perf_counter(), tally.made
                await _round(threads, client, [shares.pop() for _ in threads], tally)
                rounds.append((perf_counter() - began, tally.made - made))
    return rounds


async def _round(
    threads: Sequence[LoopThread], client: Client[str], shares: Sequence[Sequence[str]], tally: Tally
) -> None:
    async with asyncio.TaskGroup() as group:
        for thread, share in zip(threads, shares, strict=True):
            group.create_task(thread.run(all_at_once(client, share, tally)))


def sets_of_threads(count: int) -> int:
    """Return how many SETs the threads send in all: about `count`, and for each at least what fills its pool."""
    return THREADS * ROUNDS * max(2 * LIMIT, count // (THREADS * ROUNDS))
