"""Client class of redis-py over a shared client of aioresp, without redis-py's pool in between.

Owns the way of one command: arguments in, redis-py's own callback for the reply. Pipelines, subscriptions and commands
that change their connection go by way of redis-py's pool.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Self

import redis.asyncio as theirs
from redis.asyncio.sentinel import SentinelManagedConnection
from redis.client import EMPTY_RESPONSE, NEVER_DECODE

from aioresp.command import PLAIN
from aioresp.errors import ArgumentError, ResponseError
from aioresp.errors import RedisError as Failure
from aioresp.facts.traits import traits
from aioresp.redis.connection import SIMPLE, Engine
from aioresp.redis.errors import translated, with_errors
from aioresp.redis.installing import adopt
from aioresp.replies import as_is

#: Classes of replies that are not awaitable. A callback of a user's own may return something that is.
SETTLED: Final[frozenset[object]] = frozenset({bool, int, float, str, bytes, list, dict, set, type(None)})


class Redis(theirs.Redis):
    """redis.asyncio.Redis with its arguments and methods, at a multiple of its speed."""

    #: A connection without a socket, beside the pool; None where the pool makes connections of a user's own.
    _engine: Engine | None = None
    #: Whether a command such as SELECT has changed a connection of the pool: then all go there, as in redis-py.
    _changed = False

    if TYPE_CHECKING:  # redis-py's own says that it returns redis-py's class

        @classmethod
        def from_url(
            cls,
            url: str,
            single_connection_client: bool = False,
            auto_close_connection_pool: bool | None = None,
            **options: Any,
        ) -> Self:
            """Return a client for a URL."""
            ...

    else:  # the signatures stay redis-py's

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            engine = adopt(self.connection_pool)
            # It takes redis-py's pool to have one connection, to call redis_connect_func, or to ask a Sentinel.
            if engine is None or self.single_connection_client or isinstance(engine, SentinelManagedConnection):
                return
            if engine.redis_connect_func is None:
                self._engine = engine

        def set(self, name: Any, value: Any, ex: Any = None, *arguments: Any, **options: Any) -> Any:
            """Set a key. redis-py's own method takes as long to check its options as sending the command takes."""
            if not arguments and not options:
                if ex is None:
                    return self.execute_command("SET", name, value)
                if ex.__class__ is int:
                    return self.execute_command("SET", name, value, "EX", ex)
            return super().set(name, value, ex, *arguments, **options)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command, and return its reply by way of redis-py's callback."""
        engine, name, words, usual, blocks = self._engine, args[0], args, True, False
        if engine is None or engine.recodes or self._changed:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if name not in PLAIN:
            words = engine.words(args)
            facts = traits(words)
            if facts.refusal is not None:
                self._changed = facts.changes
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            blocks = facts.timeout is not None
            usual = not (facts.binary or facts.escaped)  # these aioresp decodes by rules of its own
        if not engine.is_connected:
            await engine.connect()
        decodes = NEVER_DECODE not in options
        try:
            call = (engine.text if usual and decodes else engine.raw).execute(words, as_is)
            reply = await (engine.while_open(call) if blocks else call)
        except ArgumentError:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # raises its own
        except Failure as error:
            if EMPTY_RESPONSE in options and isinstance(error, ResponseError):
                return options[EMPTY_RESPONSE]
            raise translated(error, engine.address) from error
        if name not in SIMPLE:
            name, reply = name.upper(), with_errors(reply)
            if decodes and not usual:
                reply = engine.decode(reply)
        callbacks: dict[Any, Any] = self.response_callbacks  # type: ignore[assignment]
        callback = dict.get(callbacks, name)  # `callbacks.get`, an override in Python, takes ten times as long
        if callback is None:
            return reply
        if options:
            options.pop("keys", None)
            options.pop(EMPTY_RESPONSE, None)
            options.pop(NEVER_DECODE, None)
        reply = callback(reply, **options)
        return await reply if reply.__class__ not in SETTLED and inspect.isawaitable(reply) else reply


from_url = Redis.from_url
