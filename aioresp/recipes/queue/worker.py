"""Worker of a queue: takes jobs, runs them, settles them, and renews their leases.

Owns the jobs in hand of one `run`. Takes no more than it can begin at once. Never loses a job: what it cannot settle is
put back in line at the end of its lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Mapping
from contextvars import Context
from datetime import timedelta
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import anyio

from aioresp.errors import DecodeError, RedisError, ResponseError
from aioresp.misuse import Entered
from aioresp.recipes.encoding import encode
from aioresp.recipes.leases import Lease, keep
from aioresp.recipes.queue.books import LEASE, Books, Taken
from aioresp.recipes.queue.checks import count, seconds
from aioresp.recipes.queue.job import Reason
from aioresp.recipes.queue.running import Again, Discard, Running, Snooze, current

if TYPE_CHECKING:
    from aioresp.recipes.queue.task import Task

log: Final = logging.getLogger("aioresp")

#: Seconds after which an idle worker looks without a word, and at which it tends the leases of others at the latest.
_LOOK: Final = 5.0

#: Seconds that a stopped worker spends to have jobs cancelled, and to give them back.
_GIVE_BACK: Final = 5.0

#: Seconds between attempts to reach a server that fails: the shortest and the longest.
_PAUSES: Final = (0.1, 2.0)

#: Jobs in one call that renews, or settles.
_BATCH: Final = 500

#: The number of deaths from which a job is suspected to kill its worker.
_SUSPECT: Final = 2


class Why(Enum):
    """Why a worker cancelled a job."""

    TIMEOUT = "its timeout passed"
    CANCELLED = "it was cancelled"
    STOPPED = "the worker stops"
    LOST = "its lease was lost"


class Hand:
    """One job in hand."""

    __slots__ = ("attempt", "began", "deadline", "deaths", "function", "id", "lease", "task", "token", "why")

    def __init__(self, taken: Taken, lease: float, timeout: float) -> None:
        self.id = taken.id
        self.function = taken.function
        self.token = taken.token
        self.attempt = taken.attempt
        self.deaths = taken.deaths
        self.began = time.monotonic()
        self.deadline = self.began + timeout
        self.lease = round(lease * 1000)
        self.task: asyncio.Task[None] | None = None
        self.why: Why | None = None

    def cancel(self, why: Why) -> None:
        """Cancel the job for a reason; the first reason stays."""
        if self.why is None and self.task is not None:
            self.why = why
            self.task.cancel()


#: Outcome of a job for the books: id, token, outcome, data, delay in ms.
Outcome = tuple[str, str, str, bytes, int]


class Worker(Entered):
    """Runs jobs of a queue in this process: `async with queue.worker() as worker: await worker.run()`."""

    _instead = "call `queue.worker()` where it is used"
    _entering = "async with queue.worker() as worker:"

    def __init__(
        self, books: Books, tasks: Mapping[str, Task[Any, Any]], concurrency: int, grace: float | timedelta
    ) -> None:
        self.name = books.name
        self.tasks = tasks
        self.concurrency = count(concurrency, "worker()", "concurrency", 1)
        self.grace = seconds(grace, "worker()", "grace")
        self.id = os.urandom(8).hex()
        self._books = books
        self._hand: dict[str, Hand] = {}
        self._outcomes: list[Outcome] = []
        self._takes = 0  # number of takes, the second half of a token
        self._look = (
            True  # there may be jobs: set by a word, a due time or a full hand, cleared by a take that finds few
        )
        self._stopping = asyncio.Event()
        self._signal = asyncio.Event()  # something happened that `_work` acts on
        self._idle = asyncio.Event()  # the last take found few: a word is waited for
        self._due: asyncio.TimerHandle | None = None
        self._deadlines: asyncio.TimerHandle | None = None
        self._lease: Lease | None = None
        self._main: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Worker({self.name!r}, {len(self._hand)} of {self.concurrency} running)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self._main is not None:
            await self._wind_down()

    @property
    def running(self) -> int:
        """How many jobs it runs."""
        return len(self._hand)

    def stop(self) -> None:
        """Take no more jobs; `run` returns when those in hand have ended, or `grace` has passed."""
        self._stopping.set()
        self._signal.set()

    async def run(self) -> None:
        """Run jobs until `stop` is called. If this is cancelled, jobs in hand are cancelled and given back at once."""
        if self._main is not None:
            raise RuntimeError("a worker runs once; call queue.worker() for another")
        self._main = asyncio.get_running_loop().create_task(self._run(), name=f"aioresp-worker-{self.name}")
        try:
            await asyncio.wait({self._main})
        except asyncio.CancelledError:
            self.grace = 0.0
            self.stop()
            await self._wind_down()
            raise
        self._main.result()

    async def _wind_down(self) -> None:
        """Wait for the end, which `stop` has asked for, even if the caller is cancelled."""
        assert self._main is not None
        with anyio.CancelScope(shield=True):
            await asyncio.wait({self._main}, timeout=self.grace + 2 * _GIVE_BACK)
        if not self._main.done():
            self._main.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({self._main}, timeout=_GIVE_BACK)

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._forever, self._tend)
                group.start_soon(self._forever, self._listen)
                group.start_soon(self._forever, self._await_word)
                await self._work()
                group.cancel_scope.cancel()
        finally:
            for timer in (self._due, self._deadlines):
                if timer is not None:
                    timer.cancel()
            if self._lease is not None:
                self._lease.release()

    # --- Take, begin, settle --------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self._keep_leases()
        stopped: float | None = None
        while True:
            self._signal.clear()
            if stopped is None and self._stopping.is_set():
                stopped = time.monotonic()
            free = 0 if stopped is not None or not self._look else self.concurrency - len(self._hand)
            if self._outcomes or free > 0:
                await self._turn(max(free, 0))
                if not self._signal.is_set():
                    await asyncio.sleep(0)  # what has just begun may end in this turn of the loop, and be settled with
                continue
            if stopped is None:
                await self._signal.wait()
            elif not self._hand or not await self._wait_for_the_last(stopped + self.grace):
                return

    async def _wait_for_the_last(self, until: float) -> bool:
        """Wait for a job to end, and cancel all at a time; return False if some are still there long after it."""
        while True:
            now = time.monotonic()
            is_late = now >= until
            if is_late:
                for hand in list(self._hand.values()):
                    hand.cancel(Why.STOPPED)
            limit = until + _GIVE_BACK if is_late else until
            if now >= limit:
                log.warning("%d jobs ignore that the worker stops; their leases will end", len(self._hand))
                return False
            try:
                async with asyncio.timeout(limit - now):
                    await self._signal.wait()
            except TimeoutError:
                continue
            return True

    async def _turn(self, free: int) -> None:
        """Settle what has ended and take as many jobs as are free, in one round trip."""
        outcomes, self._outcomes = self._outcomes, []
        settling = asyncio.create_task(self._settle(outcomes)) if outcomes and free else None
        if free:
            await self._take(free)
        if settling is not None:
            await settling
        elif outcomes:
            await self._settle(outcomes)

    async def _take(self, free: int) -> None:
        self._takes += 1
        token, pause = f"{self.id}.{self._takes}", _PAUSES[0]
        suspect = not any(hand.deaths >= _SUSPECT for hand in self._hand.values())
        while True:
            try:
                due, jobs = await self._books.take(free, token, self.id, LEASE, suspect)
            except (RedisError, OSError) as error:
                log.warning("worker of %s: cannot take jobs, tries again: %s", self.name, error)
                # Not given up before it has an answer: the jobs of this token would wait for the end of their leases.
                pause = await self._pause(pause)
                if self._stopping.is_set():
                    free = 0
            else:
                break
        for taken in jobs:
            if self._stopping.is_set():
                self._outcomes.append((taken.id, token, "back", b"", 0))
            else:
                self._begin(taken)
        if len(jobs) < free:
            self._look = False
            self._idle.set()
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if due >= 0:
            self._due = asyncio.get_running_loop().call_later(due / 1000, self._look_again)

    def _begin(self, taken: Taken) -> None:
        task: Task[Any, Any] | None = self.tasks.get(taken.function)
        if task is None:
            log.error("job %s: no task is named %s here; it goes to the dead letters", taken.id, taken.function)
            self._bury(taken, "UnknownTask", f"the worker knows no task named {taken.function}")
            return
        try:
            args, kwargs = task.signature.decode(taken.payload)
        except DecodeError as error:
            log.error("job %s (%s): %s; it goes to the dead letters", taken.id, taken.function, error)
            self._bury(taken, "DecodeError", str(error))
            return
        hand = Hand(taken, task.settings.lease, task.settings.timeout)
        self._hand[taken.id] = hand
        context = Context()
        context.run(current.set, Running(taken.id, taken.function, taken.attempt, taken.deaths, self.name))
        hand.task = asyncio.get_running_loop().create_task(self._perform(hand, task, args, kwargs), context=context)
        if self._deadlines is None or hand.deadline < self._deadlines.when():
            self._watch_deadlines()

    def _bury(self, taken: Taken, type: str, message: str) -> None:
        self._outcomes.append((taken.id, taken.token, "dead", encode(Reason(type, message), "reason"), 0))
        self._signal.set()

    async def _perform(self, hand: Hand, task: Task[Any, Any], args: list[Any], kwargs: dict[str, Any]) -> None:
        """Run the function of a job, and note its outcome."""
        outcome, data, delay = "back", b"", 0.0
        try:
            value = await task.function(*args, **kwargs)
            data = encode(value, f"the result of {task.name}") if task.settings.keep_result else b"null"
            outcome = "done"
        except asyncio.CancelledError:
            if hand.why is Why.CANCELLED:
                outcome = "cancelled"
            elif hand.why is Why.TIMEOUT:
                outcome, data, delay = self._failed(
                    hand, task, TimeoutError(f"its timeout of {task.settings.timeout:g} s passed")
                )
            elif hand.why is None:
                outcome, data, delay = self._failed(hand, task, asyncio.CancelledError("it cancelled itself"))
        except Snooze as snooze:
            delay = snooze.delay
        except Exception as error:
            outcome, data, delay = self._failed(hand, task, error)
        finally:
            del self._hand[hand.id]
            self._outcomes.append((hand.id, hand.token, outcome, data, round(delay * 1000)))
            self._signal.set()

    def _failed(self, hand: Hand, task: Task[Any, Any], error: BaseException) -> tuple[str, bytes, float]:
        """Return the outcome of a failed attempt."""
        data = encode(Reason(type(error).__name__, str(error)), "reason")
        if isinstance(error, Discard) or hand.attempt > task.settings.retries:
            log.error("job %s (%s) failed for good, attempt %d", hand.id, hand.function, hand.attempt, exc_info=error)
            return "dead", data, 0.0
        delay = error.delay if isinstance(error, Again) else None
        if delay is None:
            delay = task.settings.pause(hand.attempt, random.random())
        log.warning(
            "job %s (%s) failed, attempt %d, again in %.1f s: %s",
            *(hand.id, hand.function, hand.attempt, delay, type(error).__name__),
        )
        return "again", data, delay

    async def _settle(self, outcomes: list[Outcome]) -> None:
        """Settle jobs, however long the server is away; leases that end meanwhile are others'."""
        pause = _PAUSES[0]
        for start in range(0, len(outcomes), _BATCH):
            batch = outcomes[start : start + _BATCH]
            while True:
                try:
                    refused = await self._books.settle(batch)
                except (RedisError, OSError) as error:
                    log.warning("worker of %s: cannot settle jobs, tries again: %s", self.name, error)
                    pause = await self._pause(pause)
                else:
                    break
            for id in refused:
                log.warning("job %s: its lease was lost, and its outcome is refused", id)

    async def _pause(self, seconds: float) -> float:
        await asyncio.sleep(seconds * (0.5 + random.random() / 2))
        return min(seconds * 2, _PAUSES[1])

    # --- Words and times ------------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        self._look = True
        self._signal.set()

    async def _await_word(self) -> None:
        """Wait for one word at a time, while the hand is not full."""
        while True:
            await self._idle.wait()
            word = await self._books.view.blpop(self._books.wake, timeout=_LOOK)
            self._idle.clear()
            if word is not None and len(self._hand) >= self.concurrency:
                await self._books.nudge()  # it is for another worker
            self._look_again()

    async def _listen(self) -> None:
        """Hear which jobs are to be cancelled. A word that is missed comes with the next renewal."""
        async with self._books.view.subscribe(self._books.cancelled) as words:
            async for word in words:
                self._told(word.data.decode(errors="replace"), "cancel")

    async def _tend(self) -> None:
        """Put back the jobs of workers that died, when their leases end."""
        while True:
            after, back, buried = await self._books.tend()
            if back:
                log.warning("%d jobs are back in line: their worker died, or lost their leases", len(back))
            for id in buried:
                log.error("job %s goes to the dead letters: its worker died too often", id)
            await asyncio.sleep(_LOOK if after < 0 else min(after / 1000 + 0.002, _LOOK))

    async def _forever(self, step: Any) -> None:
        """Run something that never ends, also after errors."""
        pause = _PAUSES[0]
        while True:
            began = time.monotonic()
            try:
                await step()
            except Exception as error:
                if isinstance(error, ResponseError) or not isinstance(error, (RedisError, OSError)):
                    log.warning("worker of %s: %s: %s", self.name, type(error).__name__, error)
            pause = await self._pause(_PAUSES[0] if time.monotonic() - began > _LOOK else pause)

    def _watch_deadlines(self) -> None:
        """Cancel jobs whose timeout has passed, and set the timer to the next."""
        if self._deadlines is not None:
            self._deadlines.cancel()
            self._deadlines = None
        now, loop = time.monotonic(), asyncio.get_running_loop()
        first = float("inf")
        for hand in self._hand.values():
            if hand.deadline <= now:
                hand.cancel(Why.TIMEOUT)
            elif hand.deadline < first:
                first = hand.deadline
        if first < float("inf"):
            self._deadlines = loop.call_at(loop.time() + first - now, self._watch_deadlines)

    # --- Leases ---------------------------------------------------------------------------------------------------

    def _keep_leases(self) -> None:
        leases = [task.settings.lease for task in self.tasks.values()]
        self._loop = asyncio.get_running_loop()
        self._lease = keep(self._renew, min([*leases, LEASE / 1000]), since=time.monotonic(), on_lost=self._lost_all)

    async def _renew(self) -> bool:
        """Renew the leases of all jobs in hand, in the thread of the leases; True, whichever are lost."""
        now = time.monotonic()
        held = [(hand.id, hand.token, hand.lease) for hand in list(self._hand.values()) if now < hand.deadline]
        for start in range(0, len(held), _BATCH):
            for id, what in await self._books.renew(held[start : start + _BATCH]):
                self._loop.call_soon_threadsafe(self._told, id, what)
        return True

    def _told(self, id: str, what: str) -> None:
        hand = self._hand.get(id)
        if hand is not None:
            hand.cancel(Why.LOST if what == "lost" else Why.CANCELLED)

    def _lost_all(self, reason: str) -> None:
        log.warning("worker of %s: all leases are lost: %s; %d jobs are cancelled", self.name, reason, self.running)
        for hand in list(self._hand.values()):
            hand.cancel(Why.LOST)
        self._keep_leases()
