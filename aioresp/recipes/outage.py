"""Outage of the server, as recipes see it: which errors mean one, and one line in the log for each.

Owns when it began. Never decides what a recipe does meanwhile.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from aioresp.errors import (
    ClusterError,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    OutOfMemoryError,
    PersistenceError,
    ReadOnlyError,
    RedisError,
    TLSError,
)
from aioresp.retry import NOT_NOW

log: Final = logging.getLogger("aioresp")

#: Errors that pass when the server is back, or has room again. Wrong passwords, missing permissions and keys of another
#: type are mistakes, and never among them.
AWAY: Final = (ConnectError, ConnectionLost, CommandTimeout, OutOfMemoryError, PersistenceError, ClusterError, *NOT_NOW)


#: Those of them with which a server that can be read refuses to write.
_NO_WRITES: Final = (OutOfMemoryError, PersistenceError, ReadOnlyError)

#: Seconds in which an outage is logged once: a server may refuse each write, and answer each read in between.
_SELDOM: Final = 30.0


class Outage:
    """The time in which the server does not do its part."""

    def __init__(self, recipe: str, instead: str) -> None:
        self._recipe = recipe
        self._instead = instead
        self._until = 0.0  # monotonic time until which the server need not be asked again
        self._logged = float("-inf")  # monotonic time at which an outage was logged last
        self._is_told = False  # set when the outage is logged, cleared when its end is
        self.lasts = False  # set by an error, cleared by an answer

    def begin(self, error: RedisError, pause: float = 0.0) -> None:
        """Note an error; the first one is logged. For `pause` seconds a server that is away need not be asked."""
        if isinstance(error, TLSError):
            raise error  # a certificate does not become valid by waiting
        now = time.monotonic()
        if not isinstance(error, _NO_WRITES):
            self._until = now + pause
        if not self.lasts and now > self._logged + _SELDOM:
            self._logged = now
            self._is_told = True
            log.warning(
                "%s: the server does not answer as it should (%s); until it does, %s",
                self._recipe,
                type(error).__name__,
                self._instead,
            )
        self.lasts = True

    @property
    def pauses(self) -> bool:
        """Whether an error came a moment ago, so that the server need not be asked now."""
        return self.lasts and time.monotonic() < self._until

    def end(self) -> None:
        """Note an answer."""
        self.lasts = False
        if self._is_told:
            self._is_told = False
            log.info("%s: the server answers again", self._recipe)
