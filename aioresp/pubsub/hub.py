"""All subscriptions of one event loop, on one connection: made at the first, made anew when it is lost.

Owns that connection, what is asked on it, and which topics are subscribed to: each once, however many read it. Every
decision is a synchronous function; nothing is awaited but the connection itself. Never buffers a message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aioresp.command import shown
from aioresp.errors import (
    ClientClosed,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    RedisError,
    SubscriptionClosed,
    about,
    copy_error,
)
from aioresp.pool.resource import PoolStats
from aioresp.pubsub.liveness import Liveness
from aioresp.pubsub.topics import Kind, Moment, Subscriber, Topic
from aioresp.retry import NOT_NOW, Retry, may_connect_again
from aioresp.wire.batch import fail
from aioresp.wire.connection import Connection
from aioresp.wire.listener import Listener
from aioresp.wire.packing import Push, pack

if TYPE_CHECKING:
    from aioresp.wire.renewal import Renewal

logger = logging.getLogger("aioresp")

#: Seconds that the connection is kept while nobody subscribes to anything.
LINGER: Final = 10.0

#: Seconds that a connection must have lasted for its loss to count as the first failure.
LASTING: Final = 1.0

#: How fast a lost connection is replaced, for as long as there are subscriptions.
PERSISTENT: Final = Retry()

_PONG: Final = b"pong"


class _Ask(NamedTuple):
    """What was asked: each has one answer, and these come in the same order."""

    answer: bytes
    since: Moment
    """Before it was sent: with the answer, all is here that had been published by then."""
    topic: Topic | None = None
    settle: Callable[[RedisError | None], None] | None = None
    """Called with the error that was the answer, or with None."""


class Hub:
    """The topics of one event loop and their readers."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        loop: asyncio.AbstractEventLoop,
        patience: Callable[[BaseException, int], float | None],
        on_drop: Callable[[str, int], None] | None = None,
    ) -> None:
        """Make one that has no connection yet.

        `patience` is that of a pool, until a first topic is confirmed. `on_drop` hears of messages that a reader drops:
        of which channel, and how many by now.
        """
        self.on_drop = on_drop
        self._connect = connect
        self._loop = loop
        self._patience = patience
        self._topics: dict[tuple[Kind, bytes], Topic] = {}
        self._live: dict[Kind, dict[bytes, Topic]] = {"": {}, "p": {}, "s": {}}
        self._listener: Listener | None = None
        self._since = 0.0
        self._complete = Moment.now()  # what was published by then is here; of what is live, that says nothing before
        self._asks: deque[_Ask] = deque()
        self._opening: asyncio.Task[None] | None = None
        self._failures = 0
        self._failure: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._life = Liveness(loop, self._ping)
        # Since when the answer to a PING is waited for, or since more than a trickle came before it; and how many bytes
        # had arrived by then, or by its answer.
        self._unused_since = 0.0
        self._unneeded = False  # the connection is being closed, as nobody needed it
        self._readers: set[Subscriber] = set()
        self._full: set[Subscriber] = set()
        self._closed = False
        self._on_end: Callable[[], None] | None = None
        self._all_ended: asyncio.Future[None] | None = None
        self._made = 0
        self._past_usage = (0, 0, 0)

    def __repr__(self) -> str:
        state = "connected" if self._listener is not None else "connecting" if self._opening is not None else "idle"
        return f"Hub({len(self._topics)} topics, {state})"

    # --- Readers and topics ------------------------------------------------------------------------------------------

    def admit(self, reader: Subscriber) -> None:
        """Have `reader` end when the client is closed."""
        self._readers.add(reader)

    def dismiss(self, reader: Subscriber) -> None:
        """Forget one that has left all its topics."""
        self._readers.discard(reader)
        self.release(reader)

    def join(self, kind: Kind, name: bytes, reader: Subscriber) -> Topic:
        """Have `reader` get what comes by this name, once `confirmed` says so."""
        if self._closed:
            raise ClientClosed("the client was closed")
        topic = self._topics.get((kind, name))
        if topic is None:
            topic = self._topics[kind, name] = Topic(kind, name, self._loop.create_future())
            if self._listener is not None:
                self._ask("", topic)
            elif self._opening is None:
                self._open(0.0)
        topic.add(reader)
        return topic

    def leave(self, topic: Topic, reader: Subscriber) -> None:
        """Hand `reader` nothing more of this topic; the last one out unsubscribes."""
        topic.remove(reader)
        key = topic.kind, topic.name
        if topic.readers or self._topics.get(key) is not topic:
            return
        del self._topics[key]
        self._live[topic.kind].pop(topic.name, None)
        fail(topic.confirmed, SubscriptionClosed("it was dropped before the server had confirmed it"))
        if self._listener is not None:
            self._ask("un", topic)
            self._unused_since = self._loop.time()

    async def confirmed(self, topics: Collection[Topic], timeout: float | None) -> None:
        """Wait until the server has confirmed the topics.

        Raises what it answered instead, what keeps us from connecting, and CommandTimeout after `timeout` seconds.
        """
        deadline = None if timeout is None else self._loop.time() + timeout
        while waiting := [topic.confirmed for topic in topics if not topic.live]:
            rest = None if deadline is None else deadline - self._loop.time()
            if rest is not None and rest <= 0:
                raise self._too_late(timeout)
            done, _ = await asyncio.wait(waiting, timeout=rest, return_when=asyncio.FIRST_EXCEPTION)
            for answer in done:
                error = answer.exception()
                if isinstance(error, RedisError):
                    raise copy_error(error)  # each who waits hangs a traceback of his own on it

    def _too_late(self, timeout: float | None) -> Exception:
        if self._full:
            who = min(map(repr, self._full))
            return CommandTimeout(f'no confirmation in {timeout:.3g} s: {who} is full, and "wait" holds up all')
        if self._listener is not None:
            return CommandTimeout(f"the server has not confirmed the subscription in {timeout:.3g} s")
        late = ConnectTimeout(f"no connection for the subscription in {timeout:.3g} s: {self._failure or 'no answer'}")
        late.__cause__ = self._failure
        return late

    # --- Out ---------------------------------------------------------------------------------------------------------

    def _ask(self, un: str, topic: Topic) -> None:
        assert self._listener is not None
        verb = f"{topic.kind}{un}subscribe"
        # A command each, so that each has an answer of its own, also where the server refuses but one of them.
        self._listener.send(pack((verb.upper(), topic.name)))
        self._asks.append(_Ask(verb.encode(), Moment.now(), topic))

    def _ask_again(self, topic: Topic) -> None:
        if self._listener is not None and self._topics.get((topic.kind, topic.name)) is topic and not topic.live:
            self._ask("", topic)

    # --- In ----------------------------------------------------------------------------------------------------------

    def _take(self, items: Iterator[Any]) -> bool:
        """Take what the server sent: messages, most of all, and answers, in the order of what was asked."""
        item: Any = None
        channels = self._live[""]
        # Messages of one channel often come in a row: all but the first are handed to its reader at once.
        last: bytes | None = None
        run: list[bytes] = []
        deliver_run: Callable[[list[bytes]], None] | None = None
        try:
            for item in items:
                if (type(item) is Push or type(item) is list) and len(item) == 3:
                    what, name, data = item
                    if what == b"message":
                        if name == last:
                            run.append(data)
                            continue
                        if run and deliver_run is not None:
                            deliver_run(run)
                        last = None
                        topic = channels.get(name)
                        if topic is not None:
                            topic.deliver(name, data)
                            deliver_run = topic.deliver_run
                            if deliver_run is not None:
                                last = name
                            elif self._full:
                                break
                        continue
                if run and deliver_run is not None:
                    deliver_run(run)
                last = None
                self._take_other(item)
                if self._full:
                    break
        finally:
            if run and deliver_run is not None:
                deliver_run(run)
        return item is not None

    def _take_other(self, item: Any) -> None:
        if not isinstance(item, list):
            self._take_answer(item, _PONG if isinstance(item, bytes) else b"")
            return
        what = item[0]
        if what == b"pmessage":
            topic = self._live["p"].get(item[1])
            if topic is not None:
                topic.deliver(item[2], item[3])
        elif what == b"smessage":
            topic = self._live["s"].get(item[1])
            if topic is not None:
                topic.deliver(item[1], item[2])
        elif what == b"sunsubscribe" and not self._expects(what, item[1]):
            assert self._listener is not None
            self._listener.connection.end(ConnectionLost("the server ended a subscription: its slot has moved"))
        else:
            self._take_answer(item, what)

    def _expects(self, answer: bytes, name: bytes) -> bool:
        asked = self._asks[0] if self._asks else None
        return asked is not None and asked.answer == answer and asked.topic is not None and asked.topic.name == name

    def _take_answer(self, item: Any, answer: bytes) -> None:
        ask = self._asks.popleft()
        self._complete = ask.since
        if isinstance(item, RedisError):
            if ask.settle is not None:
                ask.settle(item)
            elif ask.topic is None:
                self._answered()  # also if the user may not PING
            elif b"un" not in ask.answer:
                self._refused(ask.topic, item)
        elif ask.settle is not None:
            ask.settle(None)
        elif answer != ask.answer or (ask.topic is not None and item[1] != ask.topic.name):
            raise ValueError(f"something else where an answer to {ask.answer!r} was due")
        elif ask.topic is None:
            self._answered()
        elif b"un" not in answer:
            self._confirm(ask.topic)

    def _confirm(self, topic: Topic) -> None:
        if self._topics.get((topic.kind, topic.name)) is not topic:
            return  # all its readers have left meanwhile
        topic.live, topic.lost = True, False
        self._live[topic.kind][topic.name] = topic
        if not topic.confirmed.done():
            topic.confirmed.set_result(None)
        for reader in topic.readers:
            reader.regain(topic)

    def _refused(self, topic: Topic, error: RedisError) -> None:
        about(error, f"{topic.kind}subscribe".upper(), shown(topic.name))
        if isinstance(error, NOT_NOW):
            self._loop.call_later(PERSISTENT.pause(PERSISTENT.attempts - 1) or 0.0, self._ask_again, topic)
        else:
            self._fail(topic, error)

    def _fail(self, topic: Topic, error: RedisError) -> None:
        """Turn away who waits for the topic, and end the subscriptions that had it."""
        if self._topics.get((topic.kind, topic.name)) is topic:
            del self._topics[topic.kind, topic.name]
            fail(topic.confirmed, error)
            for reader in topic.readers:
                reader.deprive(topic, error)

    # --- Slow readers ------------------------------------------------------------------------------------------------

    def hold(self, reader: Subscriber) -> None:
        """Read nothing more from the server, as `reader` is full."""
        self._full.add(reader)
        if self._listener is not None:
            self._listener.hold()

    def release(self, reader: Subscriber) -> None:
        """Read on, unless another reader is full."""
        self._full.discard(reader)
        if self._listener is not None and not self._full:
            self._listener.release()
            self._life.resumed(self._listener)

    # --- The connection ----------------------------------------------------------------------------------------------

    def _open(self, pause: float) -> None:
        self._opening = self._loop.create_task(self._connect_after(pause), name="aioresp: connect for subscriptions")
        self._opening.add_done_callback(self._opened)

    async def _connect_after(self, pause: float) -> None:
        await asyncio.sleep(pause)
        if not self._topics:
            return
        connection = await self._connect()
        if self._closed:
            connection.close()  # a credential provider may have kept the cancellation to itself
        else:
            self._start(connection)

    def _start(self, connection: Connection) -> None:
        """Subscribe to everything on a new connection. Raises ConnectionLost if it has ended already."""
        self._made += 1
        self._listener = Listener(connection, self._take, self._ended)
        self._unneeded = False
        self._failure = None
        self._since = self._loop.time()
        for topic in self._topics.values():
            self._ask("", topic)
        if self._full:
            self._listener.hold()
        self._look_after(self._life.begin())

    def _opened(self, task: asyncio.Task[None]) -> None:
        if task is not self._opening:
            return  # its connection was lost in the turn in which it was made, and the next attempt is under way
        self._opening = None
        error = ConnectError("the attempt to connect was cancelled") if task.cancelled() else task.exception()
        if self._closed:
            self._note_end()
        elif error is not None:
            if not isinstance(error, RedisError):  # what nobody has thought of is no reason to try without a pause
                cause, error = error, ConnectError(f"cannot connect: {error!r}")
                error.__cause__ = cause
            self._failed(error)
        elif self._topics and self._listener is None:
            self._open(0.0)  # they came when it had just found nothing to do

    def _failed(self, error: RedisError) -> None:
        """Try again after a pause while there is hope: for ever if there are topics that were confirmed."""
        self._failures += 1
        self._failure = error
        if not self._topics:
            return
        pause = self._patience(error, self._failures)
        if pause is None and may_connect_again(error) and any(topic.lost for topic in self._topics.values()):
            pause = PERSISTENT.pause_without_end(self._failures)
        if pause is not None:
            logger.info("no connection for subscriptions: %s; the next attempt is in %.3g s", error, pause)
            self._open(pause)
            return
        self._failures = 0
        for topic in list(self._topics.values()):
            self._fail(topic, error)

    def _ended(self, error: RedisError) -> None:
        """Note the loss of the connection, and make a new one if somebody is subscribed."""
        listener, self._listener = self._listener, None
        assert listener is not None
        self._past_usage = self._usage(listener)
        self._asks.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._closed:
            self._note_end()
            return
        now = self._loop.time()
        for topics in self._live.values():
            topics.clear()
        for topic in self._topics.values():
            if topic.live:
                topic.live, topic.lost = False, True
                topic.confirmed = self._loop.create_future()
                for reader in topic.readers:
                    reader.lose(topic, self._complete)
        if self._topics:
            if self._unneeded:
                self._open(0.0)  # they came while it was being closed
                return
            logger.warning("the connection of %d subscribed topics was lost: %s", len(self._topics), error)
            if now - self._since >= LASTING:
                self._failures = 0
            self._failed(error)

    # --- Signs of life -----------------------------------------------------------------------------------------------

    def _look_after(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Close what nobody needs any more; else see whether the server is still there."""
        assert self._listener is not None
        self._renew(self._listener.connection.renewal)
        if not self._topics and self._loop.time() - self._unused_since >= LINGER:
            self._unneeded = True
            self._listener.connection.close()
            return
        seconds = self._life.look(self._listener)
        if seconds is not None:
            self._look_after(seconds)

    def _ping(self) -> None:
        assert self._listener is not None
        self._asks.append(_Ask(_PONG, Moment.now()))
        self._listener.send(pack(("PING",)))

    def _answered(self) -> None:
        assert self._listener is not None
        self._life.answered(self._listener)

    def _renew(self, renewal: Renewal | None) -> None:
        """Send new credentials, if there are such. Under RESP2 the server refuses them, and the connection is lost."""
        fresh = None if renewal is None else renewal.claim()
        if renewal is not None and fresh is not None and self._listener is not None:
            self._listener.send(pack(("AUTH", *fresh.words)))
            self._asks.append(_Ask(b"", Moment.now(), None, partial(renewal.settle, fresh)))

    # --- The end -----------------------------------------------------------------------------------------------------

    def shut(self, grace: float = 0.0) -> None:
        """Begin to end all subscriptions with ClientClosed, and the connection; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        error = ClientClosed("the client was closed")
        topics = list(self._topics.values())
        self._topics.clear()
        for topic in topics:
            fail(topic.confirmed, error)
        for reader in list(self._readers):
            reader.end(error)
        if self._opening is not None:
            self._opening.cancel()
        if self._listener is not None:
            self._listener.connection.close()
        self._note_end()

    async def aclose(self, grace: float = 0.0) -> None:
        """Do as `shut`, and wait for the end."""
        self.shut()
        while self._opening is not None or self._listener is not None:
            if self._all_ended is None or self._all_ended.done():
                self._all_ended = self._loop.create_future()
            await asyncio.wait((self._all_ended,))  # others may wait for the same: none cancels it

    def _note_end(self) -> None:
        if self._opening is None and self._listener is None:
            if self._all_ended is not None and not self._all_ended.done():
                self._all_ended.set_result(None)
            if self._on_end is not None:
                self._on_end()

    def notify(self, on_end: Callable[[], None]) -> None:
        """Have `on_end` called when the connection is closed for good."""
        self._on_end = on_end

    @property
    def busy(self) -> bool:
        """Return False: nothing is lost without its readers."""
        return False

    def abandon(self) -> None:
        """Cut the connection: the loop does not run."""
        if self._listener is not None:
            self._listener.connection.sever()
        try:
            self._loop.call_soon_threadsafe(self.shut)  # if it ever runs again
        except RuntimeError:
            pass  # it is closed

    def _usage(self, listener: Listener | None) -> tuple[int, int, int]:
        if listener is None:
            return self._past_usage
        now = listener.connection.usage()
        past = self._past_usage
        return past[0] + now[0], past[1] + now[1], past[2] + now[2]

    def stats(self) -> PoolStats:
        """Return the figures of this moment."""
        commands, sent, received = self._usage(self._listener)
        is_open = 0 if self._listener is None else 1
        return PoolStats(open=is_open, made=self._made, commands=commands, bytes_sent=sent, bytes_received=received)
