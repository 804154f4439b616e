"""What a key holds, and copies of it: what is sent, and what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioresp import Client, ResponseError
from aioresp.testing import server as start_server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WHEN = datetime(2033, 5, 18, 3, 33, 20, tzinfo=UTC)

WIRE: Wire = [
    (lambda r: r.dump("k"), ("DUMP", "k")),
    (lambda r: r.restore("k", 0, b"\x00"), ("RESTORE", "k", 0, b"\x00")),
    (lambda r: r.restore("k", timedelta(seconds=1), b"\x00", replace=True), ("RESTORE", "k", 1000, b"\x00", "REPLACE")),
    (lambda r: r.restore("k", WHEN, b"\x00", absttl=True), ("RESTORE", "k", 2_000_000_000_000, b"\x00", "ABSTTL")),
    (lambda r: r.restore("k", 0, b"\x00", idletime=5), ("RESTORE", "k", 0, b"\x00", "IDLETIME", 5)),
    (lambda r: r.restore("k", 0, b"\x00", frequency=5), ("RESTORE", "k", 0, b"\x00", "FREQ", 5)),
    (lambda r: r.migrate("host", 6379, "k", 0, 500), ("MIGRATE", "host", 6379, "", 0, 500, "KEYS", "k")),
    (
        lambda r: r.migrate("host", 6379, ["a", b"b"], 1, timedelta(seconds=1), copy=True, replace=True),
        ("MIGRATE", "host", 6379, "", 1, 1000, "COPY", "REPLACE", "KEYS", "a", b"b"),
    ),
    (lambda r: r.migrate("h", 1, "k", 0, 5, auth="pw"), ("MIGRATE", "h", 1, "", 0, 5, "AUTH", "pw", "KEYS", "k")),
    (
        lambda r: r.migrate("h", 1, "k", 0, 5, auth="pw", username="me"),
        ("MIGRATE", "h", 1, "", 0, 5, "AUTH2", "me", "pw", "KEYS", "k"),
    ),
    (lambda r: r.object_encoding("k"), ("OBJECT", "ENCODING", "k")),
    (lambda r: r.object_freq("k"), ("OBJECT", "FREQ", "k")),
    (lambda r: r.object_idletime("k"), ("OBJECT", "IDLETIME", "k")),
    (lambda r: r.object_refcount("k"), ("OBJECT", "REFCOUNT", "k")),
]

REFUSED: Refused = [
    (
        lambda r: r.restore("k", 0, b"", idletime=1, frequency=1),
        ValueError,
        "RESTORE: idletime and frequency exclude each other",
    ),
    (lambda r: r.migrate("h", 1, [], 0, 5), ValueError, "MIGRATE: keys is empty"),
    (lambda r: r.migrate("h", 1, "k", 0, 5, username="me"), ValueError, "MIGRATE: username needs auth"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_dump_and_restore(r: Client[Any], text: Text, prefix: str) -> None:
    k, copy = f"{prefix}k", f"{prefix}copy"
    exactly(await r.dump(k), None)
    await r.hset(k, mapping={"field": "value"})
    dumped = await r.dump(k)
    assert type(dumped) is bytes
    exactly(await r.restore(copy, 100_000, dumped), True)
    exactly(await r.hgetall(copy), text({"field": "value"}))
    assert 90_000 < await r.pttl(copy) <= 100_000
    with pytest.raises(ResponseError, match="BUSYKEY"):
        await r.restore(copy, 0, dumped)
    exactly(await r.restore(copy, 0, memoryview(dumped), replace=True, idletime=7), True)
    exactly(await r.object_idletime(copy), 7)
    with pytest.raises(ResponseError, match="payload"):
        await r.restore(f"{prefix}other", 0, b"nonsense")


async def test_object(r: Client[Any], prefix: str) -> None:
    k = f"{prefix}k"
    await r.set(k, 12345)
    exactly(await r.object_encoding(k), "int")
    assert (await r.object_refcount(k) or 0) >= 1
    assert (await r.object_idletime(k)) in range(5)
    with pytest.raises(ResponseError, match="LFU"):
        await r.object_freq(k)
    exactly(await r.object_encoding(f"{prefix}none"), None)


async def test_migrate(own: Client[Any], text: Text, executable: str | None) -> None:
    with start_server(executable=executable) as other:
        exactly(await own.migrate(other.host, other.port, "none", 0, 5000, auth=other.password), False)
        await own.mset({"a": 1, "b": 2})
        exactly(await own.migrate(other.host, other.port, ["a", "b"], 1, 5000, copy=True, auth=other.password), True)
        exactly(await own.exists("a", "b"), 2)
        async with Client(other.url, db=1) as there:
            exactly(await there.mget("a", "b"), ["1", "2"])


async def test_object_freq(own: Client[Any], since: Since) -> None:
    await own.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        await own.set("k", 1)
        assert await own.object_freq("k") in range(256)
    finally:
        await own.config_set("maxmemory-policy", "noeviction")
