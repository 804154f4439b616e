"""What a process closes is closed at the server, too, while a forked child lives that has its descriptors."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Proxy, Server, ServerFailed
from aioresp.testing import server as start_server
from tests.contexts.blocking import cancel, is_blocked
from tests.security.tls import Paths

pytestmark = [pytest.mark.quick, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


@contextmanager
def forked(act: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Have a child that does `act`, and then nothing until the block ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if not child:
        try:
            act()
            time.sleep(60)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.fixture(params=["tcp", "unix", "tls"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """Yield the options of a client, in each of the ways to a server of this test's own."""
    paths = Paths(tmp_path)
    certificate = paths.certificate("localhost")
    tls = (certificate, certificate, paths.authority) if request.param == "tls" else None
    try:
        with start_server(tls=tls) as running:
            if request.param == "tcp":
                yield {"url": running.url}
            elif request.param == "unix":
                yield {"url": running.unix_url}
            else:
                tls_url = running.tls_url.replace(running.host, "localhost")
                yield {"url": tls_url, "ssl_ca_certs": paths.authority}
    except ServerFailed as error:
        if "built without TLS" not in str(error):
            raise
        pytest.skip("the server was built without TLS")


@pytest.fixture
async def other(url: dict[str, Any]) -> AsyncIterator[Client[str]]:
    """A client whose connection is open before anything is forked."""
    async with Client(**url) as r:
        await r.ping()
        yield r


def one(url: dict[str, Any], **options: Any) -> Client[str]:
    return Client(client_name="forked", **url, **options)


async def named(other: Client[str]) -> list[str]:
    """Return the lines of the connections that the clients of `one` have at the server."""
    lines: list[str] = (await other.call("CLIENT", "LIST")).splitlines()
    return [line for line in lines if " name=forked " in line]


async def all_gone(other: Client[str]) -> None:
    async with asyncio.timeout(5):
        while await named(other):
            await asyncio.sleep(0.01)


async def test_a_closed_client(url: dict[str, Any], other: Client[str]) -> None:
    r = one(url)
    await r.ping()
    lease = r.connection()
    await lease.__aenter__()
    with forked():
        assert len(await named(other)) == 1
        await r.aclose()
        await all_gone(other)
        assert await other.ping()


async def test_what_was_written_still_arrives(url: dict[str, Any], other: Client[str]) -> None:
    r = one(url)
    await r.ping()
    with forked():
        calls = [asyncio.ensure_future(r.incr("n")) for _ in range(1000)]
        calls.append(asyncio.ensure_future(r.set("large", "x" * 3_000_000)))
        await asyncio.sleep(0)
        await r.aclose()
        await asyncio.wait(calls)
        await all_gone(other)
        assert (await other.get("n"), await other.strlen("large")) == ("1000", 3_000_000)


async def test_a_subscription(url: dict[str, Any], other: Client[str]) -> None:
    r = one(url)
    async with r.subscribe("channel"):
        assert await other.publish("channel", "1") == 1
        with forked():
            await r.aclose()
            await all_gone(other)
            assert await other.publish("channel", "2") == 0


async def test_a_monitor(url: dict[str, Any], other: Client[str]) -> None:
    async with one(url) as r:
        await r.ping()
        monitor = r.monitor()
        await monitor.__aenter__()
        with forked():
            await monitor.__aexit__(None, None, None)
            async with asyncio.timeout(5):
                while any("flags=O" in line for line in await named(other)):
                    await asyncio.sleep(0.01)


async def test_an_idle_connection(url: dict[str, Any], other: Client[str]) -> None:
    async with one(url, idle_timeout=0.1) as r:
        await r.ping()
        with forked():
            await all_gone(other)
            assert await r.ping()


async def test_a_pop_that_was_dropped_takes_nothing(url: dict[str, Any], other: Client[str]) -> None:
    await other.call("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-client")
    async with one(url, username="u", password="p") as r:
        task = asyncio.create_task(r.blpop("q", 0))
        await is_blocked(other)
        with forked():
            await cancel(task)  # CLIENT UNBLOCK is refused, so the connection is closed
            async with asyncio.timeout(5):
                while (await other.info("clients"))["blocked_clients"]:
                    await asyncio.sleep(0.01)
            assert await other.rpush("q", "job") == 1
            assert await other.lrange("q", 0, -1) == ["job"]


async def test_a_client_that_was_collected(url: dict[str, Any], other: Client[str]) -> None:
    r = one(url)
    await r.ping()
    with forked():
        with pytest.warns(ResourceWarning, match="unclosed client"):
            del r
            gc.collect()
        await all_gone(other)


async def test_a_handshake_that_failed(server: Server) -> None:
    """The child is forked while the server has not answered yet."""
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, connect_timeout=0.2, retry=None) as r:
        proxy.stall("up")
        task = asyncio.create_task(r.ping())
        async with asyncio.timeout(5):
            while not proxy.open:
                await asyncio.sleep(0.01)
        with forked():
            with pytest.raises(aioresp.ConnectTimeout):
                await task
            proxy.resume()
            async with asyncio.timeout(5):
                while proxy.open:
                    await asyncio.sleep(0.01)


def inherited(r: Client[str]) -> list[Any]:
    pools: Any = r.node.pools._inherited
    return list(pools[0][0].values())


async def test_a_child_ends_nothing_of_its_parent(url: dict[str, Any], other: Client[str]) -> None:
    """Whatever a child does with what it has inherited."""
    r = one(url)
    read, write = os.pipe()

    def act() -> None:
        nonlocal r
        connections = [c for pool in inherited(r) for c in pool.resources]
        assert connections
        for connection in connections:
            connection.sever()
        assert asyncio.run(r.get("key")) == "value"
        asyncio.run(r.aclose())
        del r, connections
        gc.collect()
        os.write(write, b"done")

    await r.set("key", "value")
    task = asyncio.create_task(r.blpop("q", 0))
    await is_blocked(other)
    async with r.subscribe("channel") as s:
        with forked(act):
            os.set_blocking(read, False)
            async with asyncio.timeout(10):
                while True:
                    try:
                        assert os.read(read, 4) == b"done"
                        break
                    except BlockingIOError:
                        await asyncio.sleep(0.01)
            assert await r.get("key") == "value"
            await other.publish("channel", "1")
            assert getattr(await s.get(5), "data", None) == "1"
            await other.rpush("q", "job")
            assert await task == ("q", "job")
    os.close(read)
    os.close(write)
    assert r.stats().made == 3
    await r.aclose()


ABANDONED = """
import asyncio, os, sys, time
from aioresp import Client

url, how = sys.argv[1:]
r = Client(url, client_name="forked")
loop = asyncio.new_event_loop()

async def main():
    global task
    await r.ping()
    task = asyncio.create_task(r.blpop("q", 0))
    await asyncio.sleep(0.1)

loop.run_until_complete(main())
if not os.fork():
    time.sleep(60)
    os._exit(0)
if how == "closed":
    loop.close()
elif how == "client closed":
    asyncio.run(r.aclose())
if how != "exit":
    print("done", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["closed", "client closed", "exit"])
async def test_a_loop_that_was_left(server: Server, how: str) -> None:
    async with Client(server.url) as other:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", ABANDONED, server.url, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if how == "exit":
                await asyncio.to_thread(process.wait)
            else:
                assert await asyncio.to_thread(process.stdout.readline) == b"done\n"
            await all_gone(other)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdin.close()
            process.stdout.close()
