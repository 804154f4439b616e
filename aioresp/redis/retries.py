"""Retry of redis-py that tries once: aioresp sends again beneath it what may be sent again.

Owns the difference between a call that failed and a connection that its user closes. Never repeats a call: a second
INCR after a lost reply would count twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.retry import Retry
from redis.exceptions import ConnectionError, TimeoutError


class Once(Retry):
    """The policy of a user of redis-py, by name: its number of retries and its pauses have no effect."""

    #: Set while the connection hears of a failure, cleared when it has.
    failing = False

    def __init__(self, policy: Retry) -> None:
        vars(self).update(vars(policy))

    async def call_with_retry(  # type: ignore[override]
        self, do: Callable[[], Awaitable[Any]], fail: Callable[..., Any], *_: Any, **options: Any
    ) -> Any:
        """Call once. After an error of the connection, tell `fail`, and raise the error."""
        try:
            return await do()
        except (ConnectionError, TimeoutError, OSError) as error:
            self.failing = True
            try:
                await (fail(error, 1) if options.get("with_failure_count") else fail(error))
            finally:
                self.failing = False
            raise
