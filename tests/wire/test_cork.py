"""Cork: which flushes wait, for how long, and what a failure of one does to the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aioresp.wire.cork import TURNS, Cork


class Turns:
    """Count of the turns of the running loop, and the turns in which flushes were called."""

    def __init__(self, cork: Cork, read_in: range = range(0)) -> None:
        self.now = 0
        self.flushed: list[int] = []
        self._cork = cork
        self._read_in = read_in  # the turns in which replies arrive
        self._loop = asyncio.get_running_loop()

    def flush(self) -> None:
        """Note the turn."""
        self.flushed.append(self.now)

    async def run(self, count: int = 20) -> list[int]:
        """Let turns pass, and return those in which flushes were called."""
        for _ in range(count):
            await asyncio.sleep(0)
            self.now += 1
            self._cork.heard += self.now in self._read_in
        return self.flushed


@pytest.fixture
async def cork() -> Cork:
    """A cork of the running loop."""
    return Cork(asyncio.get_running_loop())


async def test_a_flush_waits_one_turn_if_nothing_arrives(cork: Cork) -> None:
    turns = Turns(cork)
    cork.add(turns.flush)
    (turn,) = await turns.run()
    assert turn <= 2


async def test_a_flush_waits_while_replies_arrive(cork: Cork) -> None:
    turns = Turns(cork, range(2))
    cork.add(turns.flush)
    (later,) = await turns.run()
    turns = Turns(cork)
    cork.add(turns.flush)
    (sooner,) = await turns.run()
    assert later > sooner


async def test_a_flush_does_not_wait_for_the_end_of_a_stream_of_replies(cork: Cork) -> None:
    turns = Turns(cork, range(1_000))
    cork.add(turns.flush)
    (turn,) = await turns.run()
    assert 1 < turn <= TURNS + 1


async def test_flushes_of_several_connections_come_together(cork: Cork) -> None:
    turns = Turns(cork, range(1_000))
    cork.add(turns.flush)
    await turns.run(2)
    cork.add(turns.flush)
    one, other = await turns.run()
    assert one == other
    cork.add(turns.flush)
    assert len(await turns.run()) == 3


async def test_a_flush_that_fails_leaves_the_others(cork: Cork) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def fail() -> None:
        raise OSError("no")

    turns = Turns(cork)
    for flush in (turns.flush, fail, turns.flush):
        cork.add(flush)
    assert len(await turns.run()) == 2
    assert [type(context["exception"]) for context in told] == [OSError]
    cork.add(turns.flush)
    assert len(await turns.run()) == 3
