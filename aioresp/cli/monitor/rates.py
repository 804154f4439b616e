"""Rates: what happened each second between two readings, and a bounded history of it.

Owns what makes two readings incomparable. Never asks a server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second between two readings, without the monitor's own."""

    seconds: float
    """Time between the readings."""
    received: float
    """Connections that the server accepted."""
    rejected: float
    commands: float
    bytes_in: float
    bytes_out: float
    hits: float
    misses: float
    expired: float
    evicted: float
    errors: float
    cpu: float
    """Cores in use: 1.0 is one core."""

    @property
    def hit_rate(self) -> float | None:
        """Share of the lookups that found their key, 0 to 1; None if there were none."""
        looked = self.hits + self.misses
        return self.hits / looked if looked else None


@dataclass(frozen=True, slots=True)
class Point:
    """Figures of one moment, for curves. `rates` is None where there is a gap."""

    at: float
    rates: Rates | None
    open: int
    used: int
    keys: int


class History:
    """The latest points of one server, oldest first. A gap is a point without rates."""

    def __init__(self, length: int = 600) -> None:
        self._points: deque[Point] = deque(maxlen=length)

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self._points)

    def add(self, point: Point) -> None:
        """Add a point; the oldest makes room."""
        self._points.append(point)

    def curve(self, of: Callable[[Rates], float | None], length: int | None = None) -> list[float | None]:
        """Return one figure of the latest points, None for gaps."""
        points = list(self._points)[-length if length else 0 :]
        return [None if point.rates is None else of(point.rates) for point in points]
