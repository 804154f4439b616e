"""Transactions: all of one or nothing, and once."""

from __future__ import annotations

from aioresp import Client, Pipeline
from tests.chaos.jobs.base import Job

ACCOUNTS = 10


def account(number: int) -> str:
    """Return the key of an account: all share a slot."""
    return f"{{account}}:{number}"


def twin(key: str) -> str:
    """Return the key that counts together with another one, in its slot."""
    return f"{{{key}}}:twin"


class Transfer(Job):
    """MULTI..EXEC moves an amount between accounts, whose sum is 0 at any moment."""

    kind = "transfer"

    async def step(self) -> None:
        source, target = self.chance.sample(range(ACCOUNTS), 2)
        amount = self.chance.randrange(1, 100)

        async def move(r: Client[str]) -> None:
            async with r.pipeline(transaction=True) as p:
                p.decrby(account(source), amount)
                p.incrby(account(target), amount)

        if self.chance.random() < 0.6:
            await self.ask(move, 2)
            return
        answer = await self.ask(lambda r: r.mget(*map(account, range(ACCOUNTS))))
        if answer.done and (total := sum(int(value or 0) for value in answer.value)):
            self.ledger.wrong("half a transaction", f"the accounts have {total} in sum")


class Watch(Job):
    """WATCH, read, MULTI: a pair of keys that count together, of all."""

    kind = "watch"
    most = 60.0  # of each command, and there are many attempts

    async def step(self) -> None:
        pair = self.chance.choice(self.common.pairs)
        if self.chance.random() < 0.3:
            await self.look(pair.key)
            return

        async def add(p: Pipeline[str]) -> int:
            value = int(await p.get(pair.key) or 0) + 1
            p.multi()
            p.set(pair.key, value)
            p.set(twin(pair.key), value)
            return value

        by_hand = self.chance.random() < 0.3

        async def transaction(r: Client[str]) -> int:
            if not by_hand:
                return await r.transaction(add, pair.key, value_from_callable=True)
            async with r.pipeline(transaction=True) as p:
                await p.watch(pair.key)
                value = await add(p)
                await p.execute()
                return value

        pair.start()
        answer = await self.ask(transaction, 5)
        pair.settle(answer.outcome, value=answer.value if answer.done else 0)

    async def look(self, key: str) -> None:
        answer = await self.ask(lambda r: r.mget(key, twin(key)))
        if answer.done and answer.value[0] != answer.value[1]:
            self.ledger.wrong("half a transaction", f"{key} and its twin are {answer.value}")
