"""Limits on what a hostile server may send: replies without an end, trickles, unsolicited replies and pushes.

Owns the counts of bytes and where the current partial reply began. Never touches the connection; it is consulted only
for incomplete, late or unsolicited replies.
"""

from __future__ import annotations

import logging
import math
from itertools import count
from typing import Any, Final

from aioresp.errors import ProtocolError, ReplyTooLarge

logger = logging.getLogger("aioresp")

#: Bytes of one write from which on its progress is watched.
LARGE: Final = 64 * 1024

#: Bytes by which the measured size of a reply may be wrong: the size of one read.
SLACK: Final = 96 * 1024

#: Bytes a second that must arrive of a reply whose deadline has passed.
TRICKLE: Final = 16 * 1024

#: How many times its time limit such a reply may take in all.
LONGEST: Final = 10


_numbers: Final = count(1)


class Traffic:
    """Counters of one connection since it was made."""

    __slots__ = ("batched", "number", "received", "sent")

    def __init__(self) -> None:
        self.number = next(_numbers)
        """Number of the connection among all of the process, from 1."""
        self.sent = 0
        """Bytes given to the transport."""
        self.received = 0
        """Bytes taken from the transport."""
        self.batched = 0
        """Commands of batches, beyond the one that each batch counts as."""


class ReplyLimits:
    """Limits on the current partial reply, and on unsolicited pushes."""

    BACKLOG: Final = 256 * 1024
    """Most bytes that are read before the replies in them are handed out."""

    def __init__(self, max_reply: int | None, traffic: Traffic) -> None:
        self._traffic = traffic
        self._since = 0  # bytes received when the current partial reply began, that read included
        self._most = math.inf if max_reply is None else max_reply + SLACK
        #: The late reply, `_since`, bytes received and time at the last look of `grows`.
        self._seen: tuple[object, int, int, float] = (None, 0, 0, 0.0)
        self._dropped = 0

    def begin(self) -> None:
        """Note that a partial reply may begin in the bytes received last."""
        self._since = self._traffic.received

    def too_large(self) -> bool:
        """Return whether the partial reply has more bytes than allowed."""
        return self._traffic.received - self._since > self._most

    def refuse(self) -> ReplyTooLarge:
        """Return the error for the caller of a partial reply that is too large."""
        size = f"{self._traffic.received - self._since:,} bytes"
        return ReplyTooLarge(f"{size} of the reply are here and it goes on; the option max_reply allows no more")

    def grows(self, waiter: object, seconds: float, now: float) -> bool:
        """Return whether the late reply arrives fast enough; the answer is renewed once in so many seconds.

        `waiter` identifies the late reply: it is equal at each call for the same one.
        """
        seen, since, size, looked = self._seen
        if seen == waiter and now < looked + 0.9 * seconds:  # a call for another deadline: the answer is still good
            return True
        received = self._traffic.received
        self._seen = (waiter, self._since, received, now)
        if seen != waiter:
            return True  # the first look
        # Another `_since` means that the bytes seen then belonged to a push, and not to this reply.
        return since == self._since and received - size >= TRICKLE * seconds

    @staticmethod
    def unasked() -> ProtocolError:
        """Return the error that ends a connection after an unsolicited reply."""
        return ProtocolError("the server sent a reply nobody had asked for; the connection was dropped")

    def drop(self, push: list[Any]) -> None:
        """Drop a push for which there is no listener; the first one is logged."""
        self._dropped += 1
        if self._dropped == 1:
            named = push and isinstance(push[0], bytes)
            kind = repr(push[0].decode("utf-8", "replace"))[:40] if named else "without a name"
            logger.warning("the server sent a message that nobody had asked for (%s); such are dropped", kind)
