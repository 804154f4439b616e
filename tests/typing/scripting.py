"""The types of the commands on scripts and functions. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

from aioresp import Client
from aioresp.replies.scripting import FunctionStats, Library


async def text(r: Client[str]) -> None:
    assert_type(await r.eval("return 1", 0), Any)
    assert_type(await r.eval_ro("return 1", 1, "k", 2), Any)
    assert_type(await r.evalsha("abc", 0), Any)
    assert_type(await r.evalsha_ro("abc", 0), Any)
    assert_type(await r.fcall("f", 0), Any)
    assert_type(await r.fcall_ro("f", 0), Any)
    assert_type(await r.function_delete("lib"), bool)
    assert_type(await r.function_dump(), bytes)
    assert_type(await r.function_flush(), bool)
    assert_type(await r.function_kill(), bool)
    assert_type(await r.function_list(), list[Library[str]])
    assert_type(await r.function_load("#!lua"), str)
    assert_type(await r.function_restore(b"\x00", "FLUSH"), bool)
    assert_type(await r.function_stats(), FunctionStats[str])
    assert_type(await r.script_exists("abc"), list[bool])
    assert_type(await r.script_flush(), bool)
    assert_type(await r.script_kill(), bool)
    assert_type(await r.script_load("return 1"), str)
    assert_type(await r.script_show("abc"), str)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.script_show("abc"), bytes)
    assert_type(await b.function_dump(), bytes)
    assert_type(await b.function_list(), list[Library[bytes]])
    assert_type(await b.function_load("#!lua"), bytes)
    assert_type(await b.function_stats(), FunctionStats[bytes])
    assert_type(await b.script_load("return 1"), str)
