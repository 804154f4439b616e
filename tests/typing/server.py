"""The types of the commands about the server. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.server import Info, Module


async def text(r: Client[str]) -> None:
    assert_type(await r.config_get("max*"), dict[str, str])
    assert_type(await r.config_resetstat(), bool)
    assert_type(await r.config_rewrite(), bool)
    assert_type(await r.config_set("maxmemory", 0), bool)
    assert_type(await r.config_set({"maxmemory": 0}), bool)
    assert_type(await r.dbsize(), int)
    assert_type(await r.flushall(), bool)
    assert_type(await r.flushdb(), bool)
    assert_type(await r.info("stats"), Info)
    info = await r.info()
    assert_type(info.integer("total_commands_processed"), int)
    assert_type(info.number("used_cpu_sys"), float)
    assert_type(info.text("role"), str)
    assert_type(info.parts("db0"), Info)
    assert_type(await r.lolwut(), str)
    assert_type(await r.module_list(), list[Module])
    assert_type(await r.module_load("/m.so"), bool)
    assert_type(await r.module_loadex("/m.so", {"m.a": 1}), bool)
    assert_type(await r.module_unload("m"), bool)
    assert_type(await r.swapdb(0, 1), bool)
    assert_type(await r.time(), tuple[int, int])
    assert_type(await r.shutdown(), None)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.config_get("max*"), dict[str, bytes])
    assert_type(await b.info(), Info)
    assert_type(await b.lolwut(), str)
