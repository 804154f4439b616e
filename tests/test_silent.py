"""A connection dies without a word while commands are under way: it is found out, and a busy server is left alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from aioresp import Client, CommandTimeout, ConnectionLost, RedisError, Retry
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.wire.test_race import free_port

#: Seconds of the time limit: a silence that is found out takes much less.
LIMIT = 20


@pytest.fixture(scope="module")
def patient() -> Iterator[Server]:
    """A server of its own, which may be held up."""
    with start_server() as plain:
        debug = ("--enable-debug-command", "yes") if plain.version >= (7, 0) else ()
    with start_server(*debug) as running:
        yield running


def swallow(proxy: Proxy) -> None:
    """Let the open connections die: they take bytes, and nothing comes back. New ones work."""
    proxy.half_open()
    proxy.accept()


async def plain(r: Client[str], key: str) -> object:
    return await r.get(key)


async def pipeline(r: Client[str], key: str) -> object:
    async with r.pipeline() as p:
        p.get(key)
        return (await p.execute())[0]


async def transaction(r: Client[str], key: str) -> object:
    async with r.pipeline(transaction=True) as p:
        p.get(key)
        return (await p.execute())[0]


async def large_reply(r: Client[str], key: str) -> object:
    return (await r.mget([key] * 1000))[0]


@pytest.mark.turns(3)
@pytest.mark.parametrize(("limit", "concurrency"), [(10, 5000), (1, 5000), (6, 1)])
@pytest.mark.parametrize("kind", [plain, pipeline, transaction, large_reply])
async def test_what_only_reads_is_sent_again(
    proxy: Proxy,
    prefix: str,
    resp: Literal[2, 3],
    kind: Callable[[Client[str], str], Awaitable[object]],
    limit: int,
    concurrency: int,
) -> None:
    async with Client(proxy.url, protocol=resp, timeout=LIMIT, limit=limit, concurrency=concurrency) as r:
        await r.set(f"{prefix}k", "x", ex=60)
        assert [await kind(r, f"{prefix}k") for _ in range(3)] == ["x"] * 3
        await asyncio.gather(*(r.ping() for _ in range(6)))
        swallow(proxy)
        async with asyncio.timeout(LIMIT / 2):
            assert await asyncio.gather(*(kind(r, f"{prefix}k") for _ in range(10))) == ["x"] * 10
        assert r.stats().open <= limit


async def test_what_writes_may_have_run(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=LIMIT) as r:
        await r.ping()
        swallow(proxy)
        async with asyncio.timeout(LIMIT / 2):
            answers = await asyncio.gather(*(r.incr(f"{prefix}k") for _ in range(5)), return_exceptions=True)
            assert {type(answer) for answer in answers} == {ConnectionLost}
            assert all("may have run" in str(a) or getattr(a, "outcome", "") == "unknown" for a in answers)
            # Nothing is sent to the dead one any more.
            assert await r.incr(f"{prefix}k") == 1
        await r.unlink(f"{prefix}k")
        assert (r.stats().made, r.stats().open) == (2, 1)


async def test_a_lease_hears_of_it(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=LIMIT, limit=3) as r, r.connection() as c:
        await c.ping()
        swallow(proxy)
        async with asyncio.timeout(LIMIT / 2):
            with pytest.raises(ConnectionLost):
                await c.get(f"{prefix}k")


async def test_it_is_found_out_under_load(proxy: Proxy, prefix: str) -> None:
    """Commands that begin after the first doubt are answered, and none is late."""
    async with Client(proxy.url, timeout=LIMIT) as r:
        failures: list[RedisError] = []
        over = False

        async def work(write: bool) -> None:
            while not over:
                try:
                    await (r.incr(f"{prefix}n") if write else r.get(f"{prefix}n"))
                except RedisError as error:
                    failures.append(error)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(work(n % 4 == 0)) for n in range(20)]
        await asyncio.sleep(0.2)
        swallow(proxy)
        while r.stats().made < 2:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        over = True
        await asyncio.gather(*tasks)
        assert {type(failure) for failure in failures} == {ConnectionLost}
        assert len(failures) <= 10  # the writes of a moment, as each of five tasks waits for its own
        await r.unlink(f"{prefix}n")


@pytest.fixture
async def cut_off() -> AsyncIterator[Callable[[Client[str]], None]]:
    """Drop all packets of a client's connections, as a firewall does that has forgotten them."""
    if shutil.which("iptables") is None or os.geteuid() != 0:
        pytest.skip("needs root, and iptables")
    rules: list[list[str]] = []

    def cut(r: Client[str]) -> None:
        for connection in r.node.pools.here()._shared:
            assert connection._transport is not None
            port = str(connection._transport.get_extra_info("sockname")[1])
            for side in ("--sport", "--dport"):
                rule = ["INPUT", "-p", "tcp", side, port, "-j", "DROP"]
                subprocess.run(["iptables", "-A", *rule], check=True)
                rules.append(rule)

    try:
        subprocess.run(["iptables", "-L", "INPUT", "-n"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("iptables does not work here")
    yield cut
    for rule in rules:
        subprocess.run(["iptables", "-D", *rule], check=True)


@pytest.mark.parametrize("allowed", [True, False], ids=["", "no CLIENT LIST"])
async def test_a_firewall_forgets_the_connection(
    server: Server, prefix: str, cut_off: Callable[[Client[str]], None], allowed: bool
) -> None:
    async with Client(server.url) as admin:
        rules = ["on", ">pw", "~*", "&*", "+@all"] + ([] if allowed else ["-client"])
        await admin.call("ACL", "SETUSER", "forgotten", *rules)
        url = f"redis://forgotten:pw@{server.host}:{server.port}"
        async with Client(url, timeout=LIMIT) as r:
            await r.set(f"{prefix}k", "x", ex=60)
            cut_off(r)
            async with asyncio.timeout(LIMIT / 2):
                assert await asyncio.gather(*(r.get(f"{prefix}k") for _ in range(10))) == ["x"] * 10
        await admin.call("ACL", "DELUSER", "forgotten")


# --- Nothing healthy is dropped ---------------------------------------------------------------------------------------


async def sleeps(other: Client[str]) -> None:
    await other.call("DEBUG", "SLEEP", "2.5")


async def works(other: Client[str]) -> None:
    now = "redis.call('TIME')"
    await other.eval(f"local t = {now} repeat local n = {now} until (n[1]-t[1])*1000000 + n[2]-t[2] > 2500000", 0)


async def pauses(other: Client[str]) -> None:
    await other.call("CLIENT", "PAUSE", "2500", "WRITE")
    await asyncio.sleep(2.4)


async def pauses_all(other: Client[str]) -> None:
    await other.call("CLIENT", "PAUSE", "2500", "ALL")


@pytest.mark.turns(4)
@pytest.mark.parametrize("busy", [sleeps, works, pauses, pauses_all])
@pytest.mark.parametrize("concurrency", [5000, 1])
async def test_a_busy_server_keeps_its_connections(
    patient: Server, prefix: str, resp: Literal[2, 3], busy: Callable[[Client[str]], Awaitable[None]], concurrency: int
) -> None:
    async with (
        Client(patient.url, timeout=LIMIT) as other,
        Client(patient.url, protocol=resp, timeout=LIMIT, concurrency=concurrency, limit=4) as r,
    ):
        await asyncio.gather(*(r.ping() for _ in range(8)))
        before = {connection.id for connection in r.node.pools.here()._shared}
        held_up = asyncio.ensure_future(busy(other))
        await asyncio.sleep(0.1)
        calls = [r.incr(f"{prefix}k") for _ in range(4)]
        assert sorted(await asyncio.gather(*calls)) == [1, 2, 3, 4]
        await held_up
        assert await r.incr(f"{prefix}k") == 5
        await asyncio.sleep(0.1)
        assert {connection.id for connection in r.node.pools.here()._shared} == before
        assert r.stats().made == len(before)


async def test_a_reply_that_arrives_slowly_is_a_sign_of_life(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=LIMIT) as r:
        await r.set(f"{prefix}k", "x" * 300_000, ex=60)
        pieces = iter(range(1000))
        proxy.split = 40_000
        proxy.delay = lambda: next(pieces) * 0.3
        assert len(await r.get(f"{prefix}k") or "") == 300_000
        proxy.heal()
        assert r.stats().made == 1


async def test_a_server_that_answers_nobody_loses_nothing(proxy: Proxy) -> None:
    async with Client(proxy.url, timeout=2.5, retry=None) as r:
        await r.ping()
        proxy.stall()
        calls = [asyncio.ensure_future(r.ping()) for _ in range(3)]
        await asyncio.sleep(1.9)
        proxy.resume()
        assert await asyncio.gather(*calls) == [True] * 3
        assert r.stats().made == 1
        assert r.stats().open == 1


async def test_a_pop_that_waits_is_not_asked_about(server: Server, prefix: str) -> None:
    async with Client(server.url) as r, Client(server.url) as other:
        before = (await other.info("stats")).integer("total_connections_received")
        assert await r.blpop(f"{prefix}none", timeout=2.5) is None
        after = (await other.info("stats")).integer("total_connections_received")
        assert after - before <= 2


async def test_closing_ends_an_inquiry(proxy: Proxy) -> None:
    r = Client(proxy.url, timeout=LIMIT, retry=None)
    await r.ping()
    proxy.half_open()
    call: asyncio.Future[Any] = asyncio.ensure_future(r.ping())
    while not r.node.pools.here().doubts:
        await asyncio.sleep(0.02)
    async with asyncio.timeout(LIMIT / 2):
        await r.aclose()
        with pytest.raises(RedisError):
            await call
    assert not isinstance(call.exception(), CommandTimeout)


@pytest.mark.turns(2)
@pytest.mark.parametrize("use", ["transaction", "monitor", "subscription"])
async def test_the_one_that_is_asked_is_taken_meanwhile(
    proxy: Proxy, prefix: str, resp: Literal[2, 3], use: Literal["transaction", "monitor", "subscription"]
) -> None:
    """An inquiry asks more than once, and an idle connection may get a user of its own between two questions."""
    async with Client(proxy.url, protocol=resp, timeout=LIMIT, retry=None) as r, r.connection() as dead:
        await dead.ping()
        swallow(proxy)
        await r.ping()
        call: asyncio.Future[Any] = asyncio.ensure_future(dead.get(f"{prefix}k"))
        made, before = r.stats().made, proxy.bytes_down
        while proxy.bytes_down == before:  # the first question is not answered
            await asyncio.sleep(0.005)
        if use == "transaction":
            async with r.connection() as c:
                await c.call("MULTI")
                await c.ping()
                await asyncio.wait([call])
                assert await c.call("EXEC") == ["PONG"]
        elif use == "monitor":
            async with r.monitor() as monitor:
                await asyncio.wait([call])
                assert not monitor._ended
        else:
            async with r.subscribe(f"{prefix}c") as s:
                await asyncio.wait([call])
                assert await r.publish(f"{prefix}c", "x") == 1
                assert [await anext(aiter(s))][0].data == "x"  # no Gap: the connection was not lost
        assert r.stats().made > made  # for the rest of the inquiry
        with pytest.raises(ConnectionLost):
            await call


# --- Several servers behind one address -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second() -> Iterator[Server]:
    """A server of the same kind, whose clients have higher numbers."""
    with start_server() as running:
        yield running


async def _raise_numbers(server: Server, above: int) -> None:
    """Let a server give its clients numbers that are above this one."""
    while True:
        async with Client(server.url) as r:
            if await r.client_id() > above:
                return


async def in_lease(r: Client[str], key: str) -> object:
    async with r.connection() as c:
        return await c.get(key)


@pytest.mark.turns(2)
@pytest.mark.parametrize(("kind", "concurrency"), [(plain, 5000), (plain, 1), (transaction, 5000), (in_lease, 5000)])
async def test_a_witness_of_another_server_is_not_believed(
    patient: Server,
    second: Server,
    resp: Literal[2, 3],
    kind: Callable[[Client[str], str], Awaitable[object]],
    concurrency: int,
) -> None:
    """A load balancer leads the question to another server, which does not know the connection."""
    async with (
        Proxy(patient.host, patient.port) as proxy,
        Client(patient.url, timeout=LIMIT) as other,
        Client(proxy.url, protocol=resp, timeout=LIMIT, concurrency=concurrency, retry=None) as r,
    ):
        await kind(r, "k")
        await _raise_numbers(second, await other.client_id())
        proxy.lead_to(second.host, second.port)
        asleep = asyncio.create_task(other.call("DEBUG", "SLEEP", "2.5"))
        await asyncio.sleep(0.1)
        assert await kind(r, "k") is None
        await asleep
        assert {connection.server for connection in r.node.pools.here()._shared} == {await _run_id(patient)}


async def test_a_client_of_that_number_at_another_server(patient: Server, second: Server, resp: Literal[2, 3]) -> None:
    """It is as old by coincidence, and idle: it is another one all the same."""
    async with Proxy(patient.host, patient.port) as proxy, Client(patient.url, timeout=LIMIT) as other:
        await _raise_numbers(second, await other.client_id())
        async with Client(second.url) as here:
            await _raise_numbers(patient, await here.client_id() + 20)
            async with Client(proxy.url, protocol=resp, timeout=LIMIT, retry=None) as r:
                await r.ping()
                number = r.node.pools.here().current.id
                assert number is not None
                await _raise_numbers(second, number - 2)
                async with Client(second.url, lib_name=None) as twin:
                    assert await twin.client_id() == number
                    proxy.lead_to(second.host, second.port)
                    asleep = asyncio.create_task(other.call("DEBUG", "SLEEP", "2.5"))
                    await asyncio.sleep(0.1)
                    assert await r.get("k") is None
                    await asleep
                assert r.node.pools.here().current.id == number


async def _run_id(server: Server) -> object:
    async with Client(server.url) as r:
        return (await r.info("server"))["run_id"]


async def test_a_balancer_of_connections(patient: Server, second: Server, prefix: str, tmp_path: Path) -> None:
    """A real one, which leads connections to both servers in turns while one of them is busy."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin")
    if program is None:
        pytest.skip("needs haproxy")
    port, config = free_port(), tmp_path / "haproxy.cfg"
    config.write_text(
        f"defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen redis\n bind 127.0.0.1:{port}\n balance roundrobin\n"
        f" server a {patient.host}:{patient.port}\n server b {second.host}:{second.port}\n"
    )
    retry = Retry(100, base=0.05, jitter=False, cap=0.1)  # until it listens
    options: Any = {"retry": retry, "limit": 6, "concurrency": 1}
    with subprocess.Popen(
        [program, "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            async with (
                Client(patient.url, timeout=LIMIT) as other,
                Client(f"redis://127.0.0.1:{port}", password=patient.password, timeout=LIMIT, **options) as r,
            ):
                await _raise_numbers(second, await other.client_id())
                await asyncio.gather(*(r.ping() for _ in range(200)))
                before = {connection.number for connection in r.node.pools.here()._shared}
                assert len({connection.server for connection in r.node.pools.here()._shared}) == 2
                asleep = asyncio.create_task(other.call("DEBUG", "SLEEP", "2.5"))
                await asyncio.sleep(0.1)
                numbers = await asyncio.gather(*(r.incr(f"{prefix}n") for _ in range(4)))
                assert len(numbers) == 4  # by both servers, and none is lost
                await asleep
                assert before <= {connection.number for connection in r.node.pools.here()._shared}
        finally:
            process.terminate()
