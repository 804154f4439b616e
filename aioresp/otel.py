"""OpenTelemetry spans and metrics of commands, by the stable conventions for databases. Needs the extra `otel`.

Owns the translation of a command into spans and metrics. Never shows a key, a value or a password, only the command's
name.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

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
