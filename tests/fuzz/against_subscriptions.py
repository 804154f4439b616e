"""Properties of subscriptions: whoever is subscribed gets each message once, or is told of a gap.

Each channel counts its messages, so that none can be missing, doubled or in the wrong place without being seen.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st

from aioresp.errors import ConnectError, DecodeError, RedisError, SubscriptionClosed
from aioresp.pubsub.hub import Hub
from aioresp.pubsub.subscription import Subscription
from aioresp.pubsub.topics import Gap, Message
from aioresp.wire.connection import Connection
from tests.fuzz.memory import Loop, Wire
from tests.fuzz.target import Target
from tests.fuzz.wire import garbage

CHANNELS = ["a", "b", "ab"]
TOPICS = [("", "a"), ("", "b"), ("", "ab"), ("p", "a*"), ("p", "*"), ("s", "a"), ("s", "b")]
#: Whose messages are no text. They are not counted, as the error that text readers get does not tell which one it was.
NO_TEXT = "a!"

#: Messages that wait for a reader who has the others wait.
BOUND = 3

Kind = Any  # "", "p" or "s"


def bulk(*parts: str | bytes) -> bytes:
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded)


class Server:
    """What is behind all the connections of one life."""

    def __init__(self, loop: Loop, resp: int) -> None:
        self.loop = loop
        self.head = b">" if resp == 3 else b"*"
        self.resp = resp
        self.wire: Publishing | None = None
        self.refusing = False
        self.denying = b""
        self.counts: dict[tuple[bool, str], int] = {}

    async def connect(self) -> Connection:
        await asyncio.sleep(0)
        if self.refusing:
            raise ConnectError("refused")
        connection = Connection(self.loop, 100, 60_000)
        self.wire = Publishing(self, connection)
        return connection


class Publishing(Wire):
    """One connection to it."""

    def __init__(self, server: Server, connection: Connection) -> None:
        self.server = server
        self.topics: set[tuple[str, str]] = set()
        super().__init__(connection, server.loop)
        connection.opened()

    def take(self, command: list[bytes]) -> None:
        verb = command[0].decode().lower()
        if verb == "ping":
            self.coming += b"+PONG\r\n" if self.server.resp == 3 else b"*2\r\n" + bulk("pong", "")
            return
        kind, name = verb.partition("un" if "unsub" in verb else "sub")[0], command[1].decode()
        if "unsub" in verb:
            self.topics.discard((kind, name))
        elif self.server.denying:
            self.coming += self.server.denying
            return
        else:
            self.topics.add((kind, name))
        self.coming += self.server.head + b"3\r\n" + bulk(verb, name) + b":%d\r\n" % len(self.topics)

    def tell(self, channel: str, data: bytes, sharded: bool) -> None:
        head = self.server.head
        if sharded:
            if ("s", channel) in self.topics:
                self.coming += head + b"3\r\n" + bulk("smessage", channel, data)
            return
        if ("", channel) in self.topics:
            self.coming += head + b"3\r\n" + bulk("message", channel, data)
        for kind, pattern in sorted(self.topics):
            if kind == "p" and fnmatch.fnmatchcase(channel, pattern):
                self.coming += head + b"4\r\n" + bulk("pmessage", pattern, channel, data)


def at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what never waits."""
    with suppress(StopIteration):
        coroutine.send(None)
        raise AssertionError("it waits")


def as_text(part: str | bytes) -> str:
    return part if isinstance(part, str) else part.decode("utf-8", "replace")


class Listening:
    """One subscription, what was asked of it, and what is known of its messages."""

    def __init__(self, run: Run, first: tuple[Kind, str], decode: bool, waits: bool, timeout: float | None) -> None:
        self.run = run
        find: Any = lambda: run.hub  # noqa: E731
        bounds: Any = (BOUND, "wait") if waits else (10**6, "drop_oldest")
        self.s: Subscription[Any] = Subscription(find, decode, timeout, first[0], [first[1]], True, *bounds)
        self.most = BOUND
        self.joining = 1
        self.had = {first}
        self.sure: set[tuple[Kind, str]] = set()  # what the server has confirmed, and was not dropped
        self.last: dict[tuple[Kind, str, str], int] = {}
        self.at_most: dict[tuple[Kind, str], dict[str, int]] = {}  # the first number there may be, by channel
        self.last_of: dict[tuple[Kind, str], dict[str, int]] = {}  # the last number there may be, of what was dropped
        self.excused: set[tuple[Kind, str, str]] = set()  # where a gap has been told of since the last message
        self.owed_a_gap = False
        self.left = False
        self.failed = False
        self.tasks: list[tuple[tuple[Kind, str], asyncio.Task[Any]]] = []
        self.start(first, self.s.__aenter__())

    def start(self, topic: tuple[Kind, str], what: Any) -> None:
        self.tasks.append((topic, self.run.loop.create_task(what)))

    def check_tasks(self) -> None:
        for topic, task in [pair for pair in self.tasks if pair[1].done()]:
            self.tasks.remove((topic, task))
            error = None if task.cancelled() else task.exception()
            if task.cancelled() or error is not None:
                # One that was left meanwhile says so by RuntimeError.
                assert error is None or isinstance(error, (RedisError, RuntimeError)), repr(error)
                self.failed = self.failed or (topic in self.had and len(self.had) == 1)
            elif topic in self.had:
                self.sure.add(topic)
                self.at_most[topic] = {name: count + 1 for name, count in self.counts(topic).items()}

    def counts(self, topic: tuple[Kind, str]) -> dict[str, int]:
        return {name: self.run.server.counts.get((topic[0] == "s", name), 0) for name in CHANNELS}

    def check_bound(self) -> None:
        """Look at how much waits: beyond the bound only what came while a confirmation was due, and one more."""
        if self.s._overflow == "wait":
            waiting = sum(not isinstance(item, Gap) for item in self.s._items)
            joining = self.s._joining or self.joining  # now, or when it was looked at before
            self.joining = self.s._joining
            if joining:
                self.most = max(BOUND, waiting + 1)
            assert waiting <= self.most
            if waiting < BOUND and not joining:
                self.most = BOUND

    def add(self, topic: tuple[Kind, str]) -> None:
        if topic not in self.had and self.sure:
            self.had.add(topic)
            join = {"": self.s.subscribe, "p": self.s.psubscribe, "s": self.s.ssubscribe}[topic[0]]
            self.start(topic, join(topic[1]))

    def drop(self, topic: tuple[Kind, str]) -> None:
        if topic in self.sure:
            self.sure.discard(topic)
            self.last_of[topic] = self.counts(topic)
            leave = {"": self.s.unsubscribe, "p": self.s.punsubscribe, "s": self.s.sunsubscribe}[topic[0]]
            at_once(leave(topic[1]))

    def leave(self) -> None:
        if self.sure and not self.left:
            self.left = True
            self.sure.clear()
            at_once(self.s.__aexit__(None, None, None))

    async def read(self, count: int) -> int:
        """Read so many messages, and return how many there were."""
        taken = 0
        while self.s.waiting and taken < count:
            taken += 1
            try:
                item = await self.s.get()
            except (DecodeError, SubscriptionClosed):
                continue
            if isinstance(item, Gap):
                self.owed_a_gap = False
                self.excused = set(self.last)
                self.at_most.clear()
            else:
                self.see(item)
        return taken

    def see(self, message: Message[Any]) -> None:
        channel, data, pattern = (as_text(part) for part in (message.channel, message.data, message.pattern or ""))
        if channel == NO_TEXT:
            return
        text = data.removeprefix("s")
        number = int(text)
        topic: tuple[Kind, str] = ("p", pattern) if pattern else ("s" if data != text else "", channel)
        assert topic in self.had
        assert number <= self.last_of.get(topic, {}).get(channel, number)
        place = (*topic, channel)
        last = self.last.get(place)
        if last is not None:
            assert number > last
        expected = self.at_most.get(topic, {}).get(channel, number) if last is None else last + 1
        if number > expected and place not in self.excused:
            # One of several may come back, with its messages, before the last one has, which is when the gap is told.
            assert len(self.had) > 1 or self.run.spoiled
            self.owed_a_gap = True
        self.excused.discard(place)
        self.last[place] = number


class Run:
    """One life of a hub."""

    def __init__(self, loop: Loop, resp: int) -> None:
        self.loop = loop
        self.server = Server(loop, resp)
        self.hub = Hub(self.server.connect, loop, lambda _, failures: 0.1 if failures < 4 else None)
        self.readers: list[Listening] = []
        self.spoiled = False

    def reader(self, number: int) -> Listening | None:
        return self.readers[number % len(self.readers)] if self.readers else None

    def publish(self, channel: str, sharded: bool) -> None:
        server = self.server
        number = server.counts[sharded, channel] = server.counts.get((sharded, channel), 0) + 1
        if server.wire is not None and not server.wire.ended:
            # Shard channels have the names of others: their messages say where they are from.
            server.wire.tell(channel, (b"s%d" if sharded else b"%d") % number, sharded)

    def deliver(self, size: int) -> None:
        if self.server.wire is not None and size:
            self.server.wire.deliver(size)

    async def turn(self, times: int = 1) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    async def move(self, seconds: float) -> None:
        self.loop.now += seconds
        await self.turn(3)

    def check(self) -> None:
        for reader in self.readers:
            reader.check_tasks()
            reader.check_bound()

    async def settle(self) -> None:
        """Let everything arrive, and be read: three at a time, where somebody takes no more."""
        quiet = rounds = 0
        while quiet < 3:
            rounds += 1
            assert rounds < 10_000
            await self.turn(3)
            self.deliver(10**6)
            quiet += 1
            for reader in self.readers:
                reader.check_bound()
                if await reader.read(10**6):
                    quiet = 0
        await self.turn(3)
        self.check()

    async def finish(self) -> None:
        """The server is well again: whoever is subscribed misses nothing from then on, and then all of it ends."""
        self.server.refusing, self.server.denying = False, b""
        if self.spoiled and self.server.wire is not None:
            self.server.wire.end(None)
        for _ in range(12):
            await self.settle()
            await self.move(1.5)
        await self.settle()
        assert all(topic.live for topic in self.hub._topics.values())
        wanted = {topic for reader in self.readers for topic in reader.s._topics}
        assert set(self.hub._topics) == wanted
        if self.hub._listener is not None and self.server.wire is not None:
            assert {(kind, name.encode()) for kind, name in self.server.wire.topics} == wanted
        for sharded in (False, True):
            for channel in CHANNELS:
                self.publish(channel, sharded)
        await self.settle()
        await self.settle()
        for reader in self.readers:
            assert not reader.tasks
            assert not reader.owed_a_gap
            if reader.s._ended:
                continue
            for topic in reader.sure:
                for channel in CHANNELS:
                    if topic[1] == channel or (topic[0] == "p" and fnmatch.fnmatchcase(channel, topic[1])):
                        seen = reader.last[(*topic, channel)]
                        assert seen == self.server.counts[topic[0] == "s", channel]
        closing = self.loop.create_task(self.hub.aclose())
        await self.turn(10)
        assert closing.done()
        closing.result()
        self.check()
        for reader in self.readers:
            assert reader.s._ended or not reader.had & reader.sure
            assert not reader.tasks
        assert self.hub._listener is None
        assert not self.hub._topics
        assert not self.hub._subscribers
        assert not self.hub._full


topics = st.sampled_from([*TOPICS, *TOPICS[:3]])
numbers = st.integers(0, 5)
channels = st.sampled_from([*CHANNELS * 3, NO_TEXT])
sharded = st.sampled_from([False, False, False, True])
steps = st.one_of(
    st.tuples(
        st.just("enter"), topics, st.booleans(), numbers.map(lambda n: n == 0), st.sampled_from([None, None, 2.0])
    ),
    st.tuples(st.just("add"), numbers, topics),
    st.tuples(st.just("drop"), numbers, topics),
    st.tuples(st.just("leave"), numbers),
    st.tuples(st.just("cancel"), numbers),
    st.tuples(st.just("publish"), channels, sharded, st.integers(1, 5), st.just(0)),
    *[st.tuples(st.just("publish"), channels, sharded, st.integers(1, 50), st.integers(1, 5000))] * 3,
    st.tuples(st.just("deliver"), st.integers(1, 30)),
    *[st.tuples(st.just("deliver"), st.just(10**6))] * 2,
    *[st.tuples(st.just("turn"), st.integers(1, 4))] * 2,
    st.tuples(st.just("read"), numbers, st.integers(1, 10)),
    *[st.tuples(st.just("move"), st.sampled_from([0.1, 1.0, 5.1, 11.0]))] * 2,
)
rare = st.one_of(
    *[st.tuples(st.just("cut"), st.booleans())] * 3,
    st.tuples(st.just("garbage"), garbage),
    st.tuples(st.just("refuse"), st.booleans()),
    st.tuples(st.just("deny"), st.sampled_from([b"-NOPERM no\r\n", b"-LOADING wait\r\n", b""])),
)


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    life: list[tuple[Any, ...]] = [("enter", draw(topics), True, False, None), ("turn", 4), ("deliver", 10**6)]
    life += draw(st.lists(steps, min_size=20, max_size=60))
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 5]))):
        life.insert(draw(st.integers(0, len(life))), draw(rare))
    return life


async def live(run: Run, life: list[tuple[Any, ...]]) -> None:
    for name, *given in life:
        if name == "enter":
            if len(run.readers) < 6:
                run.readers.append(Listening(run, *given))
        elif name in ("add", "drop", "leave", "cancel", "read"):
            reader = run.reader(given[0])
            if reader is None:
                continue
            if name == "read":
                await reader.read(given[1])
            elif name == "cancel":
                for _, task in reader.tasks:
                    task.cancel()
            else:
                getattr(reader, name)(*given[1:])
        elif name == "publish":
            channel, shard, count, size = given
            for _ in range(count):
                if channel != NO_TEXT:
                    run.publish(channel, shard)
                elif run.server.wire is not None and not run.server.wire.ended:
                    run.server.wire.tell(channel, b"\xff", shard)
            run.deliver(size)
        elif name == "deliver":
            run.deliver(given[0])
        elif name == "turn":
            await run.turn(given[0])
        elif name == "move":
            await run.move(given[0])
        elif name == "cut" and run.server.wire is not None:
            run.server.wire.end(ConnectionResetError("gone") if given[0] else None)
        elif name == "garbage" and run.server.wire is not None and not run.server.wire.ended:
            run.server.wire.coming += given[0]
            run.spoiled = True
        elif name == "refuse":
            run.server.refusing = given[0]
        elif name == "deny":
            run.server.denying = given[0]
        run.check()
    await run.finish()


def any_listening(life: list[tuple[Any, ...]], resp: int) -> None:
    """Subscriptions that come, grow, shrink and go, messages in pieces, lost connections, garbage, refusals."""
    loop = Loop()
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    try:
        loop.run_until_complete(live(Run(loop, resp), life))
    finally:
        loop.finish()
    assert failures == []


TARGETS: tuple[Target, ...] = (Target(any_listening, lives(), st.sampled_from([2, 3])),)
