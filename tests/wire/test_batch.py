"""Batches in the line of waiters: whatever arrives, in whatever pieces, everybody gets the replies that are his."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import strategies as st

from aioresp.errors import CommandTimeout, ConnectionLost, DecodeError, ResponseError, WrongTypeError
from aioresp.wire.batch import Batch, fail, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack
from tests.fuzz.target import examples

#: Replies as they come, and what they are for who wants text and who wants bytes; of errors, the class.
REPLIES: list[tuple[bytes, Any, Any]] = [
    (b"+OK\r\n", "OK", b"OK"),
    (b":12\r\n", 12, 12),
    (b"$-1\r\n", None, None),
    (b"$3\r\n%1\r\r\n", "%1\r", b"%1\r"),
    (b"*2\r\n$1\r\na\r\n:1\r\n", ["a", 1], [b"a", 1]),
    (b"%1\r\n$1\r\na\r\n%1\r\n:1\r\n:2\r\n", {"a": {1: 2}}, {b"a": {1: 2}}),
    (b"*2\r\n:1\r\n%1\r\n+a\r\n:2\r\n", [1, {"a": 2}], [1, {b"a": 2}]),
    (b"-WRONGTYPE no\r\n", WrongTypeError, WrongTypeError),
    (b"$2\r\n\xff\xfe\r\n", DecodeError, b"\xff\xfe"),
    (b"*2\r\n+a\r\n$1\r\n\xff\r\n", DecodeError, [b"a", b"\xff"]),
]
PUSHES = [b">2\r\n$1\r\nx\r\n:1\r\n", b">2\r\n+x\r\n$1\r\n\xff\r\n"]

#: What is sent: 0 for a single command, else the length of a batch; and whether text is wanted.
plans = st.lists(st.tuples(st.sampled_from([0, 0, 1, 2, 3, 5, 400]), st.booleans()), min_size=1, max_size=6)


@examples(50, 150, plans, st.data())
def test_everybody_gets_his_own(plan: list[tuple[int, bool]], data: st.DataObject) -> None:
    asyncio.run(_check(plan, data))


async def _check(plan: list[tuple[int, bool]], data: st.DataObject) -> None:
    loop = asyncio.get_running_loop()
    connection = Connection(loop, 1000)
    connection.opened()
    pushes: list[Any] = []
    connection.add_push_listener(pushes.append)
    stream, pushed = b"", 0
    waiting: list[tuple[asyncio.Future[Any], list[Any], bool]] = []
    for count, text in plan:
        kinds = data.draw(st.lists(st.sampled_from(REPLIES), min_size=1, max_size=max(1, min(count, 8))))
        kinds = (kinds * (count or 1))[: count or 1]
        for raw, _, _ in kinds:
            if data.draw(st.integers(0, 9)) == 0 and count < 9:
                stream += data.draw(st.sampled_from(PUSHES))
                pushed += 1
            stream += raw
        expected = [kind[1] if text else kind[2] for kind in kinds]
        future: asyncio.Future[Any] = loop.create_future()
        gone = data.draw(st.integers(0, 3)) == 0
        if count:
            connection.send_batch(b"x", Batch(count, text, future))
        else:
            connection.send(b"x", text, None, future)
        waiting.append((future, expected, gone))
        if gone:
            future.cancel()
    cuts = sorted(data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=8)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if start < end:
            connection.data_received(stream[start:end])
    while connection.has_more:
        await asyncio.sleep(0)
    assert connection.viable
    assert connection.in_flight == 0
    assert len(pushes) == pushed
    for (future, expected, gone), (count, _) in zip(waiting, plan, strict=True):
        assert future.done()
        if not gone:
            came = future.result() if count else [future.exception() or future.result()]
            assert [_shown(reply) for reply in came] == expected


def _shown(reply: Any) -> Any:
    return type(reply) if isinstance(reply, Exception) else reply


@pytest.mark.parametrize("count", [2, 3])
async def test_a_map_within_a_reply_is_not_taken_for_one_that_begins(count: int) -> None:
    connection, batch, behind = await in_line(count)
    connection.data_received(b"+a\r\n" * (count - 1) + b"*2\r\n:1\r\n")
    connection.data_received(b"%1\r\n+a\r\n:2\r\n+mine\r\n")
    assert batch.future.result() == ["a"] * (count - 1) + [[1, {"a": 2}]]
    assert behind.result() == "mine"


async def in_line(count: int) -> tuple[Connection, Batch, asyncio.Future[Any]]:
    loop = asyncio.get_running_loop()
    connection = Connection(loop, 1000)
    connection.opened()
    batch = Batch(count, True, loop.create_future())
    connection.send_batch(b"x", batch, 5)
    return connection, batch, connection.send(b"x", True, 5)


async def test_the_end_of_the_connection_fails_the_batch_and_who_stands_behind() -> None:
    connection, batch, behind = await in_line(3)
    connection._flush()
    connection.data_received(b"+OK\r\n+O")
    connection.connection_lost(None)
    for future in (batch.future, behind):
        error = future.exception()
        assert isinstance(error, ConnectionLost)
        assert error.outcome == "unknown"


@pytest.mark.parametrize("start", [b"", b"+OK\r\n", b"+OK\r\n*2\r\n+a\r\n"])
async def test_what_is_not_resp_fails_the_batch(start: bytes) -> None:
    connection, batch, behind = await in_line(3)
    for piece in filter(None, (start, b"nonsense\r\n")):
        connection.data_received(piece)
    connection.connection_lost(None)
    for future in (batch.future, behind):
        assert "not RESP" in str(future.exception())


async def test_a_batch_that_is_late_is_read_to_its_end() -> None:
    connection, batch, behind = await in_line(3)
    connection.data_received(b"+a\r\n+b\r\n")
    fail(batch, CommandTimeout("late"))
    connection.data_received(b"-ERR c\r\n+mine\r\n")
    assert behind.result() == "mine"
    assert isinstance(batch.future.exception(), CommandTimeout)
    assert batch.replies == []


async def test_commands_of_batches_are_counted() -> None:
    connection, _, _ = await in_line(5)
    assert connection.usage()[0] == 6
    connection.data_received(b"+a\r\n" * 6)
    assert connection.usage()[0] == 6
    assert connection.in_flight == 0


async def test_errors_make_a_batch_unclean() -> None:
    connection, batch, _ = await in_line(300)
    connection.data_received(b"+a\r\n" * 299)
    before = batch.clean
    connection.data_received(b"-ERR no\r\n")
    assert (before, batch.clean) == (True, False)
    assert isinstance(batch.future.result()[-1], ResponseError)


def test_large_arguments_stay_chunks() -> None:
    large = "x" * 100_000
    commands = [("GET", "a"), ("SET", "b", large), ("GET", "c"), ("GET", "d"), ("MSET", "e", large, "f", large)]
    parts = joined([pack(command) for command in commands])
    assert isinstance(parts, list)
    assert b"".join(parts) == b"".join(
        packed if isinstance(packed, bytes) else b"".join(packed) for packed in map(pack, commands)
    )
    assert sum(len(part) == 100_000 for part in parts) == 3
    assert len(parts) == 10
    assert joined([b"a", b"b"]) == b"ab"
