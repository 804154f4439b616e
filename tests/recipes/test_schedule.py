"""Ticks of cron expressions: zones, clocks that change, and what is refused."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.recipes.queue.schedule import Schedule

UTC = UTC
MINUTE = 60_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def following(schedule: Schedule, after: str, count: int) -> list[str]:
    """Return the next ticks, in UTC."""
    found, at = [], ms(after)
    for _ in range(count):
        at = schedule.next(at)
        found.append(datetime.fromtimestamp(at / 1000, UTC).strftime("%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),  # 02:30 comes twice, and ticks once
        ("30 3 * * *", ["10-24 01:30", "10-25 02:30", "10-26 02:30"]),
        ("0 0 * * *", ["10-24 22:00", "10-25 23:00", "10-26 23:00"]),
    ],
)
def test_clocks_are_put_back(expression: str, expected: list[str]) -> None:
    assert following(Schedule(expression, "Europe/Berlin"), "2026-10-24T00:00", 3) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),  # there is no 02:30: at 03:00
        ("0,30 2 * * *", ["03-28 01:00", "03-28 01:30", "03-29 01:00", "03-30 00:00"]),  # and not twice at 03:00
        ("30 3 * * *", ["03-28 02:30", "03-29 01:30", "03-30 01:30"]),
    ],
)
def test_clocks_are_put_forward(expression: str, expected: list[str]) -> None:
    assert following(Schedule(expression, "Europe/Berlin"), "2026-03-28T00:00", len(expected)) == expected


def test_each_hour_is_each_hour_of_the_sun() -> None:
    ticks = following(Schedule("30 * * * *", "Europe/Berlin"), "2026-10-24T22:00", 5)
    assert ticks == [f"10-24 {hour}:30" for hour in (22, 23)] + [f"10-25 {hour}:30" for hour in ("00", "01", "02")]


@pytest.mark.parametrize("at", ["2026-10-25T00:31", "2026-10-25T01:10", "2026-10-25T01:31"])
def test_the_second_coming_of_an_hour_knows_the_first(at: str) -> None:
    schedule = Schedule("30 2 * * *", "Europe/Berlin")
    assert schedule.last(ms(at)) == ms("2026-10-25T00:30")
    assert schedule.next(ms(at)) == ms("2026-10-26T01:30")


def test_a_tick_of_last_year_is_not_the_last() -> None:
    """Clocks were put back earlier in that year, so both times have one offset."""
    assert Schedule("30 2 31 10 *", "Europe/Berlin").last(ms("2027-10-31T01:10")) == ms("2027-10-31T00:30")


@pytest.mark.turns(4)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/30 2 * * *", "30 * * * *", "30 */2 * * *", "*/7 1-3 * * *"])
def test_the_last_tick_is_the_one_that_was_next(zone: str, expression: str) -> None:
    """Around each change of the clocks of a year."""
    schedule = Schedule(expression, zone)
    moment = datetime(2026, 1, 15, tzinfo=UTC)
    tz = ZoneInfo(zone)
    changes = 0
    while moment.year == 2026:
        following_hour = moment + timedelta(hours=1)
        if moment.astimezone(tz).utcoffset() != following_hour.astimezone(tz).utcoffset():
            changes += 1
            start = int(moment.timestamp() * 1000)
            ticks = [schedule.last(start - 30 * 60 * MINUTE)]
            while ticks[-1] < start + 30 * 60 * MINUTE:
                ticks.append(schedule.next(ticks[-1]))
            for at in [start + minute * MINUTE for minute in range(-300, 300, 17)] + ticks[1:-1]:
                assert schedule.last(at) == ticks[bisect_right(ticks, at) - 1]
        moment = following_hour
    assert changes == 2


def test_seconds() -> None:
    schedule = Schedule("*/10 * * * * *", "UTC")
    start = ms("2026-01-01T00:00")
    assert schedule.next(start) == start + 10_000
    assert schedule.next(start + 1) == start + 10_000
    assert schedule.last(start) == start
    assert schedule.last(start - 1) == start - 10_000


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("61 * * * *", "bad minute"),
        ("* * *", "wrong number of fields"),
        ("", "wrong number of fields"),
        ("@daily", "wrong number of fields"),
        ("0 0 31 2 *", "bad day-of-month"),
    ],
)
def test_an_expression_that_is_none(expression: str, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        Schedule(expression, "UTC")


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../etc/passwd", "/etc/passwd", "", "a\0b"])
def test_a_zone_that_is_none(zone: str) -> None:
    with pytest.raises(ArgumentError, match="no time zone that this machine knows"):
        Schedule("* * * * *", zone)


def test_arguments_of_another_type() -> None:
    with pytest.raises(ArgumentTypeError, match="the expression is text"):
        Schedule(5, "UTC")  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="tz is the name of a time zone"):
        Schedule("* * * * *", 1)  # type: ignore[arg-type]
    assert str(Schedule(" 30  2 * * * ", ZoneInfo("Europe/Berlin"))) == "30 2 * * * Europe/Berlin"
