"""How event loops end: what blocking pops had taken is with a caller, back in its list, or reported; nothing twice."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aioresp import Client, Lost
from aioresp.pool.loops import _keepers
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.conftest import LOOP
from tests.forked import Runner
from tests.pool import loop_ends

PROGRAM = Path(loop_ends.__file__)
JOBS = 800

# Where the loop goes on long enough, all of it is put back.
ABRUPT = [way for way in loop_ends.WAYS if way.startswith(("close,", "close", "never", "dropped"))]
ABRUPT.remove("closed elsewhere")
GENTLE = [way for way in loop_ends.WAYS if way not in ABRUPT and way != "run, interrupted twice"]


@contextmanager
def network(server: Server, delay: float) -> Iterator[str]:
    """A proxy in a loop of its own, which goes on when the loops of the clients end."""
    loop = asyncio.new_event_loop()
    proxy = Proxy(server.host, server.port, delay=delay)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(5)
        yield proxy.url
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


class Outcome:
    """What became of the jobs, by what the program wrote and what is at the server."""

    def __init__(self, lines: list[str], rest: list[str], blocked: int) -> None:
        self.lines = lines
        self.popped = [line[2:] for line in lines if line.startswith("P ")]
        self.lost = [line[2:] for line in lines if line.startswith("L ")]
        self.unclear = [line[2:] for line in lines if line.startswith("B ")]
        self.unknown = lines.count("U")
        self.rest = rest
        self.blocked = blocked
        self.missing = {str(n) for n in range(JOBS)} - {*self.popped, *self.lost, *self.unclear, *rest}

    def __repr__(self) -> str:
        return (
            f"{len(self.popped)} popped, {len(self.rest)} left, {len(self.lost)} lost, {len(self.unclear)} unclear, "
            f"{self.unknown} unknown, {len(self.missing)} missing"
        )

    def check(self) -> None:
        """Check that each job is in one place, and that what is missing was reported."""
        twice = [job for job, count in Counter(self.popped + self.lost + self.rest).items() if count > 1]
        assert not twice, self
        assert not {*self.unclear} & {*self.popped, *self.lost}, self
        assert len(self.missing) <= self.unknown, self
        assert self.blocked == 0, self  # nothing waits at the server to take the next job


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner() as running:
        yield running


@pytest.fixture
def end(own_server: Server, runner: Runner, tmp_path: Path, delay: float) -> Callable[[str], Outcome]:
    """Run the program that ends in a way."""
    return partial(ended, own_server, runner, tmp_path, delay)


def ended(server: Server, runner: Runner, folder: Path, delay: float, way: str) -> Outcome:
    async def fill() -> None:
        async with Client(server.url) as r:
            await r.delete("q")
            await r.rpush("q", *range(JOBS))

    async def look(lines: list[str]) -> Outcome:
        async with Client(server.url) as r:
            async with asyncio.timeout(5):
                while (await r.info("clients"))["blocked_clients"]:
                    await asyncio.sleep(0.01)
            return Outcome(lines, await r.lrange("q", 0, -1), (await r.info("clients"))["blocked_clients"])

    asyncio.run(fill())
    with network(server, delay) as url:
        _, printed, _ = runner.run(PROGRAM, url, folder, url, way, LOOP)
        return asyncio.run(look(printed.splitlines()))


def on_networks(ways: list[str]) -> list[Any]:
    """Return each way on a fast and on a slow network; `make test` has one of the two, in turns."""
    return [
        pytest.param(way, delay, id=f"{way}-{name}", marks=[pytest.mark.ci] * ((number + slow) % 2))
        for slow, (name, delay) in enumerate({"fast": 0.0, "slow": 0.01}.items())
        for number, way in enumerate(ways)
    ]


@pytest.mark.parametrize(("way", "delay"), on_networks(GENTLE))
def test_a_loop_that_shuts_down_puts_all_back(end: Callable[[str], Outcome], way: str) -> None:
    outcome = end(way)
    outcome.check()
    assert (outcome.lost, outcome.unclear, outcome.unknown) == ([], [], 0), outcome
    assert len(outcome.popped) >= loop_ends.ENOUGH


@pytest.mark.parametrize(("way", "delay"), on_networks(ABRUPT))
def test_a_loop_that_does_not_reports_all(end: Callable[[str], Outcome], way: str) -> None:
    outcome = end(way)
    outcome.check()
    if "closed" in outcome.lines:  # and does so at once
        assert outcome.lines[-1] == "closed", outcome
    if way != "close, never sent":
        assert len(outcome.popped) >= loop_ends.ENOUGH


@pytest.mark.parametrize("delay", [0.0, 0.01], ids=["fast", "slow"])
def test_a_second_interrupt(end: Callable[[str], Outcome]) -> None:
    end("run, interrupted twice").check()


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server whose blocked clients are those of one test after the other: each waits until there are none."""

    with start_server() as running:
        yield running


# --- Clients that are collected --------------------------------------------------------------------------------------


async def test_a_collected_client_closes_its_pool_while_the_loop_goes_on(own_server: Server) -> None:
    async with Client(own_server.url) as other:
        r = Client(own_server.url, client_name="gone")
        await asyncio.gather(*(r.ping() for _ in range(10)))
        async with r.connection():
            pass
        with pytest.warns(ResourceWarning, match="unclosed client with"):
            del r
            gc.collect()
        async with asyncio.timeout(5):
            while "name=gone" in await other.call("CLIENT", "LIST"):
                await asyncio.sleep(0.01)


def test_nothing_of_a_closed_pool_is_kept(server: Server) -> None:
    """What keeps a pool while its client is gone lets go of it at the end of either."""

    def kept() -> int:
        gc.collect()
        return len(_keepers)

    before = kept()

    async def main() -> None:
        for _ in range(20):
            async with Client(server.url) as r:
                await r.ping()
        assert kept() <= before + 1

    asyncio.run(main())
    assert kept() <= before


def test_reports_come_once_though_several_would_make_them(server: Server) -> None:
    """The loop is closed, the client is closed, collected, and another is used: the pop is reported once."""
    losses: list[Any] = []
    r = Client(server.url, on_lost=losses.append)
    loop = asyncio.new_event_loop()

    async def main(r: Client[str]) -> None:
        task = asyncio.ensure_future(r.blpop(f"none:{os.getpid()}", 0))
        await asyncio.sleep(0.1)
        task.cancel()

    loop.run_until_complete(main(r))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asyncio's own: nobody let the connections be closed
        loop.close()
        assert len(losses) == 1
        asyncio.run(r.aclose())
        del r, loop
        gc.collect()
    assert len(losses) == 1


def new_loop() -> asyncio.AbstractEventLoop:
    if LOOP == "uvloop":
        import uvloop  # noqa: PLC0415 (it need not be there)

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def take_turns(loop: asyncio.AbstractEventLoop, turns: int) -> None:
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()
        time.sleep(0.002)  # what the server says is here at the next turn


@pytest.mark.parametrize("turns", range(8))
def test_a_loop_that_stood_still_hands_out_nothing_that_was_reported(server: Server, turns: int) -> None:
    """Another loop closes the client while this one stands still, which then goes on."""
    losses: list[Lost] = []
    key = f"still:{os.getpid()}:{turns}"
    loop = new_loop()
    r = Client(server.url, on_lost=losses.append)

    async def rest() -> list[str]:
        async with Client(server.url) as other:
            found = await other.lrange(key, 0, -1)
            await other.delete(key)
            return found

    loop.run_until_complete(r.rpush(key, "element"))
    pop = loop.create_task(r.blpop(key, 0))
    take_turns(loop, turns)
    asyncio.run(r.aclose())
    take_turns(loop, 8)
    assert pop.done()
    popped = [] if pop.exception() else [pop.result()]
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert len(popped) + len(losses) + len(asyncio.run(rest())) == 1, (popped, losses)


def test_a_loop_that_is_closed_during_a_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: errors.append(unraisable.exc_value))
    loop = new_loop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        r = Client(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        call = loop.create_task(r.ping())
        take_turns(loop, 20)
        peer, _ = silent.accept()
        with peer, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # asyncio's own: nobody let the connection be closed
            loop.close()
            gc.collect()
            peer.settimeout(5)
            while peer.recv(1000):
                pass  # until the end, though the client is still here
            del loop, call, r
            gc.collect()
    assert not [error for error in errors if isinstance(error, RuntimeError)]
