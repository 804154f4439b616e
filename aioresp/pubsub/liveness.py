"""Liveness check of a pub/sub connection, by PINGs.

Owns the times at which the next PING is due and its reply is late. Owns, too, the proof in a reply: all messages before
that PING have arrived. Never connects, and never knows the other requests on the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aioresp.errors import ConnectionLost
from aioresp.wire.deadlines import LATE
from aioresp.wire.limits import TRICKLE
from aioresp.wire.listener import Listener

#: Seconds of silence after which the server is asked for a sign of life, and seconds in which it has to give one.
PING_AFTER: Final = 5.0
PING_WAIT: Final = 5.0

#: Seconds between two PINGs while something arrives: their answers tell up to when all of it is here.
PROVE_AFTER: Final = 1.0


class Liveness:
    """State of the server at the other end of a listener, from one look to the next.

    `ping` sends a PING, whose answer is told to `answered`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ping: Callable[[], None]) -> None:
        self._loop = loop
        self._ping = ping
        self._pinged: float | None = None  # since when an answer is awaited
        self._proven = 0  # bytes that had been received at the last PING or answer
        self._look_at = 0.0  # when the next look is due

    def begin(self) -> float:
        """Begin with a new connection, and return the seconds until the first look."""
        self._pinged, self._proven = None, 0
        return self._next(PING_AFTER)

    def look(self, listener: Listener) -> float | None:
        """Send a PING if one is due; return the seconds until the next look, or None if the connection is ended."""
        now = self._loop.time()
        received = listener.connection.bytes_received
        rest = PING_WAIT
        if self._pinged is not None and now - self._look_at > LATE:
            self._pinged += now - self._look_at + LATE  # the loop stood still: the PING may have left only now
        if listener.held:
            pass
        elif self._pinged is not None:
            if received - self._proven >= TRICKLE * (now - self._pinged):
                self._await_answer(listener, now)  # there is much before it
            rest -= now - self._pinged
            if rest <= 0:
                silent = f"the server has not answered a PING in {now - self._pinged:.3g} s"
                listener.connection.end(ConnectionLost(f"{silent}; the connection was dropped"))
                return None
        elif now - listener.heard >= PING_AFTER or received > self._proven:
            self._await_answer(listener, now)
            self._ping()
        else:
            rest = PING_AFTER - (now - listener.heard)
        return self._next(rest)

    def _next(self, seconds: float) -> float:
        seconds = min(seconds, PROVE_AFTER)
        self._look_at = self._loop.time() + seconds
        return seconds

    def answered(self, listener: Listener) -> None:
        """Note the answer to the last PING; an error is one, too."""
        self._await_answer(listener, None)

    def resumed(self, listener: Listener) -> None:
        """Note that the listener reads on, so that an answer may need all of its time from now on."""
        if self._pinged is not None:
            self._await_answer(listener, self._loop.time())

    def _await_answer(self, listener: Listener, since: float | None) -> None:
        self._pinged = since
        self._proven = listener.connection.bytes_received
