"""Messages of one channel that come in a row are handed over together: nothing but the speed tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from aioresp import Client, DecodeError, Message, SubscriptionOverflow
from aioresp.pubsub.hub import Hub
from aioresp.pubsub.inbox import Overflow
from aioresp.pubsub.subscription import Subscription
from aioresp.retry import Retry
from aioresp.wire.packing import Push
from tests.rest import until


async def entered(hub: Hub, *names: str, buffer: int = 1000, overflow: Overflow = "drop_oldest") -> Subscription[Any]:
    """Return a subscription to channels, or to patterns with a "*", that are confirmed without a server."""
    s: Subscription[Any] = Subscription(lambda: hub, True, 1.0, "", [], False, buffer, overflow)
    await s.__aenter__()
    for name in names:
        kind: Any = "p" if "*" in name else ""
        topic = s._topics[kind, name.encode()] = hub.join(kind, name.encode(), s)
        hub._confirm(topic)
    return s


@pytest.fixture(params=[list, Push], ids=["resp2", "resp3"])
def made(request: pytest.FixtureRequest) -> Any:
    """Return what makes what the server sends: a message, or one found by a pattern if there is a third part."""

    def make(channel: str, data: str | bytes, pattern: str | None = None) -> Any:
        raw = data if isinstance(data, bytes) else data.encode()
        if pattern is None:
            return request.param([b"message", channel.encode(), raw])
        return request.param([b"pmessage", pattern.encode(), channel.encode(), raw])

    return make


@pytest.fixture
async def hub() -> Any:
    async def connect() -> Any:
        await asyncio.get_running_loop().create_future()

    hub = Hub(connect, asyncio.get_running_loop(), Retry().pause_of_connecting)
    yield hub
    await hub.aclose()


def taken(s: Subscription[Any]) -> list[Any]:
    found = list(s._items)
    s._items.clear()
    return found


async def test_the_order_of_channels_and_patterns(hub: Hub, made: Any) -> None:
    s = await entered(hub, "a", "b", "a*")
    other = await entered(hub, "b")
    sent: list[Any] = []
    expected: list[Message[str]] = []
    for n, channel in enumerate("aaaaabababbbbaaacccaa"):
        sent.append(made(channel, f"{n}"))
        if channel != "c":
            expected.append(Message(channel, f"{n}"))
        if n % 5 == 4:
            sent.append(made(channel, f"{n}", "a*"))
            expected.append(Message(channel, f"{n}", "a*"))
    assert hub._take(iter(sent))
    assert taken(s) == expected
    assert taken(other) == [message for message in expected if message.channel == "b" and message.pattern is None]


async def test_text_that_is_none(hub: Hub, made: Any) -> None:
    s = await entered(hub, "a")
    hub._take(iter([made("a", data) for data in (b"1", b"2", b"\xff", b"3", b"\xfe")]))
    found = taken(s)
    assert [type(item) for item in found] == [Message, Message, DecodeError, Message, DecodeError]
    assert [item.data for item in found if isinstance(item, Message)] == ["1", "2", "3"]


@pytest.mark.parametrize("waiting", [0, 3, 5])
@pytest.mark.parametrize(
    ("overflow", "kept", "dropped"),
    [("drop_oldest", range(15, 20), 15), ("drop_newest", range(5), 15), ("close", range(5), 1)],
)
async def test_more_than_there_is_room_for(
    hub: Hub, made: Any, overflow: Overflow, kept: range, dropped: int, waiting: int
) -> None:
    s = await entered(hub, "a", buffer=5, overflow=overflow)
    messages = [made("a", f"{n}") for n in range(20)]
    hub._take(iter(messages[:waiting]))
    hub._take(iter(messages[waiting:]))
    assert [int(item.data) for item in s._items] == list(kept)
    assert s.dropped == dropped
    if overflow == "close":
        with pytest.raises(SubscriptionOverflow):
            while True:
                await s.get()


async def test_one_that_waits_gets_no_more_than_it_has_room_for(hub: Hub, made: Any) -> None:
    waiting = await entered(hub, "w", buffer=3, overflow="wait")
    s = await entered(hub, "a")
    items = iter([made("a", f"{n}") for n in range(10)] + [made("w", f"{n}") for n in range(10)])
    hub._take(items)
    assert (s.waiting, waiting.waiting, len(list(items))) == (10, 3, 7)


async def test_what_came_before_something_wrong_is_handed_over(hub: Hub, made: Any) -> None:
    s = await entered(hub, "a")

    def sent() -> Iterator[Any]:
        yield from (made("a", f"{n}") for n in range(5))
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        hub._take(sent())
    assert [int(item.data) for item in taken(s)] == list(range(5))


async def test_each_of_several_who_wait_gets_one(hub: Hub, made: Any) -> None:
    s = await entered(hub, "a")
    tasks = [asyncio.create_task(s.get()) for _ in range(4)]
    await asyncio.sleep(0)
    hub._take(iter([made("a", f"{n}") for n in range(3)]))
    await until(lambda: sum(task.done() for task in tasks) == 3)
    done, pending = await asyncio.wait(tasks, timeout=0.05)
    assert sorted(task.result().data for task in done) == ["0", "1", "2"]
    assert len(pending) == 1
    hub._take(iter([made("a", "3")]))
    assert (await pending.pop()).data == "3"


async def test_events_of_keys_come_one_by_one() -> None:
    """What looks at each message does so, also on a channel."""
    async with Client("redis://127.0.0.1:1") as r:
        s = r.keyspace_events("k")
        s.put_all([Message("__keyspace@0__:k", "set", "p"), Message("other", "1"), Message("__keyspace@0__:k", "del")])  # type: ignore[list-item]
        assert [(event.key, event.event) for event in taken(s)] == [("k", "set"), ("k", "del")]
