"""Queues: jobs are popped, or moved and removed when they are done."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aioresp import Client, ConnectionLost
from tests.chaos.jobs.base import Job
from tests.chaos.ledger import Outcome
from tests.chaos.queues import LATE, Queue

#: Jobs that may wait in a queue, so that they can be worked off at the end.
MOST: Final = 100

#: Jobs that a pop of several takes.
MOST_AT_ONCE: Final = 3


class Push(Job):
    """Pushes jobs, a few at a time, to a queue of either kind."""

    kind = "push"

    async def step(self) -> None:
        queue = self.chance.choice(self.common.popped + self.common.moved + self.common.scored)
        if self.common.calm or queue.waiting > MOST:
            return
        jobs = queue.make(self.number, self.chance.randrange(1, 5))
        scores = {job: queue.score(job) for job in jobs}
        answer = await self.ask(lambda r: r.zadd(queue.key, scores) if queue.scored else r.lpush(queue.key, *jobs))
        queue.settle(jobs, answer.outcome)


class Pop(Job):
    """BRPOP: what a caller who gives up was about to get is put back."""

    kind = "pop"

    def prepare(self) -> None:
        self.queue = self.common.popped[self.number % len(self.common.popped)]

    def slowness(self) -> float:
        return 0.2 if self.common.calm else 1.0

    async def step(self) -> None:
        wait = self.chance.choice((0.1,) if self.common.calm else (0.2, 1, 2))
        answer = await self.ask(lambda r: r.brpop(self.queue.key, wait))
        if answer.done and answer.value is not None:
            self.queue.take(answer.value[1])
        elif isinstance(answer.error, ConnectionLost) and answer.outcome is Outcome.UNKNOWN:
            self.queue.pop_unknown()  # cancelled, or late, it is not: that loses nothing


class PopScored(Job):
    """BZPOPMIN, BZPOPMAX and BZMPOP: what a caller who gives up was about to get is put back with its score."""

    kind = "pop scored"

    def prepare(self) -> None:
        self.queue = self.common.scored[self.number % len(self.common.scored)]

    def slowness(self) -> float:
        return 0.2 if self.common.calm else 1.0

    async def step(self) -> None:
        key = self.queue.key
        wait = self.chance.choice((0.1,) if self.common.calm else (0.2, 1, 2))
        how = self.chance.choice(("min", "max", "several" if self.common.several else "min"))

        async def pop(r: Client[str]) -> list[tuple[str, float]]:
            if how == "several":
                found = await r.bzmpop(wait, 1, [key], min=True, count=MOST_AT_ONCE)
                return [] if found is None else found[1]
            popped = await (r.bzpopmin(key, wait) if how == "min" else r.bzpopmax(key, wait))
            return [] if popped is None else [popped[1:]]

        answer = await self.ask(pop)
        if answer.done:
            for job, score in answer.value:
                self.queue.take(job, score)
        elif isinstance(answer.error, ConnectionLost) and answer.outcome is Outcome.UNKNOWN:
            self.queue.pop_unknown(MOST_AT_ONCE if how == "several" else 1)


def list_of(queue: Queue, worker: int) -> str:
    """Return the key of a worker's own list, in the slot of the queue."""
    return f"{{{queue.key}}}:of:{worker}"


class Move(Job):
    """BLMOVE into a list of its own, and LREM from there when the job is done: nothing is ever lost, or done twice."""

    kind = "move"

    def prepare(self) -> None:
        self.queue: Queue = self.common.moved[self.number % len(self.common.moved)]
        self.mine = list_of(self.queue, self.number)
        self.in_hand: set[str] = set()  # done, and perhaps not removed yet
        self.asked_twice: set[str] = set()
        self.look_until = 0.0

    def slowness(self) -> float:
        return 0.0 if self.common.calm else 1.0

    async def step(self) -> None:
        key = self.queue.key
        wait = 0.1 if self.common.calm else 1
        answer = await self.ask(lambda r: r.blmove(key, self.mine, wait, "RIGHT", "LEFT"))
        if answer.done and answer.value is not None:
            await self.work(answer.value)
        elif answer.outcome is Outcome.UNKNOWN:
            self.look_until = time.monotonic() + LATE
        if self.in_hand or self.common.calm or time.monotonic() < self.look_until:
            await self.recover()

    async def recover(self) -> None:
        """Do what was moved here without a word."""
        for job in await self.insist(lambda r: r.lrange(self.mine, 0, -1)):
            await self.work(job)

    async def work(self, job: str) -> None:
        if job not in self.in_hand:
            self.queue.take(job)
            self.in_hand.add(job)
        answer = await self.ask(lambda r: r.lrem(self.mine, 1, job))
        if answer.outcome is Outcome.UNKNOWN:
            self.asked_twice.add(job)
        elif answer.done:
            self.in_hand.discard(job)
            if answer.value == 1:
                self.queue.removed(job)
            elif job not in self.asked_twice:
                moments = [self.queue.done(job)]
                self.ledger.lost("job lost", self.queue.key, moments, f"{job} was not in {self.mine} any more")
            self.asked_twice.discard(job)
        await asyncio.sleep(0)
