"""Job of a queue, as its enqueuer sees it: its state, its result, its cancellation.

Owns the shared wait for results, one subscription for all of an event loop. Never runs a job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, cast
from weakref import WeakKeyDictionary

import msgspec

from aioresp.elsewhere import advising
from aioresp.misuse import Bound
from aioresp.pubsub.topics import Gap
from aioresp.recipes.errors import JobCancelled, JobFailed, JobGone
from aioresp.recipes.queue.books import Books, Standing
from aioresp.recipes.queue.checks import seconds
from aioresp.recipes.queue.elsewhere import JOB
from aioresp.record import Record

if TYPE_CHECKING:
    from aioresp.recipes.encoding import Signature

T = TypeVar("T")

State = Literal["waiting", "delayed", "running", "done", "dead", "cancelled"]

log: Final = logging.getLogger("aioresp")

#: Seconds after which a waiter looks at the books without a word: the job may have been deleted or evicted.
LOOK: Final = 5.0


class Reason(msgspec.Struct):
    """Failure of an attempt, as the books hold it."""

    type: str = ""
    message: str = ""


class JobInfo(Record):
    """State of a job in the books."""

    id: str
    function: str
    state: State
    attempts: int
    """Number of attempts that were begun, without those given back or snoozed."""
    deaths: int
    """Number of times that its worker died, or lost its lease, since the last attempt that ended."""
    priority: int
    unique: str | None
    enqueued_at: datetime
    due_at: datetime | None
    """Time at which a delayed job becomes due; None for others."""
    ended_at: datetime | None
    error: str | None
    """Type and message of the last failure; None without one."""


class Waiters:
    """Those who wait for the ends of jobs, in one event loop."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._events: dict[str, set[asyncio.Event]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._live: asyncio.Future[None] | None = None

    async def ended(self, id: str) -> Standing | None:
        """Wait until a job has ended; return its state, None if it is gone."""
        event = asyncio.Event()
        self._events.setdefault(id, set()).add(event)
        try:
            while True:
                if self._reader is None or self._reader.done():
                    self._start()
                if self._live is not None:
                    await asyncio.shield(self._live)
                event.clear()
                standing = await self._books.look(id, waiting=True)
                if standing is None or standing.ended:
                    return standing
                try:
                    async with asyncio.timeout(LOOK):
                        await event.wait()
                except TimeoutError:
                    pass
        finally:
            waiting = self._events[id]
            waiting.discard(event)
            if not waiting:
                del self._events[id]
            if not self._events and self._reader is not None:
                self._reader.cancel()
                self._reader = None

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._live = loop.create_future()
        self._reader = loop.create_task(self._read(self._live), context=Context())

    async def _read(self, live: asyncio.Future[None]) -> None:
        try:
            async with self._books.view.subscribe(self._books.done, gaps=True) as words:
                live.set_result(None)
                async for word in words:
                    told = self._events.values() if isinstance(word, Gap) else (self._of(word.data),)
                    for events in list(told):
                        for event in events:
                            event.set()
        except Exception as error:  # the waiters look at the books, and meet the same error if it lasts
            if live.done():
                log.debug("the wait for results lost its subscription: %s", type(error).__name__)
            else:
                live.set_exception(error)
                live.exception()  # all waiters may have gone
        finally:
            if not live.done():
                live.cancel()
            for events in list(self._events.values()):
                for event in events:
                    event.set()

    def _of(self, data: bytes) -> set[asyncio.Event]:
        return self._events.get(data.decode(errors="replace"), set())


#: Waiters by books and event loop.
_waiters: Final[WeakKeyDictionary[Books, WeakKeyDictionary[asyncio.AbstractEventLoop, Waiters]]] = WeakKeyDictionary()


def waiters(books: Books) -> Waiters:
    """Return those who wait in the running loop."""
    loops = _waiters.setdefault(books, WeakKeyDictionary())
    loop = asyncio.get_running_loop()
    found = loops.get(loop)
    if found is None:
        found = loops[loop] = Waiters(books)
    return found


@advising(JOB)
class Job(Bound, Generic[T]):
    """A job in the queue; `id` names it, and `queue.job(id)` returns it elsewhere."""

    _instead = "pass its `id`, and call `queue.job(id)` there"

    __slots__ = ("_books", "_signature", "id")

    def __init__(self, books: Books, id: str, signature: Callable[[str], Signature[T] | None]) -> None:
        self.id = id
        self._books = books
        self._signature = signature

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    async def result(self, timeout: float | timedelta | None = None) -> T:
        """Wait for the end of the job, and return its result.

        Raises TimeoutError after `timeout` seconds (the job goes on), JobFailed if the job failed for good,
        JobCancelled, and JobGone if the queue does not know the job, or its result has expired.
        """
        limit = None if timeout is None else seconds(timeout, "result()", "timeout")
        async with asyncio.timeout(limit):
            standing = await waiters(self._books).ended(self.id)
        if standing is None:
            raise JobGone(f"job {self.id} is not in the queue, or its result has expired", self.id)
        if standing.state == "cancelled":
            raise JobCancelled(f"job {self.id} was cancelled, or replaced", self.id)
        if standing.state == "dead":
            reason = _reason(standing.data) or Reason()
            said = f"job {self.id} ({standing.function}) failed: {_said(reason)}"
            raise JobFailed(said, self.id, reason.type, reason.message)
        if not standing.data:
            raise JobGone(f"job {self.id} ({standing.function}) is done, and its task keeps no result", self.id)
        signature = self._signature(standing.function)
        if signature is None:
            return cast(T, msgspec.json.decode(standing.data))
        return signature.result(standing.data)

    async def cancel(self) -> bool:
        """Cancel the job; return False if it has ended otherwise, or is gone.

        A job that waits is out at once. One that runs is cancelled by its worker: wait for it with `result()`, which
        raises JobCancelled, or returns a result if the job ended first.
        """
        return await self._books.cancel(self.id) in ("cancelled", "running")

    async def info(self) -> JobInfo:
        """Return what the queue knows about the job; raise JobGone if there is none."""
        standing = await self._books.look(self.id)
        if standing is None:
            raise JobGone(f"job {self.id} is not in the queue, or its result has expired", self.id)
        return info(self.id, standing)


def info(id: str, standing: Standing) -> JobInfo:
    """Return the state of a job for users."""
    reason = _reason(standing.data) if standing.state not in ("done", "cancelled") else None
    unique = standing.unique
    return JobInfo(
        id=id,
        function=standing.function,
        state=cast(State, standing.state),
        attempts=standing.attempts,
        deaths=standing.deaths,
        priority=standing.priority,
        unique=None if unique is None else unique.partition(":")[2],
        enqueued_at=_date(standing.enqueued),
        due_at=_date(standing.due) if standing.due else None,
        ended_at=_date(standing.ended) if standing.ended else None,
        error=None if reason is None else _said(reason),
    )


def _said(reason: Reason) -> str:
    return ": ".join(each for each in (reason.type, reason.message) if each)


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


_decoder: Final[Any] = msgspec.json.Decoder(Reason)


def _reason(data: bytes) -> Reason | None:
    """Return the failure that the books hold; a stranger may have written something else."""
    if not data:
        return None
    try:
        reason: Reason = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Reason("", "unreadable")
    return reason
