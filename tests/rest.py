"""What must be true after anything went wrong: nothing is under way, nothing leaked, replies reach who asked."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from aioresp import Client

#: Turns of the event loop in which a client has to be at rest.
TURNS = 5


async def until(reached: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for what a busy machine may take long to reach; fail after some seconds."""
    with anyio.fail_after(seconds):
        while not reached():
            await asyncio.sleep(0.005)


async def at_rest(r: Client[str], seconds: float = 20.0) -> None:
    """Wait until nothing is under way; fail if that takes too long.

    It has to last for some turns of the loop: what is reported, closed or forgotten at an end may be so a turn later.
    """
    with anyio.fail_after(seconds):
        turns = 0
        while turns < TURNS:
            busy = any((r.stats().in_flight, r.stats().waiting, r.stats().leased))
            turns = 0 if busy else turns + 1
            await asyncio.sleep(0.01 if busy else 0)


async def in_step(r: Client[str], times: int = 20) -> None:
    """Check that replies still reach those who asked, on every connection."""
    payloads = [f"{n}:{random.random()}" for n in range(times)]
    assert await asyncio.gather(*(r.echo(payload) for payload in payloads)) == payloads


def tasks_besides() -> set[asyncio.Task[Any]]:
    """Return all tasks but this one and those of the test runner."""
    return {
        task
        for task in asyncio.all_tasks()
        if task is not asyncio.current_task() and "TestRunner" not in repr(task.get_coro())
    }


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Check that what happens within leaves no task and no descriptor behind."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0):
        pass  # uvloop keeps one more from a loop's first socket on
    await asyncio.sleep(0.001)
    tasks, open_files = tasks_besides(), descriptors()
    yield
    for _ in range(200):
        if tasks_besides() <= tasks and descriptors() <= open_files:
            break
        await asyncio.sleep(0.01)
    assert tasks_besides() <= tasks
    assert descriptors() <= open_files
