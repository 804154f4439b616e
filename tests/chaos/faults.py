"""What breaks, when, and for how long: a deck of faults that is shuffled and dealt, again and again.

Owns the faults. Each takes itself back, but for a cut that still waits for its byte.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Literal

from aioresp.errors import RedisError
from tests.chaos.world import MAXCLIENTS, World

Fault = Callable[[World], Awaitable[None]]


async def cut(world: World) -> None:
    """End all connections, with or without a reset."""
    world.proxy.cut(rst=world.chance.random() < 0.5)


async def cut_in_a_reply(world: World) -> None:
    """End a connection in the middle of what the server says, some bytes from now."""
    for _ in range(world.chance.randrange(1, 3)):
        world.proxy.cut_after(world.chance.randrange(1, 20_000), "down", rst=world.chance.random() < 0.5)


async def cut_in_a_command(world: World) -> None:
    """End a connection in the middle of what the client says."""
    world.proxy.cut_after(world.chance.randrange(1, 10_000), "up", rst=world.chance.random() < 0.5)


async def delay(world: World) -> None:
    """Let every packet take its time, from now on until the next of these."""
    world.proxy.delay = world.chance.choice((0.0, (0.0, 0.002), (0.0, 0.01), (0.005, 0.03)))
    world.proxy.split = world.chance.choice((None, None, (1, 3000), (500, 20_000)))


async def stall(world: World) -> None:
    """Let no byte pass for a while."""
    directions: tuple[Literal["up", "down", "both"], ...] = ("up", "down", "both")
    direction = world.chance.choice(directions)
    world.proxy.stall(direction)
    await asyncio.sleep(world.chance.uniform(0.1, 1.2))
    world.proxy.resume(direction)


async def half_open(world: World) -> None:
    """Let the server be gone without a word: the connections stay open, and nobody answers on them."""
    world.proxy.half_open()
    await asyncio.sleep(world.chance.uniform(0.1, 0.8))
    world.proxy.accept()


async def refuse(world: World) -> None:
    """End all connections, and refuse new ones for a while."""
    world.proxy.refuse()
    world.proxy.cut()
    await asyncio.sleep(world.chance.uniform(0.05, 0.6))
    world.proxy.accept()


async def client_kill(world: World) -> None:
    """CLIENT KILL: of some connections, or of all of a type."""
    if world.chance.random() < 0.3:
        await world.direct.client_kill_filter(_type=world.chance.choice(("normal", "pubsub")))
        return
    ids = [client.id for client in await world.direct.client_list() if not client.addr.endswith(":0")]
    for number in world.chance.sample(ids, min(len(ids), world.chance.randrange(1, 6))):
        await world.direct.client_kill_filter(_id=number)


async def client_pause(world: World) -> None:
    """CLIENT PAUSE: of everything, or of writes."""
    await world.direct.client_pause(world.chance.randrange(50, 500), all=world.chance.random() < 0.5)


async def freeze(world: World) -> None:
    """Let the server's process stand still (SIGSTOP)."""
    await asyncio.to_thread(world.server.pause)
    await asyncio.sleep(world.chance.uniform(0.1, 1.0))
    await asyncio.to_thread(world.server.resume)


async def kill(world: World) -> None:
    """kill -9 of the server, and a restart with the same data on the same port."""
    await world.kill()
    await asyncio.sleep(world.chance.uniform(0, 0.4))
    await world.start()


async def maxclients(world: World) -> None:
    """Let the server take no more connections, and end those that there are."""
    await world.direct.config_set("maxclients", 1)
    world.proxy.cut(rst=True)
    await asyncio.sleep(world.chance.uniform(0.1, 0.8))
    await world.direct.config_set("maxclients", MAXCLIENTS)


#: How often each comes in a round, and seconds of peace after it for what only time reveals.
DECK: Final[dict[Fault, tuple[int, float]]] = {
    cut: (5, 0.0),
    cut_in_a_reply: (14, 0.0),
    cut_in_a_command: (7, 0.0),
    delay: (6, 0.0),
    stall: (4, 0.0),
    half_open: (1, 1.5),
    refuse: (2, 0.0),
    client_kill: (8, 0.0),
    client_pause: (5, 0.2),
    freeze: (2, 0.0),
    kill: (3, 0.2),
    maxclients: (2, 0.0),
}

#: Seconds between two faults: the longest pause.
PAUSE: Final = 0.6


class Chaos:
    """Deals the deck. `faults` counts them by kind."""

    def __init__(self, world: World, deck: Mapping[Fault, tuple[int, float]]) -> None:
        self.world = world
        self.deck = deck
        self.faults: Counter[str] = Counter()
        self._ended = asyncio.Event()

    async def go(self) -> None:
        """Break one thing after the other, until told to end; then take everything back."""
        chance = self.world.chance
        while not self._ended.is_set():
            # One of each first, so that a slow machine has them all.
            rest = [fault for fault, (count, _) in self.deck.items() for _ in range(count - 1)]
            for fault in (*chance.sample(list(self.deck), len(self.deck)), *chance.sample(rest, len(rest))):
                if self._ended.is_set():
                    break
                await self.world.look()
                try:
                    await fault(self.world)
                except RedisError as error:  # CLIENT KILL hit a restart, or the like
                    self.world.ledger.errors[f"looking after the server: {type(error).__name__}"] += 1
                self.faults[fault.__name__.replace("_", " ")] += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), chance.uniform(0, PAUSE) + self.deck[fault][1])
        self.world.proxy.heal()
        await self.world.direct.config_set("maxclients", MAXCLIENTS)

    def end(self) -> None:
        """Break nothing more. What is under way goes on to its end: half a restart would be no world."""
        self._ended.set()
