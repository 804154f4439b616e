"""The chaos run of the queue: workers and the server are killed with -9 while jobs come and go.

Owns the ledger: each job's beginnings and ends, by each process, in a file of its own that no kill takes away. Nothing
may be lost. Only jobs that were in hand at a kill may be done twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from aioresp import Client, RedisError
from aioresp.recipes import Queue
from aioresp.testing import Server
from tests.recipes.queue_kit import Mutation, broken
from tests.snippets import ROOT

#: Seconds of the leases, longer than a server is away.
LEASE: Final = 3.0

#: Seconds after its end in which a job may not be settled yet, as a worker sees it that has the server's attention.
UNSETTLED: Final = 1.0

#: Tasks that enqueue.
PRODUCERS: Final = 20


@dataclass(frozen=True)
class Attempt:
    """One beginning of a job; `end` is None if it has none."""

    job: int
    pid: int
    began: float
    end: float | None


@dataclass
class Ledger:
    """All that happened, on one clock that all processes share."""

    acknowledged: set[int] = field(default_factory=set)
    attempts: list[Attempt] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)  # time at which a worker was killed, by its process id
    away: list[tuple[float, float]] = field(default_factory=list)  # times in which there was no server
    lasting: list[str] = field(default_factory=list)  # keys that nothing deletes, after the run
    repeats: int = 0  # enqueues that were made again, with their id

    def read(self, folder: Path) -> None:
        """Read the files of the workers; the last line of one that was killed may be half of one."""
        for path in folder.iterdir():
            began: dict[int, float] = {}
            for line in path.read_text().split("\n"):
                kind, _, rest = line.partition(" ")
                job, _, moment = rest.partition(" ")
                if not moment.endswith("."):
                    continue
                if kind == "b":
                    began[int(job)] = float(moment[:-1])
                else:
                    self.attempts.append(Attempt(int(job), int(path.name), began.pop(int(job)), float(moment[:-1])))
            self.attempts += [Attempt(job, int(path.name), moment, None) for job, moment in began.items()]

    def ends(self) -> dict[int, list[Attempt]]:
        found: dict[int, list[Attempt]] = defaultdict(list)
        for attempt in self.attempts:
            if attempt.end is not None:
                found[attempt.job].append(attempt)
        return found

    def lost(self) -> set[int]:
        """Return the jobs that were acknowledged and not done."""
        return self.acknowledged - set(self.ends())

    def doubled(self) -> dict[int, bool]:
        """Return the jobs that were done more than once, and whether one was in hand at a kill, which excuses it."""
        return {
            job: sum(self._was_in_hand(each) for each in ends) >= len(ends) - 1
            for job, ends in self.ends().items()
            if len(ends) > 1
        }

    def _was_in_hand(self, attempt: Attempt) -> bool:
        assert attempt.end is not None
        kill = self.killed.get(attempt.pid)
        if kill is not None and kill - attempt.end < UNSETTLED + self._without_server(attempt.end, kill):
            return True
        return any(attempt.began < back + UNSETTLED and gone < attempt.end + UNSETTLED for gone, back in self.away)

    def _without_server(self, start: float, end: float) -> float:
        return sum(max(0.0, min(back, end) - max(gone, start)) for gone, back in self.away)


def in_hand(path: Path) -> int:
    """Return how many jobs a worker has begun and not ended."""
    text = path.read_text() if path.exists() else ""
    return text.count("b ") - text.count("e ")


@dataclass
class Plan:
    """How long and how hard a run is."""

    jobs: int
    kills: int
    server_kills: int
    workers: int = 2
    concurrency: int = 10
    seconds: float = 0.02  # of a job
    seed: int = 0
    mutation: Mutation | None = None


async def play(server: Server, folder: Path, plan: Plan) -> Ledger:
    """Make a run on a server that writes each command to its disk, and return what happened."""
    ledger, chance = Ledger(), Random(plan.seed)
    name = f"chaos-{os.urandom(4).hex()}"
    async with Client(server.url, timeout=5) as redis:
        queue, done = Queue(redis, name), asyncio.Event()

        @queue.task(name="work", lease=LEASE)
        async def work(n: int) -> None: ...

        numbers = iter(range(plan.jobs))

        async def produce() -> None:
            for n in numbers:
                while n not in ledger.acknowledged:
                    try:
                        await work.options(id=f"j{n}").enqueue(n)
                        ledger.acknowledged.add(n)
                    except RedisError:
                        ledger.repeats += 1
                # A little faster than the jobs are done: workers have their hands full, and some enqueues meet a kill.
                await asyncio.sleep(0.8 * PRODUCERS * plan.seconds / (plan.workers * plan.concurrency))

        with Nursery(folder) as nursery:
            alive = [nursery.worker(server.url, name, plan) for _ in range(plan.workers)]

            async def destroy() -> None:
                whole = plan.jobs * plan.seconds / (plan.workers * plan.concurrency)
                faults = ["worker"] * plan.kills + ["server"] * plan.server_kills
                chance.shuffle(faults)
                for fault in faults:
                    await asyncio.sleep(chance.uniform(0.5, 1.0) * whole / len(faults))
                    if fault == "worker":
                        victim = alive.pop(chance.randrange(len(alive)))
                        while in_hand(folder / str(victim)) < plan.concurrency / 2 and not done.is_set():
                            await asyncio.sleep(0.005)  # it has only begun
                        ledger.killed[victim] = time.monotonic()
                        os.kill(victim, signal.SIGKILL)
                        alive.append(nursery.worker(server.url, name, plan))
                    else:
                        gone = time.monotonic()
                        server.kill()
                        await asyncio.to_thread(server.start)
                        ledger.away.append((gone, time.monotonic()))

            faults = asyncio.create_task(destroy())
            async with asyncio.TaskGroup() as group:
                for _ in range(PRODUCERS):
                    group.create_task(produce())
            done.set()
            await faults
            async with asyncio.timeout(30 + 10 * LEASE):
                while any(vars(await queue.counts()).values()):
                    await asyncio.sleep(0.1)
            for pid in alive:
                os.kill(pid, signal.SIGTERM)
            nursery.close()
        view = redis.with_options(idempotent=True)
        found = [key async for key in view.scan_iter(match=f"{{{name}}}:*", count=1000)]
        ledger.lasting = [key for key in found if await view.ttl(key) == -1]
    ledger.read(folder)
    return ledger


# --- Workers ----------------------------------------------------------------------------------------------------------


class Nursery:
    """A process that forks workers: to start Python for each takes longer than most of them live."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.recipes.queue_chaos", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the end of the workers; those that run still are killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def worker(self, url: str, name: str, plan: Plan) -> int:
        """Start a worker, and return its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        options = (url, name, plan.concurrency, plan.seconds, plan.mutation)
        print(json.dumps(options), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


async def _work(folder: str, url: str, name: str, concurrency: int, seconds: float, mutation: Mutation | None) -> None:
    file = os.open(f"{folder}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with broken(mutation):
        async with Client(url, timeout=5) as redis:
            queue = Queue(redis, name)

            @queue.task(name="work", lease=LEASE)
            async def work(n: int) -> None:
                os.write(file, f"b {n} {time.monotonic()}.\n".encode())
                await asyncio.sleep(seconds)
                os.write(file, f"e {n} {time.monotonic()}.\n".encode())

            async with queue.worker(concurrency=concurrency, grace=10) as worker:
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
                await worker.run()


def _boot() -> None:
    logging.disable(logging.CRITICAL)
    children = set()
    for line in sys.stdin:
        options: list[Any] = json.loads(line)
        child = os.fork()
        if not child:
            asyncio.run(_work(sys.argv[1], *options))
            os._exit(0)
        children.add(child)
        print(child, flush=True)
    end = time.monotonic() + 15
    while children and time.monotonic() < end:
        for child in list(children):
            if os.waitpid(child, os.WNOHANG) != (0, 0):
                children.discard(child)
        time.sleep(0.01)
    for child in children:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    _boot()
