"""Retry policy: which failed calls are sent again, how often, and after which pauses.

Owns the rules, the delays and the one retry loop. Never knows how an attempt travels.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from aioresp.arguments import as_seconds, numeral
from aioresp.errors import (
    ArgumentError,
    ArgumentTypeError,
    AuthenticationError,
    BusyError,
    ClusterDownError,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    LoadingError,
    MasterDownError,
    MaxClientsError,
    NoPermissionError,
    NoReplicasError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TLSError,
    TryAgainError,
    UnblockedError,
)
from aioresp.facts.traits import Traits, traits
from aioresp.record import Record

if TYPE_CHECKING:
    from datetime import timedelta

T = TypeVar("T")

logger = logging.getLogger("aioresp")

#: Errors by which a server says that it has not run the command, and may run it soon. A script, a function or a
#: module's command can return the same errors after it has run: see `has_not_run`.
NOT_NOW = (
    BusyError,
    ClusterDownError,
    LoadingError,
    MasterDownError,
    MaxClientsError,
    NoReplicasError,  # after a failover, until the replicas have found the new primary
    ReadOnlyError,
    TryAgainError,
)

#: Errors by which a server says that connections should lead to another one, or to the same one a little later.
WRONG_SERVER = (LoadingError, MasterDownError, ReadOnlyError)


class Retry(Record):
    """Number and pace of the attempts at a failed call, always within its own deadline.

    The n-th pause is a random time of at most `base * 2 ** (n - 1)` seconds and at most `cap`. Without `jitter` it is
    that time. The default gives up after 2 s on average (at most 4.3). That is long enough for a server to restart or a
    replica to take over, and short enough to report a server that is gone.
    """

    attempts: int
    base: float
    cap: float
    jitter: bool

    def __init__(
        self, attempts: int = 10, *, base: float | timedelta = 0.02, cap: float | timedelta = 1.0, jitter: bool = True
    ) -> None:
        """Allow so many `attempts`, the first one included; 1 tries nothing again. `base` and `cap` are seconds."""
        base, cap = _seconds(base), _seconds(cap)
        for name, value, kinds, least in (
            ("attempts", attempts, (int,), 1),
            ("base", base, (int, float), 0),
            ("cap", cap, (int, float), 0),
        ):
            if value.__class__ not in kinds:
                raise ArgumentTypeError(
                    f"{name} is {type(value).__name__}, not {' or '.join(kind.__name__ for kind in kinds)}"
                )
            if not least <= value < float("inf") or (value.__class__ is int and value >= 2**63):
                raise ArgumentError(f"{name} is {numeral(value)}, not {least} or more")
        super().__init__(attempts, base, cap, jitter)

    def pause(self, failures: int) -> float | None:
        """Return the seconds to wait after so many failures in a row, or None to give up."""
        if failures >= self.attempts:
            return None
        longest = min(self.cap, self.base * 2.0 ** min(failures - 1, 60))
        return longest * int.from_bytes(os.urandom(4)) / 2**32 if self.jitter else longest

    def pause_without_end(self, failures: int) -> float | None:
        """Return the seconds to wait for a caller that never gives up; None only if `attempts` is 1."""
        return self.pause(min(failures, max(self.attempts - 1, 1)))

    def pause_of_connecting(self, error: BaseException, failures: int) -> float | None:
        """Return the seconds to wait before the next attempt to connect, or None if `error` will not go away."""
        return self.pause(failures) if may_connect_again(error) else None


def _seconds(duration: float | timedelta) -> float:
    seconds: float = as_seconds(duration)
    return seconds


NEVER = Retry(1)


class Attempts:
    """Retry loop of one call: how many attempts have failed, and when the next may begin.

    Every call that is sent again goes through `run`: a command, a blocking command on a lease, a pipeline.
    """

    __slots__ = ("_deadline", "_failures", "_repeating", "_retry")

    def __init__(self, retry: Retry, deadline: float, repeating: Callable[[RedisError, int], object] | None) -> None:
        """Begin without a failure; no attempt begins at `deadline` (loop time) or later.

        `repeating` hears of each call that is sent again: its error, and how many attempts have failed.
        """
        self._retry = retry
        self._deadline = deadline
        self._repeating = repeating
        self._failures = 0

    async def run(
        self,
        attempt: Callable[[float | None], Awaitable[T]],
        repeatable: Callable[[RedisError], RedisError | None],
        error: RedisError | None = None,
    ) -> T:
        """Call `attempt` with the seconds that are left until it succeeds; raise its error if it must not be repeated.

        `repeatable` returns None if another attempt could do harm, else the error for `repeating`. With `error`, the
        first attempt has failed already.
        """
        told: RedisError | None = None
        try:
            while True:
                if error is None:
                    try:
                        return await attempt(self._rest())
                    except RedisError as failure:
                        error = failure
                told = repeatable(error)
                if told is None or not await self._pause(error):
                    raise error
                logger.debug("%s is sent again, as it failed: %s", told.command, error)
                if self._repeating is not None:
                    self._repeating(told, self._failures)
                rest = self._rest()
                if rest is not None and rest <= 0:
                    raise error
                error = None
        finally:
            error = told = None  # they hold this frame by their tracebacks

    async def _pause(self, error: RedisError) -> bool:
        """Wait until the next attempt may begin; return False if there is none left, or no time."""
        self._failures += 1
        pause = self._retry.pause(self._failures)
        if pause is None or asyncio.get_running_loop().time() + pause >= self._deadline:
            return False
        if self._failures > 1 or not isinstance(error, ConnectionLost):
            await asyncio.sleep(pause)  # else the pool waits, until it has a new connection
        return True

    def _rest(self) -> float | None:
        return None if self._deadline == math.inf else self._deadline - asyncio.get_running_loop().time()


def may_repeat(
    error: BaseException, command: Sequence[object] | Traits, idempotent: bool, *, reads: bool = True
) -> bool:
    """Return whether a command that failed with `error` may be sent again: it has not run, or may run twice.

    `idempotent` is the caller's word that it may run twice. With `reads`, a command that only reads may run again after
    a lost connection. An error reply of a script counts as its answer, even if the script only reads. Another run may
    be costly, and may fail in the same way.
    """
    if isinstance(error, ConnectionLost):
        return idempotent or error.outcome == "not sent" or (reads and traits(command).read_only)
    return not_now(error) and (idempotent or has_not_run(error, command))


def has_not_run(error: object, command: Sequence[object] | Traits) -> bool:
    """Return whether `error` proves that the command has not run. Only the server's own error to a plain command does.

    A command that is in no server's own table, such as one of a module, is treated like a script.
    """
    return not_now(error) and traits(command).own_words


def not_now(error: object) -> bool:
    """Return whether the server says that a command has not run, and may run soon, here or on another server."""
    return isinstance(error, NOT_NOW) or _demoted(error)


def wrong_server(error: object) -> bool:
    """Return whether the server says that the connection should lead to another server."""
    return isinstance(error, WRONG_SERVER) or _demoted(error)


def _demoted(error: object) -> bool:
    """Return whether the server has ended a blocking command because it became a replica.

    Other errors of the class say that a caller used CLIENT UNBLOCK, or that a stream is gone.
    """
    return isinstance(error, UnblockedError) and "instance state changed" in str(error)


def may_read_on(error: BaseException) -> bool:
    """Return whether a stream reader may read again: the server was out of reach, or not ready."""
    return isinstance(error, (CommandTimeout, UnblockedError)) or may_connect_again(error)


def may_connect_again(error: BaseException) -> bool:
    """Return whether another attempt to connect may succeed: not after wrong credentials or a wrong certificate."""
    if isinstance(error, (AuthenticationError, NoPermissionError)):
        return False
    if not isinstance(error, ConnectError):
        return isinstance(error, (ConnectionLost, *NOT_NOW))
    cause = error.__cause__
    if isinstance(cause, ResponseError):
        return isinstance(cause, NOT_NOW)
    return not isinstance(error, TLSError)
