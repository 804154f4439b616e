"""Events for the client's `events` hook: connections, waits, retries, slow commands.

Owns the event records and the one function that hands them to the hook. Never decides anything, and never holds a
value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from aioresp.errors import RedisError
from aioresp.record import Record

logger = logging.getLogger("aioresp")


class Event(Record):
    """Something that happened; `server` is its address, without credentials."""

    server: str


class ConnectionMade(Event):
    """A connection was made, which took so many seconds with its handshake."""

    seconds: float


class ConnectionEnded(Event):
    """A connection ended, after so many commands; `error` says why."""

    commands: int
    error: RedisError


class ConnectFailed(Event):
    """An attempt to connect failed, the n-th in a row; the next is made in `pause` seconds, or none if that is None."""

    error: BaseException
    failures: int
    pause: float | None


class Repeated(Event):
    """A command is sent again, after so many failures; `error` is the last one.

    A pipeline is told of once, as "PIPELINE", and a transaction as "MULTI".
    """

    command: str | None
    key: str | None
    error: RedisError
    failures: int


class Slow(Event):
    """A call took `slow_after` seconds or longer, however it ended."""

    command: str
    key: str | None
    seconds: float


class Dropped(Event):
    """A subscription had no room for a message; told of the first, and then whenever their number has doubled."""

    channel: str
    """The first of its channels or patterns."""
    dropped: int
    """Messages that it has dropped by now."""


Hook: TypeAlias = Callable[[Event], object]


def tell(hook: Hook, event: Event) -> None:
    """Call the hook; what it raises is logged, as it must not disturb whom it hears of."""
    try:
        hook(event)
    except Exception:
        logger.exception("the hook `events` raised an error")
