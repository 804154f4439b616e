"""Load of the cluster demo: thousands of tasks, each of which increments a counter of its own now and then.

Owns the tasks, and the ledger of what they were told. Never knows which node is killed, or that one is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from itertools import count as numbers
from typing import NamedTuple

from aioresp import Cluster, ConnectionLost, RedisError
from aioresp.cli.failover.progress import Sample, Shard

#: Seconds that a task rests between two calls, on average. Rests without memory make an even load, from the beginning
#: and again after a pause. The pace is one that a busy machine keeps.
PERIOD = 3.0

#: Seconds between two samples.
EVERY = 0.1

#: Keys that are read at a time.
BATCH = 2_000


class Ledger(NamedTuple):
    """Counters in the servers, against what the tasks were told."""

    acknowledged: int
    unknown: int
    """Calls that failed with an unknown outcome: each of them may have run."""
    lost: int
    """Acknowledged increments that are not there."""
    twice: int
    """Increments that are there, and that no call accounts for."""


class Load:
    """Tasks, shared out to the shards evenly."""

    def __init__(self, client: Cluster[str], shards: Sequence[Shard], count: int, clock: Callable[[], float]) -> None:
        self._client = client
        self._shards = shards
        self._clock = clock
        self._keys: list[tuple[str, Shard]] = []
        self._choose_keys(count)
        self._acknowledged = [0] * count
        self._unknown = [0] * count
        self._busy = bytearray(count)  # 1 for a task whose call is under way
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    def _choose_keys(self, count: int) -> None:
        shares = {shard.name: count // len(self._shards) for shard in self._shards}
        for shard in self._shards[: count % len(self._shards)]:
            shares[shard.name] += 1
        for number in numbers():
            if len(self._keys) == count:
                return
            key = f"counter:{number}"
            slot = self._client.keyslot(key)
            shard = next(each for each in self._shards if each.slots[0] <= slot <= each.slots[1])
            if shares[shard.name]:
                shares[shard.name] -= 1
                self._keys.append((key, shard))

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin all tasks."""
        self._tasks = [group.create_task(self._count(number)) for number in range(len(self._keys))]

    async def stop(self) -> None:
        """End all tasks, each of them after its call."""
        self._stopped = True
        for number, task in enumerate(self._tasks):
            if not self._busy[number]:
                task.cancel()
        await asyncio.wait(self._tasks)

    async def _count(self, number: int) -> None:
        key, shard = self._keys[number]
        await asyncio.sleep(random.expovariate(1 / PERIOD))
        while not self._stopped:
            self._busy[number] = 1
            shard.waiting += 1
            try:
                await self._client.incr(key)
            except RedisError as error:
                shard.errors += 1
                if not isinstance(error, ConnectionLost) or error.outcome == "unknown":
                    self._unknown[number] += 1
            else:
                self._acknowledged[number] += 1
                self._note_reply(shard)
            finally:
                shard.waiting -= 1
                self._busy[number] = 0
            if not self._stopped:
                await asyncio.sleep(random.expovariate(1 / PERIOD))

    def _note_reply(self, shard: Shard) -> None:
        now = self._clock()
        shard.done += 1
        if shard.replied is not None and now - shard.replied > shard.paused:
            shard.pause = shard.replied, now
        shard.replied = now

    async def sample(self) -> None:
        """Note the counts of all shards again and again, until cancelled."""
        while True:
            self.note()
            await asyncio.sleep(EVERY)

    def note(self) -> None:
        """Note the counts of all shards."""
        now = self._clock()
        topology = self._client.topology()
        for shard in self._shards:
            known = topology.shard_of(shard.slots[0])
            serving = "" if known is None else str(known.primary)
            shard.samples.append(Sample(now, shard.done, shard.errors, shard.waiting, serving))

    async def ledger(self) -> Ledger:
        """Compare all counters with what the tasks were told."""
        lost = twice = 0
        keys = [key for key, _ in self._keys]
        for start in range(0, len(keys), BATCH):
            values = await self._client.mget(keys[start : start + BATCH])
            for number, value in enumerate(values, start):
                counted, told = int(value or 0), self._acknowledged[number]
                lost += max(told - counted, 0)
                twice += max(counted - told - self._unknown[number], 0)
        return Ledger(sum(self._acknowledged), sum(self._unknown), lost, twice)
