"""What breaks in the network, and for how long.

Owns the faults of a proxy. Each takes itself back, but for a delay, and a cut that still waits for its byte.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from tests.chaos.stage import Stage


async def cut(stage: Stage) -> None:
    """End all connections, with or without a reset."""
    stage.proxy.cut(rst=stage.chance.random() < 0.5)


async def cut_in_a_reply(stage: Stage) -> None:
    """End a connection in the middle of what the server says, some bytes from now."""
    for _ in range(stage.chance.randrange(1, 3)):
        stage.proxy.cut_after(stage.chance.randrange(1, 20_000), "down", rst=stage.chance.random() < 0.5)


async def cut_in_a_command(stage: Stage) -> None:
    """End a connection in the middle of what the client says."""
    stage.proxy.cut_after(stage.chance.randrange(1, 10_000), "up", rst=stage.chance.random() < 0.5)


async def delay(stage: Stage) -> None:
    """Let every packet take its time, from now on until the next of these."""
    proxy = stage.proxy
    proxy.delay = stage.chance.choice((0.0, (0.0, 0.002), (0.0, 0.01), (0.005, 0.03)))
    proxy.split = stage.chance.choice((None, None, (1, 3000), (500, 20_000)))


async def stall(stage: Stage) -> None:
    """Let no byte pass for a while."""
    proxy = stage.proxy
    directions: tuple[Literal["up", "down", "both"], ...] = ("up", "down", "both")
    direction = stage.chance.choice(directions)
    proxy.stall(direction)
    await asyncio.sleep(stage.chance.uniform(0.1, 1.2))
    proxy.resume(direction)


async def half_open(stage: Stage) -> None:
    """Let the server be gone without a word: the connections stay open, and nobody answers on them."""
    proxy = stage.proxy
    proxy.half_open()
    await asyncio.sleep(stage.chance.uniform(0.1, 0.8))
    proxy.accept()


async def refuse(stage: Stage) -> None:
    """End all connections, and refuse new ones for a while."""
    proxy = stage.proxy
    proxy.refuse()
    proxy.cut()
    await asyncio.sleep(stage.chance.uniform(0.05, 0.6))
    proxy.accept()
