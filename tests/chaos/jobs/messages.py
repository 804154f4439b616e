"""Pub/sub: numbered messages, and who listens to them."""

from __future__ import annotations

import asyncio
from typing import Any

from aioresp import Client, Gap
from aioresp.errors import RedisError
from tests.chaos.channels import Channel, Ear
from tests.chaos.jobs.base import Job


async def publish(r: Client[str], channel: Channel, text: str) -> int:
    """Publish a message on a channel of either kind."""
    return await (r.spublish(channel.name, text) if channel.sharded else r.publish(channel.name, text))


class Publish(Job):
    """Publishes numbered messages on a channel of its own."""

    kind = "publish"

    def prepare(self) -> None:
        self.channel = self.make_channel()
        self.common.channels.append(self.channel)

    def make_channel(self) -> Channel:
        return Channel(f"channel-{self.number}", relayed=self.common.relayed)

    async def go(self) -> None:
        while not self.common.calm:
            await self.step()
            await asyncio.sleep(self.chance.expovariate(1 / self.common.pause))

    async def step(self) -> None:
        number = self.channel.make()
        text = self.channel.text(number, self.chance.choice((0, 10, 100)))
        answer = await self.ask(lambda r: publish(r, self.channel, text))
        self.channel.settle(number, answer.outcome)


class Subscribe(Job):
    """Listens from the beginning to the end, to some channels or by a pattern."""

    kind = "subscribe"
    entered = False

    async def go(self) -> None:
        channels, subscription = self.choose()
        async with subscription as s:
            self.entered = True
            ears = {
                channel.name: Ear(self.ledger, channel, self.name, alone=len(channels) == 1) for channel in channels
            }
            self.common.ears.extend(ears.values())
            while not (self.common.over and s.waiting == 0):
                item = await s.get(timeout=0.2)
                if isinstance(item, Gap):
                    self.ledger.figures["gaps"] += 1
                    for ear in ears.values():
                        ear.gap()
                elif item is not None:
                    ears[item.channel].hear(item.channel, item.data)
            if s.dropped:
                self.ledger.wrong("message dropped", f"{s.dropped} by {self.name}")
        for ear in ears.values():
            ear.end()

    def choose(self) -> tuple[list[Channel], Any]:
        """Return the channels to listen to, and the subscription."""
        channels = [channel for channel in self.common.channels if not channel.sharded]
        if not self.number % 3:
            return channels, self.common.client.psubscribe("channel-*", gaps=True)
        channels = self.chance.sample(channels, min(3, len(channels)))
        return channels, self.common.client.subscribe(*(channel.name for channel in channels), gaps=True)


class ComeAndGo(Job):
    """Subscribes for a moment, again and again: whoever is confirmed hears all that is published then."""

    kind = "come and go"

    async def step(self) -> None:
        if self.common.calm:
            return
        channel = self.chance.choice([channel for channel in self.common.channels if not channel.sharded])
        limit = asyncio.timeout(self.chance.uniform(0, 3))
        try:
            async with limit, self.common.client.subscribe(channel.name, gaps=True) as s:
                ear = Ear(self.ledger, channel, self.name)
                self.ledger.answered(self.kind, 1)
                async for item in s:
                    if isinstance(item, Gap):
                        ear.gap()
                    else:
                        ear.hear(item.channel, item.data)
        except TimeoutError:
            if not limit.expired():
                self.ledger.errors["subscribing was too late"] += 1
        except RedisError as error:
            self.ledger.failed(self.kind, error)
