"""Client methods that open subscriptions: messages, keyspace notifications, MONITOR.

Owns their signatures. Never imports a subscription class before the first call, because many programs subscribe to
nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from aioresp.command import AnyStr, Key
from aioresp.commands.base import Executor
from aioresp.record import Record

if TYPE_CHECKING:
    from aioresp.pool.pool import Pool
    from aioresp.pubsub.hub import Hub
    from aioresp.pubsub.inbox import Overflow
    from aioresp.pubsub.keyspace import KeyEvent
    from aioresp.pubsub.monitor import Monitor
    from aioresp.pubsub.raw import RawSubscriber
    from aioresp.pubsub.subscription import Subscription
    from aioresp.pubsub.topics import Gap, Kind, Message
    from aioresp.wire.connection import Connection

#: Items that a subscription buffers by default.
BUFFER: Final = 10_000


class Listening(Record):
    """Source of the connections of subscriptions, and how their messages are read."""

    find_hub: Callable[[], Hub]
    find_pool: Callable[[], Pool[Connection]]
    db: int
    decode: bool
    timeout: float | None
    prepare: Callable[[], Awaitable[object]] | None = None
    """Step that each subscription awaits before it looks for its hub."""


class Subscribing(Executor[AnyStr]):
    """Methods that open subscriptions and monitors."""

    if TYPE_CHECKING:

        def _listening(self) -> Listening:
            """Return where the hub and the pool of the running loop are found."""
            ...

    @overload
    def subscribe(
        self, *channels: Key, gaps: Literal[False] = False, buffer: int = ..., overflow: Overflow = ...
    ) -> Subscription[Message[AnyStr]]: ...
    @overload
    def subscribe(
        self, *channels: Key, gaps: Literal[True], buffer: int = ..., overflow: Overflow = ...
    ) -> Subscription[Message[AnyStr] | Gap]: ...
    def subscribe(
        self, *channels: Key, gaps: bool = False, buffer: int = BUFFER, overflow: Overflow = "drop_oldest"
    ) -> Subscription[Any]:
        """Return a context that yields the messages of channels; more can be added and dropped while it runs.

        After a lost connection it subscribes again by itself, and yields a `Gap` if `gaps`. At most `buffer` messages
        wait for the reader. `overflow` is the policy for one more. "drop_oldest" and "drop_newest" drop a message. With
        "close" an iteration gets SubscriptionOverflow after the buffered messages. With "wait" nothing more is read
        from the server: that delays all subscriptions of this event loop, and the server may cut the connection.
        """
        return self._subscription("", channels, gaps, buffer, overflow)

    @overload
    def psubscribe(
        self, *patterns: Key, gaps: Literal[False] = False, buffer: int = ..., overflow: Overflow = ...
    ) -> Subscription[Message[AnyStr]]: ...
    @overload
    def psubscribe(
        self, *patterns: Key, gaps: Literal[True], buffer: int = ..., overflow: Overflow = ...
    ) -> Subscription[Message[AnyStr] | Gap]: ...
    def psubscribe(
        self, *patterns: Key, gaps: bool = False, buffer: int = BUFFER, overflow: Overflow = "drop_oldest"
    ) -> Subscription[Any]:
        """Return a context that yields the messages of all channels that match a glob; see `subscribe`."""
        return self._subscription("p", patterns, gaps, buffer, overflow)

    @overload
    def ssubscribe(
        self, *channels: Key, gaps: Literal[False] = False, buffer: int = ..., overflow: Overflow = ...
    ) -> Subscription[Message[AnyStr]]: ...
    @overload
    def ssubscribe(
        self, *channels: Key, gaps: Literal[True], buffer: int = ..., overflow: Overflow = ...
    ) -> Subscription[Message[AnyStr] | Gap]: ...
    def ssubscribe(
        self, *channels: Key, gaps: bool = False, buffer: int = BUFFER, overflow: Overflow = "drop_oldest"
    ) -> Subscription[Any]:
        """Return a context that yields the messages of shard channels; see `subscribe`. Since Redis 7.0."""
        return self._subscription("s", channels, gaps, buffer, overflow)

    def _subscription(
        self,
        kind: Kind,
        names: Iterable[Key],
        gaps: bool,
        buffer: int,
        overflow: Overflow,
        make: type[Subscription[Any]] | None = None,
    ) -> Subscription[Any]:
        from aioresp.pubsub.subscription import Subscription  # noqa: PLC0415 (many programs have none)

        at, make = self._listening(), make or Subscription
        made = make(at.find_hub, at.decode, at.timeout, kind, names, gaps, buffer, overflow)
        made.prepare = at.prepare
        return made

    def subscribe_raw(self, *, protocol: Literal[2, 3] = 3, restore: bool = True) -> RawSubscriber:
        """Return a context that takes commands such as SUBSCRIBE, and returns the bytes that a server would send.

        It is the seam for layers that have a parser of their own: `await s.send((b"SUBSCRIBE", b"c"))`, then
        `await s.read()`. With `protocol` 3 messages are pushes. If 100,000 messages wait, it ends with
        SubscriptionOverflow. Unless `restore`, it ends with ConnectionLost when its connection is lost.
        """
        from aioresp.pubsub.raw import BUFFER, Fleeting, RawSubscriber  # noqa: PLC0415 (few programs have one)

        subscription = self._subscription("", (), True, BUFFER, "close", None if restore else Fleeting)
        subscription.decode = False
        return RawSubscriber(subscription, protocol == 3)

    @overload
    def keyspace_events(
        self,
        *patterns: Key,
        events: Iterable[str] | None = None,
        db: int | Literal["*"] | None = None,
        check: bool = True,
        gaps: Literal[False] = False,
        buffer: int = ...,
        overflow: Overflow = ...,
    ) -> Subscription[KeyEvent[AnyStr]]: ...
    @overload
    def keyspace_events(
        self,
        *patterns: Key,
        events: Iterable[str] | None = None,
        db: int | Literal["*"] | None = None,
        check: bool = True,
        gaps: Literal[True],
        buffer: int = ...,
        overflow: Overflow = ...,
    ) -> Subscription[KeyEvent[AnyStr] | Gap]: ...
    def keyspace_events(
        self,
        *patterns: Key,
        events: Iterable[str] | None = None,
        db: int | Literal["*"] | None = None,
        check: bool = True,
        gaps: bool = False,
        buffer: int = BUFFER,
        overflow: Overflow = "drop_oldest",
    ) -> Subscription[Any]:
        """Return a context that yields the events of keys that match a glob: of all keys, if there is none.

        `events` names what is of interest, as the server calls it: "set", "expired", .... `db` is a database, or "*"
        for all; by default the client's own. Overflow is handled as in `subscribe`. Entering raises
        NotificationsDisabled if the server says that it is not configured to tell (`notify-keyspace-events`). It reads
        that by CONFIG GET; not with `check=False`.
        """
        from aioresp.pubsub.keyspace import KeyEvents  # noqa: PLC0415 (many programs have none)

        at = self._listening()
        where = at.find_hub, at.decode, at.timeout
        number = at.db if db is None else db
        made: KeyEvents[Any] = KeyEvents(*where, self.execute, number, patterns, events, gaps, buffer, overflow, check)
        made.prepare = at.prepare
        return made

    def monitor(self, *, buffer: int = BUFFER, overflow: Overflow = "drop_oldest") -> Monitor[AnyStr]:
        """Return a context that yields every command that the server runs, on a connection of its own.

        It slows the server down. `buffer` and `overflow` are as in `subscribe`.
        """
        from aioresp.pubsub.monitor import Monitor  # noqa: PLC0415 (few programs have one)

        at = self._listening()
        return Monitor(at.find_pool, at.decode, at.timeout, buffer, overflow)
