"""Messages and entries of streams that cannot be as they are told: each is found."""

from __future__ import annotations

import pytest

from aioresp import Client
from aioresp.testing import Server
from tests.chaos.channels import Channel, Ear
from tests.chaos.jobs.streams import Reading
from tests.chaos.ledger import Ledger, Outcome
from tests.chaos.streams import Log

DONE, NOT_DONE, UNKNOWN = Outcome.DONE, Outcome.NOT_DONE, Outcome.UNKNOWN


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def laws(ledger: Ledger) -> list[str]:
    return sorted(ledger.problems.elements())


# --- Messages --------------------------------------------------------------------------------------------------------


def channel_with(*outcomes: Outcome) -> Channel:
    channel = Channel("c")
    for outcome in outcomes:
        channel.settle(channel.make(), outcome)
    return channel


def heard(ledger: Ledger, channel: Channel, *items: int | None, entered: int = 0) -> list[str]:
    """Return what is wrong about messages, and gaps (None), that are heard after `entered` messages."""
    number, channel.number = channel.number, entered
    ear = Ear(ledger, channel, "ear")
    channel.number = number
    for item in items:
        if item is None:
            ear.gap()
        else:
            ear.hear("c", channel.text(item, 3))
    ear.end()
    return laws(ledger)


@pytest.mark.parametrize(
    ("outcomes", "items", "entered"),
    [
        ([DONE, DONE, DONE], [1, 2, 3], 0),
        ([DONE, DONE, DONE], [1, None, 3], 0),
        ([DONE, DONE, DONE], [None, 3], 0),
        ([DONE, DONE, DONE], [1, 2, 3, None], 0),
        ([DONE, UNKNOWN, DONE], [1, 3], 0),
        ([DONE, UNKNOWN, DONE], [1, 2, 3], 0),
        ([DONE, UNKNOWN, DONE], [1, 3, 2], 0),
        ([DONE, NOT_DONE, DONE], [1, 3], 0),
        ([DONE, DONE, DONE], [3], 2),
        ([DONE, DONE, DONE], [1, 2, 3], 2),  # the server had subscribed us before we heard of it
        ([UNKNOWN, DONE, DONE, DONE], [1, 4], 3),
    ],
)
def test_messages_that_are_as_they_should_be(
    ledger: Ledger, outcomes: list[Outcome], items: list[int | None], entered: int
) -> None:
    assert heard(ledger, channel_with(*outcomes), *items, entered=entered) == []


@pytest.mark.parametrize(
    ("outcomes", "items", "law"),
    [
        ([DONE, DONE, DONE], [1, 3], "hole without a Gap"),
        ([DONE, DONE, DONE], [2, 3], "hole without a Gap"),
        ([DONE, DONE, DONE], [1, None, 2], "hole without a Gap"),
        ([DONE, DONE, DONE], [1, 2], "hole without a Gap"),
        ([DONE, DONE, DONE], [1, 2, None], "hole without a Gap"),
        ([DONE, DONE, DONE], [1, 3, None], "hole without a Gap"),  # it comes too late
        ([DONE, DONE, DONE], [1, 2, 2, 3], "message twice or out of order"),
        ([DONE, UNKNOWN, DONE], [1, 2, 2, 3], "message twice or out of order"),
        ([DONE, NOT_DONE, DONE], [1, 2, 3], "ran though it was not sent"),
        ([DONE, DONE], [1, 2, 3], "ran though it was not sent"),
    ],
)
def test_messages_that_cannot_be(ledger: Ledger, outcomes: list[Outcome], items: list[int | None], law: str) -> None:
    assert heard(ledger, channel_with(*outcomes), *items) == [law]


def test_who_came_later_misses_what_was_published_then(ledger: Ledger) -> None:
    assert heard(ledger, channel_with(DONE, DONE, DONE, DONE), 1, 2, 4, entered=2) == ["hole without a Gap"]


def test_a_message_of_another_channel(ledger: Ledger) -> None:
    ear = Ear(ledger, channel_with(DONE), "ear")
    ear.hear("c", "d:1:x")
    ear.hear("d", "d:1:x")
    assert laws(ledger) == ["crossed reply"] * 2


# --- Streams ---------------------------------------------------------------------------------------------------------


def log_with(ledger: Ledger, *outcomes: Outcome) -> Log:
    log = Log(ledger, "log")
    for outcome in outcomes:
        log.settle(log.make(), outcome)
    return log


@pytest.mark.parametrize(
    ("numbers", "law"),
    [
        ([1, 2], None),
        ([1], None),
        ([2], "acknowledged write lost"),
        ([1, 1], "ran twice"),
        ([1, 2, 2], "ran twice"),
        ([1, 3], "ran though it was not sent"),
    ],
)
def test_the_entries_of_a_log(ledger: Ledger, numbers: list[int], law: str | None) -> None:
    log = log_with(ledger, DONE, UNKNOWN, NOT_DONE)
    log.check([log.text(number, 3) for number in numbers])
    assert laws(ledger) == ([law] if law else [])


@pytest.mark.parametrize("numbers", [[1, 2, 3], [1, 3], [1, 3, 2], [1, 2, 2, 3], [1, 2], [1, 2, 3, 4]])
async def test_what_a_reader_has_got_of_a_log(ledger: Ledger, server: Server, prefix: str, numbers: list[int]) -> None:
    log = Log(ledger, prefix.replace(":", "-"))
    reading = Reading(ledger, log, "reader")
    for number in numbers:
        reading.take(f"{number}-0", log.text(number, 3))
    async with Client(server.url) as r:
        for number in (1, 2, 3):
            await r.xadd(log.name, {"text": log.text(number, 3)}, id=f"{number}-0")
        await reading.verify(r)
        await r.delete(log.name)
    assert laws(ledger) == ([] if numbers == [1, 2, 3] else ["stream read wrongly"])
