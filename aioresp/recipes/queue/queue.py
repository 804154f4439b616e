"""Queue of jobs: where tasks are registered, and where a worker and an operator get at the jobs.

Owns the names of the tasks. Never runs a job.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, Literal, ParamSpec, TypeVar, overload
from zoneinfo import ZoneInfo

from aioresp.client import Client
from aioresp.elsewhere import advising
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.misuse import Bound
from aioresp.recipes.encoding import Signature
from aioresp.recipes.queue.books import Books
from aioresp.recipes.queue.checks import encodable
from aioresp.recipes.queue.elsewhere import QUEUE
from aioresp.recipes.queue.job import Job, JobInfo, info
from aioresp.recipes.queue.schedule import Schedule
from aioresp.recipes.queue.seen import Around, JobHook, JobMiddleware, Seen
from aioresp.recipes.queue.task import Task, checked_options
from aioresp.recipes.queue.worker import Worker
from aioresp.record import Record

P = ParamSpec("P")
T = TypeVar("T")

Backlog = Literal["waiting", "delayed", "dead"]

_BACKLOGS: Final[tuple[Backlog, ...]] = ("waiting", "delayed", "dead")


class Counts(Record):
    """Numbers of jobs by state. A job that is cancelled while it waits counts until a worker meets it."""

    waiting: int
    delayed: int
    running: int
    dead: int


class Scheduler:
    """Decorator of `Queue.cron`. Around `Queue.task`, it leaves the options of the task as they are."""

    def __init__(self, queue: Queue, schedule: Schedule) -> None:
        self._queue = queue
        self._schedule = schedule

    @overload
    def __call__(self, task: Task[P, T], /) -> Task[P, T]: ...
    @overload
    def __call__(self, task: Callable[P, Coroutine[Any, Any, T]], /) -> Task[P, T]: ...
    def __call__(self, task: Any, /) -> Any:
        """Make a task of a function, if it is none, and give it the schedule."""
        if not isinstance(task, Task):
            task = self._queue.task(task)
        self._queue.add_cron(task, self._schedule)
        return task


@advising(QUEUE)
class Queue(Bound):
    """A queue of jobs, on keys `{name}:...` of a client's server.

    Make one for a name, decorate coroutine functions with `task`, and run a `worker`.
    """

    _instead = "make one in each process, usually where its tasks are defined"

    def __init__(
        self,
        redis: Client[Any],
        name: str,
        *,
        events: JobHook | None = None,
        middleware: JobMiddleware | None = None,
    ) -> None:
        if not isinstance(redis, Client):
            raise ArgumentTypeError(f"Queue(): redis is {type(redis).__name__}, not a Client")
        if not isinstance(name, str):
            raise ArgumentTypeError(f"Queue(): name is {type(name).__name__}, not str")
        if not name or any(each in "{}" or each.isspace() for each in name):
            raise ArgumentError("Queue(): name is empty, or has a space or a brace in it")
        encodable(name, "Queue()", "name")
        self.name = name
        self.redis = redis
        self.books = Books(redis, name)
        self.tasks: dict[str, Task[Any, Any]] = {}
        if events is not None and not callable(events):
            raise ArgumentTypeError(f"Queue(): events is {type(events).__name__}, not a function")
        self._around = Around(name, Seen(name, events), middleware, [])

    def __repr__(self) -> str:
        return f"Queue({self.name!r}, {len(self.tasks)} tasks)"

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Task[P, T]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = ...,
        retries: int = ...,
        timeout: float | timedelta = ...,
        lease: float | timedelta = ...,
        backoff: tuple[float, float] = ...,
        keep_result: float | timedelta = ...,
        priority: int = ...,
    ) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Task[P, T]]: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        retries: int = 3,
        timeout: float | timedelta = 300,
        lease: float | timedelta = 15,
        backoff: tuple[float, float] = (1, 300),
        keep_result: float | timedelta = 600,
        priority: int = 0,
    ) -> Any:
        """Make a task of a coroutine function; `name` is the function's own by default.

        A failed attempt is repeated `retries` times, after a pause that doubles within `backoff` seconds. An attempt is
        cancelled, and has failed, after `timeout`. If its worker dies, the job begins again within `lease` seconds.
        The result is kept for `keep_result` seconds. `priority` is 2 (first) to -2 (last).
        """

        def register(function: Callable[..., Coroutine[Any, Any, Any]]) -> Task[Any, Any]:
            options = checked_options(
                function,
                retries=retries,
                timeout=timeout,
                lease=lease,
                backoff=backoff,
                keep_result=keep_result,
                priority=priority,
            )
            known = function.__name__ if name is None else name
            if not isinstance(known, str):
                raise ArgumentTypeError(f"task(): name is {type(known).__name__}, not str")
            if not known or ":" in known or any(each.isspace() for each in known):
                raise ArgumentError("task(): name is empty, or has a colon or a space in it")
            encodable(known, "task()", "name")
            if known in self.tasks:
                raise ArgumentError(f"task(): the queue {self.name} has a task named {known} already; pass name=")
            task: Task[Any, Any] = Task(self.books, function, known, options, self._around.middleware)
            self.tasks[known] = task
            return task

        return register if function is None else register(function)

    def cron(self, expression: str, *, tz: str | ZoneInfo = "UTC") -> Scheduler:
        """Return a decorator for a task, or a coroutine function, without arguments: each tick enqueues it once.

        `expression` has the fields minute, hour, day of month, month and day of week, and may have the second before
        them. `tz` is the name of a time zone. Workers of the queue enqueue the ticks, by the server's clock. While
        there is none, the last tick is kept, for 30 days.
        """
        return Scheduler(self, Schedule(expression, tz))

    def add_cron(self, task: Task[Any, Any], schedule: Schedule) -> None:
        """Give a task a schedule, besides those that it has."""
        if self.tasks.get(task.name) is not task:
            raise ArgumentError(f"cron(): {task.name} is a task of another queue")
        self._around.crons.append(task.cron(schedule))

    def worker(self, *, concurrency: int = 50, grace: float | timedelta = 20) -> Worker:
        """Return a worker of this process, which runs up to `concurrency` jobs at a time; enter it, and `run()` it.

        When it is stopped, jobs that run have `grace` seconds to end. The others are given back.
        """
        return Worker(self.books, self.tasks, concurrency, grace, self._around)

    async def drain(self, *, delayed: bool = False, concurrency: int = 50) -> int:
        """Run the jobs that wait, and those that they enqueue, in this process, and return how many attempts ended.

        For tests. With `delayed` no job waits for its time, nor for its next attempt. Jobs that other workers run are
        not waited for.
        """
        count = 0
        while True:
            async with Worker(self.books, self.tasks, concurrency, 0, self._around, draining=True) as worker:
                await worker.run()
            count += worker.ended
            if not delayed or not await self.books.hasten():
                return count

    def job(self, id: str) -> Job[Any]:
        """Return the job of that id; whether there is one is asked by its methods."""
        if not isinstance(id, str):
            raise ArgumentTypeError(f"job(): id is {type(id).__name__}, not str")
        return Job(self.books, id, self._signature)

    def _signature(self, function: str) -> Signature[Any] | None:
        task = self.tasks.get(function)
        return None if task is None else task.signature

    async def counts(self) -> Counts:
        """Return how many jobs there are, by state."""
        return Counts(*await self.books.counts())

    async def dead(self) -> AsyncIterator[JobInfo]:
        """Iterate over the dead letters, the oldest first: the last 10,000, for 30 days."""
        for id in await self.books.dead():  # all at once: the caller may revive some, and others would move up
            standing = await self.books.look(id)
            if standing is not None:
                yield info(id, standing)

    async def revive(self, id: str) -> bool:
        """Put a dead letter back in line, with all its attempts; return False if there is none of that id."""
        return await self.books.revive(id)

    async def purge(self, *states: Backlog) -> int:
        """Drop all jobs that are "waiting", "delayed" or "dead", of all three by default; return how many.

        Jobs that run go on. Their waiters, and those of the others, get JobGone.
        """
        count = 0
        for state in states or _BACKLOGS:
            if state not in _BACKLOGS:
                raise ArgumentError(f'purge(): {state!r} is not "waiting", "delayed" or "dead"')
            is_all = False
            while not is_all:
                dropped, is_all = await self.books.purge(state)
                count += dropped
        return count
