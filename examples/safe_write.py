"""Write to the primary that Sentinel names, wait until a replica has it, and read there."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client

URL = os.environ.get("AIORESP_URL", "redis+sentinel://localhost:26379/mymaster")


async def save(r: Client[str], order: str, text: str) -> bool:
    """Store an order; return whether a replica has it too, so that it survives the loss of the primary."""
    async with r.connection() as c:  # WAIT counts the writes of its own connection
        await c.set(order, text)
        return await c.wait(1, 5000) >= 1


async def main() -> None:
    async with Client(URL) as r:
        print("safe:", await save(r, "example:order:1", "bread and wine"))  # safe: True

        reports = r.with_options(read_from="prefer_replica")  # the same connections; reads go to replicas
        while await reports.get("example:order:1") is None:  # another replica may lag behind
            await asyncio.sleep(0.01)
        print(await reports.get("example:order:1") in ("bread and wine", None))  # True
        await r.delete("example:order:1")


if __name__ == "__main__":
    asyncio.run(main())
