"""The time limit of a blocking command covers the whole call: the line, each attempt, and the server's part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

import aioresp
from aioresp import Client, MonitoredCommand, Retry
from aioresp.testing import Server
from aioresp.testing import server as start_server
from aioresp.timers import Alarm
from tests.contexts.blocking import cancel, is_blocked
from tests.rest import at_rest

Call = Callable[[Client[str], str, float], Awaitable[object]]

# What is called with a limit in seconds, and how the server gets that: where, and in how many units of a second.
CALLS: dict[str, tuple[Call, int, int]] = {
    "BLPOP": (lambda r, key, limit: r.blpop(key, limit), -1, 1),
    "BRPOP": (lambda r, key, limit: r.brpop(key, limit), -1, 1),
    "BLMOVE": (lambda r, key, limit: r.blmove(key, f"{key}2", limit, "LEFT", "LEFT"), -1, 1),
    "BZPOPMIN": (lambda r, key, limit: r.bzpopmin(key, limit), -1, 1),
    "XREAD": (lambda r, key, limit: r.xread({key: "$"}, block=int(limit * 1000)), 2, 1000),
    "CALL": (lambda r, key, limit: r.call("blpop", key, limit), -1, 1),
}


@asynccontextmanager
async def watched(server: Server) -> AsyncIterator[Callable[[], Awaitable[MonitoredCommand[str]]]]:
    """Yield what returns the next blocking command that the server was sent."""
    async with Client(server.url) as other, other.monitor() as commands:

        async def following() -> MonitoredCommand[str]:
            async with asyncio.timeout(10):
                async for command in commands:
                    if command.arguments[0].upper().startswith(("B", "XREAD")):
                        return command
            raise AssertionError

        yield following


def seconds(command: MonitoredCommand[str], where: int, units: int) -> float:
    return float(command.arguments[where]) / units


@pytest.mark.parametrize("name", CALLS)
async def test_the_server_gets_what_is_left_of_it(server: Server, prefix: str, name: str) -> None:
    call, where, units = CALLS[name]
    async with watched(server) as following, Client(server.url, limit=1) as r:
        async with r.connection():
            task = asyncio.ensure_future(call(r, f"{prefix}k", 0.8))
            await asyncio.sleep(0)  # it has begun, and its time runs
            await asyncio.sleep(0.3)
        given = seconds(await following(), where, units)
        assert 0 < given <= 0.51
        assert not await task


@pytest.mark.parametrize("name", CALLS)
async def test_a_limit_that_has_passed_is_not_for_ever(server: Server, prefix: str, name: str) -> None:
    call, where, units = CALLS[name]
    async with watched(server) as following, Client(server.url, limit=1) as r:
        async with r.connection():
            task = asyncio.ensure_future(call(r, f"{prefix}k", 0.05))
            await asyncio.sleep(0.2)
        assert 0.001 <= seconds(await following(), where, units) <= 0.05
        async with asyncio.timeout(5):
            assert not await task


async def test_without_a_wait_the_server_gets_what_was_given(server: Server, prefix: str) -> None:
    async with watched(server) as following, Client(server.url) as r:
        async with r.connection():
            pass
        given = []
        while "0.25" not in given:  # where the machine stands still for a moment, there was a wait
            assert await r.blpop(f"{prefix}k", 0.25) is None
            given.append((await following()).arguments[-1])
            assert len(given) < 10, given
        task = asyncio.create_task(r.blpop(f"{prefix}k", 0))
        assert (await following()).arguments[-1] == "0"
        await cancel(task)


async def test_a_caller_who_stood_in_line_for_long_is_released_in_time(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own timer goes off by the call's time, not by that of the moment at which it got a connection."""
    monkeypatch.setattr("aioresp.contexts.blocking.GRACE", 0.5)
    loop = asyncio.get_running_loop()
    deadlines: list[float] = []

    def noting(loop: asyncio.AbstractEventLoop, when: float, limit: float, step: Callable[[], object]) -> Alarm:
        deadlines.append(when)
        return Alarm(loop, when, limit, step)

    monkeypatch.setattr("aioresp.contexts.blocking.Alarm", noting)
    async with Client(server.url, limit=1) as r:
        async with r.connection():
            before = loop.time()
            task = asyncio.create_task(r.blpop(f"{prefix}k", 0.6))
            await asyncio.sleep(0)
            after = loop.time()
            await asyncio.sleep(0.4)
        assert await task is None
        assert before + 1.1 <= deadlines[0] <= after + 1.1


async def test_attempts_share_the_limit() -> None:
    """A replica refuses the pop each time; it is not tried for longer than the call may take."""
    retry = Retry(1000, base=0.1, cap=0.1, jitter=False)
    with start_server() as own_server:
        async with Client(own_server.url, retry=retry) as r:
            await r.call("REPLICAOF", "127.0.0.1", 1)
            with pytest.raises(aioresp.ReadOnlyError):
                async with asyncio.timeout(20):
                    await r.blpop("k", 0.65)
            figures = (await r.info("commandstats"))["cmdstat_blpop"]
            assert 2 <= figures.get("rejected_calls", 7) <= 7


async def test_a_lease_counts_what_stands_before(server: Server, prefix: str) -> None:
    async with watched(server) as following, Client(server.url) as r, r.connection() as c:
        await c.ping()
        task = asyncio.create_task(c.blpop(f"{prefix}k", 0))
        await following()
        async with Client(server.url) as direct:
            await is_blocked(direct)
        task.cancel()
        await asyncio.sleep(0)
        assert await c.blpop(f"{prefix}k", 0.2) is None
        assert 0 < float((await following()).arguments[-1]) <= 0.2
    await at_rest(r)
