"""Jobs, callers and strangers that do the worst: the queue goes on, and blames only the one at fault."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from typing import Any

import pytest

from aioresp import ArgumentError, Client
from aioresp.recipes import Again, JobCancelled, JobFailed, Queue, Snooze, Worker
from aioresp.recipes.queue import hand as hand_module
from aioresp.recipes.queue import task as task_module
from aioresp.recipes.queue import worker as worker_module
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.recipes.queue_kit import SOON, Lab
from tests.recipes.queue_laws import fresh
from tests.snippets import ROOT


@pytest.fixture
def lab(r: Client[str]) -> Lab:
    """A queue, under RESP3 and RESP2."""
    return Lab(r, fresh())


@pytest.mark.parametrize(
    "error",
    [SystemExit(1), GeneratorExit(), BaseException("odd"), BaseExceptionGroup("g", [GeneratorExit()]), StopIteration()],
    ids=lambda error: type(error).__name__,
)
async def test_an_exception_of_any_kind_is_a_failed_attempt(lab: Lab, error: BaseException) -> None:
    """Also `sys.exit()`: the job ends, and not its worker."""
    ran: Counter[str] = Counter()

    @lab.queue.task(retries=1, backoff=(0, 0))
    async def wild() -> None:
        ran["wild"] += 1
        if ran["wild"] < 10:
            raise error

    async with lab.working():
        job = await wild.enqueue()
        with pytest.raises(JobFailed):
            await job.result(SOON)
        assert (await job.info()).error in {"SystemExit: 1", "GeneratorExit", "BaseException: odd"} or isinstance(
            error, (BaseExceptionGroup, StopIteration)
        )
        assert await (await lab.quick.enqueue(1)).result(SOON) == 1
    assert ran["wild"] == 2


def test_a_keyboard_interrupt_ends_the_process_and_counts_as_a_death(server: Server) -> None:
    """Whether Ctrl-C came in this moment or the job raised it, nobody knows: three times are too many."""
    name, ran = fresh(), []

    async def main() -> None:
        async with Client(server.url) as redis:
            queue = Queue(redis, name)

            @queue.task(lease=0.5)
            async def interrupt() -> None:
                ran.append(1)
                raise KeyboardInterrupt

            if not ran:
                await interrupt.options(id="i").enqueue()
            async with queue.worker() as worker:
                await worker.run()

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())

    async def look() -> str:
        async with Client(server.url) as redis:
            queue = Queue(redis, name)
            async with queue.worker() as worker, asyncio.timeout(SOON):
                run = asyncio.create_task(worker.run())
                try:
                    with pytest.raises(JobFailed) as failed:
                        await queue.job("i").result()
                finally:
                    worker.stop()
                    await run
            return failed.value.type

    assert asyncio.run(look()) == "WorkerDied"


@pytest.mark.parametrize("first", [True, False])
async def test_a_job_that_is_cancelled_before_its_first_step_is_given_back(
    r: Client[str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body of a task that is cancelled so early never runs, not even its `finally`."""
    lab = Lab(r, fresh(), lease=30)  # which a busy machine does not let end
    begin = Worker._begin

    def begin_and_cancel(self: Worker, taken: Any) -> None:
        begin(self, taken)
        for hand in self._hand:
            if first:
                hand.cancel(hand_module.Why.STOPPED)
            elif hand.runner is not None:
                hand.runner.cancel()  # as `asyncio.run` does at its end
        self.stop()

    monkeypatch.setattr(Worker, "_begin", begin_and_cancel)
    job = await lab.quick.enqueue(1)
    async with lab.queue.worker(grace=0.1) as worker:
        await asyncio.wait_for(worker.run(), SOON)
    info = await job.info()
    assert (info.state, info.attempts) == ("waiting", 0)
    assert not lab.ran


async def test_a_result_that_cannot_be_stored_is_not_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job has done its work, and would do it twice."""
    monkeypatch.setattr(hand_module, "_RESULT", 1000)

    @lab.queue.task
    async def odd(what: str) -> Any:
        lab.ran[len(what)] += 1
        return object() if what == "object" else "x" * 2000

    async with lab.working():
        with pytest.raises(JobFailed, match="object, which cannot be written as JSON"):
            await (await odd.enqueue("object")).result(SOON)
        with pytest.raises(JobFailed, match="the result of odd has 2002 bytes, more than 1000"):
            await (await odd.enqueue("long")).result(SOON)
    assert lab.ran == {6: 1, 4: 1}


async def test_long_results_are_settled_in_several_calls(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_BYTES", 3000)
    sizes: list[int] = []
    settle = lab.queue.books.settle

    async def noted(outcomes: Any) -> list[str]:
        sizes.append(sum(len(each[3]) for each in outcomes))
        return await settle(outcomes)

    monkeypatch.setattr(lab.queue.books, "settle", noted)

    @lab.queue.task
    async def long(n: int) -> str:
        return "x" * 1000

    jobs = [await long.enqueue(n) for n in range(20)]
    async with lab.working(20):
        for job in jobs:
            await job.result(SOON)
    assert max(sizes) < 5000
    assert len(sizes) >= 4


async def test_a_job_that_snoozes_for_no_time_lets_others_by(lab: Lab) -> None:
    ran: Counter[str] = Counter()

    @lab.queue.task
    async def sleepy() -> None:
        ran["sleepy"] += 1
        if ran["sleepy"] < 200:
            raise Snooze(0)

    @lab.queue.task
    async def other() -> int:
        return ran["sleepy"]

    await sleepy.enqueue()
    job = await other.enqueue()
    async with lab.working(1):
        assert await job.result(SOON) < 100
        await lab.at_rest()


async def test_all_dead_letters_can_be_revived_in_their_iteration(lab: Lab) -> None:
    @lab.queue.task(retries=0)
    async def fail() -> None:
        raise ValueError

    await asyncio.gather(*(fail.enqueue() for _ in range(130)))
    assert await lab.queue.drain() == 130
    assert [await lab.queue.revive(each.id) async for each in lab.queue.dead()] == [True] * 130
    counts = await lab.queue.counts()
    assert (counts.waiting, counts.dead) == (130, 0)


async def test_what_a_stranger_writes_into_the_books_holds_nobody_up(lab: Lab) -> None:
    """An id that is not UTF-8, one without a hash, and a count that is no number."""
    books = lab.queue.books
    for id in (b"\xff", "odd"):
        key = books.root.encode() + b"job:" + (id if isinstance(id, bytes) else id.encode())
        await lab.redis.hset(key, mapping={"fn": "quick", "args": "[[1],{}]", "deaths": "many"})
        await lab.redis.rpush(books.keys[8], id)
    await lab.redis.rpush(books.keys[8], "nothing", b"\xfe")
    job = await lab.quick.enqueue(2)
    async with lab.working():
        assert await job.result(SOON) == 2
        await lab.at_rest()
    assert lab.ran == {2: 1}
    assert (await lab.queue.counts()).dead == 4


async def test_an_id_that_is_twice_in_line_is_with_one_worker(lab: Lab) -> None:
    """The hash of a job was evicted, and a producer has enqueued it again with its own id."""
    for _ in range(2):
        await lab.hold.options(id="i").enqueue(1)
        if not await lab.redis.exists(f"{lab.name}:evicted"):
            await lab.redis.set(f"{lab.name}:evicted", 1)
            await lab.redis.delete(f"{lab.queue.books.root}job:i")
    async with lab.working(1), lab.working(1):
        await lab.until("began 1")
        assert await (await lab.quick.enqueue(2)).result(SOON) == 2
        assert (await lab.journal()).count("began 1") == 1
        await lab.redis.rpush(f"{lab.name}:go:1", "")
        assert await lab.queue.job("i").result(SOON) == 1


async def test_names_without_a_form_in_utf_8(lab: Lab, r: Client[str]) -> None:
    async def f() -> None: ...

    options: list[dict[str, Any]] = [{"id": "\ud800"}, {"unique": "\ud800"}]
    for each in options:
        with pytest.raises(ArgumentError, match=rf"options\(\): {next(iter(each))} has no form in UTF-8"):
            lab.quick.options(**each)
    with pytest.raises(ArgumentError, match=r"Queue\(\): name has no form in UTF-8"):
        Queue(r, "\ud800")
    with pytest.raises(ArgumentError, match=r"task\(\): name has no form in UTF-8"):
        lab.queue.task(name="\ud800")(f)
    with pytest.raises(ArgumentError, match=r"task\(\): name is empty, or has a colon or a space"):
        lab.queue.task(name="a b")(f)


async def test_a_server_without_memory_lets_jobs_end(no_debug: None) -> None:
    """Leases are renewed and jobs are settled, and only new ones are refused. A job is done once."""
    with start_server() as running:
        async with Client(running.url) as redis:
            lab = Lab(redis, fresh(), lease=0.5)

            @lab.queue.task(lease=0.5, retries=1, backoff=(0, 0))
            async def work(n: int) -> int:
                lab.ran[n] += 1
                await asyncio.sleep(1.2 if n == 0 else 0.1)
                if n == 1 and lab.ran[n] == 1:
                    raise Again(delay=0)
                return n

            jobs = [await work.enqueue(n) for n in range(8)]
            waits = await work.options(delay=60).enqueue(9)
            await redis.config_set("maxmemory", 1)
            try:
                async with lab.working(4):
                    began = time.monotonic()
                    while (await lab.queue.counts()).waiting + (await lab.queue.counts()).running:
                        await asyncio.sleep(0.05)
                        assert time.monotonic() < began + SOON
                assert await waits.cancel()
                with pytest.raises(Exception, match="maxmemory"):
                    await work.enqueue(10)
            finally:
                await redis.config_set("maxmemory", 0)
            assert [await job.result(SOON) for job in jobs] == list(range(8))
            assert lab.ran == {**dict.fromkeys(range(8), 1), 1: 2}


def test_ids_differ_in_a_forked_child_and_under_a_seed() -> None:
    ids = set()
    for _ in range(3):
        random.seed(1)
        ids.add(task_module.fresh_id())
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, task_module.fresh_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    ids |= {os.read(reading, 100).decode(), task_module.fresh_id()}
    os.close(reading)
    os.close(writing)
    assert len(ids) == 5
    assert {len(id) for id in ids} == {24}


@pytest.mark.parametrize("when", ["before the subscription", "in a gap"])
async def test_a_cancellation_without_a_word_is_heard_soon(
    server: Server, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not have to wait for the next renewal of the leases."""
    monkeypatch.setattr(Worker, "_keep_leases", lambda _: None)
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as far, Client(server.url) as near:
        lab, aside = Lab(far, fresh(), lease=60, aside=near), Queue(near, "unused")
        job = await lab.hold.enqueue(1)
        aside.books = lab.queue.books.__class__(near, lab.name)
        listen = Worker._listen

        async def listen_late(self: Worker) -> None:
            await lab.until("began 1")
            assert await aside.job(job.id).cancel()
            await listen(self)

        if when == "before the subscription":
            monkeypatch.setattr(Worker, "_listen", listen_late)
        async with lab.working():
            await lab.until("began 1")
            if when == "in a gap":
                async with asyncio.timeout(SOON):
                    while not dict(await near.pubsub_numsub(lab.queue.books.cancelled))[lab.queue.books.cancelled]:
                        await asyncio.sleep(0.01)
                proxy.refuse()
                proxy.cut()
                assert await aside.job(job.id).cancel()
                proxy.accept()
            async with asyncio.timeout(SOON / 2):
                while (await aside.job(job.id).info()).state != "cancelled":
                    await asyncio.sleep(0.02)


async def test_the_least_rights(server: Server, r: Client[str]) -> None:
    """Those that the page of the queue tells are enough."""
    page = (ROOT / "docs/queue.md").read_text(encoding="utf-8")
    words = page.partition("ACL SETUSER jobs ")[2].partition("```")[0].split()
    name = fresh()
    await r.call("ACL", "SETUSER", "jobs", *(word.replace("pictures", name) for word in words))
    try:
        url = f"redis://jobs:secret@{server.host}:{server.port}"
        async with Client(url, lib_name=None) as redis:
            lab = Lab(redis, name)
            queue = lab.queue
            ran: Counter[str] = Counter()

            @queue.task(retries=1, backoff=(0, 0))
            async def act(how: str) -> str:
                ran[how] += 1
                if how == "fails":
                    raise ValueError
                if how == "sleeps":
                    await asyncio.sleep(SOON)
                if how == "snoozes" and ran[how] == 1:
                    raise Snooze(0)
                return how

            @queue.cron("* * * * * *")
            async def tick() -> None:
                ran["tick"] += 1

            async with lab.working():
                options: list[dict[str, Any]] = [{}, {"delay": 0.05}, {"unique": "u"}, {"priority": 2}]
                for each in options:
                    assert await (await act.options(**each).enqueue("works")).result(SOON) == "works"
                assert await (await act.enqueue("snoozes")).result(SOON) == "snoozes"
                failed, sleeping = await act.enqueue("fails"), await act.enqueue("sleeps")
                with pytest.raises(JobFailed):
                    await failed.result(SOON)
                async with asyncio.timeout(SOON):
                    while not (ran["sleeps"] and ran["tick"]):
                        await asyncio.sleep(0.01)
                assert await sleeping.cancel()
                with pytest.raises(JobCancelled):
                    await sleeping.result(SOON)
                assert [each.id async for each in queue.dead()] == [failed.id]
                assert await queue.revive(failed.id)
                replaced = await act.options(unique="r", delay=60).enqueue("works")
                await act.options(unique="r", delay=60, on_duplicate="replace").enqueue("works")
                assert (await replaced.info()).state == "cancelled"
            await queue.purge()
            assert [each async for each in queue.dead()] == []
    finally:
        await r.acl_deluser("jobs")


async def test_a_job_whose_lease_ended_on_its_way_does_not_begin(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply of its take came late, or the loop was blocked: another worker has it."""
    take, late = lab.queue.books.take, asyncio.Event()

    async def take_late(*arguments: Any) -> Any:
        found = await take(*arguments)
        if found[1] and not late.is_set():
            late.set()
            await lab.until("began 1")
        return found

    monkeypatch.setattr(lab.queue.books, "take", take_late)
    job = await lab.hold.enqueue(1)
    async with lab.working():
        await asyncio.wait_for(late.wait(), SOON)
        async with lab.working():
            await lab.until("began 1")
            assert await (await lab.quick.enqueue(2)).result(SOON) == 2
            await asyncio.sleep(0.1)
            assert (await lab.journal()).count("began 1") == 1
            await lab.redis.rpush(f"{lab.name}:go:1", "")
            assert await job.result(SOON) == 1


@pytest.mark.parametrize(("lease", "attempts"), [(15.0, 1), (0.5, 2)])
async def test_the_lease_of_one_task_says_nothing_about_those_of_others(
    server: Server, lease: float, attempts: int, no_debug: None
) -> None:
    """A server that is away for longer than the shortest lease costs no job whose lease is longer."""
    async with Client(server.url, timeout=0.3) as redis, Client(server.url) as aside:
        lab = Lab(redis, fresh(), lease=lease, aside=aside)

        @lab.queue.task(lease=0.5)
        async def short() -> None: ...

        job = await lab.hold.enqueue(1)
        async with lab.working():
            await lab.until("began 1")
            await aside.client_pause(1500, all=True)
            if attempts == 2:
                await lab.until("began 1", "began 1")
            else:
                await asyncio.sleep(2)
            await lab.redis.rpush(f"{lab.name}:go:1", "", "")
            assert await Queue(aside, lab.name).job(job.id).result(SOON) == 1
        assert (await lab.journal()).count("began 1") == attempts
