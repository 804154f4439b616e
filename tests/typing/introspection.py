"""The types of the commands about commands. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.introspection import Command, CommandDocs


async def both(r: Client[str], b: Client[bytes]) -> None:
    assert_type(await r.command(), dict[str, Command])
    assert_type(await b.command(), dict[str, Command])
    assert_type(await r.command_count(), int)
    assert_type(await r.command_docs("get"), dict[str, CommandDocs])
    assert_type(await r.command_getkeys("GET", "k"), list[str])
    assert_type(await b.command_getkeys("GET", "k"), list[bytes])
    assert_type(await r.command_getkeysandflags("GET", "k"), list[tuple[str, set[str]]])
    assert_type(await b.command_getkeysandflags("GET", "k"), list[tuple[bytes, set[str]]])
    assert_type(await r.command_info("get"), list[Command | None])
    assert_type(await r.command_list(), list[str])
