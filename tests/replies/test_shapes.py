"""Messages tell the shape of a reply, however large or deep it is, and nothing of what is in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from aioresp import DecodeError, RedisError, UnexpectedReply
from aioresp.errors import ResponseError
from aioresp.replies import decoded
from aioresp.replies.shapes import CHARACTERS, failure, shape, unexpected

S = "-".join(("hunter2", "value"))


def nested(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made, S]
    return made


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, "nil"),
        (7, "int"),
        (True, "bool"),
        (1.5, "float"),
        (S, "str"),
        (S.encode(), "bytes"),
        ([], "list of 0"),
        ({}, "map of 0"),
        ([1, S.encode(), [S, None]], "list of 3 (int, bytes, list of 2 (str, nil))"),
        ({S: [1], b"k": {S: S}}, "map of 2 (str: list of 1 (int), bytes: map of 1 (str: str))"),
        ({S}, "list of 1 (str)"),
        ([[[[1]]]], "list of 1 (list of 1 (list of 1 (list of 1)))"),
        ([*range(1_000)], "list of 1,000 (int, int, int, int, int, int, ...)"),
        ([ResponseError(S)], "list of 1 (error)"),
    ],
)
def test_the_shape_is_told(reply: Any, said: str) -> None:
    assert shape(reply) == said


@pytest.mark.parametrize(
    "make",
    [
        lambda: nested(900),
        lambda: nested(100_000),
        lambda: [nested(10)] * 1000,
        lambda: [{S: [S] * 9}] * 9,
        lambda: list(range(1_000_000)),
    ],
    ids=["deep", "very deep", "many", "wide", "long"],
)
def test_it_is_bounded(make: Callable[[], Any]) -> None:
    reply = make()
    start = time.process_time()
    said = shape(reply)
    assert time.process_time() - start < 1
    assert len(said) <= CHARACTERS + 3
    assert S not in said


def test_the_error_names_command_and_key() -> None:
    error = unexpected([1, S], ("GET", "k" * 200, S))
    assert str(error).startswith("an unexpected reply: list of 2 (int, str); `call` returns it as it is [GET 'kkk")
    assert len(str(error)) < 200
    assert S not in str(error)
    assert str(unexpected(None)) == "an unexpected reply: nil; `call` returns it as it is"


@pytest.mark.parametrize("kind", [TypeError, ValueError, KeyError, IndexError, RecursionError, StopIteration])
def test_pythons_own_errors_are_replaced(kind: type[Exception]) -> None:
    wrong = failure(kind(S), [S], ("GET", "k"))
    assert type(wrong) is UnexpectedReply
    assert (wrong.__cause__, wrong.__context__) == (None, None)


@pytest.mark.parametrize("error", [DecodeError("x"), RedisError("x"), MemoryError()])
def test_errors_that_say_enough_stay_as_they_are(error: Exception) -> None:
    assert failure(error, [], ("GET", "k")) is error


def test_what_is_nested_too_deeply_to_decode() -> None:
    deep: list[Any] = [b"x"]
    for _ in range(5000):
        deep = [deep]
    assert type(decoded(deep)) is UnexpectedReply
