"""Values that are not text: a client for bytes, and a view on the same connections for text."""

from __future__ import annotations

import asyncio
import os
from array import array

from aioresp import Client, DecodeError

URL = os.environ.get("AIORESP_URL", "redis://localhost")


async def main() -> None:
    async with Client(URL, decode_responses=False) as raw:
        text = raw.with_options(decode_responses=True)

        samples = array("d", [0.5, -1.25, 1e300])
        await raw.set("example:samples", memoryview(samples), ex=60)  # bytes, bytearray or memoryview, as they are
        await text.set("example:unit", "°C", ex=60)

        stored: bytes | None = await raw.get("example:samples")
        print(array("d", stored or b"").tolist())  # [0.5, -1.25, 1e+300]
        print(await text.get("example:unit"), await raw.get("example:unit"))  # °C b'\xc2\xb0C'

        try:
            await text.get("example:samples")
        except DecodeError as error:
            print(error.command, "of what is not text:", type(error).__name__)  # GET of what is not text: DecodeError

        print("connections made:", raw.stats().made)  # connections made: 1
        await raw.delete("example:samples", "example:unit")


if __name__ == "__main__":
    asyncio.run(main())
