"""Locks and semaphores: what their callers see, and failures of the server, the network and the process."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

import aioresp
from aioresp import Client, Cluster
from aioresp.errors import ArgumentError, ArgumentTypeError, RedisError, WrongTypeError
from aioresp.recipes import Lock, LockLost, LockMisused, LockTimeout, Semaphore, gate, leases
from aioresp.testing import ClusterServers, Proxy, SentinelServers, Server
from aioresp.testing import server as start_server
from tests.forked import environment
from tests.recipes import holders
from tests.recipes.holders import KINDS, Make, is_free, key_of


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Make:
    return KINDS[request.param]


@pytest.fixture
async def r(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def _all_is_given_back() -> Iterator[None]:
    yield
    leases._thread._leases = [entry for entry in leases._thread._leases if not entry[2].is_over]
    assert leases._thread._leases == []
    assert [place for place in gate._gates if not place[0].is_closed()] == []


# --- What callers see ------------------------------------------------------------------------------------------------


async def test_a_lock(r: Client[str], prefix: str) -> None:
    lock = Lock(r, prefix, ttl=timedelta(seconds=5))
    assert lock.name == prefix
    assert (lock.ttl, lock.wait, lock.max_hold) == (5.0, None, None)
    assert repr(lock) == f"Lock({prefix!r}, ttl=5, not held)"
    for _ in range(2):
        assert not await lock.locked()
        async with lock as held:
            assert repr(lock) == f"Lock({prefix!r}, ttl=5, held)"
            assert held.token > 10**15
            held.raise_if_lost()
            assert await lock.locked()
            assert await lock.owned()
            assert not await Lock(r, prefix).owned()
        assert not await lock.owned()
    assert await r.keys(f"{{{prefix}}}*") == [f"{{{prefix}}}:fence"]
    assert 86_000_000 < await r.pttl(f"{{{prefix}}}:fence") <= 86_400_000


async def test_without_a_block(make: Make, r: Client[str], prefix: str) -> None:
    lock = make(r, prefix)
    held = await lock.acquire()
    assert await lock.owned()
    await lock.release()
    assert await is_free(r, prefix)
    assert not held.lost
    with pytest.raises(LockMisused, match="is not held by this object"):
        await lock.release()


async def test_the_end_of_the_block_gives_it_back(make: Make, r: Client[str], prefix: str) -> None:
    lock = make(r, prefix)
    async with lock:
        with pytest.raises(LockMisused, match="is given back by the end of its block"):
            await lock.release()
        assert await lock.owned()
    assert await is_free(r, prefix)


async def test_it_is_used_by_one_at_a_time(make: Make, r: Client[str], prefix: str) -> None:
    lock = make(r, prefix)
    async with lock:
        with pytest.raises(LockMisused, match="is held by this object already"):
            async with lock:
                pass
        other = make(r, prefix)
        waiting = asyncio.create_task(other.acquire())
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="is awaited by this object already"):
            await other.acquire()
        waiting.cancel()
        await asyncio.wait([waiting])
    async with lock:
        pass


async def test_a_semaphore_has_so_many_places(r: Client[str], other: Client[str], prefix: str) -> None:
    inside = most = 0

    async def work(client: Client[str], limit: int) -> None:
        nonlocal inside, most
        async with Semaphore(client, prefix, limit):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.wait_for(asyncio.gather(*(work([r, other][n % 2], 3) for n in range(20))), 20)
    assert most == 3
    assert await r.keys(f"{{{prefix}}}*") == []
    # Another process has another limit: each asks by its own.
    many = [Semaphore(r, prefix, 4) for _ in range(4)]
    for each in many:
        await each.acquire()
    with pytest.raises(LockTimeout):
        await Semaphore(other, prefix, 2, wait=0).acquire()
    many.append(Semaphore(other, prefix, 5))
    await many[-1].acquire()
    for each in many:
        await each.release()


async def test_it_waits_so_long(make: Make, r: Client[str], other: Client[str], prefix: str) -> None:
    async with make(r, prefix, ttl=30):
        for client in (r, other):  # in the line of the same loop, and at the server
            for wait in (0, 0.1):
                since = time.monotonic()
                with pytest.raises(LockTimeout, match=f"was not free within {wait:g} s") as raised:
                    await make(client, prefix, wait=wait).acquire()
                assert isinstance(raised.value, TimeoutError)
                assert prefix[:20] in str(raised.value)
                assert wait <= time.monotonic() - since < 10
                rest = raised.value.rest
                assert rest is not None
                assert 10 < rest <= 30
                copy = pickle.loads(pickle.dumps(raised.value))
                assert (str(copy), copy.rest) == (str(raised.value), rest)
    # A question of those who were too late may have been answered after the release: what it took is given back.
    async with make(other, prefix, wait=20):
        pass
    async with make(other, prefix, wait=0), asyncio.timeout(20):
        pass


@pytest.mark.parametrize("kind", [Lock, Semaphore])
def test_wrong_arguments(kind: Callable[..., Any], server: Server) -> None:
    client = Client(server.url)
    limit = () if kind is Lock else (3,)
    wrong_ones: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        ((object(), "x", *limit), {}, ArgumentTypeError, "redis is object"),
        ((client, "", *limit), {}, ArgumentError, "name is empty"),
        ((client, "}x", *limit), {}, ArgumentError, "begins with '}'"),
        ((client, 5, *limit), {}, ArgumentTypeError, "name is int"),
        ((client, "x", *limit), {"ttl": 0}, ArgumentError, "ttl is 0, not 0.1 to"),
        ((client, "x", *limit), {"ttl": "10"}, ArgumentTypeError, "ttl is str"),
        ((client, "x", *limit), {"ttl": True}, ArgumentTypeError, "ttl is bool"),
        ((client, "x", *limit), {"ttl": float("nan")}, ArgumentError, "ttl is nan"),
        ((client, "x", *limit), {"wait": -1}, ArgumentError, "wait is -1"),
        ((client, "x", *limit), {"max_hold": 0}, ArgumentError, "max_hold is 0"),
        ((client, "x", *limit), {"timeout": 10}, ArgumentTypeError, "'timeout': it is `ttl` here"),
        ((client, "x", *limit), {"blocking": False}, ArgumentTypeError, "`wait=0` here to try once"),
        ((client, "x", *limit), {"blocking_timeout": 1}, ArgumentTypeError, "it is `wait` here"),
        ((client, "x", *limit), {"nonsense": 1}, ArgumentTypeError, "no option 'nonsense'"),
    ]
    for arguments, options, error, says in wrong_ones:
        with pytest.raises(error, match=says):
            kind(*arguments, **options)
    for wrong, error in ((0, ArgumentError), (True, ArgumentTypeError), ("3", ArgumentTypeError)):
        with pytest.raises(error, match="limit is"):
            Semaphore(client, "x", wrong)  # type: ignore[arg-type]
    lock: Any = kind(client, "x", *limit)
    for name in ("extend", "reacquire", "local"):
        with pytest.raises(AttributeError, match=r"renewed by itself|holds it for itself"):
            getattr(lock, name)
    with pytest.raises(TypeError, match="is asynchronous: use `async with"), lock:
        pass


def test_the_names_of_redis_py_lead_here(server: Server) -> None:
    with pytest.raises(AttributeError, match=r"aioresp\.recipes"):
        _ = Client(server.url).lock  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"aioresp\.recipes"):
        _ = aioresp.Lock  # type: ignore[attr-defined]


# --- How a block ends ------------------------------------------------------------------------------------------------


async def lose(r: Client[str], name: str) -> None:
    key = await key_of(r, name)
    assert key is not None
    await r.delete(key)


async def test_an_outer_cancellation_stays_one(make: Make, r: Client[str], prefix: str) -> None:
    async def work() -> None:
        async with make(r, prefix):
            await asyncio.sleep(20)

    task = asyncio.create_task(work())
    while await key_of(r, prefix) is None:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await is_free(r, prefix)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), make(r, prefix):
            await asyncio.sleep(20)
    assert await is_free(r, prefix)


@pytest.mark.parametrize("first", ["loss", "cancel"])
async def test_loss_and_cancellation_together(r: Client[str], prefix: str, first: str) -> None:
    """Both come in the same turn of the loop: the cancellation stays one, and the task is told of the loss."""
    lock = Lock(r, prefix)

    async def work() -> None:
        async with lock as held:
            lease = held._lease
            assert lease is not None
            task = asyncio.current_task()
            assert task is not None
            steps: list[Callable[[], object]] = [lambda: lease.lose("for the test"), task.cancel]
            if first == "cancel":
                steps.reverse()
            for step in steps:
                asyncio.get_running_loop().call_soon(step)
            await asyncio.sleep(20)

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert await is_free(r, prefix)


async def test_a_block_that_goes_on_is_told_at_its_end(r: Client[str], prefix: str) -> None:
    with pytest.raises(LockLost, match="another holder"):
        async with Lock(r, prefix, ttl=0.9) as held:
            await lose(r, prefix)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(20)
            with pytest.raises(LockLost):
                held.raise_if_lost()
            await asyncio.sleep(0.01)  # it is cancelled once
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_an_error_of_the_block_is_raised_with_a_note(make: Make, r: Client[str], prefix: str) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        async with make(r, prefix):
            await lose(r, prefix)
            raise ZeroDivisionError
    assert "was lost" in raised.value.__notes__[0]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_loss_at_the_end_is_told(make: Make, r: Client[str], prefix: str) -> None:
    """No renewal has seen it: the release does."""
    with pytest.raises(LockLost, match="deleted"):
        async with make(r, prefix):
            await r.flushall() if prefix == "" else await lose(r, prefix)


async def test_a_loss_ends_task_groups_and_scopes(make: Make, r: Client[str], prefix: str) -> None:
    ended = []

    async def step(name: str) -> None:
        try:
            await asyncio.sleep(20)
        finally:
            ended.append(name)

    with pytest.raises(LockLost):
        async with make(r, prefix + "1", ttl=0.3), asyncio.TaskGroup() as tasks:
            tasks.create_task(step("asyncio"))
            await lose(r, prefix + "1")
    with pytest.raises(LockLost):
        async with make(r, prefix + "2", ttl=0.3), anyio.create_task_group() as group:
            group.start_soon(step, "anyio")
            await lose(r, prefix + "2")
    assert ended == ["asyncio", "anyio"]
    with anyio.move_on_after(0.2) as scope:
        async with make(r, prefix + "3"):
            await anyio.sleep(20)
    assert scope.cancelled_caught
    assert await is_free(r, prefix + "3")


def test_it_works_in_the_runner_of_anyio(make: Make, server: Server, prefix: str) -> None:
    async def main() -> None:
        async with Client(server.url) as r:
            with pytest.raises(LockLost):
                async with make(r, prefix, ttl=0.3):
                    await lose(r, prefix)
                    await anyio.sleep(20)
            async with make(r, prefix):
                pass

    anyio.run(main)


async def test_a_block_that_is_closed_by_hand(make: Make, r: Client[str], prefix: str) -> None:
    async def items() -> AsyncIterator[int]:
        async with make(r, prefix):
            yield 1

    async def block() -> None:
        async with make(r, prefix + "c"):
            await asyncio.get_running_loop().create_future()

    iterator = items()
    assert await anext(iterator) == 1
    await iterator.aclose()  # type: ignore[attr-defined]  # a generator
    assert await is_free(r, prefix)
    coroutine = block()
    future: Any = coroutine.send(None)
    while True:
        if future is not None:
            future._asyncio_future_blocking = False
            await asyncio.wait([future], timeout=0.5)
            if not future.done():
                break
        future = coroutine.send(None)
    coroutine.close()
    assert await is_free(r, prefix + "c")


async def test_a_holder_that_is_forgotten_warns(r: Client[str], prefix: str) -> None:
    await Lock(r, prefix, ttl=2).acquire()  # one that has ended by then is not missed
    with pytest.warns(ResourceWarning, match="was never given back"):
        gc.collect()
    async with asyncio.timeout(20), Lock(r, prefix):
        pass


# --- Failures --------------------------------------------------------------------------------------------------------


async def test_the_end_of_the_loop_gives_it_back(make: Make, server: Server, r: Client[str], prefix: str) -> None:
    """The loop of `asyncio.run()` ends, and cancels what still runs in it, at any turn of the way in and out."""
    client = Client(server.url)

    async def hold(name: str) -> None:
        async with make(client, name, ttl=30):
            await asyncio.sleep(20)

    async def main(turns: int) -> None:
        tasks = [asyncio.create_task(hold(f"{prefix}{turns}:{number}")) for number in range(5)]
        await holders.turns(turns)
        assert len(tasks) == 5

    for turns in (0, 1, 2, 3, 5, 8, 13, 100):
        await asyncio.to_thread(asyncio.run, main(turns))
        for number in range(5):
            assert await is_free(r, f"{prefix}{turns}:{number}"), f"after {turns} turns"
    await client.aclose()


async def test_two_loops_in_two_threads(make: Make, server: Server, prefix: str) -> None:
    client = Client(server.url)
    inside = most = count = 0

    async def work() -> None:
        nonlocal inside, most, count
        for _ in range(20):
            async with make(client, prefix):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                count += 1
                inside -= 1

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await client.aclose()
    assert (most, count) == (1, 40)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_fork_does_not_give_it_back(make: Make, server: Server, r: Client[str], prefix: str) -> None:
    lock = make(r, prefix, ttl=1)
    await lock.acquire()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        status = 1
        try:
            asyncio.events._set_running_loop(None)

            async def leave() -> None:
                with pytest.raises(LockLost, match="a fork of its holder"):
                    await lock.release()
                await asyncio.sleep(0.2)
                with pytest.raises(LockTimeout):
                    await make(r, prefix, wait=0).acquire()

            asyncio.new_event_loop().run_until_complete(leave())
            status = 0
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert await lock.owned()
    await lock.release()


async def test_the_client_is_closed_meanwhile(make: Make, server: Server, prefix: str) -> None:
    client = Client(server.url)
    with pytest.raises(LockLost, match="the client was closed"):
        async with make(client, prefix, ttl=0.6):
            await client.aclose()
            await asyncio.sleep(20)


async def test_a_server_that_restarts_keeps_it(make: Make, prefix: str) -> None:
    """Killed and started again within the lease, with AOF: holder and waiter go on."""
    with start_server(config={"appendonly": "yes", "appendfsync": "always"}) as running:
        async with Client(running.url) as r, Client(running.url) as other:
            async with make(r, prefix, ttl=5) as held:
                waiting = asyncio.create_task(make(other, prefix, ttl=5).acquire())
                await asyncio.sleep(0.1)
                await asyncio.to_thread(running.kill)
                await asyncio.to_thread(running.start)
                await r.call("CLIENT", "KILL", "TYPE", "normal")
                assert not held.lost
                assert not waiting.done()
            second = await asyncio.wait_for(waiting, 20)
            assert second._owner is not None
            await second._owner.release()


async def test_a_holder_that_dies_lets_go_after_its_ttl(
    make: Make, r: Client[str], other: Client[str], prefix: str
) -> None:
    dead = make(r, prefix, ttl=0.6)
    held = await dead.acquire()
    assert held._lease is not None
    held._lease.release()  # nothing renews it any more
    since = time.monotonic()
    async with make(other, prefix):
        assert 0.5 < time.monotonic() - since < 5
        with pytest.raises(LockLost):
            await dead.release()


async def test_a_server_that_forgets_its_scripts(make: Make, r: Client[str], other: Client[str], prefix: str) -> None:
    async with make(r, prefix, ttl=0.6) as held:
        waiting = asyncio.create_task(make(other, prefix).acquire())
        await asyncio.sleep(0.05)
        await r.script_flush()
        await asyncio.sleep(0.5)
        assert not held.lost
    second = await asyncio.wait_for(waiting, 20)
    assert second._owner is not None
    await second._owner.release()


async def test_locks_within_locks(r: Client[str], prefix: str) -> None:
    """The loss of one or of both ends what is inside of the outermost of them."""
    names = [f"{prefix}outer", f"{prefix}inner"]
    for gone in (names[:1], names[1:], names):
        ended = []
        with pytest.raises(LockLost, match="outer" if names[0] in gone else "inner"):
            async with Lock(r, names[0], ttl=0.4):
                try:
                    async with Lock(r, names[1], ttl=0.4):
                        for name in gone:
                            await lose(r, name)
                        await asyncio.sleep(20)
                except LockLost:
                    ended.append("inner")
                    raise
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert (ended == ["inner"]) == (gone == names[1:]) or gone == names
        for name in names:
            assert await is_free(r, name)


async def test_the_server_refuses_to_renew_it(make: Make, r: Client[str], server: Server, prefix: str) -> None:
    user = f"u{os.urandom(4).hex()}"
    await r.call("ACL", "SETUSER", user, "on", ">pw", "~*", "&*", "+@all")
    url = server.url.partition("@")[2]
    async with Client(f"redis://{user}:pw@{url}") as client:
        with pytest.raises(LockLost, match="refuses to renew it: NoPermissionError"):
            async with make(client, prefix, ttl=0.6):
                await r.call("ACL", "SETUSER", user, "-evalsha")
                await asyncio.sleep(20)
    await r.call("ACL", "DELUSER", user)


async def test_flushall_is_told(make: Make, prefix: str) -> None:
    with start_server() as running:
        async with Client(running.url) as r:
            with pytest.raises(LockLost):
                async with make(r, prefix, ttl=0.6):
                    await r.flushall()
                    await asyncio.sleep(20)


async def test_replies_are_swallowed(make: Make, r: Client[str], proxy: Proxy, prefix: str) -> None:
    """What was taken is given back although its caller has heard nothing; a release that is unheard ends the block."""
    async with Client(proxy.url, timeout=0.3, retry=None) as far:
        await far.ping()
        async with make(far, prefix + "first"):
            pass
        proxy.stall("down")
        with pytest.raises(RedisError):
            await make(far, prefix, ttl=1).acquire()
        proxy.resume()
        assert await is_free(r, prefix)
        lock = make(far, prefix, ttl=1)
        await lock.acquire()
        proxy.stall("down")
        await lock.release()  # logged
        proxy.resume()
        assert await is_free(r, prefix)


async def test_a_slow_answer_makes_no_short_lease(make: Make, proxy: Proxy, prefix: str) -> None:
    """Most of the lease may be over when the answer comes."""
    async with Client(proxy.url) as far:
        await far.ping()
        proxy.stall("down")
        asyncio.get_running_loop().call_later(0.7, proxy.resume)
        async with make(far, prefix, ttl=0.75) as held:
            await asyncio.sleep(0.5)
        assert not held.lost


async def test_a_release_takes_no_longer_than_the_lease(make: Make, r: Client[str], proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url, timeout=None) as far:
        async with asyncio.timeout(10), make(far, prefix, ttl=0.5):
            proxy.stall()
        proxy.resume()
        assert await is_free(r, prefix)


async def test_a_user_who_may_not_publish_or_subscribe(
    r: Client[str], server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = f"u{os.urandom(4).hex()}"
    await r.call("ACL", "SETUSER", user, "on", ">pw", "~*", "+@all", "resetchannels")
    url = server.url.partition("@")[2]
    caplog.set_level(logging.ERROR, logger="aioresp")
    try:
        async with Client(f"redis://{user}:pw@{url}") as a, Client(f"redis://{user}:pw@{url}") as b:
            await holders.a_waiter_gets_it_at_once(holders.lock, a, b, prefix)
    finally:
        await r.call("ACL", "DELUSER", user)


# --- Several servers -------------------------------------------------------------------------------------------------


async def test_keys_of_another_type(make: Make, r: Client[str], prefix: str) -> None:
    for kind in ("lock", "semaphore"):
        await r.hset(f"{{{prefix}}}:{kind}", "a", "b")
    with pytest.raises(WrongTypeError):  # also of Redis 6.2, which hides it in another error
        await make(r, prefix).acquire()


async def test_a_cluster(prefix: str) -> None:
    async with ClusterServers(replicas=0) as servers, Cluster(servers.url) as a, Cluster(servers.url) as b:
        for kind, make in KINDS.items():
            await holders.two_never_hold_it(make, [a, b], prefix + kind, 18)
            await holders.a_deleted_one_is_told(make, a, prefix + kind + "d", 0.9)
            await holders.a_waiter_gets_it_at_once(make, a, b, prefix + kind + "w")


async def test_a_failover_of_sentinel(prefix: str) -> None:
    """The lock moves to the new primary: it is held and renewed there, and the token grows."""
    async with SentinelServers() as servers, Client(servers.url) as r, Client(servers.url) as other:
        lock, waiter = Lock(r, prefix, ttl=6), Lock(other, prefix, ttl=6)
        held = await lock.acquire()
        waiting = asyncio.create_task(waiter.acquire())
        await asyncio.sleep(0.2)
        await asyncio.to_thread(servers.failover)
        await asyncio.sleep(2.1)  # a renewal
        assert await lock.owned()
        assert not held.lost
        await lock.release()
        assert (await asyncio.wait_for(waiting, 20)).token > held.token
        await waiter.release()


# --- All at once -----------------------------------------------------------------------------------------------------

#: A process that holds the lock again and again, and writes with its token. It prints a line for each block that ended
#: without LockLost, with the number of its writes, and of those that were accepted.
HOLDER = """
import asyncio, os, random, sys
from aioresp import Client, RedisError
from aioresp.recipes import Lock, LockLost

FENCED = '''
if tonumber(redis.call('GET', KEYS[1]) or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
'''

async def main(name):
    async with Client(os.environ["AIORESP_URL"]) as r:
        write = r.with_options(idempotent=True).register_script(FENCED)
        while True:
            try:
                written = accepted = 0
                async with Lock(r, name, ttl=0.5) as held:
                    for _ in range(random.randrange(1, 6)):
                        written += 1
                        accepted += await write([name + ":last", name + ":log"], [held.token])
                        await asyncio.sleep(random.random() * 0.02)
                print(written, accepted, flush=True)
            except (LockLost, RedisError):
                pass

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.soak
@pytest.mark.usefixtures("no_debug")
async def test_processes_that_stop_and_die(r: Client[str], server: Server, prefix: str, tmp_path: Path) -> None:
    """SIGSTOP beyond the lease, SIGKILL and CLIENT KILL: tokens never go back, and a block that is not told of a loss
    has had all its writes accepted.
    """
    chance = random.Random(prefix)
    numbers = itertools.count()

    def start() -> subprocess.Popen[bytes]:
        words = [sys.executable, "-W", "ignore::ResourceWarning", "-c", HOLDER, prefix]
        with (tmp_path / str(next(numbers))).open("wb") as output:
            return subprocess.Popen(words, env=environment() | {"AIORESP_URL": server.url}, stdout=output)

    processes = [start() for _ in range(4)]
    stops = kills = 0
    end = time.monotonic() + 20
    try:
        while time.monotonic() < end:
            await asyncio.sleep(chance.uniform(0.1, 0.5))
            number = chance.randrange(4)
            match chance.randrange(3):
                case 0:
                    processes[number].send_signal(signal.SIGSTOP)
                    await asyncio.sleep(chance.uniform(0.3, 1.2))
                    processes[number].send_signal(signal.SIGCONT)
                    stops += 1
                case 1:
                    processes[number].kill()
                    processes[number].wait()
                    processes[number] = start()
                    kills += 1
                case _:
                    await r.call("CLIENT", "KILL", "TYPE", chance.choice(["normal", "pubsub"]))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    tokens = [int(token) for token in await r.lrange(f"{prefix}:log", 0, -1)]
    assert tokens == sorted(tokens)
    blocks = []
    for path in tmp_path.iterdir():
        blocks += [tuple(map(int, line.split())) for line in path.read_text().splitlines()]
    assert [block for block in blocks if block[0] != block[1]] == []
    assert len(blocks) > 50
    assert stops > 3
    assert kills > 3
    async with asyncio.timeout(5), Lock(r, prefix):
        pass
