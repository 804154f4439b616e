"""The types of pipelines and transactions. Checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
from typing import Any, assert_type

from aioresp import Client, Function, Handle, Lease, Pipeline, Result, Script
from aioresp.commands import Commands


async def handles(r: Client[str], b: Client[bytes]) -> None:
    async with r.pipeline() as p:
        assert_type(p, Pipeline[str])
        name, hits = p.get("name"), p.incr("hits")
        assert_type(name, Handle[str | None])
        fields, made = p.hgetall("h"), p.set("k", 1)
        old = p.set("k", 1, get=True)
        p.set("forgotten", 1)
    assert_type(await name, str | None)
    assert_type(await hits, int)
    assert_type(await fields, dict[str, str])
    assert_type(await made, bool)
    assert_type(await old, str | None)
    async with b.pipeline(transaction=True) as q:
        assert_type(q, Pipeline[bytes])
        raw = q.get("name")
        members = q.smembers("s")
        anything = q.call("OBJECT", "ENCODING", "k")
    assert_type(await raw, bytes | None)
    assert_type(await members, set[bytes])
    assert_type(await anything, Any)
    assert_type(await asyncio.gather(raw, hits), tuple[bytes | None, int])
    assert_type(await asyncio.create_task(hits), int)


async def executing(p: Pipeline[str]) -> None:
    assert_type(await p.execute(), list[Any])
    assert_type(await p.execute(raise_on_error=False), list[Any])
    assert_type(len(p), int)


async def watching(r: Client[str]) -> None:
    async with r.pipeline(transaction=True) as p:
        assert_type(await p.watch("a", b"b"), bool)
        assert_type(await p.get("a"), str | None)
        assert_type(p.multi(), None)
        assert_type(await p.unwatch(), bool)
        assert_type(await p.reset(), None)


async def attempts(r: Client[str]) -> None:
    async def double(p: Pipeline[str]) -> int:
        value = int(await p.get("k") or 0)
        p.multi()
        p.set("k", 2 * value)
        return value

    def queue(p: Pipeline[str]) -> float:
        p.incr("n")
        return 1.5

    assert_type(await r.transaction(double, "k"), list[Any])
    assert_type(await r.transaction(double, "k", b"l", attempts=3), list[Any])
    assert_type(await r.transaction(double, "k", value_from_callable=True), int)
    assert_type(await r.transaction(queue, value_from_callable=True), float)

    def one(p: Pipeline[str]) -> Handle[int]:
        return p.incr("n")

    def another(p: Pipeline[str]) -> Result[int]:
        return p.incr("n")

    assert_type(await r.transaction(one, value_from_callable=True), int)
    assert_type(await r.transaction(another, value_from_callable=True), int)


async def on_a_lease(c: Lease[bytes]) -> None:
    assert_type(c.pipeline(), Pipeline[bytes])
    assert_type(c.pipeline(transaction=True), Pipeline[bytes])


def whoever_sends(c: Commands[str]) -> Result[int]:
    return c.incr("n")


async def a_pipeline_is_commands(p: Pipeline[str]) -> None:
    handle = whoever_sends(p)
    await p.execute()
    assert_type(await handle, int)


async def scripts(r: Client[str], c: Lease[bytes], p: Pipeline[str]) -> None:
    add = r.register_script("return 1", readonly=True)
    assert_type(add, Script)
    _ = assert_type(add(), Result[Any])
    assert_type(await add(keys=["k"], args=[1, "a", b"b"]), Any)
    assert_type(await add(["k"], [1], client=c), Any)
    handle = add(client=p)
    await p.execute()
    assert_type(await handle, Any)
    deposit = c.register_function("deposit", b"#!lua name=l", readonly=False)
    assert_type(deposit, Function)
    assert_type(await deposit(["k"], [1], client=p), Any)
    assert_type(await asyncio.create_task(deposit()), Any)
