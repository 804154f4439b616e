"""Limits on what a hostile server may send: replies without an end, trickles, unsolicited replies and pushes.

Owns the counts of bytes and where the current partial reply began. Never touches the connection; it is consulted only
for incomplete, late or unsolicited replies.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Final

from aioresp.errors import ProtocolError, ReplyTooLarge

logger = logging.getLogger("aioresp")

#: Bytes by which the size of a reply is not exact: what is read at a time.
SLACK: Final = 96 * 1024

#: Bytes a second that must arrive of a reply whose deadline has passed.
TRICKLE: Final = 16 * 1024

#: How many times its time limit such a reply may take in all.
LONGEST: Final = 10


class Traffic:
    """The counts of one connection since it was made."""

    __slots__ = ("batched", "received", "sent")

    def __init__(self) -> None:
        self.sent = 0
        """Bytes given to the transport."""
        self.received = 0
        """Bytes taken from the transport."""
        self.batched = 0
        """Commands of batches, beyond the one that each batch counts as."""


class ReplyLimits:
    """What is known of the current partial reply, and of unsolicited pushes."""

    BACKLOG: Final = 256 * 1024
    """Bytes that are read at most before the replies that are here are handed out."""

    def __init__(self, max_reply: int | None, traffic: Traffic) -> None:
        self._traffic = traffic
        self._since = 0  # bytes received when the current partial reply began, that read included
        self._most = math.inf if max_reply is None else max_reply + SLACK
        self._seen: tuple[object, int, int, float] = (None, 0, 0, 0.0)  # what the last judged look of `grows` saw
        self._dropped = 0

    def begin(self) -> None:
        """Note that a partial reply may begin in what was received last."""
        self._since = self._traffic.received

    def too_large(self) -> bool:
        """Return whether the partial reply has more bytes than allowed."""
        return self._traffic.received - self._since > self._most

    def refuse(self) -> ReplyTooLarge:
        """Return what the caller of the partial reply gets when it is too large."""
        size = f"{self._traffic.received - self._since:,} bytes"
        return ReplyTooLarge(f"{size} of the reply are here and it goes on; the option max_reply allows no more")

    def grows(self, waiter: object, seconds: float, now: float) -> bool:
        """Return whether the late reply arrives fast enough, which is judged once in so many seconds.

        `waiter` is equal for as long as the same reply is late.
        """
        seen, since, size, looked = self._seen
        if seen == waiter and now < looked + 0.9 * seconds:  # other deadlines pass meanwhile
            return True
        received = self._traffic.received
        self._seen = (waiter, self._since, received, now)
        if seen != waiter:
            return True  # the first look
        # If the bytes that arrived then had been of this reply, it would not have begun again since: it was a push.
        return since == self._since and received - size >= TRICKLE * seconds

    @staticmethod
    def unasked() -> ProtocolError:
        """Return what ends a connection on which an unsolicited reply arrived."""
        return ProtocolError("the server sent a reply nobody had asked for; the connection was dropped")

    def drop(self, push: list[Any]) -> None:
        """Take a push that nobody listens to; the first one is logged."""
        self._dropped += 1
        if self._dropped == 1:
            named = push and isinstance(push[0], bytes)
            kind = repr(push[0].decode("utf-8", "replace"))[:40] if named else "without a name"
            logger.warning("the server sent a message that nobody had asked for (%s); such are dropped", kind)
