"""Commands about commands: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp import Client, ResponseError
from aioresp.replies.introspection import Command, CommandArgument, CommandDocs, KeySpecification, KeyStep
from aioresp.testing import Server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.command(), ("COMMAND",)),
    (lambda r: r.command_count(), ("COMMAND", "COUNT")),
    (lambda r: r.command_docs(), ("COMMAND", "DOCS")),
    (lambda r: r.command_docs("get", "set"), ("COMMAND", "DOCS", "get", "set")),
    (lambda r: r.command_getkeys("MSET", "a", 1, b"b", 2), ("COMMAND", "GETKEYS", "MSET", "a", 1, b"b", 2)),
    (lambda r: r.command_getkeysandflags("GET", b"a"), ("COMMAND", "GETKEYSANDFLAGS", "GET", b"a")),
    (lambda r: r.command_info(), ("COMMAND", "INFO")),
    (lambda r: r.command_info("get", "set"), ("COMMAND", "INFO", "get", "set")),
    (lambda r: r.command_list(), ("COMMAND", "LIST")),
    (lambda r: r.command_list(module="json"), ("COMMAND", "LIST", "FILTERBY", "MODULE", "json")),
    (lambda r: r.command_list(category="read"), ("COMMAND", "LIST", "FILTERBY", "ACLCAT", "read")),
    (lambda r: r.command_list(pattern="x*"), ("COMMAND", "LIST", "FILTERBY", "PATTERN", "x*")),
]

REFUSED: Refused = [
    (
        lambda r: r.command_list(module="json", pattern="x*"),
        ValueError,
        "COMMAND LIST: module and pattern exclude each other",
    ),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


FIRST_ARGUMENT = KeySpecification(
    {"RO", "access"}, KeyStep("index", {"index": 1}), KeyStep("range", {"lastkey": 0, "keystep": 1, "limit": 0}), None
)


async def test_command_info(r: Client[Any], server: Server) -> None:
    get, nothing, xgroup = await r.command_info("GET", "nonsense", "xgroup")
    specifications = [FIRST_ARGUMENT] if server.version >= (7,) else []
    categories = {"@read", "@string", "@fast"}
    exactly(get, Command("get", 2, {"readonly", "fast"}, 1, 1, 1, categories, [], specifications, {}))
    exactly(nothing, None)
    assert xgroup is not None
    exactly("xgroup|create" in xgroup.subcommands, server.version >= (7,))


async def test_all_commands(r: Client[Any], server: Server) -> None:
    commands = await r.command()
    exactly(len(commands), await r.command_count())
    exactly((commands["mset"].name, commands["mset"].step_count), ("mset", 2))
    if server.version >= (7,):
        exactly(commands["xgroup"].subcommands["xgroup|create"].first_key_pos, 2)
        search = commands["xread"].key_specifications[0].begin_search
        exactly(search, KeyStep("keyword", {"keyword": "STREAMS", "startfrom": 1}))
        exactly(type(commands["sort"].key_specifications[1].notes), str)
        exactly(commands["dbsize"].tips, ["request_policy:all_shards", "response_policy:agg_sum"])


async def test_command_docs(r: Client[Any], server: Server, since: Since) -> None:
    since(7, 0)
    docs = await r.command_docs("getex", "xgroup", "nonsense", "substr")
    exactly(sorted(docs), ["getex", "substr", "xgroup"])
    getex = docs["getex"]
    exactly((getex.since, getex.group, getex.complexity, getex.module), ("6.2.0", "string", "O(1)", None))
    key, expiration = getex.arguments
    exactly((key.name, key.type, key.key_spec_index, key.flags, key.arguments), ("key", "key", 0, set(), []))
    exactly((expiration.type, expiration.flags), ("oneof", {"optional"}))
    ex = expiration.arguments[0]
    exactly((type(ex), ex.token, ex.type, ex.since), (CommandArgument, "EX", "integer", None))
    create = docs["xgroup"].subcommands["xgroup|create"]
    exactly((type(create), create.history[0][0]), (CommandDocs, "7.0.0"))
    if server.flavour == "redis":  # Valkey 9 advises against it no more
        exactly((docs["substr"].doc_flags, docs["substr"].deprecated_since), ({"deprecated"}, "2.0.0"))
    assert len(await r.command_docs()) > 200


async def test_getkeys(r: Client[Any], text: Text) -> None:
    exactly(await r.command_getkeys("MSET", "a", 1, "ü", 2), text(["a", "ü"]))
    with pytest.raises(ResponseError, match="no key arguments"):
        await r.command_getkeys("ECHO", "v")


async def test_getkeysandflags(r: Client[Any], text: Text, since: Since) -> None:
    since(7, 0)
    found = await r.command_getkeysandflags("LMOVE", "a", "ü", "left", "right")
    exactly(found, [(text("a"), {"RW", "access", "delete"}), (text("ü"), {"RW", "insert"})])


async def test_command_list(r: Client[Any], since: Since) -> None:
    since(7, 0)
    assert len(await r.command_list()) > 200
    exactly(sorted(await r.command_list(pattern="xre*")), ["xread", "xreadgroup", "xrevrange"])
    assert "eval" in await r.command_list(category="scripting")
    exactly(await r.command_list(module="nonsense"), [])
