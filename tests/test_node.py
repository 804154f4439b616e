"""One server as an object: what can be built on nodes, and how a node leaves its server."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from aioresp import Client, ConnectionLost, Lost, Retry
from aioresp.node import Dial, Node
from aioresp.options import Options, settings
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from aioresp.wire.connection import Connection
from tests.rest import at_rest
from tests.split import Split

SPLIT = Path(__file__).with_name("split.py")


@pytest.fixture(scope="module")
def second() -> Iterator[Server]:
    with start_server() as running:
        yield running


@pytest.fixture
async def split(server: Server, second: Server) -> AsyncIterator[Split]:
    made = Split(Node(settings(server.url, {})), Node(settings(second.url, {})))
    yield made
    await made.aclose()


@pytest.fixture
async def one(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture
async def two(second: Server) -> AsyncIterator[Client[str]]:
    async with Client(second.url) as client:
        yield client


# --- A client over two nodes ------------------------------------------------------------------------------------------


def test_a_client_over_two_nodes_needs_few_lines_and_no_private_name() -> None:
    source = SPLIT.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 100
    assert re.findall(r"\._\w|import _\w", source) == []


async def test_commands_go_to_their_nodes(split: Split, one: Client[str], two: Client[str], prefix: str) -> None:
    a, b = f"a{prefix}", f"b{prefix}"
    await split.set(a, "1")
    await split.set(b, "2")
    assert (await split.get(a), await split.get(b)) == ("1", "2")
    assert (await one.get(a), await two.get(a)) == ("1", None)
    assert (await one.get(b), await two.get(b)) == (None, "2")


async def test_a_pipeline_goes_to_both(split: Split, one: Client[str], two: Client[str], prefix: str) -> None:
    a, b = f"a{prefix}", f"b{prefix}"
    async with split.pipeline() as p:
        results = [p.rpush(key, str(number)) for number, key in enumerate((a, b, b, a, a))]
    assert [await result for result in results] == [1, 1, 2, 2, 3]
    assert await one.lrange(a, 0, -1) == ["0", "3", "4"]
    assert await two.lrange(b, 0, -1) == ["1", "2"]


async def test_blocking_pops_wait_at_their_nodes(split: Split, one: Client[str], two: Client[str], prefix: str) -> None:
    a, b = f"a{prefix}", f"b{prefix}"
    async with asyncio.TaskGroup() as group:
        pops = [group.create_task(split.brpop((key,), 20)) for key in (a, b)]
        await one.rpush(b, "wrong")
        await two.rpush(a, "wrong")
        await one.rpush(a, "x")
        await two.rpush(b, "y")
    assert [pop.result() for pop in pops] == [(a, "x"), (b, "y")]


async def test_subscriptions_hear_both(split: Split, one: Client[str], two: Client[str], prefix: str) -> None:
    a, b = f"a{prefix}", f"b{prefix}"
    async with split.subscribe(a, b) as messages:
        assert [await one.publish(a, "1"), await one.publish(b, "-"), await two.publish(a, "-")] == [1, 0, 0]
        assert (await messages.get()).data == "1"
        assert await two.publish(b, "2") == 1
        assert (await messages.get()).data == "2"
    async with asyncio.timeout(10):
        while await one.publish(a, "-") or await two.publish(b, "-"):
            await asyncio.sleep(0.01)


# --- A node that asks where its server is -----------------------------------------------------------------------------


def moving(where: Callable[[], Server], **options: Any) -> Client[str]:
    """Return a client whose node asks `where` for each connection."""
    chosen: Options = {"retry": Retry(20, base=0.01), **options}  # type: ignore[typeddict-item]
    made = settings(where().url, chosen)

    async def connect(dial: Dial) -> Connection:
        server = where()
        return await dial(made.endpoint.replace(host=server.host, port=server.port, password=server.password))

    return Client.over(Node(made, connect))


async def run_id(r: Client[str]) -> str:
    return (await r.with_options(idempotent=True).info("server")).text("run_id")


async def test_the_next_connection_goes_where_the_server_is(server: Server, second: Server) -> None:
    here = server
    async with moving(lambda: here) as r:
        first = await run_id(r)
        here = second
        assert await run_id(r) == first, "an open connection is kept"
        r.node.retire(ConnectionError("it has moved"))
        assert await run_id(r) != first
        async with r.subscribe("news") as news, Client(second.url) as other:
            await other.publish("news", "x")
            assert (await news.get()).data == "x"


async def test_a_lost_connection_is_replaced_where_the_server_is(server: Server, second: Server, proxy: Proxy) -> None:
    class Via:
        host, port, password, url = "127.0.0.1", proxy.port, server.password, server.url

    here: Any = Via
    async with moving(lambda: here) as r:
        first = await run_id(r)
        here = second
        proxy.cut()
        async with asyncio.timeout(10):
            while await run_id(r) == first:
                await asyncio.sleep(0)


# --- A node leaves its server -----------------------------------------------------------------------------------------


async def test_those_in_line_are_turned_away_at_once(proxy: Proxy, server: Server, prefix: str) -> None:
    """With "not sent": they go on, where their terms allow it, on the new server; the others hear it."""
    async with Client(server.url, host="127.0.0.1", port=proxy.port, limit=1, concurrency=1, retry=None) as r:
        await r.set(prefix, "0")
        proxy.stall("down")
        under_way = asyncio.create_task(r.incr(prefix))
        await asyncio.sleep(0)
        in_line = [asyncio.create_task(r.incr(prefix)) for _ in range(3)]
        blocked = asyncio.create_task(r.blpop((f"{prefix}list",), 5))
        await asyncio.sleep(0)
        pool = r.node.pools.here()
        assert pool.stats().waiting >= 3
        r.node.retire(ConnectionError("it has moved"))
        await asyncio.wait([*in_line, blocked], timeout=5)
        for task in (*in_line, blocked):
            error = task.exception()
            assert isinstance(error, ConnectionLost)
            assert error.outcome == "not sent"
            assert "it has moved" in str(error)
        assert not under_way.done()
        proxy.resume()
        assert await under_way == 1
        async with asyncio.timeout(5):
            while pool.stats().open:
                await asyncio.sleep(0)
        assert await r.get(prefix) == "1"
        assert r.node.pools.here() is not pool


async def test_those_in_line_go_on_elsewhere(server: Server, second: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy:

        class Via:
            host, port, password, url = "127.0.0.1", proxy.port, server.password, server.url

        here: Any = Via
        async with moving(lambda: here, limit=1, concurrency=1) as r:
            await r.set(prefix, "0")
            proxy.stall("down")
            under_way = asyncio.create_task(r.incr(prefix))
            await asyncio.sleep(0)
            in_line = [asyncio.create_task(r.incr(prefix)) for _ in range(3)]
            await asyncio.sleep(0)
            here = second
            r.node.retire(ConnectionError("it has moved"))
            assert sorted(await asyncio.gather(*in_line)) == [1, 2, 3]
            assert not under_way.done()
            proxy.resume()
            assert await under_way == 1


async def test_a_lease_lasts_until_it_is_given_back(r: Client[str], prefix: str) -> None:
    await r.ping()
    pool = r.node.pools.here()
    async with r.connection() as c:
        await c.select(1)
        r.node.retire(ConnectionError("it has moved"))
        await c.set(prefix, "x")
        assert await c.getdel(prefix) == "x"
        async with asyncio.timeout(5):
            while pool.stats().open > 1:
                await asyncio.sleep(0)
        assert pool.stats().leased == 1
    async with asyncio.timeout(5):
        while pool.stats().open:
            await asyncio.sleep(0)
    await r.ping()
    assert r.stats().open == 1


async def test_a_cancelled_pop_on_a_retired_pool_loses_nothing(r: Client[str], prefix: str, other: Client[str]) -> None:
    await r.ping()
    pool = r.node.pools.here()
    pop = asyncio.create_task(r.blpop((prefix,), 20))
    async with asyncio.timeout(10):
        while not pool.stats().leased or not await waits(other):
            await asyncio.sleep(0.01)
    r.node.retire(ConnectionError("it has moved"))
    pop.cancel()
    await asyncio.wait([pop])
    assert pop.cancelled()
    await other.rpush(prefix, "kept")
    async with asyncio.timeout(10):
        while pool.stats().open:
            await asyncio.sleep(0)
    assert await other.lrange(prefix, 0, -1) == ["kept"]


async def test_several_idle_connections_close_at_once(r: Client[str]) -> None:
    async with r.connection(), r.connection(), r.connection():
        await r.ping()
    pool = r.node.pools.here()
    assert pool.stats().open >= 3
    r.node.retire(ConnectionError("it has moved"))
    async with asyncio.timeout(5):
        while pool.stats().open:
            await asyncio.sleep(0)
    assert await r.ping()


async def test_a_retired_pool_opens_one_connection_to_end_a_pop(
    r: Client[str], prefix: str, other: Client[str]
) -> None:
    """Not one after another, each of which was closed before it had carried CLIENT UNBLOCK."""
    pop = asyncio.create_task(r.blpop((prefix,), 20))
    async with asyncio.timeout(10):
        while not await waits(other):
            await asyncio.sleep(0.01)
    pool = r.node.pools.here()
    r.node.retire(ConnectionError("it has moved"))
    before = pool.stats().made
    pop.cancel()
    await asyncio.wait([pop])
    async with asyncio.timeout(10):
        while pool.stats().open:
            await asyncio.sleep(0)
    assert pool.stats().made <= before + 2
    await other.rpush(prefix, "kept")
    assert await other.lrange(prefix, 0, -1) == ["kept"]


async def test_a_pop_is_not_ended_by_its_number_at_another_server(prefix: str) -> None:
    """There, the connection of that number is somebody else's."""
    lost: list[Lost] = []
    with start_server() as old, start_server() as new:
        here = old
        async with moving(lambda: here, on_lost=lost.append) as r, Client(old.url) as one, Client(new.url) as two:
            pop = asyncio.create_task(r.blpop((prefix,), 30))
            async with asyncio.timeout(10):
                while not await waits(one):
                    await asyncio.sleep(0.01)
            mine = next(client.id for client in await one.client_list() if client.cmd == "blpop")
            async with AsyncExitStack() as stack:
                while True:
                    client = await stack.enter_async_context(Client(new.url))
                    namesake = await stack.enter_async_context(client.connection())
                    if await namesake.client_id() >= mine:
                        break
                assert await namesake.client_id() == mine
                theirs = asyncio.create_task(namesake.blpop((prefix,), 30))
                while not await waits(two):
                    await asyncio.sleep(0.01)
                here = new
                pool = r.node.pools.here()
                r.node.retire(ConnectionError("it has moved"))
                pop.cancel()
                await asyncio.wait([pop])
                async with asyncio.timeout(5):
                    while pool.stats().open:
                        await asyncio.sleep(0.01)
                await two.rpush(prefix, "x")
                assert await theirs == (prefix, "x")
            assert [(loss.elements, loss.outcome) for loss in lost] == [((), "unknown")]
            assert not await waits(one)


async def waits(r: Client[str]) -> bool:
    return (await r.info("clients")).integer("blocked_clients") > 0


async def test_a_retired_pool_takes_nobody(r: Client[str]) -> None:
    await r.ping()
    pool = r.node.pools.here()
    async with r.connection() as c:
        pool.retire(ConnectionError("it has moved"))
        with pytest.raises(ConnectionLost, match="it has moved") as caught:
            await r.with_options(retry=None).ping()
        assert caught.value.outcome == "not sent"
        with pytest.raises(ConnectionLost, match="it has moved"):
            await pool.lease("a test", None)
        assert await c.ping()
    async with asyncio.timeout(5):
        while pool.stats().open:
            await asyncio.sleep(0)
    assert await r.ping(), "by another pool, as that one has ended"
    assert r.node.pools.here() is not pool


async def test_closing_ends_what_was_retired(server: Server, prefix: str) -> None:
    r = Client(server.url)
    await r.ping()
    pool = r.node.pools.here()
    pop = asyncio.create_task(r.blpop((prefix,), 0))
    async with asyncio.timeout(10):
        while not pool.stats().leased:
            await asyncio.sleep(0.01)
    r.node.retire(ConnectionError("it has moved"))
    await r.ping()
    assert r.stats().open >= 2
    await r.aclose()
    with pytest.raises(ConnectionLost, match="not used any more"):
        await pop
    assert pool.stats().open == 0
    assert r.stats().open == 0


async def test_each_loop_leaves_in_its_own_thread(server: Server) -> None:
    r = Client(server.url)
    ready, go, done = threading.Event(), threading.Event(), threading.Event()
    found: list[Any] = []

    async def elsewhere() -> None:
        await r.ping()
        found.append(r.node.pools.here())
        ready.set()
        await asyncio.to_thread(go.wait, 10)
        async with asyncio.timeout(5):
            while found[0].stats().open:
                await asyncio.sleep(0.001)
        await r.ping()
        found.append(r.node.pools.here())
        done.set()

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    try:
        assert await asyncio.to_thread(ready.wait, 10)
        r.node.retire(ConnectionError("it has moved"))
    finally:
        go.set()
        await asyncio.to_thread(thread.join, 10)
    assert done.is_set()
    assert found[0] is not found[1]
    await r.aclose()


async def test_views_share_a_node(r: Client[str]) -> None:
    view = r.with_options(timeout=1.0, decode_responses=False)
    assert view.node is r.node
    assert view.terms == r.terms.replace(timeout=1.0, decode=False)
    await view.ping()
    await at_rest(r)
    assert r.stats().made == 1
