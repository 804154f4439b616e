"""A storm of cancellations: replies that arrive are their caller's own, and no connection is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import anyio
import pytest

from aioresp import Client
from aioresp.testing import Proxy, Server
from aioresp.wire.deadlines import SLICE
from tests.rest import at_rest, in_step, tasks_besides


@pytest.fixture(
    params=[
        "debug-short",
        "plain-short",
        *(pytest.param(p, marks=pytest.mark.soak) for p in ("debug-long", "plain-long")),
    ]
)
async def echoes(request: pytest.FixtureRequest, no_debug: None) -> int:
    """How many each of 100 tasks asks for; asyncio's debug mode is too slow for as many."""
    mode, length = request.param.split("-")
    asyncio.get_running_loop().set_debug(mode == "debug")
    return {"debug": {"short": 15, "long": 200}, "plain": {"short": 60, "long": 2000}}[mode][length]


class Storm:
    """Tasks that ECHO payloads nobody else has, a third of them cancelled or timed out in all the ways there are."""

    def __init__(self, r: Client[str], seed: int) -> None:
        self.r = r
        self.random = random.Random(seed)
        self.answered = 0
        self.given_up = 0

    async def worker(self, name: int, echoes: int) -> None:
        for n in range(echoes):
            payload = f"{name}:{n}:" + "x" * self.random.choice((0, 1, 10, 100, 1000))
            how = self.random.randrange(12)
            patience = self.random.choice((0.0, 0.0005, 0.002, 0.01))
            try:
                if how == 0:
                    with anyio.fail_after(patience):
                        await self.ask(payload)
                elif how == 1:
                    async with asyncio.timeout(patience):
                        await self.ask(payload)
                elif how == 2:
                    await asyncio.wait_for(self.ask(payload), patience)
                elif how == 3:
                    task = asyncio.create_task(self.ask(payload))
                    await asyncio.sleep(patience)
                    task.cancel()
                    await task
                elif how == 4:
                    await self.ask(payload, max(patience, 0.0001))
                else:
                    await self.ask(payload)
            except (TimeoutError, asyncio.CancelledError):
                self.given_up += 1

    async def ask(self, payload: str, timeout: float | None = None) -> None:
        view = self.r if timeout is None else self.r.with_options(timeout=timeout)
        assert await view.echo(payload) == payload
        self.answered += 1


@pytest.mark.turns(2)
@pytest.mark.timeout(170)
@pytest.mark.parametrize(("concurrency", "limit"), [(5000, 100), (1, 50)], ids=["shared", "concurrency-1"])
async def test_a_storm_of_cancellations_crosses_no_reply(
    server: Server, concurrency: int, limit: int, echoes: int
) -> None:
    before = tasks_besides()
    async with Proxy(server.host, server.port) as proxy:
        proxy.delay = (0.0, 0.003)
        proxy.split = (1, 8000)
        async with Client(proxy.url, concurrency=concurrency, limit=limit, timeout=60) as r:
            storm = Storm(r, seed=concurrency)
            async with asyncio.TaskGroup() as tg:
                for name in range(100):
                    tg.create_task(storm.worker(name, echoes))
            await at_rest(r)
            await in_step(r)
            stats = r.stats()
            assert storm.answered + storm.given_up == 100 * echoes
            assert 0.1 < storm.given_up / (100 * echoes) < 0.45
            assert (stats.leased, stats.in_flight, stats.waiting) == (0, 0, 0)
            # Nothing was lost on the way: every connection ever made is still open.
            assert stats.open == stats.made <= limit
    assert tasks_besides() <= before


@pytest.mark.parametrize("room", [100_000, 1])
async def test_thousands_who_are_late_at_once_are_told_a_slice_at_a_time(
    server: Server, room: int, no_debug: None
) -> None:
    """The loop goes on in between: whoever else is due is not held up by all of them. With `room`, or in the line."""
    count = 6000
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, limit=1, concurrency=room, timeout=0.5) as r:
        await r.ping()
        proxy.stall()
        ended: list[int] = []
        turn = 0

        async def call() -> None:
            with pytest.raises(TimeoutError):
                await r.get("k")
            ended.append(turn)

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(call())
            while len(ended) < count:
                turn += 1
                await asyncio.sleep(0)
        assert len(ended) == count
        assert max(Counter(ended).values()) <= 2 * SLICE
        proxy.heal()
