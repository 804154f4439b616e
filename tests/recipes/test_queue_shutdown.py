"""The end of a worker (law Q4): what it has not begun goes back at once, what it has after `grace`; no attempt counts.

Also the mutations that these checks must catch, and the signals of a process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import anyio
import pytest

from aioresp import Client
from aioresp.recipes import Counts, Queue, Worker
from aioresp.recipes.lua import text
from aioresp.recipes.queue import books
from aioresp.recipes.queue.hand import Hand
from aioresp.recipes.queue.process import Process
from aioresp.testing import Server
from aioresp.testing import server as start_server


class Naps:
    """A queue whose jobs run until they are let go."""

    def __init__(self, r: Client[str]) -> None:
        self.queue = Queue(r, f"naps-{os.urandom(4).hex()}")
        self.go = asyncio.Event()
        self.begun = 0
        self.ended = 0

        @self.queue.task
        async def nap() -> None:
            self.begun += 1
            await self.go.wait()
            self.ended += 1

        self.nap = nap

    async def put(self, count: int) -> list[str]:
        return [(await self.nap.enqueue()).id for _ in range(count)]

    async def attempts(self, ids: list[str]) -> list[int]:
        return sorted([(await self.queue.job(id).info()).attempts for id in ids])

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.begun < count:
                await asyncio.sleep(0.002)


@pytest.fixture
async def r(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


async def end_of(run: asyncio.Task[Any], seconds: float = 4.0) -> None:
    """Wait for the end of a worker: sooner than any lease."""
    done, _ = await asyncio.wait({run}, timeout=seconds)
    assert done, "the worker goes on"


# --- The checks -------------------------------------------------------------------------------------------------------


async def check_stop(r: Client[str]) -> None:
    """What runs ends, and nothing else begins."""
    naps = Naps(r)
    ids = await naps.put(6)
    async with naps.queue.worker(concurrency=2, grace=10) as worker:
        run = asyncio.create_task(worker.run())
        await naps.until_begun(2)
        worker.stop()
        await asyncio.sleep(0.1)
        assert not run.done(), "it left jobs in hand"
        naps.go.set()
        await end_of(run)
    assert (naps.begun, naps.ended) == (2, 2), "a job began after the stop"
    assert await naps.queue.counts() == Counts(4, 0, 0, 0)
    assert await naps.attempts(ids) == [0, 0, 0, 0, 1, 1]


async def check_grace(r: Client[str]) -> None:
    """Jobs that do not end in time go back, to the front, and no attempt counts."""
    naps = Naps(r)
    ids = await naps.put(4)
    async with naps.queue.worker(concurrency=2, grace=0.1) as worker:
        run = asyncio.create_task(worker.run())
        await naps.until_begun(2)
        worker.stop()
        await end_of(run)
    assert await naps.queue.counts() == Counts(4, 0, 0, 0), "jobs did not go back"
    assert await naps.attempts(ids) == [0, 0, 0, 0], "an attempt counted"
    naps.go.set()
    await naps.queue.drain()
    assert naps.ended == 4
    assert await naps.attempts(ids) == [1, 1, 1, 1]


async def check_cancelled(r: Client[str]) -> None:
    """Whatever ends the task that runs a worker: jobs go back, however long `grace` is."""
    naps = Naps(r)
    ids = await naps.put(4)
    async with anyio.create_task_group() as group, naps.queue.worker(concurrency=2, grace=60) as worker:
        group.start_soon(worker.run)
        await naps.until_begun(2)
        group.cancel_scope.cancel()
    assert await naps.queue.counts() == Counts(4, 0, 0, 0), "jobs did not go back"
    assert await naps.attempts(ids) == [0, 0, 0, 0], "an attempt counted"


async def check_left(r: Client[str]) -> None:
    """A worker that is left by an exception goes back to nobody's hands."""
    naps = Naps(r)
    ids = await naps.put(3)
    runs: list[asyncio.Task[None]] = []
    with pytest.raises(ZeroDivisionError):
        async with naps.queue.worker(concurrency=2, grace=0.1) as worker:
            runs.append(asyncio.create_task(worker.run()))
            await naps.until_begun(2)
            raise ZeroDivisionError
    await end_of(runs[0])
    assert await naps.queue.counts() == Counts(3, 0, 0, 0), "jobs did not go back"
    assert await naps.attempts(ids) == [0, 0, 0]


async def check_taken_but_not_begun(r: Client[str]) -> None:
    """A stop while the reply with jobs is on its way: they go back at once, and the one in hand goes on."""
    naps = Naps(r)
    take, arrived, go_on = naps.queue.books.take, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        reply = await take(*arguments)
        if naps.begun and reply[1]:
            arrived.set()
            await go_on.wait()
        return reply

    setattr(naps.queue.books, "take", slow)  # noqa: B010
    async with naps.queue.worker(concurrency=3, grace=30) as worker:
        run = asyncio.create_task(worker.run())
        try:
            await naps.put(1)
            await naps.until_begun(1)
            ids = await naps.put(1)
            await arrived.wait()
            worker.stop()
            go_on.set()
            async with asyncio.timeout(1):
                while (await naps.queue.counts()).waiting < 1:
                    await asyncio.sleep(0.005)
            assert not run.done(), "it did not finish what it had"
            assert await naps.attempts(ids) == [0], "an attempt counted"
        finally:
            naps.go.set()
        await end_of(run)
    assert (naps.begun, naps.ended) == (1, 1)
    assert await naps.queue.counts() == Counts(1, 0, 0, 0)


Check = Callable[[Client[str]], Awaitable[None]]

CHECKS: Final[tuple[Check, ...]] = (
    check_stop,
    check_grace,
    check_cancelled,
    check_left,
    check_taken_but_not_begun,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_end_of_a_worker(r: Client[str], check: Check) -> None:
    await check(r)


# --- Mutations --------------------------------------------------------------------------------------------------------


def attempts_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was given back has an attempt less."""
    old = "if outcome == 'back' then call('HINCRBY', key(id), 'attempts', -1) else"
    assert old in text("queue/scripts/settle")
    monkeypatch.setattr(books, "text", lambda name: text(name).replace(old, "if outcome ~= 'back' then"))


def nothing_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker goes without a word."""

    async def leave(self: Worker) -> None:
        for each in self._hand:
            if each.runner is not None:
                each.runner.cancel()

    async def settle(self: Worker) -> None:
        self._outcomes.clear()

    monkeypatch.setattr(Worker, "_leave", leave)
    monkeypatch.setattr(Worker, "_settle", settle)


def cancelled_jobs_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hand, "_cancelled", lambda self, task: self._failed(task, asyncio.CancelledError()))


def a_stopped_worker_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "is_stopping", property(lambda self: self._stopped < time.monotonic() - 1))


def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Worker.stop

    def stop(self: Worker) -> None:
        self.grace = 0.0
        real(self)

    monkeypatch.setattr(Worker, "stop", stop)


MUTATIONS: Final[tuple[tuple[Callable[[pytest.MonkeyPatch], None], Check], ...]] = (
    (attempts_count, check_grace),
    (attempts_count, check_taken_but_not_begun),
    (nothing_is_settled, check_grace),
    (nothing_is_settled, check_cancelled),
    (nothing_is_settled, check_left),
    (cancelled_jobs_fail, check_cancelled),
    (a_stopped_worker_begins, check_taken_but_not_begun),
    (no_grace, check_stop),
)


@pytest.mark.parametrize(("mutate", "check"), MUTATIONS, ids=lambda each: each.__name__)
async def test_a_mutation_is_caught(
    r: Client[str],
    mutate: Callable[[pytest.MonkeyPatch], None],
    check: Check,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutate(monkeypatch)
    with pytest.raises((AssertionError, TimeoutError)):
        await check(r)


# --- Signals ----------------------------------------------------------------------------------------------------------


class Signalled:
    """A process of one worker, which is this process."""

    def __init__(self, naps: Naps, grace: float) -> None:
        self.lines: list[str] = []
        self.run = asyncio.create_task(Process([naps.queue.worker(grace=grace)], grace, self.lines.append).run())

    def signal(self, number: int) -> None:
        os.kill(os.getpid(), number)


async def test_the_first_signal_lets_jobs_end(r: Client[str]) -> None:
    naps = Naps(r)
    await naps.put(3)
    process = Signalled(naps, 20)
    await naps.until_begun(3)
    process.signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        while len(process.lines) < 2:
            await asyncio.sleep(0.01)
    assert process.lines == ["SIGTERM: 3 jobs running, 20 s left", "3 jobs running, 19 s left"]
    naps.go.set()
    assert await process.run == 0
    assert naps.ended == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_the_second_signal_gives_jobs_back(r: Client[str], number: int, code: int) -> None:
    naps = Naps(r)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(number, lambda *_: None)  # a run in the background ignores SIGINT, and so would the worker
    ids = await naps.put(1)
    process = Signalled(naps, 60)
    await naps.until_begun(1)
    process.signal(number)
    await asyncio.sleep(0.05)
    process.signal(number)
    await end_of(process.run)
    assert process.run.result() == code
    name = signal.Signals(number).name
    assert process.lines == [f"{name}: 1 job running, 60 s left", f"{name} again: 1 job given back"]
    assert await naps.queue.counts() == Counts(1, 0, 0, 0)
    assert await naps.attempts(ids) == [0]
    for each, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
        signal.signal(each, handler)


async def test_an_idle_worker_ends_at_once(r: Client[str]) -> None:
    process = Signalled(Naps(r), 60)
    await asyncio.sleep(0.1)
    process.signal(signal.SIGTERM)
    await end_of(process.run)
    assert process.run.result() == 0


async def test_a_worker_without_a_server_waits_says_so_once_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aioresp")
    with start_server() as away:
        async with Client(away.url, timeout=1) as r:
            away.kill()
            naps = Naps(r)
            process = Signalled(naps, 60)
            said = f"worker of {naps.queue.name}: cannot take jobs, tries again: "
            async with asyncio.timeout(20):
                while said not in caplog.text:
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(away.start)
            naps.go.set()
            await (await naps.nap.enqueue()).result(timeout=20)
            away.kill()
            process.signal(signal.SIGTERM)
            await end_of(process.run, 15)
    assert process.run.result() == 0
    lines = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith(said) for line in lines) <= 2, "it repeats itself"
    assert f"worker of {naps.queue.name}: the server answers" in lines
