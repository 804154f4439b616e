"""Topics of the subscription hub: channels, patterns and shard channels, with their subscribers.

Owns the conversion of one message of the server into one value for all its subscribers. Never sends, never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from itertools import repeat
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias

from aioresp.command import AnyStr, shown
from aioresp.errors import RedisError
from aioresp.record import Record
from aioresp.typed import Enum
from aioresp.wire.batch import fail
from aioresp.wire.faults import undecodable

#: Kind of a topic, by the letter before SUBSCRIBE: channel, pattern, shard channel.
Kind: TypeAlias = Literal["", "p", "s"]

KINDS: Final[dict[Kind, str]] = {"": "channel", "p": "pattern", "s": "shard channel"}

#: Channel on which a client is told of invalidations, by CLIENT TRACKING with REDIRECT. The data is a list of keys.
INVALIDATE: Final = b"__redis__:invalidate"


class Message(NamedTuple, Generic[AnyStr]):
    """A message that was published."""

    channel: AnyStr
    data: AnyStr
    """The published value. On the channel `__redis__:invalidate` the server's own messages have a list of keys here,
    or None for all keys."""
    pattern: AnyStr | None = None
    """Pattern that matched the channel; None for a message of a channel that was subscribed to by name."""


#: Constructor of messages: by way of the class it takes twice as long.
_new: Final[Any] = tuple.__new__


class Gap(Record):
    """A time in which messages may have been missed, as the connection was lost; every missing message lies inside."""

    at: float
    """Its beginning, in seconds since 1970: every message published by then was received."""
    seconds: float
    """Its length: until the server had confirmed the last channel again."""


class Moment(NamedTuple):
    """A point in time by two clocks; only the second one can measure how long something took."""

    wall: float
    ticks: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(time.time(), _ticks())


def _ticks() -> float:
    """Return the time of a monotonic clock, one that goes on while the machine sleeps where there is one."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class Subscriber(Protocol):
    """Subscription, as topics and hub know it."""

    decode: bool
    """Whether it takes text or bytes."""
    waits: bool
    """Whether it may ask the hub, after any message, to read nothing more."""

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
        """Note that messages of the topic may be missed from that moment on."""
        ...

    def regain(self, topic: Topic) -> None:
        """Note that the topic is subscribed to again."""
        ...

    def end(self, error: RedisError | None = None) -> None:
        """Take nothing more, and leave all topics."""
        ...

    def deprive(self, topic: Topic, error: RedisError) -> None:
        """Note that the topic has failed: no message of it will come."""
        ...


class Broker(Protocol):
    """Source of topics, as a subscription knows it: a hub, or several behind one face."""

    @property
    def on_drop(self) -> Callable[[str, int], None] | None:
        """Function that is told of dropped messages: the first topic, and how many by now."""
        ...

    def admit(self, subscriber: Subscriber) -> None:
        """End `subscriber` when the client is closed."""
        ...

    def dismiss(self, subscriber: Subscriber) -> None:
        """Forget a subscriber that has left all its topics."""
        ...

    def join(self, kind: Kind, name: bytes, subscriber: Subscriber) -> Topic:
        """Hand `subscriber` the messages of a topic, once `confirmed` has returned."""
        ...

    def leave(self, topic: Topic, subscriber: Subscriber) -> None:
        """Hand `subscriber` nothing more of a topic."""
        ...

    async def confirmed(self, topics: Collection[Topic], timeout: float | None) -> None:
        """Wait until the server has confirmed the topics."""
        ...

    def hold(self, subscriber: Subscriber) -> None:
        """Read nothing more from the server, as `subscriber` is full."""
        ...

    def release(self, subscriber: Subscriber) -> None:
        """Read on, as far as it depends on `subscriber`."""
        ...


class Standing(Enum):
    """State of a topic: asked, then live, then lost and live again with each lost connection."""

    ASKED = "asked"
    """It was never confirmed."""
    LIVE = "live"
    """The server has confirmed it on the present connection."""
    LOST = "lost"
    """It was live on a connection that was lost, and is to be live again."""


class Topic:
    """A channel, pattern or shard channel with its subscribers."""

    __slots__ = ("_raws", "_texts", "confirmed", "deliver", "deliver_run", "kind", "name", "standing")

    def __init__(self, kind: Kind, name: bytes, confirmed: asyncio.Future[None]) -> None:
        self.kind: Kind = kind
        self.name = name
        self.standing = Standing.ASKED
        #: Done once the topic is live; fails if the server refuses it. A lost topic gets a new future.
        self.confirmed = confirmed
        # Tuples, as subscribers come and go while others iterate over them.
        self._texts: tuple[Subscriber, ...] = ()
        self._raws: tuple[Subscriber, ...] = ()
        #: Function that hands a message, by its channel and data, to all subscribers.
        self.deliver: Callable[[bytes, bytes], None] = self._deliver
        #: Function that hands over many, by their data, and empties the list; None if each has to go by `deliver`.
        self.deliver_run: Callable[[list[bytes]], None] | None = None

    def __repr__(self) -> str:
        return (
            f"Topic({KINDS[self.kind]} {shown(self.name)}, {len(self.subscribers)} subscribers, {self.standing.value})"
        )

    @property
    def live(self) -> bool:
        """Whether the server has confirmed it on the present connection."""
        return self.standing is Standing.LIVE

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """Return all its subscribers."""
        return self._texts + self._raws

    def add(self, subscriber: Subscriber) -> None:
        """Hand `subscriber` all messages from now on."""
        if subscriber.decode:
            self._texts += (subscriber,)
        else:
            self._raws += (subscriber,)
        self._choose()

    def remove(self, subscriber: Subscriber) -> None:
        """Hand `subscriber` nothing more."""
        if subscriber.decode:
            self._texts = _without(self._texts, subscriber)
        else:
            self._raws = _without(self._raws, subscriber)
        self._choose()

    def confirm(self) -> None:
        """Note that the server has confirmed it, and tell the callers that wait and the subscribers that lost it."""
        self.standing = Standing.LIVE
        if not self.confirmed.done():
            self.confirmed.set_result(None)
        for subscriber in self.subscribers:
            subscriber.regain(self)

    def lose(self, since: Moment, confirmed: asyncio.Future[None]) -> None:
        """Note that the connection of a live topic was lost; `confirmed` is done when it is live again."""
        self.standing = Standing.LOST
        self.confirmed = confirmed
        for subscriber in self.subscribers:
            subscriber.lose(self, since)

    def fail(self, error: RedisError) -> None:
        """Fail the callers that wait for it, and end the subscriptions that had it."""
        fail(self.confirmed, error)
        for subscriber in self.subscribers:
            subscriber.deprive(self, error)

    def _choose(self) -> None:
        """Choose how to deliver: the common case, one subscriber that takes text, has functions of its own."""
        self.deliver = self._deliver
        self.deliver_run = None
        if self.name == INVALIDATE and self.kind == "":
            self.deliver = self._deliver_keys
        elif self.kind != "p" and len(self._texts) == 1 and not self._raws:
            channel, (subscriber,) = self.name.decode(), self._texts
            self.deliver = _to_one(channel, subscriber)
            if not subscriber.waits:
                self.deliver_run = _run_to_one(channel, subscriber, self.deliver)

    def _deliver_keys(self, channel: bytes, data: Any) -> None:
        """Hand over keys that are no longer valid, or what a client has published on this channel."""
        if type(data) is bytes:
            self._deliver(channel, data)
            return
        if data is not None and (type(data) is not list or any(type(key) is not bytes for key in data)):
            raise TypeError("an invalidation that is not a list of keys")
        if self._texts:
            try:
                texts = data if data is None else [key.decode() for key in data]
            except UnicodeDecodeError as error:
                for subscriber in self._texts:
                    subscriber.put_error(undecodable(error))
            else:
                for subscriber in self._texts:
                    subscriber.put(_new(Message, (channel.decode(), texts, None)))
        for subscriber in self._raws:
            subscriber.put(_new(Message, (channel, data, None)))

    def _deliver(self, channel: bytes, data: bytes) -> None:
        if channel.__class__ is not bytes or data.__class__ is not bytes:
            raise TypeError("a message that is not bytes")
        pattern = self.name if self.kind == "p" else None
        if self._texts:
            try:
                text = Message(channel.decode(), data.decode(), None if pattern is None else pattern.decode())
            except UnicodeDecodeError as error:
                for subscriber in self._texts:
                    subscriber.put_error(undecodable(error))
            else:
                for subscriber in self._texts:
                    subscriber.put(text)
        if self._raws:
            raw = Message(channel, data, pattern)
            for subscriber in self._raws:
                subscriber.put(raw)


def _without(subscribers: tuple[Subscriber, ...], subscriber: Subscriber) -> tuple[Subscriber, ...]:
    position = subscribers.index(subscriber)  # thousands may leave a channel at the same time
    return subscribers[:position] + subscribers[position + 1 :]


def _to_one(channel: str, subscriber: Subscriber) -> Callable[[bytes, bytes], None]:
    put = subscriber.put

    def deliver(_: bytes, data: bytes) -> None:
        try:
            put(_new(Message, (channel, data.decode(), None)))
        except UnicodeDecodeError as error:
            subscriber.put_error(undecodable(error))

    return deliver


def _run_to_one(
    channel: str, subscriber: Subscriber, deliver: Callable[[bytes, bytes], None]
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
            subscriber.put_all(messages)
        run.clear()

    return deliver_run
