"""Keys with one writer, and counters that all share: what must be in them at the end.

Owns the bounds that follow from what was acknowledged and what is unknown. Never sends anything.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence

from tests.chaos.ledger import Ledger, Outcome


class Line:
    """The keys of one writer, of which it uses one after the other.

    Where a writer does not know whether a write took place, it leaves the key as it is and goes on with the next one.
    So each key has at most one open question, its last, and all before it is exact: of a counter each reply is the one
    before it plus one, and to run a command twice shows at once.
    """

    def __init__(self, ledger: Ledger, prefix: str) -> None:
        self.ledger = ledger
        self.prefix = prefix
        self.value = 0  # acknowledged
        self.tried = 0  # the highest that was ever sent
        self._low, self._high = array("q"), array("q")
        self._times = [array("d")]  # of each key: when each of its numbers was acknowledged

    @property
    def key(self) -> str:
        """The key that is in use."""
        return f"{self.prefix}:{len(self._low)}"

    @property
    def retired(self) -> int:
        """How many keys were left behind an unknown outcome."""
        return len(self._low)

    def settle(self, outcome: Outcome, by: int = 1) -> None:
        """Note what became of a write."""
        if outcome is Outcome.DONE:
            self.value += by
            self._times[-1].extend([time.monotonic()] * by)
        elif outcome is Outcome.UNKNOWN:
            self._low.append(self.value)
            self._high.append(self.value + by)
            self._times.append(array("d"))
            self.value = self.tried = 0

    def expect(self, value: int, by: int = 1) -> None:
        """Check the reply of an increment, which has the next value."""
        if value == self.value + by:
            return
        details = f"{self.key} is {value} after {self.value} and {by} more"
        if value > self.value + by:
            self.ledger.wrong("ran twice", details)
            self._times[-1].extend([0.0] * (value - by - self.value))
        else:
            self.ledger.lost("acknowledged write lost", self.key, self.moments(self.key, value - by), details)
            del self._times[-1][max(value - by, 0) :]
        self.value = value - by

    def moments(self, key: str, found: int, low: int | None = None) -> Sequence[float]:
        """Return when the numbers after `found` were acknowledged, up to `low`."""
        return self._times[int(key.rpartition(":")[2])][max(found, 0) : low]

    def bounds(self) -> Iterator[tuple[str, int, int]]:
        """Yield each key with the least and the most that may be in it."""
        for number, (low, high) in enumerate(zip(self._low, self._high, strict=True)):
            yield f"{self.prefix}:{number}", low, high
        yield self.key, self.value, self.value

    def check(self, key: str, low: int, high: int, found: int) -> None:
        """Check what is in a counter at the end."""
        if found < low:
            details = f"{key} is {found}, and {low} were acknowledged"
            self.ledger.lost("acknowledged write lost", key, self.moments(key, found, low), details)
        elif found > high:
            self.ledger.wrong("ran twice", f"{key} is {found}, with {low} acknowledged and {high - low} unknown")


class Register(Line):
    """The same for values that are set: each says whose it is, and its number."""

    def render(self, number: int, filler: int) -> str:
        """Return the value to set."""
        return f"{self.key}={number}|" + "x" * filler

    def number(self, key: str, value: str | None) -> int:
        """Return the number of a value that was read from `key`, of whatever writer."""
        if value is None:
            return 0
        name, _, rest = value.partition("=")
        if name != key:
            self.ledger.crossed("a reader", key, value)
            return 0
        return int(rest.partition("|")[0])

    def check(self, key: str, low: int, high: int, found: int) -> None:
        """Check what is in a register at the end: the last acknowledged value, or the unknown one after it."""
        if found not in (low, high):
            details = f"{key} has value {found}, not {low} or {high}"
            self.ledger.lost("acknowledged write lost", key, self.moments(key, found, low), details)


class Shared:
    """A counter that many increment: no reply twice, and an end between what is acknowledged and what is possible."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self.ledger = ledger
        self.key = key
        self.acknowledged = self.unknown = self.under_way = 0
        self._seen = array("d")  # when each number was acknowledged, 0 before

    def start(self, by: int = 1) -> None:
        """Note an increment that is about to be sent."""
        self.under_way += by

    def settle(self, outcome: Outcome, by: int = 1, value: int = 0) -> None:
        """Note what became of it; if it is done, `value` is the reply."""
        if outcome is Outcome.DONE:
            if value > self.acknowledged + self.unknown + self.under_way:
                self.ledger.wrong("ran twice", f"{self.key} is {value}: {self!r}")
            self._take(value, by)
            self.acknowledged += by
        elif outcome is Outcome.UNKNOWN:
            self.unknown += by
        self.under_way -= by

    def _take(self, value: int, by: int) -> None:
        if value > len(self._seen):
            self._seen.extend([0.0] * (value + 4096 - len(self._seen)))
        for number in range(max(value - by, 0), value):
            if before := self._seen[number]:
                self.ledger.lost("acknowledged write lost", self.key, [before], f"{self.key} was {number + 1} twice")
                self.acknowledged -= 1  # the first time counts no more
            self._seen[number] = time.monotonic()

    def __repr__(self) -> str:
        return f"{self.acknowledged} acknowledged, {self.unknown} unknown, {self.under_way} under way"

    def check(self, found: int) -> None:
        """Check what is in it at the end."""
        if found < self.acknowledged:
            missing = [moment for moment in self._seen[found:] if moment]
            self.ledger.lost("acknowledged write lost", self.key, missing, f"{self.key} is {found}: {self!r}")
        elif found > self.acknowledged + self.unknown:
            self.ledger.wrong("ran twice", f"{self.key} is {found}: {self!r}")
