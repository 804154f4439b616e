"""Reads, and writes of one writer: every value says whose it is."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence

from aioresp import Client
from tests.chaos.jobs.base import STATIC, Job
from tests.chaos.ledger import Outcome


class Echo(Job):
    """ECHO of payloads that nobody else has."""

    kind = "echo"
    count = 0

    async def step(self) -> None:
        self.count += 1
        payload = f"{self.name}:{self.count}:" + "x" * self.filler()
        answer = await self.ask(lambda r: r.echo(payload))
        if answer.done and answer.value != payload:
            self.ledger.crossed(self.name, payload, answer.value)


class Read(Job):
    """GET, MGET, HGETALL and LRANGE of what never changes."""

    kind = "read"

    async def step(self) -> None:
        which = self.chance.sample(range(STATIC), 5)
        first, self.begin = which[0], time.monotonic()
        match self.chance.randrange(4):
            case 0:
                got = await self.ask(lambda r: r.get(f"who:{first}"))
                self.check([f"who:{first}"], [got.value] if got.done else None)
            case 1:
                several = await self.ask(lambda r: r.mget(*(f"who:{n}" for n in which)))
                self.check([f"who:{n}" for n in which], several.value if several.done else None)
            case 2:
                fields = await self.ask(lambda r: r.hgetall(f"whose:{first}"))
                values = [value for _, value in sorted(fields.value.items())] if fields.done else None
                self.check([f"whose:{first}"] * 5, values)
            case _:
                listed = await self.ask(lambda r: r.lrange(f"list:{first}", 0, -1))
                self.check([f"list:{first}"] * 5, listed.value if listed.done else None)

    def check(self, owners: list[str], values: Sequence[str | None] | None) -> None:
        """Check the values that were found, each with its owner's name; None if the call has failed."""
        if values is None:
            return
        if not values:
            self.miss(owners[0])
        elif len(values) != len(owners):
            self.ledger.crossed(self.name, f"{len(owners)} values of {owners[0]}", values)
        for owner, value in zip(owners, values, strict=False):
            if value is None:
                self.miss(owner)
            elif not value.startswith(f"{owner}="):
                self.ledger.crossed(self.name, owner, value)

    def miss(self, owner: str) -> None:
        """Note that a key was not found."""
        self.ledger.crossed(self.name, owner, None)


class Write(Job):
    """SET of numbered values, each read again by others: never an older one than was acknowledged."""

    kind = "write"

    def prepare(self) -> None:
        self.register = self.common.register(str(self.number))

    async def step(self) -> None:
        if self.chance.random() < 0.5:
            await self.write()
        else:
            await self.read()

    async def write(self) -> None:
        register = self.register
        register.tried = register.value + 1
        value = register.render(register.tried, self.filler())
        answer = await self.ask(lambda r: r.set(register.key, value))
        register.settle(answer.outcome)

    async def read(self) -> None:
        other = self.chance.choice(self.common.registers)
        key, least = other.key, other.value
        answer = await self.ask(lambda r: r.get(key))
        if not answer.done:
            return
        found = other.number(key, answer.value)
        if found < least:
            moments = other.moments(key, found, least)
            self.ledger.lost("acknowledged write lost", key, moments, f"{key} was {least} and is {found}")
        if key == other.key and found > other.tried:
            self.ledger.wrong("crossed reply", f"{key} is {found}, and nobody has written more than {other.tried}")


class Leased(Job):
    """Another database on a connection of one's own: nobody else may ever see it."""

    kind = "lease"

    async def step(self) -> None:
        which = self.chance.randrange(STATIC)
        fail = self.chance.random() < 0.2

        async def elsewhere(r: Client[str]) -> str | None:
            async with r.connection() as c:
                await c.select(1)
                value = await c.get(f"who:{which}")
                if fail:
                    raise Leaving(value)
                return value

        class Leaving(Exception):
            pass

        async def either(r: Client[str]) -> str | None:
            try:
                return await elsewhere(r)
            except Leaving as error:
                value: str | None = error.args[0]
                return value

        answer = await self.ask(either, 2)
        if answer.done and (answer.value is None or not answer.value.startswith(f"in 1: who:{which}=")):
            self.ledger.crossed(self.name, f"in 1: who:{which}", answer.value)


class Remember(Job):
    """Writes that may run twice, on a view that says so: each of a field of its own, and all must be there."""

    kind = "idempotent"

    def prepare(self) -> None:
        self.acknowledged = array("d")  # when each field was

    async def step(self) -> None:
        field = len(self.acknowledged)
        self.acknowledged.append(0.0)
        view = self.common.client.with_options(idempotent=True)
        answer = await self.ask(lambda r: r.hset(f"remember:{self.number}", str(field), field), view=view)
        if answer.outcome is Outcome.DONE:
            self.acknowledged[field] = time.monotonic()

    async def verify(self, direct: Client[str]) -> None:
        """Check that all acknowledged fields are there."""
        key = f"remember:{self.number}"
        there = await direct.hgetall(key)
        for field, acknowledged in enumerate(self.acknowledged):
            if acknowledged and there.get(str(field)) != str(field):
                self.ledger.lost("acknowledged write lost", key, [acknowledged], f"{key} has no field {field}")
