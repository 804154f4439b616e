"""The queue as its users see it: tasks, options, ends of jobs, workers, and errors of wrong use."""

from __future__ import annotations

import asyncio
import logging
import pickle
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import anyio
import pytest

from aioresp import ArgumentError, ArgumentTypeError, Client
from aioresp.recipes import JobFailed, JobGone, Queue, running
from aioresp.testing import Server
from tests.recipes.queue_kit import SOON, Lab
from tests.recipes.queue_laws import fresh


@pytest.fixture
def lab(r: Client[str]) -> Lab:
    """A queue, under RESP3 and RESP2."""
    return Lab(r, fresh())


@dataclass
class Point:
    x: int
    y: float


@pytest.mark.quick
async def test_a_job_from_enqueue_to_result(lab: Lab) -> None:
    @lab.queue.task(retries=0, priority=1)
    async def move(point: Point, *, by: timedelta, tags: list[bytes] | None = None) -> Point:
        assert isinstance(point, Point)
        assert isinstance(by, timedelta)
        return Point(point.x + by.seconds, point.y)

    job = await move.enqueue(Point(1, 0.5), by=timedelta(seconds=2), tags=[b"\xff"])
    info = await job.info()
    assert (info.state, info.function, info.attempts, info.priority, info.error) == ("waiting", "move", 0, 1, None)
    assert abs(info.enqueued_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await move(Point(0, 0), by=timedelta(seconds=1)) == Point(1, 0)
    async with lab.working():
        assert await job.result(SOON) == Point(3, 0.5)
    assert await lab.queue.job(job.id).result(SOON) == Point(3, 0.5)
    info = await job.info()
    assert (info.state, info.attempts) == ("done", 1)
    assert info.ended_at is not None
    assert info.ended_at >= info.enqueued_at
    assert await lab.keys_without_owner() == []


@pytest.mark.parametrize(
    ("how", "attempts", "is_dead"),
    [
        ("works", [1], False),
        ("fails", [1, 2, 3], True),
        ("fails once", [1, 2], False),
        ("again", [1, 2], False),
        ("snoozes", [1, 1, 1], False),
        ("gives up", [1], True),
        ("cancels itself", [1, 2, 3], True),
    ],
)
async def test_ends_of_jobs(lab: Lab, how: str, attempts: list[int], is_dead: bool) -> None:
    job = await lab.ends.enqueue(how)
    async with lab.working():
        if is_dead:
            with pytest.raises(JobFailed):
                await job.result(SOON)
        else:
            assert await job.result(SOON) == how
        await lab.at_rest()
    assert await lab.journal() == [f"{how} {attempt}" for attempt in attempts]
    assert [dead.id async for dead in lab.queue.dead()] == ([job.id] if is_dead else [])
    assert (await job.info()).attempts == attempts[-1]


async def test_a_job_past_its_timeout_has_failed(lab: Lab) -> None:
    ended = []

    @lab.queue.task(timeout=0.05, retries=1, backoff=(0, 0))
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(running().attempt)

    @lab.queue.task(timeout=60)
    async def slower() -> None:
        await asyncio.sleep(0.3)

    async with lab.working():
        others = [await slower.enqueue() for _ in range(2)]
        job = await slow.enqueue()
        with pytest.raises(JobFailed, match=r"TimeoutError: its timeout of 0.05 s passed"):
            await job.result(SOON)
        for other in others:
            await other.result(SOON)
    assert ended == [1, 2]


async def test_priorities_and_order(lab: Lab) -> None:
    begun = []

    @lab.queue.task
    async def begin(n: int) -> None:
        begun.append(n)

    for n, priority in enumerate((0, -2, 2, 0, 1, -1, 2)):
        await begin.options(priority=priority, delay=0.001 if n == 6 else None).enqueue(n)
    await asyncio.sleep(0.005)
    async with lab.working(1):
        await lab.at_rest()
    assert begun == [2, 6, 4, 0, 3, 5, 1]


async def test_many_workers_share_what_waits(lab: Lab) -> None:
    """A word wakes one worker, which wakes the next while jobs are left."""
    running_now = most = 0

    @lab.queue.task
    async def share() -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0.1)
        running_now -= 1

    async with lab.working(2), lab.working(2), lab.working(2):
        await asyncio.sleep(0.05)
        for job in [await share.enqueue() for _ in range(6)]:
            await job.result(SOON)
    assert most == 6


async def test_at_and_delay(lab: Lab) -> None:
    job = await lab.quick.options(at=datetime.now(UTC) + timedelta(hours=1)).enqueue(1)
    info = await job.info()
    assert info.state == "delayed"
    assert info.due_at is not None
    assert timedelta(minutes=50) < info.due_at - info.enqueued_at < timedelta(minutes=70)
    past = await lab.quick.options(at=datetime(2000, 1, 1, tzinfo=UTC)).enqueue(2)
    assert (await past.info()).state == "waiting"
    assert (await lab.queue.counts()) == type(await lab.queue.counts())(waiting=1, delayed=1, running=0, dead=0)
    assert await job.cancel()
    assert (await job.info()).state == "cancelled"


async def test_revive_and_purge(lab: Lab) -> None:
    job = await lab.ends.options(unique="u").enqueue("gives up")
    async with lab.working():
        with pytest.raises(JobFailed):
            await job.result(SOON)
        (dead,) = [each async for each in lab.queue.dead()]
        assert (dead.id, dead.error, dead.unique) == (job.id, "Discard: no use", "u")
        assert await lab.queue.revive(job.id)
        with pytest.raises(JobFailed):
            await job.result(SOON)
        assert not await lab.queue.revive("unknown")
    assert len(await lab.journal()) == 2
    await lab.quick.enqueue(1)
    await lab.quick.options(delay=60).enqueue(1)
    assert await lab.queue.purge("waiting", "dead") == 2
    with pytest.raises(JobGone):
        await job.info()
    assert await lab.queue.purge() == 1
    with pytest.raises(ArgumentError, match="purge"):
        await lab.queue.purge("running")  # type: ignore[arg-type]


async def test_nothing_of_a_caller_stays_in_a_job(lab: Lab) -> None:
    """A job runs in a fresh context, and sees itself alone."""
    colour: ContextVar[str] = ContextVar("colour", default="none")
    seen = []

    @lab.queue.task
    async def look() -> None:
        seen.append((colour.get(), running().function, running().queue))
        colour.set("blue")

    colour.set("red")
    async with lab.working():
        for _ in range(2):
            await (await look.enqueue()).result(SOON)
    assert seen == [("none", "look", lab.name)] * 2
    with pytest.raises(LookupError, match="functions of jobs"):
        running()


async def test_results_are_kept_as_long_as_was_said(lab: Lab) -> None:
    @lab.queue.task(keep_result=0)
    async def forgets() -> int:
        return 5

    async with lab.working():
        job = await forgets.options(id="i").enqueue()
        with pytest.raises(JobGone, match="keeps no result"):
            await job.result(SOON)
        assert (await forgets.options(id="i").enqueue()).id == "i"
    assert 0 < await lab.redis.ttl(f"{lab.queue.books.root}job:i") <= 30


async def test_a_result_that_does_not_come_in_time(lab: Lab) -> None:
    job = await lab.quick.enqueue(1)
    with pytest.raises(TimeoutError):
        await job.result(timeout=0.02)
    with pytest.raises(TimeoutError):
        await job.result(timeout=timedelta(milliseconds=20))
    assert (await job.info()).state == "waiting"


async def test_stop_waits_for_what_runs_and_gives_back_the_rest(r: Client[str]) -> None:
    lab = Lab(r, fresh(), lease=30)  # which a busy machine does not let end
    jobs = [await lab.hold.enqueue(n) for n in range(3)]
    async with lab.queue.worker(concurrency=2, grace=0.3) as worker:
        run = asyncio.create_task(worker.run())
        await lab.until("began 0", "began 1")
        await lab.redis.rpush(f"{lab.name}:go:0", "")
        worker.stop()
        await asyncio.wait_for(run, SOON)
    assert await jobs[0].result(SOON) == 0
    infos = [await job.info() for job in jobs]
    assert [(info.state, info.attempts) for info in infos] == [("done", 1), ("waiting", 0), ("waiting", 0)]
    with pytest.raises(RuntimeError, match="a worker runs once"):
        await worker.run()


async def test_a_worker_ends_although_its_server_is_away(server: Server, r: Client[str]) -> None:
    async with Client(server.url, connect_timeout=0.2, timeout=0.3) as redis:
        lab = Lab(redis, fresh(), aside=r)
        async with lab.queue.worker(concurrency=1, grace=0.1) as worker:
            run = asyncio.create_task(worker.run())
            await lab.hold.enqueue(1)
            await lab.until("began 1")
            await lab.redis.client_pause(3000, all=False)
            worker.stop()
            await asyncio.wait_for(run, SOON)
        await r.client_unpause()


async def test_a_loop_that_ends_gives_back(lab: Lab) -> None:
    """`asyncio.run` cancels all tasks at once: those of the worker, and those of its jobs."""
    job = await lab.hold.enqueue(1)
    async with lab.queue.worker(concurrency=2, grace=5) as worker:
        run = asyncio.create_task(worker.run())
        await lab.until("began 1")
        here = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not here and ("Worker" in repr(task) or "Hand" in repr(task)):
                task.cancel()
        await asyncio.wait({run}, timeout=SOON)
    info = await job.info()
    assert (info.state, info.attempts) == ("waiting", 0)


async def test_within_anyio(lab: Lab) -> None:
    """In a task group of anyio, a cancelled scope ends the worker, which gives back what it has."""
    job = await lab.hold.enqueue(1)
    async with lab.queue.worker() as worker, anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await lab.until("began 1")
        group.cancel_scope.cancel()
    assert (await job.info()).state == "waiting"


@pytest.mark.parametrize("backend", ["asyncio"])
def test_in_the_runner_of_anyio(server: Server, backend: str) -> None:
    async def main() -> None:
        async with Client(server.url) as redis:
            lab = Lab(redis, fresh())
            async with lab.working():
                assert await (await lab.quick.enqueue(3)).result(SOON) == 3

    anyio.run(main, backend=backend)


async def test_a_queue_in_two_loops(server: Server) -> None:
    """One queue, made once, serves the loops of several runs."""
    redis = Client(server.url)
    lab = Lab(redis, fresh())

    async def main() -> int:
        async with lab.working():
            return await (await lab.quick.enqueue(3)).result(SOON)

    for _ in range(2):
        assert await asyncio.to_thread(asyncio.run, main()) == 3
    await redis.aclose()


async def test_a_server_that_may_forget_is_told_of_once(r: Client[str], caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab(r, fresh())
    await r.config_set("maxmemory-policy", "allkeys-lru")
    await r.config_set("maxmemory", "1gb")
    try:
        for _ in range(2):
            async with lab.working():
                await asyncio.sleep(0.1)
    finally:
        await r.config_set("maxmemory", "0")
        await r.config_set("maxmemory-policy", "noeviction")
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING and record.name == "aioresp"]
    said = [record.getMessage() for record in warnings if "the server" in record.getMessage()]
    assert len(said) == 2
    assert "may evict jobs (maxmemory-policy allkeys-lru)" in said[0]
    assert "no AOF" in said[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": -1}, "retries is -1"),
        ({"retries": 1.5}, "retries is float"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": None}, "timeout is NoneType"),
        ({"lease": 0.1}, "lease is 0.1"),
        ({"backoff": (5, 1)}, "backoff"),
        ({"backoff": 5}, "backoff"),
        ({"keep_result": -1}, "keep_result is -1"),
        ({"keep_result": float("nan")}, "keep_result is nan"),
        ({"priority": 3}, "priority is 3"),
        ({"priority": "high"}, "priority is str"),
        ({"name": ""}, "name is empty"),
        ({"name": 5}, "name is int"),
    ],
)
async def test_wrong_options_of_tasks(lab: Lab, options: dict[str, Any], words: str) -> None:
    async def f() -> None: ...

    with pytest.raises(ArgumentError, match=words.replace(".", r"\.")):
        lab.queue.task(**options)(f)
    assert "f" not in lab.queue.tasks


async def test_wrong_tasks(lab: Lab) -> None:
    with pytest.raises(ArgumentTypeError, match="no coroutine function"):

        @lab.queue.task  # type: ignore[arg-type]
        def plain() -> int:
            return 1

    with pytest.raises(ArgumentError, match="has a task named note already"):

        @lab.queue.task
        async def note() -> None: ...

    with pytest.raises(ArgumentTypeError, match="no coroutine function"):
        lab.queue.task(5)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delay": -1}, "delay is -1"),
        ({"delay": "5"}, "delay is str"),
        ({"at": datetime(2030, 1, 1)}, "no time zone"),
        ({"at": 5.0}, "at is float"),
        ({"at": datetime.now(UTC), "delay": 1}, "not both"),
        ({"unique": ""}, "unique is empty"),
        ({"unique": 5}, "unique is int"),
        ({"id": "a b"}, "id has a space"),
        ({"priority": 3}, "priority is 3"),
        ({"on_duplicate": "drop"}, "on_duplicate is 'drop'"),
    ],
)
async def test_wrong_options_of_an_enqueue(lab: Lab, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        lab.quick.options(**options)


async def test_wrong_use(lab: Lab, r: Client[str]) -> None:
    wrong_arguments: tuple[Any, ...] = ((), (1, 2), (object(),))
    for arguments in wrong_arguments:
        with pytest.raises(ArgumentTypeError, match="quick"):
            await lab.quick.enqueue(*arguments)
    assert (await lab.queue.counts()).waiting == 0
    wrong: list[tuple[Any, Any]] = [(5, "q"), (r, 5), (r, ""), (r, "a{b}"), (r, "a b")]
    for redis, name in wrong:
        with pytest.raises(ArgumentError, match=r"Queue\(\)"):
            Queue(redis, name)
    options: list[dict[str, Any]] = [{"concurrency": 0}, {"concurrency": "5"}, {"grace": -1}]
    for each in options:
        with pytest.raises(ArgumentError, match=r"worker\(\): (concurrency|grace)"):
            lab.queue.worker(**each)
    with pytest.raises(ArgumentTypeError, match="id is int"):
        lab.queue.job(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="async with"), lab.queue.worker():  # type: ignore[attr-defined]
        pass


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_client_of_bytes(server: Server, protocol: Literal[2, 3]) -> None:
    async with Client(server.url, decode_responses=False, protocol=protocol) as redis:
        lab = Lab(redis, fresh())
        async with lab.working():
            assert await (await lab.quick.enqueue(3)).result(SOON) == 3


async def test_types_that_cannot_be_used_are_errors_of_the_worker(lab: Lab) -> None:
    """They are found before a job is taken, and a type that refuses its value ends one job, not the worker."""

    @dataclass
    class Odd:
        x: int

        def __post_init__(self) -> None:
            raise LookupError("secret")

    @lab.queue.task
    async def odd(value: Any) -> None: ...

    odd.function.__annotations__["value"] = Odd
    async with lab.working():
        job = await odd.enqueue({"x": 1})
        with pytest.raises(JobFailed, match="DecodeError: the payload of odd was refused by LookupError"):
            await job.result(SOON)
        assert await (await lab.quick.enqueue(1)).result(SOON) == 1

    @lab.queue.task
    async def wrong(value: list[int] | set[int]) -> None: ...

    async with lab.queue.worker() as worker:
        with pytest.raises(ArgumentTypeError, match="cannot be decoded from JSON"):
            await worker.run()


def test_errors_say_no_arguments() -> None:
    error = JobFailed("job i failed", "i", "ValueError", "no")
    assert error.id == "i"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.id, again.type, again.reason) == (str(error), "i", "ValueError", "no")
