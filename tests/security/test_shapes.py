"""A server that answers every command with replies of odd shapes: a value of the declared kind, or a RedisError.

The server is a real one for the handshake and for ECHO, which tells whether the client is still in step.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import re
import traceback
from functools import cache
from typing import Any, Final

import pytest

import aioresp
from aioresp import Client, Pipeline, UnexpectedReply
from aioresp.command import full_name
from aioresp.commands import Commands
from aioresp.facts.traits import traits
from aioresp.replies.shapes import failure
from aioresp.wire.packing import Parser
from tests.commands.test_complete import GROUPS, METHODS
from tests.recorder import Call, Recorder
from tests.security.hostile import HELLO, answers

SECRET: Final = "hunter2"
S: Final = b"$7\r\nhunter2\r\n"
BAD: Final = b"$2\r\n\xff\xfe\r\n"


def array(*items: bytes, sign: bytes = b"*") -> bytes:
    return sign + b"%d\r\n" % (len(items) // (2 if sign == b"%" else 1)) + b"".join(items)


ODD: Final[dict[str, bytes]] = {
    "nil": b"$-1\r\n",
    "nil of an array": b"*-1\r\n",
    "null": b"_\r\n",
    "OK": b"+OK\r\n",
    "status": b"+hunter2\r\n",
    "string": S,
    "empty string": b"$0\r\n\r\n",
    "not UTF-8": BAD,
    "text of a number": b"$3\r\n1.5\r\n",
    "text of no end": b"$3\r\ninf\r\n",
    "verbatim": b"=11\r\ntxt:hunter2\r\n",
    "integer": b":1\r\n",
    "negative integer": b":-1\r\n",
    "large integer": b":9223372036854775807\r\n",
    "big number": b"(3492890328409238509324850943850943825024385\r\n",
    "double": b",1.5\r\n",
    "inf": b",inf\r\n",
    "nan": b",nan\r\n",
    "true": b"#t\r\n",
    "false": b"#f\r\n",
    "error": b"-ERR no\r\n",
    "empty array": array(),
    "one": array(S),
    "two": array(S, S),
    "three": array(S, S, S),
    "four": array(S, S, S, S),
    "integers": array(b":1\r\n", b":2\r\n"),
    "nils": array(b"_\r\n", b"$-1\r\n", b"*-1\r\n"),
    "booleans": array(b"#t\r\n", b"#f\r\n"),
    "errors": array(b"-ERR hunter2\r\n", b"-ERR hunter2\r\n"),
    "empty arrays": array(array(), array()),
    "pair of an array": array(array(S, S)),
    "array and more": array(array(S, S), S),
    "entries without fields": array(array(S, array(array(S, S)))),
    "entry of integers": array(array(b":1\r\n", array(b":1\r\n", b":2\r\n"))),
    "streams without entries": array(array(S, array())),
    "page of no number": array(S, array()),
    "page of a negative number": array(b"$2\r\n-1\r\n", array()),
    "page of text": array(b"$1\r\n0\r\n", S),
    "page of an integer": array(b"$1\r\n0\r\n", b":5\r\n"),
    "page of an odd number": array(b"$1\r\n0\r\n", array(S, S, S)),
    "array that is not UTF-8": array(BAD, BAD),
    "empty map": array(sign=b"%"),
    "map": array(S, S, sign=b"%"),
    "map of integers": array(b":1\r\n", b":2\r\n", sign=b"%"),
    "map of arrays": array(S, array(S, S, S), sign=b"%"),
    "map of nil": array(S, b"_\r\n", sign=b"%"),
    "map that no dict can hold": array(array(S), S, sign=b"%"),
    "map within a map that no dict can hold": array(S, array(array(S), S, sign=b"%"), sign=b"%"),
    "map with a key twice": array(S, S, S, S, sign=b"%"),
    "set": array(S, b":1\r\n", sign=b"~"),
    "set of sets": array(array(S, sign=b"~"), sign=b"~"),
    "deep": b"*1\r\n" * 900 + S,
    "deep pairs": b"*2\r\n$7\r\nhunter2\r\n" * 300 + S,
    "long": array(*[S] * 2001),
}


# --- All methods ------------------------------------------------------------------------------------------------------


class Named(Recorder):
    """Notes which methods were asked for; the first is the one that was called, as some call others."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in METHODS:
            self.asked.append(name)
        return super().__getattribute__(name)


@cache
def calls() -> list[tuple[str, Call]]:
    """Return the calls of all wire tables, each with the name of its method."""
    found = []
    for group in GROUPS:
        for call, _ in importlib.import_module(f"tests.commands.test_{group}").WIRE:
            named = Named()
            call(named)
            found.append((named.asked[0], call))
    return found


KINDS: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float,),
    "str": (str,),
    "bytes": (bytes,),
    "AnyStr": (str, bytes),
    "list": (list,),
    "dict": (dict,),
    "set": (set,),
    "tuple": (tuple,),
    "None": (type(None),),
}


@cache
def declared(method: str) -> list[str]:
    """Return the names of the kinds that the method is declared to return, without what these hold."""
    said = str(inspect.signature(getattr(Commands, method)).return_annotation)
    assert said.startswith("Result[")
    plain, more = said.replace("Result[", ""), 1
    while more:
        plain, more = re.subn(r"\[[^][]*\]", "", plain)
    return [head.strip("] ") for head in plain.split("|")]


def is_declared(method: str, value: Any) -> bool:
    """Return whether a value is of the kind that the method is declared to return, as far as that is known here."""
    heads = declared(method)
    if "Any" in heads or "Literal" in heads:
        return True
    return any(type(value) in KINDS.get(head, ()) or type(value).__name__ == head for head in heads)


def judge(method: str, outcome: Any) -> None:
    """Fail for what is neither a RedisError without values nor a value of the declared kind."""
    if not isinstance(outcome, BaseException):
        assert is_declared(method, outcome), f"{method} returned {type(outcome).__name__}"
        return
    assert isinstance(outcome, aioresp.RedisError), f"{method} raised {outcome!r}"
    if type(outcome) is not UnexpectedReply:
        return
    assert outcome.command is not None
    assert "an unexpected reply: " in str(outcome)
    assert len(str(outcome)) < 400
    assert (outcome.__cause__, outcome.__context__) == (None, None)
    shown = "".join(traceback.format_exception(outcome)) + repr(outcome.args)
    # Keys of the wire tables stand in the messages; none of them is the value that the server sends.
    assert SECRET not in shown, shown


@pytest.mark.turns(2)
@pytest.mark.parametrize("kind", ODD)
def test_the_converters_of_all_methods(kind: str) -> None:
    """Without a connection: the parser's reply, as text and as bytes, in each converter."""
    for decode in (True, False):
        parser = Parser()
        parser.feed(ODD[kind], False)
        try:
            reply = parser.gets(decode)
        except UnicodeDecodeError:
            continue
        if isinstance(reply, aioresp.RedisError):
            continue
        for method, call in calls():
            recorder = Recorder()
            call(recorder)
            ((arguments, convert),) = recorder.calls
            try:
                outcome = convert(reply)
            except Exception as error:
                outcome = failure(error, reply, arguments)
            judge(method, outcome)


async def outcome_of(client: Any, call: Call) -> Any:
    try:
        made: Any = call(client)
        return await made
    except Exception as error:
        return error


async def in_step(client: Any) -> None:
    echoes = await asyncio.gather(*(client.echo(f"echo {n}") for n in range(5)))
    assert [echo if isinstance(echo, str) else echo.decode() for echo in echoes] == [f"echo {n}" for n in range(5)]


def blocks(call: Call) -> bool:
    recorder = Recorder()
    call(recorder)
    arguments = recorder.calls[0][0]
    return traits(arguments).timeout is not None or full_name(arguments) in ("SHUTDOWN", "QUIT", "ECHO", "PING")


#: Each shape under one protocol, in turns; under the other one in a long run.
IN_TURNS: Final = [
    pytest.param(kind, protocol, marks=() if (number + protocol) % 2 else pytest.mark.soak)
    for number, kind in enumerate(ODD)
    for protocol in (3, 2)
]


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        pytest.param(*each.values, marks=[*each.marks, *[pytest.mark.ci] * (at // 2 % 5 > 0)])
        for at, each in enumerate(IN_TURNS)
    ],
)
@pytest.mark.parametrize("both", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["text or bytes", "both"])
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_debug")
async def test_all_methods(kind: str, protocol: Any, both: bool, caplog: pytest.LogCaptureFixture) -> None:
    """On a client and in pipelines: each has an outcome of its own, on one connection.

    The client is one of text or of bytes, in turns; that converters know both is tested above.
    """
    caplog.set_level(logging.DEBUG, "aioresp")
    table = {method: call for method, call in calls() if not blocks(call)}  # one call of each method
    async with (
        answers(lambda words: ODD[kind], HELLO if protocol == 3 else b"+OK\r\n") as url,
        Client(url, protocol=protocol, retry=None, limit=3) as text,
    ):
        clients: list[Client[Any]] = [text, text.with_options(decode_responses=False)]
        for r in clients if both else [clients[[*ODD].index(kind) // 2 % 2]]:
            found = await asyncio.gather(*(outcome_of(r, call) for call in table.values()))
            for method, outcome in zip(table, found, strict=True):
                judge(method, outcome)
            await in_step(r)
            queued: list[str] = []
            async with r.pipeline() as p:
                for method, call in table.items():
                    if getattr(Pipeline, method) is not getattr(Commands, method):
                        continue  # it means something else there
                    try:
                        call(p)  # type: ignore[arg-type]
                    except aioresp.CommandRefused:
                        continue
                    queued.append(method)
                values = await p.execute(raise_on_error=False)
            for method, outcome in zip(queued, values, strict=True):
                judge(method, outcome)
            await in_step(r)
        assert text.stats().leased == 0
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.soak if number % 3 else [pytest.mark.ci] * (number % 12 > 0))
        for number, kind in enumerate(ODD)
    ],
)
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_debug")
async def test_all_methods_on_a_lease(kind: str) -> None:
    table = {method: call for method, call in calls() if not blocks(call)}
    async with answers(lambda words: ODD[kind]) as url, Client(url, retry=None) as r:
        async with r.connection() as c:
            for method, call in table.items():
                judge(method, await outcome_of(c, call))
            await in_step(c)
        await in_step(r)


@pytest.mark.turns(3)
@pytest.mark.parametrize(("kind", "protocol"), IN_TURNS)
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_debug")
async def test_blocking_methods(kind: str, protocol: Any) -> None:
    """Whether an element was popped is not known: an error is all there can be."""
    table = {method: call for method, call in calls() if blocks(call) and method not in ("echo", "ping", "quit")}
    hello = HELLO if protocol == 3 else b"+OK\r\n"
    async with answers(lambda words: ODD[kind], hello) as url, Client(url, protocol=protocol, retry=None) as r:
        for method, call in table.items():
            judge(method, await outcome_of(r, call))
        await in_step(r)
