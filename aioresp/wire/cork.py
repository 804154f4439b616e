"""Cork on the writes of several connections, so that small ones become fewer and larger (write coalescing).

Owns the flushes that wait, and the turns of the event loop for which they do. Never writes, and never knows what is
written.

The tasks that one node's replies wake send their next commands to all nodes. So each node would get a small write for
each read from any of them. Instead the writes wait while other replies arrive, whose callers will add to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

#: Turns that a flush waits after the first one, if replies arrive in each of them.
TURNS: Final = 3


class Cork:
    """Flushes of the connections of one event loop. A lone command, and a large write, wait for nothing."""

    __slots__ = ("__weakref__", "_flushes", "_left", "_loop", "_seen", "heard")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.heard = 0
        """Number of reads from all of the connections."""
        self._loop = loop
        self._flushes: list[Callable[[], None]] = []
        self._seen = 0  # the number of reads at the last turn
        self._left = 0  # the turns for which the flushes may still wait

    def add(self, flush: Callable[[], None]) -> None:
        """Call `flush` in a later turn, with those of other connections."""
        if not self._flushes:
            self._seen, self._left = -1, TURNS
            self._loop.call_soon(self._turn)
        self._flushes.append(flush)

    def _turn(self) -> None:
        if self._left and self.heard != self._seen:
            self._seen = self.heard
            self._left -= 1
            self._loop.call_soon(self._turn)
            return
        flushes, self._flushes = self._flushes, []
        for flush in flushes:
            try:
                flush()
            except Exception as error:  # as if each were called by the loop
                self._loop.call_exception_handler({"message": "a write has failed", "exception": error})
