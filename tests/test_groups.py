"""Consumers of one group are cancelled and killed at random: each entry is worked on to the end, then acknowledged."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aioresp import Client, Retry
from aioresp.command import Arguments
from aioresp.testing import Proxy, Server
from tests.rest import at_rest, in_step, tasks_besides

CONSUMERS = 20


pytestmark = pytest.mark.usefixtures("no_debug")  # asyncio's debug mode is too slow for as many


class Work:
    """What is done with the entries, and what is said of them to the server."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.ended: dict[bytes, int] = {}
        self.broken: dict[bytes, int] = {}
        self.acknowledged: set[bytes] = set()
        self.wrong: list[str] = []
        self.all_done = asyncio.Event()

    async def middleware(self, arguments: Arguments, send: Callable[[], Awaitable[Any]]) -> Any:
        """Note what is acknowledged before its body has ended well; who sends it may be cancelled."""
        if arguments[0] != "XACK":
            return await send()
        numbers = [number for number in arguments[3:] if isinstance(number, bytes)]
        self.wrong += [f"{number!r} was acknowledged unseen" for number in numbers if number not in self.ended]
        found = await send()
        self.acknowledged.update(numbers)
        return found

    async def consume(self, r: Client[str], name: str, consumer: str, chance: random.Random) -> None:
        """Work until cancelled, and anew where the work itself fails."""
        while True:
            try:
                async with r.group_reader("g", consumer, name, count=7, block=100, min_idle=2000) as g:
                    async for entry in g:
                        number = entry.id.encode()
                        try:
                            await asyncio.sleep(chance.choice((0, 0, 0.002, 0.004)))
                            if chance.random() < 0.005:
                                raise ValueError(number)
                        except BaseException:
                            self.broken[number] = self.broken.get(number, 0) + 1
                            raise
                        self.ended[number] = self.ended.get(number, 0) + 1
                        if len(self.ended) == self.entries:
                            self.all_done.set()
            except ValueError:
                continue


async def disturb(
    work: Work,
    consumers: dict[int, asyncio.Task[None]],
    start: Callable[[int], None],
    proxy: Proxy,
    direct: Client[Any],
) -> int:
    """Cancel consumers, let some of them never come back under their name, cut and kill connections; count it."""
    chance, times, fresh = random.Random(7), 0, CONSUMERS
    while not work.all_done.is_set():
        await asyncio.sleep(chance.random() / 100)
        times += 1
        slot = chance.choice(list(consumers))
        task = consumers.pop(slot)
        task.cancel()
        if times % 5 == 0:
            start(fresh)  # under another name: what the old one had is left to be claimed
            fresh += 1
        else:
            await asyncio.sleep(chance.choice((0, 0, 0.005)))
            start(slot)
        await asyncio.wait([task])
        if not task.cancelled():
            work.wrong.append(f"a consumer ended: {task.exception()!r}")
        if times % 40 == 0:
            proxy.cut(rst=times % 80 == 0)
        elif times % 40 == 10:
            proxy.cut_after(chance.randrange(3000), chance.choice(("up", "down")))
        elif times % 40 == 20:
            await direct.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return times


async def run(server: Server, name: str, entries: int) -> tuple[Work, int]:
    before = tasks_besides()
    work = Work(entries)
    retry = Retry(base=0.002, cap=0.05)
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, retry=retry, middleware=work.middleware) as r,
        Client(server.url) as direct,
    ):
        proxy.delay = (0.0, 0.002)
        consumers: dict[int, asyncio.Task[None]] = {}

        def start(slot: int) -> None:
            body = work.consume(r, name, f"consumer-{slot}", random.Random(slot))
            consumers[slot] = asyncio.create_task(body)

        for slot in range(CONSUMERS):
            start(slot)

        async def produce() -> None:
            for first in range(0, entries, 100):
                async with direct.pipeline() as p:
                    for number in range(first, min(first + 100, entries)):
                        p.xadd(name, {"n": number})
                await asyncio.sleep(0.01)

        producing = asyncio.create_task(produce())
        disturbing = asyncio.create_task(disturb(work, consumers, start, proxy, direct))
        await producing
        times = await disturbing
        proxy.heal()
        async with asyncio.timeout(30):  # what ended well and could not be acknowledged is done once more
            while (await direct.xpending(name, "g")).pending:
                await asyncio.sleep(0.05)
        for task in consumers.values():
            task.cancel()
        await asyncio.wait(consumers.values())
        everything = [entry.id.encode() for entry in await direct.xrange(name)]
        assert len(everything) == entries
        assert set(everything) == set(work.ended) == work.acknowledged
        (group,) = await direct.xinfo_groups(name)
        assert (group.pending, group.last_delivered_id) == (0, everything[-1].decode())
        await at_rest(r)
        await in_step(r)
    assert tasks_besides() <= before
    assert work.wrong == []
    return work, times


async def test_a_group_of_consumers_that_are_cancelled_and_killed(
    server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="aioresp")
    work, times = await run(server, f"{prefix}s", 1500)
    assert times > 10
    assert work.broken


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_twenty_thousand_entries(server: Server, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="aioresp")
    work, times = await run(server, f"{prefix}s", 20_000)
    assert times > 100
    assert len(work.broken) > 50, "it was never cancelled in the middle of the work"
    twice = sum(count > 1 for count in work.ended.values())
    print(f"{times} disturbances, {len(work.broken)} bodies broken off, {twice} entries done twice")
