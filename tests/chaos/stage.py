"""What a run takes place on: servers, the proxies before them, and a client for those who look after them.

Owns what stages of all kinds have in common, and what their keys are at the start. Never knows what the tasks do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from aioresp import Client, Pipeline
from aioresp.testing import Proxy, Server
from tests.chaos.jobs.base import STATIC
from tests.chaos.ledger import Ledger


class Stage:
    """Servers, and `direct`: a client past the proxies, for those who look after the servers."""

    def __init__(self, direct: Client[str], ledger: Ledger, seed: str) -> None:
        self.direct = direct
        self.ledger = ledger
        self.chance = Random(f"{seed}:world")

    @property
    def server(self) -> Server:
        """A server of the kind that all are."""
        raise NotImplementedError

    @property
    def proxy(self) -> Proxy:
        """The proxy before a server; where there are several, another one each time."""
        raise NotImplementedError

    @property
    def cuts(self) -> int:
        """How many connections the proxies have cut."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Note what happens, for those who want to know why a call took its time."""

    async def look(self) -> None:
        """Note it if a server has ended by itself, and start it again."""
        raise NotImplementedError

    async def heal(self) -> None:
        """Take all faults back."""
        raise NotImplementedError

    async def clients(self) -> int:
        """Return how many connections the servers have, but for those of `direct` and their own."""
        raise NotImplementedError

    def queue_static(self, p: Pipeline[str], remark: str = "") -> None:
        """Queue the writes of what never changes."""
        for n in range(STATIC):
            p.set(f"who:{n}", f"{remark}who:{n}=" + "x" * self.chance.choice((0, 10, 100, 1000, 20_000)))
            p.set(f"short:{n}", f"{remark}short:{n}")
            p.hset(f"whose:{n}", mapping={str(m): f"{remark}whose:{n}={m}" for m in range(5)})
            p.rpush(f"list:{n}", *(f"{remark}list:{n}={m}" for m in range(5)))


S = TypeVar("S", bound=Stage)


async def eventually(seconds: float, reached: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until the coroutine function `reached` returns True; return False after so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await reached():
                await asyncio.sleep(0.05)
            return True
    return False
