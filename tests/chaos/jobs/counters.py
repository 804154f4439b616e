"""INCR and its kin, of one writer and of all, in all the ways they can be sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aioresp import Client
from tests.chaos.jobs.base import Job, lease

#: Adds to a counter, as a script; after a restart the server does not know it any more.
LUA: Final = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


async def by_transaction(r: Client[str], key: str) -> int:
    async with r.pipeline(transaction=True) as p:
        value = p.incr(key)
    return await value


async def by_script(r: Client[str], key: str) -> int:
    value = await r.register_script(LUA)(keys=[key], args=[1])
    assert isinstance(value, int)
    return value


async def by_lease(r: Client[str], key: str) -> int:
    async with lease(r, key) as c:
        return await c.incr(key)


#: The ways to add one, the ordinary one more often than the others.
WAYS: Final[tuple[Callable[[Client[str], str], Awaitable[int]], ...]] = (
    *[lambda r, key: r.incr(key)] * 6,
    by_transaction,
    by_script,
    by_lease,
)


class Count(Job):
    """A counter of its own: each reply must be the next number."""

    kind = "counter"

    def prepare(self) -> None:
        self.line = self.common.line(str(self.number))

    async def step(self) -> None:
        way, key = self.chance.choice(WAYS), self.line.key
        answer = await self.ask(lambda r: way(r, key))
        if answer.done:
            self.line.expect(answer.value)
        self.line.settle(answer.outcome)


class CountTogether(Job):
    """Counters of all: no number may come twice, and none beyond what can have been counted."""

    kind = "shared counter"

    async def step(self) -> None:
        counter = self.chance.choice(self.common.counters)
        way = self.chance.choice(WAYS)
        counter.start()
        answer = await self.ask(lambda r: way(r, counter.key))
        counter.settle(answer.outcome, value=answer.value if answer.done else 0)
