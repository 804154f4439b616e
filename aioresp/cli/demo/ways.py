"""Four ways to send 10,000 SETs, as the demo measures them.

Owns the use of `Client` in each way. Never prints, and never looks at the clock but for the latency of a SET.

In each way, all callers exist from the start, each as a task. So a latency begins when the caller wants its SET, and
includes the wait for a turn to connect or for a connection of the pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeAlias

from aioresp import Client
from aioresp.cli.demo.keys import TTL, VALUE
from aioresp.cli.demo.tally import Tally
from aioresp.cli.target import Target

#: Callers that may connect at a time in the ways without a pool: more would want for descriptors, or for `maxclients`.
AT_A_TIME = 100

#: SETs of a job in the second way.
JOB = 20

#: The limit of the classic pool: connections, each with one command at a time.
LIMIT = 10

#: Sends a SET for each key.
Way: TypeAlias = Callable[[Target, Sequence[str], Tally], Awaitable[None]]


async def fresh_connections(target: Target, keys: Sequence[str], tally: Tally) -> None:
    """A fresh connection for each command: a client is made, connects, sends one SET and is closed."""
    turn = asyncio.Semaphore(AT_A_TIME)

    async def one(key: str) -> None:
        wanted = perf_counter()
        async with turn:
            async with target.client(retry=None) as client:
                await client.set(key, VALUE, ex=TTL)
            tally.latencies.append(perf_counter() - wanted)
            tally.closed += client.stats().made

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(one(key))


async def client_for_each_job(target: Target, keys: Sequence[str], tally: Tally) -> None:
    """A new client for each job of 20 SETs, sent one after another."""
    turn = asyncio.Semaphore(AT_A_TIME)

    async def job(names: Sequence[str]) -> None:
        wanted = perf_counter()
        async with turn:
            async with target.client(retry=None) as client:
                for key in names:
                    await client.set(key, VALUE, ex=TTL)
                    now = perf_counter()
                    tally.latencies.append(now - wanted)
                    wanted = now
            tally.closed += client.stats().made

    async with asyncio.TaskGroup() as group:
        for start in range(0, len(keys), JOB):
            group.create_task(job(keys[start : start + JOB]))


async def persistent_pool(target: Target, keys: Sequence[str], tally: Tally) -> None:
    """One client with the classic pool: at most 10 connections, one command on each at a time."""
    # No timeout, because the last caller queues for long. The sampler notices a server that is gone.
    async with target.client(limit=LIMIT, concurrency=1, timeout=None, retry=None) as client:
        tally.watch(client)
        await all_at_once(client, keys, tally)


async def shared_pool(target: Target, keys: Sequence[str], tally: Tally) -> None:
    """One default client: all callers share a connection or two, and their commands are written together."""
    async with target.client(retry=None) as client:
        tally.watch(client)
        await all_at_once(client, keys, tally)


async def all_at_once(client: Client[str], keys: Sequence[str], tally: Tally) -> None:
    """Send a SET for each key, each in a task of its own, all started together."""

    async def one(key: str) -> None:
        wanted = perf_counter()
        await client.set(key, VALUE, ex=TTL)
        tally.latencies.append(perf_counter() - wanted)

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(one(key))


WAYS: tuple[Way, ...] = (fresh_connections, client_for_each_job, persistent_pool, shared_pool)
