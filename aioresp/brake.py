"""Pauses between logins that a server refuses, for all event loops and threads of one client.

Owns the last refusal and the time of the next attempt. Never waits and never connects: until that time it raises the
refusal again, so that a wrong password neither locks an account nor floods a log.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from aioresp.credentials import Credentials
from aioresp.errors import ConnectError, MaxClientsError, ResponseError, anew
from aioresp.retry import NOT_NOW

#: Seconds that the first pause after a refusal lasts, and the longest; each refusal doubles it.
PAUSES: Final = (1.0, 30.0)

#: The same for a server that has as many clients as it accepts: those who retry find soon that there is room again.
PAUSES_IF_FULL: Final = (0.1, 1.0)


class Brake:
    """What a client knows of refused logins: nothing, or the last refusal and when the next attempt is due.

    There is no lock: two threads that meet here cost one attempt more. A child after a fork goes on with its copy.
    """

    def __init__(self) -> None:
        self._refusal: ResponseError | ConnectError | None = None
        self._refused: Credentials | None = None
        self._failures = 0
        self._due = 0.0
        self._fresh = True  # whether other credentials than those refused may be tried before the pause is over

    def __repr__(self) -> str:
        if self._refusal is None:
            return "Brake(off)"
        return f"Brake(after {self._failures} refusals, next attempt in {max(self._due - monotonic(), 0.0):.3g} s)"

    @property
    def on(self) -> bool:
        """Whether the last login was refused."""
        return self._refusal is not None

    @property
    def is_full(self) -> bool:
        """Whether the last login was refused as the server has as many clients as it accepts."""
        return self._refusal is not None and isinstance(self._refusal.__cause__, MaxClientsError)

    def begin(self, credentials: Credentials | None) -> int:
        """Begin an attempt, and return what `fail` takes. Raises the last refusal if the pause after it is not over.

        Other credentials than those refused need not wait, but only once a pause: a token may be new each time.
        """
        if self._refusal is not None:
            now = monotonic()
            if now < self._due:
                if not self._fresh or _same(credentials, self._refused):
                    raise _told(self._refusal, self._due - now)
                self._fresh = False
            else:
                self._fresh = True
            self._due = now + self._pause()  # the others wait for what becomes of this one
        return self._failures

    def succeed(self) -> None:
        """Note a login that was accepted."""
        self._refusal = self._refused = None
        self._failures = 0

    def give_up(self, attempt: int) -> None:
        """Note the end of an attempt about which the server has said nothing: the next one may begin at once."""
        if attempt == self._failures:
            self._due = 0.0

    def fail(self, attempt: int, error: BaseException, credentials: Credentials | None) -> None:
        """Note the error that ended an attempt, after the server was told who we are.

        What it would have answered is not known if the connection was lost, or the attempt cancelled: the pause stays.
        """
        refusal = _refusal(error)
        if refusal is not None:
            if attempt == self._failures:  # those that began together are one failure
                self._failures += 1
            self._refusal, self._refused = refusal, credentials
            self._due = monotonic() + self._pause()
        elif isinstance(error, ResponseError) or isinstance(error.__cause__, ResponseError):
            self.give_up(attempt)  # LOADING, for one

    def _pause(self) -> float:
        first, longest = PAUSES_IF_FULL if self.is_full else PAUSES
        return min(longest, first * 2.0 ** min(max(self._failures - 1, 0), 60))


def _refusal(error: BaseException) -> ResponseError | ConnectError | None:
    """Return a copy of `error`, without the frames it came through, if the server has refused the login by it."""
    said = error.__cause__ if isinstance(error, ConnectError) else error
    if not isinstance(said, ResponseError) or (isinstance(said, NOT_NOW) and not isinstance(said, MaxClientsError)):
        return None
    assert isinstance(error, (ResponseError, ConnectError))
    return _copy(error)


def _copy(error: ResponseError | ConnectError) -> ResponseError | ConnectError:
    own = anew(error)
    own.__cause__ = None if error.__cause__ is None else anew(error.__cause__)
    return own


def _told(refusal: ResponseError | ConnectError, rest: float) -> ResponseError | ConnectError:
    error = _copy(refusal)
    error.args = (f"{error.args[0]} (the next attempt is in {rest:.3g} s)", *error.args[1:])
    return error


def _same(credentials: Credentials | None, others: Credentials | None) -> bool:
    if credentials is None or others is None:
        return credentials is others
    return credentials.words == others.words
