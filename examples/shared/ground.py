"""Server of an application: the one in AIORESP_URL, or one of its own, which is started again when it dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aioresp.testing import Server, server
from examples.shared.member import client


@asynccontextmanager
async def server_at_hand(say: Callable[[str], None]) -> AsyncIterator[str]:
    """See that the user's server answers, or start one; yield its URL."""
    if url := os.environ.get("AIORESP_URL"):
        async with client() as redis:
            await redis.ping()
        yield url
        return
    async with server(config={"appendonly": "yes"}) as own:
        say(f"has a server of its own; watch it: aioresp monitor {own.url}")
        keeper = asyncio.create_task(_keep(own, say))
        try:
            yield own.url
        finally:
            keeper.cancel()


async def _keep(own: Server, say: Callable[[str], None]) -> None:
    """Start the server again when it has died, with what it has written to disk."""
    while True:
        reader, writer = await asyncio.open_unix_connection(own.unix_socket_path)
        try:
            await reader.read()  # returns when the server is gone
        except ConnectionError:
            pass
        finally:
            writer.close()
        say("its server has died, and is started again with what it has written")
        await asyncio.to_thread(own.stop)
        await asyncio.to_thread(own.start)
