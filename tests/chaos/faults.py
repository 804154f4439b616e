"""What breaks on one server, when, and for how long.

Owns the faults of the server, and how often each comes. Each takes itself back.
"""

from __future__ import annotations

import asyncio
from typing import Final

from tests.chaos.dealing import Deck
from tests.chaos.network import cut, cut_in_a_command, cut_in_a_reply, delay, half_open, refuse, stall
from tests.chaos.world import MAXCLIENTS, World


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


DECK: Final[Deck[World]] = {
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
