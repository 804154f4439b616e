"""Orders in a stream, shared among the workers of a group: one of them dies with an order in hand, another does it."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client

URL = os.environ.get("AIORESP_URL", "redis://localhost")
ORDERS, GROUP = "example:orders", "billing"


async def worker(r: Client[str], name: str, done: list[int]) -> None:
    """Work until cancelled; what is in hand then comes again, here or to others."""
    async with r.group_reader(GROUP, name, ORDERS, count=5, min_idle=200) as g:
        async for entry in g:  # acknowledged when the next one is asked for
            number = int(entry.fields["number"])
            if name == "worker-0" and number >= 10:
                raise RuntimeError(f"{name} dies")
            await asyncio.sleep(0.001)
            done.append(number)


async def main() -> None:
    async with Client(URL) as r:
        await r.delete(ORDERS)
        done: list[int] = []
        workers = [asyncio.create_task(worker(r, f"worker-{n}", done)) for n in range(3)]
        for number in range(100):
            await r.xadd(ORDERS, {"number": number})

        while len(done) < 100:
            await asyncio.sleep(0.01)
        for task in workers:
            task.cancel()
        results = await asyncio.gather(*workers, return_exceptions=True)
        print(
            "who failed:", *(result for result in results if isinstance(result, Exception))
        )  # who failed: worker-0 dies
        print("all done, each once:", sorted(done) == list(range(100)))  # all done, each once: True
        await r.delete(ORDERS)


if __name__ == "__main__":
    asyncio.run(main())
