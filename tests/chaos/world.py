"""The world of a run: a server that keeps everything, a proxy in front of it, and who looks after both.

Owns the server's life and what its keys are at the start. Never knows what the tasks do with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

from aioresp import Client, Retry
from aioresp.errors import RedisError
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.chaos.ledger import Ledger
from tests.chaos.stage import Stage

#: Every write is on the disk before it is acknowledged; the log is rewritten while the run goes on.
CONFIG: Final = {"appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-min-size": "16mb"}

#: Connections that the server takes, but for a moment now and then.
MAXCLIENTS: Final = 10_000


class World(Stage):
    """A server and the proxy before it."""

    def __init__(self, server: Server, proxy: Proxy, direct: Client[str], ledger: Ledger, seed: str) -> None:
        super().__init__(direct, ledger, seed)
        self._server = server
        self._proxy = proxy

    @property
    def server(self) -> Server:
        """The server."""
        return self._server

    @property
    def proxy(self) -> Proxy:
        """The proxy before it."""
        return self._proxy

    @property
    def cuts(self) -> int:
        """How many connections the proxy has cut."""
        return self.proxy.cuts

    async def fill(self) -> None:
        """Write what never changes; what database 1 has under the same names says so."""
        for database in (0, 1):
            async with self.direct.connection() as c:
                await c.select(database)
                p = c.pipeline()
                self.queue_static(p, f"in {database}: " if database else "")
                await p.execute()

    async def kill(self) -> None:
        """Kill the server, as a crash would."""
        await asyncio.to_thread(self.server.kill)

    async def start(self) -> None:
        """Start it again, on the same port, with the same data."""
        await asyncio.to_thread(self.server.start)

    def lose_the_end(self) -> None:
        """Take the last bytes off the log of a server that is down: what a disk without fsync may do to it."""
        log = max(Path(self.server.folder).rglob("*.aof"), key=lambda path: path.stat().st_mtime)
        with log.open("r+b") as file:
            file.truncate(max(0, log.stat().st_size - 20_000))

    async def look(self) -> None:
        """Note it if the server has ended by itself, and start it again."""
        try:
            await self.direct.ping()
        except RedisError as error:
            log = self.server.log[-3000:]
            self.ledger.wrong("the server died", f"{error}; its log: {log}")
            await self.kill()
            await self.start()

    async def heal(self) -> None:
        """Take all faults back."""
        self.proxy.heal()
        await self.direct.config_set("maxclients", MAXCLIENTS)

    async def clients(self) -> int:
        """Return how many connections the server has, but for those of `direct`."""
        return sum(client.addr.endswith(":0") is False for client in await self.direct.client_list())


@asynccontextmanager
async def world(ledger: Ledger, seed: str) -> AsyncIterator[World]:
    """Start a server and a proxy, and fill it."""
    async with (
        start_server(config=CONFIG, timeout=60) as server,
        Proxy(server.host, server.port, seed=Random(f"{seed}:proxy").randrange(2**32)) as proxy,
        Client(server.unix_url, timeout=20, retry=Retry(100, cap=0.2), limit=4) as direct,
    ):
        made = World(server, proxy, direct, ledger, seed)
        await made.fill()
        yield made
