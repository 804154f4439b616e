"""Experiment: a worker that makes an event loop and a client for each job, against one that keeps both.

`python -m examples.tasks.experiment` runs the two side by side, each on a server of its own, and shows how many
connections each server has received. `--way NAME` runs one of them, on the server in AIORESP_URL if there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue

from aioresp import Client, RedisError
from aioresp.cli.called import called
from aioresp.testing import ServerFailed, ServerNotFound, server

THREADS = 3
KEY = "lab:experiment"

# --- The two ways: what each thread of the worker does ----------------------------------------------------------------


def loop_a_job(url: str, jobs: Iterable[int]) -> None:
    async def perform() -> None:
        async with Client(url) as client:  # a connection, for this job alone
            await client.incr(KEY)

    for _ in jobs:
        asyncio.run(perform())


def runner_a_thread(url: str, jobs: Iterable[int]) -> None:
    async def perform() -> None:
        await global_client(url).incr(KEY)  # on the connection that this thread has had from its first job on

    with asyncio.Runner() as runner:
        for _ in jobs:
            runner.run(perform())


@functools.cache
def global_client(url: str) -> Client[str]:
    return Client(url)


WAYS: dict[str, Callable[[str, Iterable[int]], None]] = {"loop-a-job": loop_a_job, "runner-a-thread": runner_a_thread}

# --- The experiment ---------------------------------------------------------------------------------------------------


@contextmanager
def worker(way: str, url: str) -> Iterator[Callable[[int], None]]:
    """Run the threads of a worker, and yield what gives them jobs, each thread in its turn."""
    lines: list[SimpleQueue[int | None]] = [SimpleQueue() for _ in range(THREADS)]
    threads = [threading.Thread(target=WAYS[way], args=(url, iter(line.get, None))) for line in lines]
    for thread in threads:
        thread.start()
    try:
        yield lambda job: lines[job % THREADS].put(job)
    finally:
        for line in lines:
            line.put(None)
        for thread in threads:
            thread.join()


async def received(client: Client[str]) -> int:
    return int((await client.info("stats"))["total_connections_received"])


async def watch(ways: dict[str, str], seconds: float, rate: float) -> dict[str, list[int]]:
    """Give each way `rate` jobs a second, and return the connections that its server received, second by second."""
    counts: dict[str, list[int]] = {way: [] for way in ways}
    with ExitStack() as stack:
        clients = {way: Client(url) for way, url in ways.items()}
        before = {way: await received(client) for way, client in clients.items()}
        workers = [stack.enter_context(worker(way, url)) for way, url in ways.items()]
        print(f"\n{'second':>8}  " + "".join(f"{way:<32}" for way in ways).rstrip(), flush=True)
        for job in range(1, round(seconds * rate) + 1):
            for give in workers:
                give(job)
            await asyncio.sleep(1 / rate)
            if job % rate < 1:
                for way, client in clients.items():
                    counts[way].append(await received(client) - before[way])
                bars = "".join(f"{bar(each[-1]):<32}" for each in counts.values())
                print(f"{round(job / rate):>8}  {bars}".rstrip(), flush=True)
        for client in clients.values():
            await client.delete(KEY)
            await client.aclose()
    return counts


def bar(count: int) -> str:
    return f"{'█' * min(count, 26)} {count}"


def verdict(way: str, counts: list[int]) -> str:
    half = len(counts) // 2
    slope = (counts[-1] - counts[half - 1]) / (len(counts) - half) if half else counts[-1]
    told = f"climbs by {slope:.1f} a second, as long as it runs" if slope else "flat after the first of each thread"
    return f"{way}: {counts[-1]} connections received; {told}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.tasks.experiment", description=__doc__)
    parser.add_argument("--way", choices=WAYS, help="one way alone; both by default")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1, help="jobs a second (default: 1)")
    options = parser.parse_args()
    if options.seconds < 2 or options.rate <= 0:
        parser.error("--seconds is 2 at least, and --rate more than 0")
    ways = [options.way] if options.way else list(WAYS)
    given = os.environ.get("AIORESP_URL")
    if given and not options.way:
        parser.error("AIORESP_URL names one server, and the ways are counted apart: choose one with --way")
    if given and "+cluster" in given.partition(":")[0]:
        parser.error("AIORESP_URL names a cluster, and the connections of one server are counted: name a node")
    with ExitStack() as stack:
        urls = {way: given or stack.enter_context(server(config={"requirepass": ""})).url for way in ways}
        for way, url in urls.items():
            print(f"{way}: watch it with: {called()} monitor {url}" if not given else f"{way}")
        counts = asyncio.run(watch(urls, options.seconds, options.rate))
    print()
    for way, each in counts.items():
        print(verdict(way, each))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ServerFailed, ServerNotFound, RedisError, ValueError) as error:
        sys.exit(f"experiment: {error}")
