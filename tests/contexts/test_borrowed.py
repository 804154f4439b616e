"""A borrowed connection: the wait for a blocking command that was left, EXEC, and the end of a loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import aioresp
from aioresp import Client, Lease
from aioresp.contexts.blocking import Blocking
from aioresp.testing import Proxy, Server
from tests.contexts.blocking import cancel, is_blocked
from tests.contexts.test_blocking_ends import command, slow_network
from tests.pubsub.listening import until
from tests.rest import at_rest


@pytest.mark.parametrize(("timeout", "said"), [(None, 0.2), (0.1, 0.1), (50.0, 0.2)])
async def test_a_blocking_command_waits_for_the_one_before_no_longer_than_its_own_limit(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch, timeout: float | None, said: float
) -> None:
    monkeypatch.setattr("aioresp.contexts.borrowed.GRACE", 0.1)
    async with (
        Client(server.url) as direct,
        Proxy(server.host, server.port) as proxy,
        Client(proxy.url, timeout=timeout) as r,
    ):
        await r.ping()
        async with r.connection() as c:
            task = asyncio.ensure_future(c.blpop(f"{prefix}q"))
            await is_blocked(direct)
            proxy.stall()
            await cancel(task)
            with pytest.raises(aioresp.CommandTimeout, match="has not ended in") as caught:
                async with asyncio.timeout(10):
                    await c.blpop(f"{prefix}other", 0.1)
            seconds = float(str(caught.value).partition("ended in ")[2].partition(" s")[0])
            assert said / 2 < seconds < said + 0.01  # what was left of its time when it began to wait
            proxy.resume()
            assert await c.ping()


@pytest.mark.parametrize("early", [True, False], ids=["before the end of the pop", "after it"])
async def test_a_connection_on_which_an_unblock_may_still_come_is_not_used_again(
    server: Server, prefix: str, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server is not asked first who it is, as for a user who may not ask: the question would be stalled, too.
    monkeypatch.setattr("aioresp.contexts.background.question", lambda *_: None)
    monkeypatch.setattr(
        "aioresp.contexts.blocking.guard", lambda *_: None
    )  # nor is the guard sent, which would be, too
    async with Client(server.url) as direct, Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())
            shared = await r.client_id()
            task = asyncio.ensure_future(c.blpop(f"{prefix}q", 1))
            await is_blocked(direct)
            proxy.stall("up")  # the CLIENT UNBLOCK does not reach the server
            await cancel(task)
            await direct.call("CLIENT", "KILL", "ID", shared)
            (work,) = r.node.pools.here()._closing.work
            assert isinstance(work, Blocking)
            await until(lambda: not work._clean)
            ping = asyncio.ensure_future(c.ping()) if early else None
            await until(lambda: work.done.done())  # by the pop's own time limit
            proxy.resume()
            assert work.done.result() is False
            with pytest.raises(aioresp.ConnectionLost):
                await (ping or c.ping())
        await at_rest(r)


def watching(c: Lease[str]) -> bool:
    return c.watching


async def test_only_exec_itself_ends_what_is_watched(server: Server, prefix: str) -> None:
    async with Client(server.url) as r, r.connection() as c:
        await c.call("WATCH", f"{prefix}k")
        with pytest.raises(aioresp.ResponseError, match="EXEC without MULTI"):
            await c.call("EXEC")
        assert watching(c)
        with pytest.raises(aioresp.ExecAbortError):
            await c.call("EVAL", "return redis.error_reply('EXECABORT no')", 0)
        assert watching(c)
        await c.call("MULTI")
        with pytest.raises(aioresp.ResponseError):
            await c.call("NONSENSE")
        with pytest.raises(aioresp.ExecAbortError):
            await c.call("EXEC")
        assert not watching(c)
        await c.call("WATCH", f"{prefix}k")
        assert watching(c)


CLOSED = """
import asyncio, sys
from aioresp import Client

async def work():
    await r.ping()
    await r.rpush(key, "job")
    async with Client(sys.argv[2]) as direct:
        task = asyncio.create_task(r.blpop(key))
        while await direct.exists(key):
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.wait([task])
    (connection,) = r.node.pools.here()._leased
    (blocking,) = r.node.pools.here()._closing.work
    while (put_back := blocking._put_back) is None or any(map(connection.unsent, put_back._attempts)):
        await asyncio.sleep(0)
    (attempt,) = put_back._attempts
    connection.connection_lost(None)
    assert attempt.done() and put_back._attempts, "its callback has not run"
    loop.stop()
    await asyncio.sleep(60)

key = sys.argv[3]
r = Client(sys.argv[1], on_lost=lambda lost: print(lost.elements, lost.outcome))
loop = asyncio.new_event_loop()
kept = loop.create_task(work())
loop.run_forever()
loop.close()
print("closed")
"""


def test_the_loop_is_closed_in_the_turn_in_which_a_put_back_dies(server: Server, prefix: str) -> None:
    """The script was sent, and its connection has ended, which nobody could be told before: it may have run."""
    with slow_network(server) as url:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CLOSED, url, server.url, f"{prefix}q"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.stdout.splitlines() == ["(b'job',) unknown", "closed"], done.stderr
    command(server, "DEL", f"{prefix}q")
