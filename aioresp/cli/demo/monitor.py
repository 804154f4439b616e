"""Sampler of the server's own count of received connections during a demo run.

Owns one connection for its whole life, so that the sampling hardly disturbs the count. Never opens another.
"""

from __future__ import annotations

import asyncio
import time

from aioresp import Client
from aioresp.cli.demo.progress import Phase, Progress, Sample

#: Seconds between samples. One costs the server some ten microseconds.
PERIOD = 0.125


class Monitor:
    """Reads `total_connections_received` and notes it in the progress."""

    def __init__(self, client: Client[str], progress: Progress) -> None:
        self._client = client
        self._progress = progress
        self._first: int | None = None
        self._began = time.perf_counter()

    async def received(self) -> int:
        """Return how many connections the server has received since the first look, the monitor's own left out."""
        figures = await self._client.info("stats")
        # Its own is one, made before the first look; another one only if that broke.
        total = figures.integer("total_connections_received") - self._client.stats().made
        if self._first is None:
            self._first = total
        since = total - self._first
        phase = self._progress.current
        phase.connections = since - phase.baseline
        self._progress.samples.append(Sample(time.perf_counter() - self._began, since, phase.number))
        return since

    async def begin(self, phase: Phase) -> None:
        """Count for `phase` from now on."""
        since = await self.received()
        phase.baseline = since
        self._progress.current = phase
        self._progress.samples.append(self._progress.samples[-1]._replace(phase=phase.number))
        phase.began = time.perf_counter()

    async def end(self, phase: Phase) -> None:
        """Stop the clock of `phase` and count for the last time."""
        phase.ended = time.perf_counter()
        await self.received()

    async def watch(self) -> None:
        """Sample again and again, until cancelled. Raises RedisError if the server does not answer."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.received()
