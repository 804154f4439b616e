"""A connection of one's own: what changes its state, like another database, stays with it and is undone at the end."""

from __future__ import annotations

import asyncio
import os

from aioresp import Client

URL = os.environ.get("AIORESP_URL", "redis://localhost")
DRAFT = "example:draft"


async def main() -> None:
    async with Client(URL, db=0) as r:
        await r.set(DRAFT, "Call me Ishmael.")

        async with r.connection() as c:
            await c.move(DRAFT, 1)
            await c.select(1)
            print("in the archive:", await c.get(DRAFT))  # in the archive: Call me Ishmael.
            print("on the desk:", await r.get(DRAFT))  # on the desk: None
            await c.delete(DRAFT)

        # The connection is back in the pool, and in the database that it was made for.
        print("new drafts:", await r.set(DRAFT, "It was a dark and stormy night."))  # new drafts: True
        await r.delete(DRAFT)


if __name__ == "__main__":
    asyncio.run(main())
