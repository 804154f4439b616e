"""What a command goes through on its way out and back: the option `middleware`, and who watches for slow calls.

Owns how one is put around another. Never sends anything, and stands in nobody's way where there is nothing around.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from aioresp.command import Arguments

T = TypeVar("T")

#: Sends a command by way of `send`, and may do something before and after; see the option `middleware`.
Middleware: TypeAlias = Callable[[Arguments, Callable[[], Awaitable[Any]]], Awaitable[Any]]

#: What a batch is called, as its commands do not go through one by one.
PIPELINE: Final[Arguments] = ("PIPELINE",)
TRANSACTION: Final[Arguments] = ("MULTI",)


def within(middleware: Sequence[Middleware], arguments: Arguments, send: Callable[[], Awaitable[T]]) -> Awaitable[T]:
    """Have the call of `send` go through all that is around, the first of them innermost."""
    for each in middleware:
        send = partial(each, arguments, send)
    return send()


def through(
    middleware: Sequence[Middleware], execute: Callable[[Arguments, Callable[[Any], T]], Awaitable[T]]
) -> Callable[[Arguments, Callable[[Any], T]], Coroutine[Any, Any, T]]:
    """Return `execute` as it is with all that is around it."""

    async def observed(arguments: Arguments, reply: Callable[[Any], T]) -> T:
        return await within(middleware, arguments, partial(execute, arguments, reply))

    return observed
