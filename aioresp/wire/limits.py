"""What a hostile server could do to a connection, noted and judged: replies without an end, trickles, stray messages.

Owns the limits and what is counted for them. Never touches the connection; it is asked only where a reply is not
complete, or late, or nobody's.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Final

from aioresp.errors import ProtocolError, ReplyTooLarge

logger = logging.getLogger("aioresp")

#: Bytes by which the size of a reply is not exact: what is read at a time.
SLACK: Final = 96 * 1024

#: Bytes a second that must come of a reply whose time is over.
TRICKLE: Final = 16 * 1024

#: How many times its time such a reply may take in all.
LONGEST: Final = 10


class ReplyLimits:
    """What is known of the reply that is here in part, and of pushes that nobody had asked for."""

    BACKLOG: Final = 256 * 1024
    """Bytes that are read at most before the replies that are here are handed out."""

    def __init__(self, max_reply: int | None) -> None:
        self.since = 0
        """How many bytes had arrived when it began, with those that came together with it."""
        self._most = math.inf if max_reply is None else max_reply + SLACK
        self._seen: tuple[object, int, int, float] = (None, 0, 0, 0.0)
        self._dropped = 0

    def too_large(self, received: int) -> bool:
        """Return whether what is here of the reply is more than allowed, after so many bytes in all."""
        return received - self.since > self._most

    def refuse(self, received: int) -> ReplyTooLarge:
        """Return what the caller of the reply gets, after so many bytes in all."""
        size = f"{received - self.since:,} bytes"
        return ReplyTooLarge(f"{size} of the reply are here and it goes on; the option max_reply allows no more")

    def grows(self, waiter: object, received: int, seconds: float, now: float) -> bool:
        """Return whether the late reply arrives fast enough, which is judged once in so many seconds.

        `waiter` is equal for as long as the same reply is late.
        """
        seen, since, size, looked = self._seen
        if seen == waiter and now < looked + 0.9 * seconds:  # other deadlines pass meanwhile
            return True
        self._seen = (waiter, self.since, received, now)
        if seen != waiter:
            return True  # the first look
        # Had what was on its way then been the reply, it would still be: it was a push.
        return since == self.since and received - size >= TRICKLE * seconds

    @staticmethod
    def unasked() -> ProtocolError:
        """Return what ends a connection on which a reply came that nobody waits for."""
        return ProtocolError("the server sent a reply nobody had asked for; the connection was dropped")

    def drop(self, push: list[Any]) -> None:
        """Take a push that nobody had asked for; the first of them is worth a word."""
        self._dropped += 1
        if self._dropped == 1:
            named = push and isinstance(push[0], bytes)
            kind = repr(push[0].decode("utf-8", "replace"))[:40] if named else "without a name"
            logger.warning("the server sent a message that nobody had asked for (%s); such are dropped", kind)
