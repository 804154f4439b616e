"""One demo run, from the start of the server to the deletion of the last key.

Owns the order of the steps. Ends each task, thread, key, connection and server that was begun, also after an error and
after Ctrl-C. Never prints.
"""

from __future__ import annotations

import asyncio
import gc
import platform
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Protocol

from aioresp import Client, RedisError
from aioresp.cli.demo.figures import (
    Figures,
    KeyFigures,
    RoundFigures,
    ServerFacts,
    ThreadFigures,
    WayFigures,
    percentile,
)
from aioresp.cli.demo.keys import TTL, Keys
from aioresp.cli.demo.monitor import Monitor
from aioresp.cli.demo.progress import Phase, Progress, planned
from aioresp.cli.demo.threads import ROUNDS, THREADS, run_threads
from aioresp.cli.demo.ways import LIMIT, WAYS
from aioresp.cli.display import Display
from aioresp.cli.target import Target
from aioresp.testing import server
from aioresp.version import VERSION

#: Seconds after which a server that does not answer the monitor counts as gone.
_PATIENCE = 5.0

#: Seconds that deleting the keys may take.
_FAREWELL = 10.0


class View(Display[Progress], Protocol):
    """Display of a run."""

    def finished(self, phase: Phase) -> None:
        """Show that a phase is done."""


async def run(target: Target | None, count: int, view: View, warn: Callable[[str], None]) -> tuple[Figures, Progress]:
    """Run everything against the server of `target`, or against one of its own, and return what was found.

    `warn` takes a line about keys that could not be deleted. Raises ServerNotFound or ServerFailed if there is no
    server of its own, RedisError or an ExceptionGroup of them if the server fails.
    """
    async with AsyncExitStack() as stack:
        embedded = target is None
        if target is None:
            target = Target((await stack.enter_async_context(server())).url)
        client = await stack.enter_async_context(target.client(limit=1, timeout=_PATIENCE, retry=None))
        facts = await _facts(client, target.shown, embedded)
        progress = planned(facts, count, sets_of_threads(count))
        keys = Keys()
        try:
            with view.showing(progress):
                ways, rounds = await _measure(target, progress, keys, Monitor(client, progress), view)
        except BaseException:
            await _delete_after_failure(client, keys, None if embedded else warn)
            raise
        async with asyncio.timeout(_FAREWELL):
            deleted = await keys.delete(client)
    threads = ThreadFigures(THREADS, LIMIT, progress.phases[-1].total // ROUNDS, rounds)
    found = KeyFigures(keys.prefix, len(keys.names), deleted)
    return Figures(VERSION, platform.python_version(), facts, count, ways, threads, found), progress


def sets_of_threads(count: int) -> int:
    """Return how many SETs the threads send in all: about `count`, and for each at least what fills its pool."""
    return THREADS * ROUNDS * max(2 * LIMIT, count // (THREADS * ROUNDS))


async def _facts(client: Client[str], address: str, embedded: bool) -> ServerFacts:
    said = await client.info("server")
    flavour = "valkey" if "valkey_version" in said else "redis"
    return ServerFacts(address, flavour, str(said.get(f"{flavour}_version", "?")), embedded)


async def _measure(
    target: Target, progress: Progress, keys: Keys, monitor: Monitor, view: View
) -> tuple[tuple[WayFigures, ...], tuple[RoundFigures, ...]]:
    """Go through all phases, while the monitor samples and the view repaints."""
    ways: list[WayFigures] = []
    gc.collect()
    gc.freeze()  # what the libraries of the display brought along is not walked through while a way is measured
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(monitor.watch()), group.create_task(view.repaint())]
        for phase, way in zip(progress.phases, WAYS, strict=False):
            names = keys.fresh(phase.total)
            gc.collect()  # no way pays for what the one before left behind
            await monitor.begin(phase)
            made = await way(target, names, phase.latencies.append)
            await monitor.end(phase)
            ways.append(_figures(phase, made, ways[0].ops_per_second if ways else None))
            view.finished(phase)
        phase = progress.phases[-1]
        names = keys.fresh(phase.total)
        await monitor.begin(phase)
        rounds = await run_threads(target, names, phase.latencies.append, monitor.received)
        await monitor.end(phase)
        view.finished(phase)
        for task in beside:
            task.cancel()
    return tuple(ways), rounds


def _figures(phase: Phase, made: int, first: float | None) -> WayFigures:
    latencies = sorted(phase.latencies)
    rate = len(latencies) / phase.seconds
    return WayFigures(
        number=phase.number,
        name=phase.name,
        seconds=phase.seconds,
        ops_per_second=rate,
        connections=phase.connections,
        made=made,
        p50_ms=percentile(latencies, 50) * 1000,
        p99_ms=percentile(latencies, 99) * 1000,
        times_first=1.0 if first is None else rate / first,
    )


async def _delete_after_failure(client: Client[str], keys: Keys, warn: Callable[[str], None] | None) -> None:
    """Delete the keys if that is still possible; the failure itself is what the caller has to hear of."""
    try:
        async with asyncio.timeout(_FAREWELL):
            await keys.delete(client)
    except (RedisError, OSError, TimeoutError):
        if warn is not None and keys.names:
            warn(f"the keys {keys.prefix}* could not all be deleted; they expire within {TTL // 60} minutes")
