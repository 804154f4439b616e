"""The jobs of a queue: pushed, popped, lost, done twice.

Owns what became of each job. Never sends anything.
"""

from __future__ import annotations

import math
import time
from array import array
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from aioresp import Lost
from aioresp.contexts.background import PATIENCE
from tests.chaos.ledger import Ledger, Outcome

#: Seconds after an unknown outcome in which a command may still be run: it may lie in a buffer of the network.
LATE: Final = 5.0

#: Seconds from a pop to the report that its elements are lost: the pop is ended, and then put back, for so long each.
REPORTED_IN: Final = 2 * PATIENCE + LATE

PUSHED: Final = 1
UNSENT: Final = 2
DONE: Final = 4
REPORTED: Final = 8
LOST: Final = 16


class Queue:
    """A queue whose jobs are handed out once: each says which queue it belongs to, who pushed it, and its number.

    A job may be missing only where a pop has an unknown outcome, one job a pop, and the job was pushed before that
    ended or little later. If `moved`, none may be: what is moved to another list, and removed when it is done, cannot
    be lost. If `scored`, the jobs are members of a sorted set, and each has its score whenever it is seen.
    """

    def __init__(self, ledger: Ledger, key: str, *, moved: bool = False, scored: bool = False) -> None:
        self.ledger = ledger
        self.scored = scored
        self.key = key
        self.moved = moved
        self._marks: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._since: defaultdict[int, array[float]] = defaultdict(lambda: array("d"))
        self._pushed: defaultdict[int, array[float]] = defaultdict(lambda: array("d"))  # when that was acknowledged
        self._done: defaultdict[int, array[float]] = defaultdict(lambda: array("d"))  # when it was taken, or removed
        self._unknown_pops = array("d")
        #: The jobs that were reported as lost for certain: when, and why.
        self._reports: dict[str, tuple[float, str]] = {}
        self.waiting = 0  # as far as is known

    def __repr__(self) -> str:
        return f"Queue({self.key}, {sum(map(len, self._marks.values()))} jobs)"

    # --- In ----------------------------------------------------------------------------------------------------------

    def make(self, producer: int, count: int) -> list[str]:
        """Return so many new jobs, which are about to be pushed."""
        marks, since = self._marks[producer], self._since[producer]
        first = len(marks)
        marks.extend(bytes(count))
        since.extend([time.monotonic()] * count)
        self._pushed[producer].extend([0.0] * count)
        self._done[producer].extend([0.0] * count)
        return [f"{self.key}:{producer}:{number}" for number in range(first, first + count)]

    def settle(self, jobs: Iterable[str], outcome: Outcome) -> None:
        """Note what became of the attempt to push them."""
        for job in jobs:
            if outcome is Outcome.DONE:
                self._mark(job, PUSHED)
                self._note(self._pushed, job)
                self.waiting += 1
            elif outcome is Outcome.NOT_DONE:
                self._mark(job, UNSENT)
            self.ledger.figures["jobs pushed"] += outcome is Outcome.DONE

    @staticmethod
    def score(job: str) -> float:
        """Return the score of a job: one that a careless way back would change."""
        return int(job.rpartition(":")[2]) / 3

    # --- Out ---------------------------------------------------------------------------------------------------------

    def take(self, job: str, score: float | None = None) -> None:
        """Note a job that was handed to a worker, with its score if it has one."""
        if not self._ours(job):
            self.ledger.crossed("a worker", self.key, job)
            return
        if self._mark(job, DONE) & DONE:
            self.ledger.lost("job done twice", self.key, [self.done(job)], job)
        self._note(self._done, job)
        self._compare(job, score)
        self.ledger.figures["jobs done"] += 1
        self.waiting -= 1

    def removed(self, job: str) -> None:
        """Note that a job was taken off the list of those in work."""
        self._note(self._done, job)

    def done(self, job: str) -> float:
        """Return when a job was done."""
        _, producer, number = job.split(":")
        return self._done[int(producer)][int(number)]

    def pop_unknown(self, jobs: int = 1) -> None:
        """Note a pop of which nobody knows whether it took a job, or so many."""
        self._unknown_pops.extend([time.monotonic()] * jobs)
        self.ledger.figures["pops with unknown outcome"] += 1

    def report(self, lost: Lost) -> None:
        """Note what the library says that it could not put back, or may not have."""
        self.ledger.figures["jobs reported by on_lost"] += len(lost.elements)
        if not lost.elements:
            self.pop_unknown(int(lost.command[-1]) if "COUNT" in lost.command else 1)
        scores = lost.scores or (None,) * len(lost.elements)
        for element, score in zip(lost.elements, scores, strict=True):
            if self._ours(job := element.decode()):
                self._mark(job, REPORTED | (LOST if lost.outcome == "lost" else 0))
                if lost.outcome == "lost":
                    self._reports[job] = time.monotonic(), repr(lost.error)
                self._compare(job, score)
            else:
                self.ledger.crossed("on_lost", self.key, job)

    # --- The end -----------------------------------------------------------------------------------------------------

    def check_scored(self, rest: Iterable[tuple[str, float]]) -> None:
        """Check the books at the end, with the members that are still there, and their scores."""
        found = dict(rest)
        self.check(found)
        for job, score in found.items():
            if self._ours(job):
                self._compare(job, score)

    def check(self, rest: Iterable[str]) -> None:
        """Check the books at the end, with the jobs that are still in the queue."""
        there: set[str] = set()
        for job in rest:
            if not self._ours(job):
                self.ledger.crossed("the queue", self.key, job)
            elif job in there or self._mark(job, 0) & DONE:
                self.ledger.lost("job done twice", self.key, [self.done(job)], f"{job} is in the queue, again")
            there.add(job)
        missing: list[tuple[float, str]] = []
        for producer, marks in self._marks.items():
            for number, mark in enumerate(marks):
                job = f"{self.key}:{producer}:{number}"
                if mark & UNSENT and (mark & DONE or job in there):
                    self.ledger.wrong("ran though it was not sent", job)
                elif mark & LOST and (mark & DONE or job in there):
                    self._reported_wrongly(job, there)
                elif mark & PUSHED and not mark & (DONE | REPORTED) and job not in there:
                    missing.append((self._since[producer][number], job))
        self.ledger.figures["jobs missing, as pops are unknown"] += 0 if self.moved else len(missing)
        self._explain(missing)

    def _reported_wrongly(self, job: str, there: set[str]) -> None:
        """Note a job that was reported as lost, and is not: only a failover that undid a pop explains it."""
        at, why = self._reports[job]
        _, producer, number = job.split(":")
        since = self._since[int(producer)][int(number)]
        done = "is in the queue" if job in there else f"was done {self.done(job) - at:+.2f} s from the report"
        details = f"{job} was pushed {since - at:+.2f} s from the report, which said {why}, and {done}"
        if self.ledger.losses is not None:
            details = f"{details}; {self.ledger.losses.told(self.key, at)}"
        law = "job reported as lost that is not"
        if job not in there and self.done(job) < at:  # then it is that pop which was undone, and not the one reported
            self.ledger.lost(law, self.key, [self.done(job)], details)
        else:
            self.ledger.undone(law, self.key, max(since, at - REPORTED_IN), at, details)

    def _explain(self, missing: list[tuple[float, str]]) -> None:
        """Find an unknown pop for each missing job: one that ended when the job was there, and none for two."""
        pops = iter([] if self.moved else sorted([*self._unknown_pops, *self._lost_put_backs()], reverse=True))
        for since, job in sorted(missing, reverse=True):
            _, producer, number = job.split(":")
            pushed = self._pushed[int(producer)][int(number)]
            if self.ledger.losses is not None and self.ledger.losses.count("write", self.key, [pushed]):
                self.ledger.lost("job lost", self.key, [pushed], job)
            elif next(pops, -math.inf) + LATE < since:
                self.ledger.wrong("job lost", f"{job}, with {len(self._unknown_pops)} pops unknown")

    def _lost_put_backs(self) -> list[float]:
        """Return when elements were put back that may have been lost then: a job is in one of them, at most."""
        losses = self.ledger.losses
        return [] if losses is None else [t for t in self.ledger.put_back if losses.count("write", self.key, [t])]

    def _compare(self, job: str, score: float | None) -> None:
        if self.scored and score != self.score(job):
            self.ledger.wrong("score changed", f"{job} has {score}")

    def _ours(self, job: str) -> bool:
        key, _, rest = job.partition(":")
        producer, _, number = rest.partition(":")
        known = key == self.key and producer.isdigit() and number.isdigit()
        return known and int(number) < len(self._marks.get(int(producer), b""))

    def _note(self, times: defaultdict[int, array[float]], job: str) -> None:
        _, producer, number = job.split(":")
        times[int(producer)][int(number)] = time.monotonic()

    def _mark(self, job: str, mark: int) -> int:
        """Add a mark, and return what was there before."""
        _, producer, number = job.split(":")
        marks = self._marks[int(producer)]
        before = marks[int(number)]
        marks[int(number)] = before | mark
        return before
