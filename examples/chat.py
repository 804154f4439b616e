"""Subscriptions: many listeners on one connection, which hear when they may have missed something."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client, Gap

URL = os.environ.get("AIORESP_URL", "redis://localhost")
ROOM = "example:chat"


async def listen(r: Client[str], entered: asyncio.Semaphore) -> list[str]:
    """Return what was said in the room, up to the farewell."""
    heard = []
    async with r.subscribe(ROOM, gaps=True) as room:
        entered.release()
        async for item in room:
            if isinstance(item, Gap):
                heard.append("(something may be missing)")
            else:
                heard.append(item.data)
                if item.data == "bye":
                    break
    return heard


async def main() -> None:
    async with Client(URL) as r:
        entered = asyncio.Semaphore(0)
        listeners = [asyncio.create_task(listen(r, entered)) for _ in range(200)]
        for _ in listeners:
            await entered.acquire()
        print("connections:", r.stats().open)  # connections: 1
        for words in ("hello", "how are you?", "bye"):
            await r.publish(ROOM, words)
        heard = await asyncio.gather(*listeners)
        print("each heard:", heard[0])  # each heard: ['hello', 'how are you?', 'bye']
        print("all the same:", all(each == heard[0] for each in heard))  # all the same: True


if __name__ == "__main__":
    asyncio.run(main())
