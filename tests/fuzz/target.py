"""What is fuzzed: a property, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st


def examples(few: int, many: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Make a test of a property: of few examples in `make test`, of many in CI."""

    def decorate(check: Callable[..., None]) -> Any:
        @pytest.mark.parametrize("most", [few, pytest.param(many, marks=pytest.mark.ci)])
        def test(most: int) -> None:
            settings(max_examples=most, deadline=None)(given(*strategies)(check))()

        test.__doc__ = check.__doc__
        return test

    return decorate


class Target:
    """A function that raises an error if its property does not hold, and strategies for its arguments."""

    def __init__(self, check: Callable[..., None], *strategies: st.SearchStrategy[Any]) -> None:
        self.name = check.__name__
        self.examples = 0
        self._check = check
        self._strategies = strategies

    def run(self, number: int, examples: int) -> None:
        """Try that many examples from a seed. Raises the error of the smallest that fails, with the example in it."""

        def counted(example: tuple[Any, ...]) -> None:
            self.examples += 1
            self._check(*example)

        quiet = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        )
        seed(number)(quiet(given(st.tuples(*self._strategies))(counted)))()
