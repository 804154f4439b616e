"""The types of the commands about connections. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Literal, assert_type

from aioresp import Client, Lease
from aioresp.replies.clients import Hello
from aioresp.replies.server import Module


async def text(r: Client[str]) -> None:
    assert_type(await r.echo("v"), str)
    assert_type(await r.ping(), Literal[True])
    assert_type(await r.ping("v"), str)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.echo("v"), bytes)
    assert_type(await b.ping(), Literal[True])
    assert_type(await b.ping("v"), bytes)


async def leased(r: Lease[str], b: Lease[bytes]) -> None:
    assert_type(await r.auth("secret"), bool)
    assert_type(await r.hello(3), Hello)
    assert_type((await b.hello()).modules, list[Module])
    assert_type(await r.quit(), bool)
    assert_type(await r.readonly(), bool)
    assert_type(await r.readwrite(), bool)
    assert_type(await r.reset(), bool)
    assert_type(await r.select(1), bool)
    assert_type(await r.wait(1, 100), int)
    assert_type(await r.waitaof(1, 1, 1), tuple[int, int])
    assert_type(await r.get("k"), str | None)
    assert_type(await b.get("k"), bytes | None)
