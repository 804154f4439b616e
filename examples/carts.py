"""Keep shopping carts in a cluster: the keys of one user share a slot, and so a transaction."""

from __future__ import annotations

import asyncio
import os

from aioresp import Cluster

URL = os.environ.get("AIORESP_URL", "redis+cluster://localhost:7000")


async def put(r: Cluster[str], user: int, item: str) -> None:
    async with r.pipeline(transaction=True) as p:  # the braces make both keys share a slot
        p.rpush(f"example:{{{user}}}:cart", item)
        p.incr(f"example:{{{user}}}:items")


async def main() -> None:
    async with Cluster(URL) as r:
        async with asyncio.TaskGroup() as tasks:
            for user in range(100):
                tasks.create_task(put(r, user, "bread"))
                tasks.create_task(put(r, user, "wine"))

        async with r.pipeline() as p:  # one write to each node
            carts = [p.llen(f"example:{{{user}}}:cart") for user in range(100)]
        print("items in all carts:", sum([await cart for cart in carts]))  # items in all carts: 200

        keys = [key async for key in r.scan_iter("example:*:cart")]
        print("carts on all nodes:", len(set(keys)))  # carts on all nodes: 100
        print("nodes with carts:", len({(await r.near(key)).node for key in keys}))  # nodes with carts: 3

        keys += [key async for key in r.scan_iter("example:*:items")]
        print("keys deleted:", await r.delete(*set(keys)))  # keys deleted: 200


if __name__ == "__main__":
    asyncio.run(main())
