"""A timeline that several listeners read, each in its own time; one goes away, and comes back to where it was."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client, StreamReader

URL = os.environ.get("AIORESP_URL", "redis://localhost")
TIMELINE = "example:timeline"


async def listen(s: StreamReader[str], until: str) -> list[str]:
    """Read on until somebody says a word."""
    heard = []
    async for entry in s:
        heard.append(entry.fields["said"])
        if entry.fields["said"] == until:
            break
    return heard


async def main() -> None:
    async with Client(URL) as r:
        await r.delete(TIMELINE)
        await r.xadd(TIMELINE, {"said": "before"})
        async with r.stream_reader(TIMELINE) as new, r.stream_reader(TIMELINE, last_id="0") as everything:
            for word in ("one", "two"):
                await r.xadd(TIMELINE, {"said": word}, maxlen=1000)
            print("from now on:", *await listen(new, "two"))  # from now on: one two
            print("from the beginning:", *await listen(everything, "two"))  # from the beginning: before one two
            place = new.last_ids

        await r.xadd(TIMELINE, {"said": "three"})  # nobody listens
        async with r.stream_reader(last_id=place) as back:
            print("back again:", *await listen(back, "three"))  # back again: three
        await r.delete(TIMELINE)


if __name__ == "__main__":
    asyncio.run(main())
