"""The thread that renews leases: what it renews and when, what ends a lease, and what it survives."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from aioresp import Client
from aioresp.errors import ClientClosed
from aioresp.recipes import Lock, leases
from aioresp.recipes.leases import Lease, keep, later
from aioresp.testing import Server
from tests.forked import environment

ROOT = Path(__file__).resolve().parent.parent.parent


class Renewal:
    """A renewal that counts, and answers as it is told."""

    def __init__(self, answer: Callable[[], Awaitable[bool]] | None = None) -> None:
        self.times: list[float] = []
        self.answer = answer

    async def __call__(self) -> bool:
        self.times.append(time.monotonic())
        return True if self.answer is None else await self.answer()


class Holder:
    """A holder of one lease, who is told when it is lost."""

    def __init__(self, renewal: Renewal, ttl: float = 0.3, until: float = float("inf")) -> None:
        self.renewal = renewal
        self.since = time.monotonic()
        self.told = asyncio.get_running_loop().create_future()
        self.lease = keep(renewal, ttl, since=self.since, on_lost=self.on_lost, until=self.since + until)

    def on_lost(self, reason: str) -> None:
        self.told.set_result((reason, time.monotonic()))  # raises if it is told twice

    async def loss(self) -> tuple[str, float]:
        reason, at = await asyncio.wait_for(self.told, 20)
        return reason, at - self.since


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    leases._thread._leases = [entry for entry in leases._thread._leases if not entry[2].is_over]
    assert leases._thread._leases == []


async def test_it_is_renewed_before_a_third_has_passed_twice() -> None:
    holder = Holder(Renewal(), ttl=0.6)
    await asyncio.sleep(1.5)
    count, lease = len(holder.renewal.times), holder.lease
    assert not lease.lost
    assert lease.confirmed > holder.since
    assert 3 <= count <= 9
    lease.release()
    await asyncio.sleep(0.3)
    assert len(holder.renewal.times) <= count + 1
    assert not holder.told.done()


async def test_a_blocked_loop_keeps_it() -> None:
    holder = Holder(Renewal(), ttl=0.5)
    time.sleep(1.2)
    await asyncio.sleep(0)
    assert not holder.lease.lost
    assert len(holder.renewal.times) >= 3
    holder.lease.release()


async def no() -> bool:
    return False


async def fail() -> bool:
    raise ConnectionError


async def hang() -> bool:
    await asyncio.sleep(60)
    return True


async def closed() -> bool:
    raise ClientClosed("closed")


@pytest.mark.parametrize(("answer", "says"), [(no, "another holder"), (closed, "client was closed")])
async def test_it_is_lost_at_the_next_renewal(answer: Callable[[], Awaitable[bool]], says: str) -> None:
    holder = Holder(Renewal(answer), ttl=1.5)
    reason, after = await holder.loss()
    assert says in reason
    assert holder.lease.lost == reason
    assert len(holder.renewal.times) == 1
    assert after > 0.4


@pytest.mark.parametrize("answer", [fail, hang])
async def test_it_is_lost_before_its_end_without_an_answer(answer: Callable[[], Awaitable[bool]]) -> None:
    holder = Holder(Renewal(answer), ttl=0.6)
    reason, after = await holder.loss()
    assert reason == "the server has not answered in time"
    assert after >= 0.5
    assert len(holder.renewal.times) >= 2  # one attempt never takes all of the time


async def test_a_failed_renewal_is_repeated() -> None:
    failures = iter([True, True, False])

    async def recover() -> bool:
        if next(failures, False):
            raise ConnectionError
        return True

    holder = Holder(Renewal(recover), ttl=2.0)
    await asyncio.sleep(1.6)
    assert len(holder.renewal.times) >= 3
    assert not holder.lease.lost
    holder.lease.release()


@pytest.mark.parametrize("until", [0.05, 0.4])  # before the first renewal, and later
async def test_it_is_held_no_longer_than_until(until: float) -> None:
    holder = Holder(Renewal(), ttl=0.6, until=until)
    reason, after = await holder.loss()
    assert reason == "it was held as long as it may be"
    assert until - 0.02 <= after
    assert len(holder.renewal.times) == (until > 0.2)


async def test_a_released_one_tells_nobody() -> None:
    """The thread has posted the loss, but the holder gives it back before its loop has its turn."""
    holder = Holder(Renewal(no))
    deadline = time.monotonic() + 20
    while not holder.lease.lost and time.monotonic() < deadline:
        time.sleep(0.01)  # the loop is blocked
    holder.lease.release()
    await asyncio.sleep(0.05)
    assert not holder.told.done()


async def test_thousands_taken_and_released_stay_few(no_debug: None) -> None:
    woken = 0
    rouse = leases._Thread._rouse

    def counted(self: leases._Thread) -> None:
        nonlocal woken
        woken += 1
        rouse(self)

    keeper = Holder(Renewal(), ttl=20)
    await asyncio.sleep(0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases._Thread, "_rouse", counted)
        for _ in range(20_000):
            keep(keeper.renewal, 10, since=time.monotonic(), on_lost=keeper.on_lost).release()
    assert len(leases._thread._leases) <= 2 * leases._SLACK + 2
    assert woken <= 2  # each would take the interpreter from the loop
    keeper.lease.release()


async def test_nothing_of_a_holder_stays() -> None:
    class Body:
        def on_lost(self, reason: str) -> None: ...

    body = Body()
    lease = keep(Renewal(), 10, since=time.monotonic(), on_lost=body.on_lost)
    gone = weakref.ref(body)
    lease.release()
    del body
    gc.collect()
    assert gone() is None


async def test_many_are_renewed_together(no_debug: None) -> None:
    holders = [Holder(Renewal(), ttl=3.0) for _ in range(500)]
    await asyncio.sleep(1.3)
    assert all(holder.renewal.times for holder in holders)
    assert not any(holder.lease.lost for holder in holders)
    for holder in holders:
        holder.lease.release()


def test_the_first_of_many_threads_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that are added while the thread starts are renewed, too."""
    fresh = leases._Thread()
    monkeypatch.setattr(leases, "_thread", fresh)
    counts: list[int] = []

    async def hold() -> None:
        holder = Holder(Renewal(), ttl=0.6)
        await asyncio.sleep(0.8)
        counts.append(len(holder.renewal.times))
        assert not holder.lease.lost
        holder.lease.release()

    threads = [threading.Thread(target=asyncio.run, args=(hold(),)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 10
    assert min(counts) >= 1
    assert sum(thread.name == "aioresp-leases" for thread in threading.enumerate()) <= 2
    fresh.stop()


def test_a_closed_loop_loses_its_leases() -> None:
    loop = asyncio.new_event_loop()

    async def hold() -> Lease:
        return Holder(Renewal(), ttl=0.3).lease

    lease = loop.run_until_complete(hold())
    loop.close()
    deadline = time.monotonic() + 20
    while not lease.lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lease.lost == "the event loop of its holder is closed"


async def test_a_thread_that_fails_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = leases._Thread()
    monkeypatch.setattr(leases, "_thread", fresh)
    monkeypatch.setattr(threading, "excepthook", lambda *_: None)
    look = leases._Thread._look

    def broken(self: leases._Thread) -> tuple[list[Lease], float]:
        monkeypatch.setattr(leases._Thread, "_look", look)
        raise RuntimeError("a bug")

    monkeypatch.setattr(leases._Thread, "_look", broken)
    first = Holder(Renewal(), ttl=0.9)
    while fresh._thread is not None:
        await asyncio.sleep(0.01)
    second = Holder(Renewal(), ttl=0.9)
    await asyncio.sleep(0.5)
    for holder in (first, second):
        assert holder.renewal.times
        holder.lease.release()
    fresh.stop()


async def test_without_a_thread_there_is_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_thread", leases._Thread())

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="new thread"):
        patch.setattr(threading.Thread, "start", refuse)
        Holder(Renewal())
    assert all(entry[2].is_over for entry in leases._thread._leases)


async def test_an_action_runs_in_the_thread() -> None:
    done: list[str] = []

    async def act() -> None:
        done.append(threading.current_thread().name)

    later(act)
    while not done:
        await asyncio.sleep(0.01)
    assert done == ["aioresp-leases"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_fork_renews_nothing_of_its_parent() -> None:
    holder = Holder(Renewal(), ttl=0.6)
    await asyncio.sleep(0.05)
    child = os.fork()
    if not child:
        status = 1
        try:
            before = len(holder.renewal.times)

            async def hold() -> bool:
                own = Holder(Renewal(), ttl=0.3)  # starts a thread of the child's own
                await asyncio.sleep(0.5)
                kept = bool(own.renewal.times) and not own.lease.lost
                own.lease.release()
                return kept

            asyncio.events._set_running_loop(None)
            kept = asyncio.new_event_loop().run_until_complete(hold())
            status = 0 if kept and holder.lease.is_inherited and len(holder.renewal.times) == before else 2
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not holder.lease.lost
    assert holder.renewal.times
    holder.lease.release()


def run(program: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", textwrap.dedent(program)],
        env=environment() | {"AIORESP_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_ends_with_leases_held(server: Server) -> None:
    """Without a word, without a delay, and with its connections closed."""
    program = """
        import asyncio, os, time
        from aioresp import Client
        from aioresp.recipes import leases

        r = Client(os.environ["AIORESP_URL"])

        async def main():
            leases.keep(r.ping, 3, since=time.monotonic(), on_lost=print)
            while not r.stats().open:  # a connection of the thread
                await asyncio.sleep(0.01)
            leases.later(lambda: asyncio.sleep(0.1, print("later")))

        asyncio.run(main())
        print("end")
    """
    done = run(program, server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.replace("\n", "")) == sorted("endlater")  # two threads print


async def test_a_stopped_process_learns_of_it_at_once(server: Server, prefix: str) -> None:
    """SIGSTOP beyond the lease: another holds it with a greater token, and after SIGCONT the block is cancelled."""
    program = f"""
        import asyncio, os
        from aioresp import Client
        from aioresp.recipes import Lock, LockLost

        async def main():
            async with Client(os.environ["AIORESP_URL"]) as r:
                try:
                    async with Lock(r, {prefix!r}, ttl=1) as held:
                        print(held.token, flush=True)
                        while True:
                            await asyncio.sleep(0.01)
                except LockLost as error:
                    print(error.reason, flush=True)

        asyncio.run(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env=environment() | {"AIORESP_URL": server.url},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        token = int(await asyncio.to_thread(process.stdout.readline))
        process.send_signal(signal.SIGSTOP)
        async with Client(server.url) as r:
            async with asyncio.timeout(20), Lock(r, prefix) as held:
                assert held.token > token
                process.send_signal(signal.SIGCONT)
                since = time.monotonic()
                said = await asyncio.to_thread(process.stdout.readline)
                assert said == "the server has not answered in time\n"
                assert time.monotonic() - since < 5
                assert await asyncio.to_thread(process.wait, 20) == 0
                assert await r.exists(f"{{{prefix}}}:lock")
                await asyncio.sleep(0)
            assert not await r.exists(f"{{{prefix}}}:lock")
