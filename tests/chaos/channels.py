"""Numbered messages: what was published, and what each subscriber heard of it.

Owns the numbers. Never sends anything.
"""

from __future__ import annotations

import time
from array import array

from tests.chaos.ledger import Ledger, Outcome


class Channel:
    """A channel with one publisher, who numbers the messages and sends one after the other.

    If `relayed`, nodes of a cluster pass the messages on to each other: one may overtake another, or be lost with a
    link between two nodes.
    """

    def __init__(self, name: str, *, sharded: bool = False, relayed: bool = False) -> None:
        self.name = name
        self.sharded = sharded
        self.relayed = relayed
        self.number = 0
        self._times = array("d")  # when each number was settled
        self.unknown: set[int] = set()
        self.unsent: set[int] = set()

    def make(self) -> int:
        """Return the number of the next message, which is about to be published."""
        self.number += 1
        return self.number

    def settle(self, number: int, outcome: Outcome) -> None:
        """Note what became of it."""
        self._times.extend([0.0] * (number - len(self._times)))
        self._times[number - 1] = time.monotonic()
        if outcome is Outcome.UNKNOWN:
            self.unknown.add(number)
        elif outcome is Outcome.NOT_DONE:
            self.unsent.add(number)

    def moment(self, number: int) -> float:
        """Return when a message was acknowledged, 0 if it was not."""
        return self._times[number - 1] if number <= len(self._times) else 0.0

    def text(self, number: int, filler: int) -> str:
        """Return the message, which says where it belongs."""
        return f"{self.name}:{number}:" + "x" * filler


class Ear:
    """What one subscriber hears of one channel. Make it once the subscription is confirmed."""

    def __init__(self, ledger: Ledger, channel: Channel, who: str, *, alone: bool = False) -> None:
        self.ledger = ledger
        self.channel = channel
        self.alone = alone  # the subscription has no other channel, whose gaps would be told to this one, too
        self.who = who
        self.last = 0
        # The server subscribed us some time ago, as the answer took its time: of these, the last ones may come.
        self._first = channel.number
        self._excused = False
        self.gaps = 0
        self._overtaken: set[int] = set()  # have been overtaken by others, or lost between two nodes
        #: Passed over with a Gap in a shard channel: a primary that is replaced may still pass them to its successor.
        self._passed_on: set[int] = set()
        self._late: set[int] = set()  # were passed over, and may still come: nobody knows when they are run

    def hear(self, name: str, text: str) -> None:
        """Check a message."""
        self.ledger.figures["messages heard"] += 1
        start, _, rest = text.partition(":")
        number = rest.partition(":")[0]
        if name != self.channel.name or start != name or not number.isdigit():
            self.ledger.crossed(self.who, f"{self.channel.name}:{self.last + 1}", f"{name} {text}")
            return
        self._count(int(number))

    def _count(self, number: int) -> None:
        if number in self.channel.unsent or number > self.channel.number:
            self.ledger.wrong("ran though it was not sent", f"{self.channel.name}:{number}")
        if number <= self.last:
            self._take_late(number)
        elif number > self._first or number not in self.channel.unknown:
            self._pass_over(self.last + 1 if self.last else self._first + 1, number)
            self.last = number
            self._excused = False

    def _take_late(self, number: int) -> None:
        if number in self._late:
            self._late.remove(number)
        elif number in self._overtaken:
            self._overtaken.remove(number)
            self.ledger.figures["messages overtaken between two nodes"] += 1
        elif number in self._passed_on and self._was_replaced(number):
            self._passed_on.remove(number)
            self.ledger.figures["messages overtaken between two nodes"] += 1
        elif self.channel.relayed and number <= self._first:
            pass  # it was on its way to this node
        elif number > self._first or number not in self.channel.unknown:
            known = "of unknown outcome" if number in self.channel.unknown else "acknowledged"
            gap = "behind a Gap" if self._excused else "with no Gap between"
            details = f"{self.who}: {self.channel.name}:{number} after {self.last}, {gap}; {known} {self._when(number)}"
            self.ledger.wrong("message twice or out of order", details)

    def _was_replaced(self, number: int) -> bool:
        """Return whether a primary was being replaced when this message was acknowledged."""
        losses = self.ledger.losses
        return losses is not None and losses.count("message", self.channel.name, [self.channel.moment(number)]) == 1

    def _when(self, number: int) -> str:
        return "as a primary was replaced" if self._was_replaced(number) else "as no primary was replaced"

    def _pass_over(self, start: int, end: int) -> None:
        """Check the hole before a message."""
        for number in range(start, end):
            if number in self.channel.unknown or (self.channel.relayed and number <= self._first):
                self._late.add(number)
            elif number in self.channel.unsent:
                pass
            elif self._excused:
                if self.channel.relayed:  # it may still be on its way between two nodes
                    self._late.add(number)
                elif self.channel.sharded:
                    self._passed_on.add(number)
            elif self.channel.relayed:
                self._overtaken.add(number)
            else:
                details = f"{self.who}: no {self.channel.name}:{number} before {end}; acknowledged {self._when(number)}"
                self.ledger.wrong("hole without a Gap", details)

    def gap(self) -> None:
        """Note a Gap: what is missing up to the next message is excused."""
        self._excused = True
        self.gaps += 1
        self._late |= self._overtaken
        self._overtaken.clear()

    def end(self) -> None:
        """Check that the last message was heard: it was published when all was well, and had its time."""
        if not self._excused:
            self._pass_over(max(self.last, self._first) + 1, self.channel.number + 1)
        elif self.last < self.channel.number:
            self.ledger.wrong("hole without a Gap", f"{self.who}: nothing after a Gap, {self.channel.name}")
        for number in self._overtaken:
            details = f"{self.who}: no {self.channel.name}:{number}"
            moments = [self.channel.moment(number)]
            self.ledger.lost("hole without a Gap", self.channel.name, moments, details, what="message")
