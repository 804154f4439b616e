"""The types of the commands on expiring fields. Checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.hexpire("h", 10, "f"), list[int])
    assert_type(await r.hpexpire("h", timedelta(1), "f"), list[int])
    assert_type(await r.hexpireat("h", datetime.now(), "f"), list[int])
    assert_type(await r.hpexpireat("h", 5, "f"), list[int])
    assert_type(await r.hexpiretime("h", "f"), list[int])
    assert_type(await r.hpexpiretime("h", "f"), list[int])
    assert_type(await r.hpersist("h", "f"), list[int])
    assert_type(await r.httl("h", "f"), list[int])
    assert_type(await r.hpttl("h", "f"), list[int])
    assert_type(await r.hgetdel("h", "f"), list[str | None])
    assert_type(await r.hgetex("h", "f", ex=5), list[str | None])
    assert_type(await r.hsetex("h", "f", "v"), bool)
    assert_type(await r.himport_prepare("s", "f"), bool)
    assert_type(await r.himport_set("h", "s", "v"), bool)
    assert_type(await r.himport_discard("s"), bool)
    assert_type(await r.himport_discardall(), int)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.hgetdel("h", "f"), list[bytes | None])
    assert_type(await b.hgetex("h", "f"), list[bytes | None])
