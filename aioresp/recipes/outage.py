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
    RedisError,
    TLSError,
)
from aioresp.retry import NOT_NOW

log: Final = logging.getLogger("aioresp")

#: Errors that pass when the server is back, or has room again. Wrong passwords, missing permissions and keys of another
#: type are mistakes, and never among them.
AWAY: Final = (ConnectError, ConnectionLost, CommandTimeout, OutOfMemoryError, PersistenceError, ClusterError, *NOT_NOW)


class Outage:
    """The time in which the server does not do its part."""

    def __init__(self, recipe: str, instead: str) -> None:
        self._recipe = recipe
        self._instead = instead
        self._until = 0.0  # monotonic time until which the server need not be asked again
        self.lasts = False  # set by an error, cleared by an answer

    def begin(self, error: RedisError, pause: float = 0.0) -> None:
        """Note an error; the first one is logged."""
        if isinstance(error, TLSError):
            raise error  # a certificate does not become valid by waiting
        self._until = time.monotonic() + pause
        if not self.lasts:
            self.lasts = True
            log.warning(
                "%s: the server does not answer as it should (%s); until it does, %s",
                self._recipe,
                type(error).__name__,
                self._instead,
            )

    @property
    def pauses(self) -> bool:
        """Whether an error came a moment ago, so that the server need not be asked now."""
        return self.lasts and time.monotonic() < self._until

    def end(self) -> None:
        """Note an answer."""
        self.lasts = False
        log.info("%s: the server answers again", self._recipe)
