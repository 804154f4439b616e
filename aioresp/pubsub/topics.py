"""Topics of the subscription hub: channels, patterns and shard channels, with their subscribers.

Owns the conversion of one message of the server into one value for all its subscribers. Never sends, never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias

from aioresp.command import AnyStr, shown
from aioresp.errors import RedisError
from aioresp.record import Record
from aioresp.wire.batch import undecodable

#: What is subscribed to, by the letter before SUBSCRIBE: a channel, a pattern, a shard channel.
Kind: TypeAlias = Literal["", "p", "s"]

KINDS: Final[dict[Kind, str]] = {"": "channel", "p": "pattern", "s": "shard channel"}


class Message(NamedTuple, Generic[AnyStr]):
    """A message that was published."""

    channel: AnyStr
    data: AnyStr
    pattern: AnyStr | None = None
    """The pattern by which it was found, if it was."""


#: Makes one: by way of the class it would take twice as long.
_new: Final[Any] = tuple.__new__


class Gap(Record):
    """A time in which messages may have been missed: the connection was lost. All that are missing lie inside it."""

    at: float
    """When it began, in seconds since 1970: all that the server had published by then was received."""
    seconds: float
    """How long it took until the server had confirmed the last channel again."""


class Moment(NamedTuple):
    """A point in time, by two clocks: only the second is fit for measuring how long something took."""

    wall: float
    ticks: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(time.time(), _ticks())


def _ticks() -> float:
    """Return the time of a clock that nobody can set, and that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class Subscriber(Protocol):
    """What a topic must know of who reads it."""

    decode: bool
    waits: bool
    """Whether it may ask, after any message, for no more to come."""

    def put(self, item: Any) -> None:
        """Take a message."""
        ...

    def put_all(self, items: list[Any]) -> None:
        """Take messages."""
        ...

    def put_error(self, error: Exception) -> None:
        """Take an error in the place of a message."""
        ...

    def lose(self, topic: Topic, since: Moment) -> None:
        """Note that messages may be missed from that moment on."""
        ...

    def regain(self, topic: Topic) -> None:
        """Note that the topic is subscribed to again."""
        ...

    def end(self, error: RedisError | None = None) -> None:
        """Take nothing more, and leave all topics."""
        ...

    def deprive(self, topic: Topic, error: RedisError) -> None:
        """Note that there will be no messages of the topic any more."""
        ...


class Topic:
    """A channel, pattern or shard channel with its readers; `live` while the server has confirmed it."""

    __slots__ = ("_raws", "_texts", "confirmed", "deliver", "deliver_run", "kind", "live", "lost", "name")

    def __init__(self, kind: Kind, name: bytes, confirmed: asyncio.Future[None]) -> None:
        self.kind: Kind = kind
        self.name = name
        self.live = False
        self.lost = False  # it was live, and will be again
        #: Done once `live`; fails if the server refuses. A new one is made when the connection is lost.
        self.confirmed = confirmed
        # Tuples: they are gone through while readers come and go.
        self._texts: tuple[Subscriber, ...] = ()
        self._raws: tuple[Subscriber, ...] = ()
        #: Hands a message, by its channel and data, to all readers.
        self.deliver: Callable[[bytes, bytes], None] = self._deliver
        #: Does so with many, by their data, and empties the list; None if they have to be handed over one by one.
        self.deliver_run: Callable[[list[bytes]], None] | None = None

    def __repr__(self) -> str:
        return (
            f"Topic({KINDS[self.kind]} {shown(self.name)}, {len(self.readers)} readers{', live' if self.live else ''})"
        )

    @property
    def readers(self) -> tuple[Subscriber, ...]:
        """Return all who read it."""
        return self._texts + self._raws

    def add(self, reader: Subscriber) -> None:
        """Hand it what comes from now on."""
        if reader.decode:
            self._texts += (reader,)
        else:
            self._raws += (reader,)
        self._choose()

    def remove(self, reader: Subscriber) -> None:
        """Hand it nothing more."""
        if reader.decode:
            self._texts = _without(self._texts, reader)
        else:
            self._raws = _without(self._raws, reader)
        self._choose()

    def _choose(self) -> None:
        """Have what most channels need, one reader of text, done without a look at what else there could be."""
        self.deliver = self._deliver
        self.deliver_run = None
        if self.kind != "p" and len(self._texts) == 1 and not self._raws:
            channel, (reader,) = self.name.decode(), self._texts
            self.deliver = _to_one(channel, reader)
            if not reader.waits:
                self.deliver_run = _run_to_one(channel, reader, self.deliver)

    def _deliver(self, channel: bytes, data: bytes) -> None:
        if channel.__class__ is not bytes or data.__class__ is not bytes:
            raise TypeError("a message of something else than bytes")
        pattern = self.name if self.kind == "p" else None
        if self._texts:
            try:
                text = Message(channel.decode(), data.decode(), None if pattern is None else pattern.decode())
            except UnicodeDecodeError as error:
                for reader in self._texts:
                    reader.put_error(undecodable(error))
            else:
                for reader in self._texts:
                    reader.put(text)
        if self._raws:
            raw = Message(channel, data, pattern)
            for reader in self._raws:
                reader.put(raw)


def _without(readers: tuple[Subscriber, ...], reader: Subscriber) -> tuple[Subscriber, ...]:
    position = readers.index(reader)  # as fast as can be: thousands may leave a channel at the same time
    return readers[:position] + readers[position + 1 :]


def _to_one(channel: str, reader: Subscriber) -> Callable[[bytes, bytes], None]:
    put = reader.put

    def deliver(_: bytes, data: bytes) -> None:
        try:
            put(_new(Message, (channel, data.decode(), None)))
        except UnicodeDecodeError as error:
            reader.put_error(undecodable(error))

    return deliver


def _run_to_one(
    channel: str, reader: Subscriber, deliver: Callable[[bytes, bytes], None]
) -> Callable[[list[bytes]], None]:
    name = channel.encode()

    def deliver_run(run: list[bytes]) -> None:
        try:
            parts = zip(repeat(channel), map(bytes.decode, run), repeat(None))
            messages = list(map(_new, repeat(Message), parts))
        except UnicodeDecodeError:
            for data in run:
                deliver(name, data)
        else:
            reader.put_all(messages)
        run.clear()

    return deliver_run
