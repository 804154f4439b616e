"""What an operator sees of a primary and its replicas: figures, the event of a failover, spans, words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aioresp import Client, PoolStats, Sentinel
from aioresp.events import Event, MasterChanged
from aioresp.otel import tracing
from aioresp.testing import Member, SentinelServers

FIGURES = PoolStats.record_fields


@pytest.fixture(scope="module")
def servers() -> Iterator[SentinelServers]:
    with SentinelServers(sentinels=3, replicas=2, password="", sentinel_password="") as s:
        yield s


def by_sentinels(servers: SentinelServers) -> str:
    return f"redis+sentinel://{','.join(servers.addresses)}/{servers.name}"


@pytest.fixture(params=["sentinel", "names"])
def url(servers: SentinelServers, request: pytest.FixtureRequest) -> str:
    hosts = ",".join(address(each) for each in (servers.replicas()[0], servers.primary(), servers.replicas()[1]))
    return by_sentinels(servers) if request.param == "sentinel" else f"redis://{hosts}"


def address(server: Member) -> str:
    return f"127.0.0.1:{server.port}"


async def test_figures_of_each_server_and_their_sums(servers: SentinelServers, url: str) -> None:
    async with Client(url) as r:
        reading = r.with_options(read_from="replica")
        await r.set("k", "1")
        for _ in range(10):
            await reading.get("k")
        found = r.stats()
        for name in FIGURES:
            assert getattr(found, name) == sum(getattr(node, name) for node in found.nodes.values())
            assert getattr(found, name) >= sum(getattr(loop, name) for loop in found.loops)
        roles = {address(servers.primary()): "primary"}
        roles |= {address(each): "replica" for each in servers.replicas()}
        if "sentinel" in url:
            roles |= {address(each): "sentinel" for each in servers.sentinels}
        assert {at: node.role for at, node in found.nodes.items()} == roles
        assert all(found.nodes[address(each)].commands >= 5 for each in servers.replicas())


async def test_reprs_tell_the_servers(servers: SentinelServers, url: str) -> None:
    async with Client(url) as r:
        assert "primary" not in repr(r).partition(", ")[2]
        await r.ping()
        said = repr(r)
        assert f"primary {address(servers.primary())}, replicas " in said
        assert all(address(each) in said for each in servers.replicas())
        assert said.startswith(f"Client({r.address}, primary ")
    async with Sentinel([("127.0.0.1", each.port) for each in servers.sentinels]) as s:
        m = s.master_for(servers.name)
        assert repr(s).endswith(f", {servers.name}: not found yet)")
        await m.ping()
        assert f", {servers.name}: primary {address(servers.primary())}, replicas 127" in repr(s)


async def test_a_span_tells_the_server_that_has_served_the_call(servers: SentinelServers, url: str) -> None:
    spans = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))

    def ports() -> list[Any]:
        found = [(span.attributes or {}).get("server.port") for span in spans.get_finished_spans()]
        spans.clear()
        return found

    async with Client(url, middleware=tracing(url, tracer_provider=tracers)) as r:
        primary = servers.primary().port
        await r.set("k", "1")
        (span,) = spans.get_finished_spans()
        assert dict(span.attributes or {}) == {
            "db.system.name": "redis",
            "db.namespace": "0",
            "db.operation.name": "SET",
            "server.address": "127.0.0.1",
            "server.port": primary,
            "network.peer.address": "127.0.0.1",
            "network.peer.port": primary,
        }
        spans.clear()
        await r.rpush("q", "x")
        await r.blpop(["q"], timeout=1)
        async with r.pipeline(transaction=True) as p:
            p.get("k")
        async with r.connection() as c:
            await c.get("k")
        assert ports() == [primary] * 4
        reading = r.with_options(read_from="replica")
        for _ in range(2):
            await reading.get("k")
        async with reading.pipeline() as p:
            p.get("k")
        assert set(ports()) == {each.port for each in servers.replicas()}
        await reading.set("k", "1")
        assert ports() == [primary]


async def test_a_client_that_is_idle_hears_of_a_failover_too(servers: SentinelServers) -> None:
    heard: list[Event] = []
    async with Client(by_sentinels(servers), events=heard.append) as r:
        await r.set("k", "1")
        before = servers.primary()
        after = await asyncio.to_thread(servers.failover)
        async with asyncio.timeout(20):
            while not any(isinstance(event, MasterChanged) for event in heard):
                await asyncio.sleep(0.02)
        (changed,) = [event for event in heard if isinstance(event, MasterChanged)]
        assert (changed.server, changed.primary, changed.before) == (r.address, address(after), address(before))
        assert r.stats().nodes[address(after)].role == "primary"
