"""Lab of task lists: clients and workers in several processes, first on one list, then the same on `Queue`.

`python -m examples.tasks --kill` kills a worker in a task, each time: the list loses the task, the queue does not.
"""

from __future__ import annotations

import examples.shared.begin  # noqa: F401 (first: Ctrl-C, and packages that are missing)

# isort: split
import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress

from aioresp import RedisError
from aioresp.testing import ServerFailed, ServerNotFound, server
from examples.shared.member import client
from examples.tasks.lab import NAMES, Lab, Round


async def run(options: argparse.Namespace) -> None:
    rounds = [
        Round("One list: LPUSH and BRPOP", "examples.tasks.submit", "examples.tasks.work"),
        Round("Queue: the same tasks", "examples.tasks.queue_submit", "examples.tasks.queue_work"),
    ]
    async with AsyncExitStack() as stack:
        if not os.environ.get("AIORESP_URL"):
            own = await stack.enter_async_context(server(config={"appendonly": "yes"}))
            os.environ["AIORESP_URL"] = own.url
        redis = await stack.enter_async_context(client())
        await redis.ping()
        lab = await stack.enter_async_context(Lab(redis))
        for round in rounds:
            await lab.play(round, options.clients, options.workers, options.tasks, options.kill)
    print(f"\n{table(rounds, options.workers)}\n")
    print("\n".join(told(round) for round in rounds if round.victim) or "Nobody was killed: try --kill.")


def table(rounds: Sequence[Round], workers: int) -> str:
    """Return who did what, a column for each round."""
    rows = [["", *(round.title.partition(":")[0] for round in rounds)]]
    rows += [["submitted", *(str(len(round.submitted)) for round in rounds)]]
    for name in [f"worker-{number}" for number in range(1, workers + 1)]:
        done = [f"{Counter(round.done.values())[name]} done" for round in rounds]
        fate = [f", killed in {round.victim}" if round.victim and name == "worker-2" else "" for round in rounds]
        rows += [[name, *map("".join, zip(done, fate, strict=True))]]
    rows += [["done", *(str(len(round.done)) for round in rounds)]]
    rows += [["lost", *(f"{len(round.lost)} {' '.join(round.lost)}" for round in rounds)]]
    lines = ["".join([f"{name:>10}   ", *(f"{cell:<28}" for cell in cells)]).rstrip() for name, *cells in rows]
    rule = "-" * 64
    return "\n".join([lines[0], rule, *lines[1:-2], rule, *lines[-2:]])


def told(round: Round) -> str:
    """Return what became of the task whose worker was killed."""
    name = round.title.partition(":")[0]
    if worker := round.done.get(round.victim):
        return f"{name}: {round.victim} stayed on the server, and {worker} did it {round.rescued:.1f} s later."
    return f"{name}: {round.victim} was in the killed process only. It is lost, and nothing tells anybody."


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.tasks", description=__doc__)
    clients = range(1, len(NAMES) + 1)
    parser.add_argument(
        "--clients", type=int, default=2, choices=clients, metavar="N", help="processes that submit (default: 2)"
    )
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="processes that work (default: 3)")
    parser.add_argument("--tasks", type=int, default=6, metavar="N", help="tasks of each client (default: 6)")
    parser.add_argument("--kill", action="store_true", help="kill worker-2 in a task, with SIGKILL")
    options = parser.parse_args()
    if options.workers < 1 + options.kill:
        parser.error("--workers: one at least, and two with --kill: somebody must be left")
    try:
        return asyncio.run(until_signal(run(options)))
    except (ServerFailed, ServerNotFound, RedisError, ValueError) as error:
        print(f"tasks: {error}", file=sys.stderr)
        return 1


async def until_signal(running: Coroutine[None, None, None]) -> int:
    """Return 0, or the exit code for the signal that came first: it cancels what runs."""
    task, status = asyncio.create_task(running), 0

    def cancel(number: int) -> None:
        nonlocal status
        status = 128 + number
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, cancel, number)
    with suppress(asyncio.CancelledError):
        await task
    return status


if __name__ == "__main__":
    sys.exit(main())
