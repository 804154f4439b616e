"""Ground that an application stands on: a server, and a folder, neither of which outlives it.

Owns the server that it starts, and starts that again when it dies. Never changes the user's server in AIORESP_URL.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aioresp.cli.called import called
from aioresp.testing import Server, ServerFailed, server
from examples.shared.member import client

#: Waits for the end of its input, which comes however the starter ends, and until its processes have ended, too.
KEEPER = 'read -r _; for _ in 1 2 3 4 5 6 7 8; do rm -rf "$1" 2>/dev/null && exit; sleep 1; done'


@contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """Make a temporary folder. It is removed at the end, also when this process is killed."""
    path = tempfile.mkdtemp(prefix=prefix)
    command = ("sh", "-c", KEEPER, "sh", path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):  # at exit closes the pipe, and waits
        yield Path(path)


@asynccontextmanager
async def server_at_hand(say: Callable[[str], None]) -> AsyncIterator[str]:
    """See that the user's server answers, or start one; yield its URL."""
    if url := os.environ.get("AIORESP_URL"):
        async with client() as redis:
            await redis.ping()
        yield url
        return
    async with server(config={"appendonly": "yes"}) as own:
        say(f"has a server of its own; watch it: {called()} monitor {own.url}")
        keeper = asyncio.create_task(_keep(own, say))
        try:
            yield own.url
        finally:
            keeper.cancel()


async def _keep(own: Server, say: Callable[[str], None]) -> None:
    """Start the server again when it has died, with what it has written to disk."""
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(own.unix_socket_path)
            try:
                await reader.read()  # returns when the server is gone
            finally:
                writer.close()
        except (ConnectionError, FileNotFoundError):
            pass
        say("its server has died, and is started again with what it has written")
        await asyncio.to_thread(own.kill)
        try:
            await asyncio.to_thread(own.start)
        except ServerFailed as error:
            say(f"it cannot be started: {error}")
            await asyncio.sleep(2)
