"""Pushes of one leased connection as an asynchronous iterator: invalidations, above all.

Owns the buffer of each iterator, and its place among the connection's listeners. Never holds up the connection, because
replies and pushes share one stream.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from types import TracebackType
from typing import Any, Self

from aioresp.command import AnyStr
from aioresp.errors import ArgumentError, CommandRefused, RedisError, copy_error
from aioresp.pubsub.inbox import Inbox, Overflow
from aioresp.record import Record
from aioresp.replies import decoded
from aioresp.typed import Generic
from aioresp.wire.connection import Connection

logger = logging.getLogger("aioresp")


class Push(Record, Generic[AnyStr]):
    """A message of the server that is no reply."""

    kind: str
    """Its name, as the server sends it: "invalidate", "tracking-redir-broken", ...."""
    data: list[Any] | None
    """The parts behind the name, as str or bytes like the client's replies; of an invalidation, its `keys`."""

    @property
    def keys(self) -> list[AnyStr] | None:
        """The keys that an invalidation names; None if it means all keys (FLUSHALL). Empty for other pushes."""
        return self.data if self.kind == "invalidate" else []


class Pushes(Inbox[Push[AnyStr]], Generic[AnyStr]):
    """Iterator over the pushes of a leased connection; it ends when the lease ends.

    ConnectionLost ends it if the connection is lost. `dropped` counts the pushes that found no room.
    """

    _entering = "async for push in connection.pushes():"
    _reading = _entering

    def __init__(self, connection: Connection, decode: bool, buffer: int, overflow: Overflow) -> None:
        super().__init__(buffer, overflow)
        if overflow == "wait":
            raise ArgumentError('overflow is "wait", which would hold up the replies behind: not for pushes')
        self._loop = asyncio.get_running_loop()
        self._decode = decode
        self._ear = Ear(connection, self)

    def __repr__(self) -> str:
        if not hasattr(self, "_ear"):  # its constructor failed
            return "Pushes(not made)"
        return f"Pushes({'ended, ' if self._ended else ''}{self.waiting} waiting, {self.dropped} dropped)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        self._items.clear()

    def end(self, error: RedisError | None = None) -> None:
        """Take nothing more. Buffered pushes can still be read; then comes `error`, or the iteration ends."""
        super().end(error)
        self._ear.close()

    def hear(self, push: list[Any]) -> None:
        """Take a push, undecoded."""
        name, *parts = push
        kind = name.decode("utf-8", "backslashreplace") if type(name) is bytes else "?"
        data: Any = decoded(parts) if self._decode else parts
        if isinstance(data, RedisError):
            self.put_error(data)
        elif kind == "invalidate" and len(data) == 1:
            self.put(Push(kind, data[0]))  # a list of keys, or None
        else:
            self.put(Push(kind, data))

    def _on_drop(self) -> None:
        if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8, ...: too rare to flood a log
            logger.warning("the pushes of a lease are read too slowly: %d did not fit", self.dropped)


class Ear:
    """Listeners of one iterator. They do not keep it: one that nobody refers to any more is forgotten."""

    __slots__ = ("_connection", "_pushes")

    def __init__(self, connection: Connection, pushes: Pushes[Any]) -> None:
        self._connection: Connection | None = connection
        self._pushes = weakref.ref(pushes)
        connection.add_push_listener(self._hear)
        connection.add_end_listener(self._end)

    @property
    def deaf(self) -> bool:
        """Whether the iterator is gone."""
        return self._pushes() is None

    def end(self) -> None:
        """End the iterator, because its lease has ended."""
        pushes = self._pushes()
        if pushes is not None:
            pushes.end()
        self.close()

    def close(self) -> None:
        """Listen no more; a second time does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.remove_push_listener(self._hear)
            connection.remove_end_listener(self._end)

    def _hear(self, push: list[Any]) -> None:
        pushes = self._pushes()
        if pushes is None:
            self.close()
        else:
            pushes.hear(push)

    def _end(self, connection: Connection) -> None:
        pushes = self._pushes()
        if pushes is not None:
            pushes.end(connection.error)


class Ears:
    """Iterators over the pushes of one lease."""

    __slots__ = ("_ears",)

    def __init__(self) -> None:
        self._ears: list[Ear] = []

    def listen(self, connection: Connection, decode: bool, buffer: int, overflow: Overflow) -> Pushes[Any]:
        """Return an iterator over the pushes that arrive from now on. Raises ConnectionLost after the connection."""
        if connection.error is not None:
            raise copy_error(connection.error)  # its own: each caller adds a traceback
        pushes: Pushes[Any] = Pushes(connection, decode, buffer, overflow)
        for ear in self._ears:
            if ear.deaf:
                ear.close()
        self._ears = [*(ear for ear in self._ears if not ear.deaf), pushes._ear]
        return pushes

    def end(self) -> None:
        """End all, because the lease has ended."""
        for ear in self._ears:
            ear.end()
        self._ears.clear()


def refuse() -> CommandRefused:
    """Return the error for a connection that has no pushes."""
    return CommandRefused(
        "pushes need RESP3, and this connection speaks RESP2: make the client with protocol=3 (Redis 6.0 or newer), or "
        "have another connection told, by client_tracking(clientid=...) and a subscription to '__redis__:invalidate'"
    )
