"""Servers and users that refuse a part of the handshake, in any words: what is not essential never ends it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.options import settings
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from aioresp.wire import courtesies, handshake
from aioresp.wire.brake import Brake
from aioresp.wire.handshake import connect
from tests.pubsub.listening import until
from tests.security.hostile import answers, command, peer
from tests.servers import TWEMPROXY
from tests.wire.test_race import free_port


@pytest.fixture(autouse=True)
def nothing_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of refusals is the process's; ports are used again."""
    monkeypatch.setattr(courtesies, "_refused", {})


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server() as own:
        yield own


#: How servers and proxies, old and new, refuse a command.
REFUSALS = (
    "ERR unknown command 'HELLO'",
    "ERR unknown command `HELLO`, with args beginning with: `3`, ",
    "ERR unknown command",
    "ERR Unknown command 'HELLO'",
    "ERR unknown or unsupported command 'HELLO'",
    "ERR unsupported command",
    "ERR Unsupported command: HELLO",
    "unsupported command 'hello'",
    "ERR HELLO is not allowed",
    "ERR command 'HELLO' is not allowed",
    "ERR command not supported",
    "ERR handle request, command 'HELLO' is not allowed",
    "ERR This instance does not support the command 'hello'",
    "ERR Syntax error in HELLO option 'setname'",
    "ERR wrong number of arguments for 'hello' command",
    "ERR Protocol version is not an integer or out of range",
    "NOPROTO unsupported protocol version",
    "NOPROTO sorry this protocol version is not supported",
    "NOPERM this user has no permissions to run the 'hello' command",
    "NOSUCHCOMMAND hello",
    "ERR",
    "no",
    "",
)


@pytest.mark.parametrize("client_name", [None, "web"])
@pytest.mark.parametrize("said", REFUSALS)
async def test_resp2_where_hello_is_refused(said: str, client_name: str | None) -> None:
    heard: list[list[bytes]] = []

    async def tell(words: list[bytes], writer: asyncio.StreamWriter) -> None:
        heard.append(words)
        writer.write(f"-{said}\r\n".encode() if words[0] == b"HELLO" else b":7\r\n")

    async with peer(tell) as url, Client(url, client_name=client_name, retry=None) as r:
        assert await r.incr("k") == 7
        assert [connection.id for connection in r.node.pools.here()._shared] == [7]
    assert ([b"CLIENT", b"SETNAME", b"web"] in heard) == (client_name is not None)


@pytest.mark.parametrize("said", REFUSALS)
async def test_everything_but_the_command_may_be_refused(said: str, protocol: Any) -> None:
    """PING, CLIENT SETNAME, SETINFO and ID."""

    async def tell(words: list[bytes], writer: asyncio.StreamWriter) -> None:
        writer.write(b":7\r\n" if words[0] == b"INCRBY" else f"-{said}\r\n".encode())

    for name in (None, "web"):
        async with peer(tell) as url, Client(url, protocol=protocol, client_name=name, retry=None) as r:
            assert await r.incr("k") == 7


@pytest.mark.parametrize("said", ["NOAUTH Authentication required.", "ERR unknown command 'HELLO'", "NOPERM no"])
async def test_a_proxy_that_reads_credentials_from_auth_alone(said: str) -> None:
    """Envoy and others answer NOAUTH to a HELLO whose credentials they have not read."""

    async def tell(words: list[bytes], writer: asyncio.StreamWriter) -> None:
        writer.write(f"-{said}\r\n".encode() if words[0] == b"HELLO" else b":7\r\n")

    async with peer(tell) as url, Client(url, password="secret", retry=None) as r:
        assert await r.incr("k") == 7


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("WRONGPASS invalid username-password pair", aioresp.AuthenticationError),
        ("ERR invalid password", aioresp.AuthenticationError),
        ("LOADING Redis is loading the dataset in memory", aioresp.ConnectError),
        ("ERR max number of clients reached", aioresp.ConnectError),
    ],
)
async def test_what_is_no_refusal_of_hello(said: str, kind: type[Exception]) -> None:
    heard: list[bytes] = []

    def tell(words: list[bytes]) -> bytes:
        heard.append(words[0])
        return f"-{said}\r\n".encode() if words[0] == b"HELLO" else b"+OK\r\n"

    async with answers(tell) as url, Client(url, password="secret", retry=None) as r:
        with pytest.raises(kind, match=said.split()[1]):
            await r.get("k")
    assert b"AUTH" not in heard


@pytest.mark.parametrize(
    ("said", "kind"),
    [("NOAUTH Authentication required.", aioresp.AuthenticationError), ("LOADING x", aioresp.ConnectError)],
)
@pytest.mark.parametrize("name", [None, "web"])
async def test_a_courtesy_shows_that_the_server_takes_nothing(said: str, kind: type[Exception], name: str) -> None:
    refusal = f"-{said}\r\n".encode()
    async with (
        answers(lambda words: refusal, pong=refusal) as url,
        Client(url, protocol=2, client_name=name, retry=None) as r,
    ):
        with pytest.raises(kind, match=said.split(maxsplit=1)[0]):
            await r.get("k")


async def test_what_is_essential(protocol: Any) -> None:
    def tell(words: list[bytes]) -> bytes:
        return b"-ERR DB index is out of range\r\n" if words[0] == b"SELECT" else b"+OK\r\n"

    async with answers(tell) as url, Client(url, protocol=protocol, db=3, retry=None) as r:
        with pytest.raises(aioresp.ConnectError, match="refused SELECT: ERR DB index"):
            await r.get("k")


@pytest.mark.parametrize("absent", ["HELLO", "CLIENT", "PING", "HELLO CLIENT PING"])
async def test_real_servers_without_a_command(absent: str, protocol: Any) -> None:
    arguments = [word for name in absent.split() for word in ("--rename-command", name, "")]
    with start_server(*arguments) as own:
        async with Client(own.url, client_name="web", db=2, protocol=protocol, retry=None) as r:
            await r.set("k", "v")
            assert await r.get("k") == "v"
            async with r.subscribe("c", gaps=True) as s:
                await r.publish("c", "m")
                assert (await s.get(5)).data == "m"  # type: ignore[union-attr]
            async with r.connection() as c:
                await c.select(1)
            assert await r.get("k") == "v"
        async with Client(own.url, protocol=protocol, retry=None) as r:
            assert await r.get("k") is None


async def refusals(admin: Client[str]) -> Counter[str]:
    """Return how often each command is in the ACL LOG."""
    return Counter({entry.object: entry.count for entry in await admin.acl_log()})


async def test_what_is_refused_once_is_not_asked_again(own_server: Server, protocol: Any) -> None:
    """Of that server and user: else each connection would have its entries in the ACL LOG."""
    async with Client(own_server.url) as admin:
        rules = ["on", ">secret", "~*", "&*", "+@all", "-ping", "-client", "-hello", "-info"]
        await admin.acl_setuser("small", rules=rules)
        user: Any = {"host": own_server.host, "port": own_server.port, "username": "small", "password": "secret"}
        async with Client(**user, protocol=protocol, client_name="web", retry=None) as r:
            assert await r.get("k") is None
            first = await refusals(admin)
        for _ in range(5):
            async with Client(**user, protocol=protocol, client_name="web", retry=None) as r:
                assert await r.get("k") is None
                async with r.subscribe("c"):
                    pass
        assert await refusals(admin) == first
        assert first or protocol == 3  # for some versions CLIENT SETINFO is unknown rather than forbidden
        async with Client(own_server.url, protocol=protocol) as other:  # another user's permissions are others
            names = [row.lib_name for row in await other.client_list() if row.id == await other.client_id()]
        assert own_server.version < (7, 2) or names == ["aioresp"]


async def test_a_user_without_permissions_leaves_no_trace(own_server: Server) -> None:
    async with Client(own_server.url) as admin:
        await admin.acl_setuser("small", rules=["on", ">secret", "~*", "&*", "+get", "+hello", "+info"])
        await admin.acl_setuser("smaller", rules=["on", ">secret", "~*", "&*", "+get", "+hello"])
        user: Any = {"host": own_server.host, "port": own_server.port, "password": "secret", "lib_name": None}
        for name in ("small", "smaller"):
            async with Client(**user, username=name, retry=None) as r:
                assert await r.get("k") is None
        assert not await refusals(admin)


@pytest.mark.parametrize("changed", [False, True])
async def test_a_server_tells_who_it_is(server: Server, protocol: Any, changed: bool) -> None:
    """Once for each connection, also if RESET has made another handshake necessary."""
    async with Client(server.url, protocol=protocol) as r:
        identity = (await r.info("server"))["run_id"]
        before = (await r.info("commandstats"))["cmdstat_info"]["calls"]
        async with r.connection() as c:
            if changed:
                await c.select(1)
            number = await c.client_id()
        while r.stats().leased:
            await asyncio.sleep(0.01)
        assert {connection.server for connection in r.node.pools.here()._shared} == {identity}
        assert number in {connection.id for connection in r.node.pools.here()._shared}
        after = (await r.info("commandstats"))["cmdstat_info"]["calls"]
        assert after - before == r.stats().made


@pytest.mark.parametrize(
    "said",
    ["+OK", ":7", "_", "$-1", "$0\r\n", "$9\r\n\r\nrun_id:", "$3\r\n\xff\n\n", "*0", "-LOADING x", "-BUSY x"],
)
async def test_a_server_may_answer_info_with_anything(said: str, protocol: Any) -> None:
    asked: list[bytes] = []

    async def tell(words: list[bytes], writer: asyncio.StreamWriter) -> None:
        answer = {
            b"INFO": said.encode("latin-1"),
            b"HELLO": b"%2\r\n$2\r\nid\r\n:7\r\n$6\r\nserver\r\n$5\r\nredis",
            b"PING": b"+PONG",
        }
        asked.append(words[0])
        writer.write(answer.get(words[0], b":7") + b"\r\n")

    async with peer(tell) as url, Client(url, protocol=protocol, retry=None) as r:
        assert await r.incr("k") == 7
        assert [(one.id, one.server) for one in r.node.pools.here()._shared] == [(7, None)]
        assert asked.count(b"INFO") == 1


async def test_later_handshakes_ask_at_once_who_the_server_is(
    proxy: Proxy, protocol: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one round trip; only the first one asks after the server has shown what it is."""
    monkeypatch.setattr(courtesies, "_genuine", {})
    endpoint = settings(proxy.url, {"protocol": protocol}).endpoint
    rounds: list[int] = []
    asked = handshake._say

    async def say(*arguments: Any) -> Any:
        rounds[-1] += 1
        return await asked(*arguments)

    monkeypatch.setattr(handshake, "_say", say)
    identify = handshake._identify

    async def counted(*arguments: Any) -> None:
        rounds[-1] += 1
        await identify(*arguments)

    monkeypatch.setattr(handshake, "_identify", counted)
    for _ in range(3):
        rounds.append(0)
        connection = await connect(endpoint, Brake(), concurrency=1, timeout=10)
        assert connection.server is not None
        assert connection.in_flight == 0
        connection.close()
    assert rounds == [2, 1, 1]


@pytest.mark.parametrize(
    ("option", "name"),
    [({}, "aioresp"), ({"lib_name": None}, ""), ({"lib_name": "celery(aioresp)"}, "celery(aioresp)")],
)
async def test_the_name_of_the_library(server: Server, protocol: Any, option: Any, name: str) -> None:
    if server.version < (7, 2):
        pytest.skip("CLIENT SETINFO came with 7.2")
    async with Client(server.url, protocol=protocol, **option) as r:
        rows = {row.id: row for row in await r.client_list()}
        row = rows[await r.client_id()]
        assert row.lib_name == name
        assert bool(row.lib_ver) == bool(name)


async def test_nothing_is_sent_about_the_library(protocol: Any) -> None:
    heard: list[list[bytes]] = []

    def tell(words: list[bytes]) -> bytes:
        heard.append(words)
        return b"-ERR unknown command\r\n" if words[0] == b"HELLO" else b"+OK\r\n"

    async with answers(tell) as url:
        for own, options in ((f"{url}?lib_name=none", {}), (url, {"lib_name": None})):
            given: Any = options
            async with Client(own, protocol=protocol, retry=None, **given) as r:
                await r.set("k", "v")
    assert not [words for words in heard if b"SETINFO" in words]


async def test_a_server_that_closes_for_a_courtesy(protocol: Any) -> None:
    """It is asked for nothing but the essential on a second connection, and by later ones at once."""
    connections: list[list[list[bytes]]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append([])
        try:
            while True:
                words = await command(reader)
                connections[-1].append(words)
                if words[0] == b"CLIENT":
                    break
                writer.write({b"HELLO": b"%0\r\n", b"PING": b"+PONG\r\n"}.get(words[0], b":7\r\n"))
        except (asyncio.IncompleteReadError, ValueError, OSError):
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        for _ in range(3):
            async with Client(host="127.0.0.1", port=port, protocol=protocol, retry=None) as r:
                assert await r.incr("k") == 7
    assert len(connections) == 4


async def test_a_server_that_refuses_hello_and_closes() -> None:
    made = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        try:
            while (await command(reader))[0] != b"HELLO":
                writer.write(b":7\r\n")
            writer.write(b"-ERR unsupported\r\n")
        except (asyncio.IncompleteReadError, ValueError, OSError):
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with Client(host="127.0.0.1", port=port, retry=None) as r:
            assert await r.incr("k") == 7
    assert made == 2


async def test_words_of_any_kind_may_end_the_handshake(server: Server) -> None:
    endpoint = settings(server.url, {}).endpoint
    words: Any = (("ECHO", bytearray(b"a")), ("ECHO", memoryview(b"a")), ("PING",))
    connection = await connect(endpoint, Brake(), concurrency=1, timeout=10, words=words)
    connection.close()


@pytest.fixture
def twemproxy(server: Server, tmp_path: Path) -> Iterator[int]:
    """Yield the port of a real twemproxy in front of the server."""
    program = shutil.which("nutcracker") or shutil.which("twemproxy") or (TWEMPROXY.exists() and str(TWEMPROXY))
    if not program:
        pytest.skip("needs twemproxy: `make servers`, or nutcracker on PATH")
    port, config = free_port(), tmp_path / "nutcracker.yml"
    auth = f"  redis_auth: {server.password}\n" if server.password else ""
    config.write_text(
        f"alpha:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  redis: true\n{auth}"
        f"  servers:\n   - {server.host}:{server.port}:1\n"
    )
    command = [program, "-c", str(config), "-s", str(free_port()), "-o", str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield port
        process.terminate()


@pytest.fixture
async def through(twemproxy: int, server: Server) -> AsyncIterator[Client[str]]:
    retry = aioresp.Retry(100, base=0.05, jitter=False, cap=0.1)  # until it listens
    options: Any = {"host": "127.0.0.1", "port": twemproxy, "password": server.password}
    async with Client(**options, protocol=2, timeout=20, retry=retry) as r:
        yield r


async def test_twemproxy(through: Client[str], prefix: str, server: Server, twemproxy: int) -> None:
    r = through
    await asyncio.gather(*(r.set(f"{prefix}{n}", str(n)) for n in range(100)))
    assert await r.mget(*(f"{prefix}{n}" for n in range(100))) == [str(n) for n in range(100)]
    async with r.pipeline() as p:
        handles = [p.incr(f"{prefix}n") for _ in range(10)]
        await p.execute()
    assert [await handle for handle in handles] == list(range(1, 11))
    await r.delete(*(f"{prefix}{n}" for n in range(100)), f"{prefix}n")
    # A second client and a name for its connections, which twemproxy cannot set: nothing is asked again.
    async with Client(
        host="127.0.0.1", port=twemproxy, password=server.password, protocol=2, client_name="web", retry=None
    ) as other:
        assert await other.get(f"{prefix}0") is None
        await until(lambda: other.stats().made == 1)
    # Its refusal of HELLO is a closed connection: the error says what to do.
    async with Client(host="127.0.0.1", port=twemproxy, password=server.password, retry=None) as wrong:
        with pytest.raises(aioresp.ConnectError, match=r"twemproxy.*protocol=2"):
            await wrong.get(f"{prefix}0")


async def test_a_cut_by_the_network_is_taken_for_a_refusal_for_a_short_time_only(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without CLIENT ID, a cancelled pop costs its connection: one cut handshake must not cause that for an hour."""

    async def number() -> int | None:
        async with Client(proxy.url, protocol=2) as r:
            await r.ping()
            number: int | None = r.node.pools.here().current.id
            return number

    proxy.cut_after(3)
    assert await number() is None  # it may have been a proxy that closes for CLIENT ID
    before = proxy.connections
    assert await number() is None
    assert proxy.connections == before + 1
    monkeypatch.setattr(courtesies, "monotonic", lambda: monotonic() + courtesies.GUESS)
    assert await number() is not None
    proxy.cut_after(3)
    assert await number() is None
    monkeypatch.setattr(courtesies, "monotonic", lambda: monotonic() + 2 * courtesies.GUESS)
    assert await number() is not None  # the success between the two cuts counts


async def test_a_proxy_that_closes_again_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        try:
            while (await command(reader))[0] != b"CLIENT":
                writer.write(b":7\r\n")
        except (asyncio.IncompleteReadError, ValueError, OSError):
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        for passed, in_all in ((0, 2), (0, 3), (1, 5), (2, 6), (50, 7)):
            monkeypatch.setattr(courtesies, "monotonic", lambda late=passed * courtesies.GUESS: monotonic() + late)
            async with Client(host="127.0.0.1", port=port, protocol=2, retry=None) as r:
                assert await r.incr("k") == 7
            assert made == in_all
