"""The event loop stands still: replies that arrived meanwhile are read before a deadline fails anything."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from aioresp import Client, CommandTimeout
from aioresp.testing import Proxy, Server
from aioresp.timers import Alarm, Timeout, given_back, wait
from tests.rest import until

pytestmark = pytest.mark.usefixtures("no_debug")

#: A time limit, and seconds of standing still that are longer, and just as long.
LIMIT = 0.5
STILL = (0.7, LIMIT)


async def stand_still(calls: list[asyncio.Task[Any]], seconds: float, turns: int) -> list[Any]:
    """Let the calls begin, hold the loop up after so many turns, and return their outcomes."""
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(seconds)
    return await asyncio.gather(*calls, return_exceptions=True)


def client(server: Server, resp: Literal[2, 3], **options: Any) -> Client[str]:
    return Client(server.url, protocol=resp, timeout=LIMIT, retry=None, **options)


@pytest.mark.turns(2)
@pytest.mark.parametrize("turns", [1, 2], ids=["before the write", "after the write"])
@pytest.mark.parametrize("seconds", STILL)
@pytest.mark.parametrize("count", [50, 3000])
async def test_no_command_is_late(
    server: Server, prefix: str, resp: Literal[2, 3], count: int, seconds: float, turns: int
) -> None:
    async with client(server, resp) as r:
        await r.set(f"{prefix}k", "x" * 100, ex=60)
        calls = [asyncio.create_task(r.get(f"{prefix}k")) for _ in range(count)]
        assert set(await stand_still(calls, seconds, turns)) == {"x" * 100}
        assert r.stats().made == 1


@pytest.mark.turns(2)
@pytest.mark.parametrize("turns", [1, 2], ids=["before the write", "after the write"])
@pytest.mark.parametrize("seconds", STILL)
async def test_no_caller_in_line_is_late(
    server: Server, prefix: str, resp: Literal[2, 3], seconds: float, turns: int
) -> None:
    async with client(server, resp, limit=1, concurrency=50) as r:
        await r.set(f"{prefix}k", "x", ex=60)
        calls = [asyncio.create_task(r.get(f"{prefix}k")) for _ in range(500)]
        assert set(await stand_still(calls, seconds, turns)) == {"x"}


async def lease(r: Client[str]) -> object:
    async with r.connection() as c:
        return await c.echo("x")


async def pipeline(r: Client[str]) -> object:
    async with r.pipeline() as p:
        for _ in range(500):
            p.echo("x")
        return set(await p.execute())


async def transaction(r: Client[str]) -> object:
    async with r.pipeline(transaction=True) as p:
        p.echo("x")
        return await p.execute()


async def script(r: Client[str]) -> object:
    return await r.register_script("return ARGV[1]")(args=["x"])


async def pop(r: Client[str]) -> object:
    return await r.blpop("no such key", timeout=0.01)


async def subscription(r: Client[str]) -> object:
    async with r.subscribe("news"):
        return "x"


async def monitor(r: Client[str]) -> object:
    async with r.monitor():
        return "x"


KINDS: dict[Callable[[Client[str]], Awaitable[object]], object] = {
    lease: "x",
    pipeline: {"x"},
    transaction: ["x"],
    script: "x",
    pop: None,
    subscription: "x",
    monitor: "x",
}


@pytest.mark.turns(2)
@pytest.mark.parametrize("turns", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_no_call_of_another_kind_is_late(
    server: Server, resp: Literal[2, 3], kind: Callable[[Client[str]], Awaitable[object]], turns: int
) -> None:
    async with client(server, resp, limit=3) as r:
        await r.ping()

        async def call() -> object:
            return await kind(r)

        # A server looks at the time limits of pops ten times a second.
        count = 1 if kind is monitor else 2 if kind is pop else 12
        calls = [asyncio.create_task(call()) for _ in range(count)]
        # A pop may last two seconds longer than the server lets it.
        outcomes = await stand_still(calls, 2.6 if kind is pop and turns == 4 else 0.7, turns)
        assert outcomes == [KINDS[kind]] * len(calls)


@pytest.mark.turns(2)
@pytest.mark.parametrize("turns", range(1, 12, 2))
async def test_connecting_is_not_late(server: Server, resp: Literal[2, 3], turns: int) -> None:
    async with client(server, resp, connect_timeout=LIMIT) as r:
        assert await stand_still([asyncio.create_task(r.echo("x"))], 0.7, turns) == ["x"]


async def test_a_message_that_has_arrived_is_got(server: Server) -> None:
    async def publish() -> None:
        async with Client(server.url) as other:
            await other.publish("stood still", "x")

    async with Client(server.url) as r, r.subscribe("stood still") as s:
        got = asyncio.create_task(s.get(timeout=0.1))
        await asyncio.sleep(0)
        publisher = threading.Thread(target=asyncio.run, args=(publish(),))
        publisher.start()
        time.sleep(0.2)
        publisher.join()
        message = await got
        assert message is not None


async def test_a_server_that_does_not_answer_is_late_all_the_same(proxy: Proxy) -> None:
    """What is given back is given back once, and is no more than the time limit."""
    async with Client(proxy.url, timeout=LIMIT, retry=None) as r:
        await r.ping()
        proxy.stall()
        call = asyncio.create_task(r.ping())
        for _ in range(12):
            await asyncio.sleep(0)
            time.sleep(LIMIT)
            if call.done():
                break
        with pytest.raises(CommandTimeout):
            await call
        proxy.resume()


# --- The timers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "limit", "more"), [(0.0, 9, 0), (0.001, 9, 0), (0.02, 9, 0.1), (0.5, 9, 0.5), (7, 9, 1), (7, 0.05, 0.05)]
)
def test_what_is_given_back(late: float, limit: float, more: float) -> None:
    assert given_back(late, limit) == more


async def test_an_alarm_rings_once_and_not_after_it_was_cancelled() -> None:
    loop = asyncio.get_running_loop()
    rang: list[int] = []
    Alarm(loop, loop.time() + 0.01, 1, lambda: rang.append(1))
    alarms = [Alarm(loop, loop.time() + 0.01, 1, lambda: rang.append(2)) for _ in range(2)]
    alarms[0].cancel()
    loop.call_at(loop.time() + 0.012, alarms[1].cancel)
    time.sleep(0.02)
    await until(lambda: rang)
    await asyncio.sleep(0.2)
    assert rang == [1]


async def test_a_timeout_ends_what_is_late_and_nothing_else() -> None:
    with pytest.raises(TimeoutError):
        async with Timeout(0.01):
            await asyncio.sleep(60)
    async with Timeout(0.01):
        pass
    async with Timeout(None):
        await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError):
        async with Timeout(5, asyncio.get_running_loop().time()):
            await asyncio.sleep(60)
    await asyncio.sleep(0.02)


async def test_a_timeout_lets_a_cancellation_through() -> None:
    async def call() -> None:
        async with Timeout(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_wait_tells_which_are_done() -> None:
    loop = asyncio.get_running_loop()
    one: asyncio.Future[None] = loop.create_future()
    two: asyncio.Future[None] = loop.create_future()
    loop.call_soon(one.set_result, None)
    assert await wait([one, two], 0.02) == {one}
    two.set_result(None)
    assert await wait([one, two], None) == {one, two}
