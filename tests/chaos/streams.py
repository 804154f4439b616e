"""Numbered entries of a stream with one writer: what must be in it at the end.

Owns the numbers. Never sends anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from tests.chaos.channels import Channel
from tests.chaos.ledger import Ledger

#: The group that works off the jobs of a stream.
GROUP: Final = "group"


class Log(Channel):
    """A stream to which one writer appends numbered entries."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        super().__init__(name)
        self.ledger = ledger

    def check(self, texts: Iterable[str]) -> None:
        """Check what is in it at the end: all that was acknowledged, once, and nothing that was not sent."""
        found: Counter[int] = Counter()
        for text in texts:
            name, _, rest = text.partition(":")
            digits = rest.partition(":")[0]
            if name != self.name or not digits.isdigit():
                self.ledger.crossed("the stream", self.name, text)
            else:
                found[int(digits)] += 1
        for number in range(1, self.number + 1):
            if found[number] > 1:
                self.ledger.wrong("ran twice", f"{self.name}:{number} was appended {found[number]} times")
            elif found[number] and number in self.unsent:
                self.ledger.wrong("ran though it was not sent", f"{self.name}:{number}")
            elif not found[number] and number not in self.unknown and number not in self.unsent:
                details = f"{self.name}:{number} is not in the stream"
                self.ledger.lost("acknowledged write lost", self.name, [self.moment(number)], details)
