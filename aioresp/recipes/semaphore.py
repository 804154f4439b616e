"""Semaphore of so many places in all processes, each with a lease of its own.

Owns the key of a semaphore. Never counts: the server holds the places, each until its lease ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

from aioresp.client import Client
from aioresp.elsewhere import advising
from aioresp.recipes.checks import count
from aioresp.recipes.holding import METHODS, Held, Holding

if TYPE_CHECKING:
    from datetime import timedelta


@advising(METHODS)
class Semaphore(Holding[Held]):
    """Semaphore with a name, for `limit` blocks at a time in all processes: `async with Semaphore(redis, "api", 10):`.

    A place is kept and lost as a `Lock` is, and `ttl`, `wait` and `max_hold` are the same. Each process asks by its own
    `limit`: if it is lowered, nobody loses a place, and a new one is given when fewer are held.
    """

    _entering = 'async with Semaphore(redis, "name", 10):'
    _kind = "semaphore"
    _keeps_turn = False

    def __init__(
        self,
        redis: Client[Any],
        name: str | bytes,
        limit: int,
        ttl: float | timedelta = 10.0,
        *,
        wait: float | timedelta | None = None,
        max_hold: float | timedelta | None = None,
        **others: Never,
    ) -> None:
        self.limit = count("limit", limit, 1)
        super().__init__(redis, name, ttl, wait, max_hold, others)
        self._key = (b"{%s}:semaphore" % self._tag,)

    async def locked(self) -> bool:
        """Return whether all places are held, as the server says. A place that was lost counts until it is taken."""
        return await self._books.redis.zcard(self._key[0]) >= self.limit

    async def owned(self) -> bool:
        """Return whether this object holds a place, as the server says."""
        held = self._held
        return held is not None and await self._books.redis.zscore(self._key[0], held._id) is not None

    def _keys(self) -> tuple[bytes, ...]:
        return self._key

    def _arguments(self) -> tuple[int, ...]:
        return (self.limit,)

    def _made(self, identity: str, token: int) -> Held:
        return Held(self._kind, self._tag, identity, token)
