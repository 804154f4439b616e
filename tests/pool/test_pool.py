"""The pool's decisions, on resources that are nothing but counters: it knows nothing else of connections."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from aioresp.errors import ClientClosed, ConnectError, PoolTimeout
from aioresp.pool.leaving import Leaving
from aioresp.pool.pool import Pool
from aioresp.pool.resource import PoolStats
from tests.rest import until

pytestmark = pytest.mark.quick


NUMBERS = count(1)


class Thing:
    """A resource that takes `concurrency` jobs; a test finishes them by hand."""

    def __init__(self, concurrency: int) -> None:
        self.number = next(NUMBERS)
        self.concurrency = concurrency
        self.in_flight = 0
        self.capacity = concurrency
        self.number = id(self)
        self.jobs = 0
        self.viable = True
        self.resting = False
        self.lent = False
        self.woken = 0
        self.witnesses: list[Thing] = []
        self.deaf: list[Thing] = []
        self.gone: bool = False
        self.doubt: Callable[[Any], None] = lambda _: None
        self._on_room: Callable[[], None] = lambda: None
        self._on_close: Callable[[Any], None] = lambda _: None

    def attach(
        self, on_room: Callable[[], None], on_close: Callable[[Any], None], on_doubt: Callable[[Any], None]
    ) -> None:
        self._on_room, self._on_close, self.doubt = on_room, on_close, on_doubt

    async def inquire(self, witness: Thing) -> bool | None:
        self.witnesses.append(witness)
        await asyncio.sleep(0)
        return None if witness in self.deaf else self.gone

    def give_up(self) -> None:
        self.close()

    def detach(self, on_close: Callable[[Any], None]) -> None:
        assert self._on_close == on_close
        self._on_room, self._on_close = lambda: None, lambda _: None

    def start(self) -> None:
        self.in_flight += 1
        self.jobs += 1

    def finish(self, jobs: int = 1) -> None:
        self.in_flight -= jobs
        assert self.in_flight >= 0
        self._on_room()

    def stretch(self) -> None:
        self.capacity += self.concurrency

    def relax(self) -> None:
        self.capacity = min(self.capacity, self.concurrency)

    def rest(self) -> None:
        self.resting, self.capacity = True, 0

    def wake(self) -> None:
        self.woken += 1
        self.jobs += 1

    def answer(self) -> None:
        """Be found alive, after `wake`."""
        self.resting, self.capacity = False, self.concurrency
        self._on_room()

    def close(self) -> None:
        if self.viable:
            self.viable = self.resting = False
            self.capacity = self.in_flight = 0
            asyncio.get_running_loop().call_soon(self._on_close, self)

    def usage(self) -> tuple[int, int, int]:
        return self.jobs, 0, 0


class Maker:
    """Makes things as soon as it is let, and counts them."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.things: list[Thing] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.attempts = 0
        self.failure: Exception | None = None

    async def __call__(self) -> Thing:
        self.attempts += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.things.append(Thing(self.concurrency))
        return self.things[-1]


def make(limit: int = 10, concurrency: int = 1, idle_timeout: float | None = None) -> tuple[Pool[Thing], Maker]:
    maker = Maker(concurrency)
    loop = asyncio.get_running_loop()
    return Pool(maker, limit=limit, concurrency=concurrency, idle_timeout=idle_timeout, loop=loop), maker


def use(pool: Pool[Thing], deadline: float | None = None) -> asyncio.Future[Thing]:
    """Start a job as soon as the pool lets it; the future tells on which thing."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Thing] = loop.create_future()

    def start(thing: Thing) -> None:
        thing.start()
        future.set_result(thing)

    thing = pool.share()
    if thing is not None:
        start(thing)
    else:
        pool.wait(future, start, None if deadline is None else loop.time() + deadline)
    return future


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def close(pool: Pool[Thing]) -> None:
    await pool.aclose()
    assert repr(pool) == f"Pool(0 open, 0 leased, 0 in flight, limit {pool.limit})"


# --- Growing and sharing ---------------------------------------------------------------------------------------------


async def test_nothing_is_made_before_it_is_needed() -> None:
    pool, maker = make()
    await settle()
    assert (repr(pool), maker.attempts) == ("Pool(0 open, 0 leased, 0 in flight, limit 10)", 0)
    await close(pool)


async def test_the_first_use_makes_one_and_the_second_uses_it_again() -> None:
    pool, maker = make()
    first = await use(pool)
    first.finish()
    assert await use(pool) is first
    first.finish()
    assert maker.attempts == 1
    await close(pool)


@pytest.mark.parametrize("users", [1, 3, 10, 40])
async def test_concurrency_1_grows_with_its_users_up_to_the_limit_and_no_further(users: int) -> None:
    pool, maker = make(limit=10)
    futures = [use(pool) for _ in range(users)]
    await settle()
    expected = min(users, 10)
    waiting = f", {users - 10} waiting" if users > 10 else ""
    assert repr(pool) == f"Pool({expected} open, 0 leased, {expected} in flight{waiting}, limit 10)"
    assert all(thing.in_flight == 1 for thing in maker.things)
    while any(not future.done() for future in futures):
        next(thing for thing in maker.things if thing.in_flight).finish()
    assert len(maker.things) == expected
    await close(pool)


async def test_a_pool_that_has_grown_stays_flat() -> None:
    pool, maker = make(limit=10)
    for _ in range(5):
        things = [await use(pool) for _ in range(10)]
        for thing in things:
            thing.finish()
    assert maker.attempts == 10
    await close(pool)


async def test_many_share_one() -> None:
    pool, maker = make(concurrency=100)
    for _ in range(100):
        await use(pool)
    assert (repr(pool), maker.attempts) == ("Pool(1 open, 0 leased, 100 in flight, limit 10)", 1)
    await close(pool)


async def test_a_full_pool_grows_by_one_while_the_least_loaded_takes_more() -> None:
    pool, maker = make(concurrency=100)
    await use(pool)
    maker.gate.clear()
    for _ in range(350):
        assert use(pool).done()
    await settle()
    assert repr(pool) == "Pool(1 open, 0 leased, 351 in flight, 1 opening, limit 10)"
    assert maker.attempts == 2
    maker.gate.set()
    await settle()
    assert maker.things[0].capacity == 100
    assert await use(pool) is maker.things[1]
    await close(pool)


async def test_at_the_limit_and_full_callers_wait_in_order() -> None:
    pool, maker = make(limit=1, concurrency=2)
    for _ in range(2):
        await use(pool)
    thing = maker.things[0]
    futures = [use(pool) for _ in range(3)]
    assert repr(pool) == "Pool(1 open, 0 leased, 2 in flight, 3 waiting, limit 1)"
    for n in range(3):
        thing.finish()
        assert [future.done() for future in futures] == [i <= n for i in range(3)]
    await close(pool)


async def test_an_unusable_resource_is_passed_over() -> None:
    pool, maker = make(concurrency=10)
    first = await use(pool)
    first.capacity = 0  # as a connection whose buffer is full
    second = await use(pool)
    assert second is not first
    await close(pool)


# --- Waiting ---------------------------------------------------------------------------------------------------------


async def test_a_waiter_that_is_cancelled_leaves_the_line_and_swallows_nothing() -> None:
    pool, maker = make(limit=1)
    thing = await use(pool)
    futures = [use(pool) for _ in range(3)]
    futures[0].cancel()
    futures[1].cancel()
    assert repr(pool) == "Pool(1 open, 0 leased, 1 in flight, 1 waiting, limit 1)"
    thing.finish()
    assert futures[2].done()
    assert thing.in_flight == 1
    await close(pool)


async def test_a_waiter_times_out_with_the_state_of_the_pool_and_who_holds_what() -> None:
    pool, _ = make(limit=2)
    await use(pool)
    lease = await pool.lease("BRPOP in worker-1", None)
    late = use(pool, deadline=0.05)
    with pytest.raises(PoolTimeout) as caught:
        await late
    assert "no connection became free in 0." in str(caught.value)
    assert "Pool(2 open, 1 leased, 1 in flight, 1 waiting, limit 2); leased by BRPOP in worker-1 for " in str(
        caught.value
    )
    assert pool.stats().waiting == 0
    pool.give_back(lease)
    await close(pool)


async def test_a_timed_out_waiter_swallows_nothing() -> None:
    pool, maker = make(limit=1)
    thing = await use(pool)
    late = use(pool, deadline=0.02)
    patient = use(pool)
    with pytest.raises(PoolTimeout):
        await late
    thing.finish()
    assert patient.done()
    await close(pool)


# --- Failing to connect ----------------------------------------------------------------------------------------------


async def test_a_failure_reaches_everybody_who_waits_each_with_an_error_of_his_own() -> None:
    pool, maker = make(limit=10)
    maker.gate.clear()
    maker.failure = ConnectError("nobody there")
    futures = [use(pool) for _ in range(5)]
    lease = asyncio.ensure_future(pool.lease("x", None))
    await settle()
    assert maker.attempts == 1  # however many wait, a server that may be down is asked once
    maker.gate.set()
    errors = await asyncio.gather(*futures, lease, return_exceptions=True)
    assert [str(error) for error in errors] == ["nobody there"] * 6
    assert len({id(error) for error in errors}) == 6
    maker.failure = None
    await use(pool)
    assert maker.attempts == 2
    await close(pool)


async def test_a_pool_that_cannot_grow_goes_on_with_what_it_has(caplog: pytest.LogCaptureFixture) -> None:
    pool, maker = make(limit=10)
    thing = await use(pool)
    maker.failure = ConnectError("too many")
    futures = [use(pool) for _ in range(3)]
    await settle()
    assert "the pool could not grow: too many" in caplog.text
    attempts = maker.attempts
    futures.append(use(pool))
    await settle()
    assert maker.attempts == attempts  # a pause before the next attempt
    for future in futures:
        thing.finish()
        assert future.done()
    await close(pool)


async def test_a_cancelled_attempt_to_connect_leaves_nobody_waiting() -> None:
    pool, maker = make()
    maker.gate.clear()
    future = use(pool)
    await settle()
    opener = next(task for task in asyncio.all_tasks() if task.get_name() == "aioresp: open a connection")
    opener.cancel()
    with pytest.raises(ConnectError, match="cancelled"):
        await future
    await close(pool)


async def test_a_resource_that_dies_while_it_is_made() -> None:
    pool, maker = make(limit=1)

    class Stillborn(Thing):
        viable = False

    original = maker.__call__
    born: list[Thing] = []

    async def connect() -> Thing:
        thing = await original()
        if not born:
            thing.viable = False
            thing.capacity = 0
        born.append(thing)
        return thing

    pool._connect = connect
    assert await use(pool) is born[1]
    await close(pool)


# --- Leasing ---------------------------------------------------------------------------------------------------------


async def test_a_lease_takes_an_idle_one_out_of_the_shared() -> None:
    pool, maker = make(concurrency=10)
    first = await use(pool)
    first.finish()
    lease = await pool.lease("me", None)
    assert lease is first
    assert repr(pool) == "Pool(1 open, 1 leased, 0 in flight, limit 10)"
    assert await use(pool) is not lease
    pool.give_back(lease)
    assert repr(pool) == "Pool(2 open, 0 leased, 1 in flight, limit 10)"
    await close(pool)


@pytest.mark.parametrize("concurrency", [1, 10])
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_leases_never_take_the_last_one(limit: int, concurrency: int) -> None:
    pool, maker = make(limit=limit, concurrency=concurrency)
    leases = [asyncio.ensure_future(pool.lease(f"BRPOP {n}", None)) for n in range(20)]
    await settle()
    got = [task for task in leases if task.done()]
    assert len(got) == max(1, limit - 1)
    pushed = use(pool)
    await settle()
    assert pushed.done()
    assert pool.stats().open == max(2, limit)
    for task in leases:
        if task.done():
            pool.give_back(task.result())
        else:
            task.cancel()
    await settle()
    assert pool.stats().leased == 0
    assert pool.stats().open <= limit
    await close(pool)


async def test_waiting_leases_are_served_in_order() -> None:
    pool, _ = make(limit=2)
    lease = await pool.lease("first", None)
    waiting = [asyncio.ensure_future(pool.lease(f"{n}", None)) for n in range(3)]
    await settle()
    for n in range(3):
        pool.give_back(lease)
        await settle()
        assert [task.done() for task in waiting] == [i <= n for i in range(3)]
        lease = waiting[n].result()
    await close(pool)


async def test_at_the_limit_a_lease_waits_until_the_least_loaded_has_drained() -> None:
    pool, maker = make(limit=2, concurrency=10)
    maker.things = []
    a = await use(pool)
    a.capacity = 0
    b = await use(pool)
    a.capacity = 10
    a.start()
    task = asyncio.ensure_future(pool.lease("me", None))
    await settle()
    assert not task.done()
    assert [await use(pool) for _ in range(3)] == [a, a, a]  # the other one drains
    b.finish()
    await settle()
    assert task.result() is b
    await close(pool)


async def test_a_drained_resource_goes_back_if_its_lease_was_cancelled() -> None:
    pool, _ = make(limit=2, concurrency=1)
    a, b = await use(pool), await use(pool)
    task = asyncio.ensure_future(pool.lease("me", None))
    await settle()
    task.cancel()
    await settle()
    a.finish()
    b.finish()
    assert repr(pool) == "Pool(2 open, 0 leased, 0 in flight, limit 2)"
    assert {await use(pool), await use(pool)} == {a, b}
    await close(pool)


async def test_a_lease_that_is_cancelled_as_it_arrives_goes_back() -> None:
    pool, _ = make(limit=2)
    lease = await pool.lease("first", None)
    task = asyncio.ensure_future(pool.lease("second", None))
    await settle()
    pool.give_back(lease)  # hands it over: the task is about to wake
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert repr(pool) == "Pool(1 open, 0 leased, 0 in flight, limit 2)"
    await close(pool)


async def test_a_discarded_lease_is_gone() -> None:
    pool, maker = make(limit=2)
    lease = await pool.lease("me", None)
    pool.discard(lease)
    await settle()
    assert repr(pool) == "Pool(0 open, 0 leased, 0 in flight, limit 2)"
    assert await use(pool) is not lease
    await close(pool)


# --- Dying and idling ------------------------------------------------------------------------------------------------


async def test_a_dead_resource_is_replaced_and_its_figures_are_kept() -> None:
    pool, maker = make(limit=1)
    thing = await use(pool)
    waiter = use(pool)
    thing.close()
    await settle()
    assert await waiter is maker.things[1]
    stats = pool.stats()
    assert (stats.made, stats.commands) == (2, 2)
    await close(pool)


async def test_the_idle_are_closed_and_the_busy_are_kept() -> None:
    pool, maker = make(idle_timeout=0.1, concurrency=1)
    busy, idle = await use(pool), await use(pool)
    idle.finish()
    await until(lambda: not idle.viable)
    await asyncio.sleep(0.2)
    assert busy.viable
    assert repr(pool) == "Pool(1 open, 0 leased, 1 in flight, limit 10)"
    busy.finish()
    await until(lambda: repr(pool) == "Pool(0 open, 0 leased, 0 in flight, limit 10)")
    await close(pool)


async def test_one_that_works_now_and_then_is_not_idle() -> None:
    pool, maker = make(idle_timeout=0.6)
    for _ in range(9):
        (await use(pool)).finish()
        await asyncio.sleep(0.1)
    assert maker.attempts == 1
    await close(pool)


# --- Resting ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioresp.pool.idle.REST_AFTER", 0.04)


async def rest(maker: Maker) -> None:
    """Wait until all things rest."""
    while not all(thing.resting for thing in maker.things):
        await asyncio.sleep(0.01)


async def test_what_has_idled_is_asked_before_it_is_used_again(soon: None) -> None:
    pool, maker = make(concurrency=5)
    (await use(pool)).finish()
    await rest(maker)
    (thing,) = maker.things
    assert (thing.resting, thing.woken) == (True, 0)
    futures = [use(pool) for _ in range(3)]
    await settle()
    assert thing.woken > 0
    assert not any(future.done() for future in futures)
    thing.answer()
    assert [await future for future in futures] == [thing] * 3
    assert maker.attempts == 1
    await close(pool)


async def test_what_is_found_dead_after_idling_is_replaced(soon: None) -> None:
    pool, maker = make(concurrency=5)
    (await use(pool)).finish()
    await rest(maker)
    future = use(pool)
    maker.things[0].close()
    assert await future is maker.things[1]
    await close(pool)


async def test_a_lease_too_gets_none_that_was_not_asked(soon: None) -> None:
    pool, maker = make(limit=5)
    users = [use(pool), use(pool)]
    for future in users:
        await future
    for thing in maker.things:
        thing.finish()
    await rest(maker)
    lease = asyncio.create_task(pool.lease("lease", None))
    await settle()
    assert not lease.done()
    maker.things[0].answer()
    assert await lease is maker.things[0]
    pool.give_back(maker.things[0])
    assert maker.attempts == 2
    await close(pool)


async def idle(pool: Pool[Thing], maker: Maker, count: int) -> list[Thing]:
    """Make so many things, and let them idle until they rest."""
    for future in [use(pool) for _ in range(count)]:
        await future
    for thing in maker.things:
        thing.finish()
    while not all(thing.resting for thing in maker.things):
        await asyncio.sleep(0.01)
    return list(maker.things)


async def test_all_that_rest_are_asked_at_once(soon: None) -> None:
    pool, maker = make(limit=5)
    things = await idle(pool, maker, 4)
    futures = [use(pool) for _ in range(2)]
    assert [thing.woken for thing in things] == [1] * 4
    things[2].answer()
    things[3].answer()
    assert [await future for future in futures] == things[2:]
    assert maker.attempts == 4
    await close(pool)


@pytest.mark.parametrize("limit", [3, 4], ids=["at the limit", "below it"])
@pytest.mark.parametrize("kind", ["share", "lease"])
async def test_one_is_opened_beside_those_that_do_not_answer(
    soon: None, monkeypatch: pytest.MonkeyPatch, limit: int, kind: str
) -> None:
    monkeypatch.setattr("aioresp.pool.waking.PAUSES", (0.2, 0.2))
    pool, maker = make(limit=limit)
    things = await idle(pool, maker, 3)
    used: asyncio.Future[Thing] = use(pool) if kind == "share" else asyncio.ensure_future(pool.lease("lease", None))
    await settle()
    assert maker.attempts == 3  # an answer may come at once
    assert await used is maker.things[3]
    assert [thing.viable for thing in things] == [limit == 4, True, True]
    assert maker.attempts == 4
    assert pool.stats().open == limit
    await close(pool)


async def test_no_more_than_one_makes_room_at_a_time(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are silent may work again in the next moment: each caller in line must not cost one of them."""
    monkeypatch.setattr("aioresp.pool.waking.PAUSES", (0.02, 0.02))
    pool, maker = make(limit=5)
    things = await idle(pool, maker, 5)
    maker.gate.clear()
    first = use(pool)
    while not pool._waking.late:
        await asyncio.sleep(0)
    others = [use(pool) for _ in range(4)]
    assert [thing.viable for thing in things] == [False, True, True, True, True]
    maker.gate.set()
    for thing in things[1:]:
        thing.answer()
    assert len({await future for future in (first, *others)}) == 5
    await close(pool)


async def test_to_be_asked_is_no_use(soon: None) -> None:
    """Else one command now and then would keep all of them open."""
    pool, maker = make(limit=5, idle_timeout=0.5)
    things = await idle(pool, maker, 3)
    for _ in range(12):
        future = use(pool)
        for thing in things:
            if thing.resting and thing.viable:
                thing.answer()
        (await future).finish()
        await asyncio.sleep(0.06)
    assert 0 < sum(thing.viable for thing in things) < 3
    await close(pool)


async def test_a_second_rest_is_another_question(soon: None) -> None:
    pool, maker = make(limit=5)
    things = await idle(pool, maker, 2)
    for times in (1, 2):
        future = use(pool)
        assert [thing.woken for thing in things] == [times] * 2
        for thing in things:
            thing.answer()
        (await future).finish()
        while not all(thing.resting for thing in things):
            await asyncio.sleep(0.01)
    assert maker.attempts == 2
    await close(pool)


# --- Closing ---------------------------------------------------------------------------------------------------------


async def test_closing_fails_those_who_wait_and_waits_for_what_is_under_way() -> None:
    pool, _ = make(limit=1)
    thing = await use(pool)
    waiting = use(pool)
    closing = asyncio.ensure_future(pool.aclose(grace=5))
    await settle()
    with pytest.raises(ClientClosed):
        await waiting
    assert thing.viable
    thing.finish()
    await closing
    assert not thing.viable


async def test_closing_does_not_wait_longer_than_its_grace() -> None:
    pool, _ = make(limit=1)
    thing = await use(pool)
    await pool.aclose(grace=0.02)
    assert not thing.viable


async def test_closing_that_is_cancelled_still_closes() -> None:
    pool, _ = make(limit=1)
    thing = await use(pool)
    closing = asyncio.ensure_future(pool.aclose(grace=5))
    await settle()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not thing.viable


async def test_closing_while_connecting() -> None:
    pool, maker = make()
    maker.gate.clear()
    waiting = use(pool)
    await settle()
    await pool.aclose()
    with pytest.raises(ClientClosed):
        await waiting


def test_figures_add_up() -> None:
    one = PoolStats(1, 2, 3, 4, 5, 6, 7, 8)
    assert one + one == PoolStats(2, 4, 6, 8, 10, 12, 14, 16)


async def test_connections_that_end_as_soon_as_they_are_made_are_no_reason_to_go_on_for_ever() -> None:
    maker = Maker(5)

    async def connect() -> Thing:
        thing = await maker()
        thing.viable = False  # its end has come before the pool could hear of it
        return thing

    failures: list[int] = []

    def patience(error: BaseException, count: int) -> float | None:
        failures.append(count)
        return None

    loop = asyncio.get_running_loop()
    pool = Pool(connect, limit=10, concurrency=5, idle_timeout=None, loop=loop, patience=patience)
    with pytest.raises(ConnectError, match="as soon as it was made"):
        await use(pool)
    assert maker.attempts == 2
    assert failures == [1]


async def test_an_idle_thing_is_given_away() -> None:
    pool, maker = make(limit=1)
    assert pool.part_with() is None  # there is none
    thing = await use(pool)
    assert pool.part_with() is None  # it is busy
    thing.finish()
    assert pool.part_with() is thing
    assert (pool.stats().open, pool.stats().made, pool.part_with()) == (0, 1, None)
    second = await use(pool)
    assert second is not thing
    thing.close()
    await asyncio.sleep(0)
    assert (pool.stats().open, pool.stats().commands) == (1, 1)
    second.finish()
    second.rest()
    assert pool.part_with() is None  # nobody knows whether it is alive
    assert maker.attempts == 2


async def test_nothing_is_given_away_that_callers_wait_for() -> None:
    pool, _ = make(limit=1)
    thing = await use(pool)
    lease = asyncio.ensure_future(pool.lease("a test", None))
    await asyncio.sleep(0)
    thing.in_flight -= 1  # idle, and the pool has not heard of it
    assert pool.part_with() is None
    lease.cancel()
    pool.shut()
    assert pool.part_with() is None


# --- Doubts ----------------------------------------------------------------------------------------------------------


async def test_what_is_gone_is_replaced_by_the_one_that_was_asked() -> None:
    pool, maker = make(limit=1)
    thing = await use(pool)
    thing.gone = True
    waiting = use(pool)
    thing.doubt(thing)
    assert await waiting is maker.things[1]
    assert thing.witnesses == [maker.things[1]]
    assert not thing.viable
    assert (pool.stats().made, pool.stats().open) == (2, 1)
    await close(pool)


async def test_what_is_busy_stays_and_nothing_is_added() -> None:
    pool, maker = make(limit=3)
    thing = await use(pool)
    thing.doubt(thing)
    thing.doubt(thing)
    await settle()
    assert thing.witnesses == [maker.things[1]]
    assert (thing.viable, maker.things[1].viable) == (True, False)
    assert (pool.stats().made, pool.stats().open) == (1, 1)
    thing.finish()
    await close(pool)


async def test_an_idle_one_is_asked_first_and_another_if_it_is_silent_too() -> None:
    pool, maker = make(limit=3)
    things = [await use(pool), await use(pool)]
    things[1].finish()
    things[0].doubt(things[0])
    await settle()
    assert things[0].witnesses == [things[1]]
    things[0].deaf = [things[1]]
    things[0].doubt(things[0])
    await settle()
    assert things[0].witnesses[1:] == [things[1], maker.things[2]]
    things[0].deaf = list(maker.things)
    maker.failure = ConnectError("nothing there")
    things[0].doubt(things[0])
    await settle()
    assert all(thing.viable for thing in things)
    things[0].finish()
    await close(pool)


async def test_closing_ends_an_inquiry() -> None:
    pool, maker = make(limit=1)
    thing = await use(pool)
    maker.gate.clear()
    thing.doubt(thing)
    await settle()
    assert maker.attempts == 2
    await pool.aclose()
    assert (len(maker.things), pool.stats().open) == (1, 0)


async def test_not_each_slow_answer_opens_another() -> None:
    pool, maker = make(limit=2)
    thing = await use(pool)
    for _ in range(5):
        thing.doubt(thing)
        await settle()
    assert maker.attempts == 2
    assert pool.stats().open == 1
    thing.finish()
    await close(pool)


async def test_what_has_ended_is_not_asked_about() -> None:
    """Its deadline may end it in the moment of the doubt: then no other is opened to ask."""
    pool, maker = make(limit=3)
    thing = await use(pool)
    thing.doubt(thing)
    thing.close()
    await settle()
    assert maker.attempts == 1
    await close(pool)


@pytest.mark.parametrize("doubted", ["before", "after"])
async def test_a_retired_pool_ends_after_an_inquiry(doubted: str) -> None:
    pool, maker = make(limit=3)
    thing = await use(pool)
    ended: list[bool] = []
    pool.notify(lambda: ended.append(True))
    maker.gate.clear()
    if doubted == "before":
        thing.doubt(thing)
        await settle()
    pool.retire(ConnectError("it has moved"))
    if doubted == "after":
        thing.doubt(thing)
    thing.close()
    await settle()
    maker.gate.set()
    await settle()
    assert ended == [True]


async def test_what_was_given_away_is_forgotten(soon: None) -> None:
    pool, maker = make(limit=3)
    pool._leaving = Leaving(pool._loop, (pool._shared, pool._draining), pool._leased, pool._on_left, 3600)
    thing = (await idle(pool, maker, 1))[0]
    waiting = use(pool)
    thing.answer()
    (await waiting).finish()
    assert pool.part_with() is thing
    pool._growth.made(None, 0)
    gone = weakref.ref(thing)
    maker.things.clear()
    del thing, waiting
    gc.collect()
    assert gone() is None
    await close(pool)
