"""Spans and metrics as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import aioresp
from aioresp import Client
from aioresp.otel import tracing
from aioresp.testing import Server


class Collected:
    """What the SDK collected."""

    def __init__(self, server: Server) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.middleware = tracing(server.url, tracer_provider=tracers, meter_provider=MeterProvider([self._reader]))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    @property
    def points(self) -> list[HistogramDataPoint]:
        data: Any = self._reader.get_metrics_data()
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("db.client.operation.duration", "s")
        return list(metric.data.data_points)


async def test_a_span_and_a_duration_for_each_call(server: Server, prefix: str) -> None:
    collected = Collected(server)
    async with Client(server.url, middleware=collected.middleware) as r:
        await r.set(f"{prefix}k", "secret", ex=60)
        await r.get(f"{prefix}k")
        await r.get(f"{prefix}k")
    expected = {
        "db.system.name": "redis",
        "db.namespace": "0",
        "server.address": server.host,
        "server.port": server.port,
    }
    assert [span.name for span in collected.spans] == ["SET", "GET", "GET"]
    for span in collected.spans:
        assert span.kind is SpanKind.CLIENT
        assert span.status.status_code is StatusCode.UNSET
        assert dict(span.attributes or {}) == {**expected, "db.operation.name": span.name}
        assert "secret" not in span.to_json()
    counts = {(point.attributes or {})["db.operation.name"]: point.count for point in collected.points}
    assert counts == {"SET": 1, "GET": 2}
    assert all(0 < point.sum < 5 for point in collected.points)


async def test_errors(server: Server, prefix: str) -> None:
    collected = Collected(server)
    async with Client(server.url, middleware=collected.middleware) as r:
        await r.set(f"{prefix}k", "secret", ex=60)
        with pytest.raises(aioresp.WrongTypeError):
            await r.lpush(f"{prefix}k", "secret")
    span = collected.spans[-1]
    assert span.status.status_code is StatusCode.ERROR
    attributes = dict(span.attributes or {})
    assert attributes["error.type"] == "WrongTypeError"
    assert attributes["db.response.status_code"] == "WRONGTYPE"
    assert prefix not in span.to_json()
    assert "secret" not in span.to_json()
    failed = [dict(point.attributes or {}) for point in collected.points if "error.type" in (point.attributes or {})]
    assert [point["db.response.status_code"] for point in failed] == ["WRONGTYPE"]


async def test_a_unix_socket(server: Server) -> None:
    collected = Collected(server)
    middleware = tracing(server.unix_url, tracer_provider=TracerProvider())
    async with Client(server.unix_url, middleware=middleware) as r:
        await r.ping()
    assert collected.spans == ()
