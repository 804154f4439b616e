"""Liveness check of a pub/sub connection, by PINGs.

Owns the times at which the next PING is due and its reply is late. Owns, too, the proof in a reply: all messages before
that PING have arrived. Never connects, and never knows the other requests on the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

from aioresp.errors import ConnectionLost
from aioresp.wire.deadlines import LATE
from aioresp.wire.limits import TRICKLE
from aioresp.wire.listener import Listener

#: Seconds of silence after which the server is asked for a sign of life, and seconds in which it has to give one.
PING_AFTER: Final = 5.0
PING_WAIT: Final = 5.0

#: Seconds between two PINGs while something arrives: their replies prove up to when everything has arrived.
PROVE_AFTER: Final = 1.0


class Liveness:
    """Check of the server behind one listener after another, from one look to the next."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ping: Callable[[], None], needed: Callable[[], bool]) -> None:
        """Make one that checks nothing yet.

        `ping` sends a PING; its reply is passed to `answered`. `needed` is called before each look, and returns whether
        the connection is still needed; if not, the check ends.
        """
        self._loop = loop
        self._ping = ping
        self._needed = needed
        self._listener: Listener | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: Loop time at which the wait for a reply began; None while no PING is under way.
        self._pinged: float | None = None
        #: Bytes that had been received at the last PING or at its reply.
        self._proven = 0
        #: Loop time at which the next look is due.
        self._look_at = 0.0

    def begin(self, listener: Listener) -> None:
        """Begin to check the server behind a new connection."""
        self._listener = listener
        self._pinged, self._proven = None, 0
        self._look_after(PING_AFTER)

    def end(self) -> None:
        """Check nothing more: the connection was lost."""
        self._listener = None
        if self._timer is not None:
            self._timer.cancel()

    def answered(self) -> None:
        """Note the reply to the last PING; an error is one, too."""
        self._await_reply(None)

    def resumed(self) -> None:
        """Note that the listener reads on: a reply under way has all of its time from now on."""
        if self._pinged is not None:
            self._await_reply(self._loop.time())

    def _look_after(self, seconds: float) -> None:
        seconds = min(seconds, PROVE_AFTER)
        self._look_at = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._look, context=Context())

    def _look(self) -> None:
        """Send a PING if one is due; end the connection if the reply to the last one is late."""
        listener = self._listener
        if listener is None or not self._needed():
            return
        now = self._loop.time()
        received = listener.connection.traffic.received
        rest = PING_WAIT
        if self._pinged is not None and now - self._look_at > LATE:
            self._pinged += now - self._look_at + LATE  # the loop stood still: the PING may have left only now
        if listener.held:
            pass
        elif self._pinged is not None:
            if received - self._proven >= TRICKLE * (now - self._pinged):
                self._await_reply(now)  # much has arrived before it
            rest -= now - self._pinged
            if rest <= 0:
                silent = f"the server has not answered a PING in {now - self._pinged:.3g} s"
                listener.connection.end(ConnectionLost(f"{silent}; the connection was dropped"))
                return
        elif now - listener.heard >= PING_AFTER or received > self._proven:
            self._await_reply(now)
            self._ping()
        else:
            rest = PING_AFTER - (now - listener.heard)
        self._look_after(rest)

    def _await_reply(self, since: float | None) -> None:
        assert self._listener is not None
        self._pinged = since
        self._proven = self._listener.connection.traffic.received
