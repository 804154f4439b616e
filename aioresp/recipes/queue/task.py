"""Task of a queue: a coroutine function whose calls can be enqueued.

Owns the options of a task, and how a call becomes a job. Never runs a job.
"""

from __future__ import annotations

import functools
import inspect
import os
import random
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar

from aioresp.elsewhere import advising
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.misuse import Bound
from aioresp.recipes.encoding import Signature, encode
from aioresp.recipes.queue.books import KEEP, LEASE, PRIORITIES, REMEMBERED, Books
from aioresp.recipes.queue.checks import count, encodable, seconds
from aioresp.recipes.queue.cron import Cron
from aioresp.recipes.queue.elsewhere import TASK
from aioresp.recipes.queue.job import Job
from aioresp.recipes.queue.schedule import Schedule
from aioresp.recipes.queue.seen import JobMiddleware
from aioresp.record import Record

P = ParamSpec("P")
T = TypeVar("T")

OnDuplicate = Literal["keep", "replace"]


class TaskOptions(Record):
    """Options of a task, checked; times in seconds."""

    retries: int
    timeout: float
    lease: float
    backoff: tuple[float, float]
    keep_result: float
    priority: int

    def pause(self, attempt: int, jitter: float) -> float:
        """Return the seconds before the next attempt: doubled with each, at most the longest; jitter is 0 to 1."""
        shortest, longest = self.backoff
        whole = min(longest, shortest * 2.0 ** min(attempt - 1, 64))
        return whole * (0.5 + jitter / 2)


#: Bytes of a payload up to which it travels as text.
_SHORT: Final = 1024

#: Random numbers for ids. Those of `random` are the same in two processes that have set the same seed.
_random: Final = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def fresh_id() -> str:
    """Return an id that no other job has; `os.urandom` takes several times as long."""
    return f"{_random.getrandbits(96):024x}"


class Times(Record):
    """Options of one enqueue."""

    delay: float = 0.0
    at: float = 0.0
    unique: str = ""
    id: str | None = None
    priority: int | None = None
    on_duplicate: OnDuplicate = "keep"


PLAIN: Final = Times()


class Call(Bound, Generic[P, T]):
    """A task with options for its next enqueues."""

    _instead = "call `options()` where it is used"

    def __init__(self, task: Task[P, T], times: Times) -> None:
        self._task = task
        self._times = times

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        """Put a call of the function in the queue; see `Task.enqueue`."""
        return await self._task.put(self._times, args, kwargs)


@advising(TASK)
class Task(Bound, Generic[P, T]):
    """A coroutine function of a queue. A plain call runs it here; `enqueue` lets a worker run it."""

    _instead = "import it where it is used"

    def __init__(
        self,
        books: Books,
        function: Callable[P, Coroutine[Any, Any, T]],
        name: str,
        options: TaskOptions,
        middleware: JobMiddleware | None = None,
    ) -> None:
        self._books = books
        self._middleware = middleware
        self.function = function
        self.name = name
        self.settings = options
        self.signature: Signature[T] = Signature(function, name)
        #: Fields of each job's hash, where they differ from what the scripts assume.
        self._more: list[str] = []
        lease, keep = round(options.lease * 1000), round(max(options.keep_result, REMEMBERED) * 1000)
        if lease != LEASE:
            self._more += ["lease", str(lease)]
        if keep != KEEP:
            self._more += ["keep", str(keep)]
        #: Arguments of the script `enqueue` between the id and the payload, without options of the enqueue.
        self._plain: tuple[str, ...] = ("0", "0", str(options.priority), "", "keep", "fn", name, "args")
        functools.update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"Task({self.name!r} of {self._books.name!r})"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """Run the function here and now, without the queue."""
        return self.function(*args, **kwargs)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        """Put a call of the function in the queue, and return the job.

        If the connection is lost, it is sent again by itself, and is one job. Raises ArgumentTypeError for arguments
        that the function does not take, or that JSON cannot hold.
        """
        return await self.put(PLAIN, args, kwargs)

    def options(
        self,
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        unique: str | None = None,
        id: str | None = None,
        priority: int | None = None,
        on_duplicate: OnDuplicate = "keep",
    ) -> Call[P, T]:
        """Return the task with options for its next enqueues.

        The job begins `delay` seconds from now, or `at` a time, by the server's clock. There is one job of this task
        with the text `unique`, from the enqueue to its end. `on_duplicate` says whether to "keep" it, or to "replace"
        it if it has not begun. A second enqueue with one `id` returns the first job until its result expires.
        `priority` is 2 (first) to -2 (last).
        """
        return Call(
            self,
            Times(
                delay=0.0 if delay is None else seconds(delay, "options()", "delay"),
                at=_moment(at),
                unique=f"{self.name}:{_text(unique, 'unique')}" if unique is not None else "",
                id=_id(id),
                priority=None if priority is None else checked_priority(priority, "options()"),
                on_duplicate=_on_duplicate(on_duplicate),
            )
            if at is None or delay is None
            else _both(),
        )

    async def put(self, times: Times, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job[T]:
        """Put a call in the queue, with the options of this enqueue."""
        data = self.signature.encode(args, kwargs)
        # Arguments that are all text, and short, are packed faster.
        payload = data.decode() if len(data) < _SHORT else data
        id = times.id or fresh_id()
        if times is PLAIN:
            priority = self.settings.priority
            fields = self._plain
        else:
            priority = self.settings.priority if times.priority is None else times.priority
            moments = str(round(times.at * 1000)), str(round(times.delay * 1000))
            fields = (*moments, str(priority), times.unique, times.on_duplicate, *self._plain[5:])
        if self._middleware is None:
            found = await self._books.put(priority, (id, *fields, payload, *self._more))
        else:
            headers: dict[str, str] = {}
            with self._middleware.enqueue(self._books.name, self.name, id, headers):
                more = (*self._more, "headers", encode(headers, "the headers").decode())
                found = await self._books.put(priority, (id, *fields, payload, *more))
        return Job(self._books, found, self._signature)

    def cron(self, schedule: Schedule) -> Cron:
        """Return the task with a schedule; raise ArgumentTypeError if its function needs arguments."""
        payload = self.signature.encode((), {})
        fields: tuple[str | bytes | int, ...] = (*self._plain, payload, *self._more)
        return Cron(self.name, schedule, self.settings.priority, fields)

    def _signature(self, function: str) -> Signature[T]:
        return self.signature


def _both() -> Times:
    raise ArgumentError("options(): pass delay or at, not both")


def _moment(at: datetime | None) -> float:
    if at is None:
        return 0.0
    if not isinstance(at, datetime):
        raise ArgumentTypeError(f"options(): at is {type(at).__name__}, not a datetime")
    if at.tzinfo is None or at.utcoffset() is None:
        raise ArgumentError("options(): at has no time zone; pass one, such as datetime.now(timezone.utc)")
    return max(at.timestamp(), 0.0)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ArgumentTypeError(f"options(): {name} is {type(value).__name__}, not str")
    if not value:
        raise ArgumentError(f"options(): {name} is empty")
    return encodable(value, "options()", name)


def _id(value: object) -> str | None:
    if value is None:
        return None
    if any(each.isspace() for each in _text(value, "id")):
        raise ArgumentError("options(): id has a space in it")
    return str(value)


def _on_duplicate(value: OnDuplicate) -> OnDuplicate:
    if value not in ("keep", "replace"):
        raise ArgumentError(f'options(): on_duplicate is {value!r}, not "keep" or "replace"')
    return value


def checked_priority(value: object, where: str) -> int:
    """Return a priority; raise ArgumentError if it is none."""
    if type(value) is not int:
        raise ArgumentTypeError(f"{where}: priority is {type(value).__name__}, not int")
    if value not in PRIORITIES:
        raise ArgumentError(f"{where}: priority is {value}, not one of 2 (first), 1, 0, -1, -2 (last)")
    return value


def checked_options(
    function: object,
    *,
    retries: int,
    timeout: float | timedelta,
    lease: float | timedelta,
    backoff: tuple[float, float],
    keep_result: float | timedelta,
    priority: int,
) -> TaskOptions:
    """Return the options of a task; raise ArgumentError, naming the one that does not fit."""
    if not inspect.iscoroutinefunction(function):
        raise ArgumentTypeError(f"task(): {_name(function)} is no coroutine function; define it with `async def`")
    if not isinstance(backoff, tuple) or len(backoff) != 2:  # type: ignore[redundant-expr]
        raise ArgumentTypeError("task(): backoff is not a pair of seconds, (shortest, longest)")
    shortest, longest = (seconds(each, "task()", "backoff", 0.0) for each in backoff)
    if shortest > longest:
        raise ArgumentError("task(): backoff has a shortest pause above the longest")
    return TaskOptions(
        retries=count(retries, "task()", "retries", 0),
        timeout=seconds(timeout, "task()", "timeout", 0.001),
        lease=seconds(lease, "task()", "lease", 0.5),
        backoff=(shortest, longest),
        keep_result=seconds(keep_result, "task()", "keep_result", 0.0),
        priority=checked_priority(priority, "task()"),
    )


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
