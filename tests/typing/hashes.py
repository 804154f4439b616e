"""The types of the commands on hashes. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.hscan("h", no_values=True), tuple[int, list[str]])
    assert_type(await r.hdel("h", "f"), int)
    assert_type(await r.hexists("h", "f"), bool)
    assert_type(await r.hget("h", "f"), str | None)
    assert_type(await r.hgetall("h"), dict[str, str])
    assert_type(await r.hincrby("h", "f"), int)
    assert_type(await r.hincrbyfloat("h", "f"), float)
    assert_type(await r.hkeys("h"), list[str])
    assert_type(await r.hlen("h"), int)
    assert_type(await r.hmget("h", "f", "g"), list[str | None])
    assert_type(await r.hmget("h", ["f", 1]), list[str | None])
    assert_type(await r.hmset("h", {"f": 1}), bool)
    assert_type(await r.hrandfield("h"), str | None)
    assert_type(await r.hrandfield("h", None), str | None)
    assert_type(await r.hrandfield("h", 2), list[str])
    assert_type(await r.hrandfield("h", 2, False), list[str])
    assert_type(await r.hrandfield("h", 2, withvalues=True), list[tuple[str, str]])
    assert_type(await r.hscan("h"), tuple[int, dict[str, str]])
    assert_type(await r.hset("h", "f", "v"), int)
    assert_type(await r.hset("h", mapping={"f": 1, "g": "2"}), int)
    assert_type(await r.hset("h", items=["f", 1]), int)
    assert_type(await r.hsetnx("h", "f", "v"), bool)
    assert_type(await r.hstrlen("h", "f"), int)
    assert_type(await r.hvals("h"), list[str])


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.hget("h", "f"), bytes | None)
    assert_type(await b.hgetall("h"), dict[bytes, bytes])
    assert_type(await b.hkeys("h"), list[bytes])
    assert_type(await b.hmget("h", "f"), list[bytes | None])
    assert_type(await b.hrandfield("h"), bytes | None)
    assert_type(await b.hrandfield("h", -2), list[bytes])
    assert_type(await b.hrandfield("h", -2, withvalues=True), list[tuple[bytes, bytes]])
    assert_type(await b.hscan("h"), tuple[int, dict[bytes, bytes]])
    assert_type(await b.hvals("h"), list[bytes])


async def there_and_back(r: Client[str], b: Client[bytes]) -> None:
    """What `hgetall` returns can be given to `hset`."""
    await r.hset("copy", mapping=await r.hgetall("h"))
    await b.hset("copy", mapping=await b.hgetall("h"))
