"""A script: at most five calls in a second for each caller, decided in one step on the server."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client

URL = os.environ.get("AIORESP_URL", "redis://localhost")
PREFIX = "example:calls:"

# Reading and writing are one: two callers cannot both take the last place.
TAKE_A_PLACE = """
local calls = redis.call('INCR', KEYS[1])
if calls == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return calls <= tonumber(ARGV[1]) and 1 or 0
"""


async def main() -> None:
    async with Client(URL) as r:
        take_a_place = r.register_script(TAKE_A_PLACE)

        async def call(name: str) -> bool:
            return bool(await take_a_place(keys=[PREFIX + name], args=[5, 1000]))

        allowed = await asyncio.gather(*(call("ada") for _ in range(50)))
        print(f"ada: {sum(allowed)} of {len(allowed)} calls went through")  # ada: 5 of 50 calls went through
        print("grace:", await call("grace"))  # grace: True

        await r.delete(PREFIX + "ada", PREFIX + "grace")


if __name__ == "__main__":
    asyncio.run(main())
