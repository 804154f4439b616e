"""A little fuzzing in each run of the tests, and a minute in `make soak`; `make fuzz` is for an hour."""

from __future__ import annotations

import pytest

from tests.fuzz.run import TARGETS, fuzz
from tests.fuzz.target import Target


@pytest.mark.parametrize("most", [35, pytest.param(100, marks=pytest.mark.ci)])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.name))
def test_a_little(target: Target, most: int) -> None:
    before = target.examples
    target.run(20250101, most)
    assert target.examples - before >= 0.6 * most


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_minute() -> None:
    fuzz(60)
    assert min(target.examples for target in TARGETS) > 500
