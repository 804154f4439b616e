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
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import anyio

from aioresp.errors import DecodeError, RedisError, ResponseError
from aioresp.misuse import Entered
from aioresp.pubsub.topics import Gap
from aioresp.recipes.encoding import encode
from aioresp.recipes.leases import Lease, keep
from aioresp.recipes.queue.books import LEASE, Books, Taken
from aioresp.recipes.queue.checks import count, seconds
from aioresp.recipes.queue.cron import Ticker
from aioresp.recipes.queue.hand import Hand, Outcome, Why
from aioresp.recipes.queue.job import Reason
from aioresp.recipes.queue.running import Running, current
from aioresp.recipes.queue.seen import Around

if TYPE_CHECKING:
    from aioresp.recipes.queue.task import Task

log: Final = logging.getLogger("aioresp")

#: Seconds after which an idle worker looks without a word.
LOOK: Final = 5.0

#: Seconds that a stopped worker spends after `grace`, to have jobs cancelled, and to give them back.
_GIVE_BACK: Final = 5.0

#: Seconds between attempts to reach a server that fails: the shortest and the longest.
_PAUSES: Final = (0.1, 2.0)

#: Jobs in one call that takes, renews, or settles: the server is not held up for long.
_BATCH: Final = 100

#: Bytes of results after which a call that settles takes no more.
_BYTES: Final = 2**20

#: The number of deaths from which a job is suspected to kill its worker.
_SUSPECT: Final = 2


#: Begin of the notes about a server that is away, which are deleted when it is back.
_AWAY: Final = "away: "


class _Patience:
    """Context that logs an error and goes on: a server that comes back needs no person."""

    def __init__(self, name: str, what: str, said: set[str]) -> None:
        self._what = f"worker of {name}: cannot {what}, tries again"
        self._said = said

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        said = f"{self._what}: {type(error).__name__}: {error}"
        # What a server refuses is said once, and once in a while without one what cannot be done.
        note = said if isinstance(error, ResponseError) else f"{_AWAY}{self._what}"
        level = logging.WARNING if isinstance(error, (RedisError, OSError)) else logging.ERROR
        log.log(logging.DEBUG if note in self._said and level == logging.WARNING else level, "%s", said)
        self._said.add(note)
        return True


class Worker(Entered):
    """Runs jobs of a queue in this process: `async with queue.worker() as worker: await worker.run()`."""

    _instead = "call `queue.worker()` where it is used"
    _entering = "async with queue.worker() as worker:"

    def __init__(
        self,
        books: Books,
        tasks: Mapping[str, Task[Any, Any]],
        concurrency: int,
        grace: float | timedelta,
        around: Around,
        *,
        draining: bool = False,
    ) -> None:
        self.name = books.name
        self.tasks = tasks
        self.concurrency = count(concurrency, "worker()", "concurrency", 1)
        self.grace = seconds(grace, "worker()", "grace")
        self.id = os.urandom(8).hex()
        self.ended = 0  # number of attempts that have ended
        self._books = books
        self._around = around
        self._hand: set[Hand] = set()
        self._outcomes: list[Outcome] = []  # of jobs that have ended, and that the books do not know yet
        self._takes = 0  # number of takes, the second half of a token
        self._look = True  # there may be jobs: set by a word or a due time, cleared by a take that finds few
        self._is_draining = draining  # never changed: it ends when there is nothing left to do
        self._is_dry = False  # the last turn met nothing: no job in hand, none that had ended, and no new one
        self._stopped = float("inf")  # monotonic time at which it was told to stop
        self._signal = asyncio.Event()  # something happened that `_work` acts on
        self._idle = asyncio.Event()  # the last take found few: a word is waited for
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lease: Lease | None = None
        self._renewed = 0.0  # monotonic time before the last renewal of all leases that the server has confirmed
        self._main: asyncio.Task[None] | None = None
        self._said: set[str] = set()  # warnings that are not repeated

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
        """Number of jobs that it runs."""
        return len(self._hand)

    def stop(self) -> None:
        """Take no more jobs. `run` returns when those in hand have ended, or `grace` has passed. For any thread."""
        self._stopped = min(self._stopped, time.monotonic())
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop_here)

    async def run(self) -> None:
        """Run jobs until `stop` is called. If this is cancelled, jobs in hand are cancelled and given back at once.

        Raises ArgumentError for a task with an annotation that cannot be read, or decoded from JSON.
        """
        if self._main is not None:
            raise RuntimeError("a worker runs once; call queue.worker() for another")
        for task in self.tasks.values():
            task.signature.resolve()
        self._loop = asyncio.get_running_loop()
        self._main = self._loop.create_task(self._run(), name=f"aioresp-worker-{self.name}", context=Context())
        try:
            await asyncio.wait({self._main})
        except asyncio.CancelledError:
            self.grace = 0.0
            self.stop()
            await self._wind_down()
            raise
        self._main.result()

    # --- Start and end --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                steps = [self._tend, self._listen, self._await_word]
                if not self._is_draining:
                    steps += [self._warn, *([self._tick] if self._around.crons else [])]
                for step in steps:
                    group.start_soon(self._forever, step)
                self._keep_leases()
                if self.is_stopping:
                    self._stop_here()
                await self._work()
                await self._end_wait()
                group.cancel_scope.cancel()
        finally:
            for timer in self._timers.values():
                timer.cancel()
            with anyio.CancelScope(shield=True), anyio.move_on_after(_GIVE_BACK):
                await self._leave()
            if self._lease is not None:
                self._lease.release()

    async def _leave(self) -> None:
        """Give back what is still in hand, if it can be done at once."""
        for hand in self._hand:
            hand.cancel(Why.STOPPED)
        runners = [hand.runner for hand in self._hand if hand.runner is not None]
        if runners:
            await asyncio.wait(runners, timeout=_GIVE_BACK / 2)
        for hand in [hand for hand in self._hand if hand.runner is not None and hand.runner.done()]:
            self._hand.discard(hand)  # the loop has cancelled it before its first step
            self._outcomes.append(hand.outcome("back"))
        if self._hand:
            log.warning("worker of %s: %d jobs ignore that it stops; their leases end", self.name, len(self._hand))
        with self._patient("give back jobs"):
            if self._outcomes:
                await self._books.settle(self._outcomes)
            if self._look:
                await self._books.nudge()  # the word that this one has heard is for another

    async def _wind_down(self) -> None:
        """Wait for the end, which `stop` has asked for, even if the caller is cancelled."""
        if self._main is None:
            return
        with anyio.CancelScope(shield=True):
            await asyncio.wait({self._main}, timeout=self.grace + 2 * _GIVE_BACK)
            if not self._main.done():
                self._main.cancel()
                await asyncio.wait({self._main}, timeout=2 * _GIVE_BACK)

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped < float("inf")

    def _stop_here(self) -> None:
        self._signal.set()
        self._time("grace", max(self._stopped + self.grace - time.monotonic(), 0), self._cancel_all)

    def _cancel_all(self) -> None:
        for hand in list(self._hand):
            hand.cancel(Why.STOPPED)
        self._signal.set()

    def _is_late(self) -> bool:
        """Whether a worker that stops has no more time for a server that does not answer."""
        grace = self.grace if self._hand or self._outcomes else 0.0
        return time.monotonic() > self._stopped + grace + _GIVE_BACK / 2

    # --- Take, begin, settle --------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._signal.clear()
            free = min(self.concurrency - len(self._hand), _BATCH) if self._look and not self.is_stopping else 0
            if self._outcomes or free > 0:
                await self._turn(free)
                await asyncio.sleep(0)  # a job that has just begun may end at once, and is settled with the others
            elif self._is_draining and not self._hand and not self.is_stopping:
                if self._is_dry and not (await self._books.counts())[0]:
                    return
                self._look = True
            elif not self.is_stopping:
                await self._signal.wait()
            elif not self._hand:
                return
            else:
                try:
                    async with asyncio.timeout(0.1 + max(self._stopped + self.grace - time.monotonic(), 0)):
                        await self._signal.wait()
                except TimeoutError:
                    if self._is_late():
                        return

    async def _turn(self, free: int) -> None:
        """Settle what has ended and take as many jobs as are free, in one round trip."""
        had_none = not self._outcomes
        settling = asyncio.create_task(self._settle()) if self._outcomes and free > 0 else None
        if free > 0:
            await self._take(free)
        if settling is not None:
            await settling
        elif self._outcomes:
            await self._settle()
        self._is_dry = had_none and not self._hand and not self._outcomes

    async def _take(self, free: int) -> None:
        self._takes += 1
        self._look = False
        token, pause, began = f"{self.id}.{self._takes}", _PAUSES[0], time.monotonic()
        suspect = not any(hand.taken.deaths >= _SUSPECT for hand in self._hand)
        while True:
            with self._patient("take jobs"):
                due, jobs = await self._books.take(0 if self.is_stopping else free, token, self.id, LEASE, suspect)
                if jobs and time.monotonic() - began > self._ttl() / 3:
                    jobs = await self._still_held(jobs)
                self._is_back()
                break
            # Asked again even if it stops: the books may hold jobs under this token, and tell them again.
            if self._is_late():
                return
            pause = await self._pause(pause)
        for taken in jobs:
            if self.is_stopping:
                self._outcomes.append((taken.id, token, "back", b"", 0))
            else:
                self._begin(taken)
        if len(jobs) >= free:
            self._look = True
        else:
            self._idle.set()
        self._time("due", None if due < 0 else due / 1000, self._look_again)

    async def _still_held(self, jobs: list[Taken]) -> list[Taken]:
        """Return those of jobs that were taken a while ago whose leases have not ended meanwhile, and renew these."""
        held = [(taken.id, taken.token, self._lease_of(taken.function)) for taken in jobs]
        lost = {id for id, what in await self._books.renew(held) if what == "lost"}
        return [taken for taken in jobs if taken.id not in lost]

    def _lease_of(self, function: str) -> int:
        task = self.tasks.get(function)
        return LEASE if task is None else round(task.settings.lease * 1000)

    def _begin(self, taken: Taken) -> None:
        task = self.tasks.get(taken.function)
        if task is None:
            self._bury(taken, "UnknownTask", f"the worker knows no task named {taken.function}")
            return
        try:
            args, kwargs = task.signature.decode(taken.payload)
        except DecodeError as error:
            self._bury(taken, "DecodeError", str(error))
            return
        except Exception as error:  # a type of the user's refuses what it is made of, and may show it
            self._bury(taken, "DecodeError", f"the payload of {task.name} was refused by {type(error).__name__}")
            return
        hand = Hand(taken, task.settings.lease, task.settings.timeout)
        self._hand.add(hand)
        context = Context()
        context.run(current.set, Running(taken.id, taken.function, taken.attempt, taken.deaths, self.name))
        loop = asyncio.get_running_loop()
        hand.runner = loop.create_task(self._perform(hand, task, args, kwargs), context=context)
        timer = self._timers.get("deadlines")
        if timer is None or loop.time() + task.settings.timeout < timer.when():
            self._watch_deadlines()

    def _bury(self, taken: Taken, type: str, message: str) -> None:
        self._around.seen.dead(taken.id, taken.function, taken.attempt, 0.0, None, f"{type}: {message}")
        self._outcomes.append((taken.id, taken.token, "dead", encode(Reason(type, message), "the reason"), 0))
        self._signal.set()

    async def _perform(self, hand: Hand, task: Task[Any, Any], args: list[Any], kwargs: dict[str, Any]) -> None:
        outcome = None
        try:
            outcome = await hand.run(task, args, kwargs, self._around)
        finally:
            self._hand.discard(hand)
            self.ended += 1
            if hand.taken.deaths >= _SUSPECT:
                self._look = True  # the next suspect may be taken
            self._signal.set()
            if outcome is not None:  # else KeyboardInterrupt ends the process: the end of the lease counts as a death
                self._outcomes.append(outcome)
                hand.report(outcome, self._around.seen)

    async def _settle(self) -> None:
        """Settle jobs that have ended, however long the server is away; leases that end meanwhile are others'."""
        pause, batch = _PAUSES[0], self._outcomes[: self._batch()]
        while True:
            with self._patient("settle jobs"):
                refused = await self._books.settle(batch)
                break
            if self._is_late():
                return
            pause = await self._pause(pause)
        del self._outcomes[: len(batch)]
        for id in refused:
            log.warning("job %s: its lease was lost, and its outcome is refused", id)

    def _batch(self) -> int:
        """Return how many outcomes are settled at once: not many long results, so that the server is free soon."""
        size = 0
        for index, outcome in enumerate(self._outcomes[:_BATCH], 1):
            size += len(outcome[3])
            if size > _BYTES:
                return index
        return _BATCH

    # --- Words and times ------------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        self._look = True
        self._signal.set()

    async def _await_word(self) -> None:
        """Wait for one word at a time, while the hand is not full; end with the word that is for this worker."""
        keys = (self._books.wake, self._books.own_wake(self.id))
        while True:
            await self._idle.wait()
            word = await self._books.view.blpop(keys, timeout=LOOK)
            self._idle.clear()
            if word is not None and word[0].endswith(self.id.encode()):
                self._signal.set()
                return
            if word is not None and len(self._hand) >= self.concurrency:
                await self._books.nudge()  # it is for another worker
            self._look_again()

    async def _end_wait(self) -> None:
        """End the wait for a word by a word: a pop that is cancelled may put one back without its time to live."""
        if self._idle.is_set():
            with self._patient("end its wait"):
                async with asyncio.timeout(1.0):
                    await self._books.nudge(self.id)
                    while self._idle.is_set():
                        await self._signal.wait()
                        self._signal.clear()

    async def _listen(self) -> None:
        """Hear which jobs are to be cancelled. A renewal tells of words from before the subscription, or in a gap."""
        async with self._books.view.subscribe(self._books.cancelled, gaps=True) as words:
            await self._renew()
            async for word in words:
                if isinstance(word, Gap):
                    await self._renew()
                else:
                    self._told(word.data.decode(errors="replace"), "", Why.CANCELLED)

    async def _tend(self) -> None:
        """Put back the jobs of workers that died, when their leases end."""
        while True:
            after, back, buried = await self._books.tend()
            if back:
                log.warning("%d jobs of %s are back in line: their leases have ended", len(back), self.name)
            for id in buried:
                log.error("job %s goes to the dead letters: its worker died too often", id)
            # A lease that is given after this look ends after a whole lease at the earliest.
            await asyncio.sleep(self._ttl() if after < 0 else min(after / 1000 + 0.002, self._ttl()))

    async def _tick(self) -> None:
        """Enqueue the ticks of schedules."""
        await Ticker(self._books, self._around.crons).run()

    async def _warn(self) -> None:
        """Warn once about a server that may forget jobs."""
        for danger in await self._books.dangers():
            if danger not in self._books.warned:
                self._books.warned.add(danger)
                log.warning("queue %s: %s", self.name, danger)

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run something to its end, which most never come to, also after errors."""
        pause = _PAUSES[0]
        while True:
            began = time.monotonic()
            with self._patient(step.__name__.strip("_").replace("_", " ")):
                return await step()
            pause = await self._pause(_PAUSES[0] if time.monotonic() - began > LOOK else pause)

    def _is_back(self) -> None:
        """Note that the server answers."""
        notes = [note for note in self._said if note.startswith(_AWAY)]
        if notes:
            log.info("worker of %s: the server answers", self.name)
            self._said.difference_update(notes)

    def _patient(self, what: str) -> _Patience:
        return _Patience(self.name, what, self._said)

    async def _pause(self, seconds: float) -> float:
        await asyncio.sleep(seconds * (0.5 + random.random() / 2))
        return min(seconds * 2, _PAUSES[1])

    def _time(self, name: str, delay: float | None, call: Callable[[], None]) -> None:
        """Set, or unset, a timer that replaces the one of that name."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        if delay is not None:
            self._timers[name] = asyncio.get_running_loop().call_later(delay, call, context=Context())

    def _watch_deadlines(self) -> None:
        """Cancel jobs whose timeout has passed, and set the timer to the next."""
        now, first = time.monotonic(), float("inf")
        for hand in self._hand:
            if hand.deadline <= now:
                hand.cancel(Why.TIMEOUT)
            else:
                first = min(first, hand.deadline)
        self._time("deadlines", first - now if first < float("inf") else None, self._watch_deadlines)

    # --- Leases ---------------------------------------------------------------------------------------------------

    def _keep_leases(self) -> None:
        self._lease = keep(self._renew, self._ttl(), since=time.monotonic(), on_lost=self._lost_all)

    def _ttl(self) -> float:
        """Return the shortest lease of a task."""
        return min([LEASE / 1000, *(task.settings.lease for task in self.tasks.values())])

    async def _renew(self) -> bool:
        """Renew the leases of all jobs in hand, by default in the thread of the leases; True, whichever are lost."""
        now, loop = time.monotonic(), self._loop
        held = [(hand.taken.id, hand.taken.token, hand.lease) for hand in list(self._hand) if now < hand.deadline]
        tokens = {id: token for id, token, _ in held}
        for start in range(0, len(held), _BATCH):
            for id, what in await self._books.renew(held[start : start + _BATCH]):
                if loop is not None and not loop.is_closed():
                    loop.call_soon_threadsafe(self._told, id, tokens[id], Why.LOST if what == "lost" else Why.CANCELLED)
        self._renewed = now
        return True

    def _told(self, id: str, token: str, why: Why) -> None:
        for hand in list(self._hand):
            if hand.taken.id == id and token in ("", hand.taken.token):
                hand.cancel(why)

    def _lost_all(self, reason: str) -> None:
        """Cancel the jobs whose leases end before this is called again; the shortest says nothing about the others."""
        rest = time.monotonic() + self._ttl()
        held = [hand for hand in self._hand if hand.why is None]
        lost = [hand for hand in held if max(self._renewed, hand.began) + hand.lease / 1000 <= rest]
        if lost:
            log.warning("worker of %s: %d of its leases are lost: %s", self.name, len(lost), reason)
        for hand in lost:
            hand.cancel(Why.LOST)
        self._keep_leases()
