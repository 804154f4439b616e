"""Timer of a worker that enqueues the jobs of cron schedules.

Owns when the server is asked: at a tick, and seldom before, to read its clock. Each worker has such a timer, and the
script lets one of them enqueue a tick. Never enqueues by the clock of this machine.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn

from aioresp.errors import RedisError
from aioresp.recipes.lua import text
from aioresp.recipes.queue.books import Books
from aioresp.recipes.queue.schedule import Schedule

log: Final = logging.getLogger("aioresp")

#: Milliseconds for which the last tick is kept after the following one was due. Workers that were away for longer
#: begin with the next tick.
KEPT: Final = 30 * 86_400_000

#: Seconds before the next attempt when there is no server.
PAUSE: Final = 1.0

#: Seconds of the longest wait, and of a wait that ends at the tick. The rest of a longer one is found out on its way,
#: because the clocks of two machines differ.
_LONGEST: Final = 3600.0
_SHORT: Final = 2.0


class Cron(NamedTuple):
    """A task with a schedule."""

    task: str
    schedule: Schedule
    priority: int
    fields: tuple[str | bytes | int, ...]
    """Arguments of the script `enqueue` behind the id."""

    @property
    def key(self) -> str:
        """The end of the key of its last tick. Another expression has a key of its own."""
        return f"cron:{self.task}:{self.schedule}"

    def id(self, tick: int) -> str:
        """Return the id of the job of a tick: one, however many ask for it."""
        return f"cron:{self.task}:{tick}"


class Ticker:
    """The timer of one worker."""

    def __init__(self, books: Books, crons: Sequence[Cron]) -> None:
        words, ends, enqueue, tick = (text(f"queue/scripts/{name}") for name in ("books", "ends", "enqueue", "tick"))
        self._script = books.view.register_script(
            f"{words}{ends}\nlocal function enqueue(ARGV)\n{enqueue}\nend\n{tick}"
        )
        self._root, self._keys = books.root, books.keys_of
        self._ticks: dict[Cron, int] = dict.fromkeys(crons, 0)  # the last tick of each that was told to the server
        self._since = 0  # the server's time when it was first asked

    async def run(self) -> NoReturn:
        """Enqueue ticks until cancelled. While there is no server, try again; of the ticks missed, the last counts."""
        while True:
            try:
                wait = await self._tick()
            except RedisError as error:
                log.debug("cron: %s; the next attempt is made in %g s", type(error).__name__, PAUSE)
                wait = PAUSE
            await asyncio.sleep(wait)

    async def _tick(self) -> float:
        """Enqueue what is due; return the seconds until the server is asked again."""
        now: int = (await self._script(self._keys[0], ()))[0]
        read = time.monotonic()
        self._since = self._since or now - 1
        first = None
        for cron, told in self._ticks.items():
            tick, following = cron.schedule.last(now), cron.schedule.next(now)
            if tick != told:
                arguments = (tick, self._since, following - now + KEPT, cron.id(tick), *cron.fields)
                keys = (*self._keys[cron.priority], self._root + cron.key)
                clock: int = (await self._script(keys, arguments))[0]
                if clock >= tick:  # after a failover, another clock may be behind
                    self._ticks[cron] = tick
            first = following if first is None else min(first, following)
        assert first is not None, "there is a schedule"
        wait = (first + 1 - now) / 1000 - (time.monotonic() - read)
        return max(0.0, wait) if wait <= _SHORT else min(wait / 2, _LONGEST)
