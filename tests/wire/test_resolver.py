"""Name look-ups: one at a time for each name, in a thread that holds up nothing.

The system's resolver is the one thing that is not real here: a test cannot have one that hangs.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Server
from aioresp.wire import resolver
from aioresp.wire.resolver import resolve
from tests.pubsub.listening import until


class Names:
    """A resolver that waits until it is let go, and then gives the addresses of `found`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.go = threading.Event()
        self.found: list[str] | Exception = ["127.0.0.1"]

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append((host, port))
        assert self.go.wait(30)
        if isinstance(self.found, Exception):
            raise self.found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.found]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    stand_in = Names()
    monkeypatch.setattr(socket, "getaddrinfo", stand_in)
    yield stand_in
    stand_in.go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("aioresp: look up"):
            thread.join(5)


async def test_a_name_that_hangs_takes_one_thread_and_no_one_elses(names: Names, server: Server) -> None:
    threads = threading.active_count()
    clients = [
        Client(host="name.test", port=server.port, password=server.password, connect_timeout=0.1, timeout=5, retry=None)
        for _ in range(5)
    ]
    for _ in range(5):
        ends = await asyncio.gather(*(r.get("k") for r in clients), return_exceptions=True)
        assert {type(end) for end in ends} == {aioresp.ConnectTimeout}
    assert threading.active_count() == threads + 1
    assert names.asked == [("name.test", server.port)]
    async with asyncio.timeout(10):
        # The default executor's threads are few: as many pieces of work as it has find their place.
        await asyncio.gather(*(asyncio.to_thread(threading.Event().wait, 0.01) for _ in range(100)))
    names.go.set()
    await until(lambda: threading.active_count() <= threads + 40 and not resolver._waiting)
    for r in clients:
        assert await r.get("no such key") is None
        await r.aclose()


async def test_another_name_does_not_wait_for_it(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = asyncio.create_task(resolve("one.test", 1))
    other_port = asyncio.create_task(resolve("one.test", 2))
    await until(lambda: len(names.asked) == 2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("10.0.0.1", 1))])
    assert await resolve("two.test", 1) == ["10.0.0.1"]
    names.found = ["10.0.0.2", "10.0.0.3", "10.0.0.2"]
    names.go.set()
    assert await hanging == await other_port == ["10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_address_is_not_looked_up(names: Names, address: str) -> None:
    assert await resolve(address, 1) == [address]
    assert names.asked == []


async def test_each_who_waits_has_an_error_of_his_own(names: Names) -> None:
    names.found = socket.gaierror(-2, "Name or service not known")
    names.go.set()
    first, second = await asyncio.gather(resolve("no.test", 1), resolve("no.test", 1), return_exceptions=True)
    assert isinstance(first, socket.gaierror)
    assert isinstance(second, socket.gaierror)
    assert first is not second
    assert str(first) == str(second) == "[Errno -2] Name or service not known"
    names.found = []
    with pytest.raises(OSError, match="has no address"):
        await resolve("no.test", 1)
    async with Client(host="no.test", retry=None) as r:
        with pytest.raises(aioresp.ConnectError, match="has no address"):
            await r.get("k")


async def test_who_is_cancelled_is_forgotten_and_takes_nobody_along(names: Names) -> None:
    first, second = asyncio.create_task(resolve("n.test", 1)), asyncio.create_task(resolve("n.test", 1))
    await until(lambda: bool(names.asked))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [len(waiting) for waiting in resolver._waiting.values()] == [1]
    names.go.set()
    assert await second == ["127.0.0.1"]
    assert not resolver._waiting
    assert names.asked == [("n.test", 1)]


def test_loops_and_threads_share_a_look_up_and_one_that_ends_is_no_harm(names: Names) -> None:
    async def look_up() -> list[str]:
        return await resolve("n.test", 1)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await look_up()

    async def leave() -> None:
        asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(look_up())
        await asyncio.sleep(0.05)
        task.cancel()

    found: list[list[str]] = []
    asyncio.run(give_up())
    asyncio.run(leave())
    abandoned = asyncio.new_event_loop()
    waiting = abandoned.create_task(look_up())
    abandoned.run_until_complete(asyncio.sleep(0.01))
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(look_up()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    abandoned.close()
    while sum(map(len, resolver._waiting.values())) < 4:
        threading.Event().wait(0.005)
    names.go.set()
    for thread in threads:
        thread.join(10)
    assert found == [["127.0.0.1"]] * 3
    assert names.asked == [("n.test", 1)]
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop was closed on purpose


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_looks_up_for_itself(names: Names) -> None:
    async def begin() -> int:
        task = asyncio.create_task(resolve("n.test", 1))
        while not names.asked:
            await asyncio.sleep(0.005)
        child = os.fork()
        if child == 0:
            os._exit(1 if resolver._waiting else 0)
        task.cancel()
        return child

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.12: there are threads
        child = asyncio.run(begin())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_interpreter_does_not_wait_for_it(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    program = f"""
import asyncio, socket, time
socket.getaddrinfo = lambda *_, **__: time.sleep(120)
from aioresp import Client, ConnectTimeout
import {loop} as loops

async def main():
    async with Client(host="name.test", connect_timeout=0.1, retry=None) as r:
        try:
            await r.get("k")
        except ConnectTimeout as error:
            print(error)

loops.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    found = "no connection to redis://name.test:6379 in 0.1 s; its name is still being looked up [GET 'k']\n"
    assert done.stdout == found
    assert done.stderr == ""


# --- Connecting to what was found ------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_one_address_after_the_other(names: Names, server: Server) -> None:
    names.go.set()
    names.found = ["127.0.0.2", "127.0.0.3", server.host]
    async with Client(host="name.test", port=server.port, password=server.password, retry=None) as r:
        assert await r.ping()
    names.found = ["127.0.0.2", "127.0.0.3"]
    before = descriptors()
    async with Client(host="name.test", port=server.port, password=server.password, retry=None) as r:
        for _ in range(20):
            with pytest.raises(aioresp.ConnectError, match=r"nothing listens at name.test.*127.0.0.2.*127.0.0.3"):
                await r.ping()
    await until(lambda: descriptors() <= before + 2)  # uvloop opens one of its own now and then


async def test_cancelled_at_any_point_it_leaves_no_socket(names: Names, server: Server) -> None:
    names.go.set()
    names.found = ["127.0.0.2", server.host]
    before = descriptors()
    for turns in range(40):
        async with Client(host="name.test", port=server.port, password=server.password) as r:
            call = asyncio.create_task(r.ping())
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
    await until(lambda: descriptors() <= before + 2)


def test_the_garbage_collector_may_end_one_anywhere(names: Names) -> None:
    """Whoever was abandoned with its loop withdraws when it is collected: in any thread, at any point."""

    async def look_up(number: int) -> list[str]:
        return await resolve(f"n{number}.test", 1)

    thresholds = gc.get_threshold()
    names.go.set()
    try:
        gc.set_threshold(1)
        for number in range(200):
            names.go.clear()
            loop = asyncio.new_event_loop()
            task = loop.create_task(look_up(number))
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop is closed on purpose
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            cycle = [task]
            cycle.append(cycle)  # type: ignore[arg-type]
            del task, cycle, loop
            names.go.set()
            assert asyncio.run(look_up(number)) == ["127.0.0.1"]
    finally:
        gc.set_threshold(*thresholds)


def test_what_ends_in_the_moment_of_the_question_is_asked_again(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(deque[Any]):
        """Has been emptied by the thread when the caller comes."""

        def append(self, answer: Any) -> None:
            super().append(answer)
            resolver._waiting.clear()

    names.go.set()
    resolver._waiting["n.test", 1] = Late()
    assert asyncio.run(resolve("n.test", 1)) == ["127.0.0.1"]
    assert names.asked == [("n.test", 1)]


def test_no_more_threads(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="could not be started: can't start new thread"):
            asyncio.run(resolve("n.test", 1))
    names.go.set()
    assert asyncio.run(resolve("n.test", 1)) == ["127.0.0.1"]
