"""Subscription hub of one event loop: all subscriptions on one connection, opened for the first of them.

Owns that connection, its successor when it is lost, and the set of subscribed topics. Each topic is subscribed once for
any number of subscribers. Every decision is a synchronous function; only connecting is awaited. Never buffers a
message, and never knows where its connections lead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aioresp.command import shown
from aioresp.errors import (
    ClientClosed,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    MovedError,
    ReadOnlyError,
    RedisError,
    SubscriptionClosed,
    about,
    copy_error,
)
from aioresp.pool.opening import Patience, error_of, step_of
from aioresp.pool.resource import PoolStats
from aioresp.pubsub.liveness import Liveness
from aioresp.pubsub.requests import Requests
from aioresp.pubsub.states import SHUT, TRANSITIONS, Event, State
from aioresp.pubsub.topics import INVALIDATE, KINDS, Kind, Moment, Standing, Subscriber, Topic
from aioresp.retry import NOT_NOW, Retry
from aioresp.timers import wait
from aioresp.wire.batch import fail
from aioresp.wire.connection import Connection
from aioresp.wire.deadlines import LATE, WAKE
from aioresp.wire.listener import Listener
from aioresp.wire.packing import Push, pack

if TYPE_CHECKING:
    from aioresp.wire.renewal import Renewal

logger = logging.getLogger("aioresp")

#: Seconds for which an unused connection is kept.
LINGER: Final = 10.0

#: Seconds that a connection must have lasted for its loss to count as the first failure.
LASTING: Final = 1.0

#: Pauses between the attempts to replace a lost connection, as long as there are subscriptions.
PERSISTENT: Final = Retry()

_PONG: Final = b"pong"

#: Names of the pushes that are messages, or answers to requests.
_KNOWN: Final = frozenset(
    f"{kind}{what}".encode() for kind in KINDS for what in ("subscribe", "unsubscribe", "message")
)


class Hub:
    """Topics of one event loop and their subscribers: a `Broker` with one connection.

    `state` moves by the table in `states`. `connect` is called once for each attempt, so that a connection may lead to
    another server than the one before.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        loop: asyncio.AbstractEventLoop,
        patience: Callable[[BaseException, int], float | None],
        on_drop: Callable[[str, int], None] | None = None,
        spare: Callable[[], Connection | None] = lambda: None,
    ) -> None:
        """Make a hub without a connection.

        `patience` is a pool's, and holds until a first topic is confirmed; lost topics are subscribed again forever.
        `on_drop` is called when a subscription drops a message, with its first topic and the number dropped by now.
        `spare` returns an idle connection that the hub may take over, or None.
        """
        self.on_drop = on_drop
        self.level = logging.WARNING  # that of a lost connection in the log; a watch over a sentinel lowers it
        #: Function that gets a shard channel whose slot has moved, with the redirect; None if there is no other hub.
        self.on_moved: Callable[[Topic, MovedError], None] | None = None
        self.state = State.IDLE
        self._connect = connect
        self._spare = spare
        self._loop = loop
        self._patience = Patience(patience, "connection for subscriptions")
        #: All topics that have subscribers, live or not.
        self._topics: dict[tuple[Kind, bytes], Topic] = {}
        #: Live topics, by the names that messages carry.
        self._live: dict[Kind, dict[bytes, Topic]] = {"": {}, "p": {}, "s": {}}
        self._subscribers: set[Subscriber] = set()
        #: Full subscribers with overflow="wait"; the hub reads nothing while there are any.
        self._full: set[Subscriber] = set()
        self.requests = Requests()
        #: Attempt to connect, from its pause to its end.
        self._opening: asyncio.Task[None] | None = None
        self._listener: Listener | None = None
        #: Timer of the first sign of life of a connection that was taken over.
        self._trial: asyncio.TimerHandle | None = None
        #: Loop time at which the connection was made.
        self._since = 0.0
        #: Loop time at which a topic was last dropped.
        self._unused_since = 0.0
        self._life = Liveness(loop, self._ping, self._needed)
        self._on_end: Callable[[], None] | None = None
        self._all_ended: asyncio.Future[None] | None = None
        self._made = 0
        #: Commands, bytes sent and bytes received by former connections.
        self._past_usage = (0, 0, 0)

    def __repr__(self) -> str:
        return f"Hub({len(self._topics)} topics, {self.state.value})"

    def _advance(self, event: Event) -> None:
        """Move to the next state; a KeyError tells of an event that the table has no place for."""
        self.state = TRANSITIONS[self.state, event]
        if self.state is State.CLOSED:
            if self._all_ended is not None and not self._all_ended.done():
                self._all_ended.set_result(None)
            if self._on_end is not None:
                self._on_end()

    # --- Subscribers and topics --------------------------------------------------------------------------------------

    def admit(self, subscriber: Subscriber) -> None:
        """End `subscriber` when the client is closed."""
        self._subscribers.add(subscriber)

    def dismiss(self, subscriber: Subscriber) -> None:
        """Forget a subscriber that has left all its topics."""
        self._subscribers.discard(subscriber)
        self.release(subscriber)

    def join(self, kind: Kind, name: bytes, subscriber: Subscriber) -> Topic:
        """Hand `subscriber` the messages of a topic, once `confirmed` has returned. Raises ClientClosed."""
        if self.state in SHUT:
            raise ClientClosed("the client was closed")
        topic = self._topics.get((kind, name))
        if topic is None:
            topic = self._topics[kind, name] = Topic(kind, name, self._loop.create_future())
            self._ask_for(topic)
        topic.add(subscriber)
        return topic

    def _ask_for(self, topic: Topic) -> None:
        if self.state is State.CONNECTED:
            self._request("", topic)
        elif self.state is State.IDLE and not self._take_over():
            self._open(0.0)

    def leave(self, topic: Topic, subscriber: Subscriber) -> None:
        """Hand `subscriber` nothing more of a topic; after the last one, the server is told."""
        topic.remove(subscriber)
        if topic.subscribers or not self._has(topic):
            return
        del self._topics[topic.kind, topic.name]
        self._live[topic.kind].pop(topic.name, None)
        fail(topic.confirmed, SubscriptionClosed("it was dropped before the server had confirmed it"))
        if self.state is State.CONNECTED:
            self._request("un", topic)
            self._unused_since = self._loop.time()

    def give_away(self, topic: Topic) -> None:
        """Forget a topic that goes to another hub with its subscribers; they may miss messages from now on."""
        self._topics.pop((topic.kind, topic.name), None)
        if self._live[topic.kind].pop(topic.name, None) is not None:
            # No SUNSUBSCRIBE: the server ends it by itself, and would answer with an error too many.
            topic.lose(self.requests.complete, self._loop.create_future())
        self._unused_since = self._loop.time()
        kept = {subscriber for other in self._topics.values() for subscriber in other.subscribers}
        for subscriber in set(topic.subscribers) - kept:
            self.dismiss(subscriber)

    def adopt(self, topic: Topic) -> None:
        """Take over a topic of another hub. Raises ClientClosed."""
        self._subscribers.update(topic.subscribers)
        if self.state in SHUT:
            raise ClientClosed("the client was closed")
        self._topics[topic.kind, topic.name] = topic
        self._ask_for(topic)

    @property
    def complete(self) -> Moment:
        """Moment up to which all messages of live topics have arrived."""
        return self.requests.complete

    def _has(self, topic: Topic) -> bool:
        """Return whether the topic still has subscribers; another one may have its name by now."""
        return self._topics.get((topic.kind, topic.name)) is topic

    async def confirmed(self, topics: Collection[Topic], timeout: float | None) -> None:
        """Wait until the server has confirmed the topics.

        Raises the server's error, the error that keeps the hub from connecting, and CommandTimeout or ConnectTimeout
        after `timeout` seconds.
        """
        deadline = None if timeout is None else self._loop.time() + timeout
        while waiting := [topic.confirmed for topic in topics if not topic.live]:
            rest = None if deadline is None else deadline - self._loop.time()
            if rest is not None and rest <= 0:
                raise self._too_late(timeout)
            for answer in await wait(waiting, rest, asyncio.FIRST_EXCEPTION):
                error = answer.exception()
                if isinstance(error, RedisError):
                    raise copy_error(error)  # each caller's own, as each adds a traceback to it

    def _too_late(self, timeout: float | None) -> Exception:
        if self._full:
            full = min(map(repr, self._full))
            return CommandTimeout(f'no confirmation in {timeout:.3g} s: {full} is full, and "wait" holds up all')
        if self.state is State.CONNECTED:
            return CommandTimeout(f"the server has not confirmed the subscription in {timeout:.3g} s")
        failure = self._patience.failure
        step = "" if self._opening is None else step_of((self._opening,))
        late = ConnectTimeout(
            f"no connection for the subscription in {timeout:.3g} s: {failure or step or 'no answer'}"
        )
        late.__cause__ = failure
        return late

    # --- Out ---------------------------------------------------------------------------------------------------------

    def _request(self, un: str, topic: Topic) -> None:
        assert self._listener is not None
        verb = f"{topic.kind}{un}subscribe"
        # A command for each topic: each has an answer of its own, and the server may refuse one alone.
        self._listener.send(pack((verb.upper(), topic.name)))
        self.requests.add(verb.encode(), topic)

    def _request_again(self, topic: Topic) -> None:
        if self.state is State.CONNECTED and self._has(topic) and not topic.live:
            self._request("", topic)

    # --- In ----------------------------------------------------------------------------------------------------------

    def _take(self, items: Iterator[Any]) -> bool:
        """Take items of the server: messages, mostly, and the answers to requests."""
        item: Any = None
        channels = self._live[""]
        # Messages of one channel often come in a row: those after the first are handed over together.
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
        elif what == b"sunsubscribe" and not self.requests.expects(what, item[1]):
            self._take_end(item[1])
        elif type(item) is Push and what not in _KNOWN:
            self._take_unasked(item)
        else:
            self._take_answer(item, what)

    def _take_end(self, name: bytes) -> None:
        """Take the end of a shard channel that nobody asked for: its slot has moved."""
        topic = self._live["s"].pop(name, None)
        if self.on_moved is None:
            self.move(ConnectionLost("the server ended a subscription: its slot has moved"))
        elif topic is not None:
            topic.lose(self.requests.complete, self._loop.create_future())
            self._request("", topic)  # the answer is a redirect, to `on_moved`

    def _take_unasked(self, push: list[Any]) -> None:
        """Take a push that answers no request: an invalidation, or some kind that is of no use here."""
        topic = self._live[""].get(INVALIDATE)
        if topic is not None and push[0] == b"invalidate" and len(push) == 2:
            topic.deliver(INVALIDATE, push[1])  # as under RESP2, where the server sends a message
        elif self._listener is not None:
            self._listener.connection.limits.drop(push)

    def _take_answer(self, item: Any, answer: bytes) -> None:
        request = self.requests.answered(answer, item)
        error = item if isinstance(item, RedisError) else None
        if request.settle is not None:
            request.settle(error)
        elif request.topic is None:
            self._life.answered()  # NOPERM is a sign of life, too
        elif b"un" in request.answer:
            pass
        elif error is not None:
            self._refused(request.topic, error)
        elif self._has(request.topic):  # else all its subscribers have left meanwhile
            self._confirm(request.topic)

    def _confirm(self, topic: Topic) -> None:
        self._live[topic.kind][topic.name] = topic
        topic.confirm()

    def _refused(self, topic: Topic, error: RedisError) -> None:
        about(error, f"{topic.kind}subscribe".upper(), shown(topic.name))
        if isinstance(error, MovedError) and self.on_moved is not None and self._has(topic):
            self.on_moved(topic, error)
            return
        if isinstance(error, NOT_NOW):
            pause = PERSISTENT.pause(PERSISTENT.attempts - 1) or 0.0
            self._loop.call_later(pause, self._request_again, topic, context=Context())
        elif self._has(topic):
            self._fail(topic, error)

    def _fail(self, topic: Topic, error: RedisError) -> None:
        del self._topics[topic.kind, topic.name]
        topic.fail(error)

    # --- Full subscribers --------------------------------------------------------------------------------------------

    def hold(self, subscriber: Subscriber) -> None:
        """Read nothing more from the server, as `subscriber` is full."""
        self._full.add(subscriber)
        if self._listener is not None:
            self._listener.hold()

    def release(self, subscriber: Subscriber) -> None:
        """Read on if `subscriber` alone was full; any other changes nothing, least of all the time of a PING."""
        if subscriber not in self._full:
            return
        self._full.remove(subscriber)
        if self._listener is not None and not self._full:
            self._listener.release()
            self._life.resumed()

    # --- The connection ----------------------------------------------------------------------------------------------

    def _open(self, pause: float) -> None:
        self._advance(Event.WANTED)
        create = partial(self._loop.create_task, name="aioresp: connect for subscriptions")
        self._opening = Context().run(create, self._connect_after(pause))
        self._opening.add_done_callback(self._opened, context=Context())

    async def _connect_after(self, pause: float) -> None:
        await asyncio.sleep(pause)
        if not self._topics:
            return
        self._patience.begin()
        connection = await self._connect()
        self._made += 1
        if self.state in SHUT:
            connection.close()  # a credential provider may have swallowed the cancellation
        else:
            self._start(connection)

    def _take_over(self) -> bool:
        """Take over an idle connection, if there is one: that is faster than to make another."""
        connection = self._spare()
        if connection is None:
            return False
        self._advance(Event.WANTED)
        self._start(connection)
        self._try_for(connection.traffic.received)
        return True

    def _try_for(self, received: int) -> None:
        """Give a connection that was taken over a second for its first sign of life; it may have died silently."""
        due = self._loop.time() + WAKE

        def look() -> None:
            if self._listener is None or self._listener.connection.traffic.received > received:
                self._trial = None
            elif self._loop.time() - due > LATE:
                self._try_for(received)  # the loop stood still: an answer may be waiting to be read
            else:
                self._listener.connection.end(ConnectionLost("an idle connection did not answer; it was dropped"))

        self._trial = self._loop.call_at(due, look, context=Context())

    def _start(self, connection: Connection) -> None:
        """Request all topics on a connection. Raises ConnectionLost if it has ended already."""
        self._listener = Listener(connection, self._take, self._ended)
        self._opening = None  # the task ends with this step
        self._advance(Event.MADE)
        self._since = self._loop.time()
        for topic in self._topics.values():
            self._request("", topic)
        if self._full:
            self._listener.hold()
        self._life.begin(self._listener)

    def _opened(self, attempt: asyncio.Task[None]) -> None:
        """Act on the end of an attempt that has made no connection."""
        error = error_of(attempt)
        if attempt is not self._opening:
            return  # it has made one
        self._opening = None
        self._advance(Event.NOT_MADE)
        if self.state in SHUT or not self._topics:
            return
        if error is None:
            self._open(0.0)  # topics were joined after it had found none
            return
        if not isinstance(error, RedisError):  # an unforeseen error is no reason to try without a pause
            cause, error = error, ConnectError(f"cannot connect: {error!r}")
            error.__cause__ = cause
        self._failed(error)

    def _failed(self, error: RedisError) -> None:
        """Open a connection after a pause while there is hope: forever, if there are topics that were live."""
        lost = any(topic.standing is Standing.LOST for topic in self._topics.values())
        pause = self._patience.fail(error, PERSISTENT if lost else None)
        if pause is not None:
            self._open(pause)
            return
        failure = self._patience.failure
        error = failure if isinstance(failure, RedisError) else error  # it tells how many attempts there were
        for topic in list(self._topics.values()):
            if self._has(topic):
                self._fail(topic, error)

    def _ended(self, error: RedisError) -> None:
        """Act on the end of the connection: replace it if there are topics."""
        left = self.state is State.LEAVING
        if self._trial is not None:
            self._trial.cancel()
            # One that was taken over, and ended before it has said anything, is no failure to connect.
            left = left or not any(self._live.values())
            self._trial = None
        self._past_usage = self._usage()
        self._listener = None
        self.requests.clear()
        self._life.end()
        self._advance(Event.LOST)
        if self.state in SHUT:
            return
        for live in self._live.values():
            for topic in live.values():
                topic.lose(self.requests.complete, self._loop.create_future())
            live.clear()
        if self._loop.time() - self._since >= LASTING:
            self._patience.forget()
        if not self._topics:
            return
        if left:
            self._open(0.0)
            return
        logger.log(self.level, "the connection of %d subscribed topics was lost: %s", len(self._topics), error)
        self._failed(error)

    def follow(self, other: Connection, error: Exception) -> bool:
        """Leave the server that another connection has left for `error`; return whether so.

        `other` is a new connection. If it leads to the same server, nothing changes; nor if it leads to a replica, and
        the reason was that the server is one.
        """
        if self._listener is None or self.state is not State.CONNECTED:
            return False
        own = self._listener.connection
        replica = other.greeting.role in ("replica", "slave")
        if own.server is not None and other.server is not None:
            elsewhere = own.server != other.server
        else:
            elsewhere = own.peer != other.peer or other.greeting.role == "master"
        if not elsewhere or (replica and isinstance(error, ReadOnlyError)):
            return False
        own.end(ConnectionLost(f"its server is left: {error}"))
        return True

    def move(self, error: RedisError, since: Moment | None = None) -> None:
        """Leave the server, because `connect` leads to another one now; subscriptions get a gap.

        It begins at `since` at the latest: from then on, messages may have been published at the other server.
        """
        if since is not None and since.ticks < self.requests.complete.ticks:
            self.requests.complete = since
        if self._listener is not None:
            self._listener.connection.end(error)
        elif self._opening is not None:
            self._patience.forget()
            self._opening.cancel()  # it is on its way to the old server, or waits

    # --- Signs of life -----------------------------------------------------------------------------------------------

    def _needed(self) -> bool:
        """Renew the credentials of the connection, or close it if it is unused; return whether it is needed."""
        assert self._listener is not None
        self._renew(self._listener.connection.renewal)
        if self._topics or self._loop.time() - self._unused_since < LINGER:
            return True
        if self.state is State.CONNECTED:
            self._advance(Event.UNUSED)
            self._listener.connection.close()
        return False

    def _ping(self) -> None:
        assert self._listener is not None
        self.requests.add(_PONG)
        self._listener.send(pack(("PING",)))

    def _renew(self, renewal: Renewal | None) -> None:
        """Send new credentials, if there are any. Under RESP2 the server refuses AUTH, and the connection is lost."""
        fresh = None if renewal is None else renewal.claim()
        if renewal is not None and fresh is not None and self._listener is not None:
            self._listener.send(pack(("AUTH", *fresh.words)))
            self.requests.add(b"", settle=partial(renewal.settle, fresh))

    # --- The end -----------------------------------------------------------------------------------------------------

    def shut(self, grace: float = 0.0) -> None:
        """Begin to end all subscriptions with ClientClosed, and the connection; a second time does nothing."""
        if self.state in SHUT:
            return
        error = ClientClosed("the client was closed")
        topics = list(self._topics.values())
        self._topics.clear()
        for topic in topics:
            fail(topic.confirmed, error)
        for subscriber in list(self._subscribers):
            subscriber.end(error)
        self._advance(Event.SHUT)
        if self._opening is not None:
            self._opening.cancel()
        if self._listener is not None:
            self._listener.connection.close()

    async def aclose(self, grace: float = 0.0) -> None:
        """Do as `shut`, and wait for the end."""
        self.shut()
        while self.state is not State.CLOSED:
            if self._all_ended is None or self._all_ended.done():
                self._all_ended = self._loop.create_future()
            await asyncio.wait((self._all_ended,))  # several may wait for it: none of them cancels it

    def notify(self, on_end: Callable[[], None]) -> None:
        """Call `on_end` when the hub is closed and its connection has ended."""
        self._on_end = on_end

    @property
    def busy(self) -> bool:
        """Return False: without its subscribers nothing is lost."""
        return False

    def abandon(self) -> None:
        """Cut the connection without the loop, which does not run."""
        if self._listener is not None:
            self._listener.connection.sever()
        try:
            self._loop.call_soon_threadsafe(self.shut)  # if it ever runs again
        except RuntimeError:
            pass  # it is closed

    def _usage(self) -> tuple[int, int, int]:
        past = self._past_usage
        if self._listener is None:
            return past
        now = self._listener.connection.usage()
        return past[0] + now[0], past[1] + now[1], past[2] + now[2]

    def stats(self) -> PoolStats:
        """Return the figures of this moment."""
        commands, sent, received = self._usage()
        count = int(self._listener is not None)
        return PoolStats(open=count, made=self._made, commands=commands, bytes_sent=sent, bytes_received=received)
