"""Middleware around each command: the option `middleware`, and the timing of slow calls.

Owns how middleware is nested. Never sends anything itself, and costs nothing when there is none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from aioresp.command import Arguments

T = TypeVar("T")

#: Function that sends a command by calling `send`, and may act before and after it; see the option `middleware`.
Middleware: TypeAlias = Callable[[Arguments, Callable[[], Awaitable[Any]]], Awaitable[Any]]

#: Arguments that middleware gets for a pipeline and for a transaction, each of which is one call.
PIPELINE: Final[Arguments] = ("PIPELINE",)
TRANSACTION: Final[Arguments] = ("MULTI",)


def within(middleware: Sequence[Middleware], arguments: Arguments, send: Callable[[], Awaitable[T]]) -> Awaitable[T]:
    """Call `send` through all middleware, the first of it innermost."""
    for each in middleware:
        send = partial(each, arguments, send)
    return send()
