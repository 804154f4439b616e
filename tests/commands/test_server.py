"""The server itself: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from aioresp import Client, ResponseError
from aioresp.testing import Server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.bgsave(), ("BGSAVE", "SCHEDULE")),
    (lambda r: r.bgsave(schedule=False), ("BGSAVE",)),
    (lambda r: r.config_get(), ("CONFIG", "GET", "*")),
    (lambda r: r.config_get("max*"), ("CONFIG", "GET", "max*")),
    (lambda r: r.config_get("max*", "save"), ("CONFIG", "GET", "max*", "save")),
    (lambda r: r.config_resetstat(), ("CONFIG", "RESETSTAT")),
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
    (lambda r: r.lastsave(), ("LASTSAVE",)),
    (lambda r: r.publish("news", "hello"), ("PUBLISH", "news", "hello")),
    (lambda r: r.publish(channel=b"news", message=7), ("PUBLISH", b"news", 7)),
    (lambda r: r.save(), ("SAVE",)),
    (lambda r: r.time(), ("TIME",)),
]

REFUSED: Refused = [
    (lambda r: r.config_set({}), ValueError, "CONFIG SET: name is empty"),
    (lambda r: r.config_set("save"), ValueError, "CONFIG SET: save needs a value"),
    (lambda r: r.config_set({"save": ""}, "60 1"), ValueError, "CONFIG SET: value"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_config(own: Client[Any], text: Text) -> None:
    exactly(await own.config_set("maxmemory-policy", "allkeys-lru"), True)
    exactly(await own.config_get("maxmemory-policy"), text({"maxmemory-policy": "allkeys-lru"}))
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
        text({"maxmemory-samples": "7", "lfu-decay-time": "2"}),
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


async def test_saving(own: Client[Any]) -> None:
    before = await own.lastsave()
    assert type(before) is int
    exactly(await own.save(), True)
    assert time.time() - 100 < await own.lastsave() < time.time() + 100
    said = await own.bgsave()
    assert type(said) is str
    assert said.startswith("Background saving")
    while (await own.info("persistence"))["rdb_bgsave_in_progress"]:
        await asyncio.sleep(0.01)
    exactly(await own.bgsave(schedule=False), "Background saving started")
    while (await own.info("persistence"))["rdb_bgsave_in_progress"]:
        await asyncio.sleep(0.01)


async def test_publish(r: Client[Any], server: Server, prefix: str) -> None:
    exactly(await r.publish(prefix, "nobody hears it"), 0)
    reader, writer = await asyncio.open_connection(server.host, server.port)
    channel = prefix.encode()
    writer.write(b"*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%b\r\n" % (len(channel), channel))
    await reader.readuntil(b":1\r\n")
    exactly(await r.publish(channel, "hello"), 1)
    assert (await reader.readuntil(b"hello\r\n")).startswith(b"*3\r\n$7\r\nmessage\r\n")
    writer.close()
    await writer.wait_closed()


async def test_time(r: Client[Any]) -> None:
    seconds, microseconds = clock = await r.time()
    exactly(clock, (int(seconds), int(microseconds)))
    assert abs(seconds - time.time()) < 100
    assert 0 <= microseconds < 1_000_000
