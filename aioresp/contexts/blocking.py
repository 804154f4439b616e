"""State machine of one blocking command, from sending it until its connection is free again.

Owns the connection for that time. A caller that goes (cancelled, too late, the client closed) is released at once. In
the background CLIENT UNBLOCK ends the command on the server, its reply is read, and popped elements are put back.
These steps are callbacks: no task can be cancelled, or be left when the loop ends. Never drops an element silently.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar, cast

from aioresp.command import locate
from aioresp.contexts.background import PASSING, PATIENCE, Background, Elsewhere, end_of, unsent
from aioresp.contexts.identity import learn
from aioresp.contexts.suspicion import heed
from aioresp.contexts.undo import PutBack
from aioresp.errors import (
    CommandTimeout,
    ConnectionLost,
    ProtocolError,
    RedisError,
    ResponseError,
    UnblockedError,
    UnexpectedReply,
)
from aioresp.facts.putback import LOST, QUEUED, UNKNOWN, Fate, Popped, guard, moved, popped, report
from aioresp.facts.traits import LEAST, Traits
from aioresp.options import Terms
from aioresp.pool.pool import Pool
from aioresp.replies.shapes import unexpected
from aioresp.timers import Alarm
from aioresp.typed import Enum
from aioresp.wire.connection import Connection
from aioresp.wire.faults import undecodable
from aioresp.wire.limits import LONGEST
from aioresp.wire.packing import pack

T = TypeVar("T")

logger = logging.getLogger("aioresp")

#: Seconds that a reply may come later than the server's own time limit of a blocking command.
GRACE: Final = 2.0


class State(Enum):
    """Progress of a blocking command: of its caller, and of the command on the server.

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

#: States in which the caller still waits.
_WITH_CALLER: Final = frozenset({State.WAITING, State.ANSWERED})

#: States without a caller, in which the reply decides the next state.
_LEFT: Final = frozenset({State.UNBLOCKING, State.DROPPING})


class Blocking:
    """A blocking command under way. `done` is set at the end, to whether the connection can be used again."""

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

        `private` tells that the connection was changed: it may be in another database, or in a transaction.
        """
        self._state = State.WAITING
        self._loop = asyncio.get_running_loop()
        if traits.timeout is not None and -LEAST < traits.timeout < LEAST:
            traits = traits.served()
        self._pool = pool
        self._connection = connection
        self._traits = traits
        self._takes = traits.undoing is not None
        # The reply of a pop is read as bytes: elements need not be UTF-8, and are put back unchanged.
        self._decode = terms.decode and self._takes
        self._on_lost = terms.on_lost
        self._private = private
        #: Set at first; cleared when the connection is closed, or when a late CLIENT UNBLOCK may still reach it.
        self._clean = True
        #: Futures of background commands in the pool's line. The pool spares them when it closes.
        self.in_line: set[asyncio.Future[Any]] = set()
        self._background: Background | None = None  # its background commands, made when the caller goes
        self._unblocking: asyncio.Future[Any] | None = None  # the answer to a CLIENT UNBLOCK under way
        self._popped: Popped | None = None  # the elements in the reply, once `_look` has read it
        self._put_back: PutBack | None = None
        self._moving: RedisError | None = None  # the reason to go on at another server; None until `move`
        self._why = "its connection ended"  # the reason of a lost connection, for reports
        self.done: asyncio.Future[bool] = self._loop.create_future()
        self._caller: asyncio.Future[Any] = self._loop.create_future()
        if not private:  # it may be in a transaction
            learn(pool, connection)
        self._reply = connection.send(pack(tuple(traits.arguments)), terms.decode and not self._takes, None)
        self._reply.add_done_callback(self._take_reply, context=Context())
        pool.hold(self)
        self._timer: Alarm | asyncio.TimerHandle | None = None  # the timer of the command's time limit
        self._limit = self._end_of_limit = 0.0
        if limit := traits.timeout:
            self._limit = max(limit, 0.0) + GRACE
            self._end_of_limit = self._loop.time() + self._limit if until is None else until + GRACE
            self._timer = Alarm(self._loop, self._end_of_limit, self._limit, self._expire)

    def __repr__(self) -> str:
        return f"Blocking({locate(self._traits)[0]}, {self._state.value})"

    def _to(self, state: State) -> None:
        assert (self._state, state) in TRANSITIONS, f"a blocking command goes from {self._state.name} to {state.name}"
        self._state = state

    @property
    def left(self) -> bool:
        """Whether the caller has gone."""
        return self._state not in _WITH_CALLER

    @property
    def writes(self) -> bool:
        """Whether the command may change a key."""
        return not self._traits.read_only

    async def result(self, reply: Callable[[Any], T]) -> T:
        """Return the reply as `reply` converts it.

        Raises CommandTimeout if the server exceeds the time limit, ClientClosed if the client is closed meanwhile, and
        ProtocolError for an impossible reply.
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
        if self._state is not State.ANSWERED:  # the client was closed while the loop stood still
            raise self._ended()
        try:
            found = reply(_decoded(value) if self._decode else value)
        except UnicodeDecodeError as error:
            failure: RedisError = undecodable(error)
        except Exception as error:
            if self._private and value in (QUEUED, QUEUED.decode()):  # within a transaction on a lease
                self._settle()
                return cast(T, QUEUED.decode() if self._decode else value)
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

    @property
    def connection(self) -> Connection:
        """The leased connection that it was sent on."""
        return self._connection

    # --- The caller goes ---------------------------------------------------------------------------------------------

    def recall(self) -> None:
        """End the command, as the client is closed, or its server is left and silent.

        A caller whose reply has arrived still gets it.
        """
        self._turn_away(end_of(self._pool))

    def move(self, error: RedisError) -> None:
        """End the command, as its server is left; unless it has its reply, the caller hears that it was not sent."""
        if self._state is State.WAITING and self._moving is None and not self._reply.done():
            self._moving = error
            self._background = Background(self._pool, self._loop, self.in_line)
            self._unblock(self._background)

    def finish(self) -> None:
        """End the command as its time limit would: the caller gets what it has taken by then, or that it took nothing.

        If the server refuses that, the command goes on.
        """
        if self._state is State.WAITING and self._background is None and not self._reply.done():
            self._background = Background(self._pool, self._loop, self.in_line)
            self._unblock(self._background)

    def abandon(self) -> None:
        """Report elements that may be lost: the pool or the loop is closed, and cannot put them back."""
        why = end_of(self._pool, "the client was closed, or its event loop")
        if self._put_back is not None:
            self._put_back.abandon(why)
        elif self._state in _WITH_CALLER or self._state in _LEFT:
            if self._took_nothing():
                self._settle()
            else:
                self._lose(why)

    def _took_nothing(self) -> bool:
        """Return whether the command has certainly popped nothing; a reply that has arrived is read for that."""
        if not self._reply.done():
            return self._connection.unsent(self._reply)
        return self._look() is None and self._popped is None

    def _expire(self) -> None:
        # A big reply that keeps arriving is not late.
        now = self._loop.time()
        if now < self._end_of_limit + (LONGEST - 1) * GRACE and self._connection.growing(GRACE / 2):
            self._timer = self._loop.call_later(GRACE / 2, self._expire, context=Context())
        else:
            self._turn_away(CommandTimeout(f"no reply in {self._limit:.3g} s"))

    def _turn_away(self, error: RedisError) -> None:
        if not self._caller.done():
            self._fail(error)
            self._leave()

    def _leave(self) -> None:
        """End the command without losing an element: its caller has gone."""
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
            if self._background is None:
                self._background = Background(self._pool, self._loop, self.in_line)
            else:
                self._background.begin()
            if self._unblocking is None:
                self._unblock(self._background)

    # --- The command ends --------------------------------------------------------------------------------------------

    def _unblock(self, background: Background) -> None:
        """Send CLIENT UNBLOCK. If it overtakes the command, `_unblocked` sends it again."""
        if self._connection.id is None:
            self._drop("the server did not tell the connection's id, which CLIENT UNBLOCK needs")
        elif background.exhausted:
            self._drop(f"the server did not end the command in {PATIENCE:.3g} s")
        else:
            before = guard(self._traits)
            # With an error as its reply, a command that is moved is told apart from one whose time is over.
            unblock = ("CLIENT", "UNBLOCK", self._connection.id, *(() if self._moving is None else ("ERROR",)))
            # At another server, the connection of that number is somebody else's.
            self._unblocking = background.send(
                pack(unblock), self._connection, None if before is None else pack(before)
            )
            self._unblocking.add_done_callback(partial(self._unblocked, background), context=Context())

    def _unblocked(self, background: Background, answer: asyncio.Future[Any]) -> None:
        self._unblocking = None
        error = None if answer.cancelled() else answer.exception()
        if error is not None and not isinstance(error, ResponseError) and not unsent(error):
            # It may arrive late, and would end the next command on this connection.
            self._clean = False
        if self._state is State.SETTLED:
            self._let_go()
        elif self._state not in (State.UNBLOCKING, State.WAITING) or self._reply.done():
            pass  # the command has ended
        elif isinstance(error, ResponseError) and error.code not in PASSING:
            self._drop(f"CLIENT UNBLOCK was refused: {error}")
        elif isinstance(error, Elsewhere) and self._pool.retired:
            self._drop("no connection leads to its server any more, which CLIENT UNBLOCK needs")
        else:
            background.again(partial(self._unblock, background))

    def _drop(self, why: str) -> None:
        """Close the connection: that ends the command, and leaves its outcome unknown."""
        if self._state is State.WAITING:
            return  # it should move: the caller waits on, until the connection is ended
        self._to(State.DROPPING)
        self._why = why
        self._clean = False
        self._connection.close()

    def _take_reply(self, reply: asyncio.Future[Any]) -> None:
        if reply.exception() is not None:
            heed(self._pool, reply.exception(), self._traits, leased=not self._private)
        if self._state in _LEFT:
            self._take_outcome()
        elif self._state is State.OVER and not self._caller.done():
            self._fail(self._ended())  # `abandon` cannot wake a caller whose loop stands still
        elif self._state is State.WAITING and not self._caller.done():  # else cancelled in this turn: see `result`
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            error = reply.exception()
            if error is not None:
                self._to(State.ANSWERED)
                if self._moving is not None and isinstance(error, UnblockedError):
                    error = ConnectionLost(f"the server is not used any more: {self._moving}", "not sent")
                self._fail(error)
            elif self._is_sound(reply.result()):
                self._to(State.ANSWERED)
                self._caller.set_result(reply.result())
            else:
                self._fail(odd := self._refuse())
                self._lose(odd)

    def _ended(self) -> RedisError:
        return end_of(self._pool, "the client was closed meanwhile", ", and what the command took was reported")

    def _fail(self, error: BaseException) -> None:
        self._caller.set_exception(error)
        self._caller.exception()  # so that asyncio logs nothing if the task is cancelled in this turn

    def _take_outcome(self) -> None:
        """Put back the elements of a reply whose caller has gone, or settle if there are none."""
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
        """Take the outcome of the put-back: an error if the elements are not back."""
        if error is None:
            self._settle()
        else:
            self._lose(error, fate)

    # --- The reply is looked at --------------------------------------------------------------------------------------

    def _look(self) -> BaseException | None:
        """Read the popped elements from the reply. Return an error if it does not tell them, else None."""
        error = self._reply.exception()
        if error is None:
            return None if self._is_sound(self._reply.result()) else self._refuse()
        if isinstance(error, ConnectionLost):
            self._clean = False
            return ConnectionLost(f"{self._why} ({error})") if error.outcome == "unknown" else None
        return None if isinstance(error, ResponseError) else error  # such as ReplyTooLarge: the command has run

    def _is_sound(self, reply: Any) -> bool:
        """Note the popped elements; return False if the command never has this reply."""
        if not self._takes:
            return moved(self._traits, reply)
        try:
            self._popped = popped(self._traits, reply)
        except Exception:  # also for arguments that a server refuses
            return False
        return self._private or reply != QUEUED  # which is a sound reply within a transaction only

    def _failure(self, error: Exception, reply: Any) -> RedisError:
        """Return the error for the caller, after the converter of the reply raised `error`."""
        if isinstance(error, RedisError) and not isinstance(error, UnexpectedReply):
            return error
        if self._takes or not moved(self._traits, reply):
            return self._refuse()
        return unexpected(reply, self._traits)  # nothing was taken, and the stream is in step

    def _refuse(self) -> ProtocolError:
        """Close the connection after an impossible reply; return an error that shows nothing of the reply."""
        self._clean = False
        why = "the reply has a shape that no reply of this command has; the connection was dropped"
        self._connection.end(ProtocolError(why))
        return ProtocolError(why)

    # --- The end -----------------------------------------------------------------------------------------------------

    def _lose(self, error: BaseException, fate: Fate = LOST) -> None:
        """Report elements that could not be put back, or that the command may have popped."""
        try:
            if self._takes:
                # A server that was left may have been replaced, by one that has never heard of the pop.
                outcome = UNKNOWN if self._popped is None or self._pool.retired else fate
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
        """Free the connection, unless a CLIENT UNBLOCK is under way, which would end the next command on it."""
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
