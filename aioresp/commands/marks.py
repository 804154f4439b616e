"""Marks of coroutine functions, for mocks and frameworks that ask `inspect.iscoroutinefunction`.

Owns how a method that returns a coroutine is told from one that returns a handle. Never adds to what a call costs: a
command method stays a plain function, because a coroutine function around it would add a frame to each call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

#: The mark of Python 3.12. Before it, `inspect` looks at the flags of the code alone.
_mark: Final[Callable[[Any], object] | None] = getattr(inspect, "markcoroutinefunction", None)


def awaited(function: F) -> F:
    """Mark a plain function that returns a coroutine as a coroutine function, and return it."""
    if _mark is not None:
        _mark(function)
    else:
        plain: Any = function
        code = plain.__code__
        # The interpreter never looks at this flag when it calls a function.
        plain.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    return function


def mark_methods(kind: type) -> None:
    """Mark all public methods that `kind` inherits: each of them returns a coroutine."""
    for base in kind.__mro__[1:-1]:
        for name, value in vars(base).items():
            if type(value) is FunctionType and name[0] != "_":
                awaited(value)


def unmark_methods(kind: type) -> None:
    """Give `kind` its own copies of inherited marked methods, without the mark: there they return handles."""
    for base in kind.__mro__[1:-1]:
        for name, value in vars(base).items():
            if type(value) is FunctionType and name not in vars(kind) and inspect.iscoroutinefunction(value):
                setattr(kind, name, _unmarked(value))


def _unmarked(function: FunctionType) -> FunctionType:
    code = function.__code__
    if _mark is None:
        code = code.replace(co_flags=code.co_flags & ~inspect.CO_COROUTINE)
    copy = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = function.__annotations__
    copy.__doc__ = function.__doc__
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    return copy
