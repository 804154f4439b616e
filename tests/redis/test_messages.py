"""Messages for redis-py's subscribers: those that are here already go round its parser, and are the same."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from redis.asyncio.client import PubSub

from aioresp import Client
from tests.redis.conftest import Make


async def listened(pubsub: Any, count: int) -> list[Any]:
    """Return so many messages of a subscriber, which may be there already."""
    found: list[Any] = []
    async with asyncio.timeout(20):
        async for message in pubsub.listen():
            found.append((message["type"], message["pattern"], message["channel"], message["data"]))
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, lambda text: text.encode()),
        ({"decode_responses": True}, lambda text: text),
        ({"decode_responses": True, "encoding": "latin-1"}, lambda text: text.encode().decode("latin-1")),
    ],
)
async def test_a_flood_is_read_in_order(
    make: Make, server: Any, prefix: str, protocol: int, options: dict[str, Any], shown: Any
) -> None:
    a, b, pattern = f"{prefix}a", f"{prefix}b", re.sub(r"([\[\]*?\\])", r"\\\1", prefix) + "?"
    async with Client(server.url) as other, make(protocol=protocol, **options).pubsub() as pubsub:
        await pubsub.subscribe(a)
        assert await listened(pubsub, 1) == [("subscribe", None, shown(a), 1)]
        for n in range(50):
            await other.publish(a, f"é{n}")
        await pubsub.subscribe(b)  # its confirmation stands between messages
        for n in range(50):
            await other.publish(b, f"ö{n}")
        await pubsub.psubscribe(pattern)
        await other.publish(b, "last")
        expected = [("message", None, shown(a), shown(f"é{n}")) for n in range(50)]
        expected += [("subscribe", None, shown(b), 2)]
        expected += [("message", None, shown(b), shown(f"ö{n}")) for n in range(50)]
        expected += [("psubscribe", None, shown(pattern), 3)]
        expected += [("message", None, shown(b), shown("last")), ("pmessage", shown(pattern), shown(b), shown("last"))]
        assert await listened(pubsub, len(expected)) == expected


async def test_a_handler_of_pushes_sees_each_message(make: Make, server: Any, prefix: str) -> None:
    seen: list[Any] = []

    async def handler(push: Any) -> None:
        seen.append(push)

    client = make(protocol=3, decode_responses=True)
    async with (
        Client(server.url) as other,
        PubSub(client.connection_pool, push_handler_func=handler) as p,
    ):
        await p.subscribe(prefix)
        for n in range(5):
            await other.publish(prefix, n)
        async with asyncio.timeout(20):
            while len(seen) < 6:
                await p.get_message(timeout=1)
    assert seen == [["subscribe", prefix, 1], *(["message", prefix, str(n)] for n in range(5))]
