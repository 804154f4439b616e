"""Servers that answer a blocking command with what is none of its replies: its caller is told, and nothing is held."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, Lost
from tests.contexts.blocking import cancel, is_written
from tests.rest import at_rest, tasks_besides
from tests.security.hostile import hostile

Wait = Callable[[Any], Any]

SECRET = b"$6\r\nSECRET\r\n"


def nested(levels: int) -> bytes:
    return b"*1\r\n" * levels + SECRET


#: Replies that no pop has, whichever it is.
SHAPES: dict[str, bytes] = {
    "a number": b":5\r\n",
    "a text": SECRET,
    "queued without MULTI": b"+QUEUED\r\n",
    "a double": b",1.5\r\n",
    "an empty list": b"*0\r\n",
    "one part": b"*1\r\n" + SECRET,
    "numbers": b"*2\r\n:1\r\n:2\r\n",
    "a number for a key": b"*2\r\n:1\r\n" + SECRET,
    "four parts": b"*4\r\n" + 4 * SECRET,
    "three parts that are no score": b"*3\r\n" + 3 * SECRET,
    "a map": b"%1\r\n$1\r\nq\r\n" + SECRET,
    "a key alone": b"*2\r\n$1\r\nq\r\n*0\r\n",
    "nil for an element": b"*2\r\n$1\r\nq\r\n_\r\n",
    "nil for elements": b"*2\r\n$1\r\nq\r\n*1\r\n_\r\n",
    "an error for an element": b"*2\r\n$1\r\nq\r\n-SECRET x\r\n",
    "a map of elements": b"*2\r\n$1\r\nq\r\n%1\r\n" + 2 * SECRET,
    "elements in a list too many": b"*2\r\n$1\r\nq\r\n*1\r\n*1\r\n*1\r\n" + SECRET,
    "pairs without a score": b"*2\r\n$1\r\nq\r\n*1\r\n*2\r\n" + 2 * SECRET,
    "a reply of BLMPOP": b"*2\r\n$1\r\nq\r\n*1\r\n" + SECRET,
    "nested 300 levels": nested(300),
    "nested 900 levels": nested(900),
    "nested 1,000 levels": nested(1000),
    "nested 5,000 levels": nested(5000),
}

WAITS: dict[str, Wait] = {
    "blpop": lambda r: r.blpop("q"),
    "brpop": lambda r: r.brpop("q"),
    "call": lambda r: r.call("blpop", "q", 0),
    "bzpopmin": lambda r: r.bzpopmin("q"),
    "bzpopmax": lambda r: r.bzpopmax("q"),
    "bzmpop": lambda r: r.call("BZMPOP", 0, 1, "q", "MAX"),
    "blmpop": lambda r: r.blmpop(0, 1, "q", direction="LEFT"),
    "bzmpop-typed": lambda r: r.bzmpop(0, 1, ["q"], min=True),
}

#: What takes nothing away, and what it may not be answered.
OTHERS: dict[str, tuple[Wait, tuple[str, ...]]] = {
    "blmove": (
        lambda r: r.blmove("q", "to", 0),
        ("a number", "numbers", "a map", "an empty list", "nested 900 levels"),
    ),
    "brpoplpush": (lambda r: r.brpoplpush("q", "to", 0), ("a double", "one part", "nested 1,000 levels")),
    "xread": (
        lambda r: r.xread({"q": "$"}, block=0),
        ("a number", "numbers", "one part", "a map", "nested 900 levels"),
    ),
    "xreadgroup": (
        lambda r: r.xreadgroup("group", "me", {"q": ">"}, block=0),
        ("a number", "a text", "four parts", "nil for elements", "nested 1,000 levels"),
    ),
}


class Play:
    """A peer that answers blocking commands by odd replies once it is let to, and what must be true then."""

    def __init__(self, caplog: pytest.LogCaptureFixture, on_lost: Callable[[Lost], object] | None = None) -> None:
        self.caplog = caplog
        self.losses: list[Lost] = []
        self.on_lost = on_lost or self.losses.append
        self.unhandled: list[str] = []
        self.reply = b""
        self.may = asyncio.Event()
        self.reads = False  # the command takes nothing, so that its connection goes on

    async def act(self, writer: asyncio.StreamWriter) -> None:
        await self.may.wait()
        writer.write(self.reply)

    async def go(
        self, shapes: Iterable[str], wait: Wait, *, gone: bool = False, lease: bool = False, **options: Any
    ) -> None:
        """Have each of the shapes as a reply, with two connections in all: one that is held would be missed."""
        self.caplog.set_level(logging.DEBUG)
        loop = asyncio.get_running_loop()
        handler = loop.get_exception_handler()
        loop.set_exception_handler(lambda _, context: self.unhandled.append(str(context)))
        before = tasks_besides()
        async with (
            hostile(self.act) as url,
            Client(url, limit=2, on_lost=self.on_lost, client_name="us", **options) as r,
        ):
            for shape in shapes:
                self.reply = SHAPES[shape]
                await self.once(r, wait, gone, lease)
                assert "SECRET" not in self.caplog.text
                assert self.unhandled == []
                self.caplog.clear()
        loop.set_exception_handler(handler)
        assert tasks_besides() <= before

    async def once(self, r: Client[Any], wait: Wait, gone: bool, lease: bool) -> None:
        self.may.clear()
        task = asyncio.ensure_future(self.on_a_lease(r, wait) if lease else wait(r))
        await is_written(r)
        if gone:
            await cancel(task)
        self.may.set()
        if not gone:
            with pytest.raises((aioresp.ProtocolError, aioresp.DecodeError, aioresp.UnexpectedReply)) as caught:
                await task
            if self.reads and isinstance(caught.value, aioresp.UnexpectedReply):
                pass  # nothing was taken: the connection goes on
            elif isinstance(caught.value, aioresp.DecodeError):  # of too many levels
                assert "the command has run" in str(caught.value)
            else:
                assert isinstance(caught.value, aioresp.ProtocolError)
                assert caught.value.outcome == "unknown"
            assert "SECRET" not in "".join(traceback.format_exception(caught.value))
        await at_rest(r)

    async def on_a_lease(self, r: Client[Any], wait: Wait) -> None:
        async with r.connection() as c:
            try:
                await wait(c)
            finally:
                if self.may.is_set():
                    with pytest.raises(aioresp.ConnectionLost):
                        await c.get("k")

    def check(self, count: int) -> None:
        assert [(lost.elements, lost.key, lost.outcome) for lost in self.losses] == [((), None, "unknown")] * count


@pytest.mark.parametrize(
    ("wait", "gone"),
    [
        pytest.param(
            *(wait, gone),
            id=f"{wait}-{'nobody' if gone else 'a caller'}",
            marks=[pytest.mark.ci] * ((number + gone) % 2),
        )
        for number, wait in enumerate(WAITS)
        for gone in (False, True)
    ],
)
async def test_a_pop(wait: str, gone: bool, caplog: pytest.LogCaptureFixture) -> None:
    play = Play(caplog)
    shapes = [shape for shape in SHAPES if shape != "a reply of BLMPOP" or "blmpop" not in wait]
    await play.go(shapes, WAITS[wait], gone=gone)
    # What nests deepest is not RESP: its caller hears that the connection was lost, and nobody else.
    play.check(len(shapes) - (not gone))


@pytest.mark.parametrize("gone", [False, True], ids=["a caller", "nobody"])
@pytest.mark.parametrize("lease", [False, True])
@pytest.mark.parametrize("decode", [False, True], ids=["bytes", "str"])
async def test_each_kind_of_client(
    protocol: Literal[2, 3], decode: bool, lease: bool, gone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    play = Play(caplog)
    shapes = ("a text", "a map", "an error for an element", "nested 900 levels")
    wait = WAITS["bzpopmax"]
    await play.go(shapes, wait, gone=gone, lease=lease, protocol=protocol, decode_responses=decode)
    play.check(4)


@pytest.mark.parametrize("wait", OTHERS)
@pytest.mark.parametrize("gone", [False, True], ids=["a caller", "nobody"])
async def test_what_takes_nothing(wait: str, gone: bool, caplog: pytest.LogCaptureFixture) -> None:
    play = Play(caplog)
    play.reads = wait.startswith("xread")
    send, shapes = OTHERS[wait]
    await play.go(shapes, send, gone=gone)
    assert play.losses == []


async def test_a_pop_whose_arguments_make_no_sense(caplog: pytest.LogCaptureFixture) -> None:
    """A server refuses it. From one that answers, nothing could be put back."""
    play = Play(caplog)
    await play.go(["a reply of BLMPOP"], lambda r: r.call("BLMPOP", 0, "many", "q", "LEFT"))
    play.check(1)


async def test_a_hook_that_is_cancelled_holds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def hook(lost: Lost) -> None:
        raise asyncio.CancelledError

    play = Play(caplog, hook)
    with pytest.raises(AssertionError, match="CancelledError"):
        await play.go(["a map"], WAITS["blpop"], gone=True)  # the event loop says what a hook did to it


@pytest.mark.parametrize("lease", [False, True])
@pytest.mark.parametrize("levels", [900, 1000, 5000])
async def test_other_commands_and_nested_replies(levels: int, lease: bool) -> None:
    """They hold no connection either, one by one, in a pipeline and in a transaction."""

    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(nested(levels))

    async def transaction(c: Any) -> None:
        async with c.pipeline(transaction=True) as p:
            p.get("k")

    async def pipeline(c: Any) -> None:
        async with c.pipeline() as p:
            p.hgetall("k")
            p.zrange("k", 0, -1, withscores=True)

    calls = (lambda c: c.hgetall("k"), lambda c: c.xread({"k": "0"}), transaction, pipeline)
    async with hostile(act) as url, Client(url, limit=2, timeout=5, retry=None) as r:
        for call in calls:
            for _ in range(3):
                with pytest.raises(Exception, match=r".") as caught:  # whatever it is
                    if lease:
                        async with r.connection() as c:
                            await call(c)
                    else:
                        await call(r)
                assert not isinstance(caught.value, (aioresp.CommandTimeout, RecursionError))
                await at_rest(r)
