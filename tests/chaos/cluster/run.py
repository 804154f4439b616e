"""Run on a cluster, with a proxy before each node.

Owns the choice of the jobs, the deck and the stage of such a run, and what is checked of replicas.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Final, Unpack

from aioresp import Client
from aioresp.cluster import Cluster
from aioresp.options import Options
from tests.chaos.cluster.faults import DECK
from tests.chaos.cluster.jobs import JOBS, SHARDED
from tests.chaos.cluster.world import ClusterWorld, do, world
from tests.chaos.dealing import Deck
from tests.chaos.jobs.base import STATIC
from tests.chaos.losses import Losses
from tests.chaos.play import Play

#: Reads of the check of replicas.
READS: Final = 60


class ClusterRun(Play[ClusterWorld]):
    """A run of a hundred tasks on a cluster of three primaries and three replicas."""

    jobs_of = JOBS
    remembered = 20

    def __init__(
        self,
        seconds: float,
        seed: str | None = None,
        pause: float = 0.1,
        deck: Deck[ClusterWorld] = DECK,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(seconds, seed, pause, deck, **options)
        self.ledger.losses = Losses()

    def stage(self) -> AbstractAsyncContextManager[ClusterWorld]:
        """Return a cluster, filled, and its proxies."""
        return world(self.ledger, self.seed)

    def client(self, made: ClusterWorld) -> Client[str]:
        """Return a client that knows the seed, and goes through the proxies."""
        return Cluster(made.url, **self.options)

    def prepare(self, made: ClusterWorld) -> None:
        """Give the jobs shard channels if the servers have them."""
        self.common.relayed = True
        if made.server.version >= (7,):
            self.jobs_of = JOBS | SHARDED
        assert isinstance(self.common.client, Cluster)
        made.client = self.common.client
        made.channels, made.ears = self.common.channels, self.common.ears

    async def check_more(self, made: ClusterWorld, client: Client[str]) -> None:
        """Check that replicas serve those who ask for it, by the count of the replicas themselves."""
        await asyncio.sleep(2)  # a server that has failed is asked after the others for a moment
        view = client.with_options(read_from="replica")
        before = await do(_gets, made)
        for number in range(READS):
            await view.get(f"who:{number % STATIC}")
        served = await do(_gets, made) - before
        self.ledger.figures["reads that replicas served at the end"] = served
        if served < READS // 2:
            self.ledger.wrong("replicas do not serve", f"{served} of {READS} reads in peace")


def _gets(made: ClusterWorld) -> int:
    return sum(node.commandstats().get("get", 0) for node in made.servers.replicas())
