"""MONITOR: see which commands an application sends, as the server runs them."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

from aioresp import Client

URL = os.environ.get("AIORESP_URL", "redis://localhost")
PREFIX = "example:session:"


async def application(r: Client[str]) -> None:
    for name in ("ada", "grace"):
        await r.hset(PREFIX + name, "visits", 1)
        await r.expire(PREFIX + name, 60)
        await r.hincrby(PREFIX + name, "visits")
    await r.delete(PREFIX + "ada", PREFIX + "grace")


async def main() -> None:
    async with Client(URL) as r:
        seen: Counter[str] = Counter()
        async with r.monitor() as commands:
            await application(r)
            async for command in commands:
                name, *arguments = command.arguments
                if any(argument.startswith(PREFIX) for argument in arguments):  # others may use the server too
                    seen[name.upper()] += 1
                if name.upper() == "DEL":
                    break
        print(dict(seen))  # {'HSET': 2, 'EXPIRE': 2, 'HINCRBY': 2, 'DEL': 1}


if __name__ == "__main__":
    asyncio.run(main())
