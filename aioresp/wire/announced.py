"""Number of parts that the long lists of one reply announce.

Owns the limits: hiredis reserves room for as many parts as a header announces. Never keeps any part of the stream.
"""

from __future__ import annotations

from typing import Final

from aioresp.errors import ProtocolError, ReplyTooLarge
from aioresp.wire.elements import LONG, LONG_HEADER

#: Most parts that the long lists of one reply may announce.
MOST_PARTS: Final = 100_000_000

#: Bytes of the smallest part of a list.
SMALLEST_PART: Final = 3

_NEVER_LONG: Final = {b">": "a push", b"|": "an attribute"}
_DIGITS: Final = b"0123456789"


class Announced:
    """Parts that the long lists of a reply have announced so far, and how many they may be."""

    def __init__(self, max_reply: int | None) -> None:
        self._most = MOST_PARTS if max_reply is None else min(max_reply // SMALLEST_PART, MOST_PARTS)
        self.parts = 0  # the parser sets it to 0 at the end of each reply

    def may_go_on(self, data: bytes, position: int) -> bool:
        """Return whether the header of a list at `position` is complete, or too long to be one.

        Raises ProtocolError if it announces too much, and ReplyTooLarge if that is more than `max_reply` allows.
        """
        start = position + 1
        if data.find(b"\r\n", start, start + LONG + 1) >= 0:
            return True
        header = data[start : start + LONG_HEADER]
        count = header[: len(header) - len(header.lstrip(_DIGITS))]
        if len(count) == len(header) < LONG_HEADER:
            return False
        if len(count) >= LONG:
            if never := _NEVER_LONG.get(data[position:start]):
                raise ProtocolError(f"{never} of {int(count):,} parts")
            self.add(int(count), "a list")
        return True

    def add(self, parts: int, what: str) -> None:
        """Count the parts of a long list or map."""
        self.parts += parts
        if self.parts > MOST_PARTS:
            raise ProtocolError(f"{what} of {parts:,} parts")
        if self.parts > self._most:
            raise ReplyTooLarge(f"there is {what} of {parts:,} parts in the reply; the option max_reply allows no more")
