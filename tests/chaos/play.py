"""Order of a run: tasks at work while everything breaks, then peace, then the reckoning.

Owns what runs of all kinds have in common. What breaks is its stage's, what is right and wrong the ledger's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any, Final, Generic, Unpack

from aioresp import Client, Lost
from aioresp.errors import RedisError
from aioresp.events import ConnectFailed, Event, Repeated
from aioresp.options import Options
from tests.chaos.census import Census, Memory, Pulse, objects
from tests.chaos.dealing import Chaos, Deck
from tests.chaos.jobs import Common, Job
from tests.chaos.jobs.messages import publish
from tests.chaos.jobs.queues import Move, Pop, PopScored, list_of
from tests.chaos.jobs.streams import Consume, ReadOn
from tests.chaos.jobs.transactions import twin
from tests.chaos.jobs.values import Remember
from tests.chaos.ledger import Ledger, Listener, Outcome
from tests.chaos.lines import Shared
from tests.chaos.queues import Queue
from tests.chaos.report import Report, machine
from tests.chaos.stage import S, Stage, eventually

#: Seconds for what is left to be worked off, and for all tasks to end.
PEACE: Final = 45.0
ENDING: Final = 20.0

#: Seconds beyond those of the run for what has not been broken yet.
PATIENCE: Final = 60.0

logger = logging.getLogger("aioresp")


class Play(Generic[S]):
    """A run of so many seconds of chaos. `pause` is the time between two steps of a task, on average.

    `options` are those of the client, where they are to be others than usual.
    """

    #: The jobs, and how many tasks there are of each.
    jobs_of: Mapping[type[Job], int]
    #: Connections that ended and may still be in memory: by the error of the last attempt, of each pool and hub.
    remembered = 2

    def __init__(
        self,
        seconds: float,
        seed: str | None,
        pause: float,
        deck: Deck[S],
        **options: Unpack[Options],
    ) -> None:
        self.seconds = seconds
        self.options: Options = {
            "timeout": 3,
            "connect_timeout": 1.5,
            "limit": 60,
            "concurrency": 40,
            "on_lost": self._lost,
            "events": self._hear,
            **options,
        }
        self.deck = deck
        self.seed = seed or os.urandom(4).hex()
        self.pause = pause
        self.ledger = Ledger()
        self.report = Report(self.seed)
        self.common: Common
        self.jobs: list[Job] = []

    async def go(self) -> Report:
        """Run it, and return what it came to. An error that ends the run has a note with the seed and the figures."""
        try:
            return await self._go()
        except Exception as error:
            error.add_note(f"The run until then:\n{self._finish()}")
            raise

    async def _go(self) -> Report:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        handler = loop.get_exception_handler()
        loop.set_exception_handler(self._unhandled)
        before = Census()
        with self._listening():
            await self._play()
            self.jobs.clear()
            del self.common
            await before.compare(self.ledger)
        loop.set_exception_handler(handler)
        self.report.seconds = time.monotonic() - started
        return self._finish()

    # --- What each kind of run has of its own -------------------------------------------------------------------------

    def stage(self) -> AbstractAsyncContextManager[S]:
        """Return what it all takes place on, ready for use within a block."""
        raise NotImplementedError

    def client(self, made: S) -> Client[str]:
        """Return a client as the tasks use it."""
        raise NotImplementedError

    def prepare(self, made: S) -> None:
        """Make what jobs of this kind of run need, before they are made."""

    async def check_more(self, made: S, client: Client[str]) -> None:
        """Check what only this kind of run has, in peace, while all tasks are at work still."""

    # --- The order ----------------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        async with self.stage() as made:
            self.report.machine = machine(made.server)
            async with self.client(made) as client:
                await self._work(made, client)
                await self._check_rest(made, client)
            await self._check_data(made)
            if not await eventually(5, partial(_nobody, made)):
                self.ledger.wrong("leak", f"the server still has {await made.clients()} connections")
            self.report.cut = made.cuts

    # --- What the library tells ---------------------------------------------------------------------------------------

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Have the ledger hear what the library logs, and nobody else: a million lines are kept by nobody."""
        listener, before = Listener(self.ledger), (logger.level, logger.propagate)
        logger.addHandler(listener)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(listener)
            logger.setLevel(before[0])
            logger.propagate = before[1]

    def _hear(self, event: Event) -> None:
        if isinstance(event, Repeated):
            self.report.repeated += 1
        elif isinstance(event, ConnectFailed):
            self.report.attempts_failed += 1

    def _lost(self, lost: Lost) -> None:
        for queue in self.common.popped + self.common.scored:
            if queue.key in lost.command:
                queue.report(lost)
                return
        self.ledger.wrong("unexpected error", f"on_lost was told of {lost}")

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.ledger.wrong(
            "unexpected error", f"in the event loop: {context.get('message')} {context.get('exception')!r}"
        )

    # --- Chaos, and peace ---------------------------------------------------------------------------------------------

    async def _work(self, made: S, client: Client[str]) -> None:
        self.common = common = Common(client, partial(self.client, made), self.seed, self.pause, self.ledger)
        common.counters = [Shared(self.ledger, f"shared:{n}") for n in range(10)]
        common.pairs = [Shared(self.ledger, f"pair:{n}") for n in range(5)]
        common.several = made.server.version >= (7, 0)
        # No more of a kind than there are tasks that work them off.
        common.popped = [Queue(self.ledger, f"popped-{n}") for n in self._range(5, Pop)]
        common.scored = [Queue(self.ledger, f"scored-{n}", scored=True) for n in self._range(3, PopScored)]
        common.streamed = [Queue(self.ledger, f"streamed-{n}", moved=True) for n in self._range(2, Consume)]
        common.moved = [Queue(self.ledger, f"moved-{n}", moved=True) for n in self._range(4, Move)]
        self.prepare(made)
        self.jobs = [kind(common, n) for kind, count in self.jobs_of.items() for n in range(count)]
        self.report.tasks = len(self.jobs)
        pulse, memory, chaos = Pulse(self.ledger), Memory(), Chaos(made, self.deck)
        tasks = {asyncio.create_task(job.go(), name=job.name) for job in self.jobs}
        if not await eventually(ENDING, self._all_entered):
            self.ledger.wrong("stuck", "some tasks have not begun, and nothing was broken yet")
        sampling = asyncio.create_task(memory.go())
        breaking = asyncio.create_task(chaos.go(), name="the dealer of the faults")
        for task in (*tasks, breaking):
            task.add_done_callback(self._ended)
        await asyncio.wait([*tasks, breaking], timeout=self.seconds, return_when=asyncio.FIRST_EXCEPTION)

        async def dealt() -> bool:
            return chaos.dealt or breaking.done()

        await eventually(PATIENCE, dealt)  # a slow machine has each fault once, too
        chaos.end()
        await asyncio.wait([breaking])
        if breaking.exception() is not None:
            await made.heal()
        sampling.cancel()
        self.report.faults = chaos.faults
        common.calm = True
        since = time.monotonic()
        if not await eventually(PEACE, partial(self._worked_off, made)):
            left = await self._left(made)
            self.ledger.wrong("stuck", f"jobs are left after {PEACE:.0f} s of peace: {left}, {_whereabouts(tasks)}")
        self.ledger.figures["seconds until all jobs were done"] = round(time.monotonic() - since)
        await self.check_more(made, client)
        # A connection without a sign of life is noticed after ten seconds, and only then there is a Gap.
        if not await eventually(PEACE, partial(self._all_hear, client)):
            self.ledger.wrong("stuck", f"some subscribers hear nothing after {PEACE:.0f} s of peace")
        common.over = True
        await self._end(tasks)
        pulse.end()
        self.ledger.figures["seconds in which nothing ran at all"] = round(self.ledger.stood_still)
        self.report.memory = memory.check(self.ledger)

    def _range(self, most: int, kind: type[Job]) -> range:
        return range(min(most, self.jobs_of.get(kind, 0)))

    async def _all_entered(self) -> bool:
        return all(job.entered for job in self.jobs)

    async def _worked_off(self, made: S) -> bool:
        """Return whether all queues are empty."""
        return not await self._left(made)

    async def _left(self, made: S) -> dict[str, int]:
        """Return how many jobs are where."""
        common = self.common
        moving = [list_of(queue, n) for queue in common.moved for n in range(self.jobs_of.get(Move, 0))]
        lists = [queue.key for queue in common.popped + common.moved] + moving
        keys = lists + [queue.key for queue in common.scored]
        p = made.direct.pipeline()
        for key in keys:
            p.llen(key) if key in lists else p.zcard(key)
        left = {key: length for key, length in zip(keys, await p.execute(), strict=True) if length}
        for queue in common.streamed:
            groups, last = await made.direct.xinfo_groups(queue.key), await made.direct.xrevrange(queue.key, count=1)
            if not groups:  # replication may lose that it was made: a reader makes it again
                left[f"{queue.key}, without its group"] = 1
                continue
            (group,) = groups
            # Of what was acknowledged to a group, replication may have lost that it was.
            pending = 0 if self._may_be_lost(queue.key) else group.pending
            if pending or (last and last[0].id != group.last_delivered_id):
                left[queue.key] = group.pending
        for job in self.jobs:
            if isinstance(job, ReadOn):
                last = await made.direct.xrevrange(job.read.log.name, count=1)
                if last and job.read.last != last[0].id:
                    left[job.name] = 1
        return left

    def _may_be_lost(self, key: str) -> bool:
        return self.ledger.losses is not None and self.ledger.losses.concern(key)

    async def _all_hear(self, client: Client[str]) -> bool:
        """Publish on each channel when all is well, and return whether all subscribers have heard it."""
        for channel in self.common.channels:
            number = channel.make()
            try:
                await publish(client, channel, channel.text(number, 0))
                channel.settle(number, Outcome.DONE)
            except RedisError as error:  # of a connection that is half open still
                channel.settle(number, self.ledger.failed("publish", error))
        await asyncio.sleep(0.3)
        return all(ear.last == ear.channel.number for ear in self.common.ears)

    async def _end(self, tasks: set[asyncio.Task[None]]) -> None:
        _, pending = await asyncio.wait(tasks, timeout=ENDING)
        for task in pending:
            self.ledger.wrong("stuck", f"{task.get_name()} at {task.get_stack(limit=1)}")
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=ENDING)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Note that a task of the run has ended by an error, as soon as it has: the run goes over to peace."""
        if not task.cancelled() and (error := task.exception()) is not None:
            told = "".join(traceback.format_exception(error))
            self.ledger.wrong("unexpected error", f"{task.get_name()}, seed {self.seed}: {told}")
            print(f"{task.get_name()} has ended, seed {self.seed}:\n{told}", file=sys.stderr, flush=True)

    # --- The reckoning ------------------------------------------------------------------------------------------------

    async def _check_rest(self, made: S, client: Client[str]) -> None:
        """Check that the client is at rest, and that client and server agree on its connections."""

        async def resting() -> bool:
            s = client.stats()
            return not (s.in_flight or s.waiting or s.leased) and await made.clients() == s.open

        if not await eventually(15, resting):
            self.ledger.wrong("not at rest", f"{client.stats()}, and {await made.clients()} at the server")
        stats = client.stats()
        self.report.sent, self.report.made = stats.commands, stats.made

        def strays() -> int:
            return objects()["Connection"] - client.stats().open - made.direct.stats().open

        async def forgotten() -> bool:
            return strays() <= self.remembered

        if not await eventually(5, forgotten):  # for a second, one that was closed may still say farewell
            self.ledger.wrong("leak", f"{strays()} connections are in memory, and not open")
        payloads = [f"in step {n}" for n in range(200)]
        answers = await asyncio.gather(*(client.echo(payload) for payload in payloads))
        if answers != payloads:
            self.ledger.crossed("the end", payloads[0], answers)

    async def _check_data(self, made: S) -> None:
        common, direct = self.common, made.direct
        for line in common.lines:
            for part in _parts(line.bounds()):
                found = await direct.mget(*(key for key, _, _ in part))
                for (key, low, high), value in zip(part, found, strict=True):
                    line.check(key, low, high, int(value or 0))
        for register in common.registers:
            for part in _parts(register.bounds()):
                found = await direct.mget(*(key for key, _, _ in part))
                for (key, low, high), value in zip(part, found, strict=True):
                    register.check(key, low, high, register.number(key, value))
        for counter in common.counters:
            counter.check(int(await direct.get(counter.key) or 0))
        for pair in common.pairs:
            one, two = await direct.mget(pair.key, twin(pair.key))
            pair.check(int(one or 0))
            if one != two:
                self.ledger.wrong("half a transaction", f"{pair.key} and its twin are {one} and {two}")
        for queue in common.popped + common.moved:
            queue.check(await direct.lrange(queue.key, 0, -1))
        for queue in common.scored:
            queue.check_scored(await direct.zrange(queue.key, 0, -1, withscores=True))
        for queue in common.streamed:
            queue.check([])
        for log in common.logs:
            log.check([entry.fields["text"] for entry in await direct.xrange(log.name)])
        for job in self.jobs:
            if isinstance(job, Remember):
                await job.verify(direct)
            elif isinstance(job, ReadOn):
                await job.read.verify(direct)

    def _finish(self) -> Report:
        ledger, report = self.ledger, self.report
        ledger.settle_losses()
        report.commands, report.by_kind, report.errors = ledger.commands, ledger.by_kind, ledger.errors
        report.longest = ledger.longest
        report.outcomes = {outcome.value: ledger.outcomes[outcome] for outcome in Outcome}
        report.figures, report.given_up = ledger.figures, ledger.given_up
        report.problems, report.examples = ledger.problems, ledger.examples
        return report


def _whereabouts(tasks: set[asyncio.Task[None]]) -> list[str]:
    """Return where those are who work off queues."""
    return [
        f"{task.get_name()} at {[frame.f_lineno for frame in task.get_stack()]}"
        for task in tasks
        if task.get_name().startswith(("pop-", "move-"))
    ]


async def _nobody(made: Stage) -> bool:
    return await made.clients() == 0


def _parts(bounds: Iterable[tuple[str, int, int]]) -> Iterable[list[tuple[str, int, int]]]:
    part: list[tuple[str, int, int]] = []
    for bound in bounds:
        part.append(bound)
        if len(part) == 500:
            yield part
            part = []
    if part:
        yield part
