"""Waiting for a word on a channel, or for a time.

Owns one subscription, which shares the connection of all others of its event loop. Never decides what a word means: a
word may be missed or be one too many, so each of them only means "look again".
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakSet

from aioresp.client import Client
from aioresp.errors import ClientClosed, RedisError, ResponseError
from aioresp.pubsub.subscription import Subscription

log: Final = logging.getLogger("aioresp")

#: Seconds between two looks where the server gives no words: the user may not subscribe.
_POLL: Final = 0.1

#: Clients whose user may not subscribe, as was logged: a recipe may wait thousands of times.
_logged: Final[WeakSet[Client[bytes]]] = WeakSet()

#: Most words that are kept; they are all read together.
_WORDS: Final = 10_000


class Wake:
    """Wait of one task for words on a channel: `async with Wake(redis, channel) as wake: await wake.wait(5)`."""

    _is_logged = False  # set when the log has told that a task waits by time: others are silent

    def __init__(self, redis: Client[bytes], channel: bytes) -> None:
        self._redis = redis
        self._subscription: Subscription[Any] | None = redis.subscribe(channel, gaps=True, buffer=_WORDS)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_live(self) -> bool:
        """Whether the server counts it among the receivers of a word."""
        return self._subscription is not None

    async def open(self) -> None:
        """Subscribe: words from now on are not missed. A user who may not subscribe waits by time."""
        subscription = self._subscription
        assert subscription is not None, "it is opened once"
        try:
            await subscription.__aenter__()
        except ResponseError as error:
            self._fail(error)

    def close(self) -> None:
        """Leave the channel, without waiting."""
        if self._subscription is not None:
            self._subscription.end()
            self._subscription = None

    async def wait(self, seconds: float) -> bool:
        """Wait for a word for at most so many seconds; return whether one came, or may have been missed."""
        subscription = self._subscription
        if subscription is None:
            await asyncio.sleep(min(seconds, _POLL))
            return True
        try:
            if await subscription.get(max(seconds, 0.0)) is None:
                return False
            while subscription.waiting:  # they all say the same
                await subscription.get(0)
        except ClientClosed:
            raise
        except RedisError as error:  # it has ended: the user may subscribe no more
            self._fail(error)
        return True

    def _fail(self, error: RedisError) -> None:
        if self._redis not in _logged:
            _logged.add(self._redis)
            log.warning("waits by time, as a channel cannot be subscribed to: %s", error)
        self.close()
