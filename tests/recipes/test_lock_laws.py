"""The laws of locks and semaphores (L1 to L6), against a real server, and mutations that their checks must catch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final, Literal

import pytest

from aioresp import Client
from aioresp.recipes import Lock, LockLost, gate, holding, leases, lua
from aioresp.recipes.gate import Gate
from aioresp.recipes.holding import Holding
from aioresp.recipes.lock import HeldLock
from aioresp.recipes.wake import Wake
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.recipes import holders
from tests.recipes.clocks import Wrong
from tests.recipes.holders import KINDS, Make
from tests.recipes.mutated import TIME, Mutation

pytestmark = pytest.mark.usefixtures("no_debug")


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Make:
    return KINDS[request.param]


@pytest.fixture
async def r(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture
async def clients(server: Server) -> AsyncIterator[list[Client[str]]]:
    async with Client(server.url) as a, Client(server.url) as b, Client(server.url, limit=1) as c:
        yield [a, b, c]


@pytest.fixture(autouse=True)
def _no_gate_is_left() -> Iterator[None]:
    yield
    leases._thread._leases = [entry for entry in leases._thread._leases if not entry[2].is_over]
    assert leases._thread._leases == []
    assert all(place[0].is_closed() or not each.is_taken for place, each in gate._gates.items())


def mutate(monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str) -> None:
    """Change a text in the scripts whose names contain `script`, from the next client on."""
    text = lua.text
    changed = []

    def mutated(name: str) -> str:
        source = text(name)
        if script in name and old in source:
            changed.append(name)
            return source.replace(old, new)
        return source

    monkeypatch.setattr(lua, "text", mutated)
    monkeypatch.setattr(holding, "_books", {})


# --- L1 --------------------------------------------------------------------------------------------------------------


async def test_two_never_hold_it(make: Make, clients: list[Client[str]], prefix: str) -> None:
    await holders.two_never_hold_it(make, clients, prefix)
    await holders.the_release_of_a_former_holder_does_nothing(make, clients[0], clients[1], prefix + "2")
    await holders.a_former_holder_renews_nothing(make, clients[0], clients[1], prefix + "3")
    await holders.no_key_without_an_end(clients[0], prefix)


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [("lock_take", "holder ~= ARGV[1]", "false"), ("semaphore_take", "held >= limit", "held > limit")],
)
async def test_mutation_the_server_gives_it_twice(
    monkeypatch: pytest.MonkeyPatch, clients: list[Client[str]], prefix: str, script: str, old: str, new: str
) -> None:
    mutate(monkeypatch, script, old, new)
    with pytest.raises((AssertionError, LockLost)):
        await holders.two_never_hold_it(KINDS[script.partition("_")[0]], clients, prefix)


async def test_mutation_anybody_gives_it_back(
    monkeypatch: pytest.MonkeyPatch, r: Client[str], other: Client[str], prefix: str
) -> None:
    mutate(monkeypatch, "lock_free", "redis.call('GET', KEYS[1]) ~= ARGV[1]", "false")
    with pytest.raises(AssertionError):
        await holders.the_release_of_a_former_holder_does_nothing(holders.lock, r, other, prefix)


@pytest.mark.ci
async def test_mutation_anybody_renews_it(
    monkeypatch: pytest.MonkeyPatch, r: Client[str], other: Client[str], prefix: str
) -> None:
    mutate(monkeypatch, "lock_renew", "redis.call('GET', KEYS[1]) ~= ARGV[1]", "false")
    with pytest.raises(AssertionError, match="renewed what another holds"):
        await holders.a_former_holder_renews_nothing(holders.lock, r, other, prefix)


# --- L2 --------------------------------------------------------------------------------------------------------------


async def grows_in_all_ways(r: Client[str], name: str, server: Server) -> None:
    async def between(number: int) -> int | None:
        if number == 1:
            await r.flushall()
        elif number == 2:
            held = await Lock(r, name, ttl=0.1, max_hold=0.1).acquire()
            async with asyncio.timeout(10):
                while not held.lost:  # it ends by itself
                    await asyncio.sleep(0.01)
        elif number == 3:
            await r.set(f"{{{name}}}:fence", str(9 * 10**15), px=5000)  # the clock was set back
            return 9 * 10**15
        elif number == 4:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        return None

    await holders.the_token_grows(r, name, between, 6)


@pytest.fixture
def persistent() -> Iterator[Server]:
    with start_server(config={"appendonly": "yes", "appendfsync": "always"}) as running:
        yield running


async def test_the_token_grows(monkeypatch: pytest.MonkeyPatch, persistent: Server, prefix: str) -> None:
    """After FLUSHALL, the end of a lease, a restart with AOF, and with a clock that was set back."""
    async with Client(persistent.url) as r:
        await grows_in_all_ways(r, prefix, persistent)
    for old, new in (
        ("math.max(last + 1, now[1] * 1000000 + now[2])", "last + 1"),  # after FLUSHALL it begins again
        ("last + 1", "0"),  # a clock that was set back
    ):
        with monkeypatch.context() as patch:
            mutate(patch, "lock_take", old, new)
            async with Client(persistent.url) as r:
                with pytest.raises(AssertionError, match="is not greater"):
                    await grows_in_all_ways(r, prefix + new, persistent)


# --- L3 --------------------------------------------------------------------------------------------------------------


async def test_a_deleted_one_is_told(make: Make, r: Client[str], prefix: str) -> None:
    await holders.a_deleted_one_is_told(make, r, prefix)


async def test_mutation_a_loss_is_not_told(monkeypatch: pytest.MonkeyPatch, r: Client[str], prefix: str) -> None:
    monkeypatch.setattr(HeldLock, "_cancel", lambda self: None)
    with pytest.raises(AssertionError):
        await holders.a_deleted_one_is_told(holders.lock, r, prefix, ttl=0.4)


async def test_a_holder_stops_before_another_begins(make: Make, r: Client[str], proxy: Proxy, prefix: str) -> None:
    await holders.a_holder_stops_before_another_begins(make, r, proxy, prefix)


@pytest.mark.ci
async def test_mutation_a_holder_stops_too_late(
    monkeypatch: pytest.MonkeyPatch, r: Client[str], proxy: Proxy, prefix: str
) -> None:
    monkeypatch.setattr(leases, "_MARGIN", -0.6)
    with pytest.raises(AssertionError, match="two blocks at a time"):
        await holders.a_holder_stops_before_another_begins(holders.lock, r, proxy, prefix)


# --- L4 --------------------------------------------------------------------------------------------------------------


async def test_cancelled_at_any_turn(make: Make, server: Server, r: Client[str], prefix: str) -> None:
    await holders.cancelled_at_any_turn(make, r, prefix)
    async with Client(server.url, concurrency=1, limit=2) as classic:
        await holders.cancelled_at_any_turn(make, classic, prefix + "c")
    await holders.a_cancelled_waiter_lets_others_in(make, r, prefix + "w")


async def test_mutation_what_was_taken_for_nobody_stays(
    monkeypatch: pytest.MonkeyPatch, r: Client[str], prefix: str
) -> None:
    monkeypatch.setattr(Holding, "_free_aside", lambda *_: None)
    monkeypatch.setattr(holders, "PATIENCE", 1.0)
    with pytest.raises(AssertionError, match="it stays held"):
        await holders.cancelled_at_any_turn(holders.lock, r, prefix)


@pytest.mark.ci
async def test_mutation_a_turn_is_lost(monkeypatch: pytest.MonkeyPatch, r: Client[str], prefix: str) -> None:
    async def careless(self: Gate) -> None:
        if not self.is_taken:
            self.is_taken = True
            return
        turn = self._place[0].create_future()
        self._waiters[turn] = None
        await turn

    monkeypatch.setattr(Gate, "enter", careless)

    def blind(self: Gate) -> None:
        if self._waiters:
            self._waiters.popitem(last=False)[0].set_result(None)

    monkeypatch.setattr(Gate, "leave", blind)
    with pytest.raises((AssertionError, TimeoutError, asyncio.InvalidStateError)):
        await holders.a_cancelled_waiter_lets_others_in(holders.lock, r, prefix)
    for each in gate._gates.values():
        each.is_taken = False


# --- L5 --------------------------------------------------------------------------------------------------------------


async def test_a_waiter_gets_it_at_once(make: Make, r: Client[str], other: Client[str], prefix: str) -> None:
    took = [await holders.a_waiter_gets_it_at_once(make, r, other, f"{prefix}{n}") for n in range(5)]
    assert min(took) < 0.05, took
    took = [await holders.a_waiter_gets_it_at_once(make, r, r.with_options(), f"{prefix}s{n}") for n in range(2)]
    assert min(took) < 0.05, took


async def test_mutation_waiters_are_not_told(
    monkeypatch: pytest.MonkeyPatch, r: Client[str], other: Client[str], prefix: str
) -> None:
    mutate(monkeypatch, "lock_free", "redis.pcall('PUBLISH', ARGV[2], '')", "0")
    monkeypatch.setattr(holders, "SOON", 0.5)
    with pytest.raises(AssertionError, match="was not told"):
        await holders.a_waiter_gets_it_at_once(holders.lock, r, other, prefix)


async def released_while_one_subscribes(
    monkeypatch: pytest.MonkeyPatch, r: Client[str], other: Client[str], name: str
) -> None:
    holder, waiter = Lock(r, name, ttl=30), Lock(other, name, ttl=30)
    await holder.acquire()
    opened = Wake.open

    async def late(self: Wake) -> None:
        await holder.release()
        await opened(self)

    with monkeypatch.context() as patch:
        patch.setattr(Wake, "open", late)
        try:
            await asyncio.wait_for(waiter.acquire(), holders.SOON)
        except TimeoutError:
            raise AssertionError("the word was missed") from None
    await waiter.release()


async def test_no_word_is_missed(
    monkeypatch: pytest.MonkeyPatch, r: Client[str], other: Client[str], prefix: str
) -> None:
    """Given back between the first try and the subscription."""
    await released_while_one_subscribes(monkeypatch, r, other, prefix)
    wake = Gate.wake

    async def never_again(self: Gate, *arguments: Any) -> tuple[Wake, bool]:
        found, _ = await wake(self, *arguments)
        return found, True

    monkeypatch.setattr(Gate, "wake", never_again)
    monkeypatch.setattr(holders, "SOON", 0.5)
    with pytest.raises(AssertionError, match="the word was missed"):
        await released_while_one_subscribes(monkeypatch, r, other, prefix + "m")


async def test_a_gap_is_a_word(r: Client[str], other: Client[str], prefix: str) -> None:
    """Given back while the connection of the subscriptions is lost."""
    holder, waiter = Lock(r, prefix, ttl=30), Lock(other, prefix, ttl=30)
    held = await holder.acquire()
    waiting = asyncio.create_task(waiter.acquire())
    await asyncio.sleep(0.1)
    async with r.pipeline(transaction=True) as p:  # so that nobody subscribes in between
        p.call("CLIENT", "KILL", "TYPE", "pubsub")
        p.delete(f"{{{prefix}}}:lock")
    assert (await asyncio.wait_for(waiting, 10)).token > held.token
    await waiter.release()
    with pytest.raises(Exception, match="was lost"):
        await holder.release()


async def test_it_is_given_in_order(make: Make, r: Client[str], prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await holders.in_order(make, r, prefix)

    def unfair(self: Gate) -> None:
        for turn in reversed(list(self._waiters)):
            self._waiters.move_to_end(turn)
        leave(self)

    leave = Gate.leave
    monkeypatch.setattr(Gate, "leave", unfair)
    with pytest.raises(AssertionError, match="not in order"):
        await holders.in_order(make, r, prefix + "m")


async def test_processes_take_turns(make: Make, r: Client[str], other: Client[str], prefix: str) -> None:
    """A client that takes it again and again lets another in. Each has a line of its own, as processes have."""
    order: list[str] = []

    async def work(client: Client[str], who: str) -> None:
        for _ in range(15):
            async with make(client, prefix, ttl=30):
                order.append(who)
                await asyncio.sleep(0.002)

    await asyncio.wait_for(asyncio.gather(work(r, "a"), work(other, "b")), 30)
    changes = sum(one != two for one, two in itertools.pairwise(order))
    assert changes >= 8, "".join(order)


# --- L6 --------------------------------------------------------------------------------------------------------------


async def test_a_blocked_loop_keeps_it(make: Make, r: Client[str], prefix: str) -> None:
    await holders.a_blocked_loop_keeps_it(make, r, prefix)


async def test_mutation_it_is_renewed_in_the_loop(monkeypatch: pytest.MonkeyPatch, r: Client[str], prefix: str) -> None:
    async with holders.renewed_in_the_loop() as keep:
        monkeypatch.setattr(holding, "keep", keep)
        with pytest.raises(AssertionError):
            await holders.a_blocked_loop_keeps_it(holders.lock, r, prefix, ttl=0.2)


async def test_it_is_held_no_longer_than_max_hold(make: Make, r: Client[str], prefix: str) -> None:
    await holders.no_longer_than_max_hold(make, r, prefix)


@pytest.mark.ci
async def test_mutation_max_hold_is_not_kept(monkeypatch: pytest.MonkeyPatch, r: Client[str], prefix: str) -> None:
    keep = leases.keep
    monkeypatch.setattr(holding, "keep", lambda *a, **options: keep(*a, **options | {"until": float("inf")}))
    with pytest.raises(AssertionError, match="held longer"):
        await holders.no_longer_than_max_hold(holders.lock, r, prefix)


# --- Common laws -----------------------------------------------------------------------------------------------------


async def test_each_script_may_be_lost(make: Make, server: Server, r: Client[str], prefix: str) -> None:
    assert await holders.each_script_may_be_lost(make, server.port, r, prefix) > 15
    await holders.no_key_without_an_end(r, prefix)


async def each_script_may_come_twice(make: Make, r: Client[str], name: str) -> None:
    lock = make(r, name)
    books, keys = lock._books, lock._keys()
    arguments: list[str | int] = ["me", 30_000, *lock._arguments()]
    assert await books.take(keys, arguments) == await books.take(keys, arguments), "it has two tokens"
    assert [await books.renew(keys[:1], ("me", 30_000)) for _ in range(2)] == [1, 1]
    assert [bool(await books.free(keys[:1], ("me", b"channel"))) for _ in range(2)] == [True, False]
    assert await holders.is_free(r, name)


async def test_each_script_may_come_twice(
    monkeypatch: pytest.MonkeyPatch, make: Make, r: Client[str], prefix: str
) -> None:
    await each_script_may_come_twice(make, r, prefix)
    mutate(monkeypatch, "lock_take", "not (holder and token)", "true")
    mutate(monkeypatch, "semaphore_take", "and not redis.call('ZSCORE', KEYS[1], ARGV[1])", "")
    with pytest.raises(AssertionError):
        await each_script_may_come_twice(make, r.with_options(), prefix + "m")


async def test_mutation_a_lost_reply_is_taken_for_a_loss(
    monkeypatch: pytest.MonkeyPatch, server: Server, r: Client[str], prefix: str
) -> None:
    """Without the second try a lost reply of the release would end in a warning, or in a false LockLost."""
    init = holding.Books.__init__

    def careless(self: holding.Books, *arguments: Any) -> None:
        init(self, *arguments)
        self.free_once = self.free

    monkeypatch.setattr(holding.Books, "__init__", careless)
    monkeypatch.setattr(holding, "_books", {})
    with pytest.raises(Exception, match="was lost"):
        await holders.each_script_may_be_lost(holders.lock, server.port, r, prefix)


async def c1(wrong: Wrong, server: Server, kind: str, prefix: str, mutations: Iterable[Mutation] = ()) -> None:
    """Processes with wrong clocks take turns, two keep it beyond a lease, and the tokens grow."""
    said = await wrong.run("hold", server.url, kind, prefix, 40, 0.6, mutations=mutations)
    turns = sorted(tuple(map(int, line.split())) for lines in said for line in lines)
    assert {inside for _, inside, _ in turns} == {1}, "two were inside, or it was lost"
    assert all(said)
    tokens = [token for *_, token in turns]
    assert tokens == sorted(set(tokens)), "a token is not greater"


@pytest.fixture(scope="module")
def wrong() -> Iterator[Wrong]:
    with Wrong() as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
async def test_the_clocks_of_clients_do_not_matter(wrong: Wrong, server: Server, kind: str, prefix: str) -> None:
    await c1(wrong, server, kind, prefix)


#: A lease that ends at a time of the client's clock.
END: Final = ("'PX', ARGV[2])", "'PXAT', string.format('%.0f', (redis.call('TIME')[1] + (CLOCK)) * 1000 + ARGV[2]))")


@pytest.mark.parametrize(
    ("kind", "mutation", "word"),
    [
        ("lock", ("lock_take", *TIME), "not greater"),
        pytest.param("lock", ("lock_take", *END), "lost", marks=pytest.mark.ci),
        ("semaphore", ("semaphore_take", *TIME), "lost"),
        pytest.param("semaphore", ("semaphore_renew", *TIME), "lost", marks=pytest.mark.ci),
    ],
)
async def test_mutation_the_clock_of_the_client_counts(
    wrong: Wrong, server: Server, kind: str, mutation: Mutation, word: str, prefix: str
) -> None:
    with pytest.raises(AssertionError, match=word):
        await c1(wrong, server, kind, prefix, [mutation])


async def test_both_protocols(server: Server, resp: Literal[2, 3], make: Make, prefix: str) -> None:
    async with Client(server.url, protocol=resp, decode_responses=False) as r, Client(server.url) as text:
        async with make(r, prefix) as held:
            assert await make(text, prefix).locked()
            held.raise_if_lost()
        assert not await make(text, prefix).locked()
        await holders.a_deleted_one_is_told(make, text, prefix, 0.9)
        await holders.a_waiter_gets_it_at_once(make, text, text.with_options(), prefix)
        if make is holders.lock:
            await holders.the_token_grows(text, prefix, lambda _: asyncio.sleep(0))
