"""Passwords and values are in nothing that is shown or logged, on whatever path a call ends; and keys are shortened."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typer.testing import CliRunner

import aioresp
from aioresp import Client, Credentials
from aioresp.cli.app import app
from aioresp.command import KEY_SHOWN
from aioresp.otel import tracing
from aioresp.pubsub.keyspace import KeyEvent
from aioresp.pubsub.monitor import MonitoredCommand
from aioresp.pubsub.topics import Message
from aioresp.replies.streams import Entry, GroupEntry
from aioresp.streams.delivery import Delivery
from aioresp.streams.reader import StreamEntry
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import until
from tests.security.hostile import hostile, says
from tests.security.tls import Paths, tls_server

# Put together here, lest a traceback show them as a line of this file.
PASSWORD = "-".join(("hunter2", "password"))
VALUE = "-".join(("hunter2", "value"))
SECRET = "hunter2"

#: What a caller is given shows what is in it, as a dict would.
RESULTS = (Message, KeyEvent, MonitoredCommand, StreamEntry, Delivery, Entry, GroupEntry)


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    with start_server(config={"requirepass": PASSWORD}) as s:
        yield s


class Watched:
    """Everything that a run shows: errors, log records, events, spans, and the repr of what is alive."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog
        self.events: list[Any] = []
        self.errors: list[BaseException] = []
        self.shown: list[str] = []
        self.spans = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.figures = InMemoryMetricReader()
        self.middleware = tracing(tracer_provider=tracers, meter_provider=MeterProvider([self.figures]))

    @property
    def options(self) -> Any:
        return {"events": self.events.append, "middleware": self.middleware, "slow_after": 0.001}

    async def fails(self, what: Awaitable[Any], *kinds: type[BaseException]) -> Any:
        """Note the error that this ends with."""
        with pytest.raises(kinds or aioresp.RedisError) as caught:
            await what
        self.see(caught.value)
        return caught.value

    def refuses(self, what: Callable[[], Any], *kinds: type[BaseException]) -> BaseException:
        with pytest.raises(kinds or (ValueError, TypeError)) as caught:
            what()
        self.see(caught.value)
        return caught.value

    def see(self, error: BaseException) -> None:
        self.errors.append(error)
        self.look()

    def look(self) -> None:
        """Note what the living things show."""
        for thing in gc.get_objects():
            # Of some types written in C `__module__` is no text.
            mine = str(type(thing).__module__).startswith("aioresp")
            if mine and not isinstance(thing, (type, *RESULTS)):
                self.shown += [repr(thing), str(thing)]
        tasks = [repr(task) for task in asyncio.all_tasks()] if _running() else []
        self.shown += tasks

    def texts(self) -> Iterator[str]:
        yield from self.shown
        for error in self.errors:
            yield "".join(traceback.format_exception(error))
            yield from _of(error)
        for record in self.caplog.records:
            yield record.getMessage()
            yield repr(record.args)
            if record.exc_info:
                yield "".join(traceback.format_exception(record.exc_info[1]))
        for event in self.events:
            yield repr(event)
            yield repr(vars(event))
        for span in self.spans.get_finished_spans():
            yield span.to_json()
        data = self.figures.get_metrics_data()
        yield "" if data is None else json.dumps(json.loads(data.to_json()))

    def check(self) -> None:
        leaks = [text for text in self.texts() if SECRET in text]
        assert leaks == []


def _running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _of(error: BaseException | None) -> Iterator[str]:
    """Return all that an error and those behind it show, also what a traceback would leave out."""
    while error is not None:
        yield repr(error)
        yield str(error)
        yield repr(error.args)
        yield repr(vars(error))
        yield from _of(error.__cause__)
        error = error.__context__


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[Watched]:
    caplog.set_level(logging.DEBUG)
    gc.collect()
    gc.freeze()  # what was there before is not looked at, now or later: there is a lot of it
    # In debug mode asyncio logs slow callbacks with their arguments: futures, which show their results.
    logging.getLogger("asyncio").addFilter(_not_slow)
    watched = Watched(caplog)
    yield watched
    logging.getLogger("asyncio").removeFilter(_not_slow)
    watched.check()


def _not_slow(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Executing")


def test_the_watch_finds_what_there_is(caplog: pytest.LogCaptureFixture) -> None:
    ways: list[Callable[[Watched], object]] = [
        lambda w: w.see(aioresp.RedisError(VALUE)),
        lambda w: w.see(_caused(aioresp.RedisError("x"), ValueError(VALUE))),
        lambda w: logging.getLogger("aioresp").warning("%s", VALUE),
        lambda w: w.events.append(aioresp.Lost((VALUE,), None, (), (), ValueError())),
        lambda w: w.shown.append(repr([VALUE])),
    ]
    for way in ways:
        caplog.clear()
        watched = Watched(caplog)
        watched.check()
        way(watched)
        with pytest.raises(AssertionError):
            watched.check()


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


# --- Options and URLs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}",
        f"redis://me:{PASSWORD}",
        f"redis://me:{PASSWORD}/0",
        f"redis://me:{PASSWORD}:6379",
        f"redis://:{PASSWORD}@host:port",
        f"redis://:{PASSWORD}/x@host",
        f"redis://:{PASSWORD}#x@host",
        f"redis://:{PASSWORD}?x@host",
        f"redis://:[{PASSWORD}@host",
        f"redis://:{PASSWORD}]@host",
        f"redis://:{PASSWORD}@host:1:2",
        f"redis://:{PASSWORD}@host/db",
        f"redis://:{PASSWORD}@host?limit=x",
        f"redis://:{PASSWORD}@host?nonsense=1",
        f"redis://:{PASSWORD}@host?limit=0",
        f"http://:{PASSWORD}@host",
        f":{PASSWORD}@host",
        f"//:{PASSWORD}@host",
        f"redis//:{PASSWORD}@host",
        f"redis://host?passwort={PASSWORD}",
        f"redis://host?username=me&pasword={PASSWORD}",
        f"redis://host?password={PASSWORD}&limit=x",
        f"rediss://host?ssl_password={PASSWORD}",
        f"redis://host:6379?ssl_password={PASSWORD}",
        f"unix://:{PASSWORD}@",
        f"redis://:{PASSWORD}@ho st:x",
    ],
)
def test_bad_urls(watched: Watched, url: str) -> None:
    watched.refuses(lambda: Client(url))


@pytest.mark.parametrize(
    "options",
    [
        {"password": PASSWORD.encode()},
        {"password": [PASSWORD]},
        {"username": "me", "password": {PASSWORD}},
        {"password": PASSWORD, "credential_provider": lambda: PASSWORD},
        {"credential_provider": PASSWORD},
        {"ssl": True, "ssl_password": PASSWORD},
        {"ssl_password": PASSWORD},
        {"ssl": True, "ssl_password": PASSWORD.encode()},
        {"password": PASSWORD, "limit": 0},
        {"password": PASSWORD, "nonsense": 1},
        {"password": PASSWORD, "client_name": "a b"},
    ],
)
def test_bad_options(watched: Watched, options: Any) -> None:
    watched.refuses(lambda: Client("redis://host", **options))


# --- Who we are ------------------------------------------------------------------------------------------------------


async def test_clients_that_work(watched: Watched, locked: Server, protocol: Any, prefix: str) -> None:
    options: Any = {**watched.options, "protocol": protocol}
    url = f"redis://:{PASSWORD}@{locked.host}:{locked.port}?client_name=me"
    key = f"{prefix}k"
    given = Credentials(None, PASSWORD, renew_after=0.05)
    async with Client(url, **options) as r, Client(locked.url, credential_provider=lambda: given, **options) as p:
        for client in (r, p, r.with_options(timeout=1), r.with_options(decode_responses=False)):
            assert await client.set(key, VALUE)
            assert await client.get(key) in (VALUE, VALUE.encode())
            async with client.connection() as c, c.pipeline() as one, client.pipeline(transaction=True) as two:
                handles = [one.get(key), two.get(key)]
                watched.look()
                await one.execute()
                await two.execute()
                watched.look()
                assert [await handle for handle in handles] in ([VALUE] * 2, [VALUE.encode()] * 2)
        await asyncio.sleep(0.1)  # renewed
        watched.look()
        tasks = [asyncio.create_task(r.set(key, VALUE)) for _ in range(10)]
        await asyncio.sleep(0)
        watched.look()
        await asyncio.gather(*tasks)


async def test_who_is_not_let_in(watched: Watched, server: Server, locked: Server, protocol: Any) -> None:
    options: Any = {**watched.options, "protocol": protocol}
    async with Client(locked.url, password=f"{PASSWORD}-x", **options) as r:
        assert type(await watched.fails(r.set("k", VALUE))) is aioresp.AuthenticationError
    async with Client(locked.url, username="nobody", password=PASSWORD, **options) as r:
        assert type(await watched.fails(r.set("k", VALUE))) is aioresp.AuthenticationError
    async with Client(locked.url, **options) as r:
        assert type(await watched.fails(r.set("k", VALUE))) is aioresp.AuthenticationError
    async with Client(server.url, username="nobody", password=PASSWORD, **options) as r:
        await watched.fails(r.set("k", VALUE))
    providers: list[Any] = [lambda: PASSWORD.encode(), lambda: ("x", PASSWORD, "x"), lambda: (1, PASSWORD)]
    for provider in providers:
        more: Any = {**options, "credential_provider": provider, "retry": None}
        async with Client(locked.url, **more) as r:
            await watched.fails(r.set("k", VALUE))
    given: Any = iter((Credentials(None, PASSWORD, renew_after=0.02), *[f"{PASSWORD}-x"] * 2))
    async with Client(locked.url, credential_provider=lambda: next(given), **options) as r:
        await r.ping()
        await until(lambda: r.stats().open == 0)


async def test_what_is_not_allowed(watched: Watched, locked: Server, protocol: Any) -> None:
    options: Any = {**watched.options, "protocol": protocol}
    async with Client(locked.url, password=PASSWORD, **options) as root:
        await root.acl_setuser("small", True, passwords=f"+{PASSWORD}-2", keys=["a*"], commands=["+set", "+eval"])
        async with Client(locked.url, username="small", password=f"{PASSWORD}-2", **options) as r:
            assert type(await watched.fails(r.set("b", VALUE))) is aioresp.NoPermissionError
            assert type(await watched.fails(r.append("a", VALUE))) is aioresp.NoPermissionError
            await watched.fails(r.eval("return redis.call('SET', 'b', ARGV[1])", 0, VALUE))
            async with r.pipeline() as p:
                p.append("a", VALUE)
                await watched.fails(p.execute())
        for rule in (f"<{PASSWORD}", f"!{PASSWORD}", f"#{PASSWORD}", "+nonsense"):
            await watched.fails(root.call("ACL", "SETUSER", "small", f">{VALUE}", rule))
        await watched.fails(root.call("ACL", "SETUSER", "small", f"<{PASSWORD}'x"))
        await watched.fails(root.call("HELLO", 3, "AUTH", "small", PASSWORD))
        await watched.fails(root.call("AUTH", "small", PASSWORD))
        async with root.connection() as c:
            await watched.fails(c.call("AUTH", "small", f"{PASSWORD}-x"))
            await watched.fails(c.call("HELLO", 3, "AUTH", "small", f"{PASSWORD}-x"))
            await watched.fails(c.call("HELLO", 3, "AUTH", "small", PASSWORD, "NONSENSE"))
            await watched.fails(c.call("AUTH", "small", PASSWORD, VALUE))


async def test_old_servers_that_repeat_what_they_do_not_know(watched: Watched) -> None:
    text = f"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `{PASSWORD}`, \r\n"
    options: Any = {**watched.options, "password": PASSWORD, "retry": None}
    async with hostile(says(text.encode()), hello=text.encode()) as url, Client(url, **options) as r:
        await watched.fails(r.set("k", VALUE))


# --- Time and connections --------------------------------------------------------------------------------------------


@pytest.fixture
async def behind(locked: Server) -> AsyncIterator[Proxy]:
    async with Proxy(locked.host, locked.port) as proxy:
        yield proxy


async def test_what_is_late_and_what_is_lost(watched: Watched, behind: Proxy) -> None:
    options = {**watched.options, "password": PASSWORD, "timeout": 0.1}
    script = "return redis.call('SET', KEYS[1], ARGV[1])"
    async with Client(behind.url, limit=2, **options) as r:
        again = r.with_options(idempotent=True, timeout=5)
        await again.set("k", VALUE)
        run = r.register_script(script)
        ways: list[Callable[[], Awaitable[Any]]] = [
            lambda: r.set("k", VALUE),
            lambda: r.hset("h", VALUE, VALUE),
            lambda: r.eval(script, 1, "k", VALUE),
            lambda: run(["k"], [VALUE]),
            lambda: r.call("SET", "k", VALUE),
            lambda: r.mset({"k": VALUE, "l": VALUE}),
            lambda: _pipe(r, transaction=False),
            lambda: _pipe(r, transaction=True),
            lambda: _lease(r),
            lambda: r.blpop("none", timeout=0.05),
        ]
        for way in ways:
            behind.stall()
            kinds = (aioresp.CommandTimeout, aioresp.ConnectTimeout, aioresp.ConnectionLost)
            if way is not ways[-1]:
                await watched.fails(way(), *kinds)
            behind.heal()
            behind.cut()
            await again.set("k", VALUE)
        for way in ways:
            call = asyncio.ensure_future(way())
            behind.stall("down")
            await asyncio.sleep(0.02)
            behind.cut(rst=True)
            with contextlib.suppress(aioresp.RedisError):
                await call
            if call.exception() is not None:
                watched.see(call.exception() or ValueError())
            behind.heal()
        async with r.connection():
            await watched.fails(_lease(r), aioresp.PoolTimeout)
        behind.refuse()
        behind.cut()
        for way in ways[:-1]:
            await watched.fails(way(), aioresp.ConnectError, aioresp.ConnectionLost, aioresp.CommandTimeout)
    await watched.fails(r.set("k", VALUE), aioresp.ClientClosed)


async def _pipe(r: Client[Any], *, transaction: bool) -> None:
    async with r.pipeline(transaction=transaction) as p:
        p.set("k", VALUE)
        p.hset("h", VALUE, VALUE)


async def _lease(r: Client[Any]) -> None:
    async with r.connection() as c:
        await c.set("k", VALUE)


async def test_no_resp(watched: Watched) -> None:
    answers = [
        f"{VALUE}\r\n",
        f"+{VALUE}\r\n+{VALUE}\r\n",
        f">2\r\n+{VALUE[:3]}\r\n+{VALUE}\r\n*x{VALUE}\r\n",
        f"%1\r\n*1\r\n+{VALUE}\r\n+{VALUE}\r\n",
        f"%1\r\n%1\r\n+{VALUE}\r\n+x\r\n+{VALUE}\r\n",
        f"${VALUE}\r\n",
        f"(1{VALUE}\r\n",
        f",{VALUE}\r\n",
        f"#{VALUE}\r\n",
        f"!21\r\n{VALUE}\r\n",
        f"|1\r\n+{VALUE}\r\n+{VALUE}\r\n",
        f"+{VALUE * 1000}",
        f"*2\r\n+{VALUE}\r\n-{VALUE[:0]}ERR x\r\n",
    ]
    for answer in answers:
        options: Any = {**watched.options, "retry": None, "timeout": 0.2, "max_reply": 1000}
        async with hostile(says(answer.encode())) as url, Client(url, password=PASSWORD, **options) as r:
            with contextlib.suppress(aioresp.RedisError):
                await r.set("k", VALUE)
            try:
                await r.get("k")
                await asyncio.sleep(0.01)
            except aioresp.RedisError as error:
                watched.see(error)


@pytest.mark.parametrize("wrong", ["authority", "host", "no TLS here", "no TLS there", "password of the key"])
async def test_tls(watched: Watched, locked: Server, tmp_path: Any, wrong: str) -> None:
    paths = Paths(tmp_path)
    name = "localhost" if wrong != "host" else "elsewhere"
    async with tls_server(locked, paths.certificate(name), paths.authority) as port:
        url = f"{'redis' if wrong == 'no TLS here' else 'rediss'}://localhost:{port}"
        if wrong == "no TLS there":
            url = f"rediss://localhost:{locked.port}"
        options: Any = {"password": PASSWORD, "timeout": 1, **watched.options}
        if wrong not in ("authority", "no TLS here"):
            options["ssl_ca_certs"] = paths.authority
        async with Client(url, **options) as r:
            if wrong != "password of the key":
                await watched.fails(r.set("k", VALUE))
            else:
                assert await r.set("k", VALUE)
    if wrong == "password of the key":
        files: Any = {"ssl_certfile": paths.certificate("me"), "ssl_keyfile": paths.encrypted_key(PASSWORD)}
        watched.refuses(lambda: Client("rediss://host", ssl_password=f"{PASSWORD}-x", **files), OSError)
        watched.refuses(lambda: Client("rediss://host", **files), OSError, ValueError)


# --- Replies and arguments -------------------------------------------------------------------------------------------


async def test_errors_of_the_server(watched: Watched, server: Server, prefix: str, protocol: Any) -> None:
    k, s = f"{prefix}k", f"{prefix}s"
    async with Client(server.url, protocol=protocol, **watched.options) as r:
        await r.set(k, VALUE)
        await r.sadd(s, VALUE)
        failing: list[Awaitable[Any]] = [
            r.incr(k),
            r.incrbyfloat(k, 1),
            r.lpush(k, VALUE),
            r.hset(k, VALUE, VALUE),
            r.sadd(k, VALUE),
            r.set(s, VALUE, ex=-1),
            r.call("SET", k, VALUE, VALUE),
            r.call("SET", k, VALUE, "EX", VALUE),
            r.call("NONSENSE", VALUE, VALUE),
            r.call("CLIENT", "NONSENSE", VALUE),
            r.call("CONFIG", "SET", "maxmemory", VALUE),
            r.call("CONFIG", "SET", "appendonly", VALUE),
            r.call("CONFIG", "SET", "maxmemory-policy", VALUE),
            r.call("HSET", k, VALUE),
            r.call("ZADD", f"{prefix}z", VALUE, VALUE),
            r.call("XADD", f"{prefix}x", VALUE, "f", VALUE),
            r.call("SETRANGE", k, VALUE, VALUE),
            r.call("RESTORE", f"{prefix}r", 0, VALUE),
            r.call("MIGRATE", server.host, server.port, k, 0, 100, "AUTH", PASSWORD),
            r.call("MIGRATE", server.host, server.port, k, 1, 100, "AUTH2", "x", PASSWORD),
            r.evalsha("0" * 40, 1, k, VALUE),
            r.eval("return redis.call('INCR', KEYS[1])", 1, k, VALUE),
            r.eval("return redis.call('NONSENSE', ARGV[1])", 0, VALUE),
            r.eval("return redis.call('SET', ARGV[1])", 0, VALUE),
            r.eval("return {", 0, VALUE),
            r.eval("return nonsense(ARGV[1])", 0, VALUE),
            r.eval("return redis.call('LPUSH', KEYS[1], ARGV[1])", 1, k, VALUE),
        ]
        for call in failing:
            await watched.fails(call)


#: What a server refuses as a rule for a user, and then repeats.
RULES = [
    PASSWORD,
    f"{PASSWORD}': x",
    f"{PASSWORD}' x '",
    f"+{PASSWORD}",
    f"-{PASSWORD}|x",
    f"+@{PASSWORD}",
    f"<{PASSWORD}",
    f"#{PASSWORD}",
    f"!{PASSWORD}",
    f"({PASSWORD}",
    f"(+get >{PASSWORD})",
    f"(+nonsense {PASSWORD})",
    f"%X~{PASSWORD}",
    f"{PASSWORD})",
]


async def test_what_servers_repeat_of_passwords(watched: Watched, locked: Server, protocol: Any) -> None:
    """Whatever the sign before a word that was meant as one: in calls, pipelines, transactions, leases and scripts."""
    commands: list[tuple[Any, ...]] = [
        *(("ACL", "SETUSER", "small", rule) for rule in RULES),
        *(("ACL", "SETUSER", "small", "on", f">{PASSWORD}", rule, "+get") for rule in RULES),
        ("CONFIG", "SET", PASSWORD, "x"),
        ("CONFIG", "SET", "requirepass", PASSWORD, PASSWORD, "x"),
        ("CONFIG", "SET", "requirepass", PASSWORD, "masterauth"),
        ("CONFIG", "SET", "maxmemory", PASSWORD),
        ("CONFIG", "SET", "maxmemory", PASSWORD, "requirepass", PASSWORD),
        ("AUTH", PASSWORD, PASSWORD, PASSWORD),
        ("ACL", "GETUSER", "small", PASSWORD),
        ("ACL", "LOAD"),
        ("NONSENSE", PASSWORD),
        ("SET", "k", "v", PASSWORD),
    ]
    state = [("AUTH", "small", PASSWORD), ("HELLO", protocol, PASSWORD), ("HELLO", protocol, "AUTH", "u", PASSWORD)]
    async with Client(locked.url, password=PASSWORD, protocol=protocol, **watched.options) as r:

        async def fails(call: Awaitable[Any]) -> None:
            try:
                await call
            except aioresp.RedisError as error:
                watched.errors.append(error)

        for words in commands:
            watched.look()
            if words[0] != "AUTH":
                await fails(r.call(*words))
                script = f"return redis.call({', '.join(f'ARGV[{n + 1}]' for n in range(len(words)))})"
                await fails(r.eval(script, 0, *words))
                for transaction in (False, True):
                    async with r.pipeline(transaction=transaction) as p:
                        p.call(*words)
                        await fails(p.execute())
        async with r.connection() as c:
            for words in (*commands, *state):
                await fails(c.call(*words))
        await r.acl_deluser("small")
    assert len(watched.errors) > 100


async def test_pipelines_and_transactions(watched: Watched, server: Server, prefix: str, protocol: Any) -> None:
    k = f"{prefix}k"
    async with Client(server.url, protocol=protocol, **watched.options) as r:
        for transaction in (False, True):
            async with r.pipeline(transaction=transaction) as p:
                handles: list[Any] = [p.set(k, VALUE), p.incr(k), p.get(k), p.call("SET", k, VALUE, VALUE), p.get(k)]
                watched.look()
                await watched.fails(p.execute())
                for handle in handles:
                    watched.shown.append(repr(handle))
            async with r.pipeline(transaction=transaction) as p:
                p.set(k, VALUE)
                p.incr(k)
                for value in await p.execute(raise_on_error=False):
                    if isinstance(value, Exception):
                        watched.see(value)
            p = r.pipeline(transaction=transaction)
            queued: Any = p.set(k, VALUE)
            watched.refuses(queued.result, RuntimeError)
            p = r.pipeline(transaction=transaction)
            p.set(k, VALUE)
            p.call("NONSENSE", VALUE)
            await watched.fails(p.execute())
        async with r.pipeline(transaction=True) as p:
            await p.watch(k)
            await p.get(k)
            p.multi()
            p.set(k, VALUE)
            await r.set(k, VALUE + "x")
            await watched.fails(p.execute())


async def test_text_that_is_none(watched: Watched, server: Server, prefix: str, protocol: Any) -> None:
    k, q = f"{prefix}k", f"{prefix}q"
    bad = VALUE.encode() + b"\xff" + VALUE.encode()
    async with Client(server.url, protocol=protocol, **watched.options) as r:
        await r.set(k, bad)
        await r.rpush(q, bad, bad, bad)
        await watched.fails(r.get(k))
        await watched.fails(r.lrange(q, 0, -1))
        await watched.fails(r.blpop(q, timeout=1))
        async with r.connection() as c:
            await watched.fails(c.get(k))
            await watched.fails(c.blpop(q, timeout=1))
        async with r.pipeline() as p:
            p.get(k)
            p.lrange(q, 0, -1)
            for value in await p.execute(raise_on_error=False):
                watched.see(value)
        async with r.pipeline(transaction=True) as p:
            p.get(k)
            await watched.fails(p.execute())


class Odd:
    def __repr__(self) -> str:
        return VALUE

    __str__ = __repr__


async def test_arguments_that_cannot_be_sent(watched: Watched, server: Server, protocol: Any) -> None:
    odd: list[Any] = [Odd(), None, True, [VALUE], {VALUE: VALUE}, (VALUE,), {VALUE}, VALUE + "\ud800", 1j, object]
    async with Client(server.url, protocol=protocol, **watched.options) as r:
        anything: Any = r
        for value in odd:
            await watched.fails(anything.call("SET", "k", value), TypeError, ValueError)
            calls: list[Callable[[], Awaitable[Any]]] = [
                partial(anything.set, "k", value),
                partial(anything.hset, "k", VALUE, value),
                partial(anything.hset, "k", mapping={VALUE: value}),
                partial(anything.mset, {"k": value, "l": VALUE}),
                partial(anything.zadd, "k", {VALUE: value}),
                partial(anything.eval, "return 1", 0, value, VALUE),
                partial(anything.rpush, "k", VALUE, value),
            ]
            for call in calls:
                try:
                    await call()
                except (TypeError, ValueError, AttributeError, aioresp.RedisError) as error:
                    watched.see(error)
            async with r.pipeline() as p:
                queue: Any = p
                try:
                    queue.set("k", value)
                except (TypeError, ValueError) as error:
                    watched.see(error)


# --- Blocking pops ---------------------------------------------------------------------------------------------------


async def test_elements_that_are_lost(watched: Watched, behind: Proxy, prefix: str, protocol: Any) -> None:
    """Also where the hook raises an error: its own words are its own, but not what it was told."""
    lost: list[Any] = []

    def on_lost(what: aioresp.Lost) -> None:
        lost.append(what)
        raise ValueError("no")

    options: Any = {**watched.options, "protocol": protocol, "password": PASSWORD, "on_lost": on_lost}
    q, z = f"{prefix}q", f"{prefix}z"
    async with Client(behind.url, **options) as r:
        await r.ping()
        again = r.with_options(idempotent=True)
        ways: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
            (lambda: r.blpop(q), lambda: again.rpush(q, VALUE)),
            (lambda: r.bzpopmin(z), lambda: again.zadd(z, {VALUE: 1})),
        ]
        for pop, push in ways:
            call = asyncio.ensure_future(pop())
            while not r.stats().leased:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            behind.stall("down")
            await asyncio.wait([asyncio.ensure_future(push())], timeout=0.1)  # popped, and the reply is on its way
            call.cancel()
            await asyncio.wait([call])
            watched.look()
            behind.heal()
            behind.cut()
            while not lost:
                await asyncio.sleep(0.01)
            watched.shown += [repr(lost.pop())]
        for _ in range(3):
            call = asyncio.ensure_future(r.blpop(q))
            await asyncio.sleep(0.05)
            await again.rpush(q, VALUE)  # and put back
            call.cancel()
            await asyncio.wait([call])
            watched.look()
    kinds = {record.getMessage() for record in watched.caplog.records if record.name == "aioresp"}
    assert any("lost" in kind for kind in kinds)
    shown = repr(aioresp.Lost(("BLPOP", q, 0), q.encode(), (VALUE.encode(),), (), ValueError()))
    watched.shown.append(shown)
    assert "BLPOP" in shown
    assert "1" in shown


# --- Keys ------------------------------------------------------------------------------------------------------------


async def test_keys_are_shortened(watched: Watched, server: Server, prefix: str) -> None:
    key = prefix + "k" * 1000
    async with Client(server.url, **watched.options) as r:
        await r.set(key, VALUE)
        errors = [await watched.fails(r.incr(key)), await watched.fails(r.lpush(key.encode(), VALUE))]
        async with r.pipeline() as p:
            handle = p.incr(key)
            assert len(repr(handle)) < KEY_SHOWN + 40
            errors.append(await watched.fails(p.execute()))
    for error in errors:
        assert error.key is not None
        assert len(error.key) <= KEY_SHOWN + 3
        assert error.key.endswith("...")
        assert "k" * 100 not in str(error)
    assert "k" * 100 not in "".join(watched.texts())


def test_the_command_line(watched: Watched, locked: Server) -> None:
    words = ["demo", "--count", "20", "--url"]
    refused = f"{locked.url.replace('//', f'//me:{PASSWORD}@')}"
    program = [sys.executable, "-m", "aioresp", *words, refused]
    done = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode != 0
    watched.shown += [done.stdout, done.stderr]
    for url in (f"redis://me:{PASSWORD}", f"redis://:{PASSWORD}@h/x"):
        result = CliRunner().invoke(app, [*words, url])
        assert result.exit_code != 0
        watched.shown += [result.stdout, result.stderr]
