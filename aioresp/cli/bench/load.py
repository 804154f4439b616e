"""Load of a benchmark: tasks that call one after another, or calls that are due at a rate.

Owns the clocks. A latency is the time from the moment that a call was wanted to its reply. In a closed loop a task
wants its next call when the last one has ended. In an open loop the schedule says when, and the server has no say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from time import perf_counter
from typing import Any, TypeAlias

from aioresp.cli.bench.histogram import LEAST
from aioresp.cli.bench.tally import DRAIN_PERIOD, HELD, Tally
from aioresp.errors import RedisError
from aioresp.replies import as_is

#: Sends one command, or several in a pipeline, and returns when all replies are here. The second argument is what
#: `Client.execute` takes, so that its bound method can be called without anything in between.
Call: TypeAlias = Callable[[Any, Callable[[Any], Any]], Awaitable[Any]]

#: Errors of a call that are counted; others are faults of this program.
COUNTED = (RedisError, OSError, TimeoutError)

#: Seconds between two looks at the schedule, at least: the due calls of that time are sent together.
TICK = 0.0001

#: An open loop that is behind ends this many times the planned seconds after its start, and `_MORE` seconds.
_FACTOR = 2.0
_MORE = 2.0


async def closed(
    call: Call,
    commands: Iterator[Any],
    tasks: int,
    seconds: float | None,
    tally: Tally,
    reply: Callable[[Any], Any] = as_is,
) -> None:
    """Have `tasks` tasks send one command after another, until there are no more or the time is over."""
    start = perf_counter()
    deadline = start + (1e9 if seconds is None else seconds)

    async def one() -> None:
        # Local names, and nothing else between two calls: all of it is time in which no command is sent.
        clock, send, note = perf_counter, call, tally.latencies.append
        began = clock()
        for command in commands:
            try:
                await send(command, reply)
            except COUNTED as error:
                if pause := tally.fail(error):
                    await asyncio.sleep(pause)
                began = clock()
            else:
                now = clock()
                note(now - began)
                began = now
            if began >= deadline:
                break

    tally.begin()
    try:
        await _together(one, tasks, tally)
    finally:
        tally.seconds += perf_counter() - start


async def open_loop(
    call: Call,
    commands: Iterator[Any],
    tasks: int,
    rate: float,
    total: int,
    tally: Tally,
    reply: Callable[[Any], Any] = as_is,
) -> None:
    """Send `total` calls, `rate` of them a second, with at most `tasks` under way at a time.

    The time of a call counts from when it was due. A call that is late is sent late, and not left out. If the end of
    the schedule is long past, the calls that are left count with the time that they have waited until then.
    """
    loop = asyncio.get_running_loop()
    idle: deque[asyncio.Future[None]] = deque()
    period = 1 / rate
    start = perf_counter()
    end = start + total * period * _FACTOR + _MORE
    taken = 0
    timer: asyncio.TimerHandle | None = None

    def tick() -> None:
        """Wake as many idle tasks as there are calls due, and look again when the next one is."""
        nonlocal timer
        now = perf_counter()
        if now > end or taken >= total:
            while idle:
                _wake(idle.popleft())
            return
        due = min(total, int((now - start) * rate) + 1) - taken
        for _ in range(min(due, len(idle))):
            _wake(idle.popleft())
        # The next call that nobody has been woken for; where all tasks are busy, they see for themselves.
        following = start + (taken + max(due, 0)) * period
        timer = loop.call_at(loop.time() + max(following - now, TICK), tick)

    async def one() -> None:
        nonlocal taken
        clock, send, note = perf_counter, call, tally.latencies.append
        while taken < total:
            due = start + taken * period
            now = clock()
            if due > now:
                future = loop.create_future()
                idle.append(future)
                await future
                if clock() > end:
                    return
                continue
            if now > end:
                return
            taken += 1
            try:
                await send(next(commands), reply)
            except COUNTED as error:
                if pause := tally.fail(error):
                    await asyncio.sleep(pause)
                continue
            note(clock() - due)

    tally.begin()
    try:
        tick()
        await _together(one, tasks, tally)
        _leave(tally, start, period, taken, total)
    finally:
        if timer is not None:
            timer.cancel()
        tally.seconds += perf_counter() - start


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _leave(tally: Tally, start: float, period: float, taken: int, total: int) -> None:
    """Count the calls that were never sent with the time that they have waited, in at most 1,000 groups."""
    now = perf_counter()
    left = total - taken
    tally.unsent += left
    group = max(1, left // 1000)
    while left > 0:
        size = min(group, left)
        tally.histogram.add(max(now - (start + taken * period), LEAST), size)
        taken += size
        left -= size


async def _together(one: Callable[[], Coroutine[Any, Any, None]], tasks: int, tally: Tally) -> None:
    """Run `tasks` tasks, and raise the first error itself, not a group."""
    loop = asyncio.get_running_loop()

    timer: asyncio.TimerHandle | None = None

    def drain() -> None:
        nonlocal timer
        tally.drain()
        timer = loop.call_later(DRAIN_PERIOD if len(tally.latencies) > HELD else 0.1, drain)

    drain()
    running: list[asyncio.Task[None]] = [loop.create_task(one()) for _ in range(tasks)]
    try:
        await asyncio.gather(*running)
    finally:
        if timer is not None:
            timer.cancel()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
