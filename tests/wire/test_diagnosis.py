"""Errors about connecting: each names the step, the likely cause and the remedy, in few lines and without secrets."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import aioresp
from aioresp import Client, Retry
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.holes import black_hole, listener
from tests.security.tls import Paths
from tests.wire.test_race import free_port, stack  # noqa: F401 (a fixture)

FEW = Retry(3, base=0.01, cap=0.01)


async def error_of(**options: Any) -> aioresp.RedisError:
    async with Client(**options) as r:
        with pytest.raises(aioresp.RedisError) as caught:
            await r.get("k")
    return caught.value


async def error_of_subscribing(**options: Any) -> aioresp.RedisError:
    async with Client(**options) as r:
        with pytest.raises(aioresp.RedisError) as caught:
            async with r.subscribe("c"):
                pass
    return caught.value


@pytest.mark.parametrize("ask", [error_of, error_of_subscribing])
async def test_nothing_listens(ask: Callable[..., Any]) -> None:
    port = free_port()
    error = await ask(host="localhost", port=port, retry=FEW)
    assert type(error) is aioresp.ConnectError
    said = rf"nothing listens at localhost:{port} \(3 attempts in [\d.e-]+ s\): is the server running\?"
    assert re.match(said, str(error))
    lines = "".join(traceback.format_exception(error)).splitlines()
    assert len(lines) < 25
    assert sum(line.startswith("Traceback") for line in lines) == 1
    assert isinstance(error.__cause__, ConnectionRefusedError)
    once = await ask(host="127.0.0.1", port=port, retry=None)
    assert str(once).startswith(f"nothing listens at 127.0.0.1:{port}: is the server running?")
    if ask is error_of:
        async with Client(port=port, timeout=0.3, retry=Retry(1000, cap=0.05)) as r:
            with pytest.raises(aioresp.ConnectTimeout, match=r"no connection in .* s: nothing listens at localhost:"):
                await r.get("k")


async def test_no_socket_and_nobody_at_it(tmp_path: Path) -> None:
    path = str(tmp_path / "redis.sock")
    assert str(await error_of(unix_socket_path=path, retry=FEW)).startswith(
        f"there is no socket {path} (3 attempts in "
    )
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        error = await error_of(unix_socket_path=path, retry=None)
    assert str(error) == f"nothing listens at unix://{path}: is the server running? [GET 'k']"


async def test_an_unknown_host() -> None:
    error = await error_of(host="no-such-host.invalid", retry=FEW)
    assert str(error).startswith("the host name 'no-such-host.invalid' cannot be looked up (")
    assert " (3 attempts in " in str(error)
    assert sum(line.startswith("Traceback") for line in "".join(traceback.format_exception(error)).splitlines()) == 1


async def test_no_password(server: Server, protocol: Any) -> None:
    with start_server(config={"requirepass": "right"}) as own:
        where: Any = {"host": own.host, "port": own.port, "protocol": protocol}
        error = await error_of(**where)
        assert type(error) is aioresp.AuthenticationError
        assert str(error).startswith("NOAUTH ")
        assert "give a password (and a username, if it is not the default user)" in str(error)
        error = await error_of(**where, password="wrong-one")
        assert "(as the default user)" in str(error)
        error = await error_of(**where, username="bob", password="wrong-one")
        assert "(as user 'bob')" in str(error)
        assert "wrong-one" not in "".join(traceback.format_exception(error))
        error = await error_of(**where, username="b" * 1000, password="wrong-one")
        assert len(str(error)) < 300
        error = await error_of(**where, credential_provider=lambda: ("carol", "wrong-one"))
        assert "(as user 'carol')" in str(error)


# --- In which step the time was over ---------------------------------------------------------------------------------


async def in_both_ways(**options: Any) -> tuple[str, str, str]:
    """Return the errors of a late attempt to connect, of a late call, and of a late subscription."""
    first = await error_of(**options, connect_timeout=0.2, retry=None)
    second = await error_of(**options, connect_timeout=60, timeout=0.2, retry=None)
    third = await error_of_subscribing(**options, connect_timeout=60, timeout=0.2, retry=None)
    assert {type(error) for error in (first, second, third)} <= {aioresp.ConnectTimeout, aioresp.TLSError}
    return str(first), str(second), str(third)


async def test_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        go.wait(30)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        first, *others = await in_both_ways(host="slow.test")
    finally:
        go.set()
    assert "its name is still being looked up" in first
    assert all("the look-up of the name" in said for said in others)


async def test_tcp(stack: ExitStack) -> None:  # noqa: F811
    port = free_port()
    black_hole(stack, "127.0.0.2", port)
    first, *others = await in_both_ways(host="127.0.0.2", port=port)
    assert f"no connection to redis://127.0.0.2:{port} in 0.2 s: no answer to TCP from 127.0.0.2" in first
    assert all("an answer to TCP" in said for said in others)


async def test_tls(stack: ExitStack) -> None:  # noqa: F811
    port = free_port()
    listener(stack, "127.0.0.2", port)
    first, *others = await in_both_ways(host="127.0.0.2", port=port, ssl=True)
    assert first.startswith(
        f"no TLS with rediss://127.0.0.2:{port} in 0.2 s, although TCP is connected: it may speak no"
    )
    assert all(" TLS" in said for said in others)


async def test_the_handshake(stack: ExitStack) -> None:  # noqa: F811
    port = free_port()
    listener(stack, "127.0.0.2", port)
    first, *others = await in_both_ways(host="127.0.0.2", port=port)
    assert "in 0.2 s: TCP is connected, but the handshake is not answered: is it a Redis server" in first
    assert all("the server's answer to the handshake" in said for said in others)


async def test_the_credential_provider(server: Server) -> None:
    async def never() -> str:
        await asyncio.sleep(60)
        return ""

    first, *others = await in_both_ways(host=server.host, port=server.port, credential_provider=never)
    assert "in 0.2 s: the credential provider has not answered" in first
    assert all("the credential provider" in said for said in others)


async def test_the_line_of_the_pool(server: Server) -> None:
    async with Client(server.url, limit=2, timeout=0.3, retry=None) as r, r.connection():
        with pytest.raises(aioresp.PoolTimeout, match="no connection became free in"):
            async with r.connection():
                pass


# --- TLS and plain text mixed up -------------------------------------------------------------------------------------


async def test_tls_to_a_plain_port(server: Server) -> None:
    """It is certain, so it is said at `connect_timeout`, and not tried again until `timeout`."""
    start = time.monotonic()
    error = await error_of(host=server.host, port=server.port, ssl=True, connect_timeout=0.3, timeout=100)
    assert time.monotonic() - start < 50
    assert type(error) is aioresp.TLSError
    assert str(error).startswith(
        f"rediss://{server.host}:{server.port} speaks no TLS at this port: without TLS the URL begins with redis://"
    )


async def test_a_tls_alert(tmp_path: Path) -> None:
    """Some servers send an alert to a command in plain text, which is no RESP."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Paths(tmp_path).certificate("localhost"))
    made = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        first = await reader.read(1)
        writer.write(b"\x15\x03\x01\x00\x02\x02\x46" if first != b"\x16" else b"\x16\x03\x03\x00\x01\x00")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as front:
        port = front.sockets[0].getsockname()[1]
        error = await error_of(host="127.0.0.1", port=port)
    assert type(error) is aioresp.TLSError
    assert "speaks TLS: use a URL that begins with rediss://" in str(error)
    assert made == 2


async def test_a_server_that_closes_is_tried_again() -> None:
    """It may be one that restarts behind a proxy."""
    greeted = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        greeted += (await reader.read(1)) == b"*"
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as front:
        error = await error_of(host="127.0.0.1", port=front.sockets[0].getsockname()[1], retry=FEW)
    assert type(error) is aioresp.ConnectError
    assert greeted == 3
    assert re.search(r"ended the handshake: .* \(3 attempts in ", str(error))


# --- Files of certificates -------------------------------------------------------------------------------------------


def test_an_error_about_a_file_names_option_and_file(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    mine, other, encrypted = paths.certificate("mine"), paths.certificate("other"), paths.encrypted_key("Sesame")
    nothing, empty = str(tmp_path / "nothing.pem"), tmp_path / "empty.pem"
    empty.write_text("no certificate")
    cases: list[tuple[dict[str, str], str]] = [
        ({"ssl_ca_certs": nothing}, f"ssl_ca_certs: No such file or directory: '{nothing}'"),
        ({"ssl_ca_certs": str(tmp_path)}, f"ssl_ca_certs: Is a directory: '{tmp_path}'"),
        ({"ssl_ca_certs": str(empty)}, f"ssl_ca_certs: '{empty}' holds no certificate in PEM format"),
        ({"ssl_certfile": nothing}, f"ssl_certfile: No such file or directory: '{nothing}'"),
        ({"ssl_certfile": str(empty)}, f"ssl_certfile: '{empty}' holds no certificate in PEM format"),
        ({"ssl_certfile": paths.authority}, f"ssl_certfile: '{paths.authority}' holds no private key"),
        ({"ssl_certfile": mine, "ssl_keyfile": nothing}, f"ssl_keyfile: No such file or directory: '{nothing}'"),
        ({"ssl_certfile": mine, "ssl_keyfile": str(empty)}, f"ssl_keyfile: '{empty}' holds no private key"),
        ({"ssl_certfile": mine, "ssl_keyfile": other}, f"ssl_keyfile: '{other}' is not the key of the certificate"),
        (
            {"ssl_certfile": mine, "ssl_keyfile": encrypted, "ssl_password": "Simsalabim"},
            f"ssl_keyfile: '{encrypted}' cannot be read: is ssl_password right?",
        ),
    ]
    for files, said in cases:
        options: Any = files
        with pytest.raises(OSError) as caught:
            Client("rediss://host", **options)
        assert said in str(caught.value)
        assert "Simsalabim" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_text_in_place_of_a_file_is_not_shown(name: str) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----"
    options: Any = {"ssl_certfile": key, name: key}
    with pytest.raises(ValueError, match="is the text of a file, not its path") as caught:
        Client("rediss://host", **options)
    assert "MIIEv" not in "".join(traceback.format_exception(caught.value))
