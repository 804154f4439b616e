"""State machine of one blocking command, from sending it until its connection is free again.

Owns the connection for that time. When the caller goes (cancelled, too late, the client closed), it is released at
once, and the rest is done behind it, by callbacks: CLIENT UNBLOCK ends the command on the server, its reply is read,
and the elements that it had popped are put back. There is no task in this: nobody can cancel it, and nothing is left
when the loop ends. Never drops an element silently.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Final, TypeVar

from aioresp.command import locate
from aioresp.contexts.background import PASSING, PATIENCE, Background, Elsewhere, unsent
from aioresp.contexts.undo import PutBack
from aioresp.errors import (
    ClientClosed,
    CommandTimeout,
    ConnectionLost,
    ProtocolError,
    RedisError,
    ResponseError,
    UnexpectedReply,
)
from aioresp.facts.putback import LOST, QUEUED, UNKNOWN, Fate, Popped, guard, moved, popped, report
from aioresp.facts.traits import Traits
from aioresp.options import Terms
from aioresp.pool.pool import Pool
from aioresp.replies.shapes import unexpected
from aioresp.wire.batch import undecodable
from aioresp.wire.connection import Connection
from aioresp.wire.limits import LONGEST
from aioresp.wire.packing import pack

T = TypeVar("T")

logger = logging.getLogger("aioresp")

#: Seconds that a reply may come later than the server's own time limit of a blocking command.
GRACE: Final = 2.0


class State(Enum):
    """How far a blocking command has come. Two things are told apart: its caller, and its command on the server.

    ============  ============  ====================================================================================
    From          To            When
    ============  ============  ====================================================================================
    WAITING       ANSWERED      the reply or an error arrives, and the caller is woken
    WAITING       UNBLOCKING    the caller goes: cancelled, closed by hand, too late, or the client is closed
    WAITING       PUTTING_BACK  the caller goes in the turn of the loop in which elements arrive
    WAITING       SETTLED       the caller goes in the turn in which another reply arrives; the reply makes no sense and
                                is reported; or the pool or the loop is closed, which is reported
    ANSWERED      SETTLED       the caller takes the reply, or goes without one that took anything; or the elements
                                are reported, as its converter refuses them, or as the pool or the loop is closed
    ANSWERED      PUTTING_BACK  the caller goes before its task has run
    UNBLOCKING    DROPPING      CLIENT UNBLOCK is impossible, refused, or in vain for `PATIENCE` seconds
    UNBLOCKING    PUTTING_BACK  the reply arrives, with elements
    UNBLOCKING    SETTLED       another reply arrives, the connection ends, or the pool or the loop is closed; elements
                                that may be lost are reported
    DROPPING      PUTTING_BACK  the reply was on its way, and arrives with elements before the end of the connection
    DROPPING      SETTLED       the connection ends, or another reply arrives before; or the pool or the loop is closed
    PUTTING_BACK  SETTLED       the elements are back, or reported
    SETTLED       OVER          no CLIENT UNBLOCK is on its way, which would end the next command on the connection
    ============  ============  ====================================================================================
    """

    WAITING = "waited for"
    ANSWERED = "answered, but the caller's task has not run"
    UNBLOCKING = "left, and being ended on the server"
    DROPPING = "left, and being ended with its connection"
    PUTTING_BACK = "left, with elements on their way back"
    SETTLED = "settled: its elements are with the caller, in their key, or reported"
    OVER = "over: its connection is free"


#: The table of `State`: no other transition is made.
TRANSITIONS: Final = frozenset(
    {
        (State.WAITING, State.ANSWERED),
        (State.WAITING, State.UNBLOCKING),
        (State.WAITING, State.PUTTING_BACK),
        (State.WAITING, State.SETTLED),
        (State.ANSWERED, State.SETTLED),
        (State.ANSWERED, State.PUTTING_BACK),
        (State.UNBLOCKING, State.DROPPING),
        (State.UNBLOCKING, State.PUTTING_BACK),
        (State.UNBLOCKING, State.SETTLED),
        (State.DROPPING, State.PUTTING_BACK),
        (State.DROPPING, State.SETTLED),
        (State.PUTTING_BACK, State.SETTLED),
        (State.SETTLED, State.OVER),
    }
)

#: Those in which the caller still waits.
_WITH_CALLER: Final = frozenset({State.WAITING, State.ANSWERED})

#: Those in which the reply decides what comes next.
_LEFT: Final = frozenset({State.UNBLOCKING, State.DROPPING})

#: Those in which nothing can be lost any more.
_ENDED: Final = frozenset({State.SETTLED, State.OVER})


class Blocking:
    """A blocking command under way. `done` tells, once all is over, whether the connection can be used again."""

    def __init__(
        self,
        pool: Pool[Connection],
        connection: Connection,
        traits: Traits,
        terms: Terms,
        private: bool,
        until: float | None = None,
    ) -> None:
        """Send the command, whose time limit ends at `until` (loop time), by default counted from now.

        `private` tells that the connection is in a state of its own: another database, or a transaction.
        """
        self._state = State.WAITING
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._connection = connection
        self._traits = traits
        self._takes = traits.undoing is not None
        # Elements that may have to be put back are read as bytes: they need not be text, and must come back unchanged.
        self._decode = terms.decode and self._takes
        self._on_lost = terms.on_lost
        self._private = private
        #: Whether the connection can be used again. Cleared when it is closed, or a CLIENT UNBLOCK may be on its way.
        self._clean = True
        #: Background commands that wait for a connection. The pool spares them when it closes.
        self.in_line: set[asyncio.Future[Any]] = set()
        self._background: Background | None = None  # made when the caller goes
        self._unblocking: asyncio.Future[Any] | None = None  # the answer to a CLIENT UNBLOCK under way
        self._popped: Popped | None = None  # the elements in the reply, once it was looked at
        self._put_back: PutBack | None = None
        self._why = "its connection ended"  # the reason for that, as reports give it
        self.done: asyncio.Future[bool] = self._loop.create_future()
        self._caller: asyncio.Future[Any] = self._loop.create_future()
        self._reply = connection.send(pack(tuple(traits.arguments)), terms.decode and not self._takes, None)
        self._reply.add_done_callback(self._take_reply)
        pool.hold(self)
        self._timer: asyncio.TimerHandle | None = None  # of the command's time limit
        self._limit = self._end_of_limit = 0.0
        if limit := traits.timeout:
            self._limit = max(limit, 0.0) + GRACE
            self._end_of_limit = self._loop.time() + self._limit if until is None else until + GRACE
            self._timer = self._loop.call_at(self._end_of_limit, self._expire)

    def __repr__(self) -> str:
        return f"Blocking({locate(self._traits)[0]}, {self._state.value})"

    def _to(self, state: State) -> None:
        assert (self._state, state) in TRANSITIONS, f"a blocking command goes from {self._state.name} to {state.name}"
        self._state = state

    @property
    def left(self) -> bool:
        """Whether the caller does not wait any more."""
        return self._state not in _WITH_CALLER

    async def result(self, reply: Callable[[Any], T]) -> T:
        """Return the reply as `reply` converts it.

        Raises CommandTimeout when the server is later than it said, ClientClosed when the client is closed meanwhile,
        ProtocolError for a reply that the command does not have.
        """
        try:
            value = await self._caller
        except RedisError:
            if self._state is State.ANSWERED:
                self._settle()  # the server's own words, or the end of the connection: the caller knows all
            del self  # it has the error, which would hold this frame by its traceback
            raise
        except BaseException:
            self._leave()
            raise
        if self._state is not State.ANSWERED:  # the loop stood still when the client was closed, and goes on now
            raise self._closed()
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
        try:
            raise failure  # not raised above: the error there shows the value
        finally:
            del failure  # it holds this frame by its traceback

    # --- The caller goes ---------------------------------------------------------------------------------------------

    def recall(self) -> None:
        """End the command, as the client is closed; a caller whose reply is here already gets it."""
        self._turn_away(ClientClosed("the client was closed"))

    def abandon(self) -> None:
        """Report elements that may be lost, as the pool or the loop is closed: nothing more can be done."""
        closed = ClientClosed("the client was closed, or its event loop")
        if self._put_back is not None:
            self._put_back.abandon(closed)
        elif self._state in _WITH_CALLER or self._state in _LEFT:
            if self._took_nothing():
                self._settle()
            else:
                self._lose(closed)

    def _took_nothing(self) -> bool:
        """Return whether the command has certainly popped nothing, also by a reply that nobody has looked at yet."""
        if not self._reply.done():
            return self._connection.unsent(self._reply)
        return self._look() is None and self._popped is None

    def _expire(self) -> None:
        # A big reply that keeps arriving is not late.
        now = self._loop.time()
        if now < self._end_of_limit + (LONGEST - 1) * GRACE and self._connection.growing(GRACE / 2):
            self._timer = self._loop.call_later(GRACE / 2, self._expire)
        else:
            self._turn_away(CommandTimeout(f"no reply in {self._limit:.3g} s"))

    def _turn_away(self, error: RedisError) -> None:
        if not self._caller.done():
            self._fail(error)
            self._leave()

    def _leave(self) -> None:
        """See to it that the command ends and nothing is lost: its caller has gone."""
        if self._state not in _WITH_CALLER:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._loop.is_closed():
            self.abandon()
        elif self._reply.done():
            self._take_outcome()
        else:
            self._to(State.UNBLOCKING)
            self._background = Background(self._pool, self._loop, self.in_line)
            self._unblock(self._background)

    # --- The command ends --------------------------------------------------------------------------------------------

    def _unblock(self, background: Background) -> None:
        """Send CLIENT UNBLOCK. It comes too early if the command has not reached the server yet: then again."""
        if self._connection.id is None:
            self._drop("the server did not tell the connection's id, which CLIENT UNBLOCK needs")
        elif background.exhausted:
            self._drop(f"the server did not end the command in {PATIENCE:.3g} s")
        else:
            before = guard(self._traits)
            unblock = ("CLIENT", "UNBLOCK", self._connection.id)
            commands = [pack(each) for each in (before, unblock) if each is not None]
            # At another server, the connection of that number is somebody else's.
            self._unblocking = background.send(commands, self._connection)
            self._unblocking.add_done_callback(partial(self._unblocked, background))

    def _unblocked(self, background: Background, answer: asyncio.Future[Any]) -> None:
        self._unblocking = None
        error = None if answer.cancelled() else answer.exception()
        if error is not None and not isinstance(error, ResponseError) and not unsent(error):
            # It may still come, and would end another command on this connection.
            self._clean = False
        if self._state is State.SETTLED:
            self._let_go()
        elif self._state is not State.UNBLOCKING or self._reply.done():
            pass  # the command has ended
        elif isinstance(error, ResponseError) and error.code not in PASSING:
            self._drop(f"CLIENT UNBLOCK was refused: {error}")
        elif isinstance(error, Elsewhere) and self._pool.retired:
            self._drop("no connection leads to its server any more, which CLIENT UNBLOCK needs")
        else:
            background.again(partial(self._unblock, background))

    def _drop(self, why: str) -> None:
        """Close the connection, which ends the command as well, but tells nothing of its outcome."""
        self._to(State.DROPPING)
        self._why = why
        self._clean = False
        self._connection.close()

    def _take_reply(self, reply: asyncio.Future[Any]) -> None:
        if self._state in _LEFT:
            self._take_outcome()
        elif self._state in _ENDED and not self._caller.done():
            self._fail(self._closed())  # nobody could be woken by `abandon`: the loop stood still, and goes on now
        elif self._state is State.WAITING and not self._caller.done():  # else cancelled in this turn: see `result`
            if self._timer is not None:
                self._timer.cancel()
            error = reply.exception()
            if error is not None:
                self._to(State.ANSWERED)
                self._fail(error)
            elif self._is_sound(reply.result()):
                self._to(State.ANSWERED)
                self._caller.set_result(reply.result())
            else:
                self._fail(odd := self._refuse())
                self._lose(odd)

    @staticmethod
    def _closed() -> RedisError:
        return ClientClosed("the client was closed meanwhile, and what the command took was reported")

    def _fail(self, error: BaseException) -> None:
        self._caller.set_exception(error)
        self._caller.exception()  # if its task is cancelled in this turn, that is no reason for a log line

    def _take_outcome(self) -> None:
        """Find out, by the reply for which nobody waits any more, what there is to put back."""
        if self._background is not None:
            self._background.cancel()
        error = self._look()
        if error is not None:
            self._lose(error)
        elif self._popped is None:
            self._settle()
        else:
            self._to(State.PUTTING_BACK)
            background = self._background or Background(self._pool, self._loop, self.in_line)
            name = " ".join(map(str, locate(self._traits)))
            self._put_back = PutBack(background, self._connection, self._popped, self._private, name, self._back)
            self._put_back.begin()

    def _back(self, error: BaseException | None, fate: Fate) -> None:
        """Take the word of the put-back: the elements are back, or here is why not."""
        if error is None:
            self._settle()
        else:
            self._lose(error, fate)

    # --- The reply is looked at --------------------------------------------------------------------------------------

    def _look(self) -> BaseException | None:
        """Find out by the reply what the command took. Return why that is not known, or None if it is."""
        error = self._reply.exception()
        if error is None:
            return None if self._is_sound(self._reply.result()) else self._refuse()
        if isinstance(error, ConnectionLost):
            self._clean = False
            return ConnectionLost(f"{self._why} ({error})") if error.outcome == "unknown" else None
        return None if isinstance(error, ResponseError) else error  # one that is too large, for instance: it has run

    def _is_sound(self, reply: Any) -> bool:
        """Note what was popped; return False if no such command has such a reply."""
        if not self._takes:
            return moved(self._traits, reply)
        try:
            self._popped = popped(self._traits, reply)
        except Exception:  # also of arguments that the server should have refused
            return False
        return self._private or reply != QUEUED  # within a transaction

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

    # --- The end -----------------------------------------------------------------------------------------------------

    def _lose(self, error: BaseException, fate: Fate = LOST) -> None:
        """Tell the user of elements that could not be put back, or that the command may have popped."""
        try:
            if self._takes:
                outcome = UNKNOWN if self._popped is None else fate
                report(self._on_lost, self._traits, self._popped, error, outcome)
        finally:
            self._settle()

    def _settle(self) -> None:
        self._to(State.SETTLED)
        if self._timer is not None:
            self._timer.cancel()
        if self._background is not None:
            self._background.cancel()
        self._let_go()

    def _let_go(self) -> None:
        """Let go of the connection, unless a CLIENT UNBLOCK is under way: it would end the next command on it."""
        if self._loop.is_closed():
            return
        if self._unblocking is not None and (not self._clean or self._unblocking in self.in_line):
            self._unblocking.cancel()
            self._unblocking = None
        if self._unblocking is None:
            self._to(State.OVER)
            self._pool.release(self)
            self.done.set_result(self._clean)


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, list):
        return value
    found = []
    for item in value:  # a comprehension is one more frame before Python 3.12
        found.append(item.decode() if type(item) is bytes else _decoded(item))
    return found
