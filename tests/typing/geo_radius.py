"""The types of the older searches for places. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.geo import Place


async def text(r: Client[str]) -> None:
    assert_type(await r.georadius("g", 15, 37, 200, unit="km"), list[str])
    assert_type(await r.georadius("g", 15, 37, 200, withdist=True), list[Place[str]])
    assert_type(await r.georadius("g", 15, 37, 200, withcoord=True), list[Place[str]])
    assert_type(await r.georadius("g", 15, 37, 200, withhash=True, withdist=True), list[Place[str]])
    assert_type(await r.georadius("g", 15, 37, 200, store="d"), int)
    assert_type(await r.georadius("g", 15, 37, 200, store_dist="d", count=5), int)
    assert_type(await r.georadius_ro("g", 15, 37, 200), list[str])
    assert_type(await r.georadius_ro("g", 15, 37, 200, withdist=True), list[Place[str]])
    assert_type(await r.georadiusbymember("g", "a", 200), list[str])
    assert_type(await r.georadiusbymember("g", "a", 200, withhash=True), list[Place[str]])
    assert_type(await r.georadiusbymember("g", "a", 200, store="d"), int)
    assert_type(await r.georadiusbymember_ro("g", "a", 200), list[str])
    assert_type(await r.georadiusbymember_ro("g", "a", 200, withcoord=True), list[Place[str]])


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.georadius("g", 15, 37, 200), list[bytes])
    assert_type(await b.georadius_ro("g", 15, 37, 200, withdist=True), list[Place[bytes]])
    assert_type(await b.georadiusbymember("g", "a", 200), list[bytes])
    assert_type(await b.georadiusbymember_ro("g", "a", 200, withdist=True), list[Place[bytes]])
