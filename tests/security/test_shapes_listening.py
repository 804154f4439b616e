"""Replies and messages of odd shapes where more than one reply counts: handshakes, transactions, iterators, readers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

import aioresp
from aioresp import Client, UnexpectedReply
from tests.cases import cases
from tests.security.hostile import HELLO, answers, hostile, says
from tests.security.test_shapes import ODD, S, array, in_step, judge


async def ends(what: Awaitable[Any]) -> Any:
    async with asyncio.timeout(20):
        try:
            return await what
        except aioresp.RedisError as error:
            return error


@cases("kind", [kind for kind in ODD if "deep" not in kind])
async def test_greetings(kind: str) -> None:
    """Nothing of a greeting is needed: it may be anything but an error, and a number that is none is not taken."""
    async with answers(lambda words: b"+OK\r\n", ODD[kind]) as url, Client(url, retry=None) as r:
        if isinstance(await ends(r.set("k", "v")), aioresp.RedisError):
            assert kind == "error" or "UTF-8" in kind
        else:
            await in_step(r)


@pytest.mark.parametrize("number", [S, b"_\r\n", b"*0\r\n", b"#t\r\n", b",1.5\r\n", b"*1\r\n" * 5 + S])
async def test_numbers_of_connections_that_are_none(number: bytes) -> None:
    """A cancelled pop, which needs the number, has an end all the same."""
    hello = array(b"$2\r\nid\r\n", number, sign=b"%")
    async with answers(lambda words: b"" if words[0] == b"BLPOP" else b":1\r\n", hello) as url, Client(url) as r:
        assert await r.incr("k") == 1
        assert [connection.id for connection in r.node.pools.here()._shared] == [None]
        pop = asyncio.ensure_future(r.blpop("q"))
        await asyncio.sleep(0.05)
        pop.cancel()
        await asyncio.wait([pop], timeout=10)
        assert pop.cancelled()
        await in_step(r)


@pytest.mark.parametrize("watching", [False, True])
@cases("kind", ODD)
async def test_what_exec_says(kind: str, watching: bool, protocol: Any) -> None:
    def tell(words: list[bytes]) -> bytes:
        return ODD[kind] if words[0] == b"EXEC" else b"+OK\r\n"

    hello = HELLO if protocol == 3 else b"+OK\r\n"
    async with answers(tell, hello) as url, Client(url, protocol=protocol, retry=None) as r:
        p = r.pipeline(transaction=True)
        if watching:
            await p.watch("k")
            p.multi()
        handles: list[Awaitable[Any]] = [p.incr("n"), p.get("k")]
        found = await ends(p.execute(raise_on_error=False))
        if isinstance(found, list):
            assert len(found) == 2
            for method, value in zip(("incr", "get"), found, strict=True):
                judge(method, value)
        else:
            assert isinstance(found, aioresp.RedisError)
            for handle in handles:
                assert isinstance(await ends(handle), aioresp.RedisError)
        await p.reset()
        await in_step(r)


@cases("kind", ODD)
async def test_iterators(kind: str) -> None:
    async with answers(lambda words: ODD[kind]) as url, Client(url, retry=None) as r:
        pages: list[Any] = [r.scan_iter(), r.sscan_iter("k"), r.hscan_iter("k"), r.zscan_iter("k")]
        for iterator in pages:
            assert isinstance(await ends(anext(iterator, None)), (str, tuple, aioresp.RedisError, type(None)))
        await in_step(r)


def entries(*ids: bytes, stream: bytes = b"s", fields: bytes = array(S, S)) -> bytes:
    found = [array(b"$%d\r\n%b\r\n" % (len(number), number), fields) for number in ids]
    return array(array(b"$%d\r\n%b\r\n" % (len(stream), stream), array(*found)))


#: What a reader cannot go on from.
ENTRIES: Final[dict[str, bytes]] = {
    **ODD,
    "no entries": entries(),
    "an id that is none": entries(b"hunter2"),
    "an id that is not UTF-8": entries(b"\xff"),
    "an empty id": entries(b""),
    "an id before": entries(b"0-0"),
    "another stream": entries(b"5-1", stream=b"t"),
    "fields of integers": entries(b"5-1", fields=array(b":1\r\n", b":2\r\n")),
    "fields of lists": entries(b"5-1", fields=array(S, array(S))),
    "an odd number of fields": entries(b"5-1", fields=array(S)),
    "no fields": entries(b"5-1", fields=b"_\r\n"),
}

#: Those that say that nothing has come: the reader asks on.
NOTHING: Final = ("nil", "nil of an array", "null", "empty array", "empty map")


@pytest.mark.parametrize("decode", [True, False])
@cases("kind", [kind for kind in ENTRIES if kind not in NOTHING])
async def test_stream_readers(kind: str, decode: Any) -> None:
    """They fail, again and again with the same, and stay where they are."""
    asked: list[bytes] = []

    def tell(words: list[bytes]) -> bytes:
        if words[0] == b"XREAD":  # not CLIENT INFO, which comes before it
            asked.append(words[-1])
        return ENTRIES[kind]

    async with (
        answers(tell) as url,
        Client(url, decode_responses=decode, retry=aioresp.Retry(3, base=0.001)) as r,
        r.stream_reader("s", last_id="1-1") as reader,
    ):
        for _ in range(3):
            found = await ends(anext(reader))
            assert (
                isinstance(found, aioresp.RedisError)
                or (kind == "fields of integers" and not decode)
                or (kind == "fields of lists" and not decode)
            )
        assert reader.last_ids
    assert len(asked) <= 6
    if "fields of" not in kind:
        assert set(asked) == {b"1-1"}


@cases("kind", [kind for kind in ENTRIES if kind not in NOTHING])
async def test_group_readers(kind: str) -> None:
    asked: list[list[bytes]] = []

    def tell(words: list[bytes]) -> bytes:
        asked.append(words)
        return ENTRIES[kind] if words[0] in (b"XREADGROUP", b"XAUTOCLAIM") else b"*0\r\n"

    async with (
        answers(tell) as url,
        Client(url, retry=aioresp.Retry(3, base=0.001)) as r,
        r.group_reader("g", "c", "s", create=False, block=None) as reader,
    ):
        for _ in range(2):
            found = await ends(anext(reader, None))
            # In what is pending, an entry without fields was deleted, and a stream without entries has none.
            assert found is None or isinstance(found, aioresp.RedisError)
    assert len(asked) < 30


@cases("kind", ODD)
async def test_keyspace_events(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aioresp")
    async with answers(lambda words: ODD[kind]) as url, Client(url, retry=None, timeout=1) as r:
        error = await ends(r.keyspace_events("k").__aenter__())
        assert isinstance(error, aioresp.RedisError)
        if isinstance(error, UnexpectedReply):
            assert "hunter2" not in str(error)
        await in_step(r)


@cases("kind", [kind for kind in ODD if kind != "OK"])
async def test_what_monitor_says(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aioresp")
    async with answers(lambda words: ODD[kind]) as url, Client(url, retry=None, timeout=1) as r:
        assert isinstance(await ends(r.monitor().__aenter__()), aioresp.RedisError)
        await in_step(r)
    assert "hunter2" not in caplog.text


PUSHES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "an integer": lambda name: b">3\r\n$7\r\nmessage\r\n" + name + b":7\r\n",
    "a list": lambda name: b">3\r\n$7\r\nmessage\r\n" + name + array(S),
    "nothing": lambda name: b">3\r\n$7\r\nmessage\r\n" + name + b"_\r\n",
    "a channel that is an integer": lambda name: b">4\r\n$8\r\npmessage\r\n" + name + b":1\r\n" + S,
    "a channel that is a list": lambda name: b">4\r\n$8\r\npmessage\r\n" + name + array(S) + S,
    "a short list": lambda name: b">3\r\n$8\r\npmessage\r\n" + name + S,
}


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("what", PUSHES)
async def test_messages_of_something_else(what: str, decode: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A reader of bytes gets bytes, or hears of a gap."""
    caplog.set_level(logging.DEBUG, "aioresp")

    name = b"$2\r\nc*\r\n"
    by_pattern = "channel" in what or "short" in what
    kind = b"$10\r\npsubscribe\r\n" if by_pattern else b"$9\r\nsubscribe\r\n"
    act = says(b">3\r\n" + kind + name + b":1\r\n", PUSHES[what](name), pause=0.1)
    async with hostile(act) as url, Client(url, decode_responses=decode, timeout=5) as r:
        make: Any = r.psubscribe if by_pattern else r.subscribe
        async with make("c*", gaps=True) as s:
            assert isinstance(await s.get(10), aioresp.Gap)
    assert "hunter2" not in caplog.text
