"""The types of the commands about connections. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Literal, assert_type

from aioresp import Client, Lease


async def text(r: Client[str]) -> None:
    assert_type(await r.waitaof(1, 1, 1), tuple[int, int])
    assert_type(await r.client_getname(), str | None)
    assert_type(await r.client_id(), int)
    assert_type(await r.client_info(), dict[str, str])
    assert_type(await r.client_kill_filter(_id=1), int)
    assert_type(await r.client_list(), list[dict[str, str]])
    assert_type(await r.client_pause(1), bool)
    assert_type(await r.client_unblock(1), bool)
    assert_type(await r.client_unpause(), bool)
    assert_type(await r.echo("v"), str)
    assert_type(await r.ping(), Literal[True])
    assert_type(await r.ping("v"), str)
    assert_type(await r.acl_whoami(), str)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.client_getname(), bytes | None)
    assert_type(await b.client_info(), dict[str, str])
    assert_type(await b.echo("v"), bytes)
    assert_type(await b.ping(), Literal[True])
    assert_type(await b.ping("v"), bytes)
    assert_type(await b.acl_whoami(), str)


async def leased(r: Lease[str], b: Lease[bytes]) -> None:
    assert_type(await r.select(1), bool)
    assert_type(await r.wait(1, 100), int)
    assert_type(await r.get("k"), str | None)
    assert_type(await b.get("k"), bytes | None)
