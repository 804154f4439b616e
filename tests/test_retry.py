"""What failed is tried again: never what may have run and must not run twice, and never beyond the call's deadline."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import aioresp
from aioresp import Client, Retry
from aioresp.events import ConnectFailed, Event
from aioresp.facts.traits import traits
from aioresp.retry import may_connect_again, may_read_on, may_repeat
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.commands.left_out import catalogue
from tests.rest import at_rest, in_step

# --- The rules -------------------------------------------------------------------------------------------------------


def test_pauses_grow_to_the_cap() -> None:
    steady = Retry(6, base=0.1, cap=0.5, jitter=False)
    assert [steady.pause(n) for n in range(1, 7)] == [0.1, 0.2, 0.4, 0.5, 0.5, None]
    assert Retry(5000, base=1, cap=2, jitter=False).pause(4999) == 2
    assert Retry(1).pause(1) is None


def test_who_never_gives_up_pauses_without_end() -> None:
    steady = Retry(4, base=0.1, cap=0.5, jitter=False)
    assert [steady.pause_without_end(n) for n in (1, 2, 3, 4, 5, 5000)] == [0.1, 0.2, 0.4, 0.4, 0.4, 0.4]
    assert Retry(2, base=0.1, jitter=False).pause_without_end(9) == 0.1
    assert Retry(1).pause_without_end(1) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aioresp.ConnectionLost("x"), True),
        (aioresp.ConnectError("x"), True),
        (aioresp.CommandTimeout("x"), True),
        (aioresp.UnblockedError("x"), True),
        (aioresp.LoadingError("x"), True),
        (aioresp.TLSError("x"), False),
        (aioresp.AuthenticationError("x"), False),
        (aioresp.NoPermissionError("x"), False),
        (aioresp.WrongTypeError("x"), False),
        (aioresp.ClientClosed("x"), False),
    ],
    ids=repr,
)
def test_when_a_reader_asks_again(error: aioresp.RedisError, expected: bool) -> None:
    assert may_read_on(error) is expected


def test_jitter_is_full() -> None:
    drawn = [Retry(base=1.0, cap=1.0).pause(3) or 0.0 for _ in range(2000)]
    assert 0 <= min(drawn) < 0.05
    assert 0.95 < max(drawn) < 1
    assert abs(statistics.mean(drawn) - 0.5) < 0.05


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"attempts": 0}, ValueError, "attempts is 0, not 1 or more"),
        ({"attempts": 10**5000}, ValueError, "attempts is a huge int, not 1 or more"),
        ({"base": -(10**5000)}, ValueError, "base is a huge int, not 0 or more"),
        ({"cap": 10**400}, ValueError, "cap is a huge int, not 0 or more"),
        ({"cap": float("nan")}, ValueError, "cap is nan, not 0 or more"),
        ({"attempts": True}, TypeError, "attempts is bool, not int"),
        ({"attempts": 2.0}, TypeError, "attempts is float, not int"),
        ({"base": -1}, ValueError, "base is -1, not 0 or more"),
        ({"cap": float("inf")}, ValueError, "cap is inf"),
        ({"cap": "1"}, TypeError, "cap is str, not int or float"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Retry(**options)


@pytest.mark.parametrize("error", [aioresp.ConnectionLost("x"), aioresp.ProtocolError("x")], ids=repr)
def test_what_may_have_run_is_repeated_only_if_harmless(error: aioresp.ConnectionLost) -> None:
    assert error.outcome == "unknown"
    assert not may_repeat(error, ("INCR", "k"), idempotent=False)
    assert may_repeat(error, ("INCR", "k"), idempotent=True)
    assert may_repeat(error, ("GET", "k"), idempotent=False)
    assert not may_repeat(error, ("GET", "k"), idempotent=False, reads=False)


def test_what_has_not_run_is_repeated() -> None:
    assert may_repeat(aioresp.ConnectionLost("x", "not sent"), ("EVAL", "x"), idempotent=False)
    for refused in (aioresp.LoadingError, aioresp.BusyError, aioresp.ReadOnlyError, aioresp.TryAgainError):
        assert may_repeat(refused("x"), ("INCR", "k"), idempotent=False)
    for final in (aioresp.CommandTimeout, aioresp.PoolTimeout, aioresp.WrongTypeError, aioresp.ConnectError):
        assert not may_repeat(final("x"), ("GET", "k"), idempotent=True)


@pytest.mark.parametrize(
    "words",
    [
        ("EVAL", "x"),
        (b"evalsha", "x"),
        ("EVAL_RO", "x"),
        ("FCALL", "f"),
        ("EXEC",),
        ("MIGRATE", "host"),
        ("MODULE", "LOAD", "x"),
        ("DEBUG", "RELOAD"),
        ("RG.PYEXECUTE", "x"),
        ("TFCALL", "x"),
    ],
    ids=repr,
)
def test_what_runs_code_is_not_believed(words: tuple[Any, ...]) -> None:
    assert not may_repeat(aioresp.LoadingError("x"), words, idempotent=False)
    assert may_repeat(aioresp.LoadingError("x"), words, idempotent=True)


def test_every_other_command_is() -> None:
    """All of the servers' own commands that a client sends, but for those that run code or ask another server."""
    of_a_connection = re.compile(
        "ASKING|AUTH|DISCARD|HELLO|MONITOR|MULTI|QUIT|READ|RESET|SELECT|UNWATCH|WAIT|.*SUBSCRIBE"
    )
    foreign = re.compile("EVAL|FCALL|EXEC|MIGRATE|MODULE|DEBUG|SHUTDOWN|BACKUP|HIMPORT|P?SYNC|REPLCONF|.* HELP")
    doubted = {
        name for name in catalogue() if not may_repeat(aioresp.LoadingError("x"), name.split(), idempotent=False)
    }
    left = {name for name in doubted if not of_a_connection.match(name) and not foreign.match(name)}
    assert left == {"PFSELFTEST", "TRIMSLOTS"}


def test_whether_connecting_may_succeed_later() -> None:
    def caused(cause: BaseException) -> aioresp.ConnectError:
        error = aioresp.ConnectError("x")
        error.__cause__ = cause
        return error

    assert may_connect_again(caused(ConnectionRefusedError()))
    assert may_connect_again(caused(aioresp.LoadingError("x")))
    assert may_connect_again(caused(aioresp.MaxClientsError("x")))
    assert not may_connect_again(caused(aioresp.ResponseError("ERR DB index is out of range")))
    assert not may_connect_again(aioresp.TLSError("x"))
    assert may_connect_again(caused(ssl.SSLEOFError()))
    assert not may_connect_again(aioresp.AuthenticationError("x"))


@pytest.mark.parametrize("words", [("GET", "k"), (b"get", "k"), ("OBJECT", "ENCODING", "k"), ("XREAD",)], ids=repr)
def test_what_only_reads(words: tuple[Any, ...]) -> None:
    assert traits(words).read_only


@pytest.mark.parametrize("words", [("GETDEL", "k"), ("INCR", "k"), ("GETEX", "k"), ("EVAL", "x"), ("SORT", "k")])
def test_what_does_not_only_read(words: tuple[Any, ...]) -> None:
    assert not traits(words).read_only


# --- Lost connections ------------------------------------------------------------------------------------------------


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.host, server.port) as running:
        yield running


async def test_a_read_is_sent_again(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.set(f"{prefix}k", "v", ex=60)
        for sent in (0, 1, 5, 6):
            proxy.cut_after(sent, "down")
            assert await r.get(f"{prefix}k") == "v"
        assert proxy.cuts == 4
        await in_step(r)


async def test_a_write_is_not(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.cut_after(0, "down")
        with pytest.raises(aioresp.ConnectionLost, match=rf"INCRBY '{prefix}k'") as caught:
            await r.incr(f"{prefix}k")
        assert caught.value.outcome == "unknown"
        await at_rest(r)
        assert await r.get(f"{prefix}k") == "1"
        await r.expire(f"{prefix}k", 60)


async def test_a_write_whose_caller_says_that_it_does_no_harm_is(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.cut_after(0, "down")
        assert await r.with_options(idempotent=True).set(f"{prefix}k", "v", ex=60) is True
        proxy.cut_after(0, "down")
        assert await r.call("SET", f"{prefix}k", "w", "EX", 60, idempotent=True) == "OK"
        proxy.cut_after(0, "down")
        with pytest.raises(aioresp.ConnectionLost):
            await r.call("SET", f"{prefix}k", "w", "EX", 60)


async def test_what_never_left_is_sent_again(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await asyncio.gather(r.ping(), r.ping())  # after several in one turn, the next are collected too
        connection = r.node.pools.here().current
        calls = [asyncio.create_task(r.incr(f"{prefix}k")) for _ in range(3)]
        await asyncio.sleep(0)  # packed and waiting for the write, which comes at the end of this turn
        connection.connection_lost(None)
        assert sorted(await asyncio.gather(*calls)) == [1, 2, 3]
        await r.expire(f"{prefix}k", 60)


async def test_no_retries_if_none_are_wanted(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.cut_after(0, "down")
        with pytest.raises(aioresp.ConnectionLost):
            await r.with_options(retry=None).get(f"{prefix}k")
        proxy.cut_after(0, "down")
        assert await r.get(f"{prefix}k") is None


@pytest.mark.parametrize("cuts", [300, pytest.param(1000, marks=pytest.mark.ci)])
@pytest.mark.usefixtures("no_debug")
async def test_hundreds_of_cuts(proxy: Proxy, prefix: str, cuts: int) -> None:
    """INCR is never applied twice, whatever byte the connection is cut at, and reads come through."""
    counter, mark = f"{prefix}counter", f"{prefix}mark"
    chance = random.Random(5)
    acknowledged = unknown = reads = 0
    async with Client(proxy.url, timeout=10) as r:
        await r.set(mark, "here", ex=300)
        while proxy.cuts < cuts:
            proxy.cut_after(chance.randrange(60), chance.choice(("up", "down")), rst=chance.random() < 0.5)
            calls = [r.incr(counter), r.get(mark), r.incr(counter), r.get(mark)]
            for answer in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(answer, aioresp.ConnectionLost):
                    assert answer.outcome == "unknown"
                    assert answer.command == "INCRBY"
                    unknown += 1
                elif answer == "here":
                    reads += 1
                else:
                    assert isinstance(answer, int), answer
                    acknowledged += 1
        proxy.heal()
        applied = int(await r.get(counter) or 0)
        await r.delete(counter, mark)
    assert reads == acknowledged + unknown  # all of them
    assert unknown > cuts / 10
    assert acknowledged <= applied <= acknowledged + unknown


# --- Scripts, which say what they like --------------------------------------------------------------------------------

NOT_NOW = (
    "BUSY taken",
    "TRYAGAIN later",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "ERR max number of clients reached",
)
LIE = "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])"
LYING_LIBRARY = """#!lua name=aioresp_liar
redis.register_function('liar', function(keys, args)
    redis.call('INCR', keys[1])
    return redis.error_reply(args[1])
end)
"""


@pytest.mark.parametrize("said", NOT_NOW)
async def test_what_a_script_says_is_its_answer(server: Server, prefix: str, protocol: int, said: str) -> None:
    n = f"{prefix}n"
    ran = 0
    async with Client(server.url, protocol=3 if protocol == 3 else 2) as r:
        sha = await r.script_load(LIE)
        script = r.register_script(LIE)

        async def piped() -> None:
            async with r.pipeline() as p:
                p.eval(LIE, 1, n, said)

        async def piped_by_sha() -> None:
            async with r.pipeline() as p:
                p.evalsha(sha, 1, n, said)
                p.evalsha(sha, 1, n, said)

        async def in_a_transaction() -> None:
            async with r.pipeline(transaction=True) as p:
                p.eval(LIE, 1, n, said)

        async def on_a_lease() -> None:
            async with r.connection() as c:
                await c.eval(LIE, 1, n, said)

        async def by_hand() -> None:
            async with r.connection() as c:
                await c.call("MULTI")
                await c.eval(LIE, 1, n, said)
                for answer in await c.call("EXEC"):
                    raise answer

        calls: list[tuple[Callable[[], Awaitable[object]], int]] = [
            (lambda: r.eval(LIE, 1, n, said), 1),
            (lambda: r.evalsha(sha, 1, n, said), 1),
            (lambda: r.call("eval", LIE, 1, n, said), 1),
            (lambda: script([n], [said]), 1),
            (piped, 1),
            (piped_by_sha, 2),
            (in_a_transaction, 1),
            (on_a_lease, 1),
            (by_hand, 1),
        ]
        if server.version >= (7, 0):
            await r.function_load(LYING_LIBRARY, replace=True)
            function = r.register_function("liar", LYING_LIBRARY)
            calls += [(lambda: r.fcall("liar", 1, n, said), 1), (lambda: function([n], [said]), 1)]
        for call, runs in calls:
            with pytest.raises(aioresp.ResponseError):
                await call()
            ran += runs
            assert await r.get(n) == str(ran), call
        patient = r.with_options(idempotent=True, retry=Retry(3, base=0))
        with pytest.raises(aioresp.ResponseError):
            await patient.eval(LIE, 1, n, said)
        assert await r.get(n) == str(ran + 3)
        with pytest.raises(aioresp.ResponseError):
            async with patient.pipeline() as p:
                p.eval(LIE, 1, n, said)
        assert await r.get(n) == str(ran + 6)
        await in_step(r)


async def test_a_script_that_only_reads_is_answered_too(server: Server, prefix: str) -> None:
    if server.version < (7, 0):
        pytest.skip("needs 7.0")
    async with Client(server.url) as r:
        await r.config_resetstat()
        with pytest.raises(aioresp.BusyError):
            await r.eval_ro("return redis.error_reply('BUSY x')", 0)
        assert (await r.info("commandstats"))["cmdstat_eval_ro"]["calls"] == 1


async def test_a_script_that_publishes_and_then_writes_on_a_replica(prefix: str) -> None:
    """The server's own READONLY, but after the script has begun."""
    async with start_server() as own, Client(own.url) as r, r.subscribe("news") as s:
        await r.call("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(aioresp.ResponseError):
            await r.eval("redis.call('PUBLISH', 'news', 'x') return redis.call('SET', KEYS[1], 1)", 1, "k")
        await r.publish("news", "last")
        assert [(await anext(s)).data for _ in range(2)] == ["x", "last"]


async def test_a_pipeline_without_scripts_is_sent_again_and_one_with_a_script_is_not() -> None:
    async with start_server() as own, Client(own.url, retry=Retry(100, base=0.05, cap=0.05)) as r:
        await r.call("REPLICAOF", "127.0.0.1", 1)
        for transaction in (False, True):
            p = r.pipeline(transaction)
            p.set("k", 1)
            waiting = asyncio.create_task(p.execute())
            await asyncio.sleep(0.2)
            assert not waiting.done()
            await r.call("REPLICAOF", "NO", "ONE")
            assert await waiting == [True]
            await r.call("REPLICAOF", "127.0.0.1", 1)
        p = r.pipeline()
        p.set("k", 2)
        p.eval("return redis.error_reply('READONLY x')", 0)
        values = await p.execute(raise_on_error=False)
        assert [type(value) for value in values] == [aioresp.ReadOnlyError] * 2
        assert (await r.info("commandstats"))["cmdstat_eval"]["calls"] == 1


async def test_what_a_script_says_on_a_lease_is_not_taken_for_the_end_of_a_transaction(
    server: Server, prefix: str
) -> None:
    """Else its connection would go back to the others with a key watched."""
    async with Client(server.url, limit=2) as r:
        async with r.connection() as c:
            await c.call("WATCH", f"{prefix}k")
            with pytest.raises(aioresp.ExecAbortError):
                await c.eval("return redis.error_reply('EXECABORT x')", 0)
        await at_rest(r)
        await r.set(f"{prefix}k", 1)
        async with r.connection() as c:
            await c.call("MULTI")
            assert await c.call("EXEC") == []  # not None


# --- Servers that cannot now -----------------------------------------------------------------------------------------


async def test_a_loading_server_is_waited_for(server: Server) -> None:
    # Each key takes 10 ms to load.
    slow = {"key-load-delay": "10000", "loading-process-events-interval-bytes": "1024"}
    if server.version < (7, 0):
        pytest.skip("needs a server of 7.0, which can be made to load slowly")
    async with start_server(config=slow) as own, Client(own.url, timeout=10) as r:
        for n in range(50):
            await r.set(f"k{n}", "x" * 1000)
        await r.save()
        await asyncio.to_thread(own.kill)
        starting = asyncio.create_task(asyncio.to_thread(own.start))
        start = time.monotonic()
        assert await r.get("k1") == "x" * 1000
        assert time.monotonic() - start > 0.3
        await starting


async def test_a_busy_server_is_waited_for(prefix: str) -> None:
    async with start_server(config={"lua-time-limit": "50"}) as own, Client(own.url, timeout=10) as r:
        spinning = asyncio.create_task(r.eval("while true do end", 0))
        async with Client(own.url, timeout=10) as other:
            await asyncio.sleep(0.2)
            with pytest.raises(aioresp.BusyError):
                await other.with_options(retry=None).set("k", 1)
            waiting = asyncio.create_task(other.set("k", 1))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await other.script_kill()
            assert await waiting is True
        with pytest.raises(aioresp.ResponseError, match="killed"):
            await spinning


async def test_the_deadline_holds_for_all_attempts_together() -> None:
    async with start_server() as own, Client(own.url, timeout=0.5, retry=Retry(1000, cap=0.05)) as r:
        patient = r.with_options(timeout=20)
        await patient.call("REPLICAOF", "127.0.0.1", 1)
        start = time.monotonic()
        # The last attempt may be the one that runs out of time, over a new connection.
        late = (aioresp.ReadOnlyError, aioresp.CommandTimeout, aioresp.ConnectTimeout)
        with pytest.raises(late, match=r"\[SET 'k'\]"):
            await r.set("k", 1)
        assert 0.4 < time.monotonic() - start < 10  # a thousand attempts take most of a minute
        call = asyncio.create_task(r.with_options(timeout=None).set("k", 1))
        await asyncio.sleep(0.6)
        await patient.call("REPLICAOF", "NO", "ONE")
        assert await call is True


async def test_a_call_that_is_to_be_sent_again_can_be_cancelled() -> None:
    async with start_server() as own, Client(own.url, retry=Retry(base=30, cap=30, jitter=False), timeout=100) as r:
        await r.call("REPLICAOF", "127.0.0.1", 1)
        call = asyncio.create_task(r.set("k", 1))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 15)  # it would sleep for 30
        await in_step(r)


async def test_a_server_that_restarts_is_waited_for() -> None:
    durable = {"appendonly": "yes", "appendfsync": "always"}
    async with start_server(config=durable) as own, Client(own.url, timeout=10, retry=Retry(50)) as r:
        await r.set("k", "v")
        await asyncio.to_thread(own.kill)
        calls = [asyncio.create_task(r.get("k")) for _ in range(500)]
        await asyncio.sleep(0.5)
        assert not any(call.done() for call in calls)
        await asyncio.to_thread(own.start)
        assert await asyncio.gather(*calls) == ["v"] * 500
        assert r.stats().open == 1


# --- A dead server ---------------------------------------------------------------------------------------------------


class Doorkeeper:
    """Accepts connections, counts them, and ends each after a while without a word."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.made: list[float] = []
        self.now = self.most = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1) == b"\x16":  # the question, asked once, whether the port speaks TLS
            writer.close()
            return
        self.made.append(time.monotonic())
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        writer.close()


async def test_a_dead_server_costs_one_attempt_at_a_time() -> None:
    doorkeeper = Doorkeeper(0.02)
    async with await asyncio.start_server(doorkeeper, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        retry = Retry(6, base=0.1, cap=0.1, jitter=False)
        async with Client(port=port, retry=retry, timeout=10, limit=50, concurrency=1) as r:
            answers = await asyncio.gather(*(r.get("k") for _ in range(1000)), return_exceptions=True)
            assert {type(answer) for answer in answers} == {aioresp.ConnectError}
            assert (doorkeeper.most, len(doorkeeper.made)) == (1, 6)
            gaps = [after - before for before, after in zip(doorkeeper.made, doorkeeper.made[1:], strict=False)]
            assert min(gaps) > 0.1


async def test_the_deadline_of_a_call_ends_its_wait_for_a_dead_server() -> None:
    async with Client("redis://127.0.0.1:1", timeout=0.3, retry=Retry(1000, cap=0.05)) as r:
        start = time.monotonic()
        with pytest.raises(aioresp.ConnectTimeout, match=r"no connection in [\d.]+ s: nothing listens at") as caught:
            await r.get("k")
        assert 0.29 < time.monotonic() - start < 10  # a thousand attempts take most of a minute
        assert caught.value.phase == "connect"
        assert isinstance(caught.value.__cause__, aioresp.ConnectError)


async def test_wrong_credentials_are_not_tried_again() -> None:
    heard: list[Event] = []
    async with (
        start_server(config={"requirepass": "right"}) as own,
        Client(own.url, password="wrong", events=heard.append) as r,
    ):
        with pytest.raises(aioresp.AuthenticationError):
            await r.get("k")
        assert [type(event) for event in heard].count(ConnectFailed) == 1  # up to ten if it were tried again


def test_the_default_pauses() -> None:
    """As the documentation says: 20 ms, doubling to 1 s, for ten attempts."""
    retry = Retry(jitter=False)
    assert [retry.pause(failures) for failures in (1, 2, 7, 9, 10)] == [0.02, 0.04, 1.0, 1.0, None]
