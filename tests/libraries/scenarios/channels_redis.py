"""channels-redis, both layers: channels and groups, receivers cancelled in the middle, connections killed."""

from __future__ import annotations

import asyncio
from collections import Counter

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from stage import kill_connections, repeated


async def main(url: str) -> None:
    await through_sorted_sets(RedisChannelLayer(hosts=[url], capacity=1000))
    await through_pubsub(RedisPubSubChannelLayer(hosts=[url]))


async def through_sorted_sets(layer: RedisChannelLayer) -> None:
    # A named channel, as of a worker.
    receivers = [asyncio.create_task(receive(layer, "jobs", 50)) for _ in range(4)]
    for number in range(200):
        await layer.send("jobs", {"type": "job", "number": number})
    got = [message["number"] for messages in await asyncio.gather(*receivers) for message in messages]
    assert Counter(got) == Counter(range(200))

    # Consumers' own channels, in a group.
    channels = [await layer.new_channel() for _ in range(20)]
    await asyncio.gather(*(layer.group_add("room", channel) for channel in channels))
    waiting = [asyncio.create_task(receive(layer, channel, 10)) for channel in channels]
    for number in range(10):
        await layer.group_send("room", {"type": "chat", "number": number})
    for messages in await asyncio.gather(*waiting):
        assert sorted(message["number"] for message in messages) == list(range(10))

    # Consumers that go away while they wait, as at a browser's close.
    leaving = [asyncio.create_task(layer.receive(channel)) for channel in channels[:10]]
    await asyncio.sleep(0.2)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    for channel in channels[:10]:
        await layer.group_discard("room", channel)
    await layer.wait_received()
    staying = [asyncio.create_task(receive(layer, channel, 1)) for channel in channels[10:]]
    await layer.group_send("room", {"type": "chat", "number": 11})
    for messages in await asyncio.gather(*staying):
        assert [message["number"] for message in messages] == [11]

    await layer.wait_received()
    await kill_connections()
    await repeated(lambda: layer.send("jobs", {"type": "job", "number": -1}))
    assert await layer.receive("jobs") == {"type": "job", "number": -1}
    await layer.flush()
    await layer.close_pools()


async def through_pubsub(layer: RedisPubSubChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(50)]
    for channel in channels:
        await layer.group_add("room", channel)
    await group_news_arrives(layer, channels, 1)
    for channel in channels:
        await layer.send(channel, {"type": "chat", "to": channel})
    for channel in channels:
        assert await layer.receive(channel) == {"type": "chat", "to": channel}

    leaving = [asyncio.create_task(layer.receive(channel)) for channel in channels[40:]]
    await asyncio.sleep(0.1)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    for channel in channels[40:]:
        await layer.group_discard("room", channel)

    await kill_connections()
    await group_news_arrives(layer, channels[:40], 2)
    await layer.flush()


async def group_news_arrives(layer: RedisPubSubChannelLayer, channels: list[str], number: int) -> None:
    """Send to the group until a message arrives: after a reconnection earlier ones may be lost."""
    waiting = [asyncio.create_task(layer.receive(channel)) for channel in channels]
    for _ in range(200):
        await repeated(lambda: layer.group_send("room", {"type": "chat", "number": number}))
        await asyncio.wait(waiting, timeout=0.1)
        if all(task.done() for task in waiting):
            break
    assert all(task.done() for task in waiting)
    assert [task.result()["number"] for task in waiting] == [number] * len(channels)
    # What else was sent by then.
    inner = layer._get_layer()
    await asyncio.sleep(0.3)
    for channel in channels:
        while not inner.channels[channel].empty():
            assert (await layer.receive(channel))["number"] == number


async def receive(layer: RedisChannelLayer, channel: str, count: int) -> list[dict[str, object]]:
    return [await layer.receive(channel) for _ in range(count)]
