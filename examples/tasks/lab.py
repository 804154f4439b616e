"""Processes of the lab: clients and workers of one round, the lines that they print, and what they have done.

Owns the processes and the lab's keys. Never hands out a task itself: that is the list's part, or the queue's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from aioresp import Client, Cluster, RedisError
from examples.shared.fleet import COLOURS, Member
from examples.shared.member import GRACE

NAMES = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal")  # of the clients
STARTING = 20.0  # seconds in which the first line comes, even on a busy machine
QUIET = 4.0  # seconds without a line after which nobody will do the rest


@dataclass
class Round:
    """One way to hand out tasks, and what became of them."""

    title: str
    submit: str
    work: str
    submitted: list[str] = field(default_factory=list)
    done: dict[str, str] = field(default_factory=dict)  # names of workers, by task
    victim: str = ""  # task in which a worker was killed
    killed: float = 0.0  # time of that
    rescued: float = 0.0  # seconds from then until the task was done

    @property
    def lost(self) -> list[str]:
        """Tasks that nobody has done."""
        return [task for task in self.submitted if task not in self.done]


class Lab:
    """The processes of a round, and the lines that they print."""

    def __init__(self, redis: Client[str] | Cluster[str]) -> None:
        self._redis = redis
        self._alive, self._held = os.pipe()  # the processes see when this one is gone, whatever it died of
        self._members: list[Member] = []
        self._readers: list[asyncio.Task[None]] = []
        self._heard = time.monotonic()
        self._hand: dict[str, str] = {}  # tasks in hand, by worker

    async def __aenter__(self) -> Self:
        await self.clear()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.end()
        with suppress(RedisError):
            await self.clear()
        os.close(self._held)

    async def play(self, round: Round, clients: int, workers: int, tasks: int, kill: bool) -> None:
        """Start workers and clients, wait until all is done that will be, and end the workers."""
        print(f"\n{round.title}\n")
        self._heard = time.monotonic() + STARTING
        for name in [f"worker-{number}" for number in range(1, workers + 1)]:
            await self._start(round, name, round.work, name)
        for name in NAMES[:clients]:
            await self._start(round, name, round.submit, name, str(tasks))
        while len(round.done) < clients * tasks and time.monotonic() - self._heard < QUIET:
            await asyncio.sleep(0.05)
            if kill and not round.victim:
                await self._kill(round, "worker-2")
            round.done = await self._redis.hgetall("lab:done")
            if round.victim in round.done and not round.rescued:
                round.rescued = time.monotonic() - round.killed
        await self.end()
        await self.clear()

    async def _start(self, round: Round, name: str, *command: str) -> None:
        member = Member(name, command, None)
        self._members.append(member)
        output = await member.start(dict(os.environ), self._alive)
        self._readers.append(asyncio.create_task(self._read(round, member, output)))

    async def _read(self, round: Round, member: Member, output: asyncio.StreamReader) -> None:
        name = member.name
        async for line in output:
            self._say(name, line.decode(errors="replace").rstrip())
            self._heard = time.monotonic()
            match line.decode(errors="replace").split():
                case "submits", task:
                    round.submitted.append(task)
                case "begins", task:
                    self._hand[name] = task
                case "ends", _:
                    self._hand.pop(name, None)
        if member.process is not None:
            await member.process.wait()

    async def _kill(self, round: Round, name: str) -> None:
        """Kill a worker, as the system does when memory is short, if it surely is in a task."""
        member = next(each for each in self._members if each.name == name)
        member.signal(signal.SIGSTOP)
        try:
            task = self._hand.get(name, "")
            if task and not await self._redis.hexists("lab:done", task):
                member.signal(signal.SIGKILL)
                round.victim, round.killed = task, time.monotonic()
                self._say("lab", f"kills {name} with SIGKILL, in {task}")
        finally:
            member.signal(signal.SIGCONT)

    async def end(self) -> None:
        """End all processes: SIGTERM, and SIGKILL to those that stay."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for each in self._members:
                each.signal(number)
            if self._readers:  # each ends with its process
                await asyncio.wait(self._readers, timeout=GRACE)
        self._members.clear()
        self._readers.clear()
        self._hand.clear()

    async def clear(self) -> None:
        """Delete the keys of the lab."""
        for pattern in ("lab:*", "{lab}:*"):
            async for key in self._redis.scan_iter(pattern):
                await self._redis.unlink(key)

    def _say(self, name: str, line: str) -> None:
        label = f"{name:>8} |"
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
            label = f"\x1b[{COLOURS[sum(name.encode()) % len(COLOURS)]}m{label}\x1b[0m"
        try:
            print(label, line, flush=True)
        except BrokenPipeError:  # `| head`
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (it stays open to the end)
            signal.raise_signal(signal.SIGTERM)
