"""Subscription of one subscriber: an asynchronous iterator over messages, and over gaps.

Owns its buffer and the list of its topics. Never owns a connection: all subscriptions of an event loop share one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from aioresp.command import Key, as_bytes, shown
from aioresp.elsewhere import SUBSCRIPTION, advising
from aioresp.errors import ArgumentTypeError, RedisError
from aioresp.hints import remedy
from aioresp.pubsub.inbox import Inbox, Overflow
from aioresp.pubsub.topics import KINDS, Broker, Gap, Kind, Moment, Standing, Topic

logger = logging.getLogger("aioresp")

T = TypeVar("T")

#: Messages that a full subscription with overflow="wait" still buffers while it waits for a confirmation.
ON_TRIAL: Final = 10_000

#: Number of gaps that a subscription remembers.
GAPS: Final = 1000


@advising(SUBSCRIPTION)
class Subscription(Inbox[T]):
    """Messages of channels, patterns and shard channels, in the order in which the server sent them.

    Enter it with `async with`, which returns when the server has confirmed, and read it with `async for` or `get`.
    `dropped` counts the messages that found no room; `gaps` tells when messages may have been missed.
    """

    _entering = "async with r.subscribe(...) as s:"

    prepare: Callable[[], Awaitable[object]] | None = None
    """Step that is awaited before the hub is looked for; None without one."""

    def __init__(
        self,
        find_hub: Callable[[], Broker],
        decode: bool,
        timeout: float | None,
        kind: Kind,
        names: Iterable[Key],
        gaps: bool,
        buffer: int,
        overflow: Overflow,
    ) -> None:
        super().__init__(buffer, overflow)
        self.decode = decode
        self._find_hub = find_hub
        self._timeout = timeout
        self._names = kind, self._checked(kind, names)
        self._show_gaps = gaps
        self._gaps: deque[Gap] = deque(maxlen=GAPS)
        self._hub: Broker | None = None
        self._topics: dict[tuple[Kind, bytes], Topic] = {}
        #: Topics on trial, each with the number of calls that wait for its confirmation. A failure takes them out.
        self._adding: dict[Topic, int] = {}
        #: Number of calls that wait for a confirmation.
        self._joining = 0
        #: Topics whose connection was lost; the gap ends when the last of them is live again, or dropped.
        self._lost: set[Topic] = set()
        #: Shard channels that are not live, with the beginning of the gap of each.
        self._lost_shards: dict[Topic, Moment] = {}
        self._entered = self._lost_since = Moment.now()
        #: Ticks at which the gaps among the buffered messages began; each makes room for one item more.
        self._began: deque[float] = deque()

    def __repr__(self) -> str:
        if not hasattr(self, "_topics"):  # its constructor failed
            return f"{type(self).__name__}(not made)"
        if self._hub is None:
            return f"{type(self).__name__}(not entered)"
        counts = {what: sum(kind == key for key, _ in self._topics) for kind, what in KINDS.items()}
        said = ", ".join(f"{count} {what}s" for what, count in counts.items() if count)
        if self._ended:
            said = "ended"
        return f"{type(self).__name__}({said or 'nothing'}, {self.waiting} waiting, {self.dropped} dropped)"

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Return the gaps so far, the last thousand of them."""
        return tuple(self._gaps)

    def _checked(self, kind: Kind, names: Iterable[Key]) -> list[bytes]:
        found: list[bytes] = []
        for position, name in enumerate(names):
            if not isinstance(name, (str, bytes, memoryview)):
                raise ArgumentTypeError(
                    f"{KINDS[kind]} {position} is {type(name).__name__}, not str or bytes{remedy(name)}"
                )
            found.append(as_bytes(name, f"{KINDS[kind]} {position}", self.decode))  # messages will carry this name
        return found

    # --- Coming and going --------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._hub is not None:
            raise RuntimeError("a subscription is entered once")
        if self.prepare is not None:
            await self.prepare()
        self._hub = self._find_hub()
        self._entered = Moment.now()
        self._hub.admit(self)
        self._loop = asyncio.get_running_loop()
        try:
            await self._join(*self._names)
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        """End, and drop buffered messages. The server is told, but its answer is not awaited."""
        self.end()
        self._items.clear()
        self._began.clear()

    def end(self, error: RedisError | None = None) -> None:
        """Leave all channels; messages that were received can still be read."""
        super().end(error)
        for key in list(self._topics):
            self._drop(*key)
        if self._hub is not None:
            self._hub.dismiss(self)

    async def subscribe(self, *channels: Key) -> None:
        """Add channels, and return when the server has confirmed them; with an error, none of them is added."""
        await self._join("", self._checked("", channels))

    async def psubscribe(self, *patterns: Key) -> None:
        """Add patterns: globs of the names of channels."""
        await self._join("p", self._checked("p", patterns))

    async def ssubscribe(self, *channels: Key) -> None:
        """Add shard channels. Since Redis 7.0."""
        await self._join("s", self._checked("s", channels))

    async def unsubscribe(self, *channels: Key) -> None:
        """Drop channels, or all of them; received messages can still be read, messages on their way are discarded."""
        self._drop_all("", self._checked("", channels))

    async def punsubscribe(self, *patterns: Key) -> None:
        """Drop patterns, or all of them."""
        self._drop_all("p", self._checked("p", patterns))

    async def sunsubscribe(self, *channels: Key) -> None:
        """Drop shard channels, or all of them."""
        self._drop_all("s", self._checked("s", channels))

    async def _join(self, kind: Kind, names: list[bytes]) -> None:
        if self._hub is None or self._ended:
            raise RuntimeError("the subscription is not entered, or was left")
        self._check_loop()
        topics: list[Topic] = []
        self._joining += 1
        try:
            for name in names:
                topic = self._topics.get((kind, name))
                if topic is None:
                    topic = self._topics[kind, name] = self._hub.join(kind, name, self)
                    self._adding[topic] = 0
                if topic in self._adding:
                    self._adding[topic] += 1
                topics.append(topic)
            await self._hub.confirmed(topics, self._timeout)
        except BaseException:
            for topic in topics:
                if topic in self._adding:
                    self._adding[topic] -= 1
                    if not self._adding[topic]:  # else another call still waits for it
                        self._drop(kind, topic.name)
            raise
        finally:
            self._joining -= 1
        for topic in topics:
            self._adding.pop(topic, None)

    def _drop_all(self, kind: Kind, names: list[bytes]) -> None:
        if self._hub is not None:
            self._check_loop()
        for name in names or [name for which, name in self._topics if which == kind]:
            self._drop(kind, name)

    def _drop(self, kind: Kind, name: bytes) -> None:
        topic = self._topics.pop((kind, name), None)
        if topic is not None and self._hub is not None:
            self._adding.pop(topic, None)
            self._hub.leave(topic, self)
            self.regain(topic)

    # --- Calls of the hub --------------------------------------------------------------------------------------------

    def lose(self, topic: Topic, since: Moment) -> None:
        """Note that messages of the topic may be missed from that moment on."""
        since = max(since, self._entered, key=lambda moment: moment.ticks)
        if topic.kind == "s":
            self._lost_shards.setdefault(topic, since)
            return
        if not self._lost:
            self._lost_since = since
        self._lost.add(topic)

    def regain(self, topic: Topic) -> None:
        """Note that the topic is live again, or was dropped; the last one ends the gap.

        A shard channel has a gap of its own: others may be lost with other servers, and be live much later.
        """
        since = self._lost_shards.pop(topic, None)
        if since is None and topic in self._lost:
            self._lost.remove(topic)
            since = None if self._lost else self._lost_since
        if since is not None:
            self._take_gap(since, Moment.now(), topic.kind)

    def deprive(self, topic: Topic, error: RedisError) -> None:
        """End, as messages will be missed; if the topic was never confirmed, the call that adds it gets the error."""
        if topic.standing is not Standing.ASKED:
            self.end(error)

    def _take_gap(self, since: Moment, until: Moment, kind: Kind) -> None:
        gap, began = Gap(since.wall, until.ticks - since.ticks), since.ticks
        # Shard channels that were lost together are live again one after the other.
        if kind == "s" and self._gaps and since.wall < (last := self._gaps[-1]).at + last.seconds:
            at = min(last.at, since.wall)
            self._gaps[-1] = Gap(at, since.wall + gap.seconds - at)
        else:
            self._gaps.append(gap)
        if not self._show_gaps or self._ended:
            return
        if self._items and isinstance(self._items[-1], Gap):
            at = gap.at if began < self._began[-1] else self._items[-1].at
            self._began[-1] = min(began, self._began[-1])
            self._items[-1] = Gap(at, until.ticks - self._began[-1])
            return
        self._began.append(began)
        self._room += 1  # beyond the bound, which is one of messages: at most one gap follows each
        self._careful = True
        self._items.append(gap)
        self._wake_next()

    def _taken(self, item: Any) -> None:
        if isinstance(item, Gap):
            self._began.popleft()
            self._room -= 1
        super()._taken(item)

    # --- Overflow -------------------------------------------------------------------------------------------------

    def _drop_oldest(self) -> None:
        items = self._items
        if not isinstance(items[0], Gap):
            items.popleft()
            return
        del items[1]  # a message: no gap follows another
        if len(items) > 1 and isinstance(items[1], Gap):
            items[0] = Gap(items[0].at, self._began[1] + items[1].seconds - self._began[0])
            del items[1], self._began[1]
            self._room -= 1

    def _on_drop(self) -> None:
        if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8, ...: too rare to flood a log
            first = shown(next(iter(self._topics))[1])
            logger.warning("the subscription of %s is read too slowly: %d messages dropped", first, self.dropped)
            if self._hub is not None and self._hub.on_drop is not None:
                self._hub.on_drop(first, self.dropped)

    def _on_full(self) -> None:
        assert self._hub is not None
        # A confirmation can only be read behind these messages; the next message after it finds the subscription full.
        awaits = self._joining and not all(topic.live for topic in reversed(self._topics.values()))
        if not awaits or self.waiting >= max(ON_TRIAL, self._buffer):
            self._hub.hold(self)

    def _on_room(self) -> None:
        assert self._hub is not None
        self._hub.release(self)
