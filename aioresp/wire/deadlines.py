"""Reply deadlines of a connection: one timer, and one entry for all commands of a turn with the same time limit.

Owns the timer, the deadlines, and when the server was last heard. Never ends a connection: it fails late commands and
tells whether the server is in doubt.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Final

from aioresp.errors import CommandTimeout
from aioresp.timers import PUNCTUAL, after_reading, given_back
from aioresp.wire.batch import fail
from aioresp.wire.limits import LONGEST

if TYPE_CHECKING:
    from aioresp.wire.batch import Waiter

#: Seconds of silence after a missed deadline after which a connection takes no more commands.
SILENCE: Final = 1.0

#: Seconds by which a timer is late if the event loop, and not the server, has been held up.
LATE: Final = 0.1

#: Seconds in which the server must answer when a connection that has idled is to be used again.
WAKE: Final = 1.0

#: Most callers that are failed as late in one turn of the loop, and most replies handed out in one.
SLICE: Final = 512


class Run:
    """Commands that were sent in one turn of the loop with the same time limit."""

    __slots__ = ("deadline", "excused", "failed", "first", "timeout")

    def __init__(self, deadline: float, timeout: float, first: int) -> None:
        self.deadline = deadline
        """The loop's time at which the replies are due."""
        self.timeout = timeout
        """The seconds from the first command to the deadline."""
        self.first = first
        """The number of the first command, counted from the connection's start."""
        self.failed = first
        """The number of the first command that has not been failed as late."""
        self.excused = False
        """Set when the deadline was first found late, and time was given back; never cleared."""


class Deadlines:
    """The deadlines of the commands under way on one connection.

    A command is known by its number, counted from the connection's start. `due` is called when a deadline may have
    passed. It calls `expire`, unless `read_first` says no, and `look_again` if the connection goes on.
    """

    __slots__ = (
        *("_due", "_look_at", "_loop", "_patience", "_quiet_since", "_rang", "_received", "_runs"),
        *("_timer", "_timer_at", "heard", "on_doubt"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> None:
        self.heard = 0.0
        """The loop's time when bytes last arrived."""
        self.on_doubt: Callable[[Any], None] = lambda _: None
        """The listener for a silence in which replies are owed."""
        self._loop = loop
        self._due = due
        self._runs: deque[Run] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # the time of the timer, which uvloop's handles do not always tell
        self._look_at = math.inf  # the time of the next look, by the last `expire`
        self._quiet_since = 0.0  # the beginning of the silence that `quiet` found last
        self._patience = SILENCE  # the seconds from there to the next doubt
        self._rang = 0.0  # the time at which the timer fired last
        self._received = -1  # the bytes that had arrived at the last `read_first`; -1 when the timer fires

    def begin(self, timeout: float | None, number: int, answered: int) -> None:
        """Note the time limit of the commands from `number` on; the first `answered` commands have their replies."""
        runs = self._runs
        while len(runs) > 1 and runs[1].first <= answered:
            runs.popleft()
        if timeout is None:
            if runs:
                runs.append(Run(math.inf, 0.0, number))
            return
        now = self._loop.time()
        deadline = now + timeout
        runs.append(Run(deadline, timeout, number))
        if self._timer is None:
            self._set_timer(min(deadline, now + SILENCE))
        elif deadline < self._timer_at:
            self._set_timer(deadline)

    def written(self) -> None:
        """Note that the commands of this turn are written; if the loop stood still before, they get that time back."""
        run = self._runs[-1] if self._runs else None
        if run is not None:
            late = self._loop.time() - run.deadline + run.timeout
            if late > PUNCTUAL and not run.excused:
                run.deadline += given_back(late, run.timeout)
                run.excused = True

    def of(self, number: int) -> float:
        """Return the deadline of a command, and forget earlier runs: all earlier commands have been answered."""
        runs = self._runs
        while len(runs) > 1 and runs[1].first <= number:
            runs.popleft()
        return runs[0].deadline if runs else math.inf

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._ring, context=Context())
        self._timer_at = when

    def _ring(self) -> None:
        self._rang = self._loop.time()
        self._received = -1
        self._due()

    def punctual(self) -> bool:
        """Return whether the timer fired in time; if not, this process may have replies that it has not read."""
        return self._rang + 0.001 - self._timer_at < LATE

    def read_first(self, received: int, has_more: bool) -> bool:
        """Return whether replies may have arrived that are not handed out; `due` is called again, when they may be.

        `received` is the number of bytes that were read so far; `has_more` tells of replies that wait among them.
        """
        waited = self._loop.time() - self._rang
        if waited < SILENCE if has_more else received != self._received and waited < LATE:
            self._received = received
            after_reading(self._loop, self._due)
            return True
        return False

    def expire(
        self, waiters: deque[Waiter], answered: int, growing: Callable[[float], bool], arrives: float = -math.inf
    ) -> bool:
        """Fail the commands whose deadline has passed; return whether the server has been silent for too long.

        `growing` tells whether the reply to the first of the waiters has kept arriving for so many seconds. Until
        `arrives`, bytes of a large write may be on their way: commands that began before have their whole time from
        there on.
        """
        self._timer = None
        now = self._loop.time() + 0.001  # timers may fire early by the clock's resolution
        self._look_at = math.inf
        doubted = False
        for run, end in self._spans(answered + len(waiters)):
            if end <= answered:
                continue
            if run.deadline <= now and not run.excused:
                run.excused = True
                more = given_back(self._rang - run.deadline, run.timeout)
                run.deadline = now + more if more else run.deadline
            deadline = run.deadline
            if arrives > deadline - run.timeout:
                deadline = min(arrives, deadline + (LONGEST - 2) * run.timeout) + run.timeout
            if deadline <= now:
                again = self._expire_run(run, end, now, waiters, answered, growing)
                # A deadline may be short, and is no reason by itself to doubt the server.
                suspicious = max(self.heard, arrives, run.deadline - run.timeout) + SILENCE
                if now >= suspicious:
                    doubted = True
                    suspicious = now + SILENCE
                deadline = min(again, suspicious)
            self._look_at = min(self._look_at, deadline)
        return doubted

    def quiet(self, waiting: int, answered: int, arrives: float) -> bool:
        """Return whether replies with a deadline have been owed for long, with no byte; call it after `expire`.

        The answer is True after one second of silence, after two, after four and so on. `waiting` is the number of
        replies owed; until `arrives`, bytes of a large write may be on their way.
        """
        end = answered + waiting
        deadline, timeout = next(
            ((run.deadline, run.timeout) for run, following in self._spans(end) if following > answered),
            (math.inf, 0.0),
        )
        if deadline == math.inf:
            return False  # no reply is owed, or only one without a limit, such as that of a blocking command
        since = max(self.heard, arrives, deadline - timeout)
        if not self.punctual():
            since = max(since, self._rang)  # the loop stood still, and may not have written them
        if since > self._quiet_since:
            self._quiet_since, self._patience = since, SILENCE
        doubtful = self._loop.time() + 0.001 >= self._quiet_since + self._patience
        if doubtful:
            self._patience *= 2
        self._look_at = min(self._look_at, self._quiet_since + self._patience)
        return doubtful

    def look_again(self) -> None:
        """Set the timer for what the last `expire` left."""
        if self._look_at < math.inf:
            self._set_timer(self._look_at)

    def _expire_run(
        self,
        run: Run,
        end: int,
        now: float,
        waiters: deque[Waiter],
        answered: int,
        growing: Callable[[float], bool],
    ) -> float:
        """Fail the late commands of `run`, and return when to look at it again."""
        again = math.inf
        start = max(0, run.first - answered)
        late = f"no reply in {run.timeout:.3g} s"
        if start == 0:
            start = 1
            if now < run.deadline + (LONGEST - 1) * run.timeout and growing(run.timeout / 4):
                again = now + run.timeout / 4  # a large reply that keeps arriving is not late
            else:
                fail(waiters[0], CommandTimeout(late))
        start = max(start, run.failed - answered)
        run.failed = min(end, answered + start + SLICE)
        for waiter in islice(waiters, start, run.failed - answered):
            fail(waiter, CommandTimeout(late))
        return again if run.failed == end else self._loop.time()  # the rest is failed in the next turn

    def _spans(self, end: int) -> Iterator[tuple[Run, int]]:
        """Go through the runs, each with the number of the first command after it; `end` is that of the last one."""
        for run, following in pairwise([*self._runs, Run(math.inf, 0.0, end)]):
            yield run, following.first
