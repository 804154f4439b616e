"""Patience with failed attempts to connect: consecutive failures, and the pause before the next attempt.

Owns the count and the last failure, for a pool or a subscription hub. Never connects and never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from time import monotonic
from typing import Any

from aioresp.errors import ConnectError, ConnectTimeout, PoolTimeout, tried
from aioresp.retry import Retry, may_connect_again

logger = logging.getLogger("aioresp")


class Patience:
    """Consecutive failures, and the rule that says when to give up."""

    def __init__(self, pause: Callable[[BaseException, int], float | None], missing: str) -> None:
        """Begin without a failure.

        `pause` gets an error and the number of failures in a row; it returns the seconds until the next attempt, or
        None to give up. `missing` names the connection in the log.
        """
        self.failures = 0
        #: Error of the last attempt, with the number of attempts; None once a connection has served its purpose.
        self.failure: BaseException | None = None
        self._since = monotonic()  # the time at which the first of the attempts began
        self._pause = pause
        self._missing = missing

    def begin(self) -> None:
        """Note that an attempt begins."""
        if not self.failures:
            self._since = monotonic()

    def fail(self, error: BaseException, beyond: Retry | None = None) -> float | None:
        """Count a failure; return the seconds until the next attempt, or None to give up, which ends the count.

        If the rule gives up, `beyond` continues forever, unless another attempt would fail in the same way.
        """
        self.failures += 1
        self.failure = tried(error, self.failures, monotonic() - self._since)
        _drop_frames(self.failure)
        pause = self._pause(error, self.failures)
        if pause is None and beyond is not None and may_connect_again(error):
            pause = beyond.pause_without_end(self.failures)
        if pause is None:
            self.failures = 0
        else:
            logger.info("no %s: %s; the next attempt is in %.3g s", self._missing, error, pause)
        return pause

    def forget(self) -> None:
        """End the count: a connection has served its purpose."""
        self.failures, self.failure = 0, None


def _drop_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error that is kept, and of its causes: their frames hold closed connections."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def error_of(attempt: asyncio.Task[Any]) -> BaseException | None:
    """Return why a finished attempt to connect failed, or None; a cancelled attempt counts as a failed one."""
    return ConnectError("the attempt to connect was cancelled") if attempt.cancelled() else attempt.exception()


def step_of(attempts: Iterable[asyncio.Task[Any]]) -> str:
    """Return for what an attempt under way waits, as the name of its task tells, or an empty text."""
    return next((found[2] for task in attempts if (found := task.get_name().partition("; "))[2]), "")


def too_late(
    state: str, is_open: Callable[[], int], patience: Patience, opening: Collection[asyncio.Task[Any]]
) -> Callable[[float], Exception]:
    """Return a function from the seconds that a caller waited in a pool's line to its error; `state` is the pool's."""

    def error(waited: float) -> Exception:
        if is_open():
            return PoolTimeout(f"no connection became free in {waited:.3g} s: {state}")
        why = patience.failure or "; ".join(filter(None, (step_of(opening), state)))
        late = ConnectTimeout(f"no connection in {waited:.3g} s: {why}")
        late.__cause__ = patience.failure
        return late

    return error
