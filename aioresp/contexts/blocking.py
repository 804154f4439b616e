"""One blocking command, from sending it until its connection is free again, whether its caller waits or has gone.

Owns the connection for that time. When the caller goes (cancelled, too late, the client closed), it is released at
once, and what follows is done behind it, by callbacks: CLIENT UNBLOCK ends the command on the server, its reply is
read, and what it had popped is put back. There is no task in this: nobody can cancel it, and nothing is left when the
loop ends. Never drops an element without a word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aioresp.batch import undecodable
from aioresp.command import Arguments, blocking_timeout, locate
from aioresp.connection import Connection
from aioresp.errors import (
    ClientClosed,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    PoolTimeout,
    RedisError,
    ResponseError,
)
from aioresp.guard import LONGEST
from aioresp.pool import Pool
from aioresp.popped import Lost, Popped, guard, popped, takes
from aioresp.protocol import Packed, pack

logger = logging.getLogger("aioresp")

#: What is called with the elements that could not be put back.
OnLost = Callable[[Lost], object]

#: Seconds that a reply may come later than the server's own time limit of a blocking command.
GRACE: Final = 2.0

#: Seconds that a blocking command whose caller has gone has to come to its end, and then an element to be put back.
PATIENCE: Final = 10.0

#: Seconds between two attempts: the first pause, which doubles, and the longest.
PAUSES: Final = (0.002, 0.25)

#: Codes of errors that pass by themselves, perhaps in time.
_PASSING: Final = frozenset(
    ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN")
)


class Blocking:
    """A blocking command under way. `done` tells, once all is over, whether the connection can be used again."""

    def __init__(
        self,
        pool: Pool[Connection],
        connection: Connection,
        arguments: Arguments,
        decode: bool,
        on_lost: OnLost | None,
        private: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._connection = connection
        self._arguments = arguments
        self._takes = takes(arguments)
        # What may have to be put back is read as bytes: it need not be text, and must come back as it was.
        self._decode = decode and self._takes
        self._on_lost = on_lost
        self._private = private  # whether the connection is in a state of its own: another database, perhaps
        self._clean = True
        self._known = False  # the reply, for which nobody waits any more, has been looked at
        self._settled = False  # the outcome is known, and what was popped is with the caller, put back, or reported
        self._unblocking: asyncio.Future[Any] | None = None
        self._in_line: set[asyncio.Future[Any]] = set()  # what waits for a connection, and has not been sent
        self._popped: Popped | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pause, self._give_up_at = 0.0, 0.0
        self._why = "its connection ended"
        self.left = False  # the caller has gone
        self.done: asyncio.Future[bool] = self._loop.create_future()
        self._caller: asyncio.Future[Any] = self._loop.create_future()
        self._reply = connection.send(pack(arguments), decode and not self._takes, None)
        self._reply.add_done_callback(self._take_reply)
        pool.hold(self)
        self._limit = blocking_timeout(arguments) or 0.0
        if self._limit:
            self._limit = max(self._limit, 0.0) + GRACE
            self._timer = self._loop.call_later(self._limit, self._expire)
            self._give_up_at = self._loop.time() + self._limit + (LONGEST - 1) * GRACE

    def __repr__(self) -> str:
        state = "settled" if self._settled else "left" if self.left else "waited for"
        return f"Blocking({locate(self._arguments)[0]}, {state})"

    async def result(self) -> Any:
        """Return the raw reply.

        Raises CommandTimeout when the server is later than it said, ClientClosed when the client is closed meanwhile.
        """
        try:
            value = await self._caller
        except RedisError:
            if not self.left:
                self._settle()  # the server's own words, or the end of the connection: the caller knows all
            raise
        except BaseException:
            self._leave()
            raise
        if self._decode:
            failure = None
            try:
                value = _decoded(value)
            except UnicodeDecodeError as error:
                failure = undecodable(error)
            if failure is not None:  # not raised above: the error there shows the value
                self._popped = popped(self._arguments, value)
                self._lose(failure)
                raise failure
        self._settle()
        return value

    # --- The caller goes ---------------------------------------------------------------------------------------------

    def recall(self) -> None:
        """End the command, as the client is closed; a caller whose reply is here already gets it."""
        if not self._caller.done():
            self._caller.set_exception(ClientClosed("the client was closed"))
            self._caller.exception()
            self._leave()

    def abandon(self) -> None:
        """Report what may be lost: nothing can be done any more."""
        if not self._settled:
            self._lose(ClientClosed("the client was closed, or its event loop"))

    def _expire(self) -> None:
        # A big reply that keeps arriving is not late.
        if self._loop.time() < self._give_up_at and self._connection.growing(GRACE / 2):
            self._timer = self._loop.call_later(GRACE / 2, self._expire)
        elif not self._caller.done():
            self._caller.set_exception(CommandTimeout(f"no reply in {self._limit:.3g} s"))
            self._caller.exception()
            self._leave()

    def _leave(self) -> None:
        """See to it that the command ends and nothing is lost: its caller has gone."""
        if self.left or self._settled:
            return
        self.left = True
        if self._loop.is_closed():
            self._lose(ClientClosed("the event loop was closed"))
            return
        if self._reply.done():
            self._take_outcome()
        else:
            self._start_patience()
            self._unblock()

    def _start_patience(self) -> None:
        self._cancel_timer()
        self._pause = PAUSES[0]
        self._give_up_at = self._loop.time() + PATIENCE

    def _again(self, step: Callable[[], None]) -> None:
        self._timer = self._loop.call_later(self._pause, step)
        self._pause = min(2 * self._pause, PAUSES[1])

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- The command ends --------------------------------------------------------------------------------------------

    def _unblock(self) -> None:
        """Send CLIENT UNBLOCK. It comes too early if the command has not reached the server yet: then again."""
        if self._connection.id is None:
            self._drop("the server did not tell the connection's id, which CLIENT UNBLOCK needs")
        elif self._loop.time() > self._give_up_at:
            self._drop(f"the server did not end the command in {PATIENCE:.3g} s")
        else:
            self._unblocking = self._send(self._unblocking_command(self._connection.id))
            self._unblocking.add_done_callback(self._unblocked)

    def _unblocking_command(self, number: int) -> list[Packed]:
        before = guard(self._arguments)
        unblock = pack(("CLIENT", "UNBLOCK", number))
        return [unblock] if before is None else [pack(before), unblock]

    def _unblocked(self, answer: asyncio.Future[Any]) -> None:
        self._unblocking = None
        error = None if answer.cancelled() else answer.exception()
        if error is not None and not isinstance(error, ResponseError) and not _unsent(error):
            # It may still come, and would end another command on this connection.
            self._clean = False
        if self._settled:
            self._end()
        elif self._reply.done():
            pass  # what was popped is on its way back
        elif isinstance(error, ResponseError) and error.code not in _PASSING:
            self._drop(f"CLIENT UNBLOCK was refused: {error}")
        else:
            self._again(self._unblock)

    def _drop(self, why: str) -> None:
        """Close the connection, which ends the command as well, but without a word on its outcome."""
        self._why = why
        self._clean = False
        self._connection.close()

    def _take_reply(self, reply: asyncio.Future[Any]) -> None:
        self._cancel_timer()
        error = reply.exception()
        if self.left:
            self._take_outcome()
        elif self._caller.done():
            pass  # cancelled in this turn of the loop: result() is going to see to it
        elif error is not None:
            self._caller.set_exception(error)
            self._caller.exception()
        else:
            self._caller.set_result(reply.result())

    def _take_outcome(self) -> None:
        """Find out, by the reply for which nobody waits any more, what there is to put back."""
        if self._settled or self._known:
            return
        self._known = True
        error = self._reply.exception()
        if isinstance(error, ConnectionLost):
            self._clean = False
            if error.outcome == "unknown":
                self._lose(ConnectionLost(f"{self._why} ({error})"))
                return
        elif error is None:
            self._popped = popped(self._arguments, self._reply.result())
        if self._popped is None:
            self._settle()
        else:
            self._start_patience()
            self._put_back()

    # --- An element is put back --------------------------------------------------------------------------------------

    def _put_back(self) -> None:
        assert self._popped is not None
        if self._loop.time() > self._give_up_at:
            self._lose(CommandTimeout(f"they could not be put back in {PATIENCE:.3g} s"))
            return
        packed = [pack(self._popped.undo())]
        if self._connection.viable:
            # On the same connection: it may be in another database than others, or be another user's.
            answer = self._connection.send(packed[0], False, PATIENCE)
        elif not self._private:
            answer = self._send(packed)
        else:
            self._lose(ConnectionLost("the connection ended, and its database and user are not those of others"))
            return
        answer.add_done_callback(self._put)

    def _put(self, answer: asyncio.Future[Any]) -> None:
        assert self._popped is not None
        error = answer.exception()
        if self._settled:
            return
        if error is None:
            command, key = locate(self._arguments)
            logger.debug("%s %s: put back, as its caller had gone: %d", command, key, len(self._popped.elements))
            self._settle()
        elif _passing(error) or (self._popped.undoing == "ZADD" and not isinstance(error, ResponseError)):
            # To add to a sorted set twice is as good as once.
            self._again(self._put_back)
        else:
            self._lose(error)

    # --- The end -----------------------------------------------------------------------------------------------------

    def _lose(self, error: BaseException) -> None:
        """Tell the user of what could not be put back."""
        self._settled = True
        if self._takes:
            command, key = locate(self._arguments)
            taken = self._popped
            what = "an element may be lost" if taken is None else f"elements lost: {len(taken.elements)}"
            logger.error("%s %s: %s: %s", command, key, what, error)
            self._report(error)
        self._settle()

    def _report(self, error: BaseException) -> None:
        if self._on_lost is None:
            return
        taken = self._popped
        assert isinstance(error, Exception)
        if taken is None:
            lost = Lost(self._arguments, None, (), (), error)
        else:
            scores = tuple(float(score) for score in taken.scores)
            lost = Lost(self._arguments, taken.key, taken.elements, scores, error)
        try:
            self._on_lost(lost)
        except Exception:
            logger.exception("on_lost raised an error")

    def _settle(self) -> None:
        self._settled = True
        self._cancel_timer()
        self._end()

    def _end(self) -> None:
        """Let go of the connection, unless a CLIENT UNBLOCK is under way: it would end the next command on it."""
        if self._loop.is_closed():
            return
        if self._unblocking is not None and (not self._clean or self._unblocking in self._in_line):
            self._unblocking.cancel()
            self._unblocking = None
        if self._unblocking is None and not self.done.done():
            self._pool.release(self)
            self.done.set_result(self._clean)

    # --- Other connections -------------------------------------------------------------------------------------------

    def _send(self, commands: list[Packed]) -> asyncio.Future[Any]:
        """Send commands in one on a connection that others share; return the future of the last one's reply."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def start(connection: Connection) -> None:
            self._in_line.discard(future)
            for packed in commands[:-1]:
                connection.send(packed, False, PATIENCE)
            connection.send(commands[-1], False, PATIENCE, future)

        try:
            connection = self._pool.share()
            if connection is not None:
                start(connection)
            else:
                self._in_line.add(future)
                self._pool.wait(future, start, self._loop.time() + PATIENCE)
        except RedisError as error:
            future.set_exception(error)
        return future


def _unsent(error: BaseException) -> bool:
    """Return whether the command has never left."""
    if isinstance(error, ConnectionLost):
        return error.outcome == "not sent"
    return isinstance(error, (PoolTimeout, ConnectError, ClientClosed))


def _passing(error: BaseException) -> bool:
    """Return whether the command has had no effect, and may have one later."""
    if isinstance(error, ResponseError):
        return error.code in _PASSING
    return _unsent(error) and not isinstance(error, ClientClosed)


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [_decoded(item) for item in value] if isinstance(value, list) else value
