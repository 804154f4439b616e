"""Observer of one node: calls the `events` hook for its connections and commands.

Owns the events of connecting, repeating, dropping and slow calls. Never made for a client without a hook.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from aioresp.command import Arguments, locate
from aioresp.errors import ConnectionLost, RedisError
from aioresp.events import ConnectFailed, ConnectionEnded, ConnectionMade, Dropped, Hook, Repeated, Slow, tell
from aioresp.wire.connection import Connection

T = TypeVar("T")

#: Seconds by which an idle server may answer a blocking command late: by default it looks at its clock ten times a
#: second (`hz`).
TICK: Final = 0.15

#: Seconds that the call under way has blocked on the server, in a list that its tasks share; None outside of `timing`.
_BLOCKED: Final[ContextVar[list[float] | None]] = ContextVar("aioresp_blocked", default=None)


class Observer:
    """Source of the events of one node, whose server is at the address `server`."""

    def __init__(self, hook: Hook, server: str, slow: float | None) -> None:
        self.hook = hook
        self.server = server
        self._slow = math.inf if slow is None else slow

    def connecting(self, connect: Callable[[], Awaitable[Connection]]) -> Callable[[], Awaitable[Connection]]:
        """Return `connect` with an event for each connection that it makes."""

        async def watched() -> Connection:
            start = time.perf_counter()
            connection = await connect()
            tell(self.hook, ConnectionMade(self.server, time.perf_counter() - start))
            connection.add_end_listener(self._ended)
            return connection

        return watched

    def _ended(self, connection: Connection) -> None:
        error = connection.error or ConnectionLost("the connection was lost")
        tell(self.hook, ConnectionEnded(self.server, connection.usage()[0], error))

    def failing(
        self, patience: Callable[[BaseException, int], float | None]
    ) -> Callable[[BaseException, int], float | None]:
        """Return `patience` with an event for each failure that it judges."""

        def watched(error: BaseException, failures: int) -> float | None:
            pause = patience(error, failures)
            tell(self.hook, ConnectFailed(self.server, error, failures, pause))
            return pause

        return watched

    def repeating(self, error: RedisError, attempt: int) -> None:
        """Tell that the command of `error` is sent again."""
        tell(self.hook, Repeated(self.server, error.command, error.key, error, attempt))

    def dropping(self, channel: str, dropped: int) -> None:
        """Tell that a subscription has dropped a message, its `dropped`-th."""
        tell(self.hook, Dropped(self.server, channel, dropped))

    def blocked(self, seconds: float, limit: float) -> None:
        """Note that the call under way was a blocking command on the server for `seconds`; it asked for `limit`."""
        times = _BLOCKED.get()
        if times is not None:
            times.append(min(seconds, limit + TICK))

    async def timing(self, arguments: Arguments, send: Callable[[], Awaitable[Any]]) -> Any:
        """Send a command, and tell of it if it was slow, without the time for which it was to block."""
        start = time.perf_counter()
        times: list[float] = []
        before = _BLOCKED.set(times)
        try:
            return await send()
        finally:
            try:
                _BLOCKED.reset(before)
            except ValueError:
                pass  # closed by hand in another context
            took = time.perf_counter() - start - sum(times)
            if took >= self._slow:
                tell(self.hook, Slow(self.server, *locate(arguments), took))
