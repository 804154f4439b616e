"""Put-back of the elements that a blocking pop took for a caller that has gone.

Owns the attempts, over one connection or several. An attempt is a script, which takes effect once however often it is
sent, or else a plain command, which is sent once. Never drops elements silently: they are back, or `on_end` gets the
reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from aioresp.contexts.background import PATIENCE, Background, unsent
from aioresp.errors import CommandTimeout, ConnectionLost, ResponseError, WrongTypeError
from aioresp.facts.putback import LOST, UNKNOWN, Fate, Popped, token_for
from aioresp.typed import Enum
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack

logger = logging.getLogger("aioresp")

#: Seconds after which a put-back without a reply is sent again, over another connection; each time twice as many.
ATTEMPT: Final = 2.0


class Step(Enum):
    """Progress of a put-back.

    ==========  ==========  ======================================================================================
    From        To          When
    ==========  ==========  ======================================================================================
    SCRIPT      PLAIN       the server refuses the script, which the user may not run, and no attempt may have run
    SCRIPT      FORGETTING  the script has run, and no other attempt may be on its way
    SCRIPT      OVER        the script has run, and others may be on their way; or there is no way back
    PLAIN       OVER        the command has run, or there is no way back
    FORGETTING  OVER        the server has answered, or the connection has ended
    ==========  ==========  ======================================================================================
    """

    SCRIPT = "a script is sent, again and again until it is answered"
    PLAIN = "a plain command is sent, once unless it has surely not run"
    FORGETTING = "the elements are back, and the server is asked to forget the token"
    OVER = "the elements are back, or the owner has heard why not"


#: The table of `Step`.
STEPS: Final = frozenset(
    {
        (Step.SCRIPT, Step.PLAIN),
        (Step.SCRIPT, Step.FORGETTING),
        (Step.SCRIPT, Step.OVER),
        (Step.PLAIN, Step.OVER),
        (Step.FORGETTING, Step.OVER),
    }
)


class PutBack:
    """Elements on their way back into their key.

    `on_end` is called once: with None when they are back, or else with the reason and whether they are surely lost.
    """

    def __init__(
        self,
        background: Background,
        connection: Connection,
        popped: Popped,
        private: bool,
        name: str,
        on_end: Callable[[BaseException | None, Fate], None],
    ) -> None:
        """Prepare a put-back. `private` tells that the connection was changed: others may be in another database."""
        self.step = Step.SCRIPT
        self._background = background
        self._connection = connection
        self._popped = popped
        self._private = private
        self._name = name
        self._on_end = on_end
        #: The key by which the server knows a put-back that it has done already.
        self._token = token_for(popped.key)
        #: Attempts under way, over several connections perhaps.
        self._attempts: set[asyncio.Future[Any]] = set()
        #: Number of attempts that may have run, or may run yet, and whose reply will never come.
        self._unanswered = 0
        #: Set when the server of the pop says that it is the wrong one by now; never cleared.
        self._moved = False

    def __repr__(self) -> str:
        return f"PutBack({self._name}, {self.step.name})"

    def _to(self, step: Step) -> None:
        assert (self.step, step) in STEPS, f"a put-back goes from {self.step.name} to {step.name}"
        self.step = step

    def begin(self) -> None:
        """Make the first attempt."""
        self._background.begin()
        self._attempt()

    def abandon(self, error: BaseException) -> None:
        """Make no more attempts, because of `error`."""
        if self.step in (Step.SCRIPT, Step.PLAIN):
            self._fail(error)

    # --- Attempts ----------------------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        if self._background.exhausted:
            self._fail(CommandTimeout(f"they could not be put back in {PATIENCE:.3g} s"))
            return
        once = self.step is Step.SCRIPT
        packed = pack(self._popped.undo_once(self._token) if once else self._popped.undo())
        answer = self._send(packed, elsewhere=bool(self._attempts or self._unanswered or self._moved))
        if answer is None:
            why = "the connection ended, and its database and user are not those of others"
            self._fail(ConnectionLost(why, "not sent"))
            return
        self._attempts.add(answer)
        answer.add_done_callback(self._answered, context=Context())
        if once:
            # Later each time, because large elements take long to send.
            self._background.after(ATTEMPT * 2 ** (len(self._attempts) - 1), self._attempt)

    def _send(self, packed: Packed, *, elsewhere: bool = False) -> asyncio.Future[Any] | None:
        """Send a command to the pop's database; return None if there is no way. `elsewhere` avoids its connection."""
        if self._connection.viable and (self._private or not elsewhere):
            # The same connection is sure to have the database and the user of the pop.
            return self._connection.send(packed, False, PATIENCE)
        return None if self._private else self._background.send(packed)

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        self._attempts.discard(answer)
        self._background.in_line.discard(answer)
        if self.step not in (Step.SCRIPT, Step.PLAIN):
            return
        error = answer.exception()
        if error is None:
            self._succeed(answer.result())
            return
        known = isinstance(error, ResponseError) or unsent(error)
        self._moved |= self._background.leave(error)
        self._unanswered += not known
        if self._background.may_pass(error) or not (known or self.step is Step.PLAIN):
            self._background.again(self._attempt)
        elif self._may_be_plain(error):
            self._to(Step.PLAIN)
            self._background.cancel()
            self._attempt()
        else:
            self._fail(error)

    def _may_be_plain(self, error: BaseException) -> bool:
        """Return whether the plain command may succeed: only the script, or the key of its token, is refused."""
        if not isinstance(error, ResponseError) or isinstance(error, WrongTypeError):
            return False
        return self.step is Step.SCRIPT and not self._may_have_run()

    def _may_have_run(self) -> bool:
        """Return whether an attempt without an answer may have run, or may yet."""
        return self._unanswered > 0 or any(map(self._attempt_may_have_run, self._attempts))

    def _attempt_may_have_run(self, attempt: asyncio.Future[Any]) -> bool:
        if attempt in self._background.in_line or self._connection.unsent(attempt):
            return False
        error = attempt.exception() if attempt.done() and not attempt.cancelled() else None
        return error is None or not (isinstance(error, ResponseError) or unsent(error))

    # --- The end -----------------------------------------------------------------------------------------------------

    def _succeed(self, how: object) -> None:
        """Note that the elements are in their key again, and have the server forget the token."""
        logger.debug("%s: put back, as its caller had gone: %d", self._name, len(self._popped.elements))
        once = self.step is Step.SCRIPT
        if how == 2 and once:
            logger.info("%s: the key was gone and is there again, without a time to live", self._name)
        self._stop()
        # If another attempt may still be on its way, the token stays until it expires.
        forgetting = self._send(pack(("DEL", self._token))) if once and not self._may_have_run() else None
        if forgetting is None:
            self._end(None)
        else:
            self._to(Step.FORGETTING)
            forgetting.add_done_callback(self._forgotten, context=Context())

    def _forgotten(self, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled():
            answer.exception()  # if the token cannot be deleted, it expires
        self._end(None)

    def _fail(self, error: BaseException) -> None:
        if any(map(_succeeded, self._attempts)):
            self._end(None)  # the elements are back: an attempt has just succeeded
            return
        self._stop()
        if not self._may_have_run():
            self._end(error)
            return
        if not isinstance(error, ConnectionLost) or error.outcome != "unknown":
            error = ConnectionLost(f"they were sent back, and no reply came ({error})")
        self._end(error, UNKNOWN)

    def _stop(self) -> None:
        """Make no more attempts, and cancel those in the pool's line."""
        self._background.cancel()
        for waiting in self._attempts & self._background.in_line:
            self._attempts.discard(waiting)
            if not self._background.loop.is_closed():
                waiting.cancel()

    def _end(self, error: BaseException | None, fate: Fate = LOST) -> None:
        self._to(Step.OVER)
        self._background.cancel()
        self._on_end(error, fate)


def _succeeded(answer: asyncio.Future[Any]) -> bool:
    return answer.done() and not answer.cancelled() and answer.exception() is None
