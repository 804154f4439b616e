"""Work of `aioresp worker`: loads the queues, sets up logging, and runs their workers until a signal comes.

Owns the log's form and what is printed. Never handles a signal: that is the process of the recipes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

import typer

from aioresp.cli.worker.load import CannotLoad, load
from aioresp.recipes import Queue
from aioresp.recipes.queue.process import Process
from aioresp.version import VERSION

log = logging.getLogger("aioresp")


def work(names: Sequence[str], concurrency: int, grace: float, level: str) -> int:
    """Work the queues that `names` lead to, and return the exit code."""
    _set_up_logging(level)
    try:
        queues = [load(name) for name in names]
    except CannotLoad as error:
        typer.echo(f"aioresp worker: {error}", err=True)
        return 1
    if said := _doubled(queues):
        typer.echo(f"aioresp worker: {said}", err=True)
        return 1
    for queue in queues:
        tasks = ", ".join(sorted(queue.tasks)) or "no task: are they defined in a module that is not imported?"
        log.info("aioresp %s works the queue %s: %s", VERSION, queue.name, tasks)
    return asyncio.run(_run(queues, concurrency, grace))


def _doubled(queues: Sequence[Queue]) -> str:
    """Return what is wrong with two queues on the same keys: each would bury the jobs of the other's tasks."""
    for index, queue in enumerate(queues):
        for other in queues[:index]:
            if queue is other:
                return f"the queue {queue.name} is named twice; raise --concurrency instead"
            if queue.name == other.name and queue.redis is other.redis:
                return f"two queues have the name {queue.name}, and each knows only its own tasks; make it one queue"
    return ""


async def _run(queues: Sequence[Queue], concurrency: int, grace: float) -> int:
    workers = [queue.worker(concurrency=concurrency, grace=grace) for queue in queues]
    try:
        return await Process(workers, grace, lambda line: log.info("%s", line)).run()
    finally:
        for queue in queues:
            await queue.redis.aclose()
        log.info("the worker with the process id %d has ended", os.getpid())


def _set_up_logging(level: str) -> None:
    """Log to standard error. A configuration that the application makes on its import replaces this one."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s  %(message)s")
    log.setLevel(level.upper())
