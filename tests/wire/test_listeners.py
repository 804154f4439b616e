"""Listeners of a connection and words of its handshake: pushes are heard in the order of the bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from aioresp import Client
from aioresp.errors import ConnectError, ConnectionLost, TLSError
from aioresp.options import settings
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from aioresp.wire.batch import Batch
from aioresp.wire.brake import Brake
from aioresp.wire.connection import Connection
from aioresp.wire.courtesies import Words
from aioresp.wire.endpoint import tls_context
from aioresp.wire.handshake import connect, restore
from aioresp.wire.packing import pack
from tests.security.tls import Paths, tls_server

TRACKING: Words = (("CLIENT", "TRACKING", "ON"),)


class Opener:
    """Opens connections, and closes them at the end of a test."""

    def __init__(self) -> None:
        self._ends: list[tuple[Connection, asyncio.Event]] = []

    async def __call__(
        self, url: str, *, words: Words = (), prepare: Callable[[Connection], None] | None = None, **options: Any
    ) -> Connection:
        def prepared(connection: Connection) -> None:
            end = asyncio.Event()
            connection.add_end_listener(lambda _: end.set())
            self._ends.append((connection, end))
            if prepare is not None:
                prepare(connection)

        endpoint = settings(url, {}).endpoint.replace(**options)
        return await connect(endpoint, Brake(), concurrency=100, timeout=10, words=words, prepare=prepared)

    async def close(self) -> None:
        for connection, end in self._ends:
            connection.close()
            if connection._transport is not None:
                await end.wait()


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    opener = Opener()
    yield opener
    await opener.close()


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server() as running:
        yield running


@pytest.mark.parametrize("batched", [False, True])
async def test_two_listeners_hear_an_invalidation_before_the_reply_behind_it(
    opened: Opener, server: Server, r: Client[Any], prefix: str, batched: bool
) -> None:
    """The server is told by the handshake to track; it writes the invalidation first, then the reply to PING."""
    key = f"{prefix}k"
    heard: list[tuple[str, Any]] = []

    def prepare(connection: Connection) -> None:
        connection.add_push_listener(lambda push: heard.append(("first", push)))
        connection.add_push_listener(lambda push: heard.append(("second", push)))

    class Told(asyncio.Future[Any]):
        """Notes when a reply is handed out, which is before its caller runs."""

        def set_result(self, result: Any) -> None:
            heard.append(("reply", result))
            super().set_result(result)

    await r.set(key, "1", ex=60)
    connection = await opened(server.url, words=TRACKING, prepare=prepare)
    assert await connection.send(pack(("GET", key))) == "1"
    await r.set(key, "2", ex=60)
    reply = Told()
    if batched:
        commands = [("GET", key), ("ECHO", "behind")]
        connection.send_batch(b"".join(pack(c) for c in commands), Batch(2, True, reply), 5)  # type: ignore[misc]
        assert await reply == ["2", "behind"]
    else:
        connection.send(pack(("ECHO", "behind")), True, 5, reply)
        assert await reply == "behind"
    push = [b"invalidate", [key.encode()]]
    assert heard[:2] == [("first", push), ("second", push)]
    assert [who for who, _ in heard] == ["first", "second", "reply"]


async def test_a_push_is_heard_where_it_stands_among_replies(opened: Opener, proxy: Proxy) -> None:
    order: list[Any] = []
    connection = await opened(proxy.url, prepare=lambda c: c.add_push_listener(lambda push: order.append(push)))
    proxy.stall("down")

    class Told(asyncio.Future[Any]):
        def set_result(self, result: Any) -> None:
            order.append(result)
            super().set_result(result)

    replies = [Told(), Told()]
    proxy.corrupt(b">1\r\n+x\r\n", after=len(b"$1\r\na\r\n"), replace=0)
    for text, reply in zip("ab", replies, strict=True):
        connection.send(pack(("ECHO", text)), True, 5, reply)
    proxy.resume("down")
    assert await asyncio.gather(*replies) == ["a", "b"]
    assert order == ["a", [b"x"], "b"]


async def test_a_listener_that_fails_disturbs_nobody(
    opened: Opener, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def fails(push: list[Any]) -> None:
        raise KeyError("a secret")

    connection = await opened(proxy.url)
    connection.add_push_listener(fails)
    connection.add_push_listener(heard.append)
    proxy.inject(b">1\r\n+x\r\n")
    assert await connection.send(pack(("PING",))) == "PONG"
    assert heard == [[b"x"]]
    assert "a listener for pushes raised KeyError" in caplog.text
    assert "secret" not in caplog.text


async def test_listeners_are_removed_one_by_one(opened: Opener, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    first: list[Any] = []
    second: list[Any] = []
    connection = await opened(proxy.url)
    connection.add_push_listener(first.append)
    connection.add_push_listener(second.append)
    connection.add_end_listener(first.append)
    connection.add_end_listener(second.append)
    connection.remove_push_listener(first.append)
    connection.remove_end_listener(second.append)
    proxy.inject(b">1\r\n+x\r\n")
    await connection.send(pack(("PING",)))
    connection.remove_push_listener(second.append)
    with pytest.raises(ValueError, match="not in"):
        connection.remove_push_listener(second.append)
    with caplog.at_level(logging.WARNING):
        proxy.inject(b">1\r\n+x\r\n")
        await connection.send(pack(("PING",)))
    assert "a message that nobody had asked for ('x')" in caplog.text
    proxy.cut()
    with pytest.raises(ConnectionLost):
        await connection.send(pack(("PING",)))
    assert (first, second) == ([connection], [[b"x"]])


async def test_a_listener_removes_itself_and_others_and_adds_one_while_it_is_called(
    opened: Opener, proxy: Proxy
) -> None:
    heard: list[str] = []
    connection = await opened(proxy.url)

    def first(_: object) -> None:
        heard.append("first")
        connection.remove_push_listener(first)
        connection.remove_push_listener(second)
        connection.add_push_listener(last)

    def second(_: object) -> None:
        heard.append("second")

    def last(_: object) -> None:
        heard.append("last")

    def first_end(_: object) -> None:
        connection.remove_end_listener(first_end)
        connection.remove_end_listener(second)

    connection.add_push_listener(first)
    connection.add_push_listener(second)
    connection.add_push_listener(lambda _: heard.append("third"))
    connection.add_end_listener(first_end)
    connection.add_end_listener(second)
    proxy.inject(b">1\r\n+x\r\n")
    await connection.send(pack(("PING",)))
    assert heard == ["first", "third"]
    proxy.inject(b">1\r\n+x\r\n")
    await connection.send(pack(("PING",)))
    assert heard == ["first", "third", "third", "last"]
    proxy.cut()
    with pytest.raises(ConnectionLost):
        await connection.send(pack(("PING",)))
    assert "second" not in heard


async def test_a_listener_may_send_and_close(opened: Opener, proxy: Proxy) -> None:
    """Also while a batch takes its replies; what arrives is handed to whom it belongs, all else fails."""
    connection = await opened(proxy.url)
    sent: list[asyncio.Future[Any]] = []

    def sends(_: object) -> None:
        sent.append(connection.send(pack(("ECHO", f"{len(sent)}")), len(sent) % 2 == 0, 5))
        if len(sent) == 4:
            connection.close()

    connection.add_push_listener(sends)
    for count in (1, 2, 3):
        proxy.stall("down")
        proxy.corrupt(b">1\r\n+x\r\n", after=len(b"$1\r\na\r\n"), replace=0)
        batch: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        connection.send_batch(b"".join(pack(("ECHO", text)) for text in "abc"), Batch(3, True, batch), 5)  # type: ignore[misc]
        proxy.resume("down")
        assert await batch == ["a", "b", "c"]
        assert await sent[-1] == ("0", b"1", "2")[count - 1]
    assert await connection.send(pack(("PING",)), False, 5) == b"PONG"
    proxy.inject(b">1\r\n+x\r\n")
    waiting = connection.send(pack(("ECHO", "a")), True, 5)
    with suppress(ConnectionLost):  # the push comes first, most likely, and with it the end
        assert await waiting == "a"
    with pytest.raises(ConnectionLost):
        connection.send(pack(("PING",)))
    with suppress(ConnectionLost):
        assert await sent[3] == b"3"


async def test_words_that_the_server_refuses_end_the_handshake(opened: Opener, server: Server) -> None:
    with pytest.raises(ConnectError, match=r"refused ASKING: .*cluster support disabled"):  # Valkey takes READONLY
        await opened(server.url, words=(("ASKING",),))
    with pytest.raises(ConnectError, match="refused CLIENT") as caught:
        await opened(server.url, words=(("CLIENT", "TRACKING", "ON", "PREFIX", "secret"),))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((("NOSUCH", "secret"),), "refused NOSUCH: .*unknown command"),
        ((("PING",), ("CLIENT", "NOSUCH")), "refused CLIENT: .*nknown subcommand"),
        ((("HELLO", 9),), "refused HELLO: NOPROTO"),
        ((("SELECT", 9999),), "refused SELECT"),
    ],
)
async def test_words_that_the_server_does_not_know_are_no_reason_for_another_handshake(
    own_server: Server, opened: Opener, resp: Literal[2, 3], words: Words, said: str
) -> None:
    async with Client(own_server.url) as admin:
        await admin.config_resetstat()
        with pytest.raises(ConnectError, match=said) as caught:
            await opened(own_server.url, protocol=resp, words=words)
        assert "secret" not in str(caught.value)
        calls = await admin.info("commandstats")
    # Where RESP3 is unknown, AUTH is sent instead of HELLO.
    assert calls.get("cmdstat_auth", {}).get("calls", 0) == (resp == 2)


async def test_words_are_sent_again_to_restore_a_connection(
    opened: Opener, server: Server, r: Client[Any], prefix: str
) -> None:
    heard: list[Any] = []
    connection = await opened(server.url, words=TRACKING)
    connection.add_push_listener(heard.append)
    await restore(connection, settings(server.url, {}).endpoint, Brake(), 10, TRACKING)
    await r.set(f"{prefix}k", "1", ex=60)
    await connection.send(pack(("GET", f"{prefix}k")))
    await r.set(f"{prefix}k", "2", ex=60)
    await connection.send(pack(("PING",)))
    assert heard == [[b"invalidate", [f"{prefix}k".encode()]]]


async def test_the_greeting_is_kept(opened: Opener, server: Server) -> None:
    connection = await opened(server.url)
    greeting = connection.greeting
    assert greeting.id == connection.id == await connection.send(pack(("CLIENT", "ID")))
    assert (greeting.mode, greeting.role) == ("standalone", "master")
    assert greeting.server in ("redis", "valkey")
    said = await connection.send(pack(("HELLO",)))
    assert greeting.version == said["version"]
    older = await opened(server.url, protocol=2)
    assert older.greeting.id == await older.send(pack(("CLIENT", "ID")))
    assert older.greeting.role is None


async def test_the_certificate_may_have_another_name_than_the_host(
    opened: Opener, server: Server, tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    async with tls_server(server, paths.certificate("cache.example"), paths.authority) as port:
        url = server.url.replace(f":{server.port}", f":{port}")
        context = tls_context(ca_certs=paths.authority)
        with pytest.raises(TLSError, match="another host"):
            await opened(url, tls=context)
        connection = await opened(url, tls=context, server_hostname="cache.example")
        assert await connection.send(pack(("PING",))) == "PONG"
