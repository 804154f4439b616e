"""The catalogue compared with what the servers of the matrix know: no command is new to us, and no version is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import pytest

from aioresp import Client, UnknownCommandError
from aioresp.facts.catalogue import needed
from aioresp.facts.traits import traits
from aioresp.testing import Server
from tests.commands.exact import Since
from tests.commands.left_out import catalogue

#: Names of Redis 6.2 alone: two in case somebody speaks HTTP to it, and one whose place LCS took.
GONE: Final = {"HOST:", "POST", "STRALGO"}

#: Known to every server; Redis up to 6.2 does not list it.
UNLISTED: Final = {"QUIT"}


@pytest.fixture(scope="module")
def decode() -> Literal[True]:
    """Names are str in these tests."""
    return True


def has(server: Server, name: str) -> bool:
    """Return whether the server has the command, if the catalogue is right."""
    since = catalogue()[name]["since"].get(server.flavour)
    return since is not None and server.version >= tuple(map(int, since.split(".")))


async def names(r: Client[Any], server: Server) -> set[str]:
    """Return the names that the server knows; before 7.0 without subcommands."""
    if server.version >= (7,):
        found = await r.call("COMMAND", "LIST")
        for name in sorted(found):
            if catalogue().get(name.upper(), {}).get("container"):
                found += await r.call("COMMAND", "LIST", "FILTERBY", "PATTERN", f"{name}|*")
    else:
        found = [entry[0] for entry in await r.call("COMMAND")]
    return {name.upper().replace("|", " ") for name in found}


async def test_no_command_is_new_to_us(r: Client[Any], server: Server) -> None:
    """Names with a dot are a module's. All others belong into the catalogue, and then have a method or a reason."""
    new = {name for name in await names(r, server) if "." not in name} - catalogue().keys()
    assert sorted(new - GONE) == []


def words(arguments: list[Any]) -> set[str]:
    """Return the words of options in what COMMAND DOCS says of a command's arguments: maps, or lists of pairs."""
    found: set[str] = set()
    for item in arguments:
        facts = dict(pairs(item))
        found |= {facts.get("token", "").upper(), *words(facts.get("arguments", []))}
    return found


async def test_no_option_is_new_to_us(r: Client[Any], server: Server, since: Since) -> None:
    """Its word belongs into the catalogue, and then a method sends it or WORDS_LEFT_OUT says why not."""
    since(7, 0)
    new = {}
    for name, facts in documented(await r.call("COMMAND", "DOCS")):
        known = {token.upper() for token in catalogue()[name].get("tokens", ())}
        # "" is MIGRATE's, for the key that is not there.
        new[name] = sorted(words(facts.get("arguments", [])) - known - {"", '""'})
    assert {name: found for name, found in new.items() if found} == {}
    assert len(new) > 300


def documented(reply: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Find the facts of each command and each subcommand in a reply of COMMAND DOCS."""
    for name, facts in pairs(reply):
        facts = dict(pairs(facts))
        if "." not in name:
            yield name.upper().replace("|", " "), facts
        yield from documented(facts.get("subcommands", {}))


def pairs(reply: Any) -> Iterator[tuple[str, Any]]:
    return iter(reply.items()) if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)


async def test_the_versions_of_the_catalogue_are_right(r: Client[Any], server: Server) -> None:
    known = await names(r, server) | UNLISTED
    subcommands = server.version >= (7,)
    expected = {name for name in catalogue() if has(server, name) and (subcommands or " " not in name)}
    assert sorted(expected - known) == [], "the catalogue is too early"
    assert sorted((known & catalogue().keys()) - expected) == [], "the catalogue is too late"


async def test_what_a_server_does_not_know_it_says_so_and_we_say_where_it_is(r: Client[Any], server: Server) -> None:
    asked = 0
    for name in catalogue():
        container, _, subcommand = name.partition(" ")
        words = (container, subcommand) if subcommand else (name,)
        if has(server, name) or name.endswith(" HELP") or traits(words).refusal is not None:
            continue
        if container == "CLUSTER" and server.version < (7,):
            continue  # it says that it is no cluster, whatever was asked
        if subcommand and not has(server, container):
            name = container
        with pytest.raises(UnknownCommandError) as caught:
            await r.call(*words)
        message = str(caught.value)
        assert message.startswith(f"{name} needs {needed(name)}; the server said: ERR "), message
        asked += 1
    assert asked > 10
