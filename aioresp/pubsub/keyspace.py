"""Keyspace notifications as a subscription.

Owns the form of their channels. Never changes `notify-keyspace-events`, without which the server sends none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Self, TypeAlias, TypeVar

from aioresp.arguments import numeral
from aioresp.command import AnyStr, Arguments, Key, as_bytes
from aioresp.errors import (
    ArgumentError,
    ArgumentTypeError,
    AuthenticationError,
    NotificationsDisabled,
    ResponseError,
    UnexpectedReply,
)
from aioresp.hints import remedy
from aioresp.pubsub.inbox import Overflow
from aioresp.pubsub.subscription import Subscription
from aioresp.pubsub.topics import Broker, Message
from aioresp.record import Record
from aioresp.replies import mapping, some_text, string
from aioresp.retry import NOT_NOW
from aioresp.typed import Generic

T = TypeVar("T")

#: Function that sends a command.
Execute: TypeAlias = Callable[[Arguments, Callable[[Any], "str | None"]], Awaitable["str | None"]]

#: Server setting that selects which notifications are sent.
OPTION: Final = "notify-keyspace-events"


class KeyEvent(Record, Generic[AnyStr]):
    """Event of one key."""

    key: AnyStr
    event: str
    """Name of the event, as the server sends it: "set", "expired", "del", "lpush", ...."""
    db: int


class KeyEvents(Subscription[T]):
    """Subscription to the events of keys that match a glob."""

    _entering = "async with r.keyspace_events(...) as s:"
    _reading = "async for event in s:"

    def __init__(
        self,
        find_hub: Callable[[], Broker],
        decode: bool,
        timeout: float | None,
        execute: Execute,
        db: int | str,
        patterns: Sequence[Key],
        events: Iterable[str] | None,
        gaps: bool,
        buffer: int,
        overflow: Overflow,
        check: bool = True,
    ) -> None:
        if db != "*" and (not isinstance(db, int) or isinstance(db, bool) or not 0 <= db < 2**63):
            raise ArgumentError(f'db is {numeral(db)}, not a number from 0 on, nor "*"')
        if isinstance(events, str):
            raise ArgumentTypeError('events is str, not a collection of names, as in events=["set"]')
        names = [_channel(db, position, pattern) for position, pattern in enumerate(patterns or ("*",))]
        super().__init__(find_hub, decode, timeout, "p", names, gaps, buffer, overflow)
        self._events = None if events is None else frozenset(events)
        self._execute = execute
        self._check = check

    async def __aenter__(self) -> Self:
        text = await self._setting() if self._check else None
        if text is not None and ("K" not in text or not text.strip("KE")):
            raise NotificationsDisabled(f'{OPTION} is "{text}"; after CONFIG SET {OPTION} KA the server tells all')
        return await super().__aenter__()

    async def _setting(self) -> str | None:
        """Return the value of the setting, or None if the server does not tell it: then it may be on."""
        try:
            return await self._execute(("CONFIG", "GET", OPTION), _flags)
        except (*NOT_NOW, AuthenticationError):
            raise  # the subscription would fail for the same reason
        except (ResponseError, UnexpectedReply):
            return None  # no permission, no such command, or a proxy with words of its own

    def put_all(self, items: list[Any]) -> None:
        """Take events in the form of messages."""
        for item in items:
            self.put(item)

    def put(self, item: Any) -> None:
        """Take an event in the form of a message."""
        if isinstance(item, Message):
            event = item.data if isinstance(item.data, str) else item.data.decode("utf-8", "backslashreplace")
            if self._events is not None and event not in self._events:
                return
            colon: Any = ":" if isinstance(item.channel, str) else b":"
            where, _, key = item.channel.partition(colon)
            db = where[len("__keyspace@") : -len("__")]
            if not (db.isascii() and db.isdigit() and len(db) < 10):
                return  # a client published on such a channel
            item = KeyEvent(key, event, int(db))
        super().put(item)


def _flags(value: Any) -> str | None:
    """Return the value of the setting, or None from a server that does not list it."""
    said = mapping(value)
    if len(said) > 1:
        raise ValueError("more than was asked for")
    return string(some_text(next(iter(said.values())))) if said else None


def _channel(db: int | str, position: int, pattern: Key) -> bytes:
    if not isinstance(pattern, (str, bytes, memoryview)):
        raise ArgumentTypeError(f"pattern {position} is {type(pattern).__name__}, not str or bytes{remedy(pattern)}")
    return b"__keyspace@%b__:%b" % (str(db).encode(), as_bytes(pattern, f"pattern {position}"))
