"""Sparklines: values as blocks of a line."""

from __future__ import annotations

import pytest

from aioresp.cli.sparkline import sparkline


def test_it_rises_and_stays() -> None:
    assert sparkline([0, 50, 100, 100], 40, 100) == "▁▅██"
    assert sparkline([0, 50, 100, 100], 40, 100, ascii_only=True) == "_=##"
    assert sparkline([300], 40, 100) == "█"


@pytest.mark.parametrize("width", [1, 7, 79])
def test_a_long_one_fits(width: int) -> None:
    line = sparkline(range(500), width, 250)
    assert len(line) == width
    assert line[-1] == "█"
    assert list(line) == sorted(line)


def test_of_nothing() -> None:
    assert sparkline([], 40, 0) == ""
    assert sparkline([0], 40, 0) == "▁"
