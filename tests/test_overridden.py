"""A subclass that overrides `execute`: nothing goes around it, whatever hooks there are."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from aioresp import Client
from aioresp.contexts.lease import Lease
from aioresp.testing import Server


def _hook(event: object) -> None: ...


async def _middleware(arguments: Any, send: Callable[[], Awaitable[Any]]) -> Any:
    return await send()


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "events": {"events": _hook},
    "middleware": {"middleware": _middleware},
    "both": {"events": _hook, "middleware": _middleware, "slow_after": 1e-9},
}


class Counting(Client[str]):
    seen: list[str]

    def execute(self, arguments: Any, reply: Any) -> Any:
        self.seen.append(str(arguments[0]))
        return super().execute(arguments, reply)


class CountingLease(Lease[str]):
    def __init__(self, *arguments: Any) -> None:
        self.seen: list[str] = []
        super().__init__(*arguments)

    def execute(self, arguments: Any, reply: Any) -> Any:
        self.seen.append(str(arguments[0]))
        return super().execute(arguments, reply)


@pytest.fixture(params=OPTIONS)
async def counting(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Counting]:
    made: Any = Counting(server.url, **OPTIONS[request.param])
    made.seen = []
    async with made:
        yield made


async def test_it_sees_each_command_once(counting: Counting, prefix: str) -> None:
    r, k = counting, f"{prefix}k"
    script = r.register_script("return 1")
    await r.ping()
    await script()  # the server is asked for it, once for each new connection
    view: Any = r.with_options(timeout=5)
    calls: list[tuple[Callable[[], Awaitable[Any]], list[str]]] = [
        (lambda: r.set(k, "v", ex=60), ["SET"]),
        (lambda: view.get(k), ["GET"]),
        (lambda: r.with_options(decode_responses=False).get(k), ["GET"]),
        (lambda: r.dump(k), ["DUMP"]),
        (lambda: r.call("object encoding", k), ["object"]),
        (lambda: script(), ["EVALSHA"]),
        (lambda: r.blpop(f"{prefix}none", 0.01), ["BLPOP"]),
    ]
    for call, expected in calls:
        r.seen.clear()
        await call()
        assert r.seen == expected
    r.seen.clear()
    assert [key async for key in r.scan_iter(match=f"*{k[-9:]}", count=100_000)] == [k]
    assert set(r.seen) == {"SCAN"}
    await r.xadd(f"{prefix}s", {"n": "1"})
    r.seen.clear()
    async with r.stream_reader(f"{prefix}s", last_id="0") as reader:
        await anext(reader)
    assert r.seen == ["XREAD"]
    await r.delete(f"{prefix}s")


async def test_of_a_lease(counting: Counting, prefix: str) -> None:
    k = f"{prefix}k"
    async with CountingLease(counting.node.pools.here, counting.terms, "a test") as c:
        await c.set(k, "v", ex=60)
        await c.call("GET", k)
        await c.blpop(f"{prefix}none", 0.01)
        async with c.pipeline(transaction=True) as p:
            await p.watch(k)
            await p.get(k)
            p.multi()
            p.set(k, "w", ex=60)
        assert c.seen == ["SET", "GET", "BLPOP", "WATCH", "GET"]


class Patched(asyncio.SelectorEventLoop):
    """A loop as nest_asyncio makes it: it runs without the hooks for asynchronous generators."""

    def run_forever(self) -> None:
        loop: Any = self
        loop._thread_id = threading.get_ident()
        asyncio._set_running_loop(self)
        try:
            while True:
                loop._run_once()
                if loop._stopping:
                    break
        finally:
            loop._stopping = False
            loop._thread_id = None
            asyncio._set_running_loop(None)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("collected", [False, True])
def test_a_loop_of_nest_asyncio_ends_without_a_word(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], collected: bool
) -> None:
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: said.append((found.exc_value, found.object)))
    loop = Patched()
    r = Client(server.url)

    async def use() -> None:
        async with r.subscribe("news"):
            await r.ping()

    loop.run_until_complete(use())
    if collected:
        del r, use
    loop.close()
    del loop
    gc.collect()
    assert said == []
    assert capsys.readouterr().err == ""
