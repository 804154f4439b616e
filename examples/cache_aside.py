"""A cache in front of something slow: one caller of all processes computes a value, and the others wait for it."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client
from aioresp.recipes import Cache

client = Client(os.environ.get("AIORESP_URL", "redis://localhost"))
cache = Cache(client, prefix="example:", ttl=300)
weather = "sunny"


@cache(key=lambda place: f"forecast:{place}")
async def forecast(place: str) -> dict[str, str]:
    print("computing")
    found = weather
    await asyncio.sleep(0.1)  # the slow part
    return {"place": place, "weather": found}


async def main() -> None:
    global weather
    async with client:
        await forecast.invalidate("oslo")
        answers = await asyncio.gather(*(forecast("oslo") for _ in range(100)))
        print(len(answers), answers[0])  # 100 {'place': 'oslo', 'weather': 'sunny'}
        print("seconds to live:", await client.ttl(forecast.key("oslo")))  # seconds to live: 300

        await forecast.invalidate("oslo")
        early = asyncio.create_task(forecast("oslo"))
        await asyncio.sleep(0.05)
        weather = "rainy"
        await forecast.invalidate("oslo")  # while it is computed
        print((await forecast("oslo"))["weather"], "and not", (await early)["weather"])  # rainy and not sunny
        await forecast.invalidate("oslo")


if __name__ == "__main__":
    asyncio.run(main())
