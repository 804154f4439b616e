"""The bookkeeping of what a consumer has in hand; with a server: test_group_reader.py."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aioresp import ConnectionLost
from aioresp.streams.delivery import Delivery, Outstanding, Place

A, B = (b"s", b"1-1"), (b"s", b"2-1")


class Acks:
    """What was acknowledged, and what comes of the next."""

    def __init__(self) -> None:
        self.sent: list[Place] = []
        self.error: BaseException | None = None

    async def send(self, place: Place) -> bool:
        self.sent.append(place)
        if self.error is not None:
            raise self.error
        return self.sent.count(place) == 1


@pytest.fixture
def acks() -> Acks:
    return Acks()


def delivery(hand: Outstanding, place: Place) -> Delivery[str]:
    hand.take(place)
    return Delivery(hand, place, "s", place[1].decode(), {}, 1)


async def test_what_is_in_hand_is_not_handed_out(acks: Acks) -> None:
    hand = Outstanding(acks.send, 60)
    assert not hand.has(A, left=True)
    hand.take(A)
    hand.take(B)
    assert (len(hand), hand.known) == (2, 2)
    assert hand.has(A, left=False)
    hand.leave(A)
    assert (len(hand), hand.known) == (1, 2)
    assert hand.has(A, left=True)
    assert not hand.has(A, left=False), "it was claimed anew, so it comes again"
    hand.take(A)
    assert hand.has(A, left=False)


async def test_what_was_left_long_ago_is_forgotten(acks: Acks) -> None:
    hand = Outstanding(acks.send, 0.05)
    for place in (A, B):
        hand.take(place)
        hand.leave(place)
    hand.begin()
    assert hand.has(A, left=True)
    assert hand.has(B, left=True)
    await asyncio.sleep(0.06)
    hand.begin()
    assert hand.known == 0
    assert not hand.has(A, left=True)


async def test_what_was_acknowledged_may_be_in_the_answer_that_is_under_way(acks: Acks) -> None:
    hand = Outstanding(acks.send, 60)
    hand.begin()
    assert await delivery(hand, A).ack()
    assert hand.has(A, left=False)
    hand.begin()
    assert not hand.has(A, left=False)


@pytest.mark.parametrize("error", [ConnectionLost("x"), asyncio.CancelledError()], ids=repr)
async def test_an_acknowledgement_that_is_not_sure_is_due(
    acks: Acks, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="aioresp")
    hand = Outstanding(acks.send, 60)
    entry = delivery(hand, A)
    acks.error = error
    with pytest.raises(type(error)):
        async with entry:
            pass
    assert list(hand.due) == [A]
    with pytest.raises(type(error)):
        await hand.acknowledge_due()
    assert list(hand.due) == [A]
    acks.error = None
    await hand.acknowledge_due()
    await hand.acknowledge_due()
    assert (acks.sent, list(hand.due), len(hand)) == ([A, A, A], [], 0)
    assert "1-1 of 's' was not pending any more" in caplog.text


async def test_what_the_body_says_itself_counts(acks: Acks) -> None:
    hand = Outstanding(acks.send, 60)
    async with delivery(hand, A) as entry:
        entry.nack()
    assert acks.sent == []
    assert await entry.ack()
    async with delivery(hand, B) as entry:
        await entry.ack()
    entry.nack()
    hand.end(B)
    assert acks.sent == [A, B]
    assert hand.known == 0
    assert not hand.due


async def test_nack_takes_back_that_it_is_due(acks: Acks) -> None:
    hand = Outstanding(acks.send, 60)
    entry = delivery(hand, A)
    hand.end(A)
    assert list(hand.due) == [A]
    entry.nack()
    await hand.acknowledge_due()
    assert acks.sent == []
