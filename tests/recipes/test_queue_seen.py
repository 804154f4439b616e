"""What is seen of jobs: log lines, events, spans, and what `drain()` runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from aioresp import Client
from aioresp.errors import ArgumentTypeError
from aioresp.otel import JobTracing
from aioresp.recipes import (
    Again,
    Counts,
    Discard,
    JobCancelled,
    JobDead,
    JobEvent,
    JobFailed,
    JobFinished,
    JobGivenBack,
    JobRetried,
    JobStarted,
    JobStopped,
    Queue,
    Snooze,
    running,
)
from aioresp.testing import Server


@pytest.fixture
async def r(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture
async def bytes_of_resp2(server: Server) -> AsyncIterator[Client[bytes]]:
    async with Client(server.url, protocol=2, decode_responses=False) as client:
        yield client


def make(r: Client[Any], hook: Callable[[JobEvent], object] | None = None, middleware: Any = None) -> Queue:
    queue = Queue(r, f"seen-{os.urandom(4).hex()}", events=hook, middleware=middleware)

    @queue.task(retries=1)
    async def ends(how: str) -> str:
        first = running().attempt == 1
        if how == "fails" or (how == "fails once" and first):
            raise ValueError("secret message")
        if how == "again" and first:
            raise Again(delay=5)
        if how == "gives up":
            raise Discard("no use")
        if how == "snoozes" and first and await r.set(queue.name, "", nx=True, px=9000):
            raise Snooze(60)
        if how == "waits":
            await asyncio.sleep(60)
        return "secret result"

    return queue


async def enqueue(queue: Queue, how: str) -> Any:
    return await queue.tasks["ends"].enqueue(how)


# --- Events and log lines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "expected", "said"),
    [
        ("works", [JobStarted, JobFinished], ["DEBUG 1 starts", "INFO 1 done in"]),
        (
            "fails",
            [JobStarted, JobRetried, JobStarted, JobDead],
            ["DEBUG 1 starts", "WARNING 1 failed in", "DEBUG 2 starts", "ERROR 2 failed in"],
        ),
        (
            "again",
            [JobStarted, JobRetried, JobStarted, JobFinished],
            ["DEBUG 1 starts", "WARNING 1 failed in", "DEBUG 2 starts", "INFO 2 done in"],
        ),
        ("gives up", [JobStarted, JobDead], ["DEBUG 1 starts", "ERROR 1 failed in"]),
        (
            "snoozes",
            [JobStarted, JobGivenBack, JobStarted, JobFinished],
            ["DEBUG 1 starts", "INFO 1 given back", "DEBUG 1 starts", "INFO 1 done in"],
        ),
    ],
)
async def test_each_start_and_end(
    r: Client[str], how: str, expected: list[type[JobEvent]], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "aioresp")
    events: list[JobEvent] = []
    queue = make(r, events.append)
    job = await enqueue(queue, how)
    await queue.drain(delayed=True)
    assert [type(event) for event in events] == expected
    assert {(event.queue, event.id, event.task) for event in events} == {(queue.name, job.id, "ends")}
    lines = [record for record in caplog.records if record.msg.startswith("job ")]
    starts = [f"job {job.id} ends(): attempt {line.partition(' ')[2]}" for line in said]
    assert [record.levelname for record in lines] == [line.partition(" ")[0] for line in said]
    for record, start in zip(lines, starts, strict=True):
        assert record.getMessage().startswith(start)
        assert how not in record.getMessage().partition("attempt")[2].replace("failed", "")
        assert "secret" not in record.getMessage()


async def test_a_retry_tells_its_pause_and_its_error(r: Client[str]) -> None:
    events: list[Any] = []
    queue = make(r, events.append)
    await enqueue(queue, "again")
    await enqueue(queue, "fails")
    await queue.drain()
    again, fails = (event for event in events if isinstance(event, JobRetried))
    assert (again.attempt, again.pause, type(again.error)) == (1, 5.0, Again)
    assert (type(fails.error), str(fails.error)) == (ValueError, "secret message")
    assert 0.5 <= fails.pause <= 1.0
    assert 0 <= fails.seconds < 5


async def test_a_job_that_is_cancelled_or_given_back(r: Client[str]) -> None:
    events: list[JobEvent] = []
    queue = make(r, events.append)
    for end in ("cancel", "stop"):
        job = await enqueue(queue, "waits")
        async with queue.worker(grace=0) as worker:
            run = asyncio.create_task(worker.run())
            async with asyncio.timeout(5):
                while not events:
                    await asyncio.sleep(0.005)
                if end == "cancel":
                    await job.cancel()
                    with pytest.raises(JobCancelled):
                        await job.result()
            worker.stop()
            await run
        assert [type(event) for event in events] == [JobStarted, JobStopped if end == "cancel" else JobGivenBack]
        events.clear()
    await queue.purge()


async def test_jobs_that_no_function_fits(r: Client[str], caplog: pytest.LogCaptureFixture) -> None:
    events: list[Any] = []
    queue = make(r, events.append)
    other = Queue(r, queue.name)

    @other.task
    async def unknown(secret: str) -> None: ...

    @other.task(name="ends")
    async def ends(n: int) -> None: ...

    await unknown.enqueue("secret")
    await ends.enqueue(5)
    await queue.drain()
    assert [(type(event), event.error) for event in events] == [(JobDead, None)] * 2
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "UnknownTask: the worker knows no task named unknown" in errors[0]
    assert "DecodeError: the argument how of ends does not fit its type" in errors[1]
    assert "secret" not in "".join(errors)
    await queue.purge()


async def test_a_hook_that_fails_harms_nobody(r: Client[str], caplog: pytest.LogCaptureFixture) -> None:
    queue = make(r, lambda event: 1 / 0)
    job = await enqueue(queue, "works")
    assert await queue.drain() == 1
    assert await job.result() == "secret result"
    assert "the hook `events` of the queue raised an error" in caplog.text


def test_a_hook_that_is_none(r: Client[str]) -> None:
    with pytest.raises(ArgumentTypeError, match="events is int, not a function"):
        make(r, 5)  # type: ignore[arg-type]


# --- Spans ------------------------------------------------------------------------------------------------------------


class Collected:
    """What the SDK collected of a queue's jobs."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider([self._reader])
        self.tracer = provider.get_tracer("test")
        self.middleware = JobTracing(tracer_provider=provider, meter_provider=meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def points(self) -> list[Any]:
        data: Any = self._reader.get_metrics_data()
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("messaging.process.duration", "s")
        return list(metric.data.data_points)


def context(span: ReadableSpan) -> SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found


async def test_the_span_of_a_run_is_linked_to_that_of_its_enqueue(r: Client[str]) -> None:
    collected = Collected()
    queue = make(r, middleware=collected.middleware)
    job = await enqueue(queue, "works")
    await queue.drain()
    send, run = collected.spans
    common = {
        "messaging.system": "redis",
        "messaging.destination.name": queue.name,
        "messaging.message.id": job.id,
        "aioresp.job.task": "ends",
    }
    assert (send.name, send.kind) == (f"enqueue {queue.name}", SpanKind.PRODUCER)
    sent = {"messaging.operation.name": "enqueue", "messaging.operation.type": "send"}
    assert dict(send.attributes or {}) == {**common, **sent}
    assert (run.name, run.kind) == (f"run {queue.name}", SpanKind.CONSUMER)
    processed = {"messaging.operation.name": "run", "messaging.operation.type": "process", "aioresp.job.attempt": 1}
    assert dict(run.attributes or {}) == {**common, **processed}
    assert [link.context.span_id for link in run.links] == [context(send).span_id]
    assert run.parent is None
    assert context(run).trace_id != context(send).trace_id
    assert {span.status.status_code for span in (send, run)} == {StatusCode.UNSET}
    assert "secret" not in send.to_json() + run.to_json()


async def test_headers_under_resp2(bytes_of_resp2: Client[bytes]) -> None:
    collected = Collected(follow=True)
    queue = make(bytes_of_resp2, middleware=collected.middleware)
    await enqueue(queue, "works")
    assert await queue.drain() == 1
    send, run = collected.spans
    assert context(send).trace_id == context(run).trace_id


async def test_a_trace_that_follows_the_job(r: Client[str]) -> None:
    collected = Collected(follow=True)
    queue = make(r, middleware=collected.middleware)
    with collected.tracer.start_as_current_span("request") as request:
        await enqueue(queue, "works")
    await queue.drain()
    _, send, run = sorted(collected.spans, key=lambda span: span.name != "request")
    assert request.get_span_context().trace_id == context(send).trace_id == context(run).trace_id
    assert run.parent is not None
    assert run.parent.span_id == context(send).span_id


async def test_the_span_of_a_failure_names_its_type(r: Client[str]) -> None:
    collected = Collected()
    queue = make(r, middleware=collected.middleware)
    await enqueue(queue, "fails")
    await queue.drain(delayed=True)
    _, *runs = collected.spans
    assert [dict(run.attributes or {})["aioresp.job.attempt"] for run in runs] == [1, 2]
    for run in runs:
        assert dict(run.attributes or {})["error.type"] == "ValueError"
        assert run.status.status_code is StatusCode.ERROR
        assert not run.events, "an exception's message may show arguments"
    (point,) = collected.points
    assert (point.count, point.attributes["error.type"]) == (2, "ValueError")
    assert "messaging.message.id" not in point.attributes
    await queue.purge()


async def test_headers_of_a_stranger_do_no_harm(r: Client[str]) -> None:
    collected = Collected()
    queue = make(r, middleware=collected.middleware)
    for headers in ("", "nonsense", "[1]", '{"traceparent": "00-zz"}'):
        job = await enqueue(queue, "works")
        await r.hset(f"{{{queue.name}}}:job:{job.id}", "headers", headers)
        await queue.drain()
        assert await job.result() == "secret result"


# --- Draining ---------------------------------------------------------------------------------------------------------


async def test_drain_runs_what_waits_and_what_that_enqueues(r: Client[str]) -> None:
    queue = make(r)
    ran: list[int] = []

    @queue.task
    async def count(n: int) -> None:
        ran.append(n)
        if n:
            await count.enqueue(n - 1)

    await count.enqueue(5)
    await count.options(delay=60).enqueue(0)
    assert await queue.drain() == 6
    assert ran == [5, 4, 3, 2, 1, 0]
    assert await queue.counts() == Counts(0, 1, 0, 0)
    assert await queue.drain() == 0
    assert await queue.drain(delayed=True) == 1
    assert await queue.counts() == Counts(0, 0, 0, 0)


async def test_drain_does_not_wait_between_attempts(r: Client[str]) -> None:
    queue = make(r)
    once, dead = await enqueue(queue, "fails once"), await enqueue(queue, "fails")
    assert await queue.drain() == 2
    assert await queue.counts() == Counts(0, 2, 0, 0)
    assert await queue.drain(delayed=True) == 2
    assert await once.result() == "secret result"
    with pytest.raises(JobFailed):
        await dead.result()
    await queue.purge()


async def test_drain_works_a_thousand(r: Client[str], no_debug: None) -> None:
    queue = make(r)
    async with asyncio.TaskGroup() as group:
        for n in range(1000):
            group.create_task(queue.tasks["ends"].options(delay=n % 2 * 60).enqueue("works"))
    assert await queue.drain(delayed=True, concurrency=20) == 1000
