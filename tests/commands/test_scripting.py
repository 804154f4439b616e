"""Scripts and functions: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from aioresp import Client, ResponseError
from aioresp.replies.scripting import Engine, Function, FunctionStats, Library, RunningFunction
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.eval("return 1", 0), ("EVAL", "return 1", 0)),
    (lambda r: r.eval(b"return 1", 1, "k", b"a", 2, 1.5), ("EVAL", b"return 1", 1, "k", b"a", 2, 1.5)),
    (lambda r: r.eval_ro("return 1", 1, "k", "a"), ("EVAL_RO", "return 1", 1, "k", "a")),
    (lambda r: r.evalsha("abc", 1, "k", "a"), ("EVALSHA", "abc", 1, "k", "a")),
    (lambda r: r.evalsha_ro("abc", 1, "k", "a"), ("EVALSHA_RO", "abc", 1, "k", "a")),
    (lambda r: r.fcall("f", 1, "k", "a"), ("FCALL", "f", 1, "k", "a")),
    (lambda r: r.fcall_ro("f", 1, "k", "a"), ("FCALL_RO", "f", 1, "k", "a")),
    (lambda r: r.function_delete("lib"), ("FUNCTION", "DELETE", "lib")),
    (lambda r: r.function_dump(), ("FUNCTION", "DUMP")),
    (lambda r: r.function_flush(), ("FUNCTION", "FLUSH", "SYNC")),
    (lambda r: r.function_flush(mode="ASYNC"), ("FUNCTION", "FLUSH", "ASYNC")),
    (lambda r: r.function_kill(), ("FUNCTION", "KILL")),
    (lambda r: r.function_list(), ("FUNCTION", "LIST")),
    (lambda r: r.function_list("l*", withcode=True), ("FUNCTION", "LIST", "LIBRARYNAME", "l*", "WITHCODE")),
    (lambda r: r.function_load("#!lua"), ("FUNCTION", "LOAD", "#!lua")),
    (lambda r: r.function_load("#!lua", replace=True), ("FUNCTION", "LOAD", "REPLACE", "#!lua")),
    (lambda r: r.function_restore(b"\x00"), ("FUNCTION", "RESTORE", b"\x00", "APPEND")),
    (lambda r: r.function_restore(b"\x00", "REPLACE"), ("FUNCTION", "RESTORE", b"\x00", "REPLACE")),
    (lambda r: r.function_restore(b"\x00", policy="FLUSH"), ("FUNCTION", "RESTORE", b"\x00", "FLUSH")),
    (lambda r: r.function_stats(), ("FUNCTION", "STATS")),
    (lambda r: r.script_exists("abc", b"def"), ("SCRIPT", "EXISTS", "abc", b"def")),
    (lambda r: r.script_flush(), ("SCRIPT", "FLUSH")),
    (lambda r: r.script_flush("SYNC"), ("SCRIPT", "FLUSH", "SYNC")),
    (lambda r: r.script_flush(sync_type="ASYNC"), ("SCRIPT", "FLUSH", "ASYNC")),
    (lambda r: r.script_kill(), ("SCRIPT", "KILL")),
    (lambda r: r.script_load("return 1"), ("SCRIPT", "LOAD", "return 1")),
    (lambda r: r.script_show("abc"), ("SCRIPT", "SHOW", "abc")),
]

REFUSED: Refused = [
    (lambda r: r.script_exists(), ValueError, "SCRIPT EXISTS: args is empty"),
]

ECHO: Final = "return {KEYS[1], ARGV[1], 5, false}"

LIBRARY: Final = """#!lua name=things
redis.register_function('double', function(keys, args) return 2 * tonumber(args[1]) end)
redis.register_function{function_name='first', callback=function(keys, args) return args[1] end,
                        description='The first, ü', flags={'no-writes', 'allow-stale'}}
redis.register_function{function_name='spin', callback=function() while true do end end, flags={'no-writes'}}
"""


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_eval(r: Client[Any], text: Text, prefix: str) -> None:
    exactly(await r.eval(ECHO, 1, f"{prefix}k", "ü"), [text(f"{prefix}k"), text("ü"), 5, None])
    exactly(await r.eval("return #ARGV", 0), 0)
    exactly(await r.eval("return redis.status_reply('FINE')", 0), text("FINE"))
    with pytest.raises(ResponseError, match="wrong"):
        await r.eval("return redis.error_reply('ERR wrong')", 0)


async def test_eval_of_resp3_types(r: Client[Any], text: Text, protocol: int) -> None:
    found = await r.eval("redis.setresp(3); return {map={a=true}}", 0)
    exactly(found, {text("a"): True} if protocol == 3 else [text("a"), 1])


async def test_eval_ro(r: Client[Any], text: Text, prefix: str, since: Since) -> None:
    since(7, 0)
    exactly(await r.eval_ro(ECHO, 1, f"{prefix}k", 2), [text(f"{prefix}k"), text("2"), 5, None])
    with pytest.raises(ResponseError, match="read-only"):
        await r.eval_ro("return redis.call('SET', KEYS[1], 1)", 1, f"{prefix}k")
    sha = await r.script_load(ECHO)
    exactly(await r.evalsha_ro(sha, 1, "k", "a"), [text("k"), text("a"), 5, None])


async def test_scripts(own: Client[Any], text: Text) -> None:
    sha, other = (hashlib.sha1(code.encode()).hexdigest() for code in (ECHO, "return 'other'"))
    exactly(await own.script_flush(), True)
    exactly(await own.script_exists(sha, other), [False, False])
    exactly(await own.script_load(ECHO), sha)
    exactly(await own.script_exists(sha, other.encode()), [True, False])
    exactly(await own.evalsha(sha, 1, "k", "a"), [text("k"), text("a"), 5, None])
    exactly(await own.script_flush("SYNC"), True)
    exactly(await own.script_flush("ASYNC"), True)
    with pytest.raises(ResponseError, match="NOSCRIPT"):
        await own.evalsha(sha, 1, "k", "a")


async def test_script_show(own: Client[Any], text: Text, since: Since) -> None:
    since(valkey=(8, 0))
    sha = await own.script_load("return 'ü'")
    exactly(await own.script_show(sha), text("return 'ü'"))
    with pytest.raises(ResponseError, match="NOSCRIPT"):
        await own.script_show("0" * 40)


async def test_script_kill(own: Client[Any]) -> None:
    with pytest.raises(ResponseError, match="NOTBUSY"):
        await own.script_kill()
    await own.config_set("lua-time-limit", 1)
    async with own.connection() as c, own.connection() as other:  # a busy server lets nobody in
        await other.ping()
        running = asyncio.create_task(c.eval("while true do end", 0))
        exactly(await once_it_runs(other.script_kill), True)
        with pytest.raises(ResponseError, match="killed"):
            await running


async def once_it_runs(kill: Callable[[], Awaitable[Any]]) -> Any:
    """Kill the script or function as soon as it runs."""
    while True:
        with contextlib.suppress(ResponseError):
            return await kill()


async def test_functions(own: Client[Any], text: Text, since: Since) -> None:
    since(7, 0)
    await own.function_flush()
    exactly(await own.function_list(), [])
    exactly(await own.function_load(LIBRARY), text("things"))
    with pytest.raises(ResponseError, match="already exists"):
        await own.function_load(LIBRARY)
    exactly(await own.function_load(LIBRARY, replace=True), text("things"))
    exactly(await own.fcall("double", 0, 21), 42)
    exactly(await own.fcall_ro("first", 1, "k", "ü"), text("ü"))
    exactly(await own.function_delete("things"), True)
    with pytest.raises(ResponseError, match="not found"):
        await own.function_delete("things")


async def test_function_list(own: Client[Any], text: Text, since: Since) -> None:
    since(7, 0)
    await own.function_flush("ASYNC")
    await own.function_load(LIBRARY)
    (library,) = await own.function_list()
    functions: list[Function[Any]] = [
        Function(text("double"), None, set()),
        Function(text("first"), text("The first, ü"), {"no-writes", "allow-stale"}),
        Function(text("spin"), None, {"no-writes"}),
    ]
    by_name = sorted(library.functions, key=lambda function: function.name)
    exactly(library.replace(functions=by_name), Library(text("things"), "LUA", functions, None))
    exactly((await own.function_list("thi*", withcode=True))[0].library_code, text(LIBRARY))
    exactly(await own.function_list("other"), [])


async def test_function_stats_and_kill(own: Client[Any], text: Text, since: Since) -> None:
    since(7, 0)
    with pytest.raises(ResponseError, match="NOTBUSY"):
        await own.function_kill()
    await own.function_flush()
    await own.function_load(LIBRARY)
    engines = {"LUA": Engine(libraries_count=1, functions_count=3)}
    exactly(await own.function_stats(), FunctionStats(None, engines))
    await own.config_set("busy-reply-threshold", 1)
    async with own.connection() as c, own.connection() as other:
        await other.ping()
        spinning = asyncio.create_task(c.fcall("spin", 0, "ü"))
        while (running := (await other.function_stats()).running_script) is None:
            pass
        command = text(["FCALL", "spin", "0", "ü"])
        exactly(running, RunningFunction(text("spin"), command, running.duration_ms))
        exactly(type(running.duration_ms), int)
        exactly(await other.function_kill(), True)
        with pytest.raises(ResponseError, match="killed"):
            await spinning


async def test_function_dump_and_restore(own: Client[Any], since: Since) -> None:
    since(7, 0)
    await own.function_flush()
    await own.function_load(LIBRARY)
    payload = await own.function_dump()
    exactly(type(payload), bytes)
    exactly(type(await own.call("FUNCTION", "DUMP")), bytes)
    async with own.connection() as lease:
        exactly(await lease.function_dump(), payload)
    with pytest.raises(ResponseError, match="already exists"):
        await own.function_restore(payload)
    exactly(await own.function_restore(payload, "REPLACE"), True)
    exactly(await own.function_restore(memoryview(payload), "FLUSH"), True)
    exactly(await own.function_delete("things"), True)
    exactly(await own.function_restore(payload), True)
    exactly(len(await own.function_list()), 1)
