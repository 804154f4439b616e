"""Options and URLs of redis-py: over the layer they reach the same server, as the same user, with the same words."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as theirs
from redis import exceptions
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

import aioresp.redis
from aioresp import Client
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.redis.conftest import Make
from tests.redis.seen import named, plain, shares
from tests.security.tls import Paths, tls_server


@pytest.fixture(scope="module")
def server() -> Any:
    """A server with a user of its own, and a Unix socket."""
    with start_server(config={"requirepass": "s3cret#/?", "user": "app on >p:w@/ ~* &* +@all"}) as own:
        yield own


@pytest.fixture
async def watcher(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(host=server.host, port=server.port, password="s3cret#/?") as r:
        yield r


async def says(client: Any) -> dict[str, Any]:
    """Return what the server knows of the connection of a client."""
    info: Any = await client.client_info()
    return {name: info.get(name) for name in ("db", "name", "user", "resp")}  # before 7.0 it does not tell the last


OPTIONS: list[dict[str, Any]] = [
    {"password": "s3cret#/?"},
    {"username": "app", "password": "p:w@/"},
    {"username": "default", "password": "s3cret#/?", "db": 3},
    {"password": "s3cret#/?", "db": "4", "client_name": "me"},
    {"credential_provider": UsernamePasswordCredentialProvider("app", "p:w@/"), "protocol": 3},
    {"credential_provider": UsernamePasswordCredentialProvider(password="s3cret#/?"), "protocol": 2},
    {"password": "s3cret#/?", "protocol": 3, "client_name": "three"},
    {"password": "s3cret#/?", "protocol": "2", "client_name": "two"},
    {"password": "s3cret#/?", "lib_name": "mine", "lib_version": "1.0"},
    {"password": "s3cret#/?", "health_check_interval": 1, "socket_keepalive": True, "retry_on_timeout": True},
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.turns(8)
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
@pytest.mark.parametrize("kind", [theirs.Redis, aioresp.redis.Redis], ids=["install", "class"])
async def test_options(server: Server, installed: None, kind: Any, options: dict[str, Any], unix: bool) -> None:
    if unix:
        where: dict[str, Any] = {"unix_socket_path": server.unix_socket_path}
        options = {name: value for name, value in options.items() if name != "socket_keepalive"}
    else:
        where = {"host": server.host, "port": server.port}
    pool_class = theirs.UnixDomainSocketConnection if unix else theirs.Connection
    named_as = {"path": where["unix_socket_path"]} if unix else where
    pool = theirs.ConnectionPool(connection_class=pool_class, **named_as, **options)
    aioresp.redis.exclude(pool)
    async with theirs.Redis.from_pool(pool) as alone, kind(**where, **options) as client:
        expected = await says(alone)
        assert await says(client) == expected
        assert await shares(client)
        pipelines: list[Any] = [alone.pipeline(), client.pipeline()]
        who = [await c.client_getname().acl_whoami().execute() for c in pipelines]
        assert who[1] == who[0]


@pytest.mark.parametrize("kind", [theirs.Redis, aioresp.redis.Redis], ids=["install", "class"])
async def test_urls(server: Server, installed: None, kind: Any) -> None:
    there = f"{server.host}:{server.port}"
    for url in (
        f"redis://:s3cret%23%2F%3F@{there}/5",
        f"redis://app:p%3Aw%40%2F@{there}/5?protocol=3&client_name=url",
        f"redis://app:p%3Aw%40%2F@{there}?db=6&decode_responses=True&socket_timeout=3",
        f"unix://app:p%3Aw%40%2F@{server.unix_socket_path}?db=7",
    ):
        async with plain(url) as alone, kind.from_url(url) as client:
            assert await says(client) == await says(alone)


async def test_other_logins_have_other_connections(server: Server, make: Make, watcher: Client[str]) -> None:
    """A user's commands never travel on the connection of another one."""
    there = f"{server.host}:{server.port}"
    one, two, db = (
        make(f"redis://:s3cret%23%2F%3F@{there}", client_name="x", decode_responses=True),
        make(f"redis://app:p%3Aw%40%2F@{there}", client_name="x", decode_responses=True),
        make(f"redis://:s3cret%23%2F%3F@{there}/9", client_name="x", decode_responses=True),
    )
    assert await asyncio.gather(*(c.acl_whoami() for c in (one, two, db))) == ["default", "app", "default"]
    assert sorted((info.db, info.user) for info in await named(watcher, "x")) == [
        (0, "app"),
        (0, "default"),
        (9, "default"),
    ]


@pytest.mark.parametrize(
    "options",
    [{}, {"password": "wrong"}, {"username": "app", "password": "wrong"}, {"username": "nobody", "password": "x"}],
    ids=["none", "wrong", "user", "nobody"],
)
async def test_a_wrong_login_is_redis_pys_error(server: Server, make: Make, options: dict[str, Any]) -> None:
    url = f"redis://{server.host}:{server.port}"
    alone = plain(url, **options)
    with pytest.raises(exceptions.RedisError) as expected:
        await alone.get("k")
    await alone.connection_pool.disconnect()
    client = make(url, **options)
    pubsub = client.pubsub()
    for call in (client.get("k"), pubsub.subscribe("k"), client.pipeline().get("k").execute()):
        with pytest.raises(type(expected.value)):
            await call


class Rotating(CredentialProvider):
    """Credentials that are asked for at each connect."""

    asked = 0

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        return "app", "p:w@/"

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


async def test_a_credential_provider_is_asked_again(server: Server, make: Make, watcher: Client[str]) -> None:
    provider = Rotating()
    client = make(f"redis://{server.host}:{server.port}", credential_provider=provider, client_name="rotating")
    assert await client.acl_whoami() in ("app", b"app")
    before = provider.asked
    assert before >= 1
    for info in await named(watcher, "rotating"):
        await watcher.call("CLIENT", "KILL", "ID", info.id)
    async with asyncio.timeout(20):
        while provider.asked == before:
            try:
                await client.ping()
            except exceptions.ConnectionError:
                pass
    assert await client.acl_whoami() in ("app", b"app")


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return Paths(tmp_path_factory.mktemp("tls"))


@pytest.mark.turns(2)
async def test_tls(paths: Paths, make: Make) -> None:
    with start_server(config={"requirepass": ""}) as behind:
        async with tls_server(behind, paths.certificate("localhost"), paths.authority, ask=True) as port:
            client_pem = paths.certificate("client")
            options: dict[str, Any] = {
                "ssl_ca_certs": paths.authority,
                "ssl_certfile": client_pem,
                "ssl_keyfile": client_pem,
            }
            client = make(f"rediss://localhost:{port}", **options)
            assert await client.set("k", "v")
            assert await client.pipeline().get("k").execute() == [b"v"]
            assert await shares(client)
            same = make(f"rediss://localhost:{port}", **options)
            assert await same.client_id() == await client.client_id()
            for wrong in (
                {**options, "ssl_ca_certs": paths.stranger},
                {"ssl_ca_certs": paths.authority},
            ):
                with pytest.raises(exceptions.ConnectionError):
                    await make(f"rediss://localhost:{port}", **wrong).get("k")
            with pytest.raises(exceptions.ConnectionError):
                await make(f"rediss://127.0.0.1:{port}", **options, ssl_check_hostname=True).get("k")
            careless = make(f"rediss://127.0.0.1:{port}", **options, ssl_check_hostname=False)
            assert await careless.get("k") == b"v"
            lax = {**options, "ssl_ca_certs": paths.stranger, "ssl_cert_reqs": "none", "ssl_check_hostname": False}
            assert await make(f"rediss://127.0.0.1:{port}", **lax).get("k") == b"v"
            low = make(f"rediss://localhost:{port}", **options, ssl_min_version=ssl.TLSVersion.TLSv1_2)
            assert await low.get("k") == b"v"
            for each in (client, same, careless, low):
                await each.aclose()
