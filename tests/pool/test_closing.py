"""The steps in which a pool closes, with a pool and work that do as they are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aioresp.pool.closing import Closing
from tests.rest import until

pytestmark = pytest.mark.quick


class Job:
    """Work that ends by hand."""

    connection = None

    def __init__(self, closing: Closing) -> None:
        self.in_line: set[Any] = {object()}
        self.connection = None
        self.said: list[str] = []
        self._closing = closing
        closing.work.add(self)

    def recall(self) -> None:
        self.said.append("recalled")

    def abandon(self) -> None:
        self.said.append("abandoned")

    def end(self) -> None:
        self._closing.work.discard(self)
        self._closing.look()


class Parts:
    """A pool that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.spared: list[set[Any]] = []
        self.replies = 0
        self.open = 0
        self.closing = Closing(self, asyncio.get_running_loop())
        self.closing.on_end = lambda: self.told.append("ended")

    def turn_away(self, spared: set[Any]) -> None:
        self.spared.append(spared)

    def stop(self) -> None:
        self.told.append("stop")

    def owes(self) -> bool:
        return self.replies > 0

    def close_all(self) -> None:
        self.told.append("close")

    def holds(self) -> bool:
        return self.open > 0


async def test_nothing_to_wait_for() -> None:
    pool = Parts()
    pool.closing.begin(1)
    assert pool.told == ["stop", "close", "ended"]
    await pool.closing.wait()
    pool.closing.begin(1)
    assert len(pool.told) == 3


async def test_each_step_waits_for_the_one_before() -> None:
    pool = Parts()
    pool.replies = pool.open = 1
    job = Job(pool.closing)
    pool.closing.begin(60)
    assert (job.said, pool.told, pool.spared) == (["recalled"], [], [job.in_line])
    assert (pool.closing.begun, pool.closing.stopped) == (True, False)
    job.end()
    assert (pool.told, pool.closing.stopped, pool.spared[-1]) == (["stop"], True, set())
    pool.replies = 0
    pool.closing.look()
    assert pool.told == ["stop", "close"]
    waiting = [asyncio.create_task(pool.closing.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    pool.open = 0
    pool.closing.look()
    assert pool.told == ["stop", "close", "ended"]
    await asyncio.wait(waiting, timeout=5)
    assert all(task.done() for task in waiting)


async def test_a_wait_that_is_cancelled_cuts_replies_short_but_not_work() -> None:
    pool = Parts()
    pool.replies = 1
    job = Job(pool.closing)
    pool.closing.begin(60)
    task = asyncio.create_task(pool.closing.wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert (job.said, pool.told) == (["recalled"], [])
    job.end()
    assert pool.told == ["stop"]
    await until(lambda: pool.told == ["stop", "close", "ended"])  # its grace is over now


async def test_work_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioresp.pool.closing.WORK_GRACE", 0.01)
    pool = Parts()
    job = Job(pool.closing)
    pool.closing.begin(0)
    await asyncio.wait_for(pool.closing.wait(), 5)
    assert job.said == ["recalled", "abandoned"]
    assert pool.told == ["stop", "close", "ended"]
