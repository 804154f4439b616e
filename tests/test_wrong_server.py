"""A name or a proxy leads to another server by now, and open connections still to the old one: they are not used."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, Gap, Retry
from aioresp.contexts.suspicion import heed
from aioresp.facts.traits import traits
from aioresp.retry import not_now, wrong_server
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from aioresp.wire.packing import pack
from tests.rest import at_rest, in_step

#: Many attempts: a busy machine may need more than the default's.
PATIENT = Retry(40, base=0.01, cap=0.1)


@dataclass
class House:
    """Two servers behind one address. `fail_over` makes the first one a replica of the second."""

    old: Server
    new: Server
    proxy: Proxy
    direct: Client[str]
    to_new: Client[str]

    async def fail_over(self) -> None:
        self.proxy.lead_to(self.new.host, self.new.port)
        await self.direct.replicaof(self.new.host, self.new.port)

    async def set_back(self) -> None:
        await self.direct.replicaof()
        await self.direct.flushall()
        await self.to_new.flushall()
        self.proxy.lead_to(self.old.host, self.old.port)


@pytest.fixture(scope="module")
def servers() -> Any:
    with start_server() as old, start_server() as new:
        yield old, new


@pytest.fixture
async def house(servers: tuple[Server, Server]) -> AsyncIterator[House]:
    old, new = servers
    async with (
        Proxy(old.host, old.port) as proxy,
        Client(old.url) as direct,
        Client(new.url) as to_new,
    ):
        found = House(old, new, proxy, direct, to_new)
        await found.set_back()
        yield found
        await found.set_back()


@asynccontextmanager
async def failed_over(house: House, resp: Literal[2, 3], **options: Any) -> AsyncIterator[Client[str]]:
    """Return a client with three connections to what is a replica by now."""
    async with Client(house.proxy.url, protocol=resp, retry=PATIENT, **options) as r:
        async with r.connection() as one, r.connection() as another:
            await asyncio.gather(one.ping(), another.ping(), r.ping())
        assert r.stats().open == 3
        await house.fail_over()
        yield r
        await at_rest(r)
        await in_step(r)


async def _set(r: Client[str]) -> None:
    assert await r.set("k", "v")


async def _many(r: Client[str]) -> None:
    assert await asyncio.gather(*(r.set("k", "v") for _ in range(100))) == [True] * 100


async def _idempotent(r: Client[str]) -> None:
    assert await r.call("SET", "k", "v", idempotent=True) == "OK"


async def _pipeline(r: Client[str]) -> None:
    async with r.pipeline() as p:
        p.set("k", "v")
        p.incr("n")
    assert await r.get("n") == "1"


async def _mixed_pipeline(r: Client[str]) -> None:
    async with r.pipeline() as p:
        found = p.get("other")
        p.set("k", "v")
    assert await found is None


async def _large_pipeline(r: Client[str]) -> None:
    async with r.pipeline() as p:
        for n in range(10_100):
            p.set("k", "v" if n else "x")


async def _transaction(r: Client[str]) -> None:
    async with r.pipeline(transaction=True) as p:
        p.get("k")
        p.set("k", "v")


async def _watching(r: Client[str]) -> None:
    def write(p: Any) -> None:
        p.multi()
        p.set("k", "v")

    assert await r.transaction(write, "k") == [True]


async def _blocking(r: Client[str]) -> None:
    popping = asyncio.create_task(r.blpop("jobs", 5))
    while not (await r.lpush("jobs", "x")):
        await asyncio.sleep(0.01)
    assert await popping == ("jobs", "x")
    await _set(r)


async def _group(r: Client[str]) -> None:
    async with r.group_reader("billing", "worker-1", "orders", start="0") as reader:
        await r.xadd("orders", {"n": "1"})
        async for entry in reader:
            assert entry.fields == {"n": "1"}
            break
    await _set(r)


CALLS: tuple[Callable[[Client[str]], Awaitable[None]], ...] = (
    _set,
    _many,
    _idempotent,
    _pipeline,
    _mixed_pipeline,
    _large_pipeline,
    _transaction,
    _watching,
    _blocking,
    _group,
)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__.strip("_"))
async def test_a_refused_write_is_sent_to_the_new_primary(
    house: House, resp: Literal[2, 3], call: Callable[[Client[str]], Awaitable[None]]
) -> None:
    async with failed_over(house, resp) as r:
        await call(r)
        assert await house.to_new.get("k") == "v"
        # Connections that have nothing to do are left, too.
        assert await r.info("replication")
        assert (await r.role()).role == "master"
        await asyncio.gather(*(r.set(f"k{n}", n) for n in range(10)))


async def test_a_classic_pool_of_many_connections(house: House) -> None:
    """The retry must not find the next connection to the old server."""
    strict = Retry(2, base=0.01)
    async with Client(house.proxy.url, concurrency=1, limit=20, retry=strict) as r:
        await asyncio.gather(*(r.ping() for _ in range(200)))
        assert r.stats().open > 10
        await house.fail_over()
        assert await r.set("k", "v")
        assert await asyncio.gather(*(r.set("k", "v") for _ in range(50))) == [True] * 50


async def test_one_attempt_is_enough_for_the_next_call(house: House) -> None:
    """Without retries the call fails, and the next one arrives; on each path."""

    async def leased(r: Client[str]) -> None:
        async with r.connection() as c:
            await c.set("k", "v")

    async def leased_pipeline(r: Client[str]) -> None:
        async with r.connection() as c, c.pipeline() as p:
            p.set("k", "v")

    async def transaction_by_hand(r: Client[str]) -> None:
        async with r.connection() as c:
            await c.call("MULTI")
            await c.set("k", "v")
            await c.call("EXEC")

    async def popping(r: Client[str]) -> None:
        await r.blpop("none", 0.05)

    calls = [*CALLS[:7], leased, leased_pipeline, transaction_by_hand, popping]
    async with Client(house.proxy.url, retry=None) as r:
        for call in calls:
            async with r.connection() as c:
                await asyncio.gather(c.ping(), r.ping())
            await house.fail_over()
            with pytest.raises(aioresp.ResponseError, match="READONLY"):
                await call(r)
            await at_rest(r)
            assert await r.set("k", "v"), call
            assert await house.to_new.get("k") == "v"
            await r.delete("n")
            await house.set_back()
            # Back to the first one, whatever connections there are by now.
            r.node.retire(aioresp.ConnectionLost("the test goes on"))


async def test_replies_under_way_arrive(house: House) -> None:
    async with Client(house.proxy.url, protocol=2, retry=PATIENT, limit=1) as r:
        await r.ping()
        await house.fail_over()
        house.proxy.delay = 0.1
        reads = [asyncio.create_task(r.echo(str(n))) for n in range(20)]
        write = asyncio.create_task(r.set("k", "v"))
        await asyncio.sleep(0)
        more = [asyncio.create_task(r.echo(str(n))) for n in range(20)]
        assert await asyncio.gather(*reads) == [str(n) for n in range(20)]
        assert await asyncio.gather(*more) == [str(n) for n in range(20)]
        assert await write
        assert r.stats().made == 2
        house.proxy.heal()


async def test_a_lease_is_kept_until_it_is_given_back(house: House) -> None:
    async with Client(house.proxy.url, retry=PATIENT) as r, r.connection() as c:
        await r.ping()
        before = await c.client_id()
        await house.fail_over()
        await r.set("k", "v")
        assert await c.client_id() == before
        with pytest.raises(aioresp.ReadOnlyError):
            await c.set("k", "w")
        assert await c.client_id() == before
    await at_rest(r)
    assert r.stats().open <= 1


async def test_a_pop_under_way_goes_on_at_the_new_primary(house: House, resp: Literal[2, 3]) -> None:
    """The server ends it with UNBLOCKED when it becomes a replica."""
    async with Client(house.proxy.url, protocol=resp, retry=PATIENT) as r:
        popping = [asyncio.create_task(call) for call in (r.blpop("jobs", 20), r.brpop("jobs", 0))]
        while (await house.direct.info("clients")).integer("blocked_clients") < 2:
            await asyncio.sleep(0.01)
        await house.fail_over()
        while (await house.to_new.info("clients")).integer("blocked_clients") < 2:
            await asyncio.sleep(0.01)
        await house.to_new.rpush("jobs", "1", "2")
        assert {value for _, value in await asyncio.gather(*popping)} == {"1", "2"}  # type: ignore[misc]


async def test_a_replica_without_its_primary(house: House, resp: Literal[2, 3]) -> None:
    """MASTERDOWN: even reads are refused there."""
    await house.direct.config_set({"replica-serve-stale-data": "no"})
    try:
        async with Client(house.proxy.url, protocol=resp, retry=PATIENT) as r:
            await r.ping()
            await house.direct.replicaof("127.0.0.1", 1)
            house.proxy.lead_to(house.new.host, house.new.port)
            assert await r.get("k") is None
            async with r.pipeline() as p:
                p.get("k")
                p.set("k", "v")
            assert await r.get("k") == "v"
    finally:
        await house.direct.replicaof()
        await house.direct.config_set({"replica-serve-stale-data": "yes"})


async def test_a_server_that_loads_after_a_restart(server: Server) -> None:
    """The proxy has sent connections to it too early, and leads to another one by now."""
    if server.version < (7, 0):
        pytest.skip("needs a server of 7.0, which can be made to load slowly")
    slow = {"key-load-delay": "100000", "loading-process-events-interval-bytes": "1024"}
    async with start_server(config=slow) as own, Proxy(own.host, own.port) as proxy, Client(own.url) as direct:
        for n in range(40):
            await direct.set(f"k{n}", os.urandom(1000).hex())  # not to be compressed: it loads piece by piece
        await direct.save()
        await asyncio.to_thread(own.kill)
        starting = asyncio.create_task(asyncio.to_thread(own.start))  # for four seconds
        strict = Retry(2, base=0.01)
        async with Client(proxy.url, retry=None) as r:
            async with asyncio.timeout(20):
                while True:
                    try:
                        await r.get("k1")
                    except aioresp.ConnectError:
                        await asyncio.sleep(0.01)
                    except aioresp.LoadingError:
                        break
            proxy.lead_to(server.host, server.port)
            assert await r.with_options(retry=strict).get("none") is None
            assert not starting.done()
        await starting


async def test_a_client_that_is_closed_meanwhile_gives_the_servers_word(house: House) -> None:
    async with Client(house.proxy.url, retry=None) as r:
        await r.ping()
        await house.fail_over()
        house.proxy.delay = 0.1
        p = r.pipeline()
        p.set("k", "v")
        calls = [asyncio.ensure_future(r.set("k", "v")), asyncio.create_task(p.execute(raise_on_error=False))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await r.aclose()
        found: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        house.proxy.heal()
        assert type(found[0]) is aioresp.ReadOnlyError
        assert [type(value) for value in found[1]] == [aioresp.ReadOnlyError]


async def test_a_caller_that_ends_its_pop_hears_of_it(server: Server) -> None:
    """CLIENT UNBLOCK with ERROR is a caller's own wish, and no reason to connect again."""
    async with Client(server.url) as r, Client(server.url) as other:
        popping = asyncio.create_task(r.blpop("nothing", 20))
        while r.stats().leased < 1 or not (await other.info("clients")).integer("blocked_clients"):
            await asyncio.sleep(0.01)
        for client in await other.client_list():
            if client.cmd == "blpop":
                await other.client_unblock(client.id, error=True)
        with pytest.raises(aioresp.UnblockedError):
            await popping
        made = r.stats().made
        await r.blpop("nothing", 0.01)
        assert r.stats().made == made


async def test_an_element_goes_back_to_the_new_primary(house: House) -> None:
    lost: list[aioresp.Lost] = []
    async with Client(house.proxy.url, on_lost=lost.append) as r:
        await r.ping()
        popping = asyncio.create_task(r.blpop("jobs", 20))
        while not (await house.direct.info("clients")).integer("blocked_clients"):
            await asyncio.sleep(0.01)
        house.proxy.stall("down")
        await house.direct.rpush("jobs", "x")
        await house.fail_over()
        popping.cancel()
        house.proxy.resume("down")
        with pytest.raises(asyncio.CancelledError):
            await popping
        await at_rest(r)
        assert await house.to_new.lrange("jobs", 0, -1) == ["x"]
        assert not lost


# --- What is not believed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["READONLY x", "LOADING x", "MASTERDOWN x", "ERR x -READONLY x"])
async def test_what_a_script_says_costs_no_connection(server: Server, resp: Literal[2, 3], said: str) -> None:
    lie = "return redis.error_reply(ARGV[1])"
    async with Client(server.url, protocol=resp) as r:

        async def in_batches(transaction: bool) -> None:
            async with r.pipeline(transaction) as p:
                p.eval(lie, 0, said)
                p.ping()

        async def on_a_lease() -> None:
            async with r.connection() as c:
                await c.eval(lie, 0, said)

        async def by_hand() -> None:
            async with r.connection() as c:
                await c.call("MULTI")
                await c.eval(lie, 0, said)
                for answer in await c.call("EXEC"):
                    raise answer

        for _ in range(20):
            for call in (r.eval(lie, 0, said), in_batches(False), in_batches(True), on_a_lease(), by_hand()):
                with pytest.raises(aioresp.ResponseError):
                    await call
        await at_rest(r)
        stats = r.stats()
        # No connection was left. A few may have been opened for leases, as the question was under way on others.
        assert stats.made == stats.open <= 5
        await in_step(r)


async def test_no_question_comes_into_a_transaction(server: Server, resp: Literal[2, 3]) -> None:
    lie = "return redis.error_reply('READONLY x')"
    async with Client(server.url, protocol=resp) as r, r.connection() as c:

        async def in_a_batch() -> None:
            async with c.pipeline() as p:
                p.eval(lie, 0)

        await asyncio.gather(in_a_batch(), c.call("MULTI"), return_exceptions=True)
        await c.echo("x")
        assert await c.call("EXEC") == ["x"]


async def test_no_question_comes_into_the_transaction_of_a_lease_that_has_just_begun(server: Server) -> None:
    lie = "return redis.error_reply('READONLY x')"
    async with Client(server.url) as r:
        await r.ping()
        connection = r.node.pools.here().current

        async def on_a_lease() -> list[str]:
            async with r.connection() as c:
                assert c._connection is connection
                await c.call("MULTI")
                await c.echo("x")
                await asyncio.sleep(0.05)
                found: list[str] = await c.call("EXEC")
                return found

        # A lease takes the connection between the error and the task that gets it.
        leases: list[asyncio.Task[list[str]]] = []
        failed = connection.send(pack(("EVAL", lie, 0)))
        failed.add_done_callback(lambda _: leases.append(asyncio.ensure_future(on_a_lease())))

        async def in_the_line() -> None:
            try:
                await failed
            except aioresp.RedisError as error:
                await asyncio.sleep(0)
                heed(r.node.pools.here(), error, traits(("EVAL", lie, 0)))

        await in_the_line()
        assert await leases[0] == ["x"]


async def test_a_script_that_writes_finds_the_new_primary_in_its_second_call(house: House, resp: Literal[2, 3]) -> None:
    """Its own error goes to the caller, as it may have run; the server is asked what it is."""
    write = "return redis.call('SET', KEYS[1], ARGV[1])"

    async def piped(r: Client[str]) -> None:
        async with r.pipeline() as p:
            p.eval(write, 1, "k", "v")

    async def in_a_transaction(r: Client[str]) -> None:
        async with r.pipeline(transaction=True) as p:
            p.eval(write, 1, "k", "v")

    async def on_a_lease(r: Client[str]) -> None:
        async with r.connection() as c:
            await c.eval(write, 1, "k", "v")

    async def registered(r: Client[str]) -> None:
        await r.register_script(write)(["k"], ["v"])

    for call in (lambda r: r.eval(write, 1, "k", "v"), registered, piped, in_a_transaction, on_a_lease):
        async with failed_over(house, resp) as r:
            with pytest.raises(aioresp.ResponseError, match=r"READONLY|read only"):
                await call(r)
            await at_rest(r)
            await call(r)
            assert await house.to_new.get("k") == "v"
        await house.set_back()


async def test_exec_that_is_refused_as_a_whole(house: House) -> None:
    """The server becomes a replica between MULTI and EXEC: nothing has run."""
    async with Client(house.proxy.url, retry=None) as r:
        async with r.connection() as c:
            await c.call("MULTI")
            await c.set("k", "v")
            await house.fail_over()
            with pytest.raises(aioresp.ExecAbortError, match="READONLY"):
                await c.call("EXEC")
        assert await r.set("k", "v")


# --- A replica that the caller connected to on purpose ---------------------------------------------------------------


async def test_writes_to_a_replica_open_few_connections(servers: tuple[Server, Server], house: House) -> None:
    """As many as one call has attempts, then one a second; readers notice nothing."""
    await house.fail_over()
    house.proxy.lead_to(house.old.host, house.old.port)
    loop = asyncio.get_running_loop()
    async with Client(house.proxy.url) as r:

        async def write() -> None:
            with pytest.raises(aioresp.ReadOnlyError):
                await r.set("k", "v")

        async def read() -> int:
            count = 0
            while not writers.done():
                assert await r.get("k") is None
                count += 1
            return count

        start = loop.time()
        writers = asyncio.gather(*(write() for _ in range(50)))
        counts = await asyncio.gather(*(read() for _ in range(5)))
        await writers
        assert min(counts) > 10
        assert house.proxy.connections <= 12 + (loop.time() - start)
        assert house.proxy.open <= 3


async def test_it_is_said_of_what_is_believed() -> None:
    demoted = aioresp.UnblockedError(
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
    )
    assert wrong_server(demoted)
    assert not_now(demoted)
    for said in ("UNBLOCKED client unblocked via CLIENT UNBLOCK", "UNBLOCKED the stream key no longer exists"):
        assert not wrong_server(aioresp.UnblockedError(said))
        assert not not_now(aioresp.UnblockedError(said))
    assert not wrong_server(aioresp.BusyError("x"))
    assert not_now(aioresp.BusyError("x"))
    for kind in (aioresp.ReadOnlyError, aioresp.LoadingError, aioresp.MasterDownError):
        assert wrong_server(kind("x"))
        assert not_now(kind("x"))


# --- Subscriptions ----------------------------------------------------------------------------------------------------


async def _until_told(r: Client[str], channel: str) -> None:
    """Publish until there is a subscriber."""
    while not await r.publish(channel, "new"):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["channel", "pattern", "shard", "keyspace"])
async def test_subscriptions_follow_a_failover(house: House, resp: Literal[2, 3], kind: str) -> None:
    if kind == "shard" and house.new.version < (7, 0):
        pytest.skip("shard channels came with Redis 7.0")
    for direct in (house.direct, house.to_new):
        await direct.config_set("notify-keyspace-events", "KA")
    async with Client(house.proxy.url, protocol=resp, retry=PATIENT) as r:
        kinds: Any = {
            "channel": lambda: r.subscribe("c", gaps=True),
            "pattern": lambda: r.psubscribe("c*", gaps=True),
            "shard": lambda: r.ssubscribe("c", gaps=True),
            "keyspace": lambda: r.keyspace_events("c", gaps=True),
        }
        async with kinds[kind]() as s:
            await r.ping()  # over a connection that the subscription has not taken over
            await house.fail_over()
            began = time.time()
            await r.set("other", "x")
            async with asyncio.timeout(10):
                gap = await s.get()
                assert isinstance(gap, Gap)
                assert gap.at <= began
                if kind == "keyspace":
                    await house.to_new.set("c", "x")
                    assert (await s.get()).event == "set"
                else:
                    publish = house.to_new.spublish if kind == "shard" else house.to_new.publish
                    assert await publish("c", "new") == 1
                    assert (await s.get()).data == "new"
            assert len(s.gaps) == 1
            for n in range(20):  # nothing moves any more
                await r.set("other", str(n))
            assert len(s.gaps) == 1
        await at_rest(r)
        await in_step(r)


async def test_subscriptions_stay_at_the_same_server(house: House, resp: Literal[2, 3]) -> None:
    """Writes to a replica by mistake make no gaps, however often the pool connects again."""
    await house.direct.replicaof(house.new.host, house.new.port)
    async with Client(house.proxy.url, protocol=resp, retry=None) as r, r.subscribe("c", gaps=True) as s:
        for _ in range(15):
            with pytest.raises(aioresp.ReadOnlyError):
                await r.set("k", "v")
        assert r.stats().made > 5
        assert await r.publish("c", "x") == 1
        assert (await s.get(5)).data == "x"  # type: ignore[union-attr]
        assert s.gaps == ()


async def test_subscriptions_of_other_threads_follow(house: House) -> None:
    async with Client(house.proxy.url, retry=PATIENT) as r:
        entered = threading.Event()

        async def listen() -> object:
            async with r.subscribe("c", gaps=True) as s:
                entered.set()
                return await s.get(20)

        listening = asyncio.create_task(asyncio.to_thread(asyncio.run, listen()))
        await r.ping()
        await asyncio.to_thread(entered.wait, 10)
        await house.fail_over()
        await r.set("k", "v")
        assert isinstance(await listening, Gap)


async def test_a_monitor_stays_at_its_server(house: House) -> None:
    async with Client(house.proxy.url, retry=PATIENT) as r, r.monitor() as m:
        await r.ping()
        await house.fail_over()
        await r.set("k", "v")
        await house.direct.echo("still here")
        async with asyncio.timeout(10):
            async for command in m:
                if command.arguments[0].upper() == "ECHO":
                    break
