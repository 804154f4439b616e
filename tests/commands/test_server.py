"""The server itself: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from aioresp import Client, ConnectError, ConnectionLost, ResponseError
from aioresp.replies.server import Module
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.commands.conftest import make
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.config_get(), ("CONFIG", "GET", "*")),
    (lambda r: r.config_get("max*"), ("CONFIG", "GET", "max*")),
    (lambda r: r.config_get("max*", "save"), ("CONFIG", "GET", "max*", "save")),
    (lambda r: r.config_resetstat(), ("CONFIG", "RESETSTAT")),
    (lambda r: r.config_rewrite(), ("CONFIG", "REWRITE")),
    (lambda r: r.config_set("maxmemory", 0), ("CONFIG", "SET", "maxmemory", 0)),
    (lambda r: r.config_set(name="save", value=""), ("CONFIG", "SET", "save", "")),
    (lambda r: r.config_set({"a": 1, "b": "2"}), ("CONFIG", "SET", "a", 1, "b", "2")),
    (lambda r: r.dbsize(), ("DBSIZE",)),
    (lambda r: r.flushall(), ("FLUSHALL",)),
    (lambda r: r.flushall(asynchronous=True), ("FLUSHALL", "ASYNC")),
    (lambda r: r.flushdb(), ("FLUSHDB",)),
    (lambda r: r.flushdb(asynchronous=True), ("FLUSHDB", "ASYNC")),
    (lambda r: r.info(), ("INFO",)),
    (lambda r: r.info("stats"), ("INFO", "stats")),
    (lambda r: r.info("stats", "memory"), ("INFO", "stats", "memory")),
    (lambda r: r.lolwut(), ("LOLWUT",)),
    (lambda r: r.lolwut(version=5), ("LOLWUT", "VERSION", 5)),
    (lambda r: r.lolwut(5, 40, 10), ("LOLWUT", "VERSION", 5, 40, 10)),
    (lambda r: r.module_list(), ("MODULE", "LIST")),
    (lambda r: r.module_load("/m.so"), ("MODULE", "LOAD", "/m.so")),
    (lambda r: r.module_load("/m.so", "a", 1), ("MODULE", "LOAD", "/m.so", "a", 1)),
    (lambda r: r.module_loadex("/m.so"), ("MODULE", "LOADEX", "/m.so")),
    (
        lambda r: r.module_loadex(path="/m.so", options={"m.a": 1, "m.b": "2"}, args=["c", 3]),
        ("MODULE", "LOADEX", "/m.so", "CONFIG", "m.a", 1, "CONFIG", "m.b", "2", "ARGS", "c", 3),
    ),
    (lambda r: r.module_unload("m"), ("MODULE", "UNLOAD", "m")),
    (lambda r: r.shutdown(), ("SHUTDOWN",)),
    (lambda r: r.shutdown(save=True, now=True, force=True), ("SHUTDOWN", "SAVE", "NOW", "FORCE")),
    (lambda r: r.shutdown(nosave=True), ("SHUTDOWN", "NOSAVE")),
    (lambda r: r.shutdown(safe=True, failover=True), ("SHUTDOWN", "SAFE", "FAILOVER")),
    (lambda r: r.shutdown(abort=True), ("SHUTDOWN", "ABORT")),
    (lambda r: r.swapdb(0, 1), ("SWAPDB", 0, 1)),
    (lambda r: r.swapdb(first=0, second=1), ("SWAPDB", 0, 1)),
    (lambda r: r.time(), ("TIME",)),
]

REFUSED: Refused = [
    (lambda r: r.config_set({}), ValueError, "CONFIG SET: name is empty"),
    (lambda r: r.config_set("save"), ValueError, "CONFIG SET: save needs a value"),
    (lambda r: r.config_set({"save": ""}, "60 1"), ValueError, "CONFIG SET: value"),
    (lambda r: r.lolwut(None, 1), ValueError, "LOLWUT: args need a version"),
    (lambda r: r.shutdown(save=True, nosave=True), ValueError, "SHUTDOWN: save and nosave exclude each other"),
    (lambda r: r.shutdown(now=True, abort=True), ValueError, "SHUTDOWN: abort excludes all other options"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_config(own: Client[Any], text: Text) -> None:
    exactly(await own.config_set("maxmemory-policy", "allkeys-lru"), True)
    exactly(await own.config_get("maxmemory-policy"), {"maxmemory-policy": text("allkeys-lru")})
    exactly(await own.config_set("maxmemory-policy", "noeviction"), True)
    exactly(await own.config_get("no such thing"), {})
    assert len(await own.config_get()) > 100
    with pytest.raises(ResponseError):
        await own.config_set("no such thing", 1)


async def test_several_settings_at_once(own: Client[Any], text: Text, since: Since) -> None:
    since(7, 0)
    exactly(await own.config_set({"maxmemory-samples": 7, "lfu-decay-time": 2}), True)
    exactly(
        await own.config_get("maxmemory-samples", "lfu-decay-time"),
        {"maxmemory-samples": text("7"), "lfu-decay-time": text("2")},
    )


async def test_resetstat(own: Client[Any]) -> None:
    for _ in range(20):
        await own.ping()
    assert (await own.info("stats"))["total_commands_processed"] >= 20
    exactly(await own.config_resetstat(), True)
    assert (await own.info("stats"))["total_commands_processed"] < 20


async def test_databases(own: Client[Any], own_server: Server) -> None:
    exactly(await own.dbsize(), 0)
    await own.mset({"a": 1, "b": 2})
    exactly(await own.dbsize(), 2)
    async with Client(own_server.url, db=1) as other:
        await other.set("c", 3)
        exactly(await own.flushdb(), True)
        exactly(await own.dbsize(), 0)
        exactly(await other.dbsize(), 1)
        exactly(await own.flushall(), True)
        exactly(await other.dbsize(), 0)
    await own.set("a", 1)
    exactly(await own.flushdb(asynchronous=True), True)
    exactly(await own.flushall(asynchronous=True), True)
    exactly(await own.dbsize(), 0)


async def test_info(own: Client[Any], own_server: Server) -> None:
    await own.set("a", 1)
    everything = await own.info()
    exactly(everything["tcp_port"], own_server.port)
    exactly(everything["redis_mode" if own_server.flavour == "redis" else "server_mode"], "standalone")
    exactly({type(name) for name in everything}, {str})
    assert type(everything["mem_fragmentation_ratio"]) in (float, int)
    assert type(everything["used_cpu_sys"]) is float
    server = await own.info("server")
    assert server["tcp_port"] == own_server.port
    assert "db0" not in server
    version = server["redis_version" if own_server.flavour == "redis" else "valkey_version"]
    exactly(version, ".".join(map(str, own_server.version)))
    database = (await own.info("keyspace"))["db0"]
    exactly({name: database[name] for name in ("keys", "expires")}, {"keys": 1, "expires": 0})


async def test_info_keeps_what_only_looks_like_a_number(own: Client[Any]) -> None:
    exactly((await own.info("replication"))["master_replid2"], "0" * 40)


async def test_info_of_several_sections(own: Client[Any], since: Since) -> None:
    since(7, 0)
    said = await own.info("server", "clients")
    assert {"tcp_port", "connected_clients"} <= said.keys()
    assert "used_memory" not in said


async def test_config_rewrite(executable: str | None, protocol: int, decode: bool) -> None:
    with start_server(executable=executable) as running:
        async with make(running, protocol, decode) as r:
            await r.config_set("maxmemory-samples", 7)
            exactly(await r.config_rewrite(), True)
            file = str((await r.info("server"))["config_file"])
            assert "maxmemory-samples 7" in Path(file).read_text()


async def test_swapdb(own: Client[Any]) -> None:
    await own.set("k", 1)
    exactly(await own.swapdb(0, 1), True)
    exactly(await own.get("k"), None)
    exactly(await own.swapdb(first=1, second=0), True)
    assert await own.get("k") is not None


async def test_lolwut(r: Client[Any], server: Server) -> None:
    version = ".".join(map(str, server.version))
    for said in (await r.lolwut(), await r.lolwut(5), await r.lolwut(5, 20, 2, 2)):
        assert type(said) is str
        assert said.rstrip().endswith(f"ver. {version}")


async def test_modules(own: Client[Any], own_server: Server) -> None:
    for module in await own.module_list():
        exactly((type(module), type(module.name), type(module.ver)), (Module, str, int))
    with pytest.raises(ResponseError):
        await own.module_load("/no such module.so", "a")
    with pytest.raises(ResponseError):
        await own.module_unload("nonsense")


async def test_module_loadex(own: Client[Any], since: Since) -> None:
    since(7, 0)
    with pytest.raises(ResponseError):
        await own.module_loadex("/no such module.so", options={"m.a": 1}, args=["b"])


# --- The end of a server ----------------------------------------------------------------------------------------------


@pytest.fixture
async def doomed(executable: str | None, protocol: int, decode: bool) -> AsyncIterator[tuple[Server, Client[Any]]]:
    """A server that may be ended, and a client of it."""
    async with start_server(executable=executable) as running, make(running, protocol, decode) as client:
        yield running, client


async def test_shutdown(doomed: tuple[Server, Client[Any]]) -> None:
    server, r = doomed
    await r.set("k", 1)
    await r.shutdown(nosave=True)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(server.host, server.port)
    async with Client(server.url, retry=None) as late:
        with pytest.raises(ConnectError):
            await late.shutdown()


async def test_shutdown_on_a_lease(doomed: tuple[Server, Client[Any]]) -> None:
    _, r = doomed
    async with r.connection() as lease:
        await lease.shutdown()
        with pytest.raises(ConnectionLost):
            await lease.ping()


async def test_shutdown_is_sent_once(doomed: tuple[Server, Client[Any]], executable: str | None) -> None:
    """Who starts a server again that has ended does not want it ended again, however idempotent the caller is."""
    server, r = doomed
    eager = r.with_options(idempotent=True)
    await eager.shutdown(nosave=True)
    async with start_server(executable=executable, port=server.port):
        exactly(await eager.ping(), True)
        await asyncio.sleep(0.1)
        exactly(await eager.ping(), True)


async def test_a_server_that_does_not_end_says_why(own: Client[Any], since: Since) -> None:
    since(7, 0)
    with pytest.raises(ResponseError, match="No shutdown in progress"):
        await own.shutdown(abort=True)


async def test_shutdown_waits_for_replicas_and_is_taken_back(
    doomed: tuple[Server, Client[Any]], executable: str | None, since: Since
) -> None:
    since(7, 0)
    server, r = doomed
    await r.config_set("repl-diskless-sync-delay", 0)
    async with start_server(executable=executable) as follower:
        async with Client(follower.url) as replica:
            await replica.replicaof(server.host, server.port)
            with anyio.fail_after(10):
                while (await r.info("replication")).get("slave0", {}).get("state") != "online":
                    await asyncio.sleep(0.01)
        follower.pause()
        await r.set("k", 1)
        ending = asyncio.create_task(r.shutdown(nosave=True))
        with anyio.fail_after(5):
            while "shutdown_in_milliseconds" not in await r.info("server"):
                await asyncio.sleep(0.01)
        await r.shutdown(abort=True)
        with pytest.raises(ResponseError, match="SHUTDOWN"):
            await ending
        assert await r.get("k") is not None
        follower.resume()


async def test_a_lost_connection_is_no_shutdown(doomed: tuple[Server, Client[Any]]) -> None:
    """What was dead before SHUTDOWN was sent is an error: the server may live."""
    _, r = doomed
    async with r.connection() as lease:
        number = await lease.client_id()
        await r.client_kill_filter(_id=number)
        with pytest.raises(ConnectionLost):
            await lease.shutdown()
    exactly(await r.ping(), True)


async def test_time(r: Client[Any]) -> None:
    seconds, microseconds = clock = await r.time()
    exactly(clock, (int(seconds), int(microseconds)))
    assert abs(seconds - time.time()) < 100
    assert 0 <= microseconds < 1_000_000
