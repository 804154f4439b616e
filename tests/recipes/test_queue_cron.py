"""Ticks of schedules (law Q9): each once, however many workers, clocks or restarts; of those missed, the last one.

Also the mutations that these checks must catch.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import pytest

from aioresp import Client
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.recipes import Queue, running
from aioresp.recipes.lua import text
from aioresp.recipes.queue import cron
from aioresp.recipes.queue.schedule import Schedule
from aioresp.testing import Proxy, Server

#: A schedule whose ticks are far from each other: none comes during a test.
SELDOM: Final = "0 0 1 1 *"


@pytest.fixture
async def r(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"cron-{os.urandom(4).hex()}"


class Crons:
    """A queue with a schedule, as one process has it, and the jobs that ran."""

    def __init__(self, r: Client[str], name: str, expression: str, ran: list[str]) -> None:
        self.queue = Queue(r, name)

        @self.queue.cron(expression)
        async def tidy() -> None:
            ran.append(running().id)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with self.queue.worker(grace=0) as worker:
            task = asyncio.create_task(worker.run())
            yield
            worker.stop()
            await task

    async def restart(self) -> None:
        """Do what a worker does when it starts, and run all that waits."""
        await cron.Ticker(self.queue.books, self.queue._around.crons)._tick()
        await self.queue.drain()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def last(expression: str) -> int:
    return Schedule(expression, "UTC").last(int(time.time() * 1000))


# --- The checks -------------------------------------------------------------------------------------------------------


async def check_each_tick_once(r: Client[str], name: str) -> None:
    """Three processes, one of which comes late, and one of which goes."""
    ran: list[str] = []
    first, second, third = (Crons(r, name, "* * * * * *", ran) for _ in range(3))
    async with first.working():
        async with second.working():
            await until(lambda: len(ran) >= 1)
        async with third.working():
            await until(lambda: len(ran) >= 2)
    ticks = sorted(int(id.rpartition(":")[2]) for id in ran)
    assert len(ticks) == len(set(ticks)), "a tick was worked twice"
    assert all(after - before == 1000 for before, after in pairwise(ticks)), "a tick was left out"


async def check_of_those_missed_the_last_counts(r: Client[str], name: str) -> None:
    ran: list[str] = []
    key = f"{{{name}}}:cron:tidy:{SELDOM} UTC"
    async with Crons(r, name, SELDOM, ran).working():  # the first worker ever: the schedule has no past
        await until_key(r, key)
    await Crons(r, name, SELDOM, ran).queue.drain()
    assert ran == [], "a schedule without a past has no ticks in it"
    assert await r.pttl(key) > cron.KEPT

    await r.set(key, last(SELDOM) - 3 * 366 * 86_400_000, px=60_000)  # three ticks ago
    id = f"cron:tidy:{last(SELDOM)}"
    async with Crons(r, name, SELDOM, ran).working(), Crons(r, name, SELDOM, ran).working():
        await until(lambda: bool(ran))
    await Crons(r, name, SELDOM, ran).restart()
    assert ran == [id], "not the last tick of those missed, once"

    await r.delete(f"{{{name}}}:job:{id}")  # its result has expired
    await Crons(r, name, SELDOM, ran).restart()
    assert ran == [id], "a tick came again after a restart"


async def until_key(r: Client[str], key: str) -> None:
    async with asyncio.timeout(5):
        while not await r.exists(key):
            await asyncio.sleep(0.005)


async def check_the_server_clock_counts(r: Client[str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose clock is an hour ahead beside one whose clock is an hour behind."""
    real = time.time
    ran: list[str] = []
    key = f"{{{name}}}:cron:tidy:0 * * * * UTC"
    for hours in (1, -1):
        monkeypatch.setattr(time, "time", lambda off=hours * 3600: real() + off)
        async with Crons(r, name, "0 * * * *", ran).working():
            await until_key(r, key)
        await Crons(r, name, "0 * * * *", ran).restart()
    assert ran == [], "a tick came by the clock of a worker"


CHECKS: Final = {
    "once": lambda r, name, patch: check_each_tick_once(r, name),
    "missed": lambda r, name, patch: check_of_those_missed_the_last_counts(r, name),
    "clock": check_the_server_clock_counts,
}

Check = Callable[[Client[str], str, pytest.MonkeyPatch], Awaitable[None]]


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
async def test_ticks(r: Client[str], name: str, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    await check(r, name, monkeypatch)


async def test_ticks_under_resp2(server: Server, name: str) -> None:
    async with Client(server.url, protocol=2) as r:
        await check_of_those_missed_the_last_counts(r, name)


# --- Mutations --------------------------------------------------------------------------------------------------------


def in_script(old: str, new: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Return a mutation of tick.lua."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        assert old in text("queue/scripts/tick")
        monkeypatch.setattr(cron, "text", lambda name: text(name).replace(old, new) if "tick" in name else text(name))

    return mutate


def by_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the clock of this machine, and not that of the server."""
    real = Schedule.last
    monkeypatch.setattr(Schedule, "last", lambda self, now: real(self, int(time.time() * 1000)))
    in_script("and tick <= now", "")(monkeypatch)


def id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    in_script("tick > last and", "")(monkeypatch)
    monkeypatch.setattr(cron.Cron, "id", lambda self, tick: f"cron:{self.task}:{id(self)}:{tick}")


MUTATIONS: Final[dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]]] = {
    "a tick whose id is a worker's own": ("once", id_of_its_own),
    "the last tick is forgotten": ("missed", in_script("due and tick or last", "0")),
    "the last tick is not read": ("missed", in_script("tick > last and", "")),
    "a past before the first worker": ("missed", in_script("or ARGV[2]", "or 0")),
    "all that was missed": (
        "missed",
        in_script("then enqueue(", "then enqueue({ 'x', unpack(ARGV, 5) }) enqueue("),
    ),
    "a key that stays": ("missed", in_script(", 'PX', ARGV[3])", ")")),
    "the clock of the worker": ("clock", by_own_clock),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_a_mutation_is_caught(r: Client[str], name: str, mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, mutate = MUTATIONS[mutation]
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        await CHECKS[check](r, name, monkeypatch)


# --- What else a schedule meets ---------------------------------------------------------------------------------------


async def test_a_script_that_was_sent_twice_enqueues_once(server: Server, name: str) -> None:
    ran: list[str] = []
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, password=server.password, timeout=5) as r:
        crons = Crons(r, name, "* * * * * *", ran)
        async with crons.working():
            await until(lambda: len(ran) >= 1)
            for _ in range(20):  # connections are lost around the next tick
                proxy.cut()
                await asyncio.sleep(0.06)
            await until(lambda: len(ran) >= 3)
    ticks = sorted(int(id.rpartition(":")[2]) for id in ran)
    assert len(ticks) == len(set(ticks))


async def test_a_server_without_data_goes_on(r: Client[str], name: str) -> None:
    ran: list[str] = []
    async with Crons(r, name, "* * * * * *", ran).working():
        await until(lambda: len(ran) >= 1)
        await r.delete(*[key async for key in r.scan_iter(match=f"{{{name}}}:*")])
        await until(lambda: len(ran) >= 2)
    first, second = (int(id.rpartition(":")[2]) for id in ran[:2])
    assert second - first == 1000, "the tick after the loss was left out"


async def test_between_ticks_nothing_is_asked(r: Client[str], name: str) -> None:
    """A worker with ten schedules of one tick a year reads the clock once an hour."""
    crons = Crons(r, name, SELDOM, [])
    for month in range(2, 11):
        crons.queue.cron(f"0 0 1 {month} *")(crons.queue.tasks["tidy"])
    ticker = cron.Ticker(crons.queue.books, crons.queue._around.crons)
    for _ in range(3):
        assert await ticker._tick() == 3600
    asked = 0
    script = ticker._script

    async def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return await script(*arguments)

    setattr(ticker, "_script", counted)  # noqa: B010
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ticker.run()
    assert asked == 1
    assert await r.delete(*[key async for key in r.scan_iter(match=f"{{{name}}}:*")]) == 10


def test_wrong_use(server: Server) -> None:
    queue, other = Queue(Client(server.url), "q"), Queue(Client(server.url), "other")

    @other.task
    async def foreign() -> None: ...

    @queue.task(name="needy")
    async def needy(path: str) -> None: ...

    with pytest.raises(ArgumentError, match="bad hour"):
        queue.cron("0 25 * * *")
    with pytest.raises(ArgumentError, match="no time zone"):
        queue.cron("0 2 * * *", tz="Europe/Paname")
    with pytest.raises(ArgumentTypeError, match="path"):
        queue.cron("0 2 * * *")(needy)
    with pytest.raises(ArgumentError, match="foreign is a task of another queue"):
        queue.cron("0 2 * * *")(foreign)
    with pytest.raises(ArgumentTypeError, match="no coroutine function"):
        queue.cron("0 2 * * *")(lambda: None)  # type: ignore[arg-type, return-value]


def test_the_schedule_of_a_task_with_options(server: Server) -> None:
    queue = Queue(Client(server.url), "q")

    @queue.cron("0 9 * * *")
    @queue.cron("0 5 * * *", tz="Europe/Berlin")
    @queue.task(retries=7)
    async def tidy(days: int = 3) -> None: ...

    assert tidy.settings.retries == 7
    assert [str(each.schedule) for each in queue._around.crons] == ["0 5 * * * Europe/Berlin", "0 9 * * * UTC"]


def test_the_zone_is_heeded() -> None:
    tick = Schedule("30 2 * * *", "Europe/Berlin").next(0)
    assert datetime.fromtimestamp(tick / 1000, UTC).hour == 1
