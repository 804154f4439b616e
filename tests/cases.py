"""Many cases of one check in one test: `@cases` stands where `@pytest.mark.parametrize` would, and costs less.

Each case in a test of its own takes 3 ms, or 5 ms with a loop: six processes collect it, one sets it up and reports.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest


def cases(
    names: str, values: Iterable[Any], ids: Iterable[str] | Callable[[Any], str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test once for each of the values; the first that fails ends it, and a note names the case.

    Fixtures are made once for all of them, so what a case leaves behind must not matter to the next one.
    """
    wanted = [name.strip() for name in names.split(",")]
    given = list(values)
    said = given if ids is None else [ids(value) for value in given] if callable(ids) else list(ids)
    table = [
        (name, dict(zip(wanted, value if len(wanted) > 1 else (value,), strict=True)))
        for name, value in zip(said, given, strict=True)
    ]
    assert table, "there are no cases"

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(test)
        def each(**fixtures: Any) -> None:
            for name, arguments in table:
                with noted(name):
                    test(**fixtures, **arguments)

        @wraps(test)
        async def each_awaited(**fixtures: Any) -> None:
            for name, arguments in table:
                with noted(name):
                    await test(**fixtures, **arguments)

        made: Any = each_awaited if inspect.iscoroutinefunction(test) else each
        signature = inspect.signature(test)
        assert {*wanted} <= {*signature.parameters}, "the test does not take the arguments"
        made.__signature__ = signature.replace(
            parameters=[one for one in signature.parameters.values() if one.name not in wanted]
        )
        return made  # type: ignore[no-any-return]

    return decorate


@contextmanager
def noted(name: Any) -> Iterator[None]:
    try:
        yield
    except pytest.skip.Exception:
        raise AssertionError(f"the case {shortened(name)} cannot be skipped alone: leave it out of the table") from None
    except BaseException as error:
        error.add_note(f"the case: {shortened(name)}")
        raise


def shortened(name: Any) -> str:
    if isinstance(name, str):
        return name if len(name) < 200 else f"{name[:200]}..."
    return Brief().repr(name)


class Brief(reprlib.Repr):
    """Shows the beginning of a value, and an int of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = 20
        self.maxstring = self.maxother = 100

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if abs(x) < 10**40 else "a huge int"
