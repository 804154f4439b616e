"""`@cases` itself: all cases are run, and a failure names its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tests.cases import cases

seen: list[Any] = []


@pytest.mark.parametrize("again", [1, 2])
@cases("number, word", [(1, "a"), (2, "b")])
async def test_with_a_loop(number: int, word: str, again: int, prefix: str) -> None:
    assert prefix
    seen.append((again, number, word))


@cases("number", [1, 2, 3], ids="abc")
@cases("factor", [10, 20])
def test_in_tables_of_two_kinds(number: int, factor: int) -> None:
    seen.append(number * factor)


def test_all_were_run() -> None:
    if not seen:
        pytest.skip("alone there is nothing to look at")
    assert seen == [(1, 1, "a"), (1, 2, "b"), (2, 1, "a"), (2, 2, "b"), 10, 20, 20, 40, 30, 60]


def test_a_failure_names_its_case() -> None:
    ran: list[int] = []

    @cases("number", [1, 2, 3], ids=lambda number: f"number {number}")
    def fails(number: int) -> None:
        ran.append(number)
        assert number != 2

    assert list(inspect.signature(fails).parameters) == []
    with pytest.raises(AssertionError) as caught:
        fails()
    assert caught.value.__notes__ == ["the case: number 2"]
    assert ran == [1, 2]


def test_what_has_no_name_is_shown_in_short() -> None:
    @cases("value, size", [(("SET", "k", 10**5000), 3)])
    def fails(value: object, size: int) -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        fails()
    assert caught.value.__notes__ == ["the case: (('SET', 'k', a huge int), 3)"]


def test_no_case_is_skipped_in_silence() -> None:
    @cases("number", [1])
    def skips(number: int) -> None:
        pytest.skip("not today")

    with pytest.raises(AssertionError, match="the case 1 cannot be skipped alone"):
        skips()


@pytest.mark.parametrize(
    "make", [lambda: cases("number", []), lambda: cases("other", [1])(lambda number: None), lambda: cases("a, b", [1])]
)
def test_a_table_that_does_not_fit(make: Callable[[], Any]) -> None:
    with pytest.raises((AssertionError, TypeError, ValueError)):
        make()
