"""Histogram of latencies with logarithmic buckets, in constant memory.

Owns the counts. A value is told to 1 %; the largest one exactly. Never holds single values.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

#: Width of a bucket: each ends 1 % above its beginning, so its middle is at most 0.5 % off.
STEP = 1.01

#: The least value that is told from others, in seconds; lesser ones count as this.
LEAST = 1e-6

#: The largest, an hour; larger ones count as this, but for the maximum.
MOST = 3600.0

_SCALE = 1 / math.log(STEP)
_SHIFT = -math.log(LEAST) * _SCALE
_SIZE = int(math.log(MOST) * _SCALE + _SHIFT) + 2


class Histogram:
    """Counts of values in seconds."""

    def __init__(self, counts: Sequence[int] = ()) -> None:
        #: Number of values in each bucket.
        self.counts = [*counts, *([0] * (_SIZE - len(counts)))]
        #: The largest value.
        self.highest = 0.0

    def __len__(self) -> int:
        return sum(self.counts)

    def __iadd__(self, other: Histogram) -> Histogram:
        """Add the values of another histogram."""
        self.counts = [one + two for one, two in zip(self.counts, other.counts, strict=True)]
        self.highest = max(self.highest, other.highest)
        return self

    def add(self, seconds: float, count: int = 1) -> None:
        """Add a value, or several of the same."""
        self.counts[_bucket(seconds)] += count
        self.highest = max(self.highest, seconds)

    def add_all(self, values: list[float]) -> None:
        """Add many values, which it sorts: that takes half the time of one after another."""
        values.sort()
        start, count = 0, len(values)
        while start < count:
            number = _bucket(values[start])
            end = max(start + 1, bisect_left(values, _ends(number), start))
            self.counts[number] += end - start
            start = end
        if count:
            self.highest = max(self.highest, values[-1])

    def percentiles(self, percents: Sequence[float]) -> list[float]:
        """Return, in seconds, the values at these percentiles by nearest rank; 0 if there is no value.

        A value is the middle of its bucket, and never more than the largest value that was added.
        """
        sums = list(accumulate(self.counts))
        total = sums[-1]
        if not total:
            return [0.0] * len(percents)
        return [self._at(sums, max(1, math.ceil(total * percent / 100 - 1e-9))) for percent in percents]

    def _at(self, sums: Sequence[int], rank: int) -> float:
        low, high = 0, len(sums) - 1
        while low < high:
            middle = (low + high) // 2
            if sums[middle] >= rank:
                high = middle
            else:
                low = middle + 1
        if rank == sums[-1] and self.highest:
            return self.highest
        return min(middle_of(low), self.highest or MOST)

    @property
    def mean(self) -> float:
        """The mean in seconds, to 1 %."""
        total = len(self)
        return sum(middle_of(n) * count for n, count in enumerate(self.counts) if count) / total if total else 0.0

    def filled(self) -> list[tuple[float, int]]:
        """Return the upper end in seconds and the count of each bucket that is not empty."""
        return [(_ends(n), count) for n, count in enumerate(self.counts) if count]


def _bucket(seconds: float) -> int:
    return int(math.log(min(max(seconds, LEAST), MOST)) * _SCALE + _SHIFT)


def _ends(number: int) -> float:
    return float(LEAST * STEP ** (number + 1))


def middle_of(number: int) -> float:
    """Return the middle of a bucket, in seconds."""
    return float(LEAST * STEP ** (number + 0.5))
