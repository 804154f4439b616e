"""Processes whose wall clocks are wrong, for law C1: the server's clock is the only one that counts.

Owns the process that forks them: to start Python and import the package takes longer than most of them live. What they
do is in `hammer`, `loader` and here; each gives back lines of text.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aioresp import Client
from aioresp.recipes import Cache, Lock, LockLost, LockTimeout, Semaphore
from tests.recipes import hammer, loader
from tests.recipes.mutated import Mutation, break_all
from tests.snippets import ROOT

#: An hour ahead, right, an hour behind.
HOURS: Final = (3600.0, 0.0, -3600.0)


async def hold(url: str, kind: str, name: str, turns: int, ttl: float) -> None:
    """Take it again and again, until all have had so many turns; print turn, number of holders and token.

    A process whose clock is wrong keeps it for longer than its lease at first. The fence is deleted each time: a token
    must grow without it, too.
    """
    async with Client(url) as r:
        turn, end = 0, time.monotonic() + 20
        is_long = abs(time.time() - (await r.time())[0]) > 1000
        while turn < turns and time.monotonic() < end:
            each = Lock(r, name, ttl=ttl, wait=5) if kind == "lock" else Semaphore(r, name, 1, ttl=ttl, wait=5)
            try:
                async with each as held:
                    inside, turn = await r.incr(f"{name}:inside"), await r.incr(f"{name}:turn")
                    print(turn, inside, getattr(held, "token", turn))
                    await r.delete(f"{{{name}}}:fence")
                    await asyncio.sleep(1.5 * ttl if is_long else 0.002)
                    is_long = False
                    await r.decr(f"{name}:inside")
            except (LockLost, LockTimeout):
                print(0, 0, 0)
                return


async def refresh(url: str, prefix: str, seconds: float, load: float, dies: float) -> None:
    """Read a stale value again and again, while its refresh takes longer than it lives, until the monotonic `dies`.

    Print "load" for each load, "dead" for the dead value, and "waited" if the stale one was not served at once.
    """
    async with Client(url) as r:
        cache = Cache(r, prefix=prefix, ttl=60, lease=5)

        async def fetch() -> int:
            print("load")
            await asyncio.sleep(load)
            return 1

        await r.ping()
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            value = await cache.get("k", fetch)
            if value == 0 and began > dies:
                print("dead")
            if value == 1 and began < dies - 0.5:
                print("waited")
            await asyncio.sleep(0.02)


#: What a process can do.
WORK: Final[dict[str, Callable[..., Awaitable[None]]]] = {
    "hammer": hammer.main,
    "hold": hold,
    "load": loader.main,
    "refresh": refresh,
}


class Wrong:
    """A process that forks others, whose clocks are wrong."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.recipes.clocks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self) -> Wrong:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()

    async def run(
        self, what: str, *words: Any, clocks: Iterable[float] = HOURS, mutations: Iterable[Mutation] = ()
    ) -> list[list[str]]:
        """Run one process for each clock, at the same time, and return the lines of each."""
        found = await asyncio.to_thread(self._ask, json.dumps([what, words, [*clocks], [*mutations]]))
        if None in found:  # no AssertionError, which a law that is broken raises
            raise RuntimeError("a process has failed, as its traceback says")
        return [text.splitlines() for text in found]

    def _ask(self, line: str) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        found: list[Any] = json.loads(self._process.stdout.readline())
        return found


def _child(what: str, words: list[Any], clock: float, mutations: list[Mutation], output: int) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    code = 1
    try:
        right = time.time
        time.time = lambda: right() + clock
        break_all(mutations, clock)
        asyncio.run(WORK[what](*words))  # type: ignore[arg-type]
        sys.stdout.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _boot() -> None:
    logging.disable(logging.CRITICAL)
    print("ready", flush=True)
    for line in sys.stdin:
        what, words, clocks, mutations = json.loads(line)
        children = []
        for clock in clocks:
            reading, writing = os.pipe()
            pid = os.fork()
            if not pid:
                _child(what, words, clock, mutations, writing)
            os.close(writing)
            children.append((pid, reading))
        said = []
        for pid, reading in children:
            with open(reading) as file:
                text = file.read()
            said.append(text if os.waitpid(pid, 0)[1] == 0 else None)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    _boot()
