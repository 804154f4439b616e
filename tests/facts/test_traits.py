"""Traits of commands, compared with what real servers say of the same commands."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

import aioresp
from aioresp import Client, RedisError
from aioresp.command import PLAIN
from aioresp.facts import traits as facts
from aioresp.facts.catalogue import CONTAINERS, KEYLESS, KEYS, OWN_WORDS, READ_ONLY, UNDOING
from aioresp.facts.traits import FOREVER, Traits, traits
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.cases import cases
from tests.commands.left_out import catalogue
from tests.servers import MATRIX
from tests.servers.chosen import marks_of

PACKAGE: Final = Path(aioresp.__file__).parent

#: Calls whose keys stand where only their own rules find them, and wrong calls.
ODD = """
    SORT k
    SORT k BY w* LIMIT 0 5 GET # STORE d
    SORT k STORE a STORE b
    SORT k STORE
    SORT k GET STORE x
    sort k store d
    SORT_RO k BY w*
    GEORADIUS k 1 2 3 m STORE d
    GEORADIUS k 1 2 3 m STOREDIST d
    GEORADIUS k 1 2 3 m STORE
    GEORADIUS k STORE 2 3 m
    GEORADIUSBYMEMBER k m 3 m STORE d
    GEORADIUSBYMEMBER k STORE 3 m STOREDIST d
    MIGRATE h 1 k 0 5
    MIGRATE h 1 k 0 5 COPY REPLACE
    MIGRATE h 1 '' 0 5 KEYS a b
    MIGRATE h 1 '' 0 5 COPY AUTH KEYS KEYS a b
    MIGRATE h 1 '' 0 5 AUTH2 u KEYS KEYS a b
    MIGRATE h 1 '' 0 5 AUTH pw KEYS a KEYS c
    MIGRATE h 1 '' 0 5 KEYS
    XREAD STREAMS a b 0 0
    XREAD COUNT 1 BLOCK 0 STREAMS a b 0 0
    XREAD STREAMS STREAMS 0
    XREADGROUP GROUP g c COUNT 1 STREAMS s t > >
    XREADGROUP GROUP STREAMS STREAMS STREAMS s >
    XREADGROUP GROUP g BLOCK BLOCK 5 STREAMS s >
    EVAL x 0
    EVAL x 0 a
    EVAL x 2 a b c
    EVALSHA x 1 a
    EVALSHA_RO x 1 a b
    FCALL x 2 a b c
    FCALL_RO x 0 a
    ZUNIONSTORE d 2 a b WEIGHTS 1 2
    ZINTERSTORE d 1 a
    ZDIFFSTORE d 1 a
    ZUNION 2 a b WITHSCORES
    LMPOP 2 a b LEFT
    BLMPOP 0 2 a b LEFT COUNT 3
    BZMPOP 0 1 a MIN
    ZINTERCARD 2 a b LIMIT 3
    MSET a 1 b 2
    MSET a 1 b
    BITOP AND d a b
    BLPOP a b 0
    OBJECT ENCODING k
    OBJECT HELP
    XINFO STREAM s FULL
    XGROUP CREATE s g $ MKSTREAM
    MEMORY USAGE k SAMPLES 5
    MEMORY DOCTOR
    COPY a b DB 1
    PFCOUNT a b
    SPUBLISH c m
    CONFIG GET k
    PING
    PING a
    ECHO a
    PUBLISH c m
    CLUSTER KEYSLOT k
    SCRIPT EXISTS k
    CLIENT KILL k
    DEBUG OBJECT k
    SWAPDB 0 1
    KEYS *
    SCAN 0
    MULTI
"""

#: Calls that the servers themselves read in two ways, and what is meant: the newest reading, or that of the command.
DISPUTED: dict[str, tuple[str, ...]] = {
    "GEORADIUS k 1 2 3 m STORE d STOREDIST e": ("k", "e"),
    "GEORADIUS k 1 2 3 m STOREDIST e STORE d": ("k", "d"),
    "SORT k STORE BY STORE c": ("k", "c"),
    "XREADGROUP BLOCK 0 GROUP STREAMS c STREAMS s >": ("s",),
    "EVAL x 01 a": (),
    "EVAL x -1 a": (),
    "EVAL x 2 a": (),
    "EVAL x y a": (),
    "EVAL x": (),
    "ZUNION 3 a b": (),
    "XREAD COUNT 1": (),
    "GET": (),
}

#: Calls to which shards and modules give a meaning that COMMAND GETKEYS of these servers does not tell.
FURTHER: dict[str, tuple[str, ...]] = {
    "SPUBLISH c m": ("c",),
    "SSUBSCRIBE a b": ("a", "b"),
    "MSETEX 2 a 1 b 2 EX 5": ("a", "b"),
    "LMOVEM a b LEFT RIGHT": ("a", "b"),
    "BLMOVEM a b LEFT RIGHT 0": ("a", "b"),
    "SUNIONCARD 2 a b LIMIT 3": ("a", "b"),
    "HIMPORT SET k f v": ("k",),
    "HIMPORT PREPARE f v": (),
    "DELEX k": ("k",),
    "DELIFEQ k v": ("k",),
    "ARMSET k 0 a 1 b": ("k",),
    "JSON.GET k $": ("k",),
    "JSON.MGET a b $": ("a", "b"),
    "JSON.MSET a $ 1 b $ 2": ("a", "b"),
    "JSON.DEBUG MEMORY k": ("k",),
    "JSON.DEBUG HELP": (),
    "TS.ADD k 1 2": ("k",),
    "TS.MADD a 1 2 b 3 4": ("a", "b"),
    "TS.CREATERULE a b AGGREGATION avg 1": ("a", "b"),
    "TS.MRANGE - + FILTER a=b": (),
    "BF.ADD k v": ("k",),
    "CMS.MERGE d 2 a b WEIGHTS 1 2": ("d", "a", "b"),
    "TDIGEST.MERGE d 1 a": ("d", "a"),
    "FT.SEARCH i q": (),
    "FT.SUGADD k s 1": ("k",),
    "NOSUCHCOMMAND k v": ("k",),
    "NOSUCHCOMMAND": (),
}


def split(line: str) -> list[str]:
    return ["" if part == "''" else part for part in line.split()]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def keys_of(line: str) -> tuple[Any, ...]:
    return traits(split(line)).keys


async def table_of(r: Client[Any]) -> dict[str, list[Any]]:
    """Return the server's command table, its subcommands among the commands."""
    found: dict[str, list[Any]] = {}
    entries = await r.call("COMMAND")
    for line in entries:
        found[line[0].upper()] = line
        for subcommand in line[9] if len(line) > 9 else ():
            found[subcommand[0].replace("|", " ").upper()] = subcommand
    return found


def example(name: str, arity: int) -> list[str]:
    """Return a call of a command with as many arguments as it takes, and some more if it may have them."""
    words = name.split()
    count = max(-arity + 4, 8) if arity < 0 else arity
    arguments = [*words, *(f"argument-{number}" for number in range(len(words), count))]
    places = KEYS.get(name)
    if places is not None and places[1] == 0:
        arguments[places[0]] = "2"
    elif name in ("ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"):
        arguments[2] = "2"
    elif name in ("XREAD", "XREADGROUP"):
        arguments[1:5] = ["STREAMS"] if name == "XREAD" else ["GROUP", "g", "c", "STREAMS"]
        arguments += [""] * ((len(arguments) - arguments.index("STREAMS") - 1) % 2)
    return arguments


async def server_keys(r: Client[Any], arguments: list[str]) -> tuple[str, ...] | None:
    """Return the keys of a call as the server finds them; None if it refuses the call."""
    try:
        return tuple(await r.call("COMMAND", "GETKEYS", *arguments))
    except RedisError as error:
        return () if "no key arguments" in str(error) else None


PROGRAMS = [
    pytest.param(
        wanted,
        id=wanted.name,
        marks=marks_of(wanted) if wanted.is_there else pytest.mark.skip(reason="not installed"),
    )
    for wanted in MATRIX
]


@pytest.mark.parametrize("wanted", PROGRAMS)
async def test_keys_and_flags_are_those_of_every_server_of_the_matrix(wanted: Any) -> None:
    async with start_server(executable=str(wanted.program)) as running:
        await compare(running)


async def test_keys_and_flags_are_those_of_the_server(server: Server) -> None:
    await compare(server)


async def compare(running: Server) -> None:
    """Ask the server for the keys of an example of every command that it has, and of the odd ones."""
    async with Client(running.url, protocol=2) as r:
        table = await table_of(r)
        old = "COMMAND DOCS" not in table  # Redis 6.2 knows no key specifications
        calls = [example(name, entry[1]) for name, entry in table.items() if " " in name or name not in CONTAINERS]
        calls += [] if old else [split(line) for line in lines(ODD)]
        wrong = []
        asked: set[str] = set()
        for arguments in calls:
            name = " ".join(arguments[:2]) if arguments[0] in CONTAINERS else arguments[0].upper()
            expected = await server_keys(r, arguments)
            if expected is None or name in ("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE", "CLUSTERSCAN"):
                continue
            asked.add(name)
            found = traits(arguments).keys
            if found != expected and not (old and set(found) == set(expected)):  # it tells the destination last
                wrong.append((arguments, expected, found))
    assert wrong == []
    known = {*KEYS, "XREAD", "XREADGROUP"} - {"SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE"}
    assert known & set(table) <= asked | ({name for name in known if " " in name} if old else set())
    if old:
        return
    flags = {name: set(entry[2]) for name, entry in table.items() if "container" not in entry[2]}
    differing = {
        name: flags[name]
        for name in flags
        if not (name in CONTAINERS and " " not in name)
        and traits(name.split()).read_only != ("readonly" in flags[name])
    }
    assert differing == {}


@pytest.mark.quick
@cases("line, keys", [*DISPUTED.items(), *FURTHER.items()])
def test_keys_that_no_server_tells(line: str, keys: tuple[str, ...]) -> None:
    assert keys_of(line) == keys


@pytest.mark.quick
def test_read_only_commands_are_those_of_the_catalogue() -> None:
    flagged = {name for name, facts in catalogue().items() if "readonly" in facts.get("flags", ())}
    containers = {name for name, facts in catalogue().items() if facts.get("container")}
    found = {name for name in catalogue() if traits(name.split()).read_only}
    # Valkey 9.1 flags CLUSTERSCAN, and its COMMAND DOCS, of which the catalogue is made, does not say so.
    assert found - containers - {"CLUSTERSCAN"} == flagged - containers


@pytest.mark.quick
def test_every_command_of_the_catalogue_has_keys_or_is_known_to_have_none() -> None:
    names = {name for name, facts in catalogue().items() if not facts.get("container")}
    unknown = {
        name
        for name in names
        if name not in KEYS and name.partition(" ")[0] not in KEYLESS and name not in ("XREAD", "XREADGROUP")
    }
    assert unknown == set()
    assert not KEYLESS & set(KEYS)


# --- How they are asked ----------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_traits_are_made_once_and_handed_on() -> None:
    facts = traits(("BRPOP", "k", 3))
    assert traits(facts) is facts
    assert (facts.name, facts.keys, facts.timeout, facts.undoing) == ("BRPOP", ("k",), 3.0, "RPUSH")
    assert repr(traits(("SET", "k", "s3cr3t"))) == "Traits(SET)"
    again = facts.with_timeout(1.5)
    assert (again.arguments, again.timeout) == (("BRPOP", "k", 1.5), 1.5)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (("BLPOP", "k", 0.001), ("BLPOP", "k", 0.002)),
        (("BLPOP", "k", b"1e-9"), ("BLPOP", "k", 0.002)),
        (("BLMPOP", 0.0015, 1, "k", "LEFT"), ("BLMPOP", 0.002, 1, "k", "LEFT")),
        (("BLPOP", "k", -0.001), ("BLPOP", "k", -1.0)),
        (("BLPOP", "k", 0.002), None),
        (("BLPOP", "k", 0), None),
        (("BLPOP", "k", "0.0"), None),
        (("BLPOP", "k", -1), None),
        (("BLPOP", "k", "nothing"), None),
        (("XREAD", "BLOCK", 1, "STREAMS", "k", "$"), None),
        (("WAIT", 1, 1), None),
        (("GET", "k"), None),
    ],
    ids=str,
)
def test_no_time_limit_is_taken_for_0(command: tuple[object, ...], sent: tuple[object, ...] | None) -> None:
    facts = traits(command)
    assert tuple(facts.served().arguments) == (sent or command)
    assert sent is not None or facts.served() is facts


@pytest.mark.quick
def test_names_that_nobody_knows_take_no_memory() -> None:
    from aioresp.facts import traits as module  # noqa: PLC0415 (the module, not the function of the same name)

    traits(("OBJECT", "ENCODING", "k"))
    before = len(module._FACTS)
    for number in range(100):
        traits((f"NOSUCH{number}", "k"))
        traits(("CLIENT", f"NOSUCH{number}", "k"))
    assert len(module._FACTS) <= before + 1  # CLIENT


@pytest.mark.quick
def test_a_name_has_the_traits_of_the_server_in_any_spelling() -> None:
    for name in ("blpop", b"BlPop", bytearray(b"BLPOP"), "BLPOP\0x"):
        facts = traits((name, b"k", b"1.5"))
        assert (facts.name, facts.keys, facts.timeout) == ("BLPOP", (b"k",), 1.5)


@pytest.mark.quick
def test_a_time_limit_that_is_none_counts_as_forever() -> None:
    assert traits(("BLPOP", "k", FOREVER)).timeout == 0.0
    assert traits(("BLPOP", "k", FOREVER - 1)).timeout == FOREVER - 1


@pytest.mark.quick
def test_the_tables_agree_with_each_other() -> None:
    assert set(UNDOING) <= set(KEYS)
    assert READ_ONLY & set(UNDOING) == set()
    assert not any("." in str(name) for name in PLAIN)
    assert not any("." in name for name in OWN_WORDS)
    assert isinstance(traits(()), Traits)
    assert traits(()).keys == ()


async def test_a_blocking_pop_asks_for_its_facts_once(server: Server, prefix: str) -> None:
    entered: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            entered.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")

    async with Client(server.url) as r:
        for _ in range(2):  # the first makes the connection
            entered.clear()
            await r.rpush(f"{prefix}list", "element")
            sys.setprofile(note)
            try:
                assert await r.brpop(f"{prefix}list", 1) == (f"{prefix}list", "element")
            finally:
                sys.setprofile(None)
    assert entered.count("traits.__init__") == 1
    assert entered.count("traits._seconds") == 1
    assert entered.count("arguments.word") <= 3  # 20 when each fact was asked for by itself
    assert not [name for name in entered if name.startswith("command.")]


@pytest.mark.parametrize("line", ["CONFIG GET a", "OBJECT ENCODING a", "XINFO STREAM a", "FUNCTION DUMP"])
def test_a_name_with_a_space_is_another_name(line: str) -> None:
    """To ask for the facts of "CONFIG GET" as one word, which no server knows, leaves those of CONFIG GET alone."""
    words = line.split()
    name = " ".join(words[:2])
    for kept in (facts._FACTS, facts._WITH_SUBCOMMAND):
        kept.pop(name, None)
    traits((name, *words[2:]))
    asked = traits(words)
    assert asked._facts.movable is facts._MOVABLE.get(words[0])
    assert (asked.own_words, asked.keys) == (True, tuple(words[2:]) if words[0] in ("OBJECT", "XINFO") else ())
