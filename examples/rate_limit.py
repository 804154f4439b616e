"""At most five calls in a second for each caller, in all processes together."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client
from aioresp.recipes import Limiter

URL = os.environ.get("AIORESP_URL", "redis://localhost")


async def main() -> None:
    async with Client(URL) as r:
        limiter = Limiter(r, 5, per=1, prefix="example:calls:")

        hits = await asyncio.gather(*(limiter.hit("ada") for _ in range(50)))
        print(f"ada: {sum(map(bool, hits))} of {len(hits)} calls went through")  # ada: 5 of 50 calls went through
        print("grace:", (await limiter.hit("grace")).allowed)  # grace: True

        print(f"ada may come again within {hits[-1].reset_after:.0f} s")  # ada may come again within 1 s
        await limiter.wait("ada")  # takes a fifth of a second, until a place is free

        await limiter.reset("ada")
        await limiter.reset("grace")


if __name__ == "__main__":
    asyncio.run(main())
