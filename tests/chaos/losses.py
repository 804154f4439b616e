"""What servers lose by their nature, with times and slots: writes that a promoted replica never had, pops among them,
messages that went down with a link between two nodes, and keys on their way that a replica does not find.

Owns the windows, and the suspicions that they explain. Never opens a window itself: only those who ask the servers do.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from aioresp.testing.slots import keyslot

What: TypeAlias = Literal["write", "message", "read"]

#: Figure under which each kind of loss is counted.
FIGURES: Final[dict[What, str]] = {
    "write": "writes lost by replication, by the servers' own words",
    "message": "messages lost between two nodes",
    "read": "reads of replicas that did not find keys on their way",
}

#: Figure under which pops are counted that were reported as lost, and that the servers have lost in turn.
UNDONE: Final = "pops undone by replication after their report, by the servers' own words"


@dataclass(slots=True)
class Window:
    """A time in which something that was acknowledged may be lost again; of some slots, or of all."""

    what: What
    since: float
    slots: frozenset[int] | None
    until: float = math.inf

    def close(self) -> None:
        """End it now: what is acknowledged from now on must stay."""
        self.until = min(self.until, time.monotonic())

    def covers(self, slot: int, moment: float) -> bool:
        """Return whether what was acknowledged at that moment may be lost."""
        return self.overlaps(slot, moment, moment)

    def overlaps(self, slot: int, begin: float, end: float) -> bool:
        """Return whether something of that time may have met it."""
        return self.since <= end and begin <= self.until and (self.slots is None or slot in self.slots)


@dataclass(slots=True)
class Suspicion:
    """Something that is missing, or is there again. It is a problem unless a window covers each of its `moments`.

    With `within`, it was done once at an unknown moment of that time, and a window must meet that time.
    """

    law: str
    what: What
    key: str
    moments: Sequence[float]
    details: str
    within: tuple[float, float] | None = None


@dataclass
class Losses:
    """The windows of a run, and its suspicions until the end: a window may be found later than what it explains."""

    windows: list[Window] = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)

    def open(self, what: What, slots: Iterable[int] | None = None, since: float | None = None) -> Window:
        """Return a new window that begins now, or at `since`."""
        begin = time.monotonic() if since is None else since
        self.windows.append(window := Window(what, begin, None if slots is None else frozenset(slots)))
        return window

    def concern(self, key: str) -> bool:
        """Return whether any writes to a key may be lost."""
        slot = keyslot(key)
        return any(each.what == "write" and (each.slots is None or slot in each.slots) for each in self.windows)

    def count(self, what: What, key: str, moments: Iterable[float]) -> int:
        """Return how many of these moments lie in a window."""
        slot = keyslot(key)
        windows = [each for each in self.windows if each.what == what]
        return sum(any(each.covers(slot, moment) for each in windows) for moment in moments)

    def explain(self, what: What, key: str, begin: float, end: float) -> bool:
        """Return whether a window that is known by now lies in that time at least in part."""
        slot = keyslot(key)
        return any(each.what == what and each.overlaps(slot, begin, end) for each in self.windows)

    def told(self, key: str, moment: float) -> str:
        """Return in words when writes to a key may have been lost, as seconds from a moment."""
        slot = keyslot(key)
        windows = [each for each in self.windows if each.what == "write" and (not each.slots or slot in each.slots)]
        times = ", ".join(f"{each.since - moment:+.2f} to {each.until - moment:+.2f} s" for each in windows)
        return f"its slot may have lost writes: {times or 'never'}"

    def settle(self) -> tuple[list[Suspicion], Counter[str]]:
        """Return the suspicions that no window explains, and the figures of the others; forget all."""
        problems: list[Suspicion] = []
        figures: Counter[str] = Counter()
        for each in self.suspicions:
            if each.within is not None:
                if self.explain(each.what, each.key, *each.within):
                    figures[UNDONE] += 1
                else:
                    problems.append(each)
            elif each.moments and self.count(each.what, each.key, each.moments) == len(each.moments):
                figures[FIGURES[each.what]] += len(each.moments)
            else:
                problems.append(each)
        self.suspicions.clear()
        return problems, figures
