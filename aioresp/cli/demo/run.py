"""One demo run, from the start of the server to the deletion of the last key.

Owns the order of the steps. Ends each task, process, key, connection and server that was begun, also after an error and
after Ctrl-C. Never prints.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Protocol

from aioresp import Client, RedisError
from aioresp.cli.demo import keys
from aioresp.cli.demo.figures import (
    Figures,
    KeyFigures,
    RaceFigures,
    RoundFigures,
    ServerFacts,
    ThreadFigures,
    WayFigures,
)
from aioresp.cli.demo.lanes import PEER_LANE, THREADS_LANE
from aioresp.cli.demo.peer import version as peer_version
from aioresp.cli.demo.progress import Lane, Progress, planned
from aioresp.cli.demo.race import Race, Starter
from aioresp.cli.demo.sampler import Sampler
from aioresp.cli.demo.threads import ROUNDS, THREADS, sets_of_threads
from aioresp.cli.demo.ways import LIMIT, WAYS
from aioresp.cli.display import Display
from aioresp.cli.target import Target
from aioresp.testing import server
from aioresp.version import VERSION

#: Seconds after which a server that does not answer the sampler counts as gone.
_PATIENCE = 5.0

#: Seconds that deleting the keys may take.
_FAREWELL = 10.0


class View(Display[Progress], Protocol):
    """Display of a run."""

    def finished(self, lane: Lane, /) -> None:
        """Show that a lane has arrived."""


async def run(
    target: Target | None,
    starter: Starter,
    count: int,
    view: View,
    warn: Callable[[str], None],
    *,
    in_turn: bool = True,
) -> tuple[Figures, Progress]:
    """Run everything against the server of `target`, or against one of its own, and return what was found.

    `starter` knows the target, and was made before there was an event loop. The lanes run all at once, or one at a time
    if `in_turn`. `warn` takes a line about keys that could not be deleted. Raises ServerNotFound or ServerFailed if
    there is no server of its own, RedisError or an ExceptionGroup of them if the server fails.
    """
    async with AsyncExitStack() as stack:
        embedded = target is None
        if target is None:
            target = Target((await stack.enter_async_context(server())).url)
        client = await stack.enter_async_context(target.client(limit=1, timeout=_PATIENCE, retry=None))
        facts = await _facts(client, target.shown, embedded)
        peer = peer_version(target)
        totals = dict.fromkeys(range(1, len(WAYS) + 1), count) | {THREADS_LANE: sets_of_threads(count)}
        if peer is not None:
            totals[PEER_LANE] = count
        progress = planned(facts, totals, in_turn=in_turn)
        prefix = keys.new_prefix()
        try:
            with view.showing(progress):
                race = Race(starter, target.url if embedded else None, prefix, progress.lanes, view.finished)
                seconds = await _measure(race, progress, Sampler(client, progress), view)
        except BaseException:
            starter.end()
            await _delete_after_failure(client, prefix, totals, None if embedded else warn)
            raise
        async with asyncio.timeout(_FAREWELL):
            names = keys.all_names(prefix, totals)
            deleted = await keys.delete(client, names)
    ways = tuple(_figures(progress.lane(number), progress) for number in range(1, len(WAYS) + 1))
    peers = () if peer is None else (_figures(progress.lane(PEER_LANE), progress),)
    found = RaceFigures(in_turn, seconds, progress.received[-1])
    gone = KeyFigures(prefix, len(names), deleted)
    python = platform.python_version()
    return Figures(VERSION, python, facts, count, ways, _threads(progress), peers, peer, found, gone), progress


async def _facts(client: Client[str], address: str, embedded: bool) -> ServerFacts:
    said = await client.info("server")
    flavour = "valkey" if "valkey_version" in said else "redis"
    return ServerFacts(address, flavour, str(said.get(f"{flavour}_version", "?")), embedded)


async def _measure(race: Race, progress: Progress, sampler: Sampler, view: View) -> float:
    """Let the lanes run, while the sampler looks and the view repaints, and return the seconds of the whole."""
    async with asyncio.TaskGroup() as group, race:
        await sampler.look()
        beside = [group.create_task(sampler.watch()), group.create_task(view.repaint())]
        began = time.perf_counter()
        for lanes in [[lane] for lane in progress.lanes] if progress.in_turn else [progress.lanes]:
            await race.run(lanes)
        seconds = time.perf_counter() - began
        await sampler.look()
        for task in beside:
            task.cancel()
    return seconds


def _figures(lane: Lane, progress: Progress) -> WayFigures:
    found = lane.result
    first = progress.lane(1)
    return WayFigures(
        number=lane.number,
        name=lane.name,
        seconds=lane.seconds,
        ops_per_second=lane.total / lane.seconds,
        connections=lane.made,
        made=lane.made,
        p50_ms=found["p50"] * 1000,
        p99_ms=found["p99"] * 1000,
        times_first=lane.total / lane.seconds / (first.total / first.seconds),
        place=progress.place(lane),
        cpu_seconds=found["cpu"],
    )


def _threads(progress: Progress) -> ThreadFigures:
    lane = progress.lane(THREADS_LANE)
    rounds = tuple(RoundFigures(seconds, made, made) for seconds, made in lane.result["rounds"])
    return ThreadFigures(THREADS, LIMIT, lane.total // ROUNDS, rounds, _figures(lane, progress))


async def _delete_after_failure(
    client: Client[str], prefix: str, totals: dict[int, int], warn: Callable[[str], None] | None
) -> None:
    """Delete the keys if that is still possible; the failure itself is what the caller has to hear of."""
    try:
        async with asyncio.timeout(_FAREWELL):
            await keys.delete(client, keys.all_names(prefix, totals))
    except (RedisError, OSError, TimeoutError):
        if warn is not None:
            warn(f"the keys {prefix}* could not all be deleted; they expire within {keys.TTL // 60} minutes")
