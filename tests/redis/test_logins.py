"""Logins, databases and encryption of redis-py's connections: only those that agree in all of them share a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as theirs
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider
from redis.exceptions import AuthenticationError, ConnectionError

from aioresp import Client
from aioresp.testing import Server
from tests.redis.conftest import Make
from tests.security.tls import Paths, tls_server


@dataclass
class Vault(CredentialProvider):
    """A provider without a hash, as dataclasses are."""

    username: str
    password: str

    def get_credentials(self) -> tuple[str, str]:
        return self.username, self.password


@pytest.fixture
async def where(server: Server) -> AsyncIterator[str]:
    """The server's address, while it has the users "open", who needs no password, and "app", whose is "secret"."""
    async with Client(server.url) as admin:
        await admin.call("ACL", "SETUSER", "open", "on", "nopass", "~*", "+@all")
        await admin.call("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
        yield f"redis://{server.host}:{server.port}"
        await admin.call("ACL", "DELUSER", "open", "app")


async def who(client: theirs.Redis) -> str:
    name: Any = await client.acl_whoami()
    return name if isinstance(name, str) else str(name.decode())


async def test_users_of_one_server_share_nothing(make: Make, where: str, server: Server) -> None:
    clients = {
        "open": make(where, username="open"),
        "app": make(where, username="app", password="secret"),
        "default": make(server.url),
    }
    for _ in range(2):
        assert {name: await who(client) for name, client in clients.items()} == {name: name for name in clients}


async def test_a_user_without_the_password_is_nobody(make: Make, where: str) -> None:
    with pytest.raises(AuthenticationError):
        await make(where, username="app").ping()


async def test_providers_of_one_server_share_nothing(make: Make, where: str) -> None:
    first: Any = UsernamePasswordCredentialProvider("app", "secret")
    second = Vault("open", "anything")
    clients = [make(where, credential_provider=each) for each in (first, second, first)]
    assert [await who(client) for client in clients] == ["app", "open", "app"]


async def test_databases_share_nothing(make: Make, prefix: str) -> None:
    clients = [make(db=db, decode_responses=True) for db in (0, 3, "3")]
    assert await clients[1].set(prefix, "three", px=60_000)
    assert [await client.get(prefix) for client in clients] == [None, "three", "three"]
    assert [(await client.client_info())["db"] for client in clients] == [0, 3, 3]


@pytest.mark.parametrize(
    ("encoding", "errors", "said", "stored", "read"),
    [
        ("latin-1", "strict", "é", b"\xe9", "é"),
        ("utf-8", "replace", b"\xff", b"\xff", "\ufffd"),
        ("utf-8", "surrogateescape", "\udcff", b"\xff", "\udcff"),
    ],
)
async def test_encodings(
    make: Make, other: Client[str], prefix: str, encoding: str, errors: str, said: Any, stored: bytes, read: str
) -> None:
    client = make(encoding=encoding, encoding_errors=errors, decode_responses=True)
    key = prefix.encode()
    await client.set(key, said)
    assert await other.with_options(decode_responses=False).get(prefix) == stored
    assert await client.get(key) == read
    pipeline: Any = client.pipeline()
    assert await pipeline.set(key, said).get(key).execute() == [True, read]


async def test_a_path(make: Make, server: Server, prefix: str) -> None:
    path = server.unix_socket_path
    client = make(f"unix://{path}?db=2", password=server.password, decode_responses=True)
    assert await client.set(prefix, "by a path", px=60_000)
    assert await client.get(prefix) == "by a path"
    info = await client.client_info()
    assert info["db"] == 2
    assert path in str(info["addr"])


async def test_settings_of_tls_share_nothing(make: Make, server: Server, tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    async with tls_server(server, paths.certificate("127.0.0.1"), paths.authority) as port:
        url = f"rediss://{server.host}:{port}"
        trusting = make(url, password=server.password, ssl_cert_reqs="none", ssl_check_hostname=False)
        knowing = make(url, password=server.password, ssl_ca_certs=paths.authority)
        strict = make(url, password=server.password)
        for _ in range(2):
            assert await trusting.ping()
            assert await knowing.ping()
            with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await strict.ping()
