"""Fault settings of one direction of the network, for all connections through a proxy.

Owns the settings, their random draws, and the offset of the byte at which each fault acts. Never touches a
transport.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["up", "down"]
Delay: TypeAlias = float | tuple[float, float] | Callable[[], float]
Split: TypeAlias = int | tuple[int, int] | Callable[[], int] | None


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection."""

    rst: bool


@dataclass(frozen=True, slots=True)
class Change:
    """Send `data`, and drop the stream's next `drop` bytes."""

    data: bytes
    drop: int


@dataclass(frozen=True, slots=True)
class Trigger:
    """Action that is taken once, after `at` bytes have passed in a direction."""

    at: int
    action: Cut | Change


@dataclass(slots=True)
class Faults:
    """Faults of one direction for all connections, and the number of bytes it has passed on."""

    chance: random.Random
    delay: Delay = 0.0
    split: Split = None
    stalled: bool = False
    passed: int = 0
    cuts: int = 0
    triggers: list[Trigger] = field(default_factory=list)

    @property
    def none(self) -> bool:
        """Whether bytes may simply pass."""
        return not (self.delay or self.split or self.stalled or self.triggers)

    def draw_delay(self) -> float:
        """Return the seconds that the next bytes are to wait."""
        if isinstance(self.delay, tuple):
            return self.chance.uniform(*self.delay)
        return self.delay() if callable(self.delay) else self.delay

    def draw_size(self, most: int) -> int:
        """Return the number of bytes for the next write, from 1 to `most`."""
        size = self.split
        if isinstance(size, tuple):
            size = self.chance.randint(*size)
        elif callable(size):
            size = size()
        return most if size is None else max(1, min(size, most))

    def add(self, after: int, action: Cut | Change) -> None:
        """Take `action` after `after` more bytes have passed."""
        self.triggers.append(Trigger(self.passed + after, action))
        self.triggers.sort(key=lambda trigger: trigger.at)  # stable: at the same byte, in the order of the calls

    def due(self) -> Cut | Change | None:
        """Return and remove the next action if its byte has been reached."""
        if self.triggers and self.triggers[0].at <= self.passed:
            return self.triggers.pop(0).action
        return None
