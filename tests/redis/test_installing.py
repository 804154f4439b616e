"""install(), uninstall() and exclude(): what they reach, what they leave alone, and what the import needs."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio as theirs
from redis.asyncio.connection import Connection

import aioresp
import aioresp.redis
from aioresp import Client
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.redis.seen import shares

ROOT = Path(aioresp.__file__).parent


async def over_the_layer(server: Server, **options: Any) -> bool:
    async with theirs.Redis.from_url(server.url, **options) as client:
        return await shares(client)


async def test_install_and_uninstall_are_idempotent(server: Server) -> None:
    before = theirs.ConnectionPool.make_connection
    for _ in range(2):
        assert aioresp.redis.install()
        assert aioresp.redis.install()
        assert await over_the_layer(server)
        aioresp.redis.uninstall()
        aioresp.redis.uninstall()
        assert theirs.ConnectionPool.make_connection is before
        assert not await over_the_layer(server)


async def test_connections_that_exist_stay_as_they_are(server: Server) -> None:
    async with theirs.Redis.from_url(server.url) as old:
        theirs_is = await old.client_id()
        aioresp.redis.install()
        try:
            assert await old.client_id() == theirs_is
            async with theirs.Redis.from_url(server.url) as new:
                assert await shares(new)
                aioresp.redis.uninstall()
                assert await shares(new), "a connection without a socket goes on until it is closed"
        finally:
            aioresp.redis.uninstall()


async def test_install_from_threads_at_once(server: Server) -> None:
    original = theirs.ConnectionPool.make_connection
    start = threading.Barrier(8)

    def change() -> None:
        start.wait()
        for _ in range(200):
            aioresp.redis.install()
            aioresp.redis.uninstall()

    threads = [threading.Thread(target=change) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert theirs.ConnectionPool.make_connection is original
    assert not await over_the_layer(server)


@pytest.mark.parametrize("value", ["off", "OFF", "0", "no", "false"])
async def test_the_environment_turns_it_off(server: Server, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIORESP_REDIS", value)
    assert not aioresp.redis.install()
    assert not await over_the_layer(server)


async def test_the_environment_says_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIORESP_REDIS", "on")
    assert aioresp.redis.install()
    try:
        assert await over_the_layer(server)
    finally:
        aioresp.redis.uninstall()


async def test_an_excluded_pool_is_left_alone(server: Server, installed: None) -> None:
    pool = theirs.ConnectionPool.from_url(server.url)
    aioresp.redis.exclude(pool)
    async with theirs.Redis.from_pool(pool) as client:
        assert not await shares(client)
    assert await over_the_layer(server), "others are not excluded"


class OwnConnection(Connection):
    """Connection of a user's own."""


class OwnPool(theirs.ConnectionPool):
    """Pool of a user's own, which makes its connections itself."""

    made = 0

    def make_connection(self) -> Any:
        self.made += 1
        return Connection(**self.connection_kwargs)


async def test_connections_and_pools_of_a_users_own_are_left_alone(server: Server, installed: None) -> None:
    assert not await over_the_layer(server, connection_class=OwnConnection)
    pool = OwnPool.from_url(server.url)
    async with theirs.Redis.from_pool(pool) as client:
        assert not await shares(client)
        assert pool.made > 1


async def test_the_class_leaves_a_users_own_alone(server: Server) -> None:
    pool = theirs.ConnectionPool.from_url(server.url, connection_class=OwnConnection)
    async with aioresp.redis.Redis.from_pool(pool) as client:
        assert not await shares(client)
    own = OwnPool.from_url(server.url)
    async with aioresp.redis.Redis.from_pool(own) as client:
        assert not await shares(client)
        assert own.made > 1
    excluded = theirs.ConnectionPool.from_url(server.url)
    aioresp.redis.exclude(excluded)
    async with aioresp.redis.Redis.from_pool(excluded) as client:
        assert not await shares(client)


async def test_the_class_needs_no_installation(server: Server) -> None:
    async with aioresp.redis.from_url(server.url) as client, aioresp.redis.Redis.from_url(server.url) as other:
        assert isinstance(client, aioresp.redis.Redis)
        assert await shares(client)
        assert await client.client_id() == await other.client_id()
        assert not await over_the_layer(server), "no other client has it"


async def received(watcher: Client[str]) -> int:
    return int((await watcher.info("stats"))["total_connections_received"])


@pytest.mark.parametrize("kind", [theirs.ConnectionPool, theirs.BlockingConnectionPool])
async def test_a_client_for_each_command_connects_once(kind: type[theirs.ConnectionPool]) -> None:
    async with start_server() as own, Client(own.url) as watcher:
        pool = kind.from_url(own.url)
        before = await received(watcher)
        for _ in range(20):
            async with aioresp.redis.Redis(connection_pool=pool) as client:
                await client.incr("n")
        assert await received(watcher) == before + 1
        await pool.disconnect()
        async with asyncio.timeout(20):
            while len(await watcher.client_list()) > 1:
                await asyncio.sleep(0.005)
        async with aioresp.redis.Redis(connection_pool=pool) as client:
            assert await client.get("n") == b"20", "a pool that was disconnected connects again"
        await pool.disconnect()


# --- The import ------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
import aioresp, aioresp.testing, aioresp.recipes
assert "redis" not in sys.modules, "aioresp has imported redis"
assert "aioresp.redis" not in sys.modules
import redis.asyncio.connection as connection
from redis.asyncio.retry import Retry
for owner, name in [
    (connection.ConnectionPool, "make_connection"),
    (next(base for base in connection.Connection.__mro__ if "_close" in vars(base)), "_close"),
    (Retry, "call_with_retry"),
    (next(base for base in connection.DefaultParser.__mro__ if "parse_error" in vars(base)), "parse_error"),
]:
    kept = vars(owner)[name]
    delattr(owner, name)
    try:
        import aioresp.redis
    except ImportError as error:
        print(error)
    setattr(owner, name, kept)
    for each in [each for each in sys.modules if each.startswith("aioresp.redis")]:
        del sys.modules[each]
import aioresp.redis
"""


def test_the_import_says_what_a_version_lacks() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert not done.returncode, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    names = ["make_connection", "_close", "call_with_retry", "parse_error"]
    assert len(lines) == len(names), lines
    for line, name in zip(lines, names, strict=True):
        assert re.search(rf"redis-py {re.escape(redis.__version__)} has no \w+\.{name}\b.*5\.2", line), line


#: Imports the layer without a module.
WITHOUT = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
try:
    import aioresp.redis
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("redis", "aioresp.redis needs the package redis: pip install 'aioresp[redis]'"),
        ("redis._parsers", "No module named 'redis._parsers'"),  # the extra would not help
    ],
)
def test_the_import_says_what_to_install(module: str, told: str) -> None:
    words = [sys.executable, "-c", WITHOUT, module]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == told


def test_nothing_else_imports_it() -> None:
    importing = [
        path
        for path in ROOT.rglob("*.py")
        if path.parent != ROOT / "redis"
        and any(text in path.read_text(encoding="utf-8") for text in ("aioresp.redis", "import redis", "from redis"))
    ]
    assert importing == []


def test_asyncio_is_all_it_patches() -> None:
    before = redis.ConnectionPool.make_connection
    aioresp.redis.install()
    try:
        assert redis.ConnectionPool.make_connection is before
    finally:
        aioresp.redis.uninstall()


@pytest.mark.ci
def test_threads_may_share_a_client_from_its_first_command_on(server: Server, installed: None) -> None:
    """Before its first connection is made, a pool still has a lock of asyncio's, at which threads would meet."""
    answers: list[object] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            client = theirs.Redis.from_url(server.url)
            barrier = threading.Barrier(6)

            def ping(client: Any = client, barrier: threading.Barrier = barrier) -> None:
                async def answer() -> None:
                    answers.append(await asyncio.wait_for(client.ping(), 20))

                barrier.wait()
                asyncio.run(answer())

            threads = [threading.Thread(target=ping) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert answers == [True] * 180
