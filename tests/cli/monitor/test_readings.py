"""What the monitor reads off a server: figures, rates without its own share, listings, and what it costs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from aioresp import Client
from aioresp.cli.monitor.live import Live
from aioresp.cli.monitor.own import NAME
from aioresp.cli.monitor.queues import PRIORITIES
from aioresp.cli.monitor.rates import Rates, between, break_between
from aioresp.cli.monitor.reading import Own, Reading, reading, without
from aioresp.cli.monitor.rows import KeyReport, Pace
from aioresp.cli.monitor.scan import prefix_of
from aioresp.cli.monitor.words import amount, duration
from aioresp.errors import WrongTypeError
from aioresp.recipes.queue import books
from aioresp.replies.server import Info
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.cli.monitor.watched import APART, until, watching


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server whose counters no other test changes."""
    with start_server(config={"slowlog-log-slower-than": "1000000"}) as running:
        yield running


@pytest.fixture
async def client(own_server: Server) -> AsyncIterator[Client[str]]:
    async with Client(own_server.url, client_name="shop") as r:
        await r.ping()
        yield r
        await r.flushall()


async def test_a_reading_is_what_the_server_says(own_server: Server, client: Client[str]) -> None:
    await client.mset({f"key:{number}": "x" for number in range(6)})
    await client.expire("key:1", 1000)
    await client.expire("key:2", 1000)
    async with watching(own_server) as live:
        found = (await live.read()).whole.reading
    async with asyncio.timeout(20):  # the server counts a connection that has been closed until it notices
        while (info := await client.info()).integer("connected_clients") > 1:
            await asyncio.sleep(0.01)
    assert found is not None
    assert found.identity.flavour == own_server.flavour
    assert found.identity.version == ".".join(map(str, own_server.version))
    assert found.identity.run_id == info.text("run_id")
    assert (found.identity.mode, found.identity.policy, found.identity.loading) == ("standalone", "noeviction", False)
    assert found.connections.limit == info.integer("maxclients")
    assert found.connections.open == info.integer("connected_clients")  # its own is left out
    assert (found.keys, round(found.expiring, 3)) == (6, 0.333)
    assert 0 < found.memory.used <= found.memory.peak + 1_000_000
    assert found.memory.rss > 0
    assert not found.persistence.aof
    assert (found.persistence.save_ok, found.persistence.aof_ok) == (True, True)
    assert found.replication.role == "primary"
    assert found.totals.cpu_system + found.totals.cpu_user > 0
    assert found.server_clock is not None
    assert abs(found.server_clock - found.at) < 60


async def test_rates_are_the_callers_alone(own_server: Server, client: Client[str]) -> None:
    """A server that only the monitor uses stands still, however much the monitor asks."""
    await client.rpush("{mails}:ready:0", "1")
    await client.hset("{mails}:job:1", mapping={"fn": "send", "at": "1000"})
    await client.set("key", "x")
    async with watching(own_server) as live:
        for _ in range(3):
            await live.clients(now=True)
            await live.commands(now=True)
            await live.slow()
            await live.queues()
        assert [report async for report in live.scan_keys(Pace(None))][-1].seen == 3
        idle = (await live.read()).whole
        assert idle.rates is not None, idle
        assert (idle.rates.received, idle.rates.commands, idle.rates.errors) == (0, 0, 0)
        assert (idle.rates.hits, idle.rates.misses) == (0, 0), "its lookups of queues and keys do not count"
        assert idle.rates.bytes_out * idle.rates.seconds < 5_000  # the replies of CLIENT LIST and INFO do not count
        for number in range(40):
            await client.get(f"key:{number}")
        await client.set("key:1", "x")
        for _ in range(10):
            await client.get("key:1")
        for _ in range(3):
            async with Client(own_server.url) as other:
                await other.ping()
        await asyncio.sleep(APART)
        busy = (await live.read()).whole
    rates = busy.rates
    assert rates is not None, busy
    assert rates.received * rates.seconds == pytest.approx(3)
    assert rates.hits * rates.seconds == pytest.approx(10)
    assert rates.misses * rates.seconds == pytest.approx(40)
    assert rates.hit_rate == pytest.approx(0.2)
    assert 54 <= rates.commands * rates.seconds + 0.01 <= 54 + 3 * 5  # with the handshakes of three connections
    assert rates.cpu >= 0


async def test_clients_and_their_end(own_server: Server, client: Client[str]) -> None:
    async with watching(own_server) as live:
        found = await live.clients()
        (own,) = [row for row in found.rows if row.own]
        (shop,) = [row for row in found.rows if row.name == "shop"]
        assert own.name == NAME
        assert (shop.command, shop.database, shop.node, found.lacks) == ("ping", 0, "", "")
        if own_server.version >= (7, 2):
            assert shop.library.startswith("aioresp")
        assert await live.clients() is found, "within its period it is not asked for again"
        assert "stays" in await live.kill(own)
        assert "was closed" in await live.kill(shop)
        assert "gone already" in await live.kill(shop)
        assert await client.ping()
        assert shop.id not in [row.id for row in (await live.clients(now=True)).rows]


async def test_commands_since_the_last_look(own_server: Server, client: Client[str]) -> None:
    await client.rpush("list", "x")
    async with watching(own_server) as live:
        assert "since the start" in (await live.commands()).note.lower()
        for _ in range(20):
            await client.get("key")
        with pytest.raises(WrongTypeError):
            await client.append("list", "x")
        rows = {row.name: row for row in (await live.commands(now=True)).rows}
        assert rows["GET"].calls > 0
        assert rows["GET"].all_calls >= 20
        assert rows["APPEND"].failed > 0
        assert rows["RPUSH"].calls == 0
        own = [name for name in ("INFO", "CLIENT INFO", "CLIENT LIST") if name in rows and rows[name].calls]
        assert own == [], "the monitor alone has called them since"
        assert sum(row.share for row in rows.values()) == pytest.approx(1, abs=0.01)
        assert rows["GET"].share > 0
        if own_server.version >= (7, 0):
            assert rows["GET"].p99 is not None
            assert rows["GET"].p50 is not None
            assert rows["GET"].p50 <= rows["GET"].p99


async def test_the_slow_log_with_names(own_server: Server, client: Client[str]) -> None:
    await client.config_set("slowlog-log-slower-than", 0)
    await client.get("a key with spaces")
    await client.config_set("slowlog-log-slower-than", 1_000_000)
    await client.config_set("latency-monitor-threshold", 1)
    async with watching(own_server) as live:
        found = await live.slow()
    await client.slowlog_reset()
    (entry,) = [row for row in found.rows if row.command.startswith("GET")]
    assert (entry.client, entry.kind, entry.command) == ("shop", "slow", "GET 'a key with spaces'")
    assert found.lacks == ""
    assert NAME not in [row.client for row in found.rows]


async def test_keys_by_size_type_and_prefix(own_server: Server, client: Client[str]) -> None:
    await client.mset({f"user:{number}": "x" * 10 for number in range(300)})
    await client.set("page/1", "x" * 50_000, ex=1000)
    await client.hset("cart", mapping={f"field{number}": "x" * 100 for number in range(500)})
    await client.set(b"\xff\xfe\x1b[31m", "x" * 400)
    async with watching(own_server) as live:
        reports = [report async for report in live.scan_keys(Pace(None))]
        last = reports[-1]
        assert (last.seen, last.finished, last.progress, last.lacks) == (303, True, 1.0, "")
        assert [row.key for row in last.largest[:2]] == ["cart", "page/1"]
        assert last.largest[2].key == r"\xff\xfe\x1b[31m", "a key cannot speak to the terminal"
        assert last.largest[1].ttl > 0 > last.largest[0].ttl
        assert {group.name: group.count for group in last.types} == {"string": 302, "hash": 1}
        assert {group.name: (group.count, group.eternal) for group in last.prefixes} == {
            "(no prefix)": (2, 2),
            "page/": (1, 0),
            "user:": (300, 300),
        }
        assert last.bytes == sum(group.size for group in last.types)
        assert last.eternal == 302


async def test_a_scan_is_slow_and_goes_on_where_it_ended(own_server: Server, client: Client[str]) -> None:
    await client.mset({f"user:{number}": "x" for number in range(1000)})
    async with watching(own_server) as live:
        scan = live.scan_keys(Pace(1000))
        reports: list[KeyReport] = []
        async for report in scan:
            reports.append(report)
            if report.seen:
                break
        await scan.aclose()  # type: ignore[attr-defined]  # an asynchronous generator
        half = reports[-1]
        assert 0 < half.seen < 1000, "a thousand keys a second take a second"
        assert not half.finished
        rest = [report async for report in live.scan_keys(Pace(None), half)]
    assert rest[0].seen == half.seen
    assert (rest[-1].finished, rest[-1].prefixes[0].count, rest[-1].seconds > half.seconds) == (True, 1000, True)
    assert rest[-1].seen == 1000


async def test_monitor_shows_what_others_do(own_server: Server, client: Client[str]) -> None:
    async with watching(own_server) as live:

        async def work() -> None:
            while True:
                await client.set("user:1", "x y")
                await asyncio.sleep(0.01)

        task = asyncio.ensure_future(work())
        tails = []
        async for tail in live.tail(0.4):
            tails.append(tail)
            await live.read()
        task.cancel()
        last = tails[-1]
        assert last.finished
        assert last.left == 0
        assert [name for name, _ in last.commands] == ["SET"], "the monitor's own commands are left out"
        assert [name for name, _ in last.prefixes] == ["user:"]
        assert last.lines[0].command == "SET user:1 'x y'"
        assert last.total == len(last.lines) > 0
        # Its connection has ended, and was not counted.
        moment = await until(live, lambda found: found.whole.reading.connections.open == 1)
        assert moment.whole.reading is not None


async def test_queues_are_found_and_counted(own_server: Server, client: Client[str]) -> None:
    await client.rpush("{mails}:ready:0", "1", "2")
    await client.rpush("{mails}:ready:2", "3")
    await client.zadd("{mails}:delayed", {"4": 1})
    await client.zadd("{mails}:leases", {"5": 1})
    await client.zadd("{mails}:dead", {"6": 1})
    await client.hset("{mails}:job:1", mapping={"fn": "send", "at": "1000"})
    await client.hset("{idle}:job:9", mapping={"fn": "send"})
    await client.set("{other}:delayed", "no queue")
    await client.set("{user}:job:1", "no queue")
    async with watching(own_server) as live:
        found = await live.queues()
        assert [(row.name, row.waiting, row.delayed, row.running, row.dead) for row in found.rows] == [
            ("idle", 0, 0, 0, 0),
            ("mails", 3, 1, 1, 1),
        ]
        assert found.rows[1].oldest is not None
        assert found.rows[1].oldest > 1000
        assert (found.lacks, found.note) == ("", "")
    before = await client.info("commandstats")
    async with watching(own_server, "mails", "none") as live:
        found = await live.queues()
        assert [(row.name, row.waiting) for row in found.rows] == [("mails", 3), ("none", 0)]
    after = await client.info("commandstats")
    assert before.parts("cmdstat_scan") == after.parts("cmdstat_scan"), "named queues are not looked for"
    assert PRIORITIES == books.PRIORITIES


async def test_reading_costs_little(own_server: Server, client: Client[str]) -> None:
    """Under 0.1 % of a core with 50 clients, by the server's own account of the commands' time.

    That account counts time in which a busy machine ran something else, so the best of some attempts counts.
    """
    held = [socket.create_connection(("127.0.0.1", own_server.port)) for _ in range(50)]
    spent: dict[str, int] = {}
    try:
        async with watching(own_server) as live:
            for _ in range(5):
                spent = await cost_of_ten_seconds(live, client)
                if sum(spent.values()) < 10_000:
                    break
    finally:
        for each in held:
            each.close()
    assert {"cmdstat_info"} < set(spent)
    assert sum(spent.values()) < 10_000, spent


async def cost_of_ten_seconds(live: Live, client: Client[str]) -> dict[str, int]:
    """Return the microseconds of each command with which the monitor reads ten times, and lists five times."""
    await client.config_resetstat()
    for number in range(10):
        await live.read()
        if number % 2 == 0:
            await live.clients(now=True)
            await live.commands(now=True)
            await live.slow()
    info = await client.info("commandstats")
    names = [name for name in info if name.startswith("cmdstat_") and "config" not in name]
    return {name: info.parts(name).integer("usec") for name in names}


# --- Without a server -------------------------------------------------------------------------------------------------


def read(**changed: int) -> Reading:
    said = {
        "run_id": "a",
        "redis_version": "7.0.15",
        "uptime_in_seconds": 100,
        "connected_clients": 5,
        "total_connections_received": 1000,
        "total_commands_processed": 5000,
        "used_cpu_sys": 1.5,
        **changed,
    }
    return reading(Info(said), changed.get("at", 50), changed.get("clock", 50))


def test_two_readings_make_rates() -> None:
    before, after = read(), read(at=52, clock=52, total_connections_received=1010, used_cpu_sys=2)
    assert break_between(before, after) == ""
    rates = between(before, after)
    assert rates is not None
    assert (rates.seconds, rates.received, rates.commands, rates.cpu) == (2, 5, 0, 0.25)
    assert rates.hit_rate is None
    assert between(before, before) is None


def test_a_clock_that_was_set_counts_nothing() -> None:
    before, after = read(), read(at=50 - 3600, clock=51, total_connections_received=1001)
    rates = between(before, after)
    assert rates is not None
    assert rates.received == 1


def test_a_machine_that_slept_counts_its_sleep() -> None:
    """Its monotonic clock stood still, while the server went on."""
    before = replace(read(), server_clock=50.0)
    after = replace(read(at=110, clock=51, total_connections_received=1060), server_clock=110.0)
    rates = between(before, after)
    assert rates is not None
    assert rates.received == pytest.approx(1)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (read(at=52, run_id="b", uptime_in_seconds=1), "the server was restarted"),  # type: ignore[arg-type]
        (read(at=52, run_id="b", uptime_in_seconds=9000), "another server answers"),  # type: ignore[arg-type]
        (read(at=52, total_commands_processed=3), "set to zero"),
    ],
)
def test_readings_that_cannot_be_compared(after: Reading, said: str) -> None:
    assert said in break_between(read(), after)


def test_the_own_share_never_leads_below_zero() -> None:
    found = without(Own(9, 2000, 9000, 10), read())
    assert (found.connections.open, found.connections.received, found.totals.commands) == (0, 0, 0)
    rates = between(read(), replace(found, clock=52))
    assert isinstance(rates, Rates)
    assert rates.commands == 0


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        (b"user:1:name", "user:"),
        (b"user_profile:1", "user_profile:"),
        (b"a/b.c", "a/"),
        (b"session-1", "session-"),
        (b"counter", "(no prefix)"),
        (b"{mails}:job:1", "{mails}:"),
        (b"\xff:1", "\\xff:"),
    ],
)
def test_prefixes(key: bytes, prefix: str) -> None:
    assert prefix_of(key) == prefix


def test_figures_in_words() -> None:
    assert [amount(size) for size in (0, 1023, 1024, 10_500, 412 << 20, 1 << 30, 5 << 40)] == [
        *("0 B", "1023 B", "1.0 kB", "10 kB", "412 MB", "1.0 GB", "5.0 TB")
    ]
    assert [duration(seconds) for seconds in (0, 12.4, 119, 240, 7200, 90_000, 12 * 86400)] == [
        *("0 s", "12 s", "119 s", "4 min", "2 h", "1 d", "12 d")
    ]
