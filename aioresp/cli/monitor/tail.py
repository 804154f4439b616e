"""Tail of MONITOR: the latest commands, and their rates by command and by prefix of the key.

Owns the connections of MONITOR, which end with the iteration, and its end by the clock. Never filters on the server:
MONITOR cannot.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from aioresp import Client
from aioresp.cli.monitor.place import Place, spelled
from aioresp.cli.monitor.rows import Tail, TailLine
from aioresp.cli.monitor.scan import prefix_of
from aioresp.cli.monitor.words import lacking
from aioresp.errors import RedisError
from aioresp.facts.traits import traits
from aioresp.pubsub.monitor import MonitoredCommand
from aioresp.replies import shown

#: Lines that are kept, and that wait to be read.
LINES: Final = 500
BUFFER: Final = 20_000
#: Seconds between two reports.
EVERY: Final = 0.25
#: Commands and prefixes that a report holds.
MOST: Final = 50


class Listening:
    """One run of MONITOR, on one server or on the primaries of a cluster."""

    def __init__(self, places: Sequence[tuple[Place, Client[Any]]], seconds: float) -> None:
        self._places = places
        self._seconds = seconds
        #: The latest commands. They are spelled when they are reported: of most there is no need.
        self._lines: deque[tuple[str, MonitoredCommand[Any]]] = deque(maxlen=LINES)
        self._commands: Counter[str] = Counter()
        self._prefixes: Counter[str] = Counter()
        self._total = 0
        self._dropped = 0
        self._lacks = ""
        self._began = time.monotonic()

    async def run(self) -> AsyncIterator[Tail]:
        """Yield reports until the time is over."""
        tasks: list[asyncio.Task[None]] = []
        for place, _ in self._places:
            place.account.listening += 1
        try:
            tasks += [asyncio.ensure_future(self._listen(place, client)) for place, client in self._places]
            while time.monotonic() - self._began < self._seconds and not all(task.done() for task in tasks):
                await asyncio.wait(tasks, timeout=EVERY)
                yield self._report()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for place, _ in self._places:
                place.account.listening -= 1
        yield self._report(finished=True)

    async def _listen(self, place: Place, client: Client[Any]) -> None:
        own = place.own.addr if place.own is not None else None
        try:
            async with AsyncExitStack() as stack:
                with place.account.asking("monitor"):
                    monitor = await stack.enter_async_context(client.monitor(buffer=BUFFER))
                before = 0
                async for command in monitor:
                    self._dropped += monitor.dropped - before
                    before = monitor.dropped
                    if command.client != own:
                        self._note(place.node, command)
        except RedisError as error:
            self._lacks = lacking(error, "monitor")

    def _note(self, node: str, command: MonitoredCommand[Any]) -> None:
        if not command.arguments:
            return
        name = shown(command.arguments[0]).upper()
        self._total += 1
        self._commands[name] += 1
        key = traits(command.arguments).first_key
        if key is not None:
            self._prefixes[prefix_of(key if isinstance(key, bytes) else str(key).encode(errors="replace"))] += 1
            if len(self._prefixes) > 20 * MOST:
                self._prefixes = Counter(dict(self._prefixes.most_common(10 * MOST)))
        self._lines.append((node, command))

    def _report(self, finished: bool = False) -> Tail:
        spent = min(time.monotonic() - self._began, self._seconds)
        share = max(spent, 0.001)
        return Tail(
            left=max(self._seconds - spent, 0.0),
            seconds=spent,
            total=self._total,
            dropped=self._dropped,
            lines=tuple(
                TailLine(node, each.time, each.client, each.db, spelled([shown(word) for word in each.arguments]))
                for node, each in self._lines
            ),
            commands=tuple((name, count / share) for name, count in self._commands.most_common(MOST)),
            prefixes=tuple((name, count / share) for name, count in self._prefixes.most_common(MOST)),
            finished=finished,
            lacks=self._lacks,
        )
