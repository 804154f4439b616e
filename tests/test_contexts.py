"""No ContextVar of a request lives on in the client, and hooks in the background see none."""

from __future__ import annotations

import ast
import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.events import ConnectFailed, ConnectionEnded, ConnectionMade, Event, Repeated, Slow
from aioresp.testing import Proxy, Server
from tests.rest import at_rest

pytestmark = pytest.mark.usefixtures("frozen")

current: ContextVar[Request | None] = ContextVar("current", default=None)


class Request:
    """What a framework keeps in a ContextVar: it may be large."""


async def in_a_request(body: Callable[[], Awaitable[object]]) -> weakref.ref[Request]:
    """Run `body` in a task with a ContextVar of its own, and return a reference to its value."""

    async def handle() -> weakref.ref[Request]:
        request = Request()
        current.set(request)
        await body()
        return weakref.ref(request)

    return await asyncio.create_task(handle(), context=copy_context())


async def gone(request: weakref.ref[Request], turns: int = 50) -> bool:
    for _ in range(turns):
        await asyncio.sleep(0.002)
        gc.collect()
        if request() is None:
            return True
    return False


async def _plain(r: Client[str]) -> None:
    await r.set("k", "v", ex=60)
    await asyncio.gather(*(r.get("k") for _ in range(100)))


async def _large(r: Client[str]) -> None:
    await r.set("large", "x" * 8_000_000, ex=60)
    await r.get("large")


async def _pipeline(r: Client[str]) -> None:
    async with r.pipeline() as p:
        p.set("k", "v")
    async with r.pipeline(transaction=True) as p:
        p.set("k", "v")
        p.lpop("nothing")


async def _popping(r: Client[str]) -> None:
    await asyncio.gather(*(r.blpop("nothing", 0.01) for _ in range(5)))
    await r.rpush("some", "x")
    await r.blpop("some", 3600)


async def _cancelled_pop(r: Client[str]) -> None:
    popping = asyncio.create_task(r.blpop("nothing", 3600))
    while not r.stats().leased:
        await asyncio.sleep(0.001)
    popping.cancel()
    await asyncio.wait([popping])
    await asyncio.create_task(at_rest(r), context=Context())  # whose own timer would keep the request


async def _lease(r: Client[str]) -> None:
    async with r.connection() as c:
        await c.select(1)
        await c.ping()
    async with r.pipeline(transaction=True) as p:
        await p.watch("k")
        p.multi()
        p.set("k", "v")


async def _reading_on(r: Client[str]) -> None:
    """A full subscription stops reading; the reader that makes room begins again."""
    async with r.subscribe("news", buffer=1, overflow="wait") as s:
        for n in range(20):
            await r.publish("news", n)
        for _ in range(20):
            await anext(s)


async def _subscribing(r: Client[str]) -> None:
    async with r.subscribe("news") as s, r.monitor():
        await r.publish("news", "x")
        await s.get(timeout=3600)


async def _streams(r: Client[str]) -> None:
    await r.delete("orders")
    await r.xadd("orders", {"n": "1"})
    async with r.group_reader("g", "c", "orders", start="0") as reader:
        async for entry in reader:
            assert entry.fields
            break


BODIES = (
    _plain,
    _large,
    _pipeline,
    _popping,
    _cancelled_pop,
    _lease,
    _reading_on,
    _subscribing,
    _streams,
)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__.strip("_"))
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
async def test_a_request_is_not_kept(
    r: Client[str], body: Callable[[Client[str]], Awaitable[None]], first: bool
) -> None:
    """Nor if the client is made in it: then its pool and its connections are, too."""
    if not first:
        await r.ping()
    request = await in_a_request(lambda: body(r))
    assert await gone(request)
    assert await r.ping()
    assert await gone(await in_a_request(r.ping))


async def test_a_client_made_in_a_request(server: Server) -> None:
    made: list[Client[str]] = []

    async def make() -> None:
        made.append(Client(server.url))
        await made[0].ping()

    assert await gone(await in_a_request(make))
    assert await made[0].ping()
    await made[0].aclose()


async def test_credentials_are_renewed_in_no_request(server: Server) -> None:
    seen: list[Request | None] = []

    def provider() -> aioresp.Credentials:
        seen.append(current.get())
        return aioresp.Credentials(None, server.password or "", renew_after=0.05)

    async with Client(host=server.host, port=server.port, credential_provider=provider) as r:

        async def leasing() -> None:
            async with r.connection() as c:
                while len(seen) < 3:
                    await c.ping()
                    await asyncio.sleep(0.01)

        assert await gone(await in_a_request(leasing))
        count = len(seen)
        while len(seen) < count + 2:
            await asyncio.sleep(0.01)
    assert set(seen) == {None}


async def test_which_context_hooks_see(server: Server) -> None:
    """Hooks in the caller's task see the caller's variables; those of connections see none."""
    if server.version < (7, 0):
        pytest.skip("CLIENT NO-EVICT came with 7.0")
    seen: list[tuple[type[Any], Request | None]] = []

    def hook(event: Event) -> None:
        seen.append((type(event), current.get()))

    async def middleware(arguments: Any, send: Callable[[], Awaitable[Any]]) -> Any:
        seen.append((Client, current.get()))
        return await send()

    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, events=hook, slow_after=1e-9, middleware=middleware) as r,
    ):

        async def body() -> None:
            await r.ping()
            proxy.refuse()
            proxy.cut()
            reading = asyncio.create_task(r.get("k"))
            while not any(kind is ConnectFailed for kind, _ in seen):
                await asyncio.sleep(0.001)
            proxy.accept()
            await reading
            proxy.cut_after(0)
            await r.get("k")
            async with r.connection() as c:
                await c.call("CLIENT", "NO-EVICT", "ON")  # not to be undone: the connection is closed at the end

        await in_a_request(body)
        await at_rest(r)
    by_kind: dict[type[Any], set[bool]] = {}
    for kind, request in seen:
        by_kind.setdefault(kind, set()).add(request is not None)
    for kind in (Client, Slow, Repeated):
        assert by_kind[kind] == {True}
    for kind in (ConnectionMade, ConnectionEnded, ConnectFailed):
        assert by_kind[kind] == {False}


async def test_a_task_factory_that_takes_no_context(server: Server) -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("uvloop itself hands over a context")
    loop.set_task_factory(lambda loop, coroutine: asyncio.Task(coroutine, loop=loop))
    try:
        async with Client(server.url) as r, r.subscribe("news"):
            assert await r.ping()
            assert await r.blpop("nothing", 0.01) is None
    finally:
        loop.set_task_factory(None)


async def test_a_silent_connection_under_a_task_factory_that_takes_no_context(proxy: Proxy, prefix: str) -> None:
    """The task that asks about it is made in a timer, where an error would end all deadlines of the connection."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("uvloop itself hands over a context")
    loop.set_task_factory(lambda loop, coroutine: asyncio.Task(coroutine, loop=loop))
    try:
        async with Client(proxy.url, timeout=20) as r:
            await r.ping()
            proxy.half_open()
            proxy.accept()
            async with asyncio.timeout(10):
                assert await r.get(f"{prefix}k") is None
    finally:
        loop.set_task_factory(None)


def test_each_timer_has_a_context_of_its_own() -> None:
    """A timer keeps its context until its time comes, also if it was cancelled."""
    calls = [
        (path.name, call)
        for path in Path(aioresp.__file__).parent.rglob("*.py")
        if not {"testing", "cli"} & set(path.parts)
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    ]
    timers = [(name, call) for name, call in calls if getattr(call.func, "attr", "") in ("call_later", "call_at")]
    assert len(timers) > 20
    assert [(name, call.lineno) for name, call in timers if "context" not in {k.arg for k in call.keywords}] == []
