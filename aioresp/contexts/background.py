"""Background commands of a blocking call: sent on connections that others share, with no caller behind them.

Owns their place in the pool's line, and the timer of the next attempt. Never knows what the commands mean.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final

from aioresp.contexts.identity import knows, question
from aioresp.contexts.suspicion import leave
from aioresp.errors import (
    AskError,
    ClientClosed,
    ConnectError,
    ConnectionLost,
    MovedError,
    PoolTimeout,
    RedisError,
    ResponseError,
)
from aioresp.pool.pool import Pool
from aioresp.retry import wrong_server
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack

#: Seconds for which attempts go on: to end a command whose caller has gone, and then to put its elements back.
PATIENCE: Final = 10.0

#: Seconds between two attempts: the first pause, which doubles, and the longest.
PAUSES: Final = (0.002, 0.25)

#: Codes of errors that may pass by themselves.
PASSING: Final = frozenset(
    ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN")
)


#: Codes of errors by which a server refuses a write before it looks whether writes are held back: its role has changed
#: meanwhile, or its state.
REFUSING: Final = frozenset(
    ("ASK", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOREPLICAS", "OOM", "READONLY")
)

#: Guard that is held back with writes, and refused in none of these states.
_SCRIPT: Final = pack(("EVAL", "return 0", "0"))

#: Functions that return the pool of the server that a redirect names, by the pool whose server has sent it; or for
#: another error and a slot, the pool of the server that serves the slot by now. None for a server that is asked again
#: later. A cluster notes one for each of its pools, and other pools have none.
SUCCESSORS: Final[weakref.WeakKeyDictionary[Pool[Any], Callable[[RedisError, int | None], Pool[Connection] | None]]] = (
    weakref.WeakKeyDictionary()
)


class Elsewhere(ConnectionLost):
    """Connections lead to another server by now."""


def end_of(pool: Pool[Connection], closed: str = "the client was closed", more: str = "") -> RedisError:
    """Return why a pool ends what is under way: its server was left, or it was `closed`."""
    if pool.refusal is not None:
        return ConnectionLost(f"{pool.refusal.args[0]}{more}")
    return ClientClosed(f"{closed}{more}")


class Background:
    """Commands without a caller, and the pauses between attempts. `in_line` has the futures in the pool's line."""

    def __init__(
        self, pool: Pool[Connection], loop: asyncio.AbstractEventLoop, in_line: set[asyncio.Future[Any]]
    ) -> None:
        self.loop = loop
        self.in_line = in_line
        self._pool = pool
        #: Slot of the redirects that were followed; None before the first one.
        self._slot: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pause = 0.0
        self._give_up_at = 0.0
        self.begin()

    def send(
        self, packed: Packed, server_of: Connection | None = None, guard: Packed | None = None
    ) -> asyncio.Future[Any]:
        """Send a command on a shared connection; return the future of its reply.

        With `server_of`, it is for the server of that connection: a connection to another one does not send it.

        With `guard`, that command goes before, and the other one once the server has run it. A server that holds back
        writes holds back the guard.
        """
        future: asyncio.Future[Any] = self.loop.create_future()

        def start(connection: Connection, _: float | None) -> None:
            self.in_line.discard(future)
            if server_of is None or server_of is connection:
                send(connection)
                return
            if _elsewhere(server_of, connection):
                future.set_exception(Elsewhere("the pool has another server by now", "not sent"))
                return
            asking = question(self._pool, server_of)
            if asking is None:
                send(connection)
                return
            self.in_line.add(future)  # it can still be cancelled
            answer = connection.send(asking, False, PATIENCE)
            answer.add_done_callback(partial(verified, connection), context=Context())

        def verified(connection: Connection, answer: asyncio.Future[Any]) -> None:
            assert server_of is not None
            self.in_line.discard(future)
            if future.done():
                answer.exception()  # its caller needs no answer any more
                return
            try:
                same = knows(self._pool, server_of, answer)
            except Exception as error:
                future.set_exception(ConnectionLost(f"the server did not tell who it is: {error}", "not sent"))
                return
            if not same:
                future.set_exception(Elsewhere("the connection leads to another server", "not sent"))
            elif connection.lent or not connection.viable:
                future.set_exception(ConnectionLost("the connection is taken", "not sent"))
            else:
                send(connection)

        def send(connection: Connection) -> None:
            if guard is None:
                connection.send(packed, False, PATIENCE, future)
            else:
                stand_before(guard, connection)

        def stand_before(guard: Packed, connection: Connection) -> None:
            self.in_line.add(future)  # it can still be cancelled
            answer = connection.send(guard, False, PATIENCE)
            answer.add_done_callback(partial(guarded, guard, connection), context=Context())

        def guarded(guard: Packed, connection: Connection, answer: asyncio.Future[Any]) -> None:
            self.in_line.discard(future)
            error = answer.exception()
            if future.done():
                return  # its caller needs no answer any more
            if error is not None and not isinstance(error, ResponseError):
                future.set_exception(
                    ConnectionLost(f"the server did not answer what stood before: {error}", "not sent")
                )
            elif error is not None and guard is _SCRIPT:
                future.set_exception(error)
            elif connection.lent or not connection.viable:
                future.set_exception(ConnectionLost("the connection is taken", "not sent"))
            elif isinstance(error, ResponseError) and error.code in REFUSING:
                stand_before(_SCRIPT, connection)
            else:
                connection.send(packed, False, PATIENCE, future)

        self.in_line.add(future)
        try:
            self._pool.place(future, start, PATIENCE)
        except RedisError as error:
            self.in_line.discard(future)
            future.set_exception(error)
        return future

    def leave(self, error: BaseException) -> bool:
        """Let the pool leave its connections if `error` says that they lead to the wrong server; return whether so.

        After a redirect, the next commands go to the pool of the other server. If that one is replaced in turn, they go
        to its successor. It has heard of all that was done before the redirect, as far as any server has.
        """
        find = SUCCESSORS.get(self._pool)
        if find is not None and isinstance(error, (MovedError, AskError)):
            self._slot = error.slot if self._slot is None else self._slot
            self._pool = find(error, self._slot) or self._pool
            return True
        if find is not None and isinstance(error, RedisError) and self._slot is not None and self._pool.retired:
            self._pool = find(error, self._slot) or self._pool
            return True
        if not isinstance(error, RedisError) or not wrong_server(error):
            return False
        leave(self._pool, error.origin, error)
        return True

    def may_pass(self, error: BaseException) -> bool:
        """Return whether the command has had no effect, and another attempt may have one."""
        return passing(error) or (isinstance(error, (MovedError, AskError)) and self._pool in SUCCESSORS)

    # --- Attempts ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin attempts at something new, with the shortest pause and the whole `PATIENCE`."""
        self.cancel()
        self._pause = PAUSES[0]
        self._give_up_at = self.loop.time() + PATIENCE

    @property
    def exhausted(self) -> bool:
        """Whether attempts have gone on for too long."""
        return self.loop.time() > self._give_up_at

    def again(self, step: Callable[[], None]) -> None:
        """Call `step` after a pause, which is longer each time."""
        self.after(self._pause, step)
        self._pause = min(2 * self._pause, PAUSES[1])

    def after(self, seconds: float, step: Callable[[], None]) -> None:
        """Call `step` after so many seconds, in place of the step before."""
        self.cancel()
        self._timer = self.loop.call_later(seconds, step, context=Context())

    def cancel(self) -> None:
        """Call no step any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _elsewhere(own: Connection, other: Connection) -> bool:
    """Return whether connections certainly lead to different servers, by their addresses and greetings."""
    peers = own.peer, other.peer
    if None not in peers and peers[0] != peers[1]:
        return True
    if None not in (own.greeting.run_id, other.greeting.run_id) and own.greeting.run_id != other.greeting.run_id:
        return True
    return any(getattr(own.greeting, name) != getattr(other.greeting, name) for name in ("server", "version", "mode"))


def unsent(error: BaseException) -> bool:
    """Return whether `error` proves that the command was not sent."""
    if isinstance(error, ConnectionLost):
        return error.outcome == "not sent"
    return isinstance(error, (PoolTimeout, ConnectError, ClientClosed))


def passing(error: BaseException) -> bool:
    """Return whether the command has had no effect, and another attempt may have one."""
    if isinstance(error, ResponseError):
        return error.code in PASSING
    return unsent(error) and not isinstance(error, ClientClosed)
