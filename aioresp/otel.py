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
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from aioresp.command import Arguments, full_name
from aioresp.errors import ResponseError
from aioresp.middleware import Middleware
from aioresp.options import settings
from aioresp.version import VERSION

#: Histogram boundaries in seconds, from the conventions for the duration of an operation.
BOUNDARIES = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]


def tracing(
    url: str | None = None,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    **options: Any,
) -> Middleware:
    """Return a function for `middleware=` that makes a span and records a duration for each call.

    `url` and `options` are those of the client, for the attributes of its server. The providers are the global ones by
    default.
    """
    tracer = trace.get_tracer("aioresp", VERSION, tracer_provider)
    duration = metrics.get_meter("aioresp", VERSION, meter_provider).create_histogram(
        "db.client.operation.duration",
        unit="s",
        description="Duration of database client operations.",
        explicit_bucket_boundaries_advisory=BOUNDARIES,
    )
    endpoint = settings(url, options).endpoint  # type: ignore[arg-type]  # checked there
    where: dict[str, str | int] = {"db.system.name": "redis", "db.namespace": str(endpoint.db)}
    if endpoint.unix_socket_path is not None:
        where |= {"server.address": endpoint.unix_socket_path}
    else:
        where |= {"server.address": endpoint.host, "server.port": endpoint.port}

    async def middleware(arguments: Arguments, send: Callable[[], Awaitable[Any]]) -> Any:
        name = full_name(arguments)
        attributes = {**where, "db.operation.name": name}
        start = time.perf_counter()
        with tracer.start_as_current_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                return await send()
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
