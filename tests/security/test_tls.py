"""TLS: what is verified without being asked for, and how a refusal reads."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import aioresp
from aioresp import Client, Gap, Message
from aioresp.events import ConnectFailed
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.rest import nothing_left
from tests.security.tls import Paths, program_with_tls, tls_server


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return Paths(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def program(paths: Paths) -> str | None:
    return program_with_tls(paths)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An open server: what these tests look at is the TLS before it."""
    with start_server(config={"requirepass": ""}) as running:
        yield running


@pytest.fixture(params=["server", "front"])
def behind(request: pytest.FixtureRequest, server: Server, program: str | None) -> Server | str:
    """A server, or the program of one that speaks TLS itself."""
    if request.param == "front":
        return server
    if program is None:
        pytest.skip("no server here was built with TLS")
    return program


def saying(behind: Server | str) -> type[aioresp.ConnectError]:
    """Return the error of who is refused: asyncio's servers close without a word, which leaves a guess."""
    return aioresp.TLSError if isinstance(behind, str) else aioresp.ConnectError


async def refused(
    url: str, kind: type[aioresp.ConnectError] = aioresp.TLSError, **options: Any
) -> aioresp.ConnectError:
    """Return the error of the first command."""
    async with Client(url, **options) as r:
        with pytest.raises(kind) as caught:
            await r.ping()
        assert r.stats().made == 0
    return caught.value


async def test_verified_without_being_asked(behind: Server | str, paths: Paths, prefix: str) -> None:
    async with tls_server(behind, paths.certificate("localhost"), paths.authority) as port:
        async with Client(f"rediss://localhost:{port}", ssl_ca_certs=paths.authority) as r:
            assert await r.set(f"{prefix}k", "x" * 1_000_000) is True
            assert await r.get(f"{prefix}k") == "x" * 1_000_000
            assert await asyncio.gather(*(r.echo(f"{n}") for n in range(100))) == [f"{n}" for n in range(100)]
            assert await r.delete(f"{prefix}k") == 1
        error = await refused(f"rediss://localhost:{port}")
        assert "no authority trusted here vouches for the server's certificate" in str(error)
        assert "ssl_ca_certs" in str(error)
        assert f"rediss://localhost:{port}" in str(error)
        assert isinstance(error, aioresp.ConnectError)
        assert isinstance(error, ConnectionError)


async def test_an_authority_that_is_not_the_servers(behind: Server | str, paths: Paths) -> None:
    async with tls_server(behind, paths.certificate("localhost"), paths.authority) as port:
        error = await refused(f"valkeys://localhost:{port}", ssl_ca_certs=paths.stranger)
        assert "give the right one by ssl_ca_certs" in str(error)


async def test_a_certificate_for_another_host(behind: Server | str, paths: Paths) -> None:
    async with tls_server(behind, paths.certificate("redis.example"), paths.authority) as port:
        for host in ("localhost", "127.0.0.1"):
            error = await refused(f"rediss://{host}:{port}", ssl_ca_certs=paths.authority)
            assert "the server's certificate is for another host" in str(error)
            assert "connect under a name that it has" in str(error)
            assert host in str(error)
        relaxed = f"rediss://127.0.0.1:{port}?ssl_check_hostname=no"
        async with Client(relaxed, ssl_ca_certs=paths.authority) as r:
            assert await r.ping()
        error = await refused(relaxed, ssl_ca_certs=paths.stranger)  # the authority is looked at all the same
        assert "ssl_ca_certs" in str(error)


async def test_an_expired_certificate(behind: Server | str, paths: Paths) -> None:
    async with tls_server(behind, paths.certificate("localhost", expired=True), paths.authority) as port:
        error = await refused(f"rediss://localhost:{port}", ssl_ca_certs=paths.authority)
        assert "the server's certificate has expired: renew it, or look at the clock here" in str(error)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_client_certificates(behind: Server | str, paths: Paths, version: str) -> None:
    mine = paths.certificate("client.example")
    old = paths.certificate("client.example", expired=True)
    strange = paths.certificate("client.example", authority=trustme.CA())
    kind, retry = saying(behind), aioresp.Retry(50, base=0.001) if isinstance(behind, str) else None
    async with tls_server(behind, paths.certificate("localhost"), paths.authority, ask=True, versions=version) as port:
        url = f"rediss://localhost:{port}"
        async with Client(url, ssl_ca_certs=paths.authority, ssl_certfile=mine) as r:
            assert await r.ping()
        for own in (None, old, strange):
            # In TLS 1.3 who is refused hears of it after his first words, and a reset may overtake it: hence `retry`.
            for _ in range(5):
                error = await refused(url, kind, ssl_ca_certs=paths.authority, ssl_certfile=own, retry=retry)
                assert "client certificate" in str(error)
                assert "ssl_certfile" in str(error)


async def test_the_least_version(behind: Server | str, paths: Paths) -> None:
    async with tls_server(behind, paths.certificate("localhost"), paths.authority, versions="TLSv1.2") as port:
        url = f"rediss://localhost:{port}"
        async with Client(url, ssl_ca_certs=paths.authority) as r:
            assert await r.ping()
        kind = saying(behind)
        newer = ssl.TLSVersion.TLSv1_3
        for error in (
            await refused(url, kind, ssl_ca_certs=paths.authority, ssl_min_version=newer, retry=None),
            await refused(f"{url}?ssl_min_version=1.3", kind, ssl_ca_certs=paths.authority, retry=None),
        ):
            assert "no version of TLS that is allowed here" in str(error)
            assert "ssl_min_version" in str(error)


async def test_a_context_of_ones_own(behind: Server | str, paths: Paths) -> None:
    context = ssl.create_default_context(cafile=paths.authority)
    front = tls_server(behind, paths.certificate("localhost"), paths.authority)
    async with front as port, Client(f"rediss://localhost:{port}", ssl_context=context) as r:
        assert await r.ping()


def _data(item: Message[str] | Gap | None) -> str:
    assert isinstance(item, Message)
    return str(item.data)


async def test_who_listens(behind: Server | str, paths: Paths, prefix: str, protocol: Any) -> None:
    """Subscriptions and MONITOR take over the socket, TLS and all, also where they hold up the server."""
    front = tls_server(behind, paths.certificate("localhost"), paths.authority)
    async with (
        front as port,
        Client(f"rediss://localhost:{port}", ssl_ca_certs=paths.authority, protocol=protocol) as r,
        r.subscribe(prefix, buffer=2, overflow="wait", gaps=True) as s,
        r.monitor(buffer=100_000) as monitor,
    ):
        await asyncio.gather(*(r.publish(prefix, f"{n}" * 100_000) for n in range(10)))
        assert sorted([_data(await s.get(5)) for _ in range(10)]) == [f"{n}" * 100_000 for n in range(10)]
        assert s.gaps == ()
        await r.echo(prefix)
        async with asyncio.timeout(5):
            while (await monitor.get()).arguments[-1] != prefix:
                pass


async def test_a_port_without_tls(server: Server) -> None:
    url = f"rediss://{server.host}:{server.port}"
    error = await refused(url, connect_timeout=0.3)  # TLSError: another attempt would end alike
    assert "speaks no TLS at this port: without TLS the URL begins with redis://" in str(error)


async def test_a_port_that_answers_in_plain_text() -> None:
    async def complain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR Protocol error\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(complain, "127.0.0.1", 0) as listener:
        error = await refused(f"rediss://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        assert "that is not TLS" in str(error)
        assert "redis://" in str(error)


async def test_tls_where_none_was_expected(behind: Server | str, paths: Paths) -> None:
    front = tls_server(behind, paths.certificate("localhost"), paths.authority)
    heard: list[Any] = []
    async with front as port, Client(f"redis://localhost:{port}", events=heard.append) as r:
        with pytest.raises(aioresp.TLSError, match="speaks TLS: use a URL that begins with rediss://"):
            await r.ping()
    assert [type(event) for event in heard].count(ConnectFailed) == 1  # it is not tried ten times


async def test_a_server_that_closes_while_tls_begins_is_tried_again() -> None:
    """That may be one that restarts."""
    accepted = 0

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.read(10)
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with Client(f"rediss://127.0.0.1:{port}", retry=aioresp.Retry(3, base=0.001)) as r:
            with pytest.raises(aioresp.ConnectError) as caught:
                await r.ping()
        assert not isinstance(caught.value, aioresp.TLSError)
        assert accepted == 3


def test_the_context_is_made_when_the_client_is(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Client("rediss://host", ssl_ca_certs=str(tmp_path / "nothing.pem"))
    with pytest.raises(ValueError, match="ssl_password needs ssl_certfile"):
        Client("rediss://host", ssl_password="secret")
    context = Client("rediss://host", ssl_ca_certs=paths.authority).node.settings.endpoint.tls
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_encrypted_key(tmp_path: Path) -> None:
    """OpenSSL would ask on the terminal."""
    issued = trustme.CA().issue_cert("client.example")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"Sesame"),
    )
    path = tmp_path / "both.pem"
    path.write_bytes(encrypted + issued.cert_chain_pems[0].bytes())
    Client("rediss://host", ssl_certfile=str(path), ssl_password="Sesame")
    with pytest.raises(ValueError, match="the key of ssl_certfile is encrypted: give ssl_password"):
        Client("rediss://host", ssl_certfile=str(path))
    with pytest.raises(OSError) as caught:
        Client("rediss://host", ssl_certfile=str(path), ssl_password="Simsalabim")
    assert "Simsalabim" not in str(caught.value)


async def test_a_refusal_leaves_nothing_open(paths: Paths, server: Server) -> None:
    async with nothing_left(), tls_server(server, paths.certificate("localhost"), paths.authority) as port:
        await refused(f"rediss://localhost:{port}")
