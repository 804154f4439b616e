"""The map from loops to pools while loops come and go in many threads."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aioresp import Client, ClientClosed
from aioresp.pool.loops import PerLoop
from aioresp.pool.queue import WaitQueue
from aioresp.pool.resource import PoolStats
from aioresp.testing import Server


class Stub:
    """A pool of which a loop has no need; `meanwhile` is what other threads do while it is given up."""

    busy = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.meanwhile: Callable[[], object] = lambda: None
        self.given_up = 0
        self.left = 0

    def notify(self, on_end: Callable[[], None]) -> None: ...

    def shut(self, grace: float = 0.0) -> None: ...

    async def aclose(self, grace: float = 0.0) -> None: ...

    def abandon(self) -> None:
        self.given_up += 1
        self.meanwhile()

    def stats(self) -> PoolStats:
        return PoolStats(made=1)


@pytest.fixture
def per_loop() -> PerLoop[Stub]:
    return PerLoop(Stub)


class Interrupted(dict[Any, Any]):
    """Pools; when they are looked through, another thread has its turn."""

    turns: Iterator[Callable[[], object]] = iter(())

    def items(self) -> Any:
        found = list(super().items())
        next(self.turns, lambda: None)()
        return found


def use(per_loop: PerLoop[Stub]) -> Stub:
    """Look up the pool of a loop, which is closed then without a word."""
    loop = asyncio.new_event_loop()

    async def look() -> Stub:
        return per_loop.here()

    try:
        return loop.run_until_complete(look())
    finally:
        loop.close()


def elsewhere(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(10)


def test_two_threads_that_sweep_at_once(per_loop: PerLoop[Stub]) -> None:
    """Both find the same closed loops: each of them goes to one, and neither fails."""
    first, second = use(per_loop), use(per_loop)
    # The second use has given up the first pool; its own one, and those below, wait for the next look-up.
    third = use(per_loop)
    assert len(per_loop.pools) == 1
    loops = [asyncio.new_event_loop() for _ in range(3)]
    stubs = [Stub(loop) for loop in loops]
    for loop, stub in zip(loops, stubs, strict=True):
        loop.close()
        per_loop.pools[loop] = stub
        stub.meanwhile = lambda: elsewhere(lambda: use(per_loop))
    use(per_loop)
    for stub in stubs:
        assert stub.given_up == 1
    assert first.given_up >= 1 <= second.given_up
    assert third.given_up >= 1


def test_the_figures_of_closed_loops_are_kept(per_loop: PerLoop[Stub]) -> None:
    for _ in range(3):
        use(per_loop)
    assert per_loop.stats()[0].made == 3


async def test_a_pool_that_is_forgotten_meanwhile_does_not_become_the_recent_one(per_loop: PerLoop[Stub]) -> None:
    """Else its loop would come back to it, which has been left, for ever."""
    pools = Interrupted()
    per_loop.pools = pools
    per_loop.find = pools.get
    other, gone = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        pools[other] = kept = Stub(other)
        pools[gone] = Stub(gone)
        pools.turns = iter((lambda: per_loop.forget(gone),))
        per_loop._choose_recent()
        assert per_loop.recent[1] is kept
    finally:
        other.close()
        gone.close()


async def test_a_client_that_is_closed_while_a_loop_begins(per_loop: PerLoop[Stub]) -> None:
    """The thread that closes has looked at the pools before the new one was there."""

    def make(loop: asyncio.AbstractEventLoop) -> Stub:
        per_loop.closed = True
        return Stub(loop)

    per_loop._make = make
    with pytest.raises(ClientClosed):
        per_loop.here()
    assert not per_loop.pools


async def test_a_pool_that_ended_by_itself_is_not_replaced(per_loop: PerLoop[Stub]) -> None:
    loop = asyncio.new_event_loop()

    class Ending(Interrupted):
        def __iter__(self) -> Iterator[Any]:
            found = list(super().__iter__())
            per_loop.forget(loop)  # by its own thread
            return iter(found)

    per_loop.pools = Ending({loop: Stub(loop)})
    try:
        per_loop.replace(lambda pool: setattr(pool, "left", pool.left + 1))
        assert per_loop.stats()[1] == {}
    finally:
        loop.close()


async def test_other_threads_count_those_in_line() -> None:
    """The line changes while its figures are asked for."""
    line: WaitQueue[Any] = WaitQueue(asyncio.get_running_loop(), lambda: lambda waited: TimeoutError())
    ended, failed = threading.Event(), []

    def count() -> None:
        while not ended.is_set():
            try:
                assert line.waiting >= 0
            except RuntimeError as error:
                failed.append(error)
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(100):
            futures = [asyncio.get_running_loop().create_future() for _ in range(30)]
            for future in futures:
                line.enter(future, lambda resource: None, None)
            for future in futures:
                future.cancel()
            await asyncio.sleep(0)
    finally:
        ended.set()
        thread.join(10)
        sys.setswitchinterval(interval)
    assert not failed


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_loops_that_come_and_go_in_many_threads(server: Server) -> None:
    r = Client(server.url)
    failures: list[BaseException] = []

    def work(key: str) -> None:
        for number in range(20):
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(r.incr(key))
                if number % 3 == 0:
                    loop.run_until_complete(loop.shutdown_asyncgens())
            except Exception as error:
                failures.append(error)
            finally:
                loop.close()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(f"come-and-go:{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not failures
    assert r.stats().made == 80
    asyncio.run(r.aclose())
    gc.collect()  # the transports of loops that were closed without a word warn here, and not in another test
