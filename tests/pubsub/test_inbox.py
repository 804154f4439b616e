"""Slow readers: what finds no room is dropped as was asked for, and that is said."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from datetime import timedelta
from typing import Any, Literal

import pytest

import aioresp
from aioresp import ArgumentError, ArgumentTypeError, Client, Gap, Message
from aioresp.events import Dropped
from aioresp.pubsub.topics import Moment
from aioresp.testing import Proxy, Server
from tests.pubsub.listening import flood, subscribers, until


@pytest.fixture
def prefix() -> str:
    """One without the brackets that tests have in their names: they mean something in a glob."""
    return f"{os.urandom(4).hex()}:"


async def test_the_time_to_wait_for_a_message(r: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix) as s:
        assert await s.get(timedelta(milliseconds=10)) is None
        wrong: Any = "5"
        with pytest.raises(ArgumentTypeError, match=r"^timeout is str, not seconds, a timedelta or None$"):
            await s.get(wrong)
        with pytest.raises(ArgumentError, match=r"^timeout is nan, not a number of seconds$"):
            await s.get(float("nan"))


@pytest.mark.parametrize(
    ("overflow", "kept", "dropped"),
    [("drop_oldest", range(90, 100), 90), ("drop_newest", range(10), 90), ("close", range(10), 1)],
)
async def test_what_finds_no_room(
    r: Client[str],
    other: Client[str],
    prefix: str,
    overflow: Literal["drop_oldest", "drop_newest", "close"],
    kept: range,
    dropped: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with r.subscribe(prefix, buffer=10, overflow=overflow) as slow, r.subscribe(prefix, buffer=100) as quick:
        await flood(other, prefix, 100)
        await until(lambda: quick.waiting == 100)
        assert slow.dropped == dropped
        assert quick.dropped == 0, "one slow subscriber never holds up another"
        assert [int((await slow.get()).data) for _ in kept] == list(kept)
        if overflow == "close":
            with pytest.raises(aioresp.SubscriptionOverflow, match="10 messages waited"):
                await slow.get()
            with pytest.raises(aioresp.SubscriptionOverflow):
                async for _ in slow:
                    pass
        else:
            assert await slow.get(0) is None
    # Those of asyncio itself tell that the machine is busy.
    ours = [record for record in caplog.records if record.name == "aioresp"]
    said = [record.getMessage() for record in ours if record.levelno == logging.WARNING]
    assert len(said) == (1 if overflow == "close" else 7), "for 1, 2, 4, 8, 16, 32 and 64 dropped messages"
    assert "read too slowly: 1 messages dropped" in said[0]


async def test_wait_drops_nothing(r: Client[str], other: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix, buffer=10, overflow="wait") as slow, r.subscribe(prefix) as another:
        await flood(other, prefix, 3000)
        await until(lambda: slow.waiting == 10)
        assert another.waiting == 10, "it is held up, too"
        for n in range(3000):
            assert int((await slow.get()).data) == n
            assert slow.waiting <= 10
            if n % 500 == 0:
                await asyncio.sleep(0.01)
        assert slow.dropped == 0
        await until(lambda: another.waiting == 3000)


FLOOD = "for n = 1, tonumber(ARGV[2]) do redis.call('PUBLISH', ARGV[1], n) end return 0"


@pytest.mark.quick
async def test_a_burst_is_no_slow_reader(r: Client[str], other: Client[str], prefix: str, no_debug: None) -> None:
    """More than the buffer holds waits in the socket, and uvloop would take it all in one turn of the loop."""
    count = 60_000
    got = []
    async with r.subscribe(prefix) as s:

        async def read() -> None:
            async for message in s:
                got.append(message.data)
                if len(got) == count:
                    break

        reader = asyncio.create_task(read())
        flooding = asyncio.create_task(other.eval(FLOOD, 0, prefix, count))
        for _ in range(3):
            await asyncio.sleep(0.001)
        time.sleep(0.3)  # the loop is busy with something else
        await asyncio.wait_for(reader, 20)
        await flooding
        assert s.dropped == 0
    assert got == [str(n) for n in range(1, count + 1)]


async def test_a_full_subscriber_that_leaves_lets_the_others_go_on(
    r: Client[str], other: Client[str], prefix: str
) -> None:
    async with r.subscribe(prefix) as another:
        async with r.subscribe(prefix, buffer=2, overflow="wait") as slow:
            await flood(other, prefix, 50)
            await until(lambda: slow.waiting == 2)
        assert [int((await another.get(5) or Message("", "-1")).data) for _ in range(50)] == list(range(50))


async def test_one_that_waits_can_be_given_more_channels(proxy: Proxy, other: Client[str], prefix: str) -> None:
    """It is full before the confirmation is read: to read no more would be to wait for ever."""
    a, b = f"{prefix}a", f"{prefix}b"
    async with Client(proxy.url, timeout=5) as r, r.subscribe(a, buffer=2, overflow="wait") as s:
        proxy.stall("down")
        await flood(other, a, 10)
        adding = asyncio.create_task(s.subscribe(b))
        await subscribers(other, b, 1)
        proxy.resume("down")
        await adding
        await flood(other, b, 1000)
        data = [(await s.get()).data for _ in range(1010)]
        assert data == [*map(str, range(10)), *map(str, range(1000))]
        assert s.dropped == 0


async def test_who_is_held_up_is_told_by_whom(r: Client[str], other: Client[str], prefix: str) -> None:
    hasty = r.with_options(timeout=0.1)
    async with r.subscribe(prefix, buffer=2, overflow="wait") as slow:
        await flood(other, prefix, 10)
        await until(lambda: slow.waiting == 2)
        with pytest.raises(aioresp.CommandTimeout, match=r"Subscription\(1 channels, 2 waiting, 0 dropped\) is full"):
            async with hasty.subscribe(f"{prefix}b"):
                pass
        assert [int((await slow.get()).data) for _ in range(10)] == list(range(10))


async def test_a_gap_is_never_dropped(r: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix, gaps=True, buffer=2) as s:
        (topic,) = s._topics.values()
        for n in range(4):
            s.put(Message(prefix, str(n)))
            await asyncio.sleep(0.01)
            s.lose(topic, Moment.now())
            s.regain(topic)
        s.lose(topic, Moment.now())
        s.regain(topic)
        first, *got = [await s.get() for _ in range(5)]
        assert [type(item) for item in got] == [Message, Gap, Message, Gap]
        assert (got[0], got[2]) == (Message(prefix, "2"), Message(prefix, "3"))
        assert (s.dropped, len(s.gaps)) == (2, 5)
        assert isinstance(first, Gap)
        assert first.at == s.gaps[0].at, "the messages between the first two were dropped, so they are one"
        assert first.at + first.seconds == pytest.approx(s.gaps[1].at + s.gaps[1].seconds, abs=0.005)
        last = got[3]
        assert isinstance(last, Gap)
        assert last.at == s.gaps[3].at, "two gaps with nothing between them are one"
        assert await s.get(0) is None


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "close"])
async def test_gaps_take_no_room_from_messages(
    r: Client[str], prefix: str, overflow: Literal["drop_oldest", "drop_newest", "close"]
) -> None:
    async with r.subscribe(prefix, gaps=True, buffer=2, overflow=overflow) as s:
        (topic,) = s._topics.values()
        expected: list[object] = []
        for n in range(6):
            if n % 2 == 0:
                s.lose(topic, Moment.now())
                s.regain(topic)
                expected.append(Gap)
            s.put(Message(prefix, str(n)))
            expected.append(Message)
            if n > 0:
                assert type(await s.get()) is expected.pop(0)
            if expected[0] is Gap:
                await s.get()
                expected.pop(0)
        assert (s.dropped, s.waiting) == (0, len(expected))
        s.put_all([Message(prefix, "in the last place"), Message(prefix, "one more")])
        assert s.dropped == len(expected), "the bound is as it was"
        assert s.waiting == 2


async def test_a_reader_that_sleeps_keeps_few_gaps(r: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix, gaps=True, buffer=2) as s:
        (topic,) = s._topics.values()
        for n in range(100):
            s.put(Message(prefix, str(n)))
            s.lose(topic, Moment.now())
            s.regain(topic)
        assert (s.waiting, s.dropped, len(s._began)) == (5, 98, 3)
        s.put_all([Message(prefix, "a"), Message(prefix, "b"), Message(prefix, "c")])
        assert [type(await s.get()) for _ in range(3)] == [Gap, Message, Message]
        s.put_all([Message(prefix, "d"), Message(prefix, "e")])
        assert (s.waiting, s.dropped, len(s._began)) == (2, 101, 0)
        s.put(Message(prefix, "f"))
        assert (s.waiting, s.dropped) == (2, 102)


async def test_a_drop_is_an_event(server: Server, prefix: str) -> None:
    heard: list[object] = []
    async with Client(server.url, events=heard.append) as r, r.subscribe(prefix, buffer=1) as s:
        await flood(r, prefix, 5)
        await until(lambda: s.dropped == 4)
    drops = [event.dropped for event in heard if isinstance(event, Dropped)]
    assert drops == [1, 2, 4]


# --- Polls that find nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.0, -1, 1e-9])
@pytest.mark.parametrize("kind", ["subscribe", "psubscribe", "keyspace", "monitor"])
async def test_a_loop_that_only_polls_stops_nothing(
    r: Client[str], other: Client[str], prefix: str, kind: str, timeout: float
) -> None:
    """What comes is read meanwhile, and other tasks go on."""
    if kind == "keyspace":
        await other.config_set("notify-keyspace-events", "KA")
    made: dict[str, Any] = {
        "subscribe": r.subscribe(f"{prefix}c"),
        "psubscribe": r.psubscribe(f"{prefix}*"),
        "keyspace": r.keyspace_events(f"{prefix}*"),
        "monitor": r.monitor(),
    }
    turns = polls = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with made[kind] as s:
        running = asyncio.create_task(others())
        sending = asyncio.create_task(_set_and_publish(other, prefix))
        while await s.get(timeout=timeout) is None:
            polls += 1
            assert polls < 100_000, "nothing came"
        running.cancel()
        assert turns >= polls
        await sending


async def _set_and_publish(r: Client[str], prefix: str) -> None:
    await asyncio.sleep(0.02)
    await r.set(f"{prefix}k", "v", ex=10)
    await r.publish(f"{prefix}c", "x")


async def test_a_poll_finds_what_the_socket_has(r: Client[str], other: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix) as s:
        await other.publish(prefix, "1")
        time.sleep(0.05)  # it is there, and this loop has not looked
        assert await s.get(timeout=0) == Message(prefix, "1")


@pytest.mark.parametrize("error", [False, True])
async def test_a_subscription_that_has_ended_stops_nothing_either(r: Client[str], prefix: str, error: bool) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with r.subscribe(prefix) as s:
        s.end(aioresp.SubscriptionOverflow("x") if error else None)
        running = asyncio.create_task(others())
        for _ in range(50):
            with pytest.raises(aioresp.SubscriptionClosed):
                await s.get(timeout=0)
        with pytest.raises(aioresp.SubscriptionOverflow if error else StopAsyncIteration):
            await anext(s)
        running.cancel()
        assert turns >= 50


async def test_a_poll_that_is_cancelled_loses_nothing(r: Client[str], prefix: str) -> None:
    async with r.subscribe(prefix) as s:
        for n in range(20):
            polling = asyncio.create_task(s.get(timeout=0))
            await asyncio.sleep(0)
            if n % 2:
                s.put(Message(prefix, str(n)))
            polling.cancel()
            if not n % 2:
                s.put(Message(prefix, str(n)))
            with pytest.raises(asyncio.CancelledError):
                await polling
            assert await s.get(timeout=0) == Message(prefix, str(n))


async def test_a_reader_that_never_waits_takes_what_is_here_and_no_more(
    r: Client[str], other: Client[str], prefix: str
) -> None:
    """It gives way when it has emptied the buffer, as nothing can be read from the socket in the meantime."""
    stop = False

    async def publish() -> None:
        while not stop:
            await flood(other, prefix, 100)

    async with r.subscribe(prefix, buffer=200) as s:
        publishing = asyncio.create_task(publish())
        row = longest = turn = 0

        async def count() -> None:
            nonlocal turn
            while True:
                turn += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        seen = -1
        async for _ in s:
            row = row + 1 if turn == seen else 1
            longest, seen = max(longest, row), turn
            if turn > 500:
                break
        stop = True
        counting.cancel()
        await publishing
        assert longest <= 200
