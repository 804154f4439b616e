"""Laws of the client on a loop whose tasks begin in `create_task` (`asyncio.eager_task_factory`, Python 3.12).

Nothing here may depend on a task that begins a turn later than it was made: neither a caller's nor one of the client.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aioresp
from aioresp import Client, Credentials, Lost
from aioresp.testing import Proxy, Server

pytestmark = [
    pytest.mark.quick,
    pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12"),
    pytest.mark.usefixtures("eager"),
]


class Task(asyncio.Task[Any]):
    """A task of a user's own, whose identity some frameworks look at."""


@pytest.fixture(params=["asyncio's", "a subclass's"])
async def eager(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    new: Any = asyncio  # that of Python 3.11 has neither
    make = new.eager_task_factory if request.param == "asyncio's" else new.create_eager_task_factory(Task)

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if options.get("eager_start", True) is None:
            del options["eager_start"]  # uvloop 0.23 says None on Python 3.14, which asyncio's factory takes for False
        made: asyncio.Task[Any] = make(loop, coro, **options)
        return made

    loop.set_task_factory(factory)
    yield
    loop.set_task_factory(None)


async def test_a_task_begins_before_create_task_returns() -> None:
    """The rest of this file proves nothing otherwise."""
    begun: list[int] = []

    async def begin() -> None:
        begun.append(1)
        await asyncio.sleep(0)

    task = asyncio.create_task(begin())
    assert begun == [1]
    await task


@pytest.mark.parametrize("count", [1, 50, 300])
async def test_each_caller_gets_his_own_reply(server: Server, prefix: str, count: int) -> None:
    async with Client(server.url, limit=2, concurrency=100) as r:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(r.echo(f"{prefix}{n}")) for n in range(count)]  # the first opens the connection
        assert [call.result() for call in calls] == [f"{prefix}{n}" for n in range(count)]
        assert r.stats().made <= 2
        assert r.stats().in_flight == r.stats().waiting == 0


async def test_what_is_cancelled_at_once_takes_nobodys_reply(server: Server, prefix: str) -> None:
    """Where no connection is there yet, and where one is: the command is in line, or on its way, in `create_task`."""
    async with Client(server.url) as r:
        for _ in range(2):
            calls = [asyncio.create_task(r.echo(f"{prefix}{n}")) for n in range(90)]
            for call in calls[::3]:
                call.cancel()
            said = await asyncio.gather(*calls, return_exceptions=True)
            for n, answer in enumerate(said):
                assert isinstance(answer, asyncio.CancelledError) if n % 3 == 0 else answer == f"{prefix}{n}"
        assert await r.echo("next") == "next"
        assert r.stats().made == 1


async def test_a_call_that_fails_before_it_waits_fails_its_task(server: Server) -> None:
    r = Client(server.url)
    await r.ping()
    await r.aclose()
    task = asyncio.create_task(r.ping())
    assert task.done()
    with pytest.raises(aioresp.ClientClosed):
        await task


async def test_blocking_pops_lose_nothing(server: Server, prefix: str) -> None:
    """Pops that are cancelled while they begin, while they wait, and while the element is under way."""
    key = f"{prefix}queue"
    lost: list[Lost] = []
    async with Client(server.url, on_lost=lost.append) as r:
        taken: list[str] = []
        for n in range(60):
            pops = [asyncio.create_task(r.blpop(key, timeout=5)) for _ in range(2)]
            if n % 3 == 0:
                pops[0].cancel()
            await r.rpush(key, f"{n}a", f"{n}b")
            if n % 3 == 1:
                pops[1].cancel()
            for answer in await asyncio.gather(*pops, return_exceptions=True):
                if not isinstance(answer, BaseException):
                    assert answer is not None
                    taken.append(answer[1])
            while (left := await r.lpop(key)) is not None:
                taken.append(left)
        for _ in range(100):  # what a cancelled pop had taken is put back a moment later
            if len(taken) == 120:
                break
            if (left := await r.lpop(key)) is not None:
                taken.append(left)
            await asyncio.sleep(0.02)
        assert sorted(taken) == sorted(f"{n}{side}" for n in range(60) for side in "ab")
        assert lost == []


async def test_pops_of_a_transaction_whose_caller_is_cancelled_are_reported(server: Server, prefix: str) -> None:
    """The transaction goes on in a task of its own, which has sent it when `create_task` returns."""
    lost: list[Lost] = []
    async with Client(server.url, on_lost=lost.append) as r:
        await r.rpush(f"{prefix}l", "x")

        async def pop() -> None:
            async with r.pipeline(transaction=True) as p:
                p.blpop(f"{prefix}l", 1)
                await p.execute()

        task = asyncio.create_task(pop())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(500):
            if lost:
                break
            await asyncio.sleep(0.01)
        assert await r.llen(f"{prefix}l") == 0  # its task had begun
        assert [loss.elements for loss in lost] == [(b"x",)]


async def test_leases_go_to_one_holder_at_a_time(server: Server, prefix: str) -> None:
    async with Client(server.url, limit=3) as r:
        held = most = 0

        async def hold() -> None:
            nonlocal held, most
            async with r.connection() as lease:
                held += 1
                most = max(most, held)
                await lease.set(f"{prefix}k", "v", ex=60)
                await asyncio.sleep(0)
                held -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(hold())
        assert 1 <= most <= 2
        assert r.stats().leased == 0


async def test_subscribers_hear_everything_in_order(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:

        async def listen(ready: asyncio.Event) -> list[str]:
            heard = []
            async with r.subscribe(prefix) as subscription:
                ready.set()
                async for message in subscription:
                    heard.append(message.data)
                    if message.data == "99":
                        return heard
            raise AssertionError("it ended")

        readies = [asyncio.Event() for _ in range(5)]
        listeners = [asyncio.create_task(listen(ready)) for ready in readies]
        for ready in readies:
            await ready.wait()
        await asyncio.gather(*(r.publish(prefix, str(n)) for n in range(100)))
        for heard in await asyncio.gather(*listeners):
            assert heard == [str(n) for n in range(100)]


async def test_credentials_are_renewed_by_a_provider_that_never_waits(server: Server) -> None:
    """The task that asks it has ended when `create_task` returns."""
    asked = 0

    def provider() -> Credentials:
        nonlocal asked
        asked += 1
        return Credentials(None, server.password or "", renew_after=0.02)

    async with Client(host=server.host, port=server.port, credential_provider=provider) as r:
        for _ in range(500):
            assert await r.ping() is True
            if asked >= 4:
                break
            await asyncio.sleep(0.01)
        assert asked >= 4
        assert r.stats().made == 1


async def test_a_connection_that_is_cut_is_made_again_for_all(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=10) as r:
        for _ in range(5):
            calls = [asyncio.create_task(r.get(f"{prefix}none")) for _ in range(50)]
            proxy.cut()
            assert await asyncio.gather(*calls) == [None] * 50
        assert r.stats().waiting == r.stats().in_flight == 0
