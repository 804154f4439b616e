"""Dealer of faults: a deck that is shuffled and dealt, again and again.

Owns the order and the pauses. Never knows what a fault does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Generic, TypeAlias

from aioresp.errors import RedisError
from aioresp.testing import ServerFailed
from tests.chaos.stage import S

Fault: TypeAlias = Callable[[S], Awaitable[None]]

#: How often each fault comes in a round, and seconds of peace after it for what only time reveals.
Deck: TypeAlias = Mapping[Fault[S], tuple[int, float]]

#: Seconds between two faults: the longest pause.
PAUSE: Final = 0.6


class Chaos(Generic[S]):
    """Deals the deck. `faults` counts them by kind."""

    def __init__(self, world: S, deck: Deck[S]) -> None:
        self.world = world
        self.deck = deck
        self.faults: Counter[str] = Counter()
        self.dealt = False  # set when each fault has come once; never cleared
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
                self.world.note(f"begins to {fault.__name__}")
                try:
                    await fault(self.world)
                except RedisError as error:  # CLIENT KILL hit a restart, or the like
                    self.world.ledger.errors[f"looking after the server: {type(error).__name__}"] += 1
                except ServerFailed as error:  # `look` tells more, if a server has died
                    self.world.ledger.wrong("the servers do not obey", f"{fault.__name__}: {error}")
                    await self.world.look()
                    await self.world.heal()
                self.faults[fault.__name__.replace("_", " ")] += 1
                self.dealt = self.dealt or len(self.faults) == len(self.deck)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), chance.uniform(0, PAUSE) + self.deck[fault][1])
        await self.world.heal()

    def end(self) -> None:
        """Break nothing more. What is under way goes on to its end: half a restart would be no world."""
        self._ended.set()
