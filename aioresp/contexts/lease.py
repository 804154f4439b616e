"""A connection of one's own: what was changed on it is undone, or the connection dropped, before anyone else gets it.

Owns the leased connection from entering to leaving. Never gives one back that owes a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from aioresp.command import (
    FORBIDDEN,
    AnyStr,
    Arguments,
    Result,
    Value,
    blocking_timeout,
    full_name,
    is_binary,
    locate,
    refusal,
)
from aioresp.commands import Commands
from aioresp.connection import Connection
from aioresp.errors import CommandRefused, RedisError
from aioresp.pool import Pool
from aioresp.protocol import pack
from aioresp.replies import as_is

T = TypeVar("T")

#: Seconds that a reply may come later than the server's own time limit of a blocking command.
GRACE: Final = 2.0


class Lease(Commands[AnyStr], Generic[AnyStr]):
    """All commands on one connection that nobody else uses meanwhile.

    Also those that change a connection or refer to what was sent on it before: SELECT, WATCH, WAIT, CLIENT TRACKING, ….
    """

    def __init__(self, pool: Callable[[], Pool[Connection]], decode: bool, timeout: float | None, why: str) -> None:
        self._find_pool = pool
        self._decode = decode
        self._timeout = timeout
        self._why = why
        self._pool: Pool[Connection] | None = None
        self._connection: Connection | None = None
        self._changed = False

    def __repr__(self) -> str:
        return f"Lease({self._connection!r})"

    async def __aenter__(self) -> Lease[AnyStr]:
        if self._connection is not None:
            raise RuntimeError("the lease was entered already")
        pool = self._find_pool()
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        holder = self._why if task is None else f"{self._why} in {task.get_name()}"
        deadline = None if self._timeout is None else loop.time() + self._timeout
        self._connection = await pool.lease(holder, deadline)
        self._pool = pool
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        pool, self._pool = self._pool, None
        assert connection is not None
        assert pool is not None
        if connection.in_flight or self._changed:
            pool.discard(connection)
        else:
            pool.give_back(connection)

    async def _execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        connection = self._connection
        if connection is None:
            raise RuntimeError("the lease is not entered, or was left")
        try:
            if full_name(arguments) in FORBIDDEN:
                raise CommandRefused(f"aioresp does not send this command: {refusal(arguments)}")
            packed = pack(arguments)
            if refusal(arguments) is not None:
                self._changed = True
            decode = self._decode and not is_binary(arguments)
            value = await connection.send(packed, decode, self._limit(arguments))
        except RedisError as failure:
            failure.command, failure.key = locate(arguments)
            raise
        return reply(value)

    if TYPE_CHECKING:

        def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
            """Send the command on the leased connection."""
            ...
    else:
        execute = _execute

    def call(self, *arguments: Value) -> Result[Any]:
        """Send any command on the leased connection and return its reply as the server gave it."""
        return self.execute(words(arguments), as_is)

    def _limit(self, arguments: Arguments) -> float | None:
        """Return how long to wait for the reply: a blocking command's own time limit replaces the client's."""
        held_back = blocking_timeout(arguments)
        if held_back is None:
            return self._timeout
        return held_back + GRACE if held_back else None


def words(arguments: tuple[Value, ...]) -> Arguments:
    """Return a command as it is looked up: its name in upper case, "CONFIG GET" as two words."""
    if not arguments:
        raise TypeError("call() needs the name of a command")
    name = arguments[0]
    if isinstance(name, bytes):
        name = name.decode("ascii", "replace")
    if not isinstance(name, str) or not name.strip():
        raise TypeError(f"call(): the command's name is {name!r}, not a word")
    return (*name.upper().split(), *arguments[1:])
