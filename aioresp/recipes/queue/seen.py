"""Log lines and events of a worker: each start and end of an attempt at a job.

Owns what is said about a job: its id, task, attempt and duration. Never shows an argument or a result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol, TypeAlias

import msgspec

from aioresp.recipes.queue.cron import Cron
from aioresp.record import Record

log: Final = logging.getLogger("aioresp")


class JobEvent(Record):
    """Base of the events of a queue; `attempt` is 1 for the first attempt at the job."""

    queue: str
    id: str
    task: str
    attempt: int


class JobStarted(JobEvent):
    """A worker has begun an attempt."""


class JobFinished(JobEvent):
    """A job has returned its result, after `seconds`."""

    seconds: float


class JobRetried(JobEvent):
    """An attempt has failed, and the next one comes in `pause` seconds."""

    seconds: float
    error: BaseException
    pause: float


class JobDead(JobEvent):
    """A job has failed for good, and is among the dead letters."""

    seconds: float
    error: BaseException | None
    """The exception of its last attempt; None if its workers have died."""


class JobGivenBack(JobEvent):
    """A job is in line again and the attempt does not count: it was snoozed, or its worker is being stopped."""

    seconds: float
    pause: float


class JobStopped(JobEvent):
    """A job was cancelled while it ran, by `Job.cancel()`."""

    seconds: float


class LeaseLost(JobEvent):
    """A worker has lost the lease of a job that it ran, and has cancelled it. Another worker may have the job."""

    seconds: float


JobHook: TypeAlias = Callable[[JobEvent], object]


class JobMiddleware(Protocol):
    """Context managers around each enqueue and each attempt, such as `aioresp.otel.JobTracing()`."""

    def enqueue(self, queue: str, task: str, job: str, headers: dict[str, str]) -> AbstractContextManager[object]:
        """Return the context of an enqueue. What it adds to `headers` when entered travels with the job."""
        ...

    def run(
        self, queue: str, task: str, job: str, attempt: int, headers: dict[str, str]
    ) -> AbstractContextManager[object]:
        """Return the context of an attempt. An exception of the job passes through it, CancelledError too."""
        ...


class Seen:
    """Reporter of one queue; `hook` is the `events=` of the queue."""

    __slots__ = ("_hook", "_queue")

    def __init__(self, queue: str, hook: JobHook | None) -> None:
        self._queue = queue
        self._hook = hook

    def started(self, id: str, task: str, attempt: int) -> None:
        """Tell that an attempt begins."""
        log.debug("job %s %s(): attempt %d starts", id, task, attempt)
        if self._hook is not None:
            self._tell(JobStarted(self._queue, id, task, attempt))

    def finished(self, id: str, task: str, attempt: int, seconds: float) -> None:
        """Tell that a job is done."""
        log.info("job %s %s(): attempt %d done in %.3f s", id, task, attempt, seconds)
        if self._hook is not None:
            self._tell(JobFinished(self._queue, id, task, attempt, seconds))

    def retried(self, id: str, task: str, attempt: int, seconds: float, error: BaseException, pause: float) -> None:
        """Tell that an attempt has failed, and that there will be another."""
        log.warning(
            "job %s %s(): attempt %d failed in %.3f s, next in %.3g s: %s",
            *(id, task, attempt, seconds, pause, _kind(error)),
            exc_info=error if log.isEnabledFor(logging.DEBUG) else None,
        )
        if self._hook is not None:
            self._tell(JobRetried(self._queue, id, task, attempt, seconds, error, pause))

    def dead(self, id: str, task: str, attempt: int, seconds: float, error: BaseException | None, why: str) -> None:
        """Tell that a job is among the dead letters, with the traceback of its last exception."""
        log.error(
            "job %s %s(): attempt %d failed in %.3f s, now a dead letter: %s",
            *(id, task, attempt, seconds, why if error is None else _kind(error)),
            exc_info=error,
        )
        if self._hook is not None:
            self._tell(JobDead(self._queue, id, task, attempt, seconds, error))

    def given_back(self, id: str, task: str, attempt: int, seconds: float, pause: float) -> None:
        """Tell that a job is in line again, and that the attempt does not count."""
        log.info("job %s %s(): attempt %d given back after %.3f s", id, task, attempt, seconds)
        if self._hook is not None:
            self._tell(JobGivenBack(self._queue, id, task, attempt, seconds, pause))

    def stopped(self, id: str, task: str, attempt: int, seconds: float) -> None:
        """Tell that a job was cancelled."""
        log.info("job %s %s(): attempt %d cancelled after %.3f s", id, task, attempt, seconds)
        if self._hook is not None:
            self._tell(JobStopped(self._queue, id, task, attempt, seconds))

    def lost(self, id: str, task: str, attempt: int, seconds: float) -> None:
        """Tell that the lease of a job was lost while it ran."""
        log.warning("job %s %s(): attempt %d lost its lease after %.3f s", id, task, attempt, seconds)
        if self._hook is not None:
            self._tell(LeaseLost(self._queue, id, task, attempt, seconds))

    def _tell(self, event: JobEvent) -> None:
        assert self._hook is not None, "asked by all callers"
        try:
            self._hook(event)
        except Exception:
            log.exception("the hook `events` of the queue raised an error")


def _kind(error: BaseException) -> str:
    """Return the class of an exception, without its message: that may contain arguments."""
    return type(error).__qualname__


_headers: Final = msgspec.json.Decoder(dict[str, str])


def headers(data: bytes) -> dict[str, str]:
    """Return the headers of a job; none if a stranger has written something else."""
    try:
        return _headers.decode(data) if data else {}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


class Around(NamedTuple):
    """All that a queue puts around the jobs of its workers."""

    queue: str
    seen: Seen
    middleware: JobMiddleware | None
    crons: list[Cron]
