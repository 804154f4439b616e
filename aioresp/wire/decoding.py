"""Decoding of the replies under way: as text or as bytes, by the wish of each caller.

Owns the numbers of the commands at which the wish changes, because most callers want the same. Never decodes.
"""

from __future__ import annotations

from collections import deque


class Decoding:
    """Whether the replies to the commands under way on one connection are decoded, in their order.

    A command is known by its number, counted from the connection's start.
    """

    __slots__ = ("flips", "last", "next")

    def __init__(self) -> None:
        self.last = True
        """Whether the reply to the command that was sent last is decoded."""
        self.next = True
        """Whether the reply that is read next is decoded, while there are no `flips`."""
        self.flips: deque[int] = deque()
        """The numbers of the commands at which decoding begins or ends."""

    def flip(self, number: int) -> None:
        """From command `number` on, decode replies if they were not decoded before, and else do not."""
        self.last = not self.last
        self.flips.append(number)

    def of(self, number: int) -> bool:
        """Return whether the reply to a command is decoded; all earlier commands have been answered."""
        while self.flips and self.flips[0] <= number:
            self.flips.popleft()
            self.next = not self.next
        return self.next
