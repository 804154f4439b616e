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
from typing import Any, Final, TypeVar

from aioresp.command import locate
from aioresp.errors import (
    ClientClosed,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    PoolTimeout,
    ProtocolError,
    RedisError,
    ResponseError,
    UnexpectedReply,
    WrongTypeError,
)
from aioresp.facts.putback import LOST, QUEUED, UNKNOWN, Lost, Popped, guard, moved, popped, report, token_for
from aioresp.facts.traits import Traits
from aioresp.pool.pool import Pool
from aioresp.replies.shapes import unexpected
from aioresp.wire.batch import undecodable
from aioresp.wire.connection import Connection
from aioresp.wire.limits import LONGEST
from aioresp.wire.packing import Packed, pack

T = TypeVar("T")

logger = logging.getLogger("aioresp")

#: What is called with the elements that could not be put back.
OnLost = Callable[[Lost], object]

#: Seconds that a reply may come later than the server's own time limit of a blocking command.
GRACE: Final = 2.0

#: Seconds that a blocking command whose caller has gone has to come to its end, and then an element to be put back.
PATIENCE: Final = 10.0

#: Seconds after which a put-back without a reply is sent again, over another connection; then twice as many, and so on.
ATTEMPT: Final = 2.0

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
        traits: Traits,
        decode: bool,
        on_lost: OnLost | None,
        private: bool,
        until: float | None = None,
    ) -> None:
        """Send the command, whose time limit ends at `until` (loop time), by default counted from now."""
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._connection = connection
        self._traits = traits
        self._takes = traits.undoing is not None
        # What may have to be put back is read as bytes: it need not be text, and must come back as it was.
        self._decode = decode and self._takes
        self._on_lost = on_lost
        self._private = private  # whether the connection is in a state of its own: another database, perhaps
        self._clean = True
        self._known = False  # the reply, for which nobody waits any more, has been looked at
        self._settled = False  # the outcome is known, and what was popped is with the caller, put back, or reported
        self._unblocking: asyncio.Future[Any] | None = None
        self.in_line: set[asyncio.Future[Any]] = set()  # what waits for a connection, and has not been sent
        self._popped: Popped | None = None
        self._token: bytes | None = None  # the key by which the server knows a put-back that it has done already
        self._plain = False  # the user may not run the script: what puts back is sent once at most
        self._attempts: set[asyncio.Future[Any]] = set()  # put-backs under way, to several connections perhaps
        self._unanswered = 0  # put-backs that may have run, or may yet, and whose reply will never come
        self._timer: asyncio.TimerHandle | None = None
        self._pause, self._give_up_at = 0.0, 0.0
        self._why = "its connection ended"
        self.left = False  # the caller has gone
        self.done: asyncio.Future[bool] = self._loop.create_future()
        self._caller: asyncio.Future[Any] = self._loop.create_future()
        self._reply = connection.send(pack(tuple(traits.arguments)), decode and not self._takes, None)
        self._reply.add_done_callback(self._take_reply)
        pool.hold(self)
        self._limit = traits.timeout or 0.0
        if self._limit:
            self._limit = max(self._limit, 0.0) + GRACE
            end = self._loop.time() + self._limit if until is None else until + GRACE
            self._timer = self._loop.call_at(end, self._expire)
            self._give_up_at = end + (LONGEST - 1) * GRACE

    def __repr__(self) -> str:
        state = "settled" if self._settled else "left" if self.left else "waited for"
        return f"Blocking({locate(self._traits)[0]}, {state})"

    async def result(self, reply: Callable[[Any], T]) -> T:
        """Return the reply as `reply` converts it.

        Raises CommandTimeout when the server is later than it said, ClientClosed when the client is closed meanwhile,
        ProtocolError if the reply is none that the command has.
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
        if self._settled:  # its loop stood still when the client was closed, and goes on now
            raise ClientClosed("the client was closed meanwhile, and what the command took was reported")
        try:
            found = reply(_decoded(value) if self._decode else value)
        except UnicodeDecodeError as error:
            failure: RedisError = undecodable(error)
        except Exception as error:
            if self._private and value in (QUEUED, QUEUED.decode()):
                self._settle()
                raise  # within a transaction on a lease, and nothing is in it that could be shown
            failure = self._failure(error, value)
        except BaseException:
            self._leave()
            raise
        else:
            self._settle()
            return found
        self._lose(failure)
        raise failure  # not raised above: the error there shows the value

    # --- The caller goes ---------------------------------------------------------------------------------------------

    def recall(self) -> None:
        """End the command, as the client is closed; a caller whose reply is here already gets it."""
        if not self._caller.done():
            self._caller.set_exception(ClientClosed("the client was closed"))
            self._caller.exception()
            self._leave()

    def abandon(self) -> None:
        """Report what may be lost: nothing can be done any more."""
        if self._settled:
            return
        if self._took_nothing():
            self._settle()
        else:
            self._lose(ClientClosed("the client was closed, or its event loop"))

    def _took_nothing(self) -> bool:
        """Return whether the command has certainly popped nothing, also by a reply at which nobody has looked yet."""
        if not self._reply.done():
            return self._connection.unsent(self._reply)
        error = self._reply.exception()
        if error is None and self._popped is None and not self._look(self._reply.result()):
            return False
        return self._popped is None and not (isinstance(error, ConnectionLost) and error.outcome == "unknown")

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
            self.abandon()
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
        self._cancel_timer()
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
        before = guard(self._traits)
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
        if self.left:
            self._take_outcome()
            return
        if self._caller.done():
            return  # cancelled in this turn of the loop: result() is going to see to it
        error = reply.exception()
        odd = error is None and not self._look(reply.result())
        if odd:
            error = self._refuse()
        if error is not None:
            self._caller.set_exception(error)
            self._caller.exception()
            if odd:
                self._lose(error)
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
        elif error is not None and not isinstance(error, ResponseError):
            self._lose(error)  # a reply that is too large, for instance: the command has run
            return
        elif error is None and not self._look(self._reply.result()):
            self._lose(self._refuse())
            return
        if self._popped is None:
            self._settle()
        else:
            self._start_patience()
            self._put_back()

    def _look(self, reply: Any) -> bool:
        """Find out what was popped; return False if no such command has such a reply."""
        try:
            self._popped = popped(self._traits, reply)
        except Exception:  # also of arguments that the server should have refused
            return False
        if reply == QUEUED and self._takes:
            return self._private  # within a transaction
        return moved(self._traits, reply)

    def _failure(self, error: Exception, reply: Any) -> RedisError:
        """Return what the caller gets where the converter of the reply raised `error`."""
        if isinstance(error, RedisError) and not isinstance(error, UnexpectedReply):
            return error
        if self._takes or not moved(self._traits, reply):
            return self._refuse()
        return unexpected(reply, self._traits)  # nothing was taken, and the stream is in step

    def _refuse(self) -> ProtocolError:
        """Close the connection, whose peer makes no sense; return the error that says so, and shows nothing of it."""
        self._clean = False
        why = "the reply has a shape that no reply of this command has; the connection was dropped"
        self._connection.end(ProtocolError(why))
        return ProtocolError(why)

    # --- An element is put back --------------------------------------------------------------------------------------

    def _put_back(self) -> None:
        """Make an attempt: by a script that does it once, however often it is sent; or else by a plain command."""
        assert self._popped is not None
        if self._loop.time() > self._give_up_at:
            self._lose(CommandTimeout(f"they could not be put back in {PATIENCE:.3g} s"))
            return
        if self._token is None:
            self._token = token_for(self._popped.key)
        packed = pack(self._popped.undo() if self._plain else self._popped.undo_once(self._token))
        answer = self._send_back(packed, elsewhere=bool(self._attempts or self._unanswered))
        if answer is None:
            why = "the connection ended, and its database and user are not those of others"
            self._lose(ConnectionLost(why, "not sent"))
            return
        self._attempts.add(answer)
        answer.add_done_callback(self._put)
        if not self._plain:
            self._cancel_timer()
            # Ever later, as more of them are under way: elements may be large.
            self._timer = self._loop.call_later(ATTEMPT * 2 ** (len(self._attempts) - 1), self._put_back)

    def _send_back(self, packed: Packed, *, elsewhere: bool = False) -> asyncio.Future[Any] | None:
        """Send a command to where the pop was run; return None if there is no way. `elsewhere` prefers another one."""
        if self._connection.viable and (self._private or not elsewhere):
            # On the same connection: it may be in another database than others, or be another user's.
            return self._connection.send(packed, False, PATIENCE)
        return None if self._private else self._send([packed])

    def _put(self, answer: asyncio.Future[Any]) -> None:
        self._attempts.discard(answer)
        self.in_line.discard(answer)
        if self._settled:
            return
        error = answer.exception()
        answered = error is None or isinstance(error, ResponseError) or _unsent(error)
        self._unanswered += not answered
        if error is None:
            self._restored(answer.result())
        elif _passing(error) or not (answered or self._plain):
            self._again(self._put_back)
        elif isinstance(error, ResponseError) and not (
            self._plain or self._may_be_back() or isinstance(error, WrongTypeError)
        ):
            self._plain = True  # the script is unknown or forbidden here, or its token is
            self._cancel_timer()
            self._put_back()
        else:
            self._lose(error)

    def _may_be_back(self) -> bool:
        """Return whether an attempt may have run, or may yet."""
        return self._unanswered > 0 or any(map(self._may_have_run, self._attempts))

    def _may_have_run(self, attempt: asyncio.Future[Any]) -> bool:
        if attempt in self.in_line or self._connection.unsent(attempt):
            return False
        error = attempt.exception() if attempt.done() and not attempt.cancelled() else None
        return error is None or not (isinstance(error, ResponseError) or _unsent(error))

    def _restored(self, how: object) -> None:
        """Note that the elements are in their key again, and have the server forget the token."""
        assert self._popped is not None
        command, key = locate(self._traits)
        logger.debug("%s %s: put back, as its caller had gone: %d", command, key, len(self._popped.elements))
        if how == 2 and not self._plain:
            logger.info("%s %s: the key was gone and is there again, without a time to live", command, key)
        self._end_attempts()
        # An attempt that was not answered may be on its way still: then the token stays, and expires by itself.
        if not self._plain and not self._may_be_back() and self._token is not None:
            forgetting = self._send_back(pack(("DEL", self._token)))
            if forgetting is not None:
                forgetting.add_done_callback(self._forgotten)
                return
        self._settle()

    def _end_attempts(self) -> None:
        """Make no more attempts, and take out of the line those that were not sent: nobody will ask for them."""
        self._settled = True
        self._cancel_timer()
        for waiting in self._attempts & self.in_line:
            self._attempts.discard(waiting)
            if not self._loop.is_closed():
                waiting.cancel()

    def _forgotten(self, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled():
            answer.exception()  # a token that cannot be deleted expires
        self._settle()

    # --- The end -----------------------------------------------------------------------------------------------------

    def _lose(self, error: BaseException) -> None:
        """Tell the user of what could not be put back, or of what nobody knows."""
        try:
            if not self._settled and self._takes:
                self._tell(error)
        finally:
            self._settle()

    def _tell(self, error: BaseException) -> None:
        if any(_succeeded(answer) for answer in self._attempts):
            return  # they are back, and `_put` was about to say so
        self._end_attempts()
        outcome = UNKNOWN if self._popped is None else LOST
        if self._may_be_back():
            outcome = UNKNOWN
            if not isinstance(error, ConnectionLost) or error.outcome != "unknown":
                error = ConnectionLost(f"they were sent back, and no reply came ({error})")
        report(self._on_lost, self._traits, self._popped, error, outcome)

    def _settle(self) -> None:
        self._settled = True
        self._cancel_timer()
        self._end()

    def _end(self) -> None:
        """Let go of the connection, unless a CLIENT UNBLOCK is under way: it would end the next command on it."""
        if self._loop.is_closed():
            return
        if self._unblocking is not None and (not self._clean or self._unblocking in self.in_line):
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
            self.in_line.discard(future)
            for packed in commands[:-1]:
                connection.send(packed, False, PATIENCE)
            connection.send(commands[-1], False, PATIENCE, future)

        try:
            connection = self._pool.share()
            if connection is not None:
                start(connection)
            else:
                self.in_line.add(future)
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


def _succeeded(answer: asyncio.Future[Any]) -> bool:
    return answer.done() and not answer.cancelled() and answer.exception() is None


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [_decoded(item) for item in value] if isinstance(value, list) else value
