"""Streams: a reader gets every entry, once and in order; a group does every job, once."""

from __future__ import annotations

import asyncio
import time
import zlib
from array import array

from aioresp import Client
from tests.chaos.jobs.base import Job
from tests.chaos.ledger import Ledger
from tests.chaos.streams import GROUP, Log


class Append(Job):
    """Appends numbered entries to a log of its own, and jobs for a group."""

    kind = "append"

    def prepare(self) -> None:
        self.log = Log(self.ledger, f"log-{self.number}")
        self.common.logs.append(self.log)

    async def step(self) -> None:
        if self.common.calm:
            return
        number = self.log.make()
        text = self.log.text(number, self.chance.choice((0, 10, 100)))
        answer = await self.ask(lambda r: r.xadd(self.log.name, {"text": text}))
        self.log.settle(number, answer.outcome)
        queue = self.chance.choice(self.common.streamed)
        (job,) = queue.make(self.number, 1)
        added = await self.ask(lambda r: r.xadd(queue.key, {"job": job}))
        queue.settle([job], added.outcome)


class ReadOn(Job):
    """Reads a log from the beginning to the end, whatever happens."""

    kind = "read on"

    async def go(self) -> None:
        log = self.common.logs[self.number % len(self.common.logs)]
        self.read = Reading(self.ledger, log, self.name)
        async with self.common.client.stream_reader(log.name, last_id="0", block=500) as s:
            while not self.common.over:
                try:
                    async with asyncio.timeout(self.chance.choice((0.001, 0.03, 0.3, 2))):
                        entry = await anext(s)
                except TimeoutError:
                    continue
                self.ledger.answered(self.kind, 1)
                self.read.take(entry.id, entry.fields.get("text", ""))


class Consume(Job):
    """Takes jobs of a group: each is acknowledged when the next one is asked for."""

    kind = "consume"
    entered = False

    async def go(self) -> None:
        queue = self.common.streamed[self.number % len(self.common.streamed)]
        reader = self.common.client.group_reader(GROUP, self.name, queue.key, block=500, min_idle=None)
        async with reader as g:
            self.entered = True
            while not self.common.over:
                try:
                    async with asyncio.timeout(self.chance.choice((0.001, 0.03, 0.3, 2))):
                        entry = await anext(g)
                except TimeoutError:
                    continue
                self.ledger.answered(self.kind, 1)
                queue.take(entry.fields.get("job", ""))


class Reading:
    """What a reader has got of a log, up to now: sums over ids and texts in their order."""

    def __init__(self, ledger: Ledger, log: Log, who: str) -> None:
        self.ledger = ledger
        self.log = log
        self.who = who
        self.last = ""
        self._sums = array("Q")
        self._times = array("d")

    @property
    def count(self) -> int:
        """How many entries there were."""
        return len(self._sums)

    def take(self, number: str, text: str) -> None:
        """Note an entry."""
        if not text.startswith(f"{self.log.name}:"):
            self.ledger.crossed(self.who, self.log.name, text)
        self._sums.append(zlib.crc32(f"{number}={text}".encode()))
        self._times.append(time.monotonic())
        self.last = number

    async def verify(self, direct: Client[str]) -> None:
        """Check that it is what the stream has."""
        real = Reading(self.ledger, self.log, "the server")
        for entry in await direct.xrange(self.log.name):
            real.take(entry.id, entry.fields["text"])
        if self._sums == real._sums:
            return
        there = set(real._sums)
        gone = [moment for each, moment in zip(self._sums, self._times, strict=True) if each not in there]
        what = f"{self.who} has read {self.count} entries up to {self.last}"
        what = f"{what}, and {self.log.name} has {real.count} up to {real.last}"
        if gone and [each for each in self._sums if each in there] == [*real._sums]:
            self.ledger.lost("stream read wrongly", self.log.name, gone, what)
        else:
            self.ledger.wrong("stream read wrongly", what)
