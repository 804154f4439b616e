"""Servers that are hostile, or no servers: bounded memory, a clear error in time, and the next call is served again."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.contexts import background, blocking
from aioresp.wire import limits
from aioresp.wire.packing import INCOMPLETE, Parser
from tests.cases import cases
from tests.rest import until
from tests.security.hostile import HELLO, Act, hostile, repeats, says

MIB = 1024 * 1024


def resident() -> int:
    """Return the bytes of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def failure(act: Act, *, memory: int = 48 * MIB, seconds: float = 20.0, **options: Any) -> aioresp.RedisError:
    """Return how a GET fails, which takes no more memory and time than that."""
    options = {"timeout": 10.0, "retry": None, "max_reply": 4 * MIB, **options}
    before, start = resident(), time.monotonic()
    async with hostile(act) as url, Client(url, **options) as r:
        with pytest.raises(aioresp.RedisError) as caught:
            await r.get("k")
        assert resident() - before < memory
        assert time.monotonic() - start < seconds
    return caught.value


# --- Replies without an end ------------------------------------------------------------------------------------------

CHUNK = 64 * 1024

ENDLESS = {
    "string": (b"$1099511627776\r\n", b"x" * CHUNK),
    "text with percent signs": (b"$1099511627776\r\n", (b"100 %\r\n%5\r\n>" * CHUNK)[:CHUNK]),
    "line": (b"+", b"x" * CHUNK),
    "error": (b"-ERR ", b"x" * CHUNK),
    "number": (b":", b"1" * CHUNK),
    "array": (b"*1300000\r\n", b":1\r\n" * (CHUNK // 4)),
    "set": (b"~1300000\r\n", b":1\r\n" * (CHUNK // 4)),
    "map": (b"%650000\r\n", b":1\r\n" * (CHUNK // 4)),
    "nested": (b"*1\r\n*1\r\n*1\r\n*1300000\r\n", b"$1\r\nx\r\n" * (CHUNK // 7)),
    "header": (b"$", b"1" * CHUNK),
    "header of an array": (b"*", b"1" * CHUNK),
    "header of a map": (b"%", b"1" * CHUNK),
    "big number": (b"(", b"1" * CHUNK),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_reply_without_an_end(kind: str) -> None:
    first, piece = ENDLESS[kind]
    # Small elements take many times the bytes that they have on the wire.
    error = await failure(repeats(piece, first=first), memory=300 * MIB)
    if isinstance(error, aioresp.ProtocolError):
        assert "is not RESP" in str(error)
        assert kind.startswith(("header", "number", "big"))
    else:
        assert isinstance(error, aioresp.ReplyTooLarge)
        assert "max_reply" in str(error)
        assert error.command == "GET"


async def test_the_limit_is_for_one_reply() -> None:
    """What is as large as the limit comes through, and the next too."""
    value = b"$%d\r\n" % (4 * MIB) + b"x" * (4 * MIB) + b"\r\n"
    async with hostile(says(value)) as url, Client(url, max_reply=4 * MIB) as r:
        for _ in range(3):
            assert await r.get("k") == "x" * 4 * MIB
        assert [len(v or "") for v in await asyncio.gather(*(r.get("k") for _ in range(5)))] == [4 * MIB] * 5
        assert r.stats().made == 1


async def test_many_small_replies_are_no_large_one() -> None:
    async with hostile(says(b"$1000\r\n" + b"x" * 1000 + b"\r\n")) as url, Client(url, max_reply=100_000) as r:
        for _ in range(5):
            replies = await asyncio.gather(*(r.get("k") for _ in range(400)))
            assert set(replies) == {"x" * 1000}
        assert r.stats().made == 1


async def test_only_whose_reply_is_too_large_is_to_blame() -> None:
    """The others on the connection are told that it is lost, and may try again; he is not, as it would happen again."""
    async with hostile(repeats(b"x" * CHUNK, first=b"+")) as url, Client(url, max_reply=MIB) as r:
        first, second = await asyncio.gather(r.incr("a"), r.incr("b"), return_exceptions=True)
        assert isinstance(first, aioresp.ReplyTooLarge)
        assert isinstance(second, aioresp.ProtocolError)
        assert second.outcome == "unknown"
        assert "dropped" in str(second)
        made = r.stats().made
        with pytest.raises(aioresp.ReplyTooLarge):
            await r.get("k")
        assert r.stats().made == made + 1  # only once


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "1"])
def test_the_limit_is_checked(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_reply"):
        Client(max_reply=value)


def test_the_limit_in_the_url() -> None:
    assert Client("redis://host?max_reply=1000").node.settings.max_reply == 1000
    assert Client("redis://host?max_reply=none").node.settings.max_reply is None
    assert Client().node.settings.max_reply == 512 * MIB


# --- Trickles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"$100000\r\n", b"+", b"*1000\r\n$1000\r\n"])
async def test_a_reply_that_trickles_is_late(first: bytes) -> None:
    error = await failure(repeats(b"x", pause=0.02, first=first), timeout=0.4, seconds=5)
    assert isinstance(error, aioresp.CommandTimeout)


async def test_a_reply_that_keeps_arriving_is_not_late() -> None:
    pieces = [b"x" * 10_000] * 40
    act = says(b"$400000\r\n", *pieces, b"\r\n", pause=0.03)
    async with hostile(act) as url, Client(url, timeout=1.0) as r:
        assert await r.get("k") == "x" * 400_000


@pytest.mark.parametrize("first", [b"$100000000\r\n", b"*2\r\n$100000000\r\n", b"+"])
async def test_a_reply_that_arrives_just_fast_enough_has_its_end_too(first: bytes) -> None:
    """Ten times its time, as the documentation says."""
    start = time.monotonic()
    error = await failure(repeats(b"x" * 4096, pause=0.02, first=first), timeout=0.3, max_reply=None, seconds=30)
    assert isinstance(error, aioresp.CommandTimeout)
    assert time.monotonic() - start > 0.9, "on a busy machine the peer may become too slow before ten times"
    assert limits.LONGEST == 10


async def test_replies_of_a_pipeline_that_trickle_have_their_end_too() -> None:
    """Each of them arrives, and none of them is late for long; all together they have ten times their time."""
    async with hostile(repeats(b"+one\r\n+tw", pause=0.02)) as url, Client(url, timeout=0.2, retry=None) as r:
        start = time.monotonic()
        with pytest.raises(aioresp.CommandTimeout):
            async with asyncio.timeout(15), r.pipeline() as p:
                for _ in range(100_000):
                    p.get("k")
                await p.execute()
        assert time.monotonic() - start < 12


async def test_a_blocking_pop_whose_reply_trickles_has_its_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "GRACE", 0.2)
    monkeypatch.setattr(background, "PATIENCE", 0.1)
    slow = repeats(b"x", pause=0.01, first=b"*2\r\n$1\r\nq\r\n$100000000\r\n")
    fast = repeats(b"x" * 4096, pause=0.02, first=b"*2\r\n$1\r\nq\r\n$100000000\r\n")
    for act, least in ((slow, 0.0), (fast, 0.7)):
        start = time.monotonic()
        async with hostile(act) as url, Client(url, retry=None, on_lost=lambda _: None) as r:
            with pytest.raises(aioresp.CommandTimeout):
                async with asyncio.timeout(15):
                    await r.blpop("q", timeout=0.1)
            assert least < time.monotonic() - start < 12


async def test_other_deadlines_do_not_make_a_reply_late_that_keeps_arriving() -> None:
    """How fast it arrives is judged once in a while, not whenever some other call is late."""
    pieces = [b"x" * 10_000] * 40
    async with hostile(says(b"$400000\r\n", *pieces, b"\r\n", pause=0.08)) as url, Client(url, timeout=1.0) as r:
        big = asyncio.create_task(r.get("k"))
        others = []
        for _ in range(60):
            await asyncio.sleep(0.005)
            others.append(asyncio.create_task(r.get("k")))
        assert await big == "x" * 400_000
        await asyncio.gather(*others, return_exceptions=True)


async def test_pushes_that_keep_arriving_are_no_reply() -> None:
    push = b">2\r\n+invalidate\r\n$30000\r\n" + b"x" * 30_000 + b"\r\n"
    error = await failure(repeats((push * 2)[10:] + push[:10], pause=0.02, first=push[:10]), timeout=0.4, seconds=5)
    assert isinstance(error, aioresp.CommandTimeout)


# --- What cannot be --------------------------------------------------------------------------------------------------

#: Some levels fewer fail only their own caller, once the reply has ended.
NESTED = {"nesting": b"*1\r\n" * 1_000_001, "nested maps": b"%1\r\n+k\r\n" * 1_000_001}

IMPOSSIBLE = {
    "nested pushes": b">1\r\n" * 10_000,
    "string of 2^63": b"$9223372036854775808\r\nx",
    "array of 2^63": b"*9223372036854775808\r\n",
    "array of 2^63-1": b"*9223372036854775807\r\n",
    "set of 2^63": b"~9223372036854775808\r\n",
    "map of 2^63": b"%9223372036854775808\r\n",
    "map of 2^62": b"%4611686018427387904\r\n",
    "array of 2^31": b"*2147483648\r\n",
    "set of 2^31": b"~2147483648\r\n",
    "map of 2^30": b"%1073741824\r\n",
    "map in a set of 2^31": b"%1\r\n+k\r\n~2147483648\r\n",
    "arrays of 10^7": b"*10000000\r\n" * 100,
    "sets after a string": b"*100\r\n$6\r\n~12345\r\n" + b"~90000000\r\n" * 2,
    "push of 2^63": b">9223372036854775808\r\n",
    "push of 2^32-1": b">4294967295\r\n",
    "push of 10^8": b">100000000\r\n:1\r\n",
    "push of 10^4": b">10000\r\n:1\r\n",
    "push within an array": b"*2\r\n$5\r\nabcde\r\n>100000000\r\n",
    "push within a map": b"%1\r\n+k\r\n>100000000\r\n",
    "attribute of 10^4": b"|10000\r\n",
    "attributes of 10^6": b"|1000000\r\n" * 1000,
    "attribute within an array": b"*2\r\n:1\r\n|100000000\r\n",
    "push after a reply": b">1\r\n+x\r\n>100000000\r\n",
    "negative string": b"$-2\r\n",
    "negative array": b"*-2\r\n",
    "no number": b"$five\r\n",
    "no type": b"\x00\x01\x02\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "streamed string": b"$?\r\n;4\r\nabcd\r\n;0\r\n",
}


@pytest.mark.turns(2)
@pytest.mark.parametrize("pieces", ["whole", "bytes"])
@cases("kind", IMPOSSIBLE)
async def test_what_cannot_be(kind: str, pieces: str) -> None:
    await cannot_be(IMPOSSIBLE[kind], pieces)


@pytest.mark.turns(2)
@pytest.mark.parametrize("pieces", ["whole", "bytes"])
@pytest.mark.parametrize("kind", NESTED)
async def test_what_is_nested_too_deeply(kind: str, pieces: str) -> None:
    await cannot_be(NESTED[kind], pieces)


async def cannot_be(said: bytes, pieces: str) -> None:
    if pieces == "whole":
        act = says(said)
    else:
        # All but the last bytes at once, if there are many.
        act = says(said[:-50], *(said[n : n + 1] for n in range(max(0, len(said) - 50), len(said))), pause=0.001)

    error = await failure(act, max_reply=512 * MIB)
    assert isinstance(error, aioresp.ProtocolError)
    assert "the connection was dropped" in str(error)


async def test_lists_that_are_announced_take_no_memory() -> None:
    """hiredis reserves room for them, and the system gives it when it is used; the garbage collector looks at it."""
    for header in (b"*15000000\r\n", b"~15000000\r\n", b"%15000000\r\n", b"*9999\r\n" * 1000):
        gc.collect()  # the list before, which would have it look on for seconds
        # Two connections get it: that of the call, and one that asks whether the first has died.
        error = await failure(says(header), timeout=1.0, memory=100 * MIB, max_reply=512 * MIB)
        assert isinstance(error, aioresp.CommandTimeout)


@pytest.mark.parametrize(
    "header", [b"*2000000\r\n", b"~2000000\r\n", b"%1000000\r\n", b"*1000\r\n" + b"*99999\r\n" * 20]
)
async def test_lists_that_announce_more_than_is_allowed(header: bytes) -> None:
    """Nothing is waited for, and the callers behind it are told what happened."""
    async with hostile(says(b"+one\r\n", header, pause=0.02)) as url, Client(url, max_reply=4 * MIB, retry=None) as r:
        first, second, third = await asyncio.gather(*(r.get("k") for _ in range(3)), return_exceptions=True)
        assert first == "one"
        assert isinstance(second, aioresp.ReplyTooLarge)
        assert "parts in the reply; the option max_reply allows no more" in str(second)
        assert isinstance(third, aioresp.ProtocolError)
        assert "a reply that is too large" in str(third)
        assert await r.get("k") == "one"


@pytest.mark.parametrize("size", [1, 7, 4096, 100_000])
async def test_long_lists_come_through(size: int) -> None:
    """However they are cut; and each counts for itself, not for those before it."""
    parts = 40_000 if size > 7 else 10_001
    reply = b"*2\r\n*%d\r\n" % parts + b":1\r\n" * parts + b"~%d\r\n" % parts + b":2\r\n" * parts
    expected = [[1] * parts, [2] * parts]
    parser = Parser()
    partial = False
    for _ in range(2 if size > 7 else 1):
        for _ in range(5):
            got = []
            for start in range(0, len(reply), size):
                parser.feed(reply[start : start + size], partial)
                partial = True
                while parser.has_data():
                    one = parser.gets(True)
                    if one is INCOMPLETE:
                        break
                    got.append(one)
            partial = False
            assert got == [expected]
            if size <= 7:
                break


async def test_what_looks_like_a_long_list_within_a_value_is_none() -> None:
    text = "one\r\n>1234567890\r\nATGC %\r\n>99999999\r\n*999999999\r\n~9999999999\r\n" * 3000
    data = text.encode()
    reply = b"$%d\r\n" % len(data) + data + b"\r\n"

    async def act(writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(reply), 49_157):
            writer.write(reply[start : start + 49_157])
            await asyncio.sleep(0)

    async with hostile(act) as url, Client(url) as r:
        for _ in range(5):
            assert await r.get("k") == text


# --- What nobody asked for -------------------------------------------------------------------------------------------


async def test_a_reply_nobody_asked_for() -> None:
    async with hostile(says(b"+one\r\n+two\r\n")) as url, Client(url) as r:
        assert await r.get("k") == "one"
        for _ in range(100):
            if not r.stats().open:
                break
            await asyncio.sleep(0.01)
        assert r.stats().open == 0  # not used again: the next reply would have been the wrong one
        assert await r.get("k") == "one"


async def test_replies_without_an_end_that_nobody_asked_for() -> None:
    async with hostile(repeats(b"+one\r\n" * 1000)) as url, Client(url, timeout=2) as r:
        for _ in range(3):
            assert await r.get("k") == "one"
            await asyncio.sleep(0.05)
            assert r.stats().open == 0


async def test_replies_before_any_command() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n" * 10_000)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(shout, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with Client(f"redis://127.0.0.1:{port}", retry=None, timeout=2) as r:
            with pytest.raises(aioresp.RedisError):
                await r.get("k")
            assert r.stats().open == 0


async def test_pushes_nobody_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    push = b">2\r\n+invalidate\r\n*1\r\n$6\r\ns3cr3t\r\n"
    async with hostile(says(push * 3 + b"+one\r\n" + push)) as url, Client(url) as r:
        for _ in range(10):
            assert await r.get("k") == "one"
        assert r.stats().made == 1
    warnings = [record.getMessage() for record in caplog.records if "nobody had asked for" in record.getMessage()]
    assert len(warnings) == 1
    assert "invalidate" in warnings[0]
    assert "s3cr3t" not in warnings[0]


async def test_a_push_that_is_no_text_is_no_reply() -> None:
    """The server speaks of keys of any bytes; the next caller, who wants text, gets his reply all the same."""
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\n\xff\xfe\r\n"
    async with hostile(says(push[:20], push[20:] + push + b"+one\r\n" + push)) as url, Client(url) as r:
        for _ in range(10):
            assert await r.get("k") == "one"


async def test_a_reply_that_is_no_text_and_that_nobody_asked_for() -> None:
    async with hostile(says(b"+one\r\n$2\r\n\xff\xfe\r\n")) as url, Client(url, retry=None) as r:
        assert await r.get("k") == "one"
        await until(lambda: r.stats().open == 0)
        assert await r.get("k") == "one"


@pytest.mark.parametrize(
    "push", [b">0\r\n", pytest.param(b">1\r\n+x\r\n", marks=pytest.mark.ci), b">1\r\n%1\r\n+a\r\n+b\r\n"]
)
async def test_pushes_without_an_end(push: bytes) -> None:
    """They come faster than they are dropped, so reading has to wait: and the loop still runs."""
    before = resident()
    turns = waiting = 0
    used = time.process_time()
    async with hostile(repeats(push * 20_000)) as url, Client(url, timeout=0.4, retry=None) as r:
        call = asyncio.ensure_future(r.get("k"))
        while not call.done():
            await asyncio.sleep(0.001)
            turns += 1
            waiting = max([waiting, *(c._parser.waiting for c in r.node.pools.here()._shared)])
        assert isinstance(call.exception(), aioresp.CommandTimeout)
        # For each second that this process has had, which on a busy machine is a part of the one that has gone by.
        assert turns > 20 * (time.process_time() - used)
        assert resident() - before < 48 * MIB
        assert 0 < waiting < MIB


GREETINGS = {
    "string of 2^63": b"$9223372036854775808\r\n",
    "nesting": b"*1\r\n" * 10_000,
    "empty array": b"*0\r\n",
    "nothing": b"",
    "endless": b"$100000000\r\nx",
    "HTTP": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("kind", GREETINGS)
async def test_a_hostile_greeting(kind: str) -> None:
    peer = hostile(says(b"+one\r\n"), hello=GREETINGS[kind])
    async with peer as url, Client(url, retry=None, connect_timeout=0.3) as r:
        if kind == "empty array":
            assert await r.get("k") == "one"  # nothing of it is needed
        else:
            with pytest.raises(aioresp.ConnectError):
                await r.get("k")
            assert r.stats().open == 0


async def test_connections_that_end_as_soon_as_they_are_made() -> None:
    """Those who wait are not kept by an endless row of them, and the next attempts are made ever later."""
    async with hostile(says(b"+one\r\n"), hello=HELLO + b"+OK\r\n" * 50) as url:
        async with Client(url, retry=None, timeout=5) as r:
            with pytest.raises(aioresp.ConnectError, match="as soon as it was made"):
                await r.get("k")
        async with Client(url, retry=aioresp.Retry(5, base=0.01, jitter=False), timeout=5) as r:
            start = time.monotonic()
            with pytest.raises(aioresp.ConnectError, match="as soon as it was made"):
                await r.get("k")
            assert time.monotonic() - start > 0.01 + 0.02 + 0.04 + 0.08
            assert r.stats().made == 6  # the first is not counted
