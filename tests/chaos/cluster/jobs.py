"""What the tasks of a run on a cluster do besides those on one server: shard channels, and reads from replicas.

Owns the list of the jobs, and how many there are of each in a hundred tasks.
"""

from __future__ import annotations

import time
from typing import Any, Final

from aioresp import Client
from tests.chaos.channels import Channel
from tests.chaos.jobs import Job
from tests.chaos.jobs.base import Call
from tests.chaos.jobs.counters import Count, CountTogether
from tests.chaos.jobs.messages import ComeAndGo, Publish, Subscribe
from tests.chaos.jobs.pipelines import Pipe, ReadPipe
from tests.chaos.jobs.queues import Move, Pop, PopScored, Push
from tests.chaos.jobs.streams import Append, Consume, ReadOn
from tests.chaos.jobs.transactions import Transfer, Watch
from tests.chaos.jobs.values import Echo, Read, Remember, Write
from tests.chaos.jobs.visits import Visit
from tests.chaos.ledger import Answer, T
from tests.chaos.losses import FIGURES


class ReadFromReplica(Read):
    """The same reads, from replicas as far as they serve.

    A replica does not tell that a slot is on its way: keys that have gone are not there. It must find all others.
    """

    kind = "read from replica"

    async def ask(self, call: Call[T], commands: int = 1, *, view: Client[str] | None = None) -> Answer[T]:
        return await super().ask(call, commands, view=self.common.client.with_options(read_from="replica"))

    def miss(self, owner: str) -> None:
        losses = self.ledger.losses
        if losses is not None and losses.explain("read", owner, self.begin, time.monotonic()):
            self.ledger.figures[FIGURES["read"]] += 1
        else:
            super().miss(owner)


class PublishOnShard(Publish):
    """Publishes numbered messages on a shard channel of its own."""

    kind = "publish on shard"

    def make_channel(self) -> Channel:
        return Channel(f"shard-{self.number}", sharded=True)


class SubscribeToShard(Subscribe):
    """Listens to one shard channel, or to several of different slots."""

    kind = "subscribe to shard"

    def choose(self) -> tuple[list[Channel], Any]:
        channels = [channel for channel in self.common.channels if channel.sharded]
        channels = [channels[self.number % len(channels)]] if self.number % 3 else channels
        return channels, self.common.client.ssubscribe(*(channel.name for channel in channels), gaps=True)


#: Servers before 7.0 have no shard channels.
SHARDED: Final[dict[type[Job], int]] = {PublishOnShard: 3, SubscribeToShard: 6}

JOBS: Final[dict[type[Job], int]] = {
    Echo: 4,
    Read: 6,
    ReadFromReplica: 5,
    Write: 8,
    Remember: 3,
    Count: 11,
    CountTogether: 7,
    Pipe: 7,
    ReadPipe: 4,
    Transfer: 4,
    Watch: 4,
    Push: 3,
    Pop: 4,
    PopScored: 3,
    Move: 4,
    Publish: 2,
    Subscribe: 3,
    ComeAndGo: 2,
    Append: 2,
    ReadOn: 2,
    Consume: 2,
    Visit: 1,
}
