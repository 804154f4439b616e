"""Servers that are hostile to who listens: subscriptions and MONITOR take no harm, nor memory, and go on or end."""

from __future__ import annotations

import asyncio
import time

import pytest

import aioresp
from aioresp import Client, Gap, Message
from aioresp.pubsub import liveness
from tests.rest import until
from tests.security.hostile import Act, hostile, repeats, says
from tests.security.test_hostile import CHUNK, MIB, resident

CONFIRMED = b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
MESSAGE = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\none\r\n"

#: What comes after a message, and costs the connection.
WRONG = {
    "no RESP": b"?what\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "nothing": b">0\r\n",
    "one word": b">1\r\n$7\r\nmessage\r\n",
    "a message without data": b">2\r\n$7\r\nmessage\r\n$1\r\nc\r\n",
    "a channel that is a list": b">3\r\n$7\r\nmessage\r\n*0\r\n$1\r\nx\r\n",
    "a channel that is a map": b">3\r\n$7\r\nmessage\r\n%0\r\n$1\r\nx\r\n",
    "data that is a number": b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n:1\r\n",
    "data that is nothing": b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n_\r\n",
    "data that is an error": b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n-ERR x\r\n",
    "a kind that is a list": b">3\r\n*0\r\n$1\r\nc\r\n$1\r\nx\r\n",
    "a map": b"%1\r\n+a\r\n+b\r\n",
    "a map with a map for a key": b"%1\r\n%1\r\n+a\r\n+b\r\n+c\r\n",
    "a confirmation": CONFIRMED,
    "the confirmation of another channel": CONFIRMED.replace(b"c\r\n:", b"d\r\n:"),
    "the end of a subscription": CONFIRMED.replace(b"$9\r\nsubscribe", b"$11\r\nunsubscribe"),
    "the end of a shard channel": CONFIRMED.replace(b"$9\r\nsubscribe", b"$12\r\nsunsubscribe"),
    "PONG": b"+PONG\r\n",
    "an error": b"-ERR nobody asked\r\n",
    "a number": b":1\r\n",
    "nesting": b">1\r\n" + b"*1\r\n" * 10_000,
    "nested pushes": b">1\r\n" * 10_000,
    "nested maps": b"%1\r\n+k\r\n" * 10_000,
    "string of 2^63": b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$9223372036854775808\r\nx",
    "push of 2^63": b">9223372036854775808\r\n",
    "push of 10^4": b">10000\r\n:1\r\n",
    "list of 2^31": b"*2147483648\r\n",
    "attributes of 10^6": b"|1000000\r\n" * 1000,
}


@pytest.mark.parametrize("kind", WRONG)
async def test_what_cannot_be(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The connection ends, the next one is subscribed again, and each time who reads hears of a gap."""
    before = resident()
    async with (
        hostile(says(CONFIRMED, MESSAGE + WRONG[kind], pause=0.02)) as url,
        Client(url, timeout=2) as r,
        r.subscribe("c", gaps=True) as s,
    ):
        for _ in range(2):
            assert await s.get(5) == Message("c", "one")
            assert isinstance(await s.get(5), Gap)
        await asyncio.sleep(0.05)
        assert r.node.hubs.here()._made <= 5  # the pauses grow
        assert "what the server sent" not in caplog.text  # but at the level of DEBUG
    assert resident() - before < 48 * MIB
    for record in (record for record in caplog.records if record.name == "aioresp"):
        assert record.levelname == "WARNING"
        assert "the connection of 1 subscribed topics was lost: the server" in record.getMessage()
        assert record.exc_info is None


@pytest.mark.parametrize("piece", [b"$1099511627776\r\n", b"*600000\r\n", b"+"])
async def test_a_message_without_an_end(piece: bytes) -> None:
    before = resident()
    first = CONFIRMED + MESSAGE + b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n" + piece
    act = repeats(b":1\r\n" * (CHUNK // 4) if piece.startswith(b"*") else b"x" * CHUNK, first=first)
    async with hostile(act) as url, Client(url, max_reply=2 * MIB) as r, r.subscribe("c", gaps=True) as s:
        for _ in range(2):
            assert await s.get(5) == Message("c", "one")
            assert isinstance(await s.get(5), Gap)
        assert resident() - before < 64 * MIB


NOBODY = {
    "of a channel": MESSAGE.replace(b"$1\r\nc", b"$1\r\nd"),
    "of a pattern": b">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\nx\r\n",
    "of a shard channel": MESSAGE.replace(b"$7\r\n", b"$8\r\ns"),
    "of ours": MESSAGE,
}


@pytest.mark.parametrize("kind", NOBODY)
async def test_messages_without_an_end(kind: str) -> None:
    """Whoever they are for: the loop runs on, and what is kept has its bound."""
    before = resident()
    turns = 0
    act = repeats(NOBODY[kind] * 2000, first=CONFIRMED)
    async with hostile(act) as url, Client(url) as r, r.subscribe("c", buffer=100) as s:
        start = time.monotonic()
        while turns < 6 or time.monotonic() - start < 0.5:  # where nobody else has a turn, it hangs
            await asyncio.sleep(0.001)
            turns += 1
        assert s.gaps == ()
        assert s.waiting == (100 if kind == "of ours" else 0)
        assert (s.dropped > 1000) == (kind == "of ours")
        listener = r.node.hubs.here()._listener
        assert listener is not None
        assert listener._parser.waiting < MIB
    assert resident() - before < 48 * MIB


async def test_messages_without_an_end_for_who_lets_them_wait() -> None:
    """Nothing more is read, neither into the buffer nor beneath it."""
    before = resident()
    act = repeats(MESSAGE * 2000, first=CONFIRMED)
    peer = hostile(act)
    async with peer as url, Client(url, timeout=1) as r, r.subscribe("c", buffer=100, overflow="wait") as s:
        await until(lambda: s.waiting >= 100)
        await asyncio.sleep(0.2)
        assert 100 <= s.waiting <= 10_000  # what came together with the confirmation is taken
        listener = r.node.hubs.here()._listener
        assert listener is not None
        assert listener._parser.waiting < MIB
        for _ in range(20_000):
            assert await s.get(5) == Message("c", "one")
        await until(lambda: s.waiting >= 100)
        await asyncio.sleep(0.1)
        assert s.waiting == 100
        with pytest.raises(aioresp.CommandTimeout, match="is full"):
            await s.subscribe("never confirmed")
        assert 100 <= s.waiting <= 10_001
        assert s.dropped == 0
    assert resident() - before < 48 * MIB


REFUSALS: dict[str, tuple[Act, type[Exception]]] = {
    "silence": (says(b""), aioresp.CommandTimeout),
    "another channel": (says(CONFIRMED.replace(b"c\r\n:", b"d\r\n:")), aioresp.RedisError),
    "garbage": (says(b"garbage\r\n"), aioresp.RedisError),
    "nesting": (says(b">1\r\n" * 10_000), aioresp.RedisError),
    "a message before all": (says(MESSAGE), aioresp.CommandTimeout),
    "messages without an end": (repeats(MESSAGE * 1000), aioresp.CommandTimeout),
    "a confirmation without an end": (repeats(b"x" * CHUNK, first=b">3\r\n$1099511627776\r\n"), aioresp.RedisError),
    "an error": (says(b"-ERR no\r\n"), aioresp.ResponseError),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_what_comes_instead_of_a_confirmation(kind: str) -> None:
    """Who enters hears of it within his deadline, and nothing is left of it."""
    act, error = REFUSALS[kind]
    before, tasks, start = resident(), asyncio.all_tasks(), time.monotonic()
    async with hostile(act) as url, Client(url, timeout=1, max_reply=2 * MIB) as r:
        with pytest.raises(error):
            async with r.subscribe("c"):
                pass
        assert time.monotonic() - start < 9  # its deadline is one second; ten are the longest that a reply may take
        assert repr(r.node.hubs.here()).startswith("Hub(0 topics")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    assert resident() - before < 48 * MIB


LINE = b'+1339518083.107412 [0 127.0.0.1:60866] "get" "x"\r\n'
NO_LINES = {
    "no RESP": b"?what\r\n",
    "another form": b"+1339518083.107412 0 127.0.0.1\r\n",
    "a database of many digits": b"+1.1 [" + b"9" * 5000 + b' 127.0.0.1:60866] "get" "x"\r\n',
    "a list": b"*1\r\n+x\r\n",
    "a number": b":1\r\n",
    "nothing": b"_\r\n",
    "an error": b"-ERR x\r\n",
    "nesting": b"*1\r\n" * 10_000,
    "list of 2^31": b"*2147483648\r\n",
    "string of 2^63": b"$9223372036854775808\r\nx",
    "a line without an end": b"+" + b"x" * 3 * MIB,
    "a string without an end": b"$1099511627776\r\n" + b"x" * 3 * MIB,
}


@pytest.mark.parametrize("kind", NO_LINES)
async def test_monitor(kind: str) -> None:
    before = resident()
    act = says(b"+OK\r\n", LINE + NO_LINES[kind])
    async with hostile(act) as url, Client(url, max_reply=2 * MIB) as r:
        async with r.monitor() as monitor:
            assert (await monitor.get()).arguments == ("get", "x")
            with pytest.raises(aioresp.ProtocolError, match=r"the connection was dropped|allows no more"):
                await asyncio.wait_for(monitor.get(), 5)
        assert r.stats().leased == 0
    assert resident() - before < 48 * MIB


async def test_monitor_without_an_end() -> None:
    before = resident()
    turns = 0
    async with (
        hostile(repeats(LINE * 1000, first=b"+OK\r\n")) as url,
        Client(url) as r,
        r.monitor(buffer=100) as monitor,
    ):
        start = time.monotonic()
        while turns < 6 or time.monotonic() - start < 0.5:  # where nobody else has a turn, it hangs
            await asyncio.sleep(0.001)
            turns += 1
        assert monitor.waiting == 100
        assert monitor.dropped > 1000
    assert resident() - before < 48 * MIB


async def test_a_message_that_trickles_is_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a subscriber would wait for it for days, and hear of no gap."""
    monkeypatch.setattr(liveness, "PING_AFTER", 0.1)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.3)
    message = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1000000\r\n"
    async with (
        hostile(repeats(b"x", pause=0.02, first=CONFIRMED + message)) as url,
        Client(url, timeout=2) as r,
        r.subscribe("c", gaps=True) as s,
    ):
        assert isinstance(await s.get(timeout=10), Gap)


async def test_a_message_that_keeps_arriving_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "PING_AFTER", 0.1)
    monkeypatch.setattr(liveness, "PING_WAIT", 0.3)
    message = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$400000\r\n"
    pieces = [b"x" * 10_000] * 40
    async with (
        hostile(says(CONFIRMED + message, *pieces, b"\r\n", pause=0.03)) as url,
        Client(url, timeout=2) as r,
        r.subscribe("c", gaps=True) as s,
    ):
        assert isinstance(await s.get(timeout=10), Message)
