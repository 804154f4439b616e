"""When commands are due: those that were sent in one turn of the loop with the same time limit expire together.

Owns what is noted of such a run. Never knows a clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

#: Seconds of silence, while a reply is owed to a caller who gave up, after which a connection takes no more commands.
SILENCE: Final = 1.0

#: Seconds by which a timer is late if the event loop, not the server, has been held up.
LATE: Final = 0.1

#: Seconds in which the server must answer when a connection that has idled is to be used again.
WAKE: Final = 1.0


class Run:
    """Commands that were sent in one turn of the loop with the same time limit.

    `first` is the number of the first of them, counted from the connection's start; `failed` that of the first which
    was not told yet that it is late.
    """

    __slots__ = ("deadline", "failed", "first", "timeout")

    def __init__(self, deadline: float, timeout: float, first: int) -> None:
        self.deadline = deadline
        self.timeout = timeout
        self.first = self.failed = first


def forget(runs: deque[Run], answered: int) -> None:
    """Forget the runs all of whose commands are answered, after so many replies."""
    while len(runs) > 1 and runs[1].first <= answered:
        runs.popleft()


def deadline_of(runs: deque[Run], number: int) -> float:
    """Return by when the reply to a command is due, all before it being answered; forget the runs of those."""
    forget(runs, number)
    return runs[0].deadline if runs else math.inf


def spans(runs: deque[Run], end: int) -> Iterator[tuple[Run, int]]:
    """Go through the runs, each with the number of the first command after it; `end` is that of the last one."""
    for run, following in pairwise([*runs, Run(math.inf, 0.0, end)]):
        yield run, following.first
