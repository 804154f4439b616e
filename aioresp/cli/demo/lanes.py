"""Processes of the race: one that starts, and a lane in each of its children.

Owns what happens in these processes, and their messages: lines of JSON on standard output, a word a line on standard
input. Never outlives the process of the demo: the end of standard input ends all.

They are forks of the demo's process, made before it had an event loop or a thread: six interpreters would take the
machine more than a second to start.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from aioresp import RedisError
from aioresp.cli.demo.figures import percentile
from aioresp.cli.demo.keys import names
from aioresp.cli.demo.peer import load, redis_py
from aioresp.cli.demo.tally import Tally
from aioresp.cli.demo.threads import run_threads
from aioresp.cli.demo.ways import WAYS
from aioresp.cli.target import Target

#: Seconds between two messages of a lane about its progress.
PERIOD = 0.1

#: Numbers of the lanes behind the four ways.
THREADS_LANE = 5
PEER_LANE = 6


def serve(target: Target | None) -> NoReturn:
    """Obey standard input from now on, and end this process with it.

    The first line is the job. Then a line `N` makes the lane N, and `go` lets all begin that were made.
    """
    try:
        logging.disable()  # a lane that fails says so itself
        with open(0) as orders:
            job = json.loads(orders.readline() or "{}")
            if job.get("url"):
                target = Target(job["url"])
            gate, opener = os.pipe()
            lanes = _Children()
            signal.signal(signal.SIGCHLD, lanes.reap)
            gc.freeze()
            waiting = 0
            for line in orders:
                if line.strip() == "go":
                    os.write(opener, b"." * waiting)
                    waiting = 0
                else:
                    number = int(line)
                    keys = names(job["prefix"], number, job["counts"][line.strip()])
                    assert target is not None
                    lanes.start(partial(_run_lane, _Lane(number, target, keys), gate))
                    waiting += 1
            lanes.end()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)  # without the rest of the interpreter's end: this is a fork


class _Children:
    """Children of this process."""

    def __init__(self) -> None:
        self._pids: set[int] = set()

    def start(self, work: Callable[[], NoReturn]) -> None:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            work()
        self._pids.add(pid)
        self.reap()  # in case that it has ended before it was known

    def reap(self, *_: Any) -> None:
        """Take note of children that have ended, and tell of one that was killed.

        SIGCHLD may call it in the middle of a call by `start`: the one that waited for a child tells of it.
        """
        for pid in list(self._pids):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            if ended:
                self._pids.discard(pid)
                if status:
                    _tell(ended=os.waitstatus_to_exitcode(status))

    def end(self) -> None:
        """Kill those that are left."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _tell(**message: Any) -> None:
    # One write of less than PIPE_BUF: the lines of several processes do not mix.
    os.write(1, json.dumps(message).encode() + b"\n")


def _run_lane(lane: _Lane, gate: int) -> NoReturn:
    """Run a lane, and end this process."""
    status = 1
    try:
        lane.prepare()
        gc.collect()
        gc.freeze()  # what the imports made is not walked through while the lane is measured
        _tell(lane=lane.number, ready=True)
        os.read(gate, 1)
        asyncio.run(lane.run())
        status = 0
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]  # of the others most follow from the first
        if isinstance(error, (RedisError, OSError)) or lane.number == PEER_LANE:
            # Not str() of ours: it names the one command, of thousands, that happened to meet the error first.
            text = str(error.args[0] if isinstance(error, RedisError) and error.args else error)
            _tell(lane=lane.number, error=text or type(error).__name__)
            status = 0
        else:
            traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)  # without the rest of the interpreter's end: this is a fork


@dataclass
class _Lane:
    """One lane, while it runs."""

    number: int
    target: Target
    keys: Sequence[str]
    tally: Tally = field(default_factory=Tally)
    rounds: list[tuple[float, int]] = field(default_factory=list)

    def prepare(self) -> None:
        """Import what the lane needs besides the client."""
        if self.number == PEER_LANE:
            load()

    async def run(self) -> None:
        """Send the SETs, and tell the progress and then the figures."""
        began, cpu = time.perf_counter(), time.process_time()
        teller = asyncio.create_task(self._report(began))
        await self._send()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        teller.cancel()
        await asyncio.wait([teller])
        if not teller.cancelled():
            teller.result()
        latencies = sorted(self.tally.latencies)
        _tell(
            lane=self.number,
            seconds=seconds,
            cpu=cpu,
            done=len(latencies),
            made=self.tally.made,
            p50=percentile(latencies, 50),
            p99=percentile(latencies, 99),
            rounds=self.rounds,
        )

    async def _send(self) -> None:
        if self.number == THREADS_LANE:
            self.rounds = await run_threads(self.target, self.keys, self.tally)
        elif self.number == PEER_LANE:
            await redis_py(self.target, self.keys, self.tally)
        else:
            await WAYS[self.number - 1](self.target, self.keys, self.tally)

    async def _report(self, began: float) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            _tell(
                lane=self.number,
                at=time.perf_counter() - began,
                done=len(self.tally.latencies),
                made=self.tally.made,
            )
