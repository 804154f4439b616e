"""The facts of a command's name: how it travels, and what a message says about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from aioresp import Client, CommandRefused
from aioresp.command import (
    KEY_SHOWN,
    PLAIN,
    SPECIAL,
    Result,
    as_bytes,
    full_name,
    locate,
    shown,
    words,
)
from aioresp.facts.catalogue import FORBIDDEN
from aioresp.facts.traits import traits
from aioresp.replies import as_is
from aioresp.testing import Server
from tests.cases import cases
from tests.spelled import CUT, SPELLED, LyingBytes, LyingStr

SECRET = "s3cr3t"


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("GET", "k"), "GET"),
        (("get", "k"), "GET"),
        ((b"get", b"k"), "GET"),
        (("PING",), "PING"),
        (("CLIENT", "REPLY", "OFF"), "CLIENT REPLY"),
        (("client", b"reply", "off"), "CLIENT REPLY"),
        (("CLIENT", bytearray(b"tracking"), "on"), "CLIENT TRACKING"),
        (("CLIENT", "LIST"), "CLIENT"),
        (("CLIENT",), "CLIENT"),
        (("OBJECT", "ENCODING", "k"), "OBJECT"),
        (("SET", "REPLY", "v"), "SET"),
        (("DEBUG", "PROTOCOL", "attrib"), "DEBUG PROTOCOL"),
        (("DEBUG", "SLEEP", 1), "DEBUG"),
        (("ECHO", b"\xff"), "ECHO"),
        (("INCRBY", "k", 1), "INCRBY"),
        (("client", "REPLY SKIP"), "CLIENT"),
        (("CLIENT", 10**5000), "CLIENT"),
        ((), ""),
    ],
    ids=lambda value: " ".join(str(part)[:20] for part in value[:1]) if isinstance(value, tuple) else str(value),
)
def test_full_name(arguments: tuple[Any, ...], name: str) -> None:
    assert full_name(arguments) == name


@pytest.mark.parametrize("spell", [*SPELLED.values(), *CUT.values()], ids=[*SPELLED, *CUT])
def test_names_and_options_in_any_spelling(spell: Callable[[str], Any]) -> None:
    assert full_name((spell("CLIENT"), spell("REPLY"), "SKIP")) == "CLIENT REPLY"
    assert traits((spell("SUBSCRIBE"), "c")).refusal
    assert traits((spell("SCRIPT"), spell("DEBUG"), "YES")).refusal
    assert traits((spell("ACL"), spell("LOG"))).binary
    assert traits((spell("VEMB"), "k", "e", spell("RAW"))).binary
    assert traits((spell("XINFO"), spell("STREAM"), "s")).read_only
    assert locate((spell("OBJECT"), spell("ENCODING"), "k")) == ("OBJECT", "'k'")
    assert traits((spell("BLPOP"), "k", spell("2"))).timeout == 2
    assert traits((spell("XREAD"), spell("BLOCK"), spell("500"), spell("STREAMS"), "s", "$")).timeout == 0.5
    assert traits((spell("XREAD"), spell("STREAMS"), "BLOCK", "5")).timeout is None
    group = (spell("XREADGROUP"), spell("BLOCK"), 0, spell("GROUP"), "BLOCK", "c", spell("STREAMS"), "s", ">")
    assert traits(group).timeout == 0


@cases("name", ["SUBSCRIBE", "BLPOP", "XREAD", "CLIENT", "DUMP", "POST", "HOST:"])
@cases("spell", [*SPELLED.values(), *CUT.values()], ids=[*SPELLED, *CUT])
def test_no_special_name_is_taken_for_a_plain_one(name: str, spell: Callable[[str], Any]) -> None:
    try:
        found = spell(name) in PLAIN
    except (TypeError, ValueError):
        found = False  # what can change has no hash
    assert not found


def test_plain_names_are_names() -> None:
    assert {"GET", "get", "SET", "OBJECT", "PING"} <= PLAIN
    assert not {str(name).upper() for name in PLAIN} & SPECIAL


async def test_the_names_of_all_methods_are_plain_or_special() -> None:
    """One that is neither is sent all the same, but takes the way round."""
    catalogue = json.loads((Path(__file__).parent / "data" / "catalogue.json").read_text(encoding="utf-8"))
    core = {name.partition(" ")[0] for name in catalogue if "." not in name}
    assert core - PLAIN - SPECIAL == set()


# --- What is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (("GET", "Foo"), ("GET", "Foo")),
        (("get", "Foo"), ("get", "Foo")),
        (("SET Foo Bar",), ("SET", "Foo", "Bar")),
        ((" set\tFoo\r\nBar ", "EX", 5), ("set", "Foo", "Bar", "EX", 5)),
        ((b"SET Foo Bar",), ("SET", "Foo", "Bar")),
        ((b"SET Foo \xff",), ("SET", "Foo", b"\xff")),
        ((bytearray(b"Object encoding"), "K"), ("Object", "encoding", "K")),
        ((memoryview(b"GET"), "K"), ("GET", "K")),
        ((LyingStr("Client Reply"), "skip"), ("Client", "Reply", "skip")),
        ((LyingBytes(b"Client Reply"), "skip"), ("Client", "Reply", "skip")),
        (("CLIENT", "REPLY SKIP"), ("CLIENT", "REPLY SKIP")),
        (('SET k "a b"',), ("SET", "k", '"a', 'b"')),
        (("GET\u00a0k",), ("GET\u00a0k",)),
        (("GET\x1ck",), ("GET\x1ck",)),
        (("GET\0", "k"), ("GET\0", "k")),
    ],
    ids=lambda value: type(value[0]).__name__,
)
def test_words(given: tuple[Any, ...], sent: tuple[Any, ...]) -> None:
    found = words(given)
    assert found == sent
    assert [type(part) for part in found] == [type(part) for part in sent]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((), TypeError, "call() needs the name of a command"),
        (("",), TypeError, "call(): the command's name is empty"),
        ((" \n",), TypeError, "call(): the command's name is empty"),
        ((b"",), TypeError, "call(): the command's name is empty"),
        ((10**5000,), TypeError, "call(): the command's name is int, not a word"),
        ((None,), TypeError, "call(): the command's name is NoneType, not a word"),
        ((["GET"],), TypeError, "call(): the command's name is list, not a word"),
        (("\udc80",), ValueError, "call(): the command's name has no UTF-8 form; pass bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_that_are_none(given: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        words(given)
    assert str(caught.value) == message
    assert caught.value.__context__ is None


def test_a_view_that_was_released_is_named() -> None:
    view = memoryview(b"GET")
    view.release()
    with pytest.raises(ValueError, match="the command's name is a memoryview that was released"):
        words((view,))
    with pytest.raises(ValueError, match="pattern 0 is a memoryview that was released"):
        as_bytes(view, "pattern 0")
    assert shown(view) == ""


@pytest.mark.parametrize("spell", SPELLED.values(), ids=SPELLED)
def test_the_names_of_channels_are_taken_exactly(spell: Callable[[str], Any]) -> None:
    name = as_bytes(spell("NEWS"), "channel 0")
    assert type(name) is bytes
    assert name.upper() == b"NEWS"


def test_what_is_no_name_of_a_channel() -> None:
    for name in (5, None, 1.5):
        with pytest.raises(TypeError, match="channel 0 is"):
            as_bytes(name, "channel 0")  # type: ignore[arg-type]


# --- What is refused -------------------------------------------------------------------------------------------------

ON_A_LEASE = [
    "SELECT 1", "AUTH pw", "HELLO 3", "RESET", "QUIT", "MULTI", "EXEC", "DISCARD", "WATCH k", "UNWATCH", "READONLY",
    "READWRITE", "ASKING", "WAIT 1 0", "WAITAOF 1 0 0", "CLIENT TRACKING ON", "CLIENT CACHING YES",
    "CLIENT NO-EVICT ON", "CLIENT NO-TOUCH ON", "CLIENT SETNAME n", "CLIENT SETINFO LIB-NAME n", "client setname n",
]  # fmt: skip
NOWHERE = [
    "SUBSCRIBE c", "PSUBSCRIBE c", "SSUBSCRIBE c", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "SYNC",
    "PSYNC ? -1", "REPLCONF ACK 0", "CLIENT REPLY OFF", "client reply skip", "DEBUG PROTOCOL attrib",
    "POST /", "Host: x", "CLUSTER SYNCSLOTS SYNC",
]  # fmt: skip
FREE = [
    "GET k", "PING", "CLIENT LIST", "CLIENT ID", "CLIENT", "CLIENT GETNAME", "PUBLISH c m", "PUBSUB CHANNELS",
    "EVAL s 0", "GET SELECT", "SET CLIENT REPLY", "ECHO MONITOR", "BLPOP k 0", "XREAD BLOCK 0 STREAMS k $",
    "DEBUG SLEEP 0", "ACL WHOAMI", "CONFIG GET save", "CLUSTER INFO", "XGROUP HELP",
]  # fmt: skip


@pytest.mark.parametrize("line", ON_A_LEASE)
def test_what_belongs_on_a_lease(line: str) -> None:
    arguments = tuple(line.split())
    why = traits(arguments).refusal
    assert why is not None
    assert "client.connection()" in why
    assert full_name(arguments) not in FORBIDDEN
    assert arguments[0].upper() in SPECIAL


@pytest.mark.parametrize("line", NOWHERE)
def test_what_is_refused_everywhere(line: str) -> None:
    arguments = tuple(line.split())
    assert traits(arguments).refusal
    assert full_name(arguments) in FORBIDDEN
    assert arguments[0].upper() in SPECIAL


@pytest.mark.parametrize("line", FREE)
def test_what_may_travel_anywhere(line: str) -> None:
    assert traits(tuple(line.split())).refusal is None


@cases("line", [*ON_A_LEASE, *NOWHERE])
async def test_a_client_refuses_and_says_why(line: str) -> None:
    async with Client("redis://127.0.0.1:1") as client:  # nobody listens there: nothing must be sent
        with pytest.raises(CommandRefused) as caught:
            await client.call(*line.split())
        assert str(caught.value).endswith(f"[{full_name(tuple(line.split()))}]")


@pytest.mark.parametrize("line", NOWHERE)
async def test_a_lease_refuses_what_would_break_it(server: Server, line: str) -> None:
    async with Client(server.url) as client, client.connection() as lease:
        with pytest.raises(CommandRefused):
            await lease.call(*line.split())
        assert await lease.ping() is True


@pytest.mark.parametrize(
    "name", ["SUBSCRIBE", "subscribe", "Subscribe", b"SUBSCRIBE", b"subscribe", b"sUBSCRIBE", "SUBSCRIBE\0"], ids=repr
)
async def test_the_seam_refuses_too(name: Any) -> None:
    async with Client("redis://127.0.0.1:1") as client:
        with pytest.raises(CommandRefused):
            await client.execute((name, "channel"), as_is)


def test_the_script_debugger_takes_the_connection_over() -> None:
    assert traits(("SCRIPT", "DEBUG", "YES")).refusal
    assert traits(("SCRIPT", "EXISTS", "0" * 40)).refusal is None


# --- What blocks -----------------------------------------------------------------------------------------------------


def brief(argument: object) -> str:
    return "huge" if argument == 10**5000 else str(argument)


@cases(
    "arguments, seconds",
    [
        (("GET", "k"), None),
        (("PING",), None),
        (("BLPOP", "k", 0), 0.0),
        (("blpop", "k", 1.5), 1.5),
        ((b"BLPOP", b"k", b"1.5"), 1.5),
        (("BLPOP", "a", "b", "7"), 7.0),
        (("BRPOP", "k", 3), 3.0),
        (("BRPOPLPUSH", "a", "b", 3), 3.0),
        (("BLMOVE", "a", "b", "LEFT", "RIGHT", 0.5), 0.5),
        (("BLMPOP", 0.5, 1, "k", "LEFT", "COUNT", 9), 0.5),
        (("BZPOPMIN", "z", 2), 2.0),
        (("BZPOPMAX", "z", 2), 2.0),
        (("BZMPOP", 2, 1, "z", "MIN"), 2.0),
        (("BLPOP", "k", "soon"), 0.0),
        (("BLPOP",), None),
        (("BLPOP", "k"), None),
        (("LPOP", "k", 3), None),
        # XREAD: only an option before STREAMS counts.
        (("XREAD", "STREAMS", "s", "$"), None),
        (("XREAD", "BLOCK", 0, "STREAMS", "s", "$"), 0.0),
        (("XREAD", "BLOCK", 1500, "STREAMS", "s", "$"), 1.5),
        (("xread", "count", 1, "block", b"250", "streams", "s", "$"), 0.25),
        (("XREAD", "BLOCK", 1500, "COUNT", 1, "STREAMS", "s", "$"), 1.5),
        (("XREAD", "STREAMS", "BLOCK", 0), None),
        (("XREAD", "STREAMS", "BLOCK", "500", 0, 0), None),
        (("XREAD", "COUNT", 1, "STREAMS", "STREAMS", "BLOCK", 0, 500), None),
        (("XREAD", "BLOCK", 100, "STREAMS", "BLOCK", 7), 0.1),
        (("XREAD", "BLOCK"), None),
        (("XREAD",), None),
        # XREADGROUP: the group and the consumer come first, and may be called anything.
        (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"), None),
        (("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">"), 0.0),
        (("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "BLOCK", 500, "NOACK", "STREAMS", "s", ">"), 0.5),
        (("XREADGROUP", "GROUP", "BLOCK", "5", "STREAMS", "s", ">"), None),
        (("XREADGROUP", "GROUP", "g", "BLOCK", "STREAMS", "s", ">"), None),
        (("XREADGROUP", "GROUP", "BLOCK", "BLOCK", "BLOCK", 500, "STREAMS", "BLOCK", ">"), 0.5),
        (("XREADGROUP", "GROUP", "STREAMS", "STREAMS", "BLOCK", 500, "STREAMS", "s", ">"), 0.5),
        (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "BLOCK", "500"), None),
        (("XREADGROUP",), None),
        # Its options come in any order, and the last of each kind counts.
        (("XREADGROUP", "BLOCK", 0, "GROUP", "g", "c", "STREAMS", "s", ">"), 0.0),
        (("XREADGROUP", "NOACK", "BLOCK", 500, "GROUP", "g", "c", "STREAMS", "s", ">"), 0.5),
        (("XREADGROUP", "COUNT", 1, "GROUP", "BLOCK", "7", "STREAMS", "s", ">"), None),
        (("XREADGROUP", "GROUP", "a", "b", "GROUP", "BLOCK", "7", "BLOCK", 500, "STREAMS", "s", ">"), 0.5),
        (("XREAD", "BLOCK", 1, "BLOCK", 0, "STREAMS", "s", "$"), 0.0),
        (("XREAD", "BLOCK", 0, "COUNT", 5, "BLOCK", 1500, "STREAMS", "s", "$"), 1.5),
        (("TS.READ", "k", "-"), None),
        (("TS.READ", "k", "BLOCK"), None),
        (("TS.READ", "BLOCK", "-"), None),
        (("TS.READ", "k", "-", "BLOCK", 500, 1), 0.5),
        (("ts.read", "k", "-", "MAX_COUNT", 5, "block", 0, 1), 0.0),
        # Time limits that the server refuses, or takes for more than there is.
        (("BLPOP", "k", float("nan")), 0.0),
        (("BLPOP", "k", float("inf")), 0.0),
        (("BLPOP", "k", 1e300), 0.0),
        (("BLPOP", "k", 10**5000), 0.0),
        # On a lease these too are held back by the server, for as many milliseconds.
        (("WAIT", 1, 500), 0.5),
        (("WAIT", 1, 0), 0.0),
        (("WAITAOF", 1, 0, 500), 0.5),
    ],
)
def test_blocking_timeout(arguments: tuple[Any, ...], seconds: float | None) -> None:
    assert traits(arguments).timeout == seconds


@pytest.mark.parametrize(
    ("arguments", "replaced"),
    [
        (("BLPOP", "k", 5), ("BLPOP", "k", 2)),
        (
            ("XREAD", "BLOCK", 1, "BLOCK", 5000, "STREAMS", "BLOCK", "5"),
            ("XREAD", "BLOCK", 1, "BLOCK", 2000, "STREAMS", "BLOCK", "5"),
        ),
        (
            ("XREADGROUP", "BLOCK", 5000, "GROUP", "g", "c", "STREAMS", "s", ">"),
            ("XREADGROUP", "BLOCK", 2000, "GROUP", "g", "c", "STREAMS", "s", ">"),
        ),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_the_time_limit_that_counts_is_replaced(arguments: tuple[Any, ...], replaced: tuple[Any, ...]) -> None:
    assert tuple(traits(arguments).with_timeout(2).arguments) == replaced


async def test_a_lease_waits_for_replicas_as_long_as_it_was_told(server: Server) -> None:
    async with Client(server.url, timeout=0.5) as client, client.connection() as lease:
        await lease.set("command:wait", 1, ex=60)
        assert await lease.wait(1, 800) == 0


# --- Where a command is in a message ---------------------------------------------------------------------------------


@cases(
    "arguments, command, key",
    [
        (("GET", "k"), "GET", "'k'"),
        (("get", b"k"), "GET", "'k'"),
        (("GET", ""), "GET", "''"),
        (("GET",), "GET", None),
        (("GET", b"\xff\n"), "GET", r"'\\xff\n'"),
        (("SET", "k", SECRET), "SET", "'k'"),
        (("SET", "k", 0), "SET", "'k'"),
        (("MSET", "a", SECRET, "b", SECRET), "MSET", "'a'"),
        (("PING", SECRET), "PING", None),
        (("ECHO", SECRET), "ECHO", None),
        (("AUTH", SECRET), "AUTH", None),
        (("AUTH", "me", SECRET), "AUTH", None),
        (("HELLO", 3, "AUTH", "me", SECRET), "HELLO", None),
        (("CONFIG", "SET", "requirepass", SECRET), "CONFIG", None),
        (("ACL", "SETUSER", "me", f">{SECRET}"), "ACL", None),
        (("CLIENT", "SETNAME", "n"), "CLIENT SETNAME", None),
        (("PUBLISH", "channel", SECRET), "PUBLISH", None),
        (("EVAL", "return 1", 0), "EVAL", None),
        (("EVAL", "return 1", 0, SECRET), "EVAL", None),
        (("EVAL", "return 1", "0", SECRET), "EVAL", None),
        (("EVAL", "return 1", b"0", SECRET), "EVAL", None),
        (("EVAL", "return 1", 1, "k", SECRET), "EVAL", "'k'"),
        (("EVALSHA", "0" * 40, b"1", "k", SECRET), "EVALSHA", "'k'"),
        (("EVAL", "return 1", "\u0663", SECRET), "EVAL", None),  # a digit, but not to the server
        (("EVAL", "return 1", 10**5000, SECRET), "EVAL", None),
        (("FCALL", "f", 0, SECRET), "FCALL", None),
        (("FCALL", "f", 1, "k"), "FCALL", "'k'"),
        (("BITOP", "AND", "dest", "a"), "BITOP", "'dest'"),
        (("OBJECT", "ENCODING", "k"), "OBJECT", "'k'"),
        (("object", b"freq", b"k"), "OBJECT", "'k'"),
        (("OBJECT", "HELP"), "OBJECT", None),
        (("MEMORY", "USAGE", "k"), "MEMORY", "'k'"),
        (("MEMORY", "DOCTOR"), "MEMORY", None),
        (("XGROUP", "CREATE", "s", "g", "$"), "XGROUP", "'s'"),
        (("ZUNION", 2, "a", "b"), "ZUNION", "'a'"),
        (("SINTERCARD", 1, "a"), "SINTERCARD", "'a'"),
        (("BLPOP", "k", 0), "BLPOP", "'k'"),
        (("XREAD", "COUNT", 1, "STREAMS", "s", 0), "XREAD", None),
        (("NOSUCHCOMMAND", SECRET), "NOSUCHCOMMAND", None),
    ],
)
def test_locate(arguments: tuple[Any, ...], command: str, key: str | None) -> None:
    assert locate(arguments) == (command, key)


@pytest.mark.parametrize("kind", [str, bytes, bytearray, memoryview])
def test_a_key_of_any_type_is_shown_alike(kind: Any) -> None:
    assert locate(("GET", "k" if kind is str else kind(b"k"))) == ("GET", "'k'")


def test_a_long_key_is_shortened() -> None:
    assert locate(("GET", "x" * (KEY_SHOWN - 2))) == ("GET", f"'{'x' * (KEY_SHOWN - 2)}'")
    assert locate(("GET", "x" * (KEY_SHOWN - 1))) == ("GET", f"'{'x' * (KEY_SHOWN - 1)}...")
    _, key = locate(("GET", b"\xff" * 10_000))
    assert key is not None
    assert len(key) == KEY_SHOWN + 3


# --- Facts, checked against the server -------------------------------------------------------------------------------


def test_every_blocking_command_of_the_catalogue_is_known() -> None:
    catalogue = json.loads((Path(__file__).parent / "data" / "catalogue.json").read_text(encoding="utf-8"))
    blocking = {name for name, facts in catalogue.items() if "blocking" in facts.get("flags", ())}
    assert len(blocking) >= 13
    arguments = ("BLOCK", "1", "2", "3", "4", "BLOCK", "1", "STREAMS")  # for each of them a time limit is among these
    assert blocking == {name for name in catalogue if traits((name, *arguments)).timeout is not None}


async def test_every_blocking_command_of_the_server_is_known(server: Server) -> None:
    async with Client(server.url) as r:
        blocking = {name.upper() for name in await r.call("ACL", "CAT", "blocking")}
    assert {"BLPOP", "XREAD"} <= blocking
    assert sorted(blocking - SPECIAL) == []


# --- What a command method returns -----------------------------------------------------------------------------------


def test_a_result_is_a_coroutine_to_whoever_asks() -> None:
    assert issubclass(Result, Coroutine)
    coroutine = Client().get("k")
    try:
        assert asyncio.iscoroutine(coroutine)
    finally:
        coroutine.close()
