"""One job in hand of a worker: its time, its cancellation, its outcome.

Owns what the end of a function means for the job. Never talks to a server.
"""

from __future__ import annotations

import asyncio
import random
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from aioresp.errors import ArgumentTypeError
from aioresp.recipes.encoding import encode
from aioresp.recipes.queue.books import Taken
from aioresp.recipes.queue.job import Reason
from aioresp.recipes.queue.running import Again, Discard, Snooze
from aioresp.recipes.queue.seen import Around, Seen, headers

if TYPE_CHECKING:
    from aioresp.recipes.queue.task import Task

#: Bytes of a result, at most: half of what a server takes by default.
_RESULT: Final = 256 * 2**20

#: Characters of the message of an exception that the books hold.
_MESSAGE: Final = 2000


class Why(Enum):
    """Why a worker cancelled a job."""

    TIMEOUT = "its timeout passed"
    CANCELLED = "it was cancelled"
    STOPPED = "the worker stops"
    LOST = "its lease was lost"


#: Outcome of a job for the books: id, token, outcome, data, delay in ms.
Outcome = tuple[str, str, str, bytes, int]


class Hand:
    """One job in hand."""

    __slots__ = ("began", "deadline", "failure", "has_begun", "lease", "runner", "taken", "why")

    def __init__(self, taken: Taken, lease: float, timeout: float) -> None:
        self.taken = taken
        self.began = time.monotonic()
        self.deadline = self.began + timeout  # its lease is not renewed after it
        self.lease = round(lease * 1000)
        self.runner: asyncio.Task[None] | None = None
        self.has_begun = False  # set by the first step of the task: one that is cancelled before takes no step
        self.failure: BaseException | None = None  # set by an attempt that fails
        self.why: Why | None = None  # set by the worker that cancels it

    def cancel(self, why: Why) -> None:
        """Cancel the job for a reason; the first reason stays."""
        if self.why is None and self.runner is not None:
            self.why = why
            if self.has_begun:
                self.runner.cancel()

    def outcome(self, what: str, data: bytes = b"", delay: float = 0.0) -> Outcome:
        """Return an outcome of this job for the books; `delay` in seconds."""
        return self.taken.id, self.taken.token, what, data, round(delay * 1000)

    async def run(self, task: Task[Any, Any], args: list[Any], kwargs: dict[str, Any], around: Around) -> Outcome:
        """Run the function; return the outcome, also if it was cancelled."""
        taken, self.has_begun = self.taken, True
        if self.why is not None:
            return self._cancelled(task)
        around.seen.started(taken.id, task.name, taken.attempt)
        try:
            if around.middleware is None:
                value = await task.function(*args, **kwargs)
            else:
                carried = headers(taken.headers)
                with around.middleware.run(around.queue, task.name, taken.id, taken.attempt, carried):
                    value = await task.function(*args, **kwargs)
        except asyncio.CancelledError:
            return self._cancelled(task)
        except Snooze as snooze:
            return self.outcome("back", delay=max(snooze.delay, 0.001))  # behind the others, not before them
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit: a job ends itself, not the worker
            return self._failed(task, error)
        if value is not None and not task.settings.keep_result:
            return self.outcome("done")
        try:
            data = encode(value, f"the result of {task.name}")
        except ArgumentTypeError as error:
            return self._failed(task, error, is_final=True)
        if len(data) > _RESULT:
            long = ArgumentTypeError(f"the result of {task.name} has {len(data)} bytes, more than {_RESULT}")
            return self._failed(task, long, is_final=True)
        return self.outcome("done", data)

    def _cancelled(self, task: Task[Any, Any]) -> Outcome:
        if self.why is Why.CANCELLED:
            return self.outcome("cancelled")
        if self.why is Why.TIMEOUT:
            return self._failed(task, TimeoutError(f"its timeout of {task.settings.timeout:g} s passed"))
        if self.why is None and self.runner is not None and not self.runner.cancelling():
            return self._failed(task, asyncio.CancelledError("it cancelled itself"))
        return self.outcome("back")  # its worker, or its event loop, ends

    def _failed(self, task: Task[Any, Any], error: BaseException, *, is_final: bool = False) -> Outcome:
        taken = self.taken
        self.failure = error
        reason = encode(Reason(type(error).__name__, message_of(error)), "the reason")
        if is_final or isinstance(error, Discard) or taken.attempt > task.settings.retries:
            return self.outcome("dead", reason)
        delay = error.delay if isinstance(error, Again) else None
        if delay is None:
            delay = task.settings.pause(taken.attempt, random.random())
        return self.outcome("again", reason, delay)

    def report(self, outcome: Outcome, seen: Seen) -> None:
        """Tell how the attempt has ended."""
        _, _, what, _, pause = outcome
        about = (self.taken.id, self.taken.function, self.taken.attempt, time.monotonic() - self.began)
        if what == "done":
            seen.finished(*about)
        elif self.why is Why.LOST:
            seen.lost(*about)
        elif what == "cancelled":
            seen.stopped(*about)
        elif self.failure is None:
            seen.given_back(*about, pause / 1000)
        elif what == "again":
            seen.retried(*about, self.failure, pause / 1000)
        else:
            seen.dead(*about, self.failure, "")


def message_of(error: BaseException) -> str:
    """Return the message of an exception, as JSON can hold it."""
    try:
        message = str(error)
    except Exception:
        return "its message cannot be shown"
    return message[:_MESSAGE].encode("utf-8", "replace").decode()
