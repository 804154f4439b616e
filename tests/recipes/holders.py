"""Laws of locks and semaphores, each a check that raises AssertionError if it is broken.

The tests run each check on the library as it is, and on one that is broken on purpose.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

from aioresp import Client
from aioresp.recipes import Lock, LockLost, Semaphore, leases
from aioresp.recipes.gate import Gate
from aioresp.recipes.wake import Wake
from aioresp.testing import Proxy
from aioresp.testing.faults import Direction
from tests.rest import until

Make: TypeAlias = Callable[..., Lock | Semaphore]

#: Most seconds until what runs in the background has given it back.
PATIENCE = 5.0

#: Most seconds for what would take the whole of a lease of ten seconds, if it did not come at once.
SOON = 3.0


def lock(redis: Client[Any], name: str, **options: Any) -> Lock:
    return Lock(redis, name, **options)


def semaphore(redis: Client[Any], name: str, **options: Any) -> Semaphore:
    return Semaphore(redis, name, 1, **options)


KINDS: dict[str, Make] = {"lock": lock, "semaphore": semaphore}


async def key_of(r: Client[str], name: str) -> str | None:
    """Return the key that says that something is held, if there is one."""
    for key in (f"{{{name}}}:lock", f"{{{name}}}:semaphore"):
        if await r.exists(key):
            return key
    return None


async def is_free(r: Client[str], name: str) -> bool:
    """Return whether nobody holds it, at once or after what runs in the background has ended."""
    deadline = time.monotonic() + PATIENCE
    while await key_of(r, name) is not None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


# --- L1: two never hold it -------------------------------------------------------------------------------------------


async def two_never_hold_it(make: Make, clients: list[Client[str]], name: str, blocks: int = 60) -> None:
    """Blocks of several clients count at the server how many are inside."""
    most = ended = 0

    async def work(r: Client[str]) -> None:
        nonlocal most, ended
        for _ in range(blocks // len(clients) // 3):
            async with make(r, name):
                most = max(most, await r.incr(f"{name}:inside"))
                await r.decr(f"{name}:inside")
                ended += 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(r) for r in clients for _ in range(3)))
    assert most == 1, "two were inside"
    assert ended >= blocks // 2


async def the_release_of_a_former_holder_does_nothing(
    make: Make, r: Client[str], other: Client[str], name: str
) -> None:
    mine, theirs = make(r, name), make(other, name)
    await mine.acquire()
    key = await key_of(r, name)
    assert key is not None
    await r.delete(key)
    async with theirs:
        try:
            await mine.release()
        except LockLost:
            pass
        else:
            raise AssertionError("the loss was not told")
        assert await theirs.owned(), "the former holder gave it back"


async def a_former_holder_renews_nothing(make: Make, r: Client[str], other: Client[str], name: str) -> None:
    mine, theirs = make(r, name, ttl=0.9), make(other, name, ttl=10)
    held = await mine.acquire()
    key = await key_of(r, name)
    assert key is not None
    await r.delete(key)
    try:
        async with theirs:
            deadline = time.monotonic() + 2
            while not held.lost and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            assert held.lost, "it renewed what another holds"
            assert await theirs.owned()
    finally:
        with suppress(LockLost):
            await mine.release()


# --- L2: the token grows ---------------------------------------------------------------------------------------------


async def the_token_grows(r: Client[str], name: str, between: Callable[[int], Any], holders: int = 3) -> None:
    """`between` is awaited after each holder, with its number; it returns a token that was given out, or None."""
    last = 0
    for number in range(holders):
        async with Lock(r, name, ttl=5) as held:
            assert held.token > last, f"the token of holder {number} is not greater"
            last = held.token
        last = max(last, await between(number) or 0)


# --- L3: a loss is told ----------------------------------------------------------------------------------------------


async def a_deleted_one_is_told(make: Make, r: Client[str], name: str, ttl: float = 1.2) -> None:
    told, deleted = None, 0.0
    try:
        async with make(r, name, ttl=ttl):
            key = await key_of(r, name)
            assert key is not None
            deleted = time.monotonic()
            await r.delete(key)
            await asyncio.sleep(2 * ttl)
            raise AssertionError("the block went on")
    except LockLost as error:
        told = error
    assert told is not None, "no LockLost was raised"
    assert "another holder, or deleted" in told.reason
    assert time.monotonic() - deleted < 2 * ttl


async def a_holder_stops_before_another_begins(make: Make, r: Client[str], proxy: Proxy, name: str) -> None:
    """The network of the holder stands still: its block ends before the next one begins."""
    ended = 0.0

    async def hold(far: Client[str]) -> None:
        nonlocal ended
        try:
            async with make(far, name, ttl=0.8):
                await asyncio.sleep(0.4)  # at least one renewal
                proxy.stall()
                try:
                    await asyncio.sleep(10)
                finally:
                    ended = time.monotonic()
        except LockLost:
            pass
        else:
            raise AssertionError("no LockLost was raised")

    async with Client(proxy.url, timeout=1) as far:
        holding = asyncio.create_task(hold(far))
        while await key_of(r, name) is None:
            await asyncio.sleep(0.01)
        async with make(r, name, wait=20):
            begun = time.monotonic()
        await asyncio.wait_for(holding, 20)
        proxy.resume()
    assert ended < begun, f"two blocks at a time, for {ended - begun:.3f} s"


# --- L4: cancelled at any turn, nothing stays held -------------------------------------------------------------------


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def block(make: Make, r: Client[str], name: str) -> None:
    async with make(r, name, ttl=30):
        await asyncio.sleep(0)


async def cancelled_at_any_turn(make: Make, r: Client[str], name: str) -> None:
    """Cancel a block after every number of turns of the loop, until one ends before that."""
    ends = 0
    for k in itertools.count():
        key = f"{name}:{k}"
        task = asyncio.create_task(block(make, r, key))
        await turns(k)
        was_cancelled = task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert was_cancelled
        ends += not was_cancelled
        assert await is_free(r, key), f"cancelled after {k} turns, it stays held"
        if ends > 3:
            assert k > 5
            return
        assert k < 400


async def a_cancelled_waiter_lets_others_in(make: Make, r: Client[str], name: str) -> None:
    """Waiters of this loop are cancelled at every turn while it is given back; those behind them get it."""
    for k in range(40):
        key = f"{name}:{k}"
        holder = make(r, key, ttl=30)
        await holder.acquire()
        first, second = (asyncio.create_task(block(make, r, key)) for _ in range(2))
        await turns(k % 7)
        release = asyncio.create_task(holder.release())
        await turns(k)
        first.cancel()
        await asyncio.wait_for(asyncio.gather(release, second), SOON)
        await asyncio.wait([first])
        assert await is_free(r, key)


# --- L5: waiters get it at once, and in order ------------------------------------------------------------------------


async def a_waiter_gets_it_at_once(make: Make, r: Client[str], other: Client[str], name: str) -> float:
    """Return the seconds from the release to the next holder."""
    holder, waiter = make(r, name, ttl=30), make(other, name, ttl=30)
    await holder.acquire()
    waiting = asyncio.create_task(waiter.acquire())
    await until(lambda: waiting.done() or _awaits(waiting, Wake.wait, Gate.enter), 20)
    assert not waiting.done()
    since = time.monotonic()
    await holder.release()
    try:
        async with asyncio.timeout(SOON):
            await asyncio.shield(waiting)
    except TimeoutError:
        waiting.cancel()
        await asyncio.wait([waiting])
        raise AssertionError("the waiter was not told") from None
    took = time.monotonic() - since
    await waiter.release()
    return took


def _awaits(task: asyncio.Task[Any], *functions: Callable[..., Any]) -> bool:
    """Return whether a task is within a call of one of these coroutine functions."""
    codes = [function.__code__ for function in functions]
    step: Any = task.get_coro()
    while step is not None and getattr(step, "cr_code", None) not in codes:
        step = getattr(step, "cr_await", None)
    return step is not None


async def in_order(make: Make, r: Client[str], name: str, tasks: int = 12) -> None:
    order: list[int] = []

    async def work(number: int) -> None:
        async with make(r, name):
            order.append(number)
            await asyncio.sleep(0)

    holder = make(r, name)
    await holder.acquire()
    waiting = []
    for number in range(tasks):
        waiting.append(asyncio.create_task(work(number)))
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    await holder.release()
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting)
    assert order == list(range(tasks)), f"not in order: {order}"


# --- L6: a blocked loop keeps it -------------------------------------------------------------------------------------


async def a_blocked_loop_keeps_it(make: Make, r: Client[str], name: str, ttl: float = 0.8) -> None:
    try:
        async with make(r, name, ttl=ttl) as held:
            time.sleep(2.5 * ttl)
            assert not held.lost
            assert await key_of(r, name) is not None, "its lease has ended"
            await asyncio.sleep(0.05)
    except LockLost as error:
        raise AssertionError("it was lost") from error


async def no_longer_than_max_hold(make: Make, r: Client[str], name: str) -> None:
    since, told = time.monotonic(), None
    try:
        async with make(r, name, ttl=5, max_hold=0.4):
            await asyncio.sleep(2)
    except LockLost as error:
        told = error
    assert told is not None, "it was held longer"
    assert "as long as it may be" in told.reason
    assert 0.35 < time.monotonic() - since < 2
    assert await is_free(r, name), "it was not given back"


# --- Common laws -----------------------------------------------------------------------------------------------------


async def each_script_may_be_lost(make: Make, port: int, r: Client[str], name: str, step: int = 29) -> int:
    """Cut the connection after every so many bytes, in both directions: a block raises nothing and leaves nothing.

    Return the number of cuts.
    """
    async with Proxy("127.0.0.1", port) as proxy, Client(proxy.url, limit=1) as far:
        await block(make, far, name)
        up, down = proxy.bytes_up, proxy.bytes_down
        await block(make, far, name)
        up, down = proxy.bytes_up - up, proxy.bytes_down - down
        places: list[tuple[Direction, int]] = []
        places.extend(("up", after) for after in range(0, up, step))
        places.extend(("down", after) for after in range(0, down, 3))
        for direction, after in places:
            await block(make, far, name)  # the next one asks the server for no scripts
            cuts, key = proxy.cuts, f"{name}:{direction}:{after}"
            proxy.cut_after(after, direction)
            async with make(far, key, ttl=30) as held:
                assert not held.lost
            if proxy.cuts == cuts:
                proxy.heal()  # fewer bytes passed than before
            assert await is_free(r, key), f"{direction} {after}: it stays held"
        return proxy.cuts


async def no_key_without_an_end(r: Client[str], prefix: str) -> None:
    """Account for each key: none lives forever."""
    async for key in r.scan_iter(match=f"{{{prefix}*"):
        assert await r.pttl(key) > 0, f"{key} has no end"


@asynccontextmanager
async def renewed_in_the_loop() -> AsyncIterator[Callable[..., leases.Lease]]:
    """Yield a `keep` that renews in the loop of the holder, as other locks do."""
    tasks: set[asyncio.Task[None]] = set()

    def keep(renew: Callable[[], Any], ttl: float, **options: Any) -> leases.Lease:
        lease = leases.Lease(renew, ttl, options["since"], options["until"], options["on_lost"])

        async def run() -> None:
            while not lease.is_over:
                await asyncio.sleep(max(0.0, lease.due - time.monotonic()))
                await lease.renew()

        tasks.add(asyncio.create_task(run()))
        return lease

    yield keep
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
