"""The types of the commands on keys. Checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from aioresp import Client

NOW = datetime.now(UTC)


async def text(r: Client[str]) -> None:
    assert_type(await r.copy("a", "b"), bool)
    assert_type(await r.delete("a", b"b"), int)
    assert_type(await r.exists("a"), int)
    assert_type(await r.expire("k", timedelta(seconds=1), nx=True), bool)
    assert_type(await r.expireat("k", NOW), bool)
    assert_type(await r.expiretime("k"), int)
    assert_type(await r.keys(), list[str])
    assert_type(await r.move("k", 1), bool)
    assert_type(await r.persist("k"), bool)
    assert_type(await r.pexpire("k", 1), bool)
    assert_type(await r.pexpireat("k", 1), bool)
    assert_type(await r.pexpiretime("k"), int)
    assert_type(await r.pttl("k"), int)
    assert_type(await r.randomkey(), str | None)
    assert_type(await r.rename("a", "b"), bool)
    assert_type(await r.renamenx("a", "b"), bool)
    assert_type(await r.scan(), tuple[int, list[str]])
    assert_type(await r.scan(0, match="a*", count=10, _type="hash"), tuple[int, list[str]])
    assert_type(await r.touch("a"), int)
    assert_type(await r.ttl("k"), int)
    assert_type(await r.type("k"), str)
    assert_type(await r.unlink("a"), int)
    cursor, page = await r.scan()
    assert_type(cursor, int)
    assert_type(page, list[str])


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.keys(b"a*"), list[bytes])
    assert_type(await b.randomkey(), bytes | None)
    assert_type(await b.scan(match=b"a*"), tuple[int, list[bytes]])
    assert_type(await b.type("k"), str)
