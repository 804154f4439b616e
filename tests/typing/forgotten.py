"""Calls that are not awaited: both checkers report them. Checked by mypy and pyright, never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from aioresp import Client, Lease, Pipeline, Script


async def forgotten(r: Client[str], c: Lease[bytes], p: Pipeline[str], script: Script) -> None:
    r.set("k", "v")  # type: ignore[unused-coroutine]
    r.set("k", "v", get=True)  # type: ignore[unused-coroutine]
    r.call("PING")  # type: ignore[unused-coroutine]
    c.select(1)  # type: ignore[unused-coroutine]
    script(["k"], [1])  # type: ignore[unused-coroutine]
    p.execute()  # type: ignore[unused-coroutine]


async def queued(p: Pipeline[str], script: Script) -> None:
    p.set("k", "v")
    p.set("k", "v", get=True)
    p.call("PING")
    script(["k"], [1], p)
    script(keys=["k"], client=p)
    await p.execute()
