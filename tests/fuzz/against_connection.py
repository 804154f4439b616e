"""Properties of `connection`: each caller gets his own reply or an error, whatever the server and the network do."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from hypothesis import strategies as st

from aioresp.errors import (
    CommandTimeout,
    ConnectionLost,
    DecodeError,
    ProtocolError,
    RedisError,
    ReplyTooLarge,
    ResponseError,
)
from aioresp.wire.batch import Batch
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack
from aioresp.wire.salvage import KEPT
from tests.fuzz.memory import Loop, Wire
from tests.fuzz.target import Target
from tests.fuzz.wire import garbage, lines, replies

MAX_REPLY = 60_000


class Owing(Wire):
    """A server that knows which commands it owes a reply."""

    def __init__(self, connection: Connection, loop: Loop) -> None:
        self.owed: deque[int] = deque()
        super().__init__(connection, loop)
        connection.opened()

    def take(self, command: list[bytes]) -> None:
        self.owed.append(int(command[1]))


def reply(number: int, kind: str) -> bytes:
    """Return a reply that says to which command it belongs."""
    text = b"%d" % number
    long = text + b" " * 3000
    return {
        "number": b":%b\r\n" % text,
        "line": b"+%b\r\n" % text,
        "bulk": b"$%d\r\n%b\r\n" % (len(text), text),
        "large": b"$%d\r\n%b\r\n" % (len(long), long),
        "list": b"*1\r\n:%b\r\n" % text,
        "map": b"%%1\r\n:%b\r\n+%%\r\n" % text,
        "set": b"~1\r\n+%b\r\n" % text,
        "error": b"-ERR %b\r\n" % text,
        "big number": b"(no %b\r\n" % text,
        "in a list": b"*3\r\n:%b\r\n(no\r\n$3\r\n\r\n(\r\n" % text,
        "deep": b"*1\r\n" * 1025 + b":%b\r\n" % text,
        "no text": b"$%d\r\n%b\xff\r\n" % (len(text) + 1, text),
    }[kind]


def number_of(value: Any) -> int | None:
    """Return to which command a reply belongs; None if it does not say."""
    if isinstance(value, DecodeError):
        return None
    if isinstance(value, ResponseError):
        return int(str(value).removeprefix("ERR "))
    if isinstance(value, (list, dict)):
        return number_of(next(iter(value)))
    if isinstance(value, bytes):
        value = value.removesuffix(b"\xff")
    return int(value)


class Run:
    """One life of a connection."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.connection = Connection(loop, 100, MAX_REPLY)
        self.pushes: list[Any] = []
        self.wire = Owing(self.connection, loop)
        self.number = 0
        self.calls: list[tuple[list[int], asyncio.Future[Any]]] = []
        self.spoiled = False
        self.clock_moved = False
        self.nested = False  # set by a push that may be within another, which no server sends

    def names(self, count: int) -> list[int]:
        self.number += count
        return list(range(self.number - count, self.number))

    def send(self, decode: bool, timeout: float | None, large: bool) -> None:
        (number,) = names = self.names(1)
        command: tuple[Any, ...] = ("GET", str(number), b"x" * 40_000) if large else ("GET", number)
        try:
            future = self.connection.send(pack(command), decode, timeout)
        except ConnectionLost:
            return
        self.calls.append((names, future))

    def send_batch(self, count: int, decode: bool, timeout: float | None) -> None:
        names = self.names(count)
        batch = Batch(count, decode, self.loop.create_future())
        packed: Any = b"".join(pack(("GET", name)) for name in names)  # type: ignore[misc]  # none is large
        try:
            self.connection.send_batch(packed, batch, timeout)
        except ConnectionLost:
            return
        self.calls.append((names, batch.future))

    def answer(self, count: int, kind: str) -> None:
        while self.wire.owed and count and not self.spoiled:
            self.wire.coming += reply(self.wire.owed.popleft(), kind)
            count -= 1

    def push(self, parts: list[bytes]) -> None:
        self.nested |= any(b">" in part for part in parts)
        self.wire.coming += b">%d\r\n" % (len(parts) + 1) + b"+x\r\n" + b"".join(parts)

    def check(self) -> None:
        """Whoever has a reply has his own."""
        for names, future in self.calls:
            if not future.done() or future.cancelled():
                continue
            error = future.exception()
            if error is None:
                values = future.result() if len(names) > 1 or isinstance(future.result(), list) else [future.result()]
                if not self.spoiled:
                    self.check_values(names, values)
            elif isinstance(error, ResponseError):
                assert self.spoiled or [number_of(error)] == names
            elif isinstance(error, CommandTimeout):
                assert self.clock_moved
            else:
                assert isinstance(error, (ConnectionLost, DecodeError, ReplyTooLarge)), repr(error)
                assert self.spoiled or isinstance(error, DecodeError) or self.wire.ended

    @staticmethod
    def check_values(names: list[int], values: list[Any]) -> None:
        if len(names) == 1 and len(values) == 1 and not isinstance(values[0], RedisError):
            assert number_of(values[0]) == names[0]
            return
        assert len(values) == len(names)
        for name, value in zip(names, values, strict=True):
            assert number_of(value) in (name, None)

    async def turn(self, times: int = 1) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """All replies come, then the connection ends: nobody is left waiting, and nothing is under way."""
        await self.turn(2)
        self.answer(10_000, "number")
        while not self.wire.ended and (self.wire.coming or self.connection.has_more):
            self.wire.deliver(50_000)
            await self.turn()
        await self.turn(3)
        self.check()
        if not self.spoiled and not self.wire.ended:
            assert all(future.done() for _, future in self.calls)
            assert self.connection.in_flight == 0
        if not self.spoiled and not self.nested and self.connection.traffic.received < KEPT:
            assert type(self.connection.error) is not ProtocolError  # refused replies end nothing
        self.wire.end(None)
        await self.turn(3)
        assert all(future.done() for _, future in self.calls)
        assert self.connection.in_flight == 0
        assert self.connection.capacity == 0
        assert not self.connection.viable
        assert not self.connection._waiters
        self.check()


REFUSED = ("big number", "in a list", "deep")
KINDS = st.sampled_from(["number", "line", "bulk", "large", "list", "map", "set", "error", "no text", *REFUSED])
TIMEOUTS = st.sampled_from([None, None, 0.5, 2.0])

steps = st.one_of(
    st.tuples(st.just("send"), st.booleans(), TIMEOUTS, st.integers(0, 9).map(lambda n: n == 0)),
    st.tuples(st.just("send_batch"), st.integers(1, 600), st.booleans(), TIMEOUTS),
    st.tuples(st.just("answer"), st.integers(1, 1000), KINDS),
    st.tuples(st.just("answer"), st.integers(1, 3), KINDS),
    st.tuples(st.just("deliver"), st.integers(1, 30)),
    st.tuples(st.just("deliver"), st.integers(1, 20_000)),
    st.tuples(st.just("turn")),
    st.tuples(st.just("turn")),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("push"), st.lists(replies, max_size=3)),
    st.tuples(st.just("pushes"), st.integers(1, 3000)),
    st.tuples(st.just("move"), st.sampled_from([0.1, 0.6, 3.0])),
    st.tuples(st.just("pause"), st.booleans()),
    st.tuples(st.just("rest")),
)
rare = st.one_of(
    st.tuples(st.just("garbage"), garbage),
    st.tuples(st.just("garbage"), lines.map(lambda text: b"+" + text * 5000)),
    st.tuples(st.just("garbage"), replies),
    st.tuples(st.just("end"), st.booleans()),
    st.tuples(st.just("close")),
)


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    life: list[tuple[Any, ...]] = draw(st.lists(steps, min_size=1, max_size=25))
    if draw(st.booleans()):
        life.insert(draw(st.integers(0, len(life))), draw(rare))
    return life


async def live(run: Run, life: list[tuple[Any, ...]]) -> None:
    for name, *given_ in life:
        if name in ("send", "send_batch", "answer", "push"):
            getattr(run, name)(*given_)
        elif name == "deliver":
            run.wire.deliver(given_[0])
        elif name == "turn":
            await run.turn()
        elif name == "cancel" and run.calls:
            run.calls[given_[0] % len(run.calls)][1].cancel()
        elif name == "pushes":
            run.wire.coming += b">1\r\n+x\r\n" * given_[0]
        elif name == "move":
            run.clock_moved = True
            run.loop.now += given_[0]
            await run.turn(2)
        elif name == "pause":
            (run.connection.pause_writing if given_[0] else run.connection.resume_writing)()
        elif name == "rest" and not run.connection.resting:
            run.connection.rest()
        elif name == "garbage":
            run.wire.coming += given_[0]
            run.spoiled = True
        elif name == "end":
            run.wire.end(ConnectionResetError("gone") if given_[0] else None)
        elif name == "close":
            run.connection.close()
        run.check()
    await run.finish()


def any_life(life: list[tuple[Any, ...]]) -> None:
    """Sends, batches, replies in pieces, pushes, cancellations, deadlines, garbage and ends, in any order."""
    loop = Loop()
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    try:
        loop.run_until_complete(live(Run(loop), life))
    finally:
        loop.finish()
    assert failures == []


TARGETS: tuple[Target, ...] = (Target(any_life, lives()),)
