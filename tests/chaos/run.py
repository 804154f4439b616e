"""Run on one server, behind a proxy.

Owns the choice of the jobs, the deck and the stage of such a run.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Unpack

from aioresp import Client
from aioresp.options import Options
from tests.chaos.dealing import Deck
from tests.chaos.faults import DECK
from tests.chaos.jobs import JOBS
from tests.chaos.play import Play
from tests.chaos.world import World, world


class Run(Play[World]):
    """A run of 200 tasks on one server that keeps everything."""

    jobs_of = JOBS

    def __init__(
        self,
        seconds: float,
        seed: str | None = None,
        pause: float = 0.05,
        deck: Deck[World] = DECK,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(seconds, seed, pause, deck, **options)

    def stage(self) -> AbstractAsyncContextManager[World]:
        """Return a server, filled, and a proxy before it."""
        return world(self.ledger, self.seed)

    def client(self, made: World) -> Client[str]:
        """Return a client that goes through the proxy."""
        return Client(made.proxy.url, **self.options)
