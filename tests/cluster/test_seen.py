"""What an operator sees of a cluster: figures of each node, events, spans, and the words of `repr`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import aioresp
from aioresp import Cluster, PoolStats
from aioresp.cluster.slots import slot_of
from aioresp.events import Event, Redirected, Repeated, Slow, TopologyChanged
from aioresp.otel import tracing
from aioresp.testing import ClusterNode, ClusterServers

FIGURES = PoolStats.record_fields


def address(node: ClusterNode) -> str:
    return f"127.0.0.1:{node.port}"


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


def key_at(cluster: ClusterServers, node: ClusterNode) -> str:
    return next(key for key in (f"k{number}" for number in range(200)) if cluster.primary_of(key) is node)


async def freeze(r: Cluster[str]) -> None:
    """Let the client ask for the topology no more, as it does at once on a slow machine: redirects alone move it."""
    router = r.fleet.pools.here()
    await router.renew()
    vars(router)["refresh"] = lambda *_: None


# --- Figures ----------------------------------------------------------------------------------------------------------


async def test_figures_of_each_node_and_their_sums(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url) as r:
        assert (r.stats().made, r.stats().nodes) == (0, {})
        keys = [key_at(fresh, node) for node in fresh.primaries()]
        await asyncio.gather(*(r.set(key, "x") for key in keys))
        before = r.stats()
        for _ in range(20):
            await r.get(keys[1])
        after = r.stats()
        one = address(fresh.primary_of(keys[1]))
        assert after.nodes[one].commands == before.nodes[one].commands + 20
        assert after.nodes[one].open == 1
        for found in (before, after):
            for name in FIGURES:
                assert getattr(found, name) == sum(getattr(node, name) for node in found.nodes.values())
                assert getattr(found, name) >= sum(getattr(loop, name) for loop in found.loops)
        assert len(after.loops) == len(after.nodes[one].loops) == 1
        roles = {address(node): "primary" for node in fresh.primaries()}
        roles |= {address(node): "replica" for node in fresh.replicas()}
        assert {at: node.role for at, node in after.nodes.items()}.items() <= roles.items()
        assert {address(node) for node in fresh.primaries()} <= set(after.nodes)
        assert len({before, after}) == 2, "they can be told apart in a set"


async def test_subscriptions_and_reads_of_replicas_count_at_their_nodes(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url, read_from="replica") as r:
        await r.set("k", "1")
        await r.get("k")
        (replica,) = fresh.replicas_of("k")
        assert r.stats().nodes[address(replica)].role == "replica"
        assert r.stats().nodes[address(replica)].open == 1
        opened = r.stats().open
        async with r.subscribe("news"):
            found = r.stats()
            assert found.open > opened  # a refresh may have opened more
            assert sum(node.open for node in found.nodes.values()) == found.open
            assert set(found.nodes) <= {address(node) for node in fresh.nodes}


async def test_a_node_that_is_forgotten_stays_in_the_sums(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url) as r:
        await r.set("k", "1")
        nodes = r.fleet.nodes
        stranger = nodes.at(("localhost", fresh.primary_of("k").port))
        await aioresp.Client.over(stranger).ping()
        await stranger.aclose()
        before = r.stats()
        assert before.nodes[f"localhost:{fresh.primary_of('k').port}"].made == 1
        assert nodes.adopt(r.topology())
        after = r.stats()
        assert set(before.nodes) - set(after.nodes) == {f"localhost:{fresh.primary_of('k').port}"}
        assert (after.made, after.commands) == (before.made, before.commands)


# --- Words ------------------------------------------------------------------------------------------------------------


async def test_reprs_tell_nodes_and_slots(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url) as r:
        await r.ping()
        said = repr(r)
        for node in await r.primaries():
            at = node.address.removeprefix("redis://")
            (shard,) = [shard for shard in r.topology().shards if str(shard.primary) == at]
            slots = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in shard.slots)
            assert f"{at} slots {slots}" in said
            assert f"redis://{at}, slots {slots}, limit" in repr(node)
            line = next(line for line in str(r.topology()).splitlines() if line.startswith(at))
            assert line == f"{at} slots {slots}, replicas {shard.replicas[0]}"
        for node in await r.replicas():
            assert f"{node.address}, replica of 127.0.0.1:" in repr(node)
        assert r.address == repr(r).partition("(")[2].partition(", ")[0]
        assert "secret" not in repr(Cluster("redis+cluster://:secret@a:1"))


# --- Events -----------------------------------------------------------------------------------------------------------


async def test_a_change_that_redirects_have_told_before_is_an_event(fresh: ClusterServers) -> None:
    heard: list[Event] = []
    async with Cluster(fresh.url, events=heard.append) as r:
        await r.set("{seen}a", "1")
        await freeze(r)
        home, target = fresh.primary_of("{seen}a"), other_than(fresh, "{seen}a")
        heard.clear()
        await asyncio.to_thread(fresh.migrate, "{seen}a", target)
        try:
            assert await r.get("{seen}a") == "1"
            del r.fleet.pools.here().refresh
            await r.fleet.pools.here().renew()
            assert [type(event) for event in heard if isinstance(event, (Redirected, TopologyChanged))] == [
                Redirected,
                TopologyChanged,
            ]
            await r.fleet.pools.here().renew()
            assert len([event for event in heard if isinstance(event, TopologyChanged)]) == 1
        finally:
            await asyncio.to_thread(fresh.migrate, "{seen}a", home)


@pytest.mark.parametrize("way", ["pipeline", "transaction", "pop", "script"])
async def test_redirects_are_told_on_every_path(fresh: ClusterServers, way: str) -> None:
    heard: list[Event] = []
    async with Cluster(fresh.url, events=heard.append) as r:
        await r.rpush("{way}q", "1")
        await freeze(r)
        home, target = fresh.primary_of("{way}q"), other_than(fresh, "{way}q")
        await asyncio.to_thread(fresh.migrate, "{way}q", target)
        try:
            if way in ("pipeline", "transaction"):
                async with r.pipeline(transaction=way == "transaction") as p:
                    p.llen("{way}q")
            elif way == "pop":
                assert await r.blpop(["{way}q"], timeout=5)
            else:
                assert await r.eval("return redis.call('LLEN', KEYS[1])", 1, "{way}q") == 1
            told = [event for event in heard if isinstance(event, Redirected)]
            assert told
            assert {(event.slot, event.to, event.server) for event in told} == {
                (r.keyslot("{way}q"), address(target), address(home))
            }
        finally:
            await asyncio.to_thread(fresh.migrate, "{way}q", home)


async def test_a_redirect_of_a_shard_channel_is_told(fresh: ClusterServers) -> None:
    if fresh.nodes[0].version < (7,):
        pytest.skip("since 7.0")
    heard: list[Event] = []
    async with Cluster(fresh.url, events=heard.append) as r, r.ssubscribe("{shard}", gaps=True) as s:
        home, target = fresh.primary_of("{shard}"), other_than(fresh, "{shard}")
        await freeze(r)
        await asyncio.to_thread(fresh.migrate, "{shard}", target)
        try:
            assert isinstance(await anext(s), aioresp.Gap)
            (event,) = [event for event in heard if isinstance(event, Redirected)]
            assert (event.server, event.to, event.asking) == (address(home), address(target), False)
        finally:
            await asyncio.to_thread(fresh.migrate, "{shard}", home)


async def test_slow_calls_and_repeats_name_the_cluster(fresh: ClusterServers) -> None:
    heard: list[Event] = []
    async with Cluster(fresh.url, events=heard.append, slow_after=1e-9) as r:
        await r.mset({"{twice}a": "1", "{twice}b": "2"})
        assert next(event for event in heard if isinstance(event, Slow)).server == r.address
        migration = await asyncio.to_thread(fresh.begin_migration, "{twice}a", other_than(fresh, "{twice}a"))
        try:
            await asyncio.to_thread(migration.move, 1)
            heard.clear()
            reading = asyncio.create_task(r.mget("{twice}a", "{twice}b"))
            pipeline = r.pipeline()
            pipeline.mget("{twice}a", "{twice}b")
            queued = asyncio.create_task(pipeline.execute())
            while {event.command for event in heard if isinstance(event, Repeated)} != {"MGET", "PIPELINE"}:
                await asyncio.sleep(0.01)
        finally:
            await asyncio.to_thread(migration.end)
        assert [await reading] == await queued == [["1", "2"]]
        for event in heard:
            if isinstance(event, Repeated):
                assert event.server == r.address
                assert "TRYAGAIN" in str(event.error)
        await asyncio.to_thread(fresh.migrate, "{twice}a", migration.source)


# --- Spans ------------------------------------------------------------------------------------------------------------


class Traced:
    """A cluster client with OpenTelemetry's own SDK behind it."""

    def __init__(self, cluster: ClusterServers, **options: Any) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        middleware = tracing(cluster.url, tracer_provider=tracers, meter_provider=MeterProvider([self._reader]))
        self.client = Cluster(cluster.url, middleware=middleware, **options)

    def take(self) -> list[ReadableSpan]:
        found = list(self._spans.get_finished_spans())
        self._spans.clear()
        return found

    def one(self) -> dict[str, Any]:
        (span,) = self.take()
        return dict(span.attributes or {})

    def durations(self) -> list[dict[str, Any]]:
        data: Any = self._reader.get_metrics_data()
        return [
            dict(point.attributes) for point in data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
        ]


def at(node: ClusterNode) -> dict[str, Any]:
    """Return the attributes of a span that one node has served."""
    return {
        "db.system.name": "redis",
        "db.namespace": "0",
        "server.address": "127.0.0.1",
        "server.port": node.port,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": node.port,
    }


async def test_a_span_tells_the_node_and_the_slot(fresh: ClusterServers) -> None:
    traced = Traced(fresh)
    async with traced.client as r:
        for key in (key_at(fresh, node) for node in fresh.primaries()):
            node, slot = fresh.primary_of(key), {"aioresp.cluster.slot": slot_of(key)}
            await r.set(key, "secret")
            assert traced.one() == {**at(node), **slot, "db.operation.name": "SET"}
            await r.eval("return 1", 1, key)
            assert traced.one() == {**at(node), **slot, "db.operation.name": "EVAL"}
            await r.rpush(f"{{{key}}}q", "x")
            traced.take()
            await r.blpop([f"{{{key}}}q"], timeout=1)
            popped = traced.one()
            assert popped["server.port"] == node.port
            assert popped["aioresp.cluster.slot"] == slot_of(key)
            with pytest.raises(aioresp.WrongTypeError):
                await r.lpush(key, "secret")
            failed = {"error.type": "WrongTypeError", "db.response.status_code": "WRONGTYPE"}
            assert traced.one() == {**at(node), **slot, **failed, "db.operation.name": "LPUSH"}
        for point in traced.durations():
            assert "aioresp.cluster.slot" not in point, "each slot would be a time series"
        assert {point["server.port"] for point in traced.durations()} == {node.port for node in fresh.primaries()}


async def test_a_span_of_a_redirected_call_tells_the_last_node(fresh: ClusterServers) -> None:
    traced = Traced(fresh)
    async with traced.client as r:
        await r.set("{span}a", "1")
        await freeze(r)
        home, target = fresh.primary_of("{span}a"), other_than(fresh, "{span}a")
        traced.take()
        await asyncio.to_thread(fresh.migrate, "{span}a", target)
        try:
            assert await r.get("{span}a") == "1"
            slot = {"aioresp.cluster.slot": slot_of("{span}")}
            redirected = {**at(target), **slot, "aioresp.cluster.redirects": 1, "db.operation.name": "GET"}
            assert traced.one() == redirected
            assert await r.get("{span}a") == "1"
            del redirected["aioresp.cluster.redirects"]
            assert traced.one() == redirected
        finally:
            await asyncio.to_thread(fresh.migrate, "{span}a", home)


async def test_a_span_of_several_nodes_tells_all_of_them(fresh: ClusterServers) -> None:
    traced = Traced(fresh)
    async with traced.client as r:
        keys = [key_at(fresh, node) for node in fresh.primaries()]
        several = {
            "db.system.name": "redis",
            "db.namespace": "0",
            "aioresp.cluster.nodes": tuple(sorted(address(node) for node in fresh.primaries())),
        }
        async with r.pipeline() as p:
            for key in keys:
                p.set(key, "1")
        assert traced.one() == {**several, "db.operation.name": "PIPELINE", "db.operation.batch.size": 3}
        async with r.pipeline() as p:
            p.get(keys[0])
            p.mget(keys)
        found = traced.one()
        assert "aioresp.cluster.slot" not in found
        assert found["aioresp.cluster.nodes"] == several["aioresp.cluster.nodes"]
        await r.mget(keys)
        assert traced.one() == {**several, "db.operation.name": "MGET"}
        await r.dbsize()
        assert traced.one() == {**several, "db.operation.name": "DBSIZE"}
        node, slot = fresh.primary_of(keys[0]), {"aioresp.cluster.slot": slot_of(keys[0])}
        async with r.pipeline(transaction=True) as p:
            p.get(keys[0])
            p.strlen(keys[0])
        found = traced.one()
        assert (found["db.operation.name"], found["db.operation.batch.size"]) == ("MULTI", 2)
        assert (found["server.port"], found["aioresp.cluster.slot"]) == (node.port, slot["aioresp.cluster.slot"])
        async with r.pipeline() as p:
            p.get(keys[0])
        assert traced.one() == {**at(node), **slot, "db.operation.name": "PIPELINE"}


async def test_spans_of_leases_node_clients_and_replicas(fresh: ClusterServers) -> None:
    traced = Traced(fresh)
    async with traced.client as r:
        await r.set("k", "1")
        traced.take()
        home = fresh.primary_of("k")
        async with r.connection(key="k") as c:
            await c.get("k")
            assert traced.one() == {**at(home), "db.operation.name": "GET"}
        async with r.pipeline(transaction=True) as p:
            await p.watch("k")
            p.multi()
            p.get("k")
        assert [(span.attributes or {})["server.port"] for span in traced.take()] == [home.port] * 2
        for node in await r.nodes():
            await node.ping()
            found = traced.one()
            assert node.address == f"redis://{found['server.address']}:{found['server.port']}"
        await r.with_options(read_from="replica").get("k")
        (replica,) = fresh.replicas_of("k")
        slot = {"aioresp.cluster.slot": slot_of("k")}
        assert traced.one() == {**at(replica), **slot, "db.operation.name": "GET"}
        async with r.with_options(read_from="replica").pipeline() as p:
            p.get("k")
        assert traced.one() == {**at(replica), **slot, "db.operation.name": "PIPELINE"}


async def test_a_span_of_a_call_that_reaches_no_node() -> None:
    spans = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    url = "redis+cluster://127.0.0.1:1"
    async with Cluster(url, retry=None, middleware=tracing(url, tracer_provider=tracers)) as r:
        with pytest.raises(aioresp.ConnectError):
            await r.get("k")
    (span,) = spans.get_finished_spans()
    attributes = dict(span.attributes or {})
    assert attributes["error.type"] == "ConnectError"
    assert "server.address" not in attributes
