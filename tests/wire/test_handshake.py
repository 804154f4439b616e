"""Opening a connection: what is asked of the kernel, so that a peer that vanishes is noticed."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Server
from aioresp.testing import server as start_server
from aioresp.wire import dialing
from tests.security.hostile import hostile, says


def sockets(r: Client[Any]) -> list[socket.socket]:
    found: list[Any] = [connection._transport for connection in r.node.pools.here()._shared]
    listener = r.node.hubs.here()._listener
    assert listener is not None
    return [transport.get_extra_info("socket") for transport in (*found, listener._transport)]


async def test_the_kernel_looks_after_the_peer(server: Server) -> None:
    """Of each connection, also those of subscriptions, within about a minute."""
    async with Client(server.url, timeout=None) as r, r.subscribe("c"):
        await r.ping()
        found = sockets(r)
        assert len(found) == 2
        for sock in found:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            options = {name: value for name, value in dialing.KEEPALIVE if hasattr(socket, name)}
            for name, value in options.items():
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
            if sys.platform == "linux":
                assert options.keys() == {"TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"}
                idle = options["TCP_KEEPIDLE"] + options["TCP_KEEPINTVL"] * options["TCP_KEEPCNT"]
                assert options["TCP_USER_TIMEOUT"] == idle * 1000 <= 60_000


@pytest.fixture
def black_hole() -> Iterator[Any]:
    """Yield what makes a port swallow all packets, without a word, in both directions."""
    iptables = shutil.which("iptables")
    if iptables is None or subprocess.run([iptables, "-w", "-L"], capture_output=True, check=False).returncode:
        pytest.skip("needs iptables, and the right to use it")
    rules: list[list[str]] = []

    def swallow(port: int) -> None:
        for side in ("--dport", "--sport"):
            rule = ["INPUT", "-i", "lo", "-p", "tcp", side, str(port), "-j", "DROP"]
            subprocess.run([iptables, "-w", "-A", *rule], check=True)
            rules.append(rule)

    yield swallow
    for rule in rules:
        subprocess.run([iptables, "-w", "-D", *rule], check=True)


@pytest.mark.parametrize("way", ["idle", "owing", "subscribed and full"])
async def test_a_peer_that_vanishes_is_noticed_without_a_timeout(
    black_hole: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    short = [1, 1, 2, 3000]
    options = tuple((name, value) for (name, _), value in zip(dialing.KEEPALIVE, short, strict=True))
    monkeypatch.setattr(dialing, "KEEPALIVE", options)
    with start_server() as own:
        r = Client(own.url, timeout=None, retry=None)
        try:
            if way == "subscribed and full":
                async with r.subscribe("c", buffer=1, overflow="wait") as s:
                    await r.publish("c", "1")
                    await r.publish("c", "2")
                    while not s.waiting:
                        await asyncio.sleep(0.01)
                    black_hole(own.port)
                    start = time.monotonic()
                    async with asyncio.timeout(20):
                        while r.node.hubs.here()._listener is not None:
                            await s.get(timeout=0.5)
            else:
                async with r.connection() as c:
                    blocked = asyncio.ensure_future(c.call("BLPOP", "no such list", 0) if way == "idle" else c.ping())
                    await asyncio.sleep(0.2)
                    black_hole(own.port)
                    start = time.monotonic()
                    if way == "owing":
                        assert await blocked
                        blocked = asyncio.ensure_future(c.ping())
                    async with asyncio.timeout(20):
                        with pytest.raises(aioresp.ConnectionLost):
                            await blocked
            assert time.monotonic() - start > 1
        finally:
            await r.aclose()


@pytest.mark.parametrize("decode", [True, False])
async def test_a_greeting_that_is_not_utf8_is_no_advice_to_callers(decode: bool) -> None:
    async with hostile(says(b"$2\r\n\xff\xfe\r\n")) as url, Client(url, db=1, retry=None, protocol=2) as r:
        with pytest.raises(aioresp.ConnectError, match="answered SELECT with something that is not UTF-8") as caught:
            await r.with_options(decode_responses=decode).get("k")
    assert "decode_responses" not in str(caught.value)
