"""One client from loops, threads and forks; views, figures, handshakes, closing."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aioresp
from aioresp import Client, PoolStats
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.rest import at_rest


def received(stats: dict[str, Any]) -> int:
    return int(stats["total_connections_received"])


async def connections_received(r: Client[str]) -> int:
    return received(await r.info("stats"))


async def grown(r: Client[str], size: int) -> None:
    """Wait for connections that are being opened: those that were there may have answered everybody before."""
    async with asyncio.timeout(10):
        while r.node.pools.here().stats().open < size:
            await asyncio.sleep(0)


# --- Lifetime --------------------------------------------------------------------------------------------------------


@pytest.mark.quick
async def test_it_connects_at_first_use(server: Server) -> None:
    async with Client(server.url) as r:
        assert r.stats() == aioresp.Stats()
        await r.ping()
        assert (r.stats().open, r.stats().made) == (1, 1)
    assert r.stats().open == 0


async def test_closed_it_says_so_and_opens_again(server: Server) -> None:
    r = Client(server.url)
    await r.ping()
    await r.aclose()
    with pytest.raises(aioresp.ClientClosed, match="enter it again"):
        await r.ping()
    async with r:
        assert await r.ping() is True
    assert r.stats().made == 2
    await r.aclose()


@pytest.mark.quick
def test_loop_after_loop(server: Server) -> None:
    r = Client(server.url)

    async def main() -> int:
        await asyncio.gather(*(r.ping() for _ in range(10)))
        return r.stats().open

    for n in range(1, 4):
        assert asyncio.run(main(), debug=True) == 1
        # asyncio.run() closed the pool with its loop, although nobody closed the client.
        assert (r.stats().open, r.stats().made, r.stats().loops) == (0, n, ())


def test_a_loop_closed_without_shutting_down_is_swept(server: Server) -> None:
    r = Client(server.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(r.ping())
    assert len(r.stats().loops) == 1
    loop.close()

    async def main() -> None:
        await r.ping()
        assert len(r.stats().loops) == 1
        await r.aclose()

    with pytest.warns(ResourceWarning):  # the transport's own: nobody let the connection be closed
        asyncio.run(main())
        gc.collect()


@pytest.mark.quick
def test_five_threads_with_a_loop_each(server: Server) -> None:
    r = Client(server.url, limit=10, concurrency=1)
    made: list[int] = []
    lock = threading.Barrier(5)
    failures: list[BaseException] = []

    def work() -> None:
        async def main() -> None:
            for _ in range(2):
                await asyncio.gather(*(r.incr(f"threads:{n}") for n in range(200)))
                await grown(r, 10)
                lock.wait(10)
                if threading.current_thread().name == "0":
                    made.append(r.stats().made)
                    assert len(r.stats().loops) == 5
                    assert sum(r.stats().loops, PoolStats()) == PoolStats(
                        **{name: value for name, value in vars(r.stats()).items() if name != "loops"}
                    )
                lock.wait(10)

        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
            lock.abort()

    threads = [threading.Thread(target=work, name=str(n)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert made[0] <= 50
    assert made == [made[0], made[0]]
    assert r.stats().open == 0


def test_a_loop_that_moves_between_threads_keeps_its_pool(server: Server) -> None:
    """A loop that set up in one thread and runs on in another must not be taken for the first thread's next loop."""
    r = Client(server.url)
    moving = asyncio.new_event_loop()
    moving.run_until_complete(r.ping())
    pool = r.node.pools.pools[moving]
    thread = threading.Thread(target=moving.run_forever)
    thread.start()
    try:
        while not moving.is_running():
            pass

        async def here() -> None:
            await r.ping()
            assert len(r.stats().loops) == 2
            assert r.node.pools.here() is not pool

        asyncio.run(here(), debug=True)
        asyncio.run_coroutine_threadsafe(r.aclose(), moving).result(5)
    finally:
        moving.call_soon_threadsafe(moving.stop)
        thread.join()
        moving.run_until_complete(moving.shutdown_asyncgens())
        moving.close()


def test_aclose_closes_the_pools_of_other_threads(server: Server) -> None:
    r = Client(server.url)
    ready, done = threading.Event(), threading.Event()

    def work() -> None:
        async def main() -> None:
            await r.ping()
            ready.set()
            await asyncio.to_thread(done.wait)

        asyncio.run(main())

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(10)

    async def main() -> None:
        await r.ping()
        assert r.stats().open == 2
        await r.aclose()
        assert r.stats().open == 0

    try:
        asyncio.run(main())
    finally:
        done.set()
        thread.join()


def child(r: Client[str], answers: multiprocessing.SimpleQueue[Any]) -> None:
    async def main() -> None:
        before = r.stats()
        numbers = await asyncio.gather(*(r.incr("fork") for _ in range(100)))
        answers.put((before.open, r.stats().made, len(set(numbers))))

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_makes_its_own_connections(server: Server) -> None:
    r = Client(server.url)
    context = multiprocessing.get_context("fork")

    async def main() -> None:
        await asyncio.gather(*(r.incr("fork") for _ in range(100)))
        answers: multiprocessing.SimpleQueue[Any] = context.SimpleQueue()
        process = context.Process(target=child, args=(r, answers))
        process.start()
        mine = await asyncio.gather(*(r.incr("fork") for _ in range(100)))
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
        assert answers.get() == (0, 1, 100)
        assert len(set(mine)) == 100
        assert await r.get("fork") == "300"
        assert r.stats().made == 1
        await r.delete("fork")
        await r.aclose()

    asyncio.run(main())


async def test_a_client_that_nobody_closed_warns(server: Server) -> None:
    r = Client(server.url)
    await r.ping()
    with pytest.warns(ResourceWarning, match="unclosed client with 1 open connections"):
        del r
        gc.collect()
    await asyncio.sleep(0.05)  # the loop closes its pool


async def test_one_that_was_never_used_does_not() -> None:
    Client()
    gc.collect()


def test_a_whole_program_with_a_global_client_leaves_no_warning(server: Server) -> None:
    program = f"""
import asyncio, aioresp
client = aioresp.Client({server.url!r})
async def main():
    async with asyncio.TaskGroup() as tg:
        for n in range(1000):
            tg.create_task(client.incr("global"))
    assert await client.getdel("global") == "1000"
asyncio.run(main())
asyncio.run(client.ping())
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, text=True, timeout=30
    )
    # The debug mode of -X dev also tells when a turn of the loop takes long, as it may on a busy machine.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing ")]
    assert (done.returncode, done.stdout, said) == (0, "", [])


# --- The pool, seen from the server ----------------------------------------------------------------------------------


@pytest.mark.quick
async def test_the_classic_pool_grows_to_its_limit_and_stays_flat(server: Server, prefix: str) -> None:
    async with Client(server.url) as monitor, Client(server.url, concurrency=1, limit=10) as r:
        before = await connections_received(monitor)
        for _ in range(3):
            async with asyncio.TaskGroup() as tg:
                for n in range(500):
                    tg.create_task(r.set(f"{prefix}{n}", n, ex=60))
            await grown(r, 10)
            assert await connections_received(monitor) - before == 10
        assert repr(r.node.pools.here()) == "Pool(10 open, 0 leased, 0 in flight, limit 10)"


@pytest.mark.usefixtures("no_debug")
async def test_ten_thousand_tasks_share_one_or_two_sockets(server: Server, prefix: str) -> None:
    async with Client(server.url, timeout=60) as r:
        await r.ping()
        async with asyncio.TaskGroup() as tg:
            tasks = [tg.create_task(r.incr(f"{prefix}hits")) for _ in range(10_000)]
        assert sorted(task.result() for task in tasks) == list(range(1, 10_001))
        assert r.stats().made <= 2


@pytest.mark.usefixtures("no_debug")
@pytest.mark.parametrize("split", [None, (1, 400)], ids=["whole", "in-pieces"])
async def test_thousands_of_maps_and_other_replies_in_one_turn(
    server: Server, prefix: str, split: tuple[int, int] | None
) -> None:
    """Maps are read in another way than the rest, and more replies arrive than are handed out in one turn."""
    async with Proxy(server.host, server.port, split=split) as proxy, Client(proxy.url, timeout=60) as r:
        await r.hset(f"{prefix}h", mapping={"%1": "\r\n%1\r\n", "b": "2"})
        await r.set(f"{prefix}k", "\r\n%2\r\n")
        calls: list[Any] = []
        expected: list[Any] = []
        for n in range(3000):
            kind = n * n % 7 % 3
            if kind == 0:
                calls.append(r.hgetall(f"{prefix}h"))
            else:
                calls.append(r.get(f"{prefix}k") if kind == 1 else r.echo(f"{n}"))
            expected.append([{"%1": "\r\n%1\r\n", "b": "2"}, "\r\n%2\r\n", f"{n}"][kind])
        assert await asyncio.gather(*calls) == expected
        await r.delete(f"{prefix}h", f"{prefix}k")


async def test_idle_connections_are_pruned(server: Server) -> None:
    async with Client(server.url, concurrency=1, limit=5, idle_timeout=0.5) as r:
        await asyncio.gather(*(r.ping() for _ in range(5)))
        await grown(r, 5)
        async with asyncio.timeout(10):
            while r.stats().open:
                await asyncio.sleep(0.05)
        await r.ping()


# --- Figures and views -----------------------------------------------------------------------------------------------


async def test_figures_count_every_byte(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.ping()
        before = r.stats()
        await r.set(f"{prefix}k", "x" * 1000)
        await r.get(f"{prefix}k")
        after = r.stats()
        key = len(f"${len(prefix) + 1}\r\n{prefix}k\r\n")
        assert after.commands - before.commands == 2
        assert (
            after.bytes_sent - before.bytes_sent
            == len("*3\r\n$3\r\nSET\r\n$1000\r\n\r\n*2\r\n$3\r\nGET\r\n") + 2 * key + 1000
        )
        assert after.bytes_received - before.bytes_received == len("+OK\r\n$1000\r\n\r\n") + 1000
        await r.delete(f"{prefix}k")


@pytest.mark.quick
async def test_views_share_the_pools(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        raw = r.with_options(decode_responses=False)
        await r.set(f"{prefix}k", "é")
        got = await asyncio.gather(*(view.get(f"{prefix}k") for view in (r, raw, raw, r, raw, r)))
        assert got == ["é", "é".encode(), "é".encode(), "é", "é".encode(), "é"]
        assert await raw.with_options(decode_responses=True, timeout=1).get(f"{prefix}k") == "é"
        assert r.stats().made == 1
        await r.delete(f"{prefix}k")


async def test_what_is_not_utf8_fails_its_own_caller_only(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        raw = r.with_options(decode_responses=False)
        await r.mset({f"{prefix}{n}": b"\xff\xfe" if n % 3 == 0 else b"%d" % n for n in range(100)})
        answers = await asyncio.gather(*(r.get(f"{prefix}{n}") for n in range(100)), return_exceptions=True)
        for n, answer in enumerate(answers):
            if n % 3 == 0:
                assert isinstance(answer, aioresp.DecodeError)
                assert answer.command == "GET"
                assert answer.key is not None
                assert answer.key.startswith("'test_what_is_not_utf8")
            else:
                assert answer == str(n)
        assert await raw.get(f"{prefix}0") == b"\xff\xfe"
        with pytest.raises(aioresp.DecodeError):
            await r.mget([f"{prefix}{n}" for n in range(100)])
        await r.unlink(*(f"{prefix}{n}" for n in range(100)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 3}, "takes decode_responses, timeout, retry, idempotent and read_from, not 'limit'"),
        ({"timeout": 0}, "timeout is 0"),
        ({"decode_responses": 1}, "decode_responses is int"),
    ],
)
def test_options_that_no_view_has(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Client().with_options(**options)


def test_reprs() -> None:
    assert repr(Client("redis://u:secret@h:1/2")) == "Client(redis://h:1, limit 100, concurrency 5000)"
    assert repr(Client("unix:///x.sock", decode_responses=False, limit=1)) == (
        "Client(unix:///x.sock, limit 1, concurrency 5000, bytes)"
    )


# --- call ------------------------------------------------------------------------------------------------------------


async def test_call_sends_anything(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        assert await r.call("set", f"{prefix}k", 1) == "OK"
        assert await r.call("OBJECT", "ENCODING", f"{prefix}k") == "int"
        assert await r.call("object encoding", f"{prefix}k") == "int"
        assert await r.call(b"GET", f"{prefix}k") == "1"
        assert await r.call("DEL", f"{prefix}k") == 1


@pytest.mark.parametrize("words", [(), ("",), (" ",), (1,), (None,)])
def test_call_without_a_command(words: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="call"):
        _ = Client().call(*words)


REFUSED = [
    ("SELECT", 1),
    ("AUTH", "secret"),
    ("multi",),
    ("WATCH", "k"),
    ("SUBSCRIBE", "c"),
    ("monitor",),
    ("CLIENT", "REPLY", "OFF"),
    ("client tracking", "on"),
    ("WAIT", 1, 0),
    ("RESET",),
    ("HELLO", 3),
    ("DEBUG", "PROTOCOL", "ATTRIB"),
]


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: "-".join(map(str, words)))
async def test_what_belongs_to_one_connection_is_refused(server: Server, words: tuple[Any, ...]) -> None:
    async with Client(server.url) as r:
        with pytest.raises(aioresp.CommandRefused) as caught:
            await r.call(*words)
        assert "secret" not in str(caught.value)
        assert r.stats().made == 0


# --- Handshakes ------------------------------------------------------------------------------------------------------


@pytest.mark.quick
async def test_the_handshake_sets_everything(server: Server, protocol: Any) -> None:
    async with Client(server.url, db=3, client_name="me", protocol=protocol) as r:
        mine = await r.client_info()
        assert (mine.db, mine.name) == (3, "me")
        if server.version >= (7, 2):
            assert (mine.lib_name, mine.lib_ver, mine.resp) == ("aioresp", aioresp.__version__, protocol)
        reply = await r.call("CONFIG", "GET", "port")
        assert isinstance(reply, dict if protocol == 3 else list)


async def test_unix_socket(server: Server) -> None:
    async with Client(server.unix_url, db=1) as r:
        # Valkey 9.1.2 takes a path with a colon for an IPv6 address: [/path:0]:0.
        assert (await r.client_info()).addr.lstrip("[").startswith(str(server.unix_socket_path))


@pytest.fixture(scope="module")
def old_server() -> Iterator[Server]:
    """A server that knows no HELLO."""
    with start_server(config={"rename-command": 'HELLO ""', "requirepass": "secret"}) as running:
        yield running


async def test_a_server_that_knows_no_hello_gets_resp2(old_server: Server) -> None:
    async with Client(old_server.url, password="secret", client_name="old", db=2) as r:
        mine = await r.client_info()
        assert (mine.name, mine.db) == ("old", 2)
        assert isinstance(await r.call("CONFIG", "GET", "port"), list)
        assert await r.config_get("port") == {"port": str(old_server.port)}


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    with start_server(config={"requirepass": "secret"}) as running:
        yield running


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_wrong_password_is_an_authentication_error(locked: Server, protocol: Any, password: str | None) -> None:
    async with Client(locked.url, password=password, protocol=protocol) as r:
        answers = await asyncio.gather(*(r.get("k") for _ in range(20)), return_exceptions=True)
        for answer in answers:
            assert isinstance(answer, aioresp.AuthenticationError), answer
            assert "wrong" not in str(answer).split("WRONGPASS")[0]
        assert (r.stats().open, r.stats().in_flight, r.stats().waiting) == (0, 0, 0)


async def test_passwords_and_users(locked: Server, protocol: Any) -> None:
    async with Client(locked.url, password="secret", protocol=protocol) as r:
        await r.call("ACL", "SETUSER", "ann", "on", ">p@ss:/w", "~*", "+@all")
    host = locked.url.removeprefix("redis://")
    async with Client(f"redis://ann:p%40ss%3A%2Fw@{host}", protocol=protocol) as r:
        assert await r.acl_whoami() == "ann"
        await r.call("ACL", "SETUSER", "ann", "-get")
        with pytest.raises(aioresp.NoPermissionError) as caught:
            await r.get("k")
        assert (caught.value.command, caught.value.key) == ("GET", "'k'")


async def test_a_database_that_does_not_exist(server: Server) -> None:
    async with Client(server.url, db=10_000) as r:
        with pytest.raises(aioresp.ConnectError, match="refused SELECT: ERR DB index is out of range"):
            await r.ping()


async def test_nobody_there() -> None:
    async with Client("redis://127.0.0.1:1") as r:
        answers = await asyncio.gather(*(r.get("k") for _ in range(10)), return_exceptions=True)
        assert all(isinstance(a, aioresp.ConnectError) and isinstance(a, ConnectionError) for a in answers)
        assert str(answers[0]).startswith("nothing listens at 127.0.0.1:1 (10 attempts in ")
        assert ": is the server running? [GET" in str(answers[0])


async def test_a_host_that_has_no_address() -> None:
    async with Client("redis://no-such-host.invalid") as r:
        with pytest.raises(aioresp.ConnectError, match=r"the host name 'no-such-host\.invalid' cannot be looked up"):
            await r.ping()


# --- Leases ----------------------------------------------------------------------------------------------------------


async def test_a_lease_has_a_connection_of_its_own(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        async with r.connection() as c:
            await c.select(5)
            await c.set(f"{prefix}k", "in 5")
            assert await r.get(f"{prefix}k") is None
            assert await c.getdel(f"{prefix}k") == "in 5"
            assert r.stats().leased == 1
        await at_rest(r)  # it is restored behind the block
        assert [(await r.client_info()).db for _ in range(3)] == [0] * 3


async def test_an_unchanged_lease_is_given_back(server: Server) -> None:
    async with Client(server.url) as r:
        for _ in range(5):
            async with r.connection() as c:
                await c.ping()
        assert r.stats().made == 1


async def test_a_lease_outside_its_block(server: Server) -> None:
    async with Client(server.url) as r:
        lease = r.connection()
        with pytest.raises(RuntimeError, match="not entered, or was left"):
            await lease.ping()
        async with lease:
            with pytest.raises(RuntimeError, match="entered already"):
                await lease.__aenter__()
        with pytest.raises(RuntimeError, match="not entered, or was left"):
            await lease.ping()


async def test_a_pool_full_of_blocking_pops_does_not_stop_the_push_that_wakes_them(server: Server, prefix: str) -> None:
    for limit in (1, 2, 5):
        async with Client(server.url, limit=limit, timeout=20) as r:
            pops = [asyncio.create_task(r.blpop(f"{prefix}q", 0)) for _ in range(20)]
            await asyncio.sleep(0.05)
            for n in range(20):
                await r.rpush(f"{prefix}q", n)
            got = await asyncio.wait_for(asyncio.gather(*pops), 10)
            assert sorted(int(item[1]) for item in got if item is not None) == list(range(20))
            assert r.stats().leased == 0


async def test_a_blocking_pop_that_gets_no_connection_says_which_it_was(server: Server, prefix: str) -> None:
    async with Client(server.url, limit=1, timeout=0.1) as r, r.connection():
        with pytest.raises(aioresp.PoolTimeout) as caught:
            await r.blpop(f"{prefix}q", 0.2)
        assert caught.value.command == "BLPOP"
        assert "leased by connection() in " in str(caught.value)


async def test_a_blocking_pop_that_finds_nothing(server: Server, prefix: str) -> None:
    async with Client(server.url, timeout=0.5) as r:  # the server's time limit counts, not the client's
        assert await r.brpop([f"{prefix}a", f"{prefix}b"], 0.8) is None
        assert r.stats().leased == 0


def test_where_the_hot_path_finds_its_pool_is_exact(server: Server) -> None:
    """Nothing of one loop may be used from another, whatever ran in the thread before."""
    r = Client(server.url)
    runs: list[Callable[[], Any]] = [lambda: asyncio.run(r.ping())] * 3
    for run in runs:
        assert run() is True
    assert r.stats().made == 3


async def test_the_server_works_while_more_commands_are_made(server: Server) -> None:
    async with Client(server.url) as r:
        await asyncio.gather(r.ping(), r.ping())
        for count, at_once in ((39, False), (100, True)):
            before = r.stats().bytes_sent
            calls = [asyncio.create_task(r.ping()) for _ in range(count)]
            await asyncio.sleep(0)  # all of them have been made, and the turn has not ended
            assert (r.stats().bytes_sent > before) == at_once
            await asyncio.gather(*calls)
