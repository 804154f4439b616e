"""Events for the client's `events` hook: connections, waits, retries, slow commands, failovers.

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
    """Base of all events; `server` is the address, without credentials."""

    server: str


class ConnectionMade(Event):
    """A connection was made, in `seconds`, handshake included."""

    seconds: float


class ConnectionEnded(Event):
    """A connection ended after `commands`; `error` is the reason."""

    commands: int
    error: RedisError


class ConnectFailed(Event):
    """An attempt to connect failed, one of `failures` in a row; the next is made in `pause` seconds (None: no more)."""

    error: BaseException
    failures: int
    pause: float | None


class Repeated(Event):
    """A command is sent again, after `failures`; `error` is the last one.

    A pipeline counts as one command, named "PIPELINE", and a transaction as one, named "MULTI".
    """

    command: str | None
    key: str | None
    error: RedisError
    failures: int


class Slow(Event):
    """A call took `slow_after` seconds or longer, whether it failed or not.

    The time for which a blocking command waits on the server does not count, up to the command's own limit.
    """

    command: str
    key: str | None
    seconds: float


class Dropped(Event):
    """A subscription dropped a message: its 1st, 2nd, 4th, 8th and so on."""

    channel: str
    """First of the subscription's channels or patterns."""
    dropped: int
    """Number of messages dropped so far."""


class MasterChanged(Event):
    """Another server is the primary now; `server` is the name under which it is found, such as a sentinel's URL."""

    primary: str
    """Its host and port."""
    before: str
    """Those of the former primary."""
    reason: str
    """Sign by which the client noticed it, in words for a log."""


class TopologyChanged(Event):
    """Slots of a cluster are served by other nodes now; `server` is the address of the cluster, by its seeds."""

    primaries: tuple[str, ...]
    """Hosts and ports of the primaries that serve slots."""
    replicas: tuple[str, ...]


class Redirected(Event):
    """A node of a cluster has sent a command to another node, which the client follows."""

    slot: int
    to: str
    """Host and port of the other node."""
    asking: bool
    """Whether that node is asked once, as the slot is on its way there, and not from now on."""


Hook: TypeAlias = Callable[[Event], object]


def tell(hook: Hook, event: Event) -> None:
    """Call the hook; an error that it raises is logged, because it must not reach the caller."""
    try:
        hook(event)
    except Exception:
        logger.exception("the hook `events` raised an error")
