"""Cache: its laws K1 to K6, C1 to C5, each with mutations that its check must notice."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Literal

import pytest

from aioresp import Client, Retry
from aioresp.recipes import Cache
from aioresp.recipes import cache as cache_module
from aioresp.recipes import loads as loads_module
from aioresp.recipes.entries import Entries
from aioresp.recipes.loads import Job, Load, Loads
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.recipes.clocks import Wrong
from tests.recipes.mutated import TIME, Mutation, break_script
from tests.rest import at_rest, tasks_besides, until

Check = Callable[[Client[Any], Server, str], Awaitable[None]]


class Source:
    """Loader whose calls are counted, and end when the test says so."""

    def __init__(self, *, seconds: float | None = None) -> None:
        self.calls = 0
        self.most = self.running = 0
        self.version = 0
        self.go = asyncio.Event()
        self._seconds = seconds

    async def __call__(self) -> int:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        version = self.version  # what the database holds when the load begins
        try:
            if self._seconds is None:
                await self.go.wait()
            else:
                await asyncio.sleep(self._seconds)
        finally:
            self.running -= 1
        return version

    async def begun(self, calls: int = 1) -> None:
        await until(lambda: self.calls >= calls, 4)


async def keys_of(r: Client[Any], prefix: str) -> dict[str, int]:
    """Return the keys of a test with their milliseconds to live."""
    raw = r.with_options(decode_responses=False)
    keys = [key for key in await raw.keys() if key.startswith(prefix.encode())]
    return {key.decode(): await raw.pttl(key) for key in keys}


# --- The laws ---------------------------------------------------------------------------------------------------------


async def k1(r: Client[Any], server: Server, prefix: str) -> None:
    """One load at a time over several caches, longer than its lease."""
    source = Source(seconds=2.5)
    async with Client(server.url) as r2:
        caches = [Cache(client, prefix=prefix, lease=1.2, ttl=20) for client in (r, r2)]
        values = await asyncio.gather(*(cache.get("k", source) for cache in caches * 20))
    assert (values, source.calls) == ([0] * 40, 1)


async def k1_old(r: Client[Any], server: Server, prefix: str) -> None:
    """A load that began beside a value goes on when the value has expired: others wait for it."""
    source = Source(seconds=2.5)
    async with Client(server.url) as r2:
        caches = [Cache(client, prefix=prefix, lease=1.2, ttl=20) for client in (r, r2)]
        await caches[0].set("old", 1, ttl=0.5)
        caches[0]._loads.begin(caches_job(caches[0], f"{prefix}old", source), "early")
        await source.begun()
        await asyncio.sleep(0.6)
        assert await asyncio.gather(*(cache.get("old", source) for cache in caches)) == [0, 0]
    assert source.calls == 1


def caches_job(cache: Cache, name: str, load: Callable[[], Awaitable[Any]]) -> Any:
    return Job(name, load, (), {}, cache_module._ANY, "a value", 60, 0)


async def k2(r: Client[Any], server: Server, prefix: str) -> None:
    """No value is served whose load began before `delete` has returned."""
    async with Client(server.url) as r2:
        cache, another = Cache(r, prefix=prefix, ttl=20), Cache(r2, prefix=prefix, ttl=20)
        for deleting in (cache, another):
            for how in ("missing", "old"):
                early, late = Source(), Source()
                late.version = 1
                if how == "old":
                    await cache.set("k", -1)
                    first = asyncio.create_task(cache._replace(caches_job(cache, f"{prefix}k", early)))
                else:
                    first = asyncio.create_task(cache.get("k", early))
                await early.begun()
                await deleting.delete("k")
                second = [asyncio.create_task(each.get("k", late)) for each in (cache, another)]
                await late.begun()
                if how == "old":
                    late.go.set()  # the newer one is stored first
                    assert await asyncio.gather(*second) == [1, 1]
                    early.go.set()
                    assert await first == 0
                else:
                    early.go.set()
                    assert await first == 0
                    late.go.set()
                    assert await asyncio.gather(*second) == [1, 1]
                assert await another.get("k", late) == 1
                assert (early.calls, late.calls) == (1, 1)
                await cache.delete("k")


async def k2_race(r: Client[Any], server: Server, prefix: str) -> None:
    """The same at random moments: readers and writers on several clients."""
    version = 0
    chance = random.Random(1)
    end = time.monotonic() + 0.6
    async with Client(server.url) as r2:
        caches = [Cache(client, prefix=prefix, ttl=20, early=False) for client in (r, r2)]

        async def load() -> int:
            found = version
            await asyncio.sleep(chance.random() * 0.004)
            return found

        async def write() -> None:
            nonlocal version
            while time.monotonic() < end:
                version += 1
                await chance.choice(caches).delete("k")
                least = version
                assert await chance.choice(caches).get("k", load) >= least
                await asyncio.sleep(chance.random() * 0.005)

        async def read() -> None:
            while time.monotonic() < end:
                await chance.choice(caches).get("k", load)
                await asyncio.sleep(chance.random() * 0.005)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(write())
                group.create_task(read())


async def k3(r: Client[Any], server: Server, prefix: str) -> None:
    """A cancelled caller, the first one too, cancels nobody else; the load goes on when all have gone."""
    source = Source()
    cache = Cache(r, prefix=prefix, ttl=20)
    callers = [asyncio.create_task(cache.get("k", source)) for _ in range(10)]
    await source.begun()
    for caller in callers[:5]:
        caller.cancel()
    await asyncio.gather(*callers[:5], return_exceptions=True)
    source.go.set()
    assert await asyncio.gather(*callers[5:]) == [0] * 5
    source = Source()
    caller = asyncio.create_task(cache.get("alone", source))
    await source.begun()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    source.go.set()
    assert await cache.get("alone", source) == 0
    assert source.calls == 1


async def k4(r: Client[Any], server: Server, prefix: str) -> None:
    """An error reaches all who waited, each as its own; it is not cached, and an old value is served meanwhile."""
    calls = 0

    async def fail() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        raise KeyError("broken")

    cache = Cache(r, prefix=prefix, ttl=20)
    errors = await asyncio.gather(*(cache.get("k", fail) for _ in range(5)), return_exceptions=True)
    assert [type(error) for error in errors] == [KeyError] * 5
    assert len(set(map(id, errors))) == 5
    assert calls == 1
    assert await keys_of(r, prefix) == {}
    with pytest.raises(KeyError):
        await cache.get("k", fail)
    assert calls == 2
    await cache.set("old", 7, ttl=0.05, stale=20)
    await asyncio.sleep(0.06)
    for _ in range(20):
        assert await cache.get("old", fail) == 7
        await asyncio.sleep(0.01)
    assert calls == 3  # and it is not called again and again

    source = Source(seconds=0.05)
    await cache.set("old", 7, ttl=0.05, stale=20)
    await asyncio.sleep(0.06)
    assert await cache.get("old", source) == 7  # nobody waits
    await source.begun()
    await until(lambda: not source.running)
    await asyncio.sleep(0.05)
    assert await cache.get("old", source) == 0


async def k5(r: Client[Any], server: Server, prefix: str) -> None:
    """A process that is killed while it loads holds the others up for its lease at most."""
    words = [server.url, prefix, 1, 60, 0, 0.6]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.recipes.loader", *map(str, words), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"loading\n"
    source = Source(seconds=0)
    cache = Cache(r, prefix=prefix)
    waiting = asyncio.create_task(cache.get("k", source))
    await asyncio.sleep(1.0)
    assert not waiting.done()  # while it lives, its lease is renewed
    begin = time.monotonic()
    child.send_signal(signal.SIGKILL)
    await child.wait()
    assert await asyncio.wait_for(waiting, 4) == 0
    assert time.monotonic() - begin < 0.6 + 2.0
    assert source.calls == 1


async def k6(r: Client[Any], server: Server, prefix: str) -> None:
    """With a thousand reads a second, no read waits for a load after the first one."""
    source = Source(seconds=0.15)
    cache = Cache(r, prefix=prefix, ttl=1)
    await cache.get("k", source)
    joined = 0
    join = cache._loads.join

    async def counted(load: Load) -> bytes | None:
        nonlocal joined
        joined += 1
        return await join(load)

    cache._loads.join = counted  # type: ignore[method-assign]
    end = time.monotonic() + 2.4
    reads = 0

    async def read() -> None:
        nonlocal reads
        while time.monotonic() < end and not joined:
            await cache.get("k", source)
            reads += 1
            await asyncio.sleep(0.004)

    await asyncio.gather(*(read() for _ in range(4)))
    assert joined == 0
    assert reads > 50
    assert source.calls >= 3


async def c2(r: Client[Any], server: Server, prefix: str) -> None:
    """A proxy cuts after each command in turn: the outcome is the same."""
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, retry=Retry(20, base=0.001)) as cut:
        cache = Cache(cut, prefix=prefix, ttl=20)
        for number in range(1, 5):  # the read, the lease, the value
            source = Source(seconds=0)
            task = asyncio.create_task(cache.get(f"{number}", source))
            await asyncio.sleep(0)
            for _ in range(number):
                proxy.cut_after(0, "down")
            assert await task == 0
            await cut.ping()
            assert source.calls == 1
            assert await cache.get(f"{number}", source) == 0
            assert source.calls == 1
            proxy.heal()
        assert proxy.cuts > 5
        entries, token = Entries(cut.with_options(decode_responses=False, idempotent=True)), b"12345678"
        for how in ("miss", "early", "force"):
            name = f"{prefix}{how}"
            assert await entries.take(name, token, 5, how)
            assert await entries.take(name, token, 5, how)
            assert await entries.store(name, token, b"1", 20, 0, 0)
            assert await entries.store(name, token, b"1", 20, 0, 0)
            assert await entries.take(name, b"refreshd", 5, "early")
            assert await entries.store(name, token, b"1", 20, 0, 0)  # so late that a refresh has begun
            assert await entries.renew(name, b"refreshd", 5)
            assert await entries.forget(name)
            assert not await entries.store(name, token, b"1", 20, 0, 0)
            assert not await entries.renew(name, token, 5)


async def c3(r: Client[Any], server: Server, prefix: str) -> None:
    """A caller is cancelled after each number of turns: another gets the value, and nothing stays behind."""
    for cancels in (False, True):
        cache = Cache(r, prefix=prefix, ttl=20, lease=30, cancel_abandoned=cancels)
        for turns in range(40):
            source = Source(seconds=0)
            caller = asyncio.create_task(cache.get("k", source))
            for _ in range(turns):
                await asyncio.sleep(0)
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            async with asyncio.timeout(3):
                assert await cache.get("k", source) == 0
            await cache.delete("k")
            await until(lambda cache=cache: not cache._loads._tasks)  # type: ignore[misc]
        assert cache._loads._newest == {}
    await at_rest(r)


async def c4(r: Client[Any], server: Server, prefix: str) -> None:
    source = Source(seconds=0)
    cache = Cache(r, prefix=prefix, ttl=20, stale=10, lease=5)
    await cache.get("value", source)
    entries = Entries(r.with_options(decode_responses=False, idempotent=True))
    await entries.take(f"{prefix}lease", b"12345678", 5, "miss")
    await entries.take(f"{prefix}value", b"12345678", 5, "early")
    await cache.set("failed", 1, ttl=1, stale=0)
    await entries.take(f"{prefix}failed", b"12345678", 5, "early")
    assert 4500 < (await keys_of(r, prefix))[f"{prefix}failed"] <= 5000
    await entries.abandon(f"{prefix}failed", b"12345678", 1)
    found = await keys_of(r, prefix)
    assert found.keys() == {f"{prefix}value", f"{prefix}lease", f"{prefix}failed"}
    assert 29_000 < found[f"{prefix}value"] <= 30_000
    assert 4000 < found[f"{prefix}lease"] <= 5000
    assert 0 < found[f"{prefix}failed"] <= 1000


LAWS: dict[str, Check] = {
    "K1": k1,
    "K1-old": k1_old,
    "K2": k2,
    "K2-race": k2_race,
    "K3": k3,
    "K4": k4,
    "K5": k5,
    "K6": k6,
    "C2": c2,
    "C3": c3,
    "C4": c4,
}


#: Laws that run under RESP2 in any run.
CHEAP = ("K2", "K3", "K4", "C2", "C3", "C4")


@pytest.mark.parametrize(("law", "protocol"), [*((law, 3) for law in LAWS), *((law, 2) for law in CHEAP)])
async def test_law(law: str, protocol: Literal[2, 3], server: Server, prefix: str) -> None:
    async with Client(server.url, protocol=protocol) as r:
        await LAWS[law](r, server, prefix)


SCRIPTS = [
    ("K1", "load", "elseif kind == '\\0acL' and how ~= 'force' then\n  return 0", ""),
    ("K1", "extend", "return redis.call('PEXPIRE', KEYS[1], lease)", "return 1"),
    ("C4", "load", "redis.call('PEXPIRE', KEYS[1], math.max(dies - now, ARGV[2]))", ""),
    ("K1-old", "extend", "if redis.call('PTTL', KEYS[1]) < lease then", "if false then"),
    ("K2", "store", "if not has then return 0 end", ""),
    ("K2", "forget", "local deleted = redis.call('DEL', KEYS[1])", "local deleted = 1"),
    ("K4", "abandon", "redis.call('DEL', KEYS[1])", ""),
    ("K4", "abandon", "now + ARGV[2]", "0"),
    ("C4", "load", ", 'PX', ARGV[2]", ""),
    ("C2", "load", "if owner == token or string.sub(head, 13, 20) == token then return 1 end", ""),
    ("C2", "store", "if kind == '\\0acV' and owner == token then return 1 end", ""),
    ("C4", "store", ", 'PX', ARGV[3]", ""),
    ("C4", "abandon", "redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', dies))", ""),
]


#: Mutations that take long to be noticed, of laws with others, by their places in the list.
LONG = (1, 3, 5, 10)


@pytest.mark.parametrize(
    ("law", "name", "old", "new"),
    [
        pytest.param(*each, id=f"{each[0]}-{each[1]}-{n}", marks=pytest.mark.ci if n in LONG else ())
        for n, each in enumerate(SCRIPTS)
    ],
)
async def test_a_mutated_script_is_noticed(
    law: str,
    name: str,
    old: str,
    new: str,
    server: Server,
    other: Client[str],
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_script(monkeypatch, f"scripts/{name}", (old, new))
    with pytest.raises((AssertionError, TimeoutError)):
        async with asyncio.timeout(15):
            await LAWS[law](other, server, prefix)
    for task in tasks_besides():
        task.cancel()
    await asyncio.gather(*tasks_besides(), return_exceptions=True)


def joined_by_all(self: Load, token: bytes) -> bool:
    """Join whatever is under way, without asking the entry."""
    return True


async def unshielded(self: Loads, load: Load) -> bytes | None:
    """Share the cancellation."""
    assert load.task is not None
    await load.task
    found = load.outcome.result()
    assert not isinstance(found, BaseException)
    return found


async def until_a_word(self: Cache, name: str, lease: Any) -> None:
    """Wait without an end."""
    async with self._view.subscribe(name) as words:
        await words.get()


def never(self: Cache, found: Any, ttl: float) -> bool:
    """Never begin early."""
    return False


async def not_given_back(self: Loads, job: Any, token: bytes) -> None:
    """Leave the lease."""


def the_same(error: BaseException, traceback: Any) -> BaseException:
    return error


METHODS: list[tuple[str, Any, str, Any]] = [
    ("K2", Load, "may_be_joined", joined_by_all),
    ("K3", Loads, "join", unshielded),
    ("K4", loads_module, "_own", the_same),
    ("K4", Loads, "_give_back", not_given_back),
    ("K5", Cache, "_word", until_a_word),
    ("K6", Cache, "_is_due", never),
    ("C3", Loads, "_give_back", not_given_back),
]


@pytest.mark.parametrize(
    ("law", "owner", "name", "wrong"), METHODS, ids=[f"{law}-{name}" for law, _, name, _ in METHODS]
)
async def test_a_mutated_method_is_noticed(
    law: str,
    owner: Any,
    name: str,
    wrong: Any,
    server: Server,
    other: Client[str],
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises((AssertionError, TimeoutError, asyncio.CancelledError, ExceptionGroup)):
        async with asyncio.timeout(15):
            await LAWS[law](other, server, prefix)
    for task in tasks_besides():
        task.cancel()
    await asyncio.gather(*tasks_besides(), return_exceptions=True)


# --- Processes and faults ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wrong() -> Iterator[Wrong]:
    with Wrong() as running:
        yield running


async def test_three_processes_with_wrong_clocks_load_once(
    wrong: Wrong, server: Server, other: Client[str], prefix: str
) -> None:
    """K1 and C1, with a thousand callers each; the load takes longer than its lease."""
    said = await wrong.run("load", server.url, prefix, 1000, 2.5, 1.2)
    assert sorted(said) == [["1"], ["1"], ["loading", "1"]]
    assert await other.get(f"{prefix}loads") == "1"


async def c1(
    wrong: Wrong, server: Server, prefix: str, mutations: Iterable[Mutation] = (), slowness: float = 1.0
) -> None:
    """Processes with wrong clocks see one refresh of a stale value, and none sees the value after its end."""
    async with Client(server.url) as r:
        stale = 0.8 * slowness
        await Cache(r, prefix=prefix).set("k", 0, ttl=0.02, stale=stale)
        dies = time.monotonic() + 0.02 + stale
        await asyncio.sleep(0.03)
        said = await wrong.run("refresh", server.url, prefix, stale + 0.4, stale + 0.3, dies, mutations=mutations)
    assert sorted(said) == [[], [], ["load"]]


async def test_wrong_clocks(wrong: Wrong, server: Server, prefix: str) -> None:
    """C1."""
    await c1(wrong, server, prefix)
    await c1_finds(wrong, server, prefix, ("scripts/read", *TIME))


async def c1_finds(wrong: Wrong, server: Server, prefix: str, mutation: Mutation) -> None:
    """On a busy machine the processes may begin after the end of the stale value: then it lives longer, for others."""
    for number in range(5):
        try:
            await c1(wrong, server, f"{prefix}m{number}", [mutation], 2.0**number)
        except AssertionError:
            return
    pytest.fail("the mutation was not noticed")


@pytest.mark.ci
async def test_wrong_clocks_in_all_scripts(wrong: Wrong, server: Server, prefix: str) -> None:
    await c1_finds(wrong, server, prefix, ("scripts/", *TIME))


async def test_an_error_of_the_past_is_none(prefix: str) -> None:
    """NOSCRIPT, CLIENT KILL, FLUSHALL and a restart during a load are no errors, and no value is stale."""
    with start_server() as own:
        async with Client(own.url) as r, Client(own.url) as r2:
            cache, another = Cache(r, prefix=prefix), Cache(r2, prefix=prefix)
            for fault in ("script", "kill", "flush", "restart"):
                source = Source()
                tasks = [asyncio.create_task(each.get(fault, source)) for each in (cache, another)]
                await source.begun()
                await asyncio.sleep(0.02)
                if fault == "script":
                    await r.script_flush()
                elif fault == "kill":
                    await r.call("CLIENT KILL", "TYPE", "normal")
                    await r.call("CLIENT KILL", "TYPE", "pubsub")
                elif fault == "flush":
                    await r.flushall()
                else:
                    await asyncio.to_thread(own.stop)
                    await asyncio.to_thread(own.start)
                source.go.set()
                assert await asyncio.gather(*tasks) == [0, 0]
                assert source.calls == 1 if fault in ("script", "kill") else source.calls <= 2


async def test_eviction_is_no_error(server: Server, other: Client[str], prefix: str) -> None:
    """A lease that the server evicts is lost: the value reaches its callers, and is not stored."""
    source = Source()
    cache = Cache(other, prefix=prefix)
    first = asyncio.create_task(cache.get("k", source))
    await source.begun()
    await other.delete(f"{prefix}k")
    source.go.set()
    assert await first == 0
    assert not await other.exists(f"{prefix}k")
    assert await cache.get("k", source) == 0
    assert source.calls == 2


@pytest.mark.parametrize("fault", ["refuse", "stall"])
async def test_the_server_is_away(fault: str, server: Server, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, retry=None) as r:
        cache = Cache(r, prefix=prefix, timeout=0.1)
        strict = Cache(r, prefix=prefix, timeout=0.1, on_error="raise")
        source = Source(seconds=0.4)
        assert await cache.get("k", source) == 0
        if fault == "refuse":
            proxy.refuse()
            proxy.cut()
        else:
            proxy.stall()
        with caplog.at_level(logging.INFO, "aioresp"):
            values = await asyncio.gather(*(cache.get("k", source) for _ in range(50)))
            assert (values, source.calls) == ([0] * 50, 2)
            assert await cache.get("k", source) == 0  # at once, without asking
            assert source.calls == 3
            with pytest.raises((ConnectionError, TimeoutError)):
                await strict.get("k", source)
            with pytest.raises((ConnectionError, TimeoutError)):
                await cache.delete("k")
            # Lost during a load: the value reaches its callers all the same.
            proxy.heal()
            slow = Source()
            await asyncio.sleep(1.05)
            task = asyncio.create_task(cache.get("slow", slow))
            await slow.begun()
            proxy.refuse()
            proxy.cut()
            slow.go.set()
            assert await task == 0
            proxy.heal()
        said = [record.getMessage() for record in caplog.records if "the cache" in record.getMessage()]
    assert len(said) == 2
    assert said[0].endswith("until it does, values are loaded and not stored")
    assert said[1].endswith("the server answers again")


async def test_a_user_who_may_not_subscribe(
    server: Server, other: Client[str], prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    await other.call("ACL SETUSER", "unheard", "on", "nopass", "~*", "+@all", "resetchannels")
    async with Client(host=server.host, port=server.port, username="unheard", password="any") as r:
        cache = Cache(r, prefix=prefix)
        source = Source(seconds=0.1)
        waiting = asyncio.gather(*(cache.get("k", source) for _ in range(3)))
        await source.begun()
        late = Cache(r, prefix=prefix)
        assert await asyncio.gather(*(late.get("k", source) for _ in range(5))) == [0] * 5
        assert await waiting == [0] * 3
        assert source.calls == 1
    assert [each.getMessage()[:13] for each in caplog.records if each.name == "aioresp"] == ["waits by time"]
    await other.acl_deluser("unheard")


@pytest.mark.ci
async def test_a_server_without_memory(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values that are there are read, others are loaded and not stored; that is logged once."""
    with start_server() as own:
        async with Client(own.url) as r:
            cache = Cache(r, prefix=prefix)
            source = Source(seconds=0)
            await cache.set("there", 7)
            await r.config_set({"maxmemory": 1})
            for number in range(3):
                assert await cache.get(f"{number}", source) == 0
                assert await cache.get("there", source) == 7
            assert source.calls == 3
            assert await r.dbsize() == 1
            logged = [record for record in caplog.records if record.name == "aioresp" and record.levelname == "WARNING"]
            assert len(logged) == 1
            await cache.delete("there")


@pytest.mark.soak
async def test_writers_in_several_processes(prefix: str) -> None:
    """K2, while connections are killed and callers cancelled."""
    with start_server() as own:
        children = []
        for seed in range(3):
            words = [own.url, prefix, seed, 20, int(seed == 0)]
            children.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.recipes.writers", *map(str, words), stdout=asyncio.subprocess.PIPE
                )
            )
        said = [(await child.communicate())[0].split() for child in children]
    assert [int(stale) for _, stale in said] == [0] * 3
    assert all(int(writes) > 50 for writes, _ in said)
