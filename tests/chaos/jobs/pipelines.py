"""Pipelines: each command has its own reply, or its own error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from aioresp import Client, Pipeline, RedisError, WrongTypeError
from tests.chaos.jobs.base import STATIC, Job
from tests.chaos.ledger import Outcome

Check: TypeAlias = Callable[[object], None]


class Pipe(Job):
    """A mixture: increments, echoes, reads, and commands that the server refuses."""

    kind = "pipeline"
    count = 0
    unknown = 0  # increments of the last pipeline whose outcome is not known

    def prepare(self) -> None:
        self.line = self.common.line(f"pipeline:{self.number}")

    async def step(self) -> None:
        key, increments = self.line.key, 0
        checks: list[Check] = []
        queued: list[Callable[[Pipeline[str]], object]] = []
        for _ in range(self.chance.choice((1, 5, 20, 50))):
            match self.chance.randrange(5):
                case 0:
                    increments += 1
                    queued.append(lambda p: p.incr(key))
                    checks.append(self.is_next)
                case 1:
                    which = self.chance.randrange(STATIC)
                    queued.append(partial(Pipeline.get, name=f"who:{which}"))
                    checks.append(self.belongs_to(f"who:{which}"))
                case 2:
                    which = self.chance.randrange(STATIC)
                    queued.append(lambda p, name=f"who:{which}": p.lpush(name, "x"))  # type: ignore[misc]
                    checks.append(self.is_refused)
                case _:
                    self.count += 1
                    payload = f"{self.name}:{self.count}:" + "x" * self.filler()
                    queued.append(partial(Pipeline.echo, value=payload))
                    checks.append(self.is_payload(payload))

        async def send(r: Client[str]) -> list[object]:
            p = r.pipeline()
            for queue in queued:
                queue(p)
            return await p.execute(raise_on_error=False)

        answer = await self.ask(send, len(queued))
        if not answer.done:
            if increments:
                self.line.settle(answer.outcome, increments)
            return
        if len(answer.value) != len(checks):
            self.ledger.crossed(self.name, f"{len(checks)} replies", f"{len(answer.value)} replies")
        self.unknown = 0
        for check, value in zip(checks, answer.value, strict=False):
            # Of a server that has just begun to load, or has just ended it, some of the commands were run; and of
            # several nodes, one may be lost.
            if not isinstance(value, RedisError) or isinstance(value, WrongTypeError):
                check(value)
            elif self.ledger.failed(self.kind, value) is Outcome.UNKNOWN and check == self.is_next:
                self.unknown += 1
        if self.unknown:
            self.line.settle(Outcome.UNKNOWN, self.unknown)

    def is_next(self, value: object) -> None:
        if not isinstance(value, int):
            self.ledger.crossed(self.name, f"{self.line.key} after {self.line.value}", value)
        elif not self.unknown:
            self.line.expect(value)
            self.line.settle(Outcome.DONE)
        elif self.line.value < value <= self.line.value + self.unknown + 1:
            self.unknown += 1  # how many of those before it have run is not known
        else:
            self.ledger.crossed(self.name, f"{self.line.key} after {self.line.value}", value)

    def belongs_to(self, owner: str) -> Check:
        def check(value: object) -> None:
            if not isinstance(value, str) or not value.startswith(f"{owner}="):
                self.ledger.crossed(self.name, owner, value)

        return check

    def is_payload(self, payload: str) -> Check:
        def check(value: object) -> None:
            if value != payload:
                self.ledger.crossed(self.name, payload, value)

        return check

    def is_refused(self, value: object) -> None:
        if not isinstance(value, WrongTypeError):
            self.ledger.crossed(self.name, "WRONGTYPE", value)


class ReadPipe(Job):
    """Reads only, which are sent again; some of them so many that they take a connection of their own."""

    kind = "read pipeline"
    most = 60.0  # of each piece of a large one

    async def step(self) -> None:
        count = 12_000 if self.chance.random() < 0.0005 else self.chance.choice((3, 10, 30))
        which = [self.chance.randrange(STATIC) for _ in range(count)]

        async def send(r: Client[str]) -> list[str | None]:
            async with r.pipeline() as p:
                handles = [p.get(f"short:{n}") for n in which]
            return [await handle for handle in handles]

        answer = await self.ask(send, count)
        if answer.done and answer.value != [f"short:{n}" for n in which]:
            self.ledger.crossed(self.name, f"short:{which[0]}, ...", answer.value)
