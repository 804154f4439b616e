"""The laws of the queue, each as a check against a real server, which fails for a queue that breaks the law.

Owns what each law says in terms of the journal and the books. The tests run each check as it is, and with mutations of
the scripts, with which it must fail.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aioresp import Client, Retry
from aioresp.recipes import JobCancelled, JobFailed, JobGone
from aioresp.recipes.queue.books import Books, Taken
from aioresp.testing import Proxy, Server
from tests.recipes.queue_kit import RELAYS, SOON, Lab, Mutation, Nursery


def fresh() -> str:
    return f"q{os.urandom(4).hex()}"


async def _take(books: Books, count: int, worker: str, number: int = 1, lease: int = 15_000) -> list[Taken]:
    return (await books.take(count, f"{worker}.{number}", worker, lease, True))[1]


async def enqueued_twice(url: str) -> None:
    """Q2: an enqueue repeated with its id is one job, also after it has ended."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        first = await lab.quick.options(id="a").enqueue(1)
        second = await lab.quick.options(id="a").enqueue(2)
        assert first.id == second.id == "a"
        assert (await lab.queue.counts()).waiting == 1
        async with lab.working():
            assert await second.result(SOON) == 1
            await lab.quick.options(id="a").enqueue(3)
            await lab.at_rest()
        assert lab.ran == {1: 1}


async def one_holder(url: str) -> None:
    """Q3: who lost a lease can neither finish nor retry nor renew, also before another takes the job."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        books = lab.queue.books
        for is_taken_again in (True, False):
            await redis.flushall()
            job = await lab.note.enqueue(1)
            (old,) = await _take(books, 5, "a", lease=1)
            assert (await _take(books, 5, "b")) == []
            await redis.hset(f"{books.root}job:{job.id}", "lease", "1")
            await books.renew([(old.id, old.token, 1)])
            await asyncio.sleep(0.005)
            _, back, _ = await books.tend()
            assert back == [job.id]
            new = (await _take(books, 5, "b", 2))[0] if is_taken_again else None
            assert await books.renew([(old.id, old.token, 9000)]) == [(job.id, "lost")]
            for outcome in ("done", "again", "dead", "back", "cancelled"):
                assert await books.settle([(old.id, old.token, outcome, b"1", 0)]) == [job.id], outcome
            info = await job.info()
            assert info.state == ("running" if is_taken_again else "waiting")
            if new is not None:
                assert await books.settle([(new.id, new.token, "done", b"2", 0)]) == []
                assert await job.result(SOON) == 2
            assert (await lab.queue.counts()).running == 0


async def stopped_beyond_its_lease(url: str, nursery: Nursery, mutation: Mutation | str | None) -> None:
    """Q3 and Q5: a worker that stands still loses its job to another; its outcome is refused when it goes on."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        job = await lab.hold.enqueue(1)
        pid = nursery.worker(url, lab.name, mutation=mutation)
        await lab.until("began 1")
        nursery.kill(pid, signal.SIGSTOP)
        other = nursery.worker(url, lab.name, mutation=mutation)
        await lab.until("began 1", "began 1", seconds=SOON)
        nursery.kill(pid, signal.SIGCONT)
        await lab.redis.rpush(f"{lab.name}:go:1", "", "")  # both end
        assert await job.result(SOON) == 1
        assert (await job.info()).deaths == 1
        for each in (pid, other):
            nursery.kill(each, signal.SIGTERM)
        await lab.at_rest()


async def killed(url: str, nursery: Nursery, mutation: Mutation | str | None) -> None:
    """Q5: the jobs of a worker that was killed start again at the end of its lease."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        jobs = [await lab.hold.enqueue(n) for n in range(3)]
        pid = nursery.worker(url, lab.name, mutation=mutation)
        await lab.until(*(f"began {n}" for n in range(3)))
        nursery.kill(pid)
        nursery.worker(url, lab.name, mutation=mutation)
        await lab.until(*(f"began {n}" for n in range(3)), *(f"began {n}" for n in range(3)), seconds=6)
        for n in range(3):
            await lab.redis.rpush(f"{lab.name}:go:{n}", "")
        assert [await job.result(SOON) for job in jobs] == [0, 1, 2]


async def poisoned(url: str, nursery: Nursery, mutation: Mutation | str | None) -> None:
    """Q6: a job that kills its worker is dead after three deaths; jobs beside it are worked."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        beside = [await lab.hold.enqueue(n) for n in range(4)]
        poison = await lab.poison.enqueue()
        helper = asyncio.create_task(_let_go(lab, {f"began {n}": 3 for n in range(4)}))
        nursery.worker(url, lab.name, mutation=mutation)
        for deaths in range(1, 4):
            await lab.until(*["began poison"] * deaths)
            nursery.worker(url, lab.name, mutation=mutation)
        async with asyncio.timeout(SOON):
            while (await poison.info()).state != "dead":
                await asyncio.sleep(0.02)
        assert [await job.result(SOON) for job in beside] == [0, 1, 2, 3]
        await helper
        assert (await lab.journal()).count("began poison") == 3
        with pytest.raises(JobFailed, match="WorkerDied"):
            await poison.result(SOON)


async def _let_go(lab: Lab, begun: dict[str, int]) -> None:
    """Let each job that holds end, a moment after it has begun for the nth time."""
    while begun:
        await asyncio.sleep(0.15)
        journal = await lab.journal()
        for word in [word for word, times in begun.items() if journal.count(word) >= times]:
            del begun[word]
            await lab.redis.rpush(f"{lab.name}:go:{word.partition(' ')[2]}", "")


async def on_time(url: str) -> None:
    """Q7: nothing begins before its time, and an idle worker begins it within 100 ms, without polling."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        begun: dict[int, float] = {}

        @lab.queue.task
        async def clock(n: int) -> None:
            begun[n] = time.monotonic()

        async with lab.working(1):
            await lab.quick.enqueue(0)
            await lab.at_rest()
            asked = {}
            for n, delay in enumerate((0.35, 0.1, 0.2)):  # the second and third come before what is known
                asked[n] = time.monotonic() + delay
                await clock.options(delay=delay).enqueue(n)
            calls = _calls(await redis.info("commandstats"))
            async with asyncio.timeout(SOON):
                while len(begun) < 3:
                    await asyncio.sleep(0.01)
            calls = _calls(await redis.info("commandstats")) - calls
            late = [begun[n] - asked[n] for n in asked]
            assert min(late) >= -0.002, "it began before its time"
            assert sorted(late)[1] < 0.1, late
            assert calls < 30, "it polls"


def _calls(stats: Any) -> int:
    return int(stats["cmdstat_evalsha"]["calls"])


async def many_due(url: str, count: int = 2000) -> None:
    """Q7: of many jobs that are due at once, one script moves a hundred."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        books = lab.queue.books
        await lab.note.options(delay=0.001).enqueue(1)
        await redis.zadd(f"{books.root}delayed", {f"n{n}": 1 for n in range(count)})
        await asyncio.sleep(0.002)
        assert await _take(books, 0, "a") == []
        assert (await lab.queue.counts()).waiting <= 100
        assert (await lab.queue.counts()).delayed >= count - 100


async def unique_ends(url: str) -> None:
    """Q8: unique lasts from the enqueue to the end of the job, whichever end that is."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        books = lab.queue.books
        once = lab.ends.options(unique="u")

        async def taken() -> Taken:
            (found,) = await _take(books, 5, os.urandom(4).hex())
            return found

        for outcome in ("done", "dead", "cancelled"):
            first = await once.enqueue(outcome)
            assert (await once.enqueue("again")).id == first.id
            job = await taken()
            assert (await once.enqueue("again")).id == first.id, "while it runs"
            await books.settle([(job.id, job.token, "again", b"{}", 0)])
            assert (await once.enqueue("again")).id == first.id, "while it is retried"
            job = await taken()
            await books.settle([(job.id, job.token, outcome, b"{}", 0)])
            assert not await redis.exists(f"{books.root}unique"), outcome
            second = await once.enqueue("next")
            assert second.id != first.id, outcome
            assert await second.cancel()
            third = await once.enqueue("next")
            assert third.id not in (second.id, first.id), "cancelled while it waited"
            await lab.queue.purge()
        first = await once.enqueue("purged")
        await lab.queue.purge()
        assert (await once.enqueue("next")).id != first.id, "purged"
        await redis.flushall()
        assert (await once.enqueue("next")).id != first.id, "flushed"
        for _ in range(3):
            job = await taken()
            await books.renew([(job.id, job.token, 0)])
            await asyncio.sleep(0.002)
            await books.tend()
        assert (await once.enqueue("next")).id != job.id, "killed"
        await lab.queue.purge()
        first = await once.enqueue("replaced")
        second = await lab.ends.options(unique="u", on_duplicate="replace").enqueue("by this")
        assert second.id != first.id
        assert (await first.info()).state == "cancelled", "replaced"
        assert await redis.ttl(f"{books.root}job:{first.id}") == -1, "while its id is in line"
        job = await taken()
        assert await redis.ttl(f"{books.root}job:{first.id}") > 0
        assert job.id == second.id, "the replaced one is not worked"
        third = await lab.ends.options(unique="u", on_duplicate="replace").enqueue("one that runs goes on")
        await books.settle([(job.id, job.token, "done", b"1", 0)])
        assert (await once.enqueue("kept")).id == third.id, "the end of the older one leaves it alone"
        await lab.queue.purge()
        assert await lab.keys_without_owner() == []


async def told(url: str) -> None:
    """Q10: result or failure reaches every waiter, also one who asks after the end; none waits for ever."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh(), lease=60)
        early = await lab.ends.enqueue("early")
        waiters = [asyncio.create_task(early.result(SOON)) for _ in range(5)]
        fails = await lab.ends.enqueue("fails")
        failing = asyncio.create_task(fails.result(SOON))
        gone = await lab.ends.options(delay=60).enqueue("gone")
        going = asyncio.create_task(gone.result(SOON))
        await asyncio.sleep(0.05)
        async with lab.working(grace=0.1):
            assert await asyncio.gather(*waiters) == ["early"] * 5
            assert await early.result(SOON) == "early"
            assert await lab.queue.job(early.id).result(SOON) == "early"
            result: Callable[[], Awaitable[object]]
            for result in (lambda: failing, lambda: fails.result(SOON)):
                with pytest.raises(JobFailed, match=f"job {fails.id} .ends. failed: ValueError: it fails") as failed:
                    await result()
                assert (failed.value.type, failed.value.reason) == ("ValueError", "it fails")
            assert await lab.queue.purge("delayed") == 1
            for result in (lambda: going, lambda: gone.result(SOON), lambda: lab.queue.job("never").result(SOON)):
                with pytest.raises(JobGone):
                    await result()
            hold = await lab.hold.enqueue(1)
            await lab.until("began 1")
            holding = asyncio.create_task(hold.result(SOON))
            await asyncio.sleep(0.05)
            assert await hold.cancel()
            for result in (lambda: holding, lambda: hold.result(SOON)):
                with pytest.raises(JobCancelled):
                    await result()
            assert await hold.cancel(), "it is"
            assert not await early.cancel()
            assert not await gone.cancel()


async def told_after_a_gap(server: Server) -> None:
    """Q10: a word that falls into a gap of the subscription is read in the books."""
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as far, Client(server.url) as redis:
        lab = Lab(redis, fresh())
        (job,) = [Lab(far, lab.name).queue.job((await lab.quick.enqueue(1)).id)]
        waiting = asyncio.create_task(job.result(SOON))
        async with asyncio.timeout(SOON):
            while not await redis.pubsub_numsub(lab.queue.books.done) or not await redis.hexists(
                f"{lab.queue.books.root}job:{job.id}", "waited"
            ):
                await asyncio.sleep(0.01)
        proxy.refuse()
        proxy.cut()
        async with lab.working():
            await lab.at_rest()
        proxy.accept()
        assert await waiting == 1


async def to_the_dead_letters(url: str) -> None:
    """Q12: unknown functions and payloads that do not fit go to the dead letters, and a lost payload, too."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        books = lab.queue.books
        await books.enqueue("unknown", function="nobody", payload=b"[[],{}]")
        await books.enqueue("pickled", function="note", payload=b"\x80\x04\x95secret.")
        await books.enqueue("few", function="note", payload=b"[[],{}]")
        await books.enqueue("type", function="note", payload=b'[["secret"],{}]')
        await books.enqueue("evicted", function="note", payload=b"[[1],{}]")
        await redis.delete(f"{books.root}job:evicted")
        async with lab.working():
            await lab.at_rest()
        dead = {job.id: job.error or "" async for job in lab.queue.dead()}
        assert {id: error.partition(":")[0] for id, error in dead.items()} == {
            "unknown": "UnknownTask",
            **dict.fromkeys(("pickled", "few", "type"), "DecodeError"),
            "evicted": "PayloadLost",
        }
        assert "secret" not in str(dead)
        assert not await lab.queue.revive("evicted")
        assert await lab.queue.revive("few")
        assert await lab.queue.revive("few"), "sent twice"
        assert (await lab.queue.counts()).waiting == 1


async def cut_at_each_byte(server: Server, step: int = 193, most: int = 4000) -> None:
    """C2: wherever a connection ends, in the middle of whichever reply, each job is worked once."""
    async with Proxy(server.host, server.port) as proxy, Client(server.url) as aside:
        for offset in range(0, most, step):
            proxy.cut_after(offset)
            async with Client(proxy.url) as redis:
                lab = Lab(redis, fresh(), lease=15, aside=aside)
                jobs = [await lab.quick.enqueue(n) for n in range(6)]
                jobs += [await lab.quick.options(delay=0.01, unique="u").enqueue(6)]
                async with lab.working(3):
                    fails = await lab.ends.enqueue("fails once")
                    assert [await job.result(SOON) for job in jobs] == list(range(7)), offset
                    assert await fails.result(SOON) == "fails once"
                assert lab.ran == dict.fromkeys(range(7), 1), offset
                assert Counter(await lab.journal()) == {"fails once 1": 1, "fails once 2": 1}, offset
                assert await lab.keys_without_owner() == []
            proxy.heal()


async def replies_lost(server: Server) -> None:
    """C2: a script whose reply is lost is sent again by itself, and has the outcome of once."""
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, retry=Retry(20, base=0.001)) as redis:
        lab = Lab(redis, fresh())
        books = lab.queue.books

        async def lost(call: Callable[[], Awaitable[Any]]) -> Any:
            await redis.ping()
            cuts = proxy.cuts
            proxy.cut_after(0, "down")
            found = await call()
            assert proxy.cuts > cuts
            return found

        for _ in range(2):  # the server is asked for the scripts no more
            await books.enqueue("first", function="note", payload=b"[[1],{}]")
            assert await _take(books, 0, "a") == []
            assert await books.settle([]) == []
        for n in range(3):
            await lost(lambda n=n: lab.note.enqueue(n))  # type: ignore[misc]
        assert (await lab.queue.counts()).waiting == 4
        jobs: list[Taken] = await lost(lambda: _take(books, 3, "a"))
        assert len(jobs) == 3
        assert (await lab.queue.counts()).waiting == 1
        for job in jobs:
            assert await lost(lambda job=job: books.settle([(job.id, job.token, "again", b"{}", 0)])) == []  # type: ignore[misc]
        counts = await lab.queue.counts()
        assert (counts.waiting, counts.running) == (4, 0)


async def each_script_twice(url: str) -> None:
    """C2: each script, sent again with the same arguments, has the same outcome."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        books = lab.queue.books
        ids = [(await lab.note.enqueue(n)).id for n in range(7)]

        async def twice(call: Any) -> Any:
            first, before = await call(), await _dump(lab)
            assert await call() == first
            assert await _dump(lab) == before
            return first

        _, jobs = await twice(lambda: books.take(5, "w.1", "w", 15_000, True))
        assert [job.id for job in jobs] == ids[:5]
        assert [job.attempt for job in jobs] == [1] * 5
        _, more = await twice(lambda: books.take(5, "w.2", "w", 15_000, True))
        assert [job.id for job in more] == ids[5:]
        outcomes = ("done", "again", "back", "dead", "cancelled")
        for job, outcome in zip(jobs, outcomes, strict=True):
            assert await twice(lambda o=outcome, j=job: books.settle([(j.id, j.token, o, b"{}", 0)])) == []
        assert (await lab.queue.counts()).waiting == 2
        assert await twice(lambda: books.revive(jobs[3].id)) is True
        assert (await lab.queue.counts()).waiting == 3


async def _dump(lab: Lab) -> dict[str, Any]:
    """Return the books, without what only counts."""
    root = lab.queue.books.root
    found: dict[str, Any] = {}
    async for key in lab.redis.scan_iter(match=f"{root}*"):
        kind = await lab.redis.type(key)
        if kind == "list":
            found[key] = await lab.redis.lrange(key, 0, -1)
        elif kind == "zset" and not key.endswith("leases"):
            found[key] = await lab.redis.zrange(key, 0, -1)
        elif kind == "hash":
            found[key] = await lab.redis.hgetall(key)
    return found


async def cancelled_at_each_turn(url: str, most: int = 45) -> None:
    """C3 and Q4: a worker cancelled after k turns of the loop gives back what it has; no job is done twice or lost."""
    async with Client(url) as redis:
        for turns in range(most):
            lab = Lab(redis, fresh(), lease=15)
            jobs = [await lab.quick.enqueue(n) for n in range(3)]
            held = await lab.hold.enqueue(1)
            async with lab.queue.worker(concurrency=4) as worker:
                run = asyncio.create_task(worker.run())
                for _ in range(turns):
                    await asyncio.sleep(0)
                run.cancel()
                await asyncio.wait({run})
            counts = await lab.queue.counts()
            assert counts.running == 0, turns
            assert counts.waiting == 4 - lab.ran.total(), turns
            assert (await held.info()).attempts == 0, turns
            await lab.redis.rpush(f"{lab.name}:go:1", "")
            async with lab.working():
                assert [await job.result(SOON) for job in [*jobs, held]] == [0, 1, 2, 1]
            assert lab.ran == dict.fromkeys(range(3), 1), turns


async def enqueue_cancelled_at_each_turn(url: str, most: int = 25) -> None:
    """C3: an enqueue that is cancelled is a whole job or none; a wait that is cancelled leaves nothing behind."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        for turns in range(most):
            task = asyncio.create_task(lab.quick.options(id=f"i{turns}", unique=f"u{turns}").enqueue(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        job = await lab.hold.options(delay=60).enqueue(1)
        for turns in range(most):
            waiting = asyncio.create_task(job.result())
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
            assert waiting.cancelled()
        assert await job.cancel()
        async with lab.working():
            await lab.at_rest()
        # Which of them are in the queue is asked after the work: a cancelled call may be on its way until then.
        there = [n for n in range(most) if await redis.exists(f"{lab.queue.books.root}job:i{n}")]
        assert lab.ran == dict.fromkeys(there, 1)
        assert await lab.keys_without_owner() == []


async def other_clocks(url: str, nursery: Nursery, mutation: Mutation | str | None) -> None:
    """C1: workers whose clocks are an hour off work beside right ones, and nothing changes.

    What a worker itself enqueues with a delay begins in time, too.
    """
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        for clock in (3600.0, -3600.0, 0.0):
            nursery.worker(url, lab.name, clock=clock, mutation=mutation)
        await _waiting(redis, 3)
        held = await lab.hold.enqueue(1)
        late = await lab.note.options(delay=60).enqueue(9)
        jobs = [await lab.note.options(delay=0.05 * n).enqueue(n) for n in range(4)]
        relayed = range(10, 10 + RELAYS)
        for n in relayed:
            await lab.relay.enqueue(n)
        assert [await job.result(SOON) for job in jobs] == list(range(4))
        await lab.until("began 1", *(f"note {n}" for n in relayed), seconds=SOON)
        await asyncio.sleep(0.7)  # longer than a lease
        await lab.redis.rpush(f"{lab.name}:go:1", "")
        assert await held.result(SOON) == 1
        assert (await held.info()).attempts == 1
        assert (await late.info()).state == "delayed"


async def _waiting(redis: Client[Any], workers: int) -> None:
    """Wait until so many workers wait for a word."""
    async with asyncio.timeout(SOON):
        while (await redis.info("clients"))["blocked_clients"] < workers:
            await asyncio.sleep(0.02)


async def blocked_loop(url: str, nursery: Nursery, mutation: Mutation | str | None, *, timeout: float = 30.0) -> None:
    """Q3: a job that blocks the loop of its worker keeps its lease, up to its timeout; then another begins it."""
    async with Client(url) as redis:
        lab = Lab(redis, fresh())
        for _ in range(2):
            nursery.worker(url, lab.name, timeout=timeout, mutation=mutation)
        await _waiting(redis, 2)
        await lab.hog.enqueue(1.5)
        journal = await lab.until("ended hog")
        began = journal[: journal.index("ended hog")].count("began hog")
        assert began == 1 if timeout > 2 else began > 1


async def hung_until_its_timeout(url: str, nursery: Nursery, mutation: Mutation | str | None) -> None:
    """Q3: the lease of a job that blocks its loop ends with its timeout."""
    await blocked_loop(url, nursery, mutation, timeout=0.2)


async def survives(server: Server) -> None:
    """Q1 and Q11: a worker goes on after FLUSHALL, CLIENT KILL, a restart and kill -9; with AOF no job is lost."""
    # The worker's calls are not patient, the worker itself has to be.
    async with Client(server.url) as redis, Client(server.url, timeout=0.25) as hasty:
        lab = Lab(redis, fresh(), lease=5)
        works = Lab(hasty, lab.name, lease=5, aside=redis)
        async with works.working(2):
            assert await (await lab.quick.enqueue(0)).result(SOON) == 0
            await redis.flushall()
            assert await (await lab.quick.enqueue(1)).result(SOON) == 1
            for kind in ("normal", "pubsub"):
                await redis.client_kill_filter(_type=kind)
            assert await (await lab.quick.enqueue(2)).result(SOON) == 2
            held = await lab.hold.enqueue(1)
            await lab.until("began 1")
            late = [await lab.quick.options(delay=0.3).enqueue(n) for n in range(3, 6)]
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(0.6)
            await asyncio.to_thread(server.start)
            assert [await job.result(SOON) for job in late] == [3, 4, 5]
            await lab.redis.rpush(f"{lab.name}:go:1", "")
            assert await held.result(SOON) == 1
            assert (await lab.journal()).count("began 1") == 1, "its lease has outlived the restart"
        assert works.ran == dict.fromkeys(range(6), 1)
        assert await lab.keys_without_owner() == []
