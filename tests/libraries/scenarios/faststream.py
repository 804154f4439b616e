"""FastStream: channels, patterns, lists, batches, streams with a group, and requests that wait for their answer."""

from __future__ import annotations

import asyncio
from collections import Counter

from faststream import AckPolicy
from faststream.redis import ListSub, PubSub, RedisBroker, RedisStreamMessage, StreamSub
from pydantic import BaseModel
from stage import kill_connections, until


class Order(BaseModel):
    number: int
    note: str = ""


async def main(url: str) -> None:
    broker = RedisBroker(url, logger=None)
    heard: dict[str, Counter[int]] = {name: Counter() for name in ("channel", "pattern", "list", "batch", "stream")}
    batches: list[int] = []

    @broker.subscriber("orders")
    async def on_channel(order: Order) -> None:
        heard["channel"][order.number] += 1

    @broker.subscriber(PubSub("logs.*", pattern=True))
    async def on_pattern(order: Order) -> None:
        heard["pattern"][order.number] += 1

    @broker.subscriber(list=ListSub("jobs", polling_interval=0.05))
    @broker.publisher(list="done")
    async def on_list(order: Order) -> Order:
        heard["list"][order.number] += 1
        return Order(number=order.number, note="done")

    @broker.subscriber(list=ListSub("done", batch=True, max_records=10, polling_interval=0.05))
    async def on_batch(orders: list[Order]) -> None:
        batches.append(len(orders))
        heard["batch"].update(order.number for order in orders)

    @broker.subscriber(
        stream=StreamSub("events", group="readers", consumer="one", last_id="0"),
        ack_policy=AckPolicy.MANUAL,
    )
    async def on_stream(order: Order, message: RedisStreamMessage) -> None:
        heard["stream"][order.number] += 1
        await message.ack(broker._connection)

    @broker.subscriber("questions")
    async def on_question(order: Order) -> Order:
        return Order(number=order.number * 2, note="answer")

    async with broker:
        await broker.start()
        for number in range(100):
            await broker.publish(Order(number=number), "orders")
            await broker.publish(Order(number=number), "logs.web")
            await broker.publish(Order(number=number), list="jobs")
            await broker.publish(Order(number=number), stream="events")
        await until(lambda: all(counts == Counter(range(100)) for counts in heard.values()), "all have heard all once")
        assert max(batches) <= 10

        answers = await asyncio.gather(
            *(broker.request(Order(number=number), "questions", timeout=100) for number in range(30))
        )
        assert [(await answer.decode())["number"] for answer in answers] == [2 * number for number in range(30)]

        await kill_connections()
        for number in range(100, 120):
            await broker.publish(Order(number=number), list="jobs")
            await broker.publish(Order(number=number), stream="events")
        await until(
            lambda: all(heard[name] == Counter(range(120)) for name in ("list", "batch", "stream")),
            "queue and stream go on after the kill",
        )
        # Messages of a channel are lost until its subscriber is there again.
        for _ in range(300):
            await broker.publish(Order(number=1000), "orders")
            await asyncio.sleep(0.1)
            if heard["channel"][1000]:
                break
        assert heard["channel"][1000]
