"""What must be true after anything went wrong: nothing is under way, nothing leaked, replies reach who asked."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import anyio

from aioresp import Client


async def at_rest(r: Client[str], seconds: float = 5.0) -> None:
    """Wait until nothing is under way; fail if that takes too long."""
    with anyio.fail_after(seconds):
        while any((r.stats().in_flight, r.stats().waiting, r.stats().leased)):
            await asyncio.sleep(0.01)


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
