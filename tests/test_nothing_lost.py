"""Workers pop jobs and are cancelled at random, thousands of times: every job is handed over once, or still there."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from aioresp import Client
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import at_rest, in_step, tasks_besides

WORKERS = 50

Push = Callable[[Client[str], str, list[int]], Awaitable[object]]
Pop = Callable[[Client[str], str], Awaitable[list[int]]]
Rest = Callable[[Client[str], str], Awaitable[list[int]]]


pytestmark = pytest.mark.usefixtures("no_debug")  # asyncio's debug mode is too slow for as many


class Kind:
    """One kind of queue: how jobs come in and go out, and the command whose calls tell how many were put back."""

    def __init__(self, push: Push, pop: Pop, rest: Rest, undo: str, since: tuple[int, int] = (5, 0)) -> None:
        self.push = push
        self.pop = pop
        self.rest = rest
        self.undo = undo
        self.since = since


async def from_list(r: Client[str], key: str) -> list[int]:
    popped = await r.brpop(key, 0)
    assert popped is not None
    return [int(popped[1])]


async def several_from_list(r: Client[str], key: str) -> list[int]:
    return [int(job) for job in (await r.call("BLMPOP", 0, 1, key, "RIGHT", "COUNT", 3))[1]]


async def from_sorted_set(r: Client[str], key: str) -> list[int]:
    popped = await r.bzpopmin(key, 0)
    assert popped is not None
    assert popped[2] == score(int(popped[1]))
    return [int(popped[1])]


async def several_from_sorted_set(r: Client[str], key: str) -> list[int]:
    pairs = (await r.call("BZMPOP", 0, 1, key, "MIN", "COUNT", 3))[1]
    assert all(float(found) == score(int(job)) for job, found in pairs)
    return [int(job) for job, _ in pairs]


async def rest_of_sorted_set(r: Client[str], key: str) -> list[int]:
    pairs = await r.zrange(key, 0, -1, withscores=True)
    assert all(found == score(int(job)) for job, found in pairs)
    return [int(job) for job, _ in pairs]


async def rest_of_list(r: Client[str], key: str) -> list[int]:
    return [int(job) for job in await r.lrange(key, 0, -1)]


def score(job: int) -> float:
    """Return a score that a careless way back would change."""
    return job / 3


def push_to_list(r: Client[str], key: str, jobs: list[int]) -> Awaitable[object]:
    return r.lpush(key, *jobs)


def push_to_sorted_set(r: Client[str], key: str, jobs: list[int]) -> Awaitable[object]:
    return r.zadd(key, {str(job): score(job) for job in jobs})


KINDS: dict[str, Kind] = {
    "brpop": Kind(push_to_list, from_list, rest_of_list, "rpush"),
    "blmpop": Kind(push_to_list, several_from_list, rest_of_list, "rpush", (7, 0)),
    "bzpopmin": Kind(push_to_sorted_set, from_sorted_set, rest_of_sorted_set, "zadd"),
    "bzmpop": Kind(push_to_sorted_set, several_from_sorted_set, rest_of_sorted_set, "zadd", (7, 0)),
}


class Run:
    """Producers, workers, and what became of each job."""

    def __init__(self, kind: Kind, r: Client[str], direct: Client[str], key: str, jobs: int) -> None:
        self.kind = kind
        self.r = r
        self.direct = direct
        self.key = key
        self.jobs = jobs
        self.random = random.Random(jobs)
        self.handed: list[int] = []
        self.cancelled = 0
        self.pushes = 0
        self.pushed = 0
        self.ended = False
        self.patience = 0.5
        """Seconds for which a patient worker waits for jobs."""

    async def produce(self) -> None:
        """Push the jobs in small heaps, so that workers find the queue empty as often as not."""
        for first in range(0, self.jobs, 20):
            await self.kind.push(self.direct, self.key, list(range(first, first + 20)))
            self.pushes += 1
            self.pushed = first + 20
            ahead = self.random.choice((5, 100))
            while self.pushed - len(self.handed) > ahead and not self.ended:
                await asyncio.sleep(0.001)
            if self.ended:
                break

    async def work(self) -> None:
        """Pop jobs, giving up at random in all the ways there are."""
        while not self.ended:
            how, patience = self.random.randrange(4), self.random.choice((0.0, 0.001, 0.003, 0.006, 0.01, 0.02))
            try:
                if how == 0:
                    async with asyncio.timeout(patience):
                        await self.take()
                elif how == 1:
                    await asyncio.wait_for(self.take(), patience)
                elif how == 2:
                    task = asyncio.create_task(self.take())
                    try:
                        await asyncio.wait([task], timeout=patience)
                    finally:
                        task.cancel()
                    await asyncio.wait([task])
                    self.cancelled += task.cancelled()
                else:
                    async with asyncio.timeout(self.patience):
                        await self.take()
            except TimeoutError:
                self.cancelled += 1

    async def take(self) -> None:
        self.handed.extend(await self.kind.pop(self.r, self.key))

    async def go(self) -> None:
        workers = [asyncio.create_task(self.work()) for _ in range(WORKERS)]
        producer = asyncio.create_task(self.produce())
        seen, since = 0, time.monotonic()
        while len(self.handed) < self.jobs * 0.995 and time.monotonic() - since < 20:
            await asyncio.sleep(0.01)
            if len(self.handed) > seen:
                seen, since = len(self.handed), time.monotonic()
            # Where the machine is so busy that no reply comes in time, all are put back without end.
            self.patience = 0.5 if time.monotonic() - since < 2 else 10
        self.ended = True  # for Python 3.11, whose wait_for() swallows a cancellation in the turn of the result
        for worker in workers:  # in the middle of it: what they were about to get stays
            worker.cancel()
        outcomes = await asyncio.gather(*workers, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {asyncio.CancelledError, type(None)}, outcomes
        await producer
        assert self.pushed >= self.jobs * 0.995, "the workers did not get on"
        await at_rest(self.r, 20)

    async def put_back(self) -> int:
        stats = await self.direct.info("commandstats")
        calls: int = stats.get(f"cmdstat_{self.kind.undo}", {"calls": 0})["calls"]
        return calls - (self.pushes if self.kind.undo == "zadd" else 0)


@pytest.fixture
async def own_server() -> AsyncIterator[Server]:
    """A server whose figures of commands are this test's alone."""
    with start_server() as running:
        yield running


async def check(
    server: Server,
    kind: Kind,
    jobs: int,
    caplog: pytest.LogCaptureFixture,
    limit: int = 100,
    concurrency: int = 5000,
    demand: bool = True,
) -> str:
    """Run it all until the race that this is about has happened, check it, and return the figures.

    Without `demand`, five runs in which it has not happened are enough.
    """
    if server.version < kind.since:
        pytest.skip(f"needs a server of {kind.since}")
    tried = []
    for _ in range(5):  # a machine that is busy with something else may see but a few put-backs, or none
        put_back, figures = await run_and_check(server, kind, jobs, caplog, limit, concurrency)
        if put_back > jobs / 500 - 1:
            return figures
        tried.append(figures)
    assert not demand, f"the race did not happen: {tried}"
    return tried[-1]


async def run_and_check(
    server: Server, kind: Kind, jobs: int, caplog: pytest.LogCaptureFixture, limit: int, concurrency: int
) -> tuple[int, str]:
    """Return how many elements were put back, and all the figures."""
    before = tasks_besides()
    started = time.monotonic()
    async with (
        Proxy(server.host, server.port, delay=(0.0, 0.004)) as proxy,
        Client(proxy.url, limit=limit, concurrency=concurrency) as r,
        Client(server.url) as direct,
    ):
        await direct.flushall()
        await direct.config_resetstat()
        run = Run(kind, r, direct, "jobs", jobs)
        await run.go()
        rest = await kind.rest(direct, "jobs")
        put_back = await run.put_back()
        proxy.delay = 0
        await in_step(r)
        stats = r.stats()
    assert sorted(run.handed + rest) == list(range(run.pushed))
    assert run.cancelled > jobs / 50
    assert (stats.leased, stats.waiting, stats.in_flight) == (0, 0, 0)
    assert stats.open == stats.made <= limit  # every connection that was ever made is in use still
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert tasks_besides() <= before
    return put_back, (
        f"{jobs} jobs: {len(run.handed)} handed over, {len(rest)} left; {run.cancelled} pops cancelled, "
        f"{put_back} of them put back; {stats.made} connections, {time.monotonic() - started:.1f} s"
    )


@pytest.mark.parametrize("jobs", [300, pytest.param(800, marks=pytest.mark.ci)])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_job_is_handed_over_once_or_still_there(
    own_server: Server, kind: str, jobs: int, caplog: pytest.LogCaptureFixture
) -> None:
    print(await check(own_server, KINDS[kind], jobs, caplog))


@pytest.mark.turns(2)
@pytest.mark.parametrize("concurrency", [1, 5000])
async def test_with_few_connections(own_server: Server, concurrency: int, caplog: pytest.LogCaptureFixture) -> None:
    # Some 50 are put back on a quiet machine, and may be none on a busy one: most workers wait for a connection then.
    print(await check(own_server, KINDS["brpop"], 500, caplog, limit=8, concurrency=concurrency, demand=False))


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_job_of_50000_is_handed_over_once_or_still_there(
    own_server: Server, kind: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = await check(own_server, KINDS[kind], 50_000, caplog)
    with capsys.disabled():
        print(f"\n{kind}: {figures}")


async def test_entries_of_a_stream_are_pending_if_their_reader_was_cancelled(own_server: Server) -> None:
    entries = 800
    done: list[str] = []
    chance = random.Random(1)
    async with (
        Proxy(own_server.host, own_server.port, delay=(0.0, 0.004)) as proxy,
        Client(proxy.url) as r,
        Client(own_server.url) as direct,
    ):
        await direct.xgroup_create("s", "group", mkstream=True)

        async def work(name: int) -> None:
            while True:
                try:
                    async with asyncio.timeout(chance.choice((0.002, 0.005, 0.01, 0.5))):
                        read = await r.xreadgroup("group", f"worker {name}", {"s": ">"}, count=2, block=0)
                except TimeoutError:
                    continue
                done.extend(entry.id for entry in read["s"])

        workers = [asyncio.create_task(work(name)) for name in range(20)]
        ids = []
        for n in range(entries):
            ids.append(await direct.xadd("s", {"n": n}))
            if n % 20 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
        await at_rest(r)
        pending = {entry.id for entry in await direct.xpending_range("s", "group", "-", "+", entries)}
        assert len(done) == len(set(done))
        assert set(done) < pending  # nothing was acknowledged
        unread = (await direct.xreadgroup("group", "last", {"s": ">"})).get("s", [])
        assert pending | {entry.id for entry in unread} == set(ids)
        assert len(pending) - len(done) > 5  # read for somebody who had gone
        assert r.stats().open == r.stats().made
