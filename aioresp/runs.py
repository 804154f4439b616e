"""When commands are due: those that were sent in one turn of the loop with the same time limit expire together.

Owns what is noted of such a run. Never knows a clock.
"""

from __future__ import annotations

import math
from collections import deque


class Run:
    """Commands that were sent in one turn of the loop with the same time limit.

    `first` is the number of the first of them, counted from the connection's start.
    """

    __slots__ = ("deadline", "first", "timeout")

    def __init__(self, deadline: float, timeout: float, first: int) -> None:
        self.deadline = deadline
        self.timeout = timeout
        self.first = first


def forget(runs: deque[Run], answered: int) -> None:
    """Forget the runs all of whose commands are answered, after so many replies."""
    while len(runs) > 1 and runs[1].first <= answered:
        runs.popleft()


def deadline_of(runs: deque[Run], number: int) -> float:
    """Return by when the reply to a command is due, all before it being answered; forget the runs of those."""
    forget(runs, number)
    return runs[0].deadline if runs else math.inf
