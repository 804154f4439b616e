"""Clients that are made for a moment, and closed while their calls are under way."""

from __future__ import annotations

import asyncio

from aioresp import Client, ConnectionLost
from tests.chaos.jobs.base import Job
from tests.chaos.ledger import Answer, Outcome


class Visit(Job):
    """Makes a client, has it count, echo, pop and listen, and closes it in the middle of that."""

    kind = "visit"

    def prepare(self) -> None:
        self.line = self.common.line(f"visit:{self.number}")
        self.count = 0

    async def step(self) -> None:
        async with self.common.visitor() as r:
            calls = [asyncio.create_task(call) for call in (self.add(r), self.echo(r), self.pop(r), self.listen(r))]
            await asyncio.sleep(self.chance.choice((0, 0.001, 0.02, 0.2, 1)))
        await asyncio.gather(*calls)
        await asyncio.sleep(self.chance.uniform(0, 0.5))

    async def add(self, r: Client[str]) -> None:
        for _ in range(5):
            key = self.line.key
            answer = await self.ask(lambda r, key=key: r.incr(key), view=r)  # type: ignore[misc]
            if answer.done:
                self.line.expect(answer.value)
            self.line.settle(answer.outcome)

    async def echo(self, r: Client[str]) -> None:
        for _ in range(5):
            self.count += 1
            payload = f"{self.name}:{self.count}:" + "x" * self.filler()
            answer = await self.ask(lambda r, payload=payload: r.echo(payload), view=r)  # type: ignore[misc]
            if answer.done and answer.value != payload:
                self.ledger.crossed(self.name, payload, answer.value)

    async def pop(self, r: Client[str]) -> None:
        queue = self.chance.choice(self.common.popped)
        answer: Answer[tuple[str, str] | None] = await self.ask(lambda r: r.brpop(queue.key, 1), view=r)
        if answer.done and answer.value is not None:
            queue.take(answer.value[1])
        elif isinstance(answer.error, ConnectionLost) and answer.outcome is Outcome.UNKNOWN:
            queue.pop_unknown()

    async def listen(self, r: Client[str]) -> None:
        channel = self.chance.choice([channel for channel in self.common.channels if not channel.sharded])

        async def first(r: Client[str]) -> None:
            async with r.subscribe(channel.name) as s:
                message = await s.get(timeout=0.5)
                if message is not None and not message.data.startswith(f"{channel.name}:"):
                    self.ledger.crossed(self.name, channel.name, message.data)

        await self.ask(first, view=r)
