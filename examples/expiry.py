"""Keyspace notifications: somebody acts when a key expires."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client

URL = os.environ.get("AIORESP_URL", "redis://localhost")
CARTS = "example:cart:"


async def main() -> None:
    async with Client(URL) as r:
        before = (await r.config_get("notify-keyspace-events"))["notify-keyspace-events"]
        await r.config_set("notify-keyspace-events", "KA")
        async with r.keyspace_events(f"{CARTS}*", events=["expired"]) as expired:
            for name in ("ada", "grace"):
                await r.set(f"{CARTS}{name}", "three books", px=50)
            forgotten = {(await expired.get()).key.removeprefix(CARTS) for _ in range(2)}
        print("forgotten carts:", sorted(forgotten))  # forgotten carts: ['ada', 'grace']
        await r.config_set("notify-keyspace-events", before)


if __name__ == "__main__":
    asyncio.run(main())
