"""OpenTelemetry spans and metrics of commands and of jobs. Needs the extra `otel`.

Owns the translation of a command, and of a job of a queue, into spans and metrics, by the conventions for databases and
for messaging. Never shows a key, a value, an argument or a password, only names.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import metrics, propagate, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

from aioresp.command import Arguments, full_name
from aioresp.errors import ResponseError
from aioresp.middleware import Middleware
from aioresp.options import settings
from aioresp.trail import TRAIL, Trail
from aioresp.version import VERSION

#: Histogram boundaries in seconds, from the conventions for the duration of an operation.
BOUNDARIES = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]


#: Commands of a pipeline or transaction from which on it counts as a batch.
BATCH = 2


def tracing(
    url: str | None = None,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    **options: Any,
) -> Middleware:
    """Return a function for `middleware=` that makes a span and records a duration for each call.

    `url` and `options` are those of the client, for the attributes of its server. Where these name several servers, as
    for a cluster or with Sentinel, each span tells the one that has run the call. The providers are the global ones by
    default.
    """
    tracer = trace.get_tracer("aioresp", VERSION, tracer_provider)
    duration = metrics.get_meter("aioresp", VERSION, meter_provider).create_histogram(
        "db.client.operation.duration",
        unit="s",
        description="Duration of database client operations.",
        explicit_bucket_boundaries_advisory=BOUNDARIES,
    )
    where, several = _known(url, options)

    async def middleware(arguments: Arguments, send: Callable[[], Awaitable[Any]]) -> Any:
        name = full_name(arguments)
        attributes = {**where, "db.operation.name": name}
        start = time.perf_counter()
        with tracer.start_as_current_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                if not several:
                    return await send()
                return await _followed(send, span, attributes)
            except BaseException as error:
                # The message is left out because it contains the key.
                attributes["error.type"] = type(error).__qualname__
                if isinstance(error, ResponseError):
                    attributes["db.response.status_code"] = error.code
                span.set_attributes(attributes)
                span.set_status(Status(StatusCode.ERROR))
                raise
            finally:
                duration.record(time.perf_counter() - start, attributes)

    return middleware


def _known(url: str | None, options: dict[str, Any]) -> tuple[dict[str, str | int], bool]:
    """Return the attributes that all spans have, and whether there are several servers."""
    if url is not None and url.partition("://")[0].endswith("+cluster"):
        from aioresp.cluster.seeds import read_seeds  # noqa: PLC0415 (most programs have no cluster)

        found, several = read_seeds(url, options)[0], True  # type: ignore[arg-type]  # checked there
    else:
        found = settings(url, options)  # type: ignore[arg-type]  # checked there
        several = bool(found.seeds)
    endpoint = found.endpoint
    where: dict[str, str | int] = {"db.system.name": "redis", "db.namespace": str(endpoint.db)}
    if several:
        return where, True
    if endpoint.unix_socket_path is not None:
        where |= {"server.address": endpoint.unix_socket_path}
    else:
        where |= {"server.address": endpoint.host, "server.port": endpoint.port}
    return where, False


async def _followed(send: Callable[[], Awaitable[Any]], span: Span, attributes: dict[str, str | int]) -> Any:
    """Send a command, and tell on the span which servers it went to; `attributes` get the one that has run it."""
    trail = Trail()
    before = TRAIL.set(trail)
    try:
        return await send()
    finally:
        try:
            TRAIL.reset(before)
        except ValueError:
            pass  # closed by hand in another context
        places = trail.places
        if len(places) == 1:
            host, port = places[0]
            attributes |= {"server.address": host, "server.port": port}
            span.set_attributes({"server.address": host, "server.port": port, **_peer(trail.peer_of(places[0]))})
        elif places:
            span.set_attribute("aioresp.cluster.nodes", sorted(f"{host}:{port}" for host, port in places))
        if len(trail.slots) == 1:
            span.set_attribute("aioresp.cluster.slot", *trail.slots)
        if trail.redirects:
            span.set_attribute("aioresp.cluster.redirects", trail.redirects)
        if trail.size is not None and trail.size >= BATCH:
            span.set_attribute("db.operation.batch.size", trail.size)


def _peer(peer: object) -> dict[str, str | int]:
    """Return the attributes of the socket's end, an address of IPv4 or IPv6."""
    if not isinstance(peer, tuple) or len(peer) < 2:
        return {}
    return {"network.peer.address": str(peer[0]), "network.peer.port": int(peer[1])}


class JobTracing:
    """Function for `Queue(middleware=)` that makes spans of enqueued and worked jobs, and records how long these ran.

    The span of a run has a link to that of its enqueue, which travels with the job. With `follow=True` it is also its
    child, in the same trace. The providers are the global ones by default.
    """

    def __init__(
        self,
        *,
        follow: bool = False,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._follow = follow
        self._tracer = trace.get_tracer("aioresp", VERSION, tracer_provider)
        self._duration = metrics.get_meter("aioresp", VERSION, meter_provider).create_histogram(
            "messaging.process.duration",
            unit="s",
            description="Duration of processing operation.",
            explicit_bucket_boundaries_advisory=BOUNDARIES,
        )

    @contextmanager
    def enqueue(self, queue: str, task: str, job: str, headers: dict[str, str]) -> Iterator[None]:
        """Make the span of an enqueue, and put its context into the headers of the job."""
        attributes = _of_job(queue, task, "enqueue", "send")
        with self._tracer.start_as_current_span(
            f"enqueue {queue}",
            kind=SpanKind.PRODUCER,
            attributes={**attributes, "messaging.message.id": job},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            propagate.inject(headers)
            try:
                yield
            except BaseException as error:
                _failed(span, error)
                raise

    @contextmanager
    def run(self, queue: str, task: str, job: str, attempt: int, headers: dict[str, str]) -> Iterator[None]:
        """Make the span of one attempt at a job."""
        origin = propagate.extract(headers)
        producer = trace.get_current_span(origin).get_span_context()
        attributes = _of_job(queue, task, "run", "process")
        start = time.perf_counter()
        with self._tracer.start_as_current_span(
            f"run {queue}",
            context=origin if self._follow else None,
            kind=SpanKind.CONSUMER,
            links=[Link(producer)] if producer.is_valid else None,
            attributes={**attributes, "messaging.message.id": job, "aioresp.job.attempt": attempt},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                attributes["error.type"] = _failed(span, error)
                raise
            finally:
                self._duration.record(time.perf_counter() - start, attributes)


def _of_job(queue: str, task: str, name: str, kind: str) -> dict[str, str | int]:
    return {
        "messaging.system": "redis",
        "messaging.destination.name": queue,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "aioresp.job.task": task,
    }


def _failed(span: Span, error: BaseException) -> str:
    """Note an error on its span, without its message: that may contain arguments."""
    name = type(error).__qualname__
    span.set_attribute("error.type", name)
    span.set_status(Status(StatusCode.ERROR))
    return name
