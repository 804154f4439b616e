"""The types of the commands on places. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.geo import Place


async def text(r: Client[str]) -> None:
    assert_type(await r.geoadd("g", [1.5, 2, "a"]), int)
    assert_type(await r.geodist("g", "a", "b", "km"), float | None)
    assert_type(await r.geohash("g", "a"), list[str | None])
    assert_type(await r.geopos("g", "a"), list[tuple[float, float] | None])
    assert_type(await r.geosearch("g", "a", radius=1), list[str])
    assert_type(await r.geosearch("g", "a", radius=1, withcoord=True), list[Place[str]])
    assert_type(await r.geosearch("g", "a", radius=1, withdist=True), list[Place[str]])
    assert_type(await r.geosearch("g", "a", radius=1, withhash=True), list[Place[str]])
    assert_type(await r.geosearch("g", "a", radius=1, withhash=True, withdist=True), list[Place[str]])
    assert_type(await r.geosearchstore("d", "g", "a", radius=1), int)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.geohash("g", "a"), list[str | None])
    assert_type(await b.geosearch("g", "a", radius=1), list[bytes])
    assert_type(await b.geosearch("g", "a", radius=1, withdist=True), list[Place[bytes]])
