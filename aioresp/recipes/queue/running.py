"""The job that runs, as its own function sees it, and the exceptions by which it ends otherwise.

Owns the context variable of the job. Never talks to a server.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import timedelta
from typing import Final

from aioresp.recipes.queue.checks import seconds
from aioresp.record import Record


class Running(Record):
    """The job in whose function this is asked."""

    id: str
    function: str
    attempt: int
    """1 for the first attempt; one that was given back or snoozed is not counted."""
    deaths: int
    """Number of times that its worker died, or lost its lease, since the job's last attempt that ended."""
    queue: str


current: Final[ContextVar[Running]] = ContextVar("aioresp_job")


def running() -> Running:
    """Return the job that runs here; raise LookupError outside of a job."""
    try:
        return current.get()
    except LookupError:
        raise LookupError("running() is for functions of jobs, and no job runs here") from None


class Again(Exception):
    """Raise it in a job: the attempt has failed, and the next one comes after `delay` (by default: the backoff)."""

    def __init__(self, delay: float | timedelta | None = None) -> None:
        super().__init__("the job asked for another attempt")
        self.delay = None if delay is None else seconds(delay, "Again()", "delay")


class Snooze(Exception):
    """Raise it in a job: it is put off for `delay`, and the attempt does not count."""

    def __init__(self, delay: float | timedelta) -> None:
        super().__init__("the job was put off")
        self.delay = seconds(delay, "Snooze()", "delay")


class Discard(Exception):
    """Raise it in a job: it has failed for good, without another attempt, and goes to the dead letters."""

    def __init__(self, why: str = "the job gave up") -> None:
        super().__init__(why)
