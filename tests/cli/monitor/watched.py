"""Servers that a test watches with the monitor's live source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aioresp.cli.monitor.live import Live
from aioresp.cli.monitor.rows import Notice
from aioresp.cli.monitor.source import Moment
from aioresp.cli.target import Target
from aioresp.testing import Server

#: Seconds between two readings: short, but long enough for a rate.
APART = 0.05


@asynccontextmanager
async def watching(server: Server | str, *queues: str) -> AsyncIterator[Live]:
    """Return a live source that has read once, so that the next reading has rates."""
    live = Live(Target(server if isinstance(server, str) else server.url), queues)
    try:
        await live.read()
        await asyncio.sleep(APART)
        yield live
    finally:
        await live.aclose()


def named(moment: Moment, name: str) -> list[Notice]:
    """Return the warnings of one name."""
    return [notice for notice in moment.notices if notice.name == name]


async def until(live: Live, met: Any, tries: int = 60, apart: float = APART) -> Moment:
    """Read until a condition on the moment is met."""
    moment = await live.read()
    for _ in range(tries):
        if met(moment):
            return moment
        await asyncio.sleep(apart)
        moment = await live.read()
    raise AssertionError(f"never met: {moment.whole}, {moment.notices}")
