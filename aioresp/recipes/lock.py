"""Lock that is kept while its block runs, and that tells when it was lost.

Owns the keys of a lock and what its holder gets. Never promises more than one server can keep: see docs/locks.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Never

from aioresp.client import Client
from aioresp.elsewhere import advising
from aioresp.recipes.holding import METHODS, Held, Holding

if TYPE_CHECKING:
    from datetime import timedelta

#: Milliseconds for which the last fencing token is kept. Tokens without one before them come from the server's clock.
_FENCE: Final = 86_400_000


class HeldLock(Held):
    """A lock that is held."""

    @property
    def token(self) -> int:
        """Fencing token: greater than that of each earlier holder. Store it with what the block writes."""
        return self._token


@advising(METHODS)
class Lock(Holding[HeldLock]):
    """Lock with a name, for one block at a time in all processes: `async with Lock(redis, "report") as held: ...`.

    Its lease of `ttl` seconds is renewed by a thread, even while the event loop is blocked, for at most `max_hold`
    seconds (None: forever). If it is lost, the block is cancelled, and raises LockLost. `wait` is the number of seconds
    after which LockTimeout is raised: None waits forever, 0 tries once.

    `held.token` is a fencing token, which grows with each holder.
    """

    _entering = 'async with Lock(redis, "name") as held:'
    _kind = "lock"
    _keeps_turn = True

    def __init__(
        self,
        redis: Client[Any],
        name: str | bytes,
        ttl: float | timedelta = 10.0,
        *,
        wait: float | timedelta | None = None,
        max_hold: float | timedelta | None = None,
        **others: Never,
    ) -> None:
        super().__init__(redis, name, ttl, wait, max_hold, others)
        self._both = b"{%s}:lock" % self._tag, b"{%s}:fence" % self._tag

    async def locked(self) -> bool:
        """Return whether anybody holds it, as the server says."""
        return await self._books.redis.exists(self._both[0]) > 0

    async def owned(self) -> bool:
        """Return whether this object holds it, as the server says."""
        held = self._held
        return held is not None and await self._books.redis.get(self._both[0]) == held._id.encode()

    def _keys(self) -> tuple[bytes, ...]:
        return self._both

    def _arguments(self) -> tuple[int, ...]:
        return (_FENCE,)

    def _made(self, identity: str, token: int) -> HeldLock:
        return HeldLock(self._kind, self._tag, identity, token)
