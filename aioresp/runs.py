"""When commands are due: those that were sent in one turn of the loop with the same time limit expire together.

Owns what is noted of such a run. Never knows a clock.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple


class Run(NamedTuple):
    """Commands that were sent in one turn of the loop with the same time limit."""

    deadline: float
    timeout: float
    first: int
    """The number of its first command, counted from the connection's start."""


def forget(runs: deque[Run], answered: int) -> None:
    """Forget the runs all of whose commands are answered, after so many replies."""
    while len(runs) > 1 and runs[1].first <= answered:
        runs.popleft()


def deadline_of(runs: deque[Run], number: int) -> float:
    """Return by when the reply to a command is due, all before it being answered; forget the runs of those."""
    forget(runs, number)
    return runs[0].deadline if runs else math.inf
