"""Types of locks and semaphores."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from aioresp import Client, Cluster
from aioresp.recipes import Held, HeldLock, Lock, LockLost, LockTimeout, Semaphore


async def locks(r: Client[str], raw: Client[bytes], cluster: Cluster[str]) -> None:
    async with Lock(r, "name", ttl=10) as held:
        assert_type(held, HeldLock)
        assert_type(held.token, int)
        assert_type(held.lost, str)
        held.raise_if_lost()
    lock = Lock(raw, b"name", timedelta(seconds=5), wait=0, max_hold=timedelta(minutes=1))
    assert_type(await lock.acquire(), HeldLock)
    assert_type(await lock.locked(), bool)
    assert_type(await lock.owned(), bool)
    await lock.release()
    Lock(cluster, "name", wait=None)
    Lock(r, "name", timeout=10)  # type: ignore[arg-type]  # it is `ttl`
    Lock(r, "name", ttl="10")  # type: ignore[arg-type]
    await lock.extend()  # type: ignore[attr-defined]  # it is renewed by itself


async def semaphores(r: Client[str], raw: Client[bytes]) -> None:
    async with Semaphore(r, "name", 3) as held:
        assert_type(held, Held)
        _ = held.token  # type: ignore[attr-defined]  # only a lock has one
    assert_type(await Semaphore(raw, "name", 3, ttl=5, wait=1.5).acquire(), Held)
    Semaphore(r, "name")  # type: ignore[call-arg]


def errors(lost: LockLost, late: LockTimeout) -> None:
    assert_type(lost.reason, str)
    assert_type(late.rest, float | None)
