"""Client class of redis-py over a shared client of aioresp, without redis-py's pool in between.

Owns the way of one command: arguments in, redis-py's own callback for the reply. Pipelines, subscriptions and commands
that change their connection go by way of redis-py's pool, as ever.
"""

from __future__ import annotations

import inspect
from typing import Any

import redis.asyncio as theirs
from redis.client import EMPTY_RESPONSE, NEVER_DECODE

from aioresp.command import PLAIN
from aioresp.errors import ArgumentError, ResponseError
from aioresp.errors import RedisError as Failure
from aioresp.facts.traits import traits
from aioresp.redis.connection import KINDS, Engine
from aioresp.redis.errors import translated
from aioresp.redis.installing import adopt, make_connection
from aioresp.replies import as_is


class Redis(theirs.Redis):
    """redis.asyncio.Redis with its arguments and methods, at a multiple of its speed."""

    #: A connection without a socket, beside the pool; None where the class of the pool's connections is a user's own.
    _engine: Engine | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.connection_pool.connection_class in KINDS:
            adopt(self.connection_pool)
            if not self.single_connection_client:
                self._engine = make_connection(self.connection_pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command, and return its reply by way of redis-py's callback."""
        engine = self._engine
        if engine is None:
            return await super().execute_command(*args, **options)
        name, words = args[0], args
        if name not in PLAIN or engine.recodes:
            words = engine.words(args)
            if traits(words).refusal is not None:
                return await super().execute_command(*args, **options)
        if not engine.is_connected:
            await engine.connect()
        try:
            if engine.recodes or options.pop(NEVER_DECODE, False):
                reply = await engine.raw.execute(words, as_is)
            else:
                reply = await engine.text.execute(words, as_is)
        except ArgumentError:
            return await super().execute_command(*args, **options)
        except Failure as error:
            if EMPTY_RESPONSE in options and isinstance(error, ResponseError):
                return options[EMPTY_RESPONSE]
            raise translated(error, engine._host_error()) from error
        if engine.recodes:
            reply = engine.decode(reply)
        callback = self.response_callbacks.get(name)
        if callback is None:
            return reply
        if options:
            options.pop("keys", None)
            options.pop(EMPTY_RESPONSE, None)
            reply = callback(reply, **options)
        else:
            reply = callback(reply)
        return await reply if inspect.isawaitable(reply) else reply

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the client, and its pool if it made it; see redis-py."""
        await super().aclose(close_connection_pool)
        if self._engine is not None:
            await self._engine.disconnect()


def from_url(url: str, **options: Any) -> Redis:
    """Return a client for a URL; the same as `Redis.from_url`."""
    client: Redis = Redis.from_url(url, **options)
    return client
