"""Sampler of the server's own count of received connections during a demo run.

Owns no connection: it has one client for its whole life, so that the sampling hardly disturbs the count.
"""

from __future__ import annotations

import asyncio

from aioresp import Client
from aioresp.cli.demo.progress import Progress

#: Seconds between samples. One costs the server some ten microseconds.
PERIOD = 0.125


class Sampler:
    """Reads `total_connections_received` and notes it in the progress."""

    def __init__(self, client: Client[str], progress: Progress) -> None:
        self._client = client
        self._progress = progress
        self._first: int | None = None

    async def look(self) -> None:
        """Note how many connections the server has received since the first look, its own left out."""
        figures = await self._client.info("stats")
        # Its own is one, made before the first look; another one only if that broke.
        total = figures.integer("total_connections_received") - self._client.stats().made
        if self._first is None:
            self._first = total
        self._progress.received.append(total - self._first)

    async def watch(self) -> None:
        """Look again and again, until cancelled. Raises RedisError if the server does not answer."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.look()
