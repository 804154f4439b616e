"""Money from one account to another: read, decide and write, all or nothing, however many do so at the same time."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client, Pipeline

URL = os.environ.get("AIORESP_URL", "redis://localhost")
ACCOUNTS = "example:account:a", "example:account:b"


class NotEnough(Exception):
    """There is less in the account than is to be taken out of it."""


async def transfer(r: Client[str], source: str, target: str, amount: int) -> None:
    async def attempt(p: Pipeline[str]) -> None:
        if int(await p.get(source) or 0) < amount:
            raise NotEnough  # nothing is sent, and the account is not watched any more
        p.multi()
        p.decrby(source, amount)
        p.incrby(target, amount)

    await r.transaction(attempt, source)  # tried again if somebody changes the account meanwhile


async def main() -> None:
    a, b = ACCOUNTS
    async with Client(URL) as r:
        async with r.pipeline() as p:
            p.set(a, 100)
            p.set(b, 0)

        transfers = [transfer(r, a, b, 15) for _ in range(10)]
        refused = [error for error in await asyncio.gather(*transfers, return_exceptions=True) if error]

        async with r.pipeline(transaction=True) as p:
            left, there = p.get(a), p.get(b)
            p.delete(*ACCOUNTS)
        print("refused:", len(refused), {type(error).__name__ for error in refused})  # refused: 4 {'NotEnough'}
        print(f"left: {await left}, there: {await there}")  # left: 10, there: 90


if __name__ == "__main__":
    asyncio.run(main())
