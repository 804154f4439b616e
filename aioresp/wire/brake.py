"""Back-off between logins that a server refuses, for all event loops and threads of one client.

Owns the last refusal and the time of the next attempt. Never waits and never connects. Until that time it raises the
refusal again, so a wrong password neither locks an account nor floods a log.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from aioresp.errors import (
    AuthenticationError,
    ConnectError,
    MaxClientsError,
    NoPermissionError,
    ResponseError,
    copy_error,
)
from aioresp.retry import NOT_NOW
from aioresp.wire.credentials import Credentials

#: Seconds that the first pause after refused credentials lasts, and the longest; each refusal doubles it.
PAUSES: Final = (1.0, 30.0)

#: The same for other refusals, mostly too many clients. They lock no account and may pass by themselves.
PAUSES_OTHERWISE: Final = (0.1, 1.0)


class Brake:
    """The refused logins of a client: none, or the last refusal and the time of the next attempt.

    There is no lock: two threads that meet here cost one more attempt. A child after a fork goes on with its copy.
    """

    def __init__(self) -> None:
        self._refusal: ResponseError | ConnectError | None = None
        self._refused: Credentials | None = None
        self._refusals = 0  # the number of all refusals so far
        self._failures = 0  # the number of consecutive refusals of one kind
        self._due = 0.0  # the monotonic time of the next attempt
        self._fresh = True  # set when a pause is over, cleared when other credentials are tried during a pause

    def __repr__(self) -> str:
        if self._refusal is None:
            return "Brake(off)"
        return f"Brake(after {self._failures} refusals, next attempt in {max(self._due - monotonic(), 0.0):.3g} s)"

    @property
    def on(self) -> bool:
        """Whether the last login was refused."""
        return self._refusal is not None

    @property
    def of_credentials(self) -> bool:
        """Whether the last login was refused for its credentials or their permissions."""
        return isinstance(_said(self._refusal), (AuthenticationError, NoPermissionError))

    def begin(self, credentials: Credentials | None) -> int:
        """Begin an attempt; return its number for `fail`. Raises the last refusal if the pause after it is not over.

        Credentials other than the refused ones need not wait, but only once in each pause: tokens may be new each time.
        """
        if self._refusal is not None:
            now = monotonic()
            if now < self._due:
                if not self._fresh or _same(credentials, self._refused):
                    raise _told(self._refusal, self._due - now)
                self._fresh = False
            else:
                self._fresh = True
            self._due = now + self._pause()  # other attempts wait for the outcome of this one
        return self._refusals

    def succeed(self) -> None:
        """Note a login that was accepted."""
        self._refusal = self._refused = None
        self._failures = 0

    def give_up(self, attempt: int) -> None:
        """Note that an attempt ended without an answer of the server: the next one may begin at once."""
        if attempt == self._refusals:
            self._due = 0.0

    def fail(self, attempt: int, error: BaseException, credentials: Credentials | None) -> None:
        """Note the error that ended an attempt, after the login was sent.

        If the connection was lost or the attempt cancelled, the server's answer is not known: the pause stays.
        """
        said = _said(error)
        if isinstance(said, NOT_NOW) and not isinstance(said, MaxClientsError):
            self.give_up(attempt)
        elif isinstance(error, (ResponseError, ConnectError)) and isinstance(said, ResponseError):
            before = self.of_credentials
            self._refusal, self._refused = _copy(error), credentials
            if self.of_credentials is not before:
                self._failures = 1
            elif attempt == self._refusals:  # attempts that began together are one failure
                self._failures += 1
            self._refusals += 1
            self._due = monotonic() + self._pause()

    def _pause(self) -> float:
        first, longest = PAUSES if self.of_credentials else PAUSES_OTHERWISE
        return min(longest, first * 2.0 ** min(max(self._failures - 1, 0), 60))


def _said(error: BaseException | None) -> BaseException | None:
    """Return the server's own error, if `error` is a refusal."""
    return error.__cause__ if isinstance(error, ConnectError) else error


def _copy(error: ResponseError | ConnectError) -> ResponseError | ConnectError:
    """Return the same error without its traceback: no object of a caller is kept."""
    own = copy_error(error)
    own.__cause__ = None if error.__cause__ is None else copy_error(error.__cause__)
    return own


def _told(refusal: ResponseError | ConnectError, rest: float) -> ResponseError | ConnectError:
    error = _copy(refusal)
    error.args = (f"{error.args[0]} (the next attempt is in {rest:.3g} s)", *error.args[1:])
    return error


def _same(credentials: Credentials | None, others: Credentials | None) -> bool:
    if credentials is None or others is None:
        return credentials is others
    return credentials.words == others.words
