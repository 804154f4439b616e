"""One benchmark, from the first look at the server to the deletion of the last key.

Owns the order of the steps. Ends each task, key and connection that was begun, also after an error and after Ctrl-C.
Never prints.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any, Final, Protocol

from aioresp import Client
from aioresp.cli.bench import limits
from aioresp.cli.bench.keys import FAREWELL, Keys
from aioresp.cli.bench.load import Call, closed, open_loop
from aioresp.cli.bench.progress import Lane, Progress
from aioresp.cli.bench.server import Server, delay_of
from aioresp.cli.bench.tally import PATIENCE, Gone, Tally, kind_of
from aioresp.cli.bench.template import MOST_RING, TTL, Maker, Template
from aioresp.cli.bench.ways import WAYS, Traffic, Way
from aioresp.cli.bench.ways import maker as maker_of
from aioresp.cli.display import Display
from aioresp.cli.faults import Fault
from aioresp.cli.target import Target
from aioresp.errors import RedisError, ResponseError
from aioresp.replies import as_is

#: Seconds of a warm-up, at most.
_WARM: Final = 0.2

#: Calls of the warm-up of a way that connects for each.
_WARM_CONNECTIONS: Final = 10

#: Seconds between two looks at the server's memory, while a command makes it grow.
_LOOK: Final = 0.25


class View(Display[Progress], Protocol):
    """Display of a run."""

    def finished(self, lane: Lane) -> None:
        """Show that a way is done."""


async def run(target: Target, progress: Progress, view: View, warn: Callable[[str], None]) -> None:
    """Measure all that is planned, and note it in `progress`, also if the run is broken off.

    `warn` takes a line about keys that could not be deleted. Raises Fault for what would hurt the server, and if the
    server is gone.
    """
    plan = progress.plan
    async with target.client(limit=4, client_name="aioresp-bench") as control:
        server = Server(control)
        progress.facts = await server.facts()
        keys = Keys()
        progress.prefix = keys.prefix
        makers = {template: keys.maker(template, plan.keys, plan.size) for template in plan.templates}
        budget = limits.check(plan, progress.facts, list(makers.values()), target.cluster)
        progress.notes += limits.notes(plan, progress.facts, target.cluster)
        filled = progress.facts.role != "slave"
        if any(each.own_keys and (each.writes or (each.fill and filled)) for each in plan.templates):
            await keys.check(control)
        try:
            with view.showing(progress):
                await _Run(target, progress, view, control, server, keys, budget).all(makers)
            progress.complete = True
        finally:
            settled = progress.complete and not any(lane.total.failed for lane in progress.lanes)
            await _whatever_happens(_delete(control, keys, settled, warn))
            progress.deleted = keys.deleted


async def _whatever_happens(work: Any) -> None:
    """Finish `work`, also if Ctrl-C comes in the middle of it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _delete(control: Client[Any], keys: Keys, settled: bool, warn: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    told = False

    def away() -> None:
        nonlocal told
        if not told:
            warn(f"the server is away: waiting up to {FAREWELL:.0f} s for it, to delete the keys {keys.prefix}*")
        told = True

    try:
        async with asyncio.timeout(FAREWELL) as limit:
            await keys.delete(
                control,
                settled=settled,
                going_on=lambda: limit.reschedule(loop.time() + FAREWELL),
                away=away,
            )
    except (RedisError, OSError, TimeoutError) as error:
        warn(
            f"the keys {keys.prefix}* could not all be deleted ({kind_of(error)}); those with a time to live, which is "
            f"most, expire within {TTL // 60} minutes"
        )


class _Run:
    """The steps, and what they share."""

    def __init__(
        self,
        target: Target,
        progress: Progress,
        view: View,
        control: Client[Any],
        server: Server,
        keys: Keys,
        budget: int | None,
    ) -> None:
        self.make = maker_of(target)
        self.progress = progress
        self.plan = progress.plan
        self.view = view
        self.control = control
        self.server = server
        self.keys = keys
        self.budget = budget

    async def all(self, makers: dict[Template, Maker]) -> None:
        """Measure each command, while the view repaints and the keys get their time to live."""
        gc.collect()
        gc.freeze()  # the libraries of the display are not walked through while a way is measured
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self.view.repaint())]
                for template, maker in makers.items():
                    own = [group.create_task(self.keys.keep_mortal(self.control, maker))]
                    if maker.growth() and self.budget is not None:
                        own.append(group.create_task(self._watch_memory(self.budget)))
                    await self._measure(template, maker)
                    for task in own:
                        task.cancel()
                for task in beside:
                    task.cancel()
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from None
        finally:
            gc.unfreeze()

    async def _measure(self, template: Template, maker: Maker) -> None:
        plan = self.plan
        if template.fill and self.progress.facts.role != "slave":
            await self.keys.fill(self.control, maker, self._tell)
        self.keys.written = self.keys.written or template.writes
        lanes = self.progress.of(template)
        async with AsyncExitStack() as stack:
            ready: list[tuple[Lane, Way, Call]] = []
            for lane in lanes:
                self.progress.doing = "warming up"
                way = WAYS[lane.way](self.make, plan.pipeline)
                stack.push_async_callback(way.close)
                call = way.call
                before = await self.server.read()
                await self._warm_up(template, call, maker.commands(plan.pipeline), way.connects)
                if not way.connects:  # those of a pool are made once, and then used in all rounds
                    lane.used.connections += _connections(before, await self.server.read())
                    lane.traffic = Traffic(way.traffic.made)
                ready.append((lane, way, call))
            self.progress.doing = ""
            for number in range(plan.rounds):
                # Each round begins with another way: what disturbs the machine for a while disturbs all of them.
                shift = number % len(ready)
                for lane, way, call in ready[shift:] + ready[:shift]:
                    await self._round(lane, way, call, maker)
                    if number == plan.rounds - 1:
                        self.view.finished(lane)

    def _tell(self, count: int) -> None:
        self.progress.doing = f"writing the data: {count:,} keys"

    async def _warm_up(self, template: Template, call: Call, commands: Iterator[Any], connects: bool) -> None:
        try:
            await call(next(commands), as_is)
        except ResponseError as error:
            raise Fault(f"the server refuses {template.name}: {error.args[0]}") from None
        plan = self.plan
        count = _WARM_CONNECTIONS if connects else max(plan.tasks, min(20_000, plan.count // 10) // plan.pipeline)
        await self._guarded(closed(call, islice(commands, count), min(plan.tasks, count), _WARM, Tally()), 0.0)

    async def _round(self, lane: Lane, way: Way, call: Call, maker: Maker) -> None:
        plan = self.plan
        calls = plan.calls(lane.way)
        commands = maker.commands(plan.pipeline, MOST_RING if calls is None else calls * plan.pipeline)
        gc.collect()  # no way pays for what the one before left behind
        before = await self.server.try_to_read()
        traffic, delay, cpu = way.traffic, delay_of(), time.process_time()
        tally = lane.begin()
        if plan.rate is not None:
            rate = plan.rate / plan.pipeline
            assert calls is not None
            work = open_loop(call, commands, plan.tasks, rate, calls, tally, lane.template.reply)
        else:
            source = commands if calls is None else islice(commands, calls)
            tasks = plan.tasks if calls is None else min(plan.tasks, calls)
            work = closed(call, source, tasks, plan.slice(lane.way), tally, lane.template.reply)
        try:
            await self._guarded(work, lane.elapsed)
        finally:
            lane.cpu += time.process_time() - cpu
            waited = delay_of()
            if waited is not None and delay is not None:
                lane.delay = (lane.delay or 0.0) + waited - delay
            lane.traffic = lane.traffic.plus(way.traffic).plus(traffic, -1)
            lane.end()
        after = await self.server.try_to_read()
        lane.used.add(before, after)

    async def _guarded(self, work: Any, elapsed: float) -> None:
        try:
            await work
        except Gone as error:
            cause = kind_of(error.cause)
            raise Fault(
                f"ended early: no call has succeeded for {PATIENCE:g} s ({cause}: {error.cause.args[0]})"
                if error.cause.args
                else f"ended early: no call has succeeded for {PATIENCE:g} s ({cause})"
            ) from None

    async def _watch_memory(self, budget: int) -> None:
        """Raise Fault as soon as the data takes more than it may."""
        start = await self.server.used_memory()
        while start is not None:
            await asyncio.sleep(_LOOK)
            try:
                now = await self.server.used_memory()
            except (RedisError, OSError):
                continue
            if now is not None and now - start > budget:
                raise Fault("ended early: the data takes more memory of the server than a run may; take a smaller -n")


def _connections(before: Any, after: Any) -> int:
    return sum(
        counters.minus(before.servers[address]).connections
        for address, counters in after.servers.items()
        if address in before.servers
    )


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first error of a group; the others follow from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
