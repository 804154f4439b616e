"""What the commands build their arguments with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from aioresp.commands.base import (
    Executor,
    at_most_one,
    condition,
    expiry,
    filled,
    flat,
    listed,
    milliseconds,
    seconds,
    unix_milliseconds,
    unix_seconds,
)
from aioresp.replies import as_is
from tests.commands.exact import exactly


@pytest.mark.parametrize(
    "name", ["abc", b"abc", bytearray(b"abc"), memoryview(b"abc"), 7, 1.5], ids=lambda name: type(name).__name__
)
def test_one_value_is_a_list_of_one(name: Any) -> None:
    assert listed(name) == (name,)
    assert listed(name, ("b",)) == (name, "b")
    assert listed([name]) == (name,)


def test_any_iterable_is_a_list() -> None:
    exactly(listed(["a", "b"]), ("a", "b"))
    exactly(listed(("a",), ["b"]), ("a", "b"))
    exactly(listed(iter("ab")), ("a", "b"))
    exactly(listed({"a": 1, "b": 2}), ("a", "b"))
    exactly(listed([]), ())


def test_flat() -> None:
    exactly(flat({}), ())
    exactly(flat({"a": 1, b"b": 2.5}), ("a", 1, b"b", 2.5))


def test_filled() -> None:
    exactly(filled("GET", "keys", ("a",)), ("a",))
    with pytest.raises(ValueError, match=r"^GET: keys is empty$"):
        filled("GET", "keys", ())


@pytest.mark.parametrize(
    ("duration", "whole"),
    [
        (5, 5),
        (0, 0),
        (-1, -1),
        (timedelta(), 0),
        (timedelta(days=1), 86400),
        (timedelta(seconds=1), 1),
        (timedelta(seconds=1, microseconds=1), 2),
        (timedelta(microseconds=1), 1),
        (timedelta(days=40_000, microseconds=1), 40_000 * 86400 + 1),
    ],
)
def test_seconds_are_rounded_up(duration: int | timedelta, whole: int) -> None:
    exactly(seconds(duration), whole)


@pytest.mark.parametrize(
    ("duration", "whole"),
    [
        (5, 5),
        (0, 0),
        (timedelta(), 0),
        (timedelta(days=1), 86_400_000),
        (timedelta(milliseconds=1), 1),
        (timedelta(milliseconds=1, microseconds=1), 2),
        (timedelta(microseconds=1), 1),
        (timedelta(days=40_000, microseconds=1), 40_000 * 86_400_000 + 1),
    ],
)
def test_milliseconds_are_rounded_up(duration: int | timedelta, whole: int) -> None:
    """A key must not be gone before its time, and not at once because less than a millisecond counted for none."""
    exactly(milliseconds(duration), whole)


@pytest.mark.parametrize("convert", [seconds, milliseconds, unix_seconds, unix_milliseconds])
@pytest.mark.parametrize("value", [1.5, "1", None, b"1"], ids=repr)
def test_a_time_of_the_wrong_type_is_named(convert: Any, value: object) -> None:
    with pytest.raises(TypeError, match=f"is {type(value).__name__}, not int or"):
        convert(value)


EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("instant", "at"),
    [
        (1_700_000_000, 1_700_000_000),
        (datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), 1_700_000_000),
        (datetime(2023, 11, 15, 0, 13, 20, tzinfo=EAST), 1_700_000_000),
        (datetime.fromtimestamp(1_700_000_000), 1_700_000_000),
        (datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC), 1_700_000_001),
    ],
    ids=["int", "utc", "elsewhere", "local", "rounded up"],
)
def test_unix_seconds(instant: int | datetime, at: int) -> None:
    exactly(unix_seconds(instant), at)


@pytest.mark.parametrize(
    ("instant", "at"),
    [
        (1_700_000_000_123, 1_700_000_000_123),
        (datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC), 1_700_000_000_123),
        (datetime(2023, 11, 15, 0, 13, 20, tzinfo=EAST), 1_700_000_000_000),
        (datetime.fromtimestamp(1_700_000_000), 1_700_000_000_000),
    ],
    ids=["int", "utc", "elsewhere", "local"],
)
def test_unix_milliseconds(instant: int | datetime, at: int) -> None:
    exactly(unix_milliseconds(instant), at)


def test_at_most_one() -> None:
    at_most_one("SET")
    at_most_one("SET", a=None, b=False, c=0)
    with pytest.raises(ValueError, match=r"^SET: a and c exclude each other$"):
        at_most_one("SET", a=True, b=False, c=0)


def test_expiry() -> None:
    exactly(expiry("SET"), ())
    exactly(expiry("SET", ex=1), ("EX", 1))
    exactly(expiry("SET", px=1), ("PX", 1))
    exactly(expiry("SET", exat=1), ("EXAT", 1))
    exactly(expiry("SET", pxat=1), ("PXAT", 1))
    exactly(expiry("SET", keepttl=True), ("KEEPTTL",))
    exactly(expiry("SET", keepttl=False), ())
    exactly(expiry("SET", ex=1, keepttl=False), ("EX", 1))
    with pytest.raises(ValueError, match=r"^SET: ex and keepttl exclude each other$"):
        expiry("SET", ex=0, keepttl=True)


def test_condition() -> None:
    exactly(condition("SET", nx=False, xx=False), ())
    exactly(condition("SET", nx=False, xx=True), ("XX",))
    with pytest.raises(ValueError, match=r"^SET: nx and xx exclude each other$"):
        condition("SET", nx=True, xx=True)


def test_the_seam_alone_sends_nothing() -> None:
    executor: Executor[str] = Executor()
    with pytest.raises(NotImplementedError):
        _ = executor.execute(("PING",), as_is)
