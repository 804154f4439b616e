"""One run of the cluster demo, from the start of the servers to their end.

Owns the order of the steps. Ends each task, connection and server that was begun, also after an error and after Ctrl-C.
Never prints.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import AsyncExitStack
from typing import Protocol

from aioresp import Client, Cluster, RedisError
from aioresp.cli.display import Display
from aioresp.cli.failover.figures import Figures, figures
from aioresp.cli.failover.load import PERIOD, Load
from aioresp.cli.failover.progress import COLOURS, Progress, Shard
from aioresp.testing import ClusterNode, ClusterServers, ServerFailed

#: Seconds of silence after which the nodes take one of them for dead.
NODE_TIMEOUT = 1.0

#: Seconds until the tasks have found their pace, then until the kill, and after the dead primary has a successor.
SETTLING = 1.2
BEFORE = 3.0
AFTER = 4.0

#: Seconds that a call may take, and that a failover may take at most: many times what it does take.
PATIENCE = 20.0

#: Seconds between two questions to the replica for its role.
LOOK = 0.01


class View(Display[Progress], Protocol):
    """Display of a run."""

    def say(self, line: str) -> None:
        """Show a line."""


async def run(count: int, view: View) -> tuple[Figures, Progress]:
    """Run everything against six servers of its own, and return what was found.

    Raises ServerNotFound or ServerFailed if there are none, RedisError or an ExceptionGroup of them if they fail.
    """
    view.say(
        f"aioresp demo cluster: {count:,} tasks, each increments a counter every {PERIOD:g} seconds or so. The cluster "
        "has three primaries with a replica each, and one primary is killed. It takes about 15 seconds."
    )
    async with AsyncExitStack() as stack:
        servers = ClusterServers(node_timeout=NODE_TIMEOUT, full_coverage=False)
        await stack.enter_async_context(servers)
        client = await stack.enter_async_context(Cluster(servers.url, timeout=PATIENCE))
        await client.ping()
        progress = _planned(client, servers, count)
        load = Load(client, progress.shards, count, progress.clock)
        with view.showing(progress):
            await _measure(load, progress, servers, view)
        return figures(progress, await load.ledger(), NODE_TIMEOUT), progress


def _planned(client: Cluster[str], servers: ClusterServers, count: int) -> Progress:
    """Return the progress of a run that has not begun."""
    shards = sorted((shard for shard in client.topology().shards if shard.slots), key=lambda shard: shard.slots)
    known = tuple(
        Shard(name, colour, shard.slots[0], str(shard.primary), str(shard.replicas[0]))
        for name, colour, shard in zip("ABC", COLOURS, shards, strict=True)
    )
    node = servers.nodes[0]
    return Progress(f"{node.flavour} {'.'.join(map(str, node.version))}", count, known, known[1])


async def _measure(load: Load, progress: Progress, servers: ClusterServers, view: View) -> None:
    victim = progress.victim
    async with asyncio.TaskGroup() as group:
        load.start(group)
        await asyncio.sleep(SETTLING)
        gc.collect()
        gc.freeze()  # the tasks are not walked through again and again
        progress.begin()
        beside = [group.create_task(load.sample()), group.create_task(view.repaint())]
        progress.step = "all six nodes are up"
        await asyncio.sleep(BEFORE)
        progress.killed_at = progress.clock()
        progress.step = f"the primary of {victim.name} was killed"
        await asyncio.to_thread(_at(servers, victim.primary).kill)
        view.say(f"{progress.killed_at:5.1f} s  {victim.primary}, the primary of {victim.name}, was killed")
        await _promotion(_at(servers, victim.replica).url)
        progress.promoted_at = progress.clock()
        progress.step = f"the replica of {victim.name} was promoted"
        view.say(f"{progress.promoted_at:5.1f} s  {victim.replica}, its replica, was promoted by the other primaries")
        await asyncio.sleep(AFTER)
        load.note()
        for task in beside:
            task.cancel()
        await load.stop()
        progress.step = "all tasks have ended"


def _at(servers: ClusterServers, address: str) -> ClusterNode:
    return next(node for node in servers.nodes if address.endswith(f":{node.port}"))


async def _promotion(url: str) -> None:
    """Return when the server says that it is a primary. Raises ServerFailed if that does not come."""
    deadline = time.perf_counter() + PATIENCE
    async with Client(url, timeout=PATIENCE) as replica:
        while time.perf_counter() < deadline:
            try:
                role = await replica.call("ROLE")
            except RedisError:
                role = [None]
            if role[0] == "master":
                return
            await asyncio.sleep(LOOK)
    raise ServerFailed(f"no replica was promoted within {PATIENCE:g} s")
