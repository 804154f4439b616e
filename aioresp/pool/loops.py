"""One pool for each running event loop, found by the loop.

Owns the map from loops to pools. A pool is made at the first use in a loop, and closed when the loop shuts down or the
client is collected. It is forgotten when the loop is gone. A forked child begins without pools. Never knows what the
pools hold.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import sys
import threading
import warnings
import weakref
from asyncio import _get_running_loop
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar, cast

from aioresp.errors import ClientClosed
from aioresp.pool.resource import PoolStats
from aioresp.typed import Generic

#: Seconds in which the loops of other threads must close their pools.
FAREWELL: Final = 5.0

#: Seconds of a timer that never fires: more than the life of any process, and no more than loops accept.
NEVER: Final = 1e9


if TYPE_CHECKING:  # protocols take time to import

    class _Threaded(Protocol):
        """An event loop of asyncio's own, with the thread in which it runs; None while it does not run."""

        _thread_id: int | None

    class Closable(Protocol):
        """A pool or a hub, as far as this module knows it."""

        @property
        def busy(self) -> bool:
            """Whether something would be lost if its loop never ran again."""
            ...

        def notify(self, on_end: Callable[[], None]) -> None:
            """Call `on_end` once, when all connections are closed."""

        def shut(self, grace: float = 0.0) -> None:
            """Begin to close all connections, in its own loop; `on_end` follows. A second call does nothing."""

        def aclose(self, grace: float = 0.0) -> Coroutine[Any, Any, None]:
            """Do as `shut`, and wait for the end."""
            ...

        def abandon(self) -> None:
            """End without the loop, which may never run again, and report what is lost."""
            ...

        def stats(self) -> PoolStats:
            """Return its figures."""
            ...


P = TypeVar("P", bound="Closable")

#: Pools of the running loop that have begun to close, and the ends of those in others.
Begun: TypeAlias = "tuple[list[P], list[asyncio.Future[None]]]"


class _Nowhere:
    """A loop that runs in no thread."""

    def __init__(self) -> None:
        self._thread_id: int | None = None


_NOWHERE: Final = _Nowhere()

_all: weakref.WeakSet[PerLoop[Any]] = weakref.WeakSet()
_keepers: weakref.WeakSet[_Keeper[Any]] = weakref.WeakSet()


class PerLoop(Generic[P]):
    """The pools of one client, one for each event loop it was used in.

    A running loop adds and removes its own entry; entries of closed loops are removed by any caller that finds them.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], P]) -> None:
        self.pools: dict[asyncio.AbstractEventLoop, P] = {}
        #: Function that returns the pool of a loop; None for a loop without one, or for no loop.
        self.find: Callable[[asyncio.AbstractEventLoop | None], P | None] = cast(Any, self.pools.get)
        #: One of the loops, and its pool. While its `_thread_id` is `get_ident()`, it is the running loop. That look
        #: takes a sixth of the time of `_get_running_loop()`, which asks the kernel each time on Python 3.11.
        self.recent: tuple[_Threaded, P] = (_NOWHERE, cast(P, None))
        #: Pools that were replaced, with their loops, until they have ended.
        self._replaced: list[tuple[asyncio.AbstractEventLoop, P]] = []
        #: Set when the client is closed, cleared when the client is entered again.
        self.closed = False
        self._make = make
        self._past = PoolStats()
        self._lock = threading.Lock()
        self._inherited: list[object] = []
        _all.add(self)

    def here(self) -> P:
        """Return the running loop's pool; make it if there is none. Raises ClientClosed."""
        loop, pool = self.recent
        if loop._thread_id == get_ident():
            return pool
        return self.find(_get_running_loop()) or self._add(running_loop())

    def _add(self, loop: asyncio.AbstractEventLoop) -> P:
        self._sweep()
        pool = self._make(loop)
        self.pools[loop] = pool
        if self.closed:  # asked only now: another thread may close it, and has looked at the pools before
            self.forget(loop)
            raise ClientClosed("the client was closed; enter it again with `async with` to reopen it")
        self._choose_recent()
        _Keeper(weakref.ref(self), loop, pool)  # only the loop keeps it
        return pool

    def forget(self, loop: asyncio.AbstractEventLoop) -> P | None:
        """Let the next use in `loop` begin with a new pool; return the old one, to one caller only."""
        gone = self.pools.pop(loop, None)
        if gone is not None and self.recent[1] is gone:
            self._choose_recent()
        return gone

    def _choose_recent(self) -> None:
        """Let `recent` be the newest loop that tells its thread: uvloop's do not."""
        for loop, pool in reversed(list(self.pools.items())):
            if isinstance(loop, asyncio.BaseEventLoop):
                self.recent = cast("_Threaded", loop), pool
                if self.pools.get(loop) is pool:
                    return
                self._choose_recent()  # another thread has just made it forget this one
                return
        self.recent = (_NOWHERE, cast(P, None))

    def replace(self, leave: Callable[[P], object], *, everywhere: bool = True) -> None:
        """Let the next use in each loop begin with a new pool; `leave` is called with each old one, in its loop.

        Without `everywhere` that is done in the running loop alone.
        """
        here = running_loop()
        for loop in list(self.pools):
            if loop is not here and not everywhere:
                continue
            if (pool := self.forget(loop)) is None:
                continue  # it has ended meanwhile, in its own thread
            with self._lock:
                self._replaced.append((loop, pool))
            if loop is here:
                leave(pool)
            else:
                try:
                    loop.call_soon_threadsafe(leave, pool, context=Context())
                except RuntimeError:  # it is closed
                    self._give_up(pool)

    def tell(self, act: Callable[[P], object]) -> None:
        """Call `act` with each pool, in its loop."""
        here = running_loop()
        for loop, pool in list(self.pools.items()):
            if loop is here:
                act(pool)
            else:
                with suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(act, pool, context=Context())

    def _sweep(self) -> None:
        """Forget the pools of loops that were closed without shutting down their asynchronous generators."""
        # Other threads may do the same at this moment: each pool goes to one of them.
        for loop in list(self.pools):
            if loop.is_closed() and (pool := self.forget(loop)) is not None:
                self._give_up(pool)
        with self._lock:
            gone = [pool for loop, pool in self._replaced if loop.is_closed()]
            self._replaced = [entry for entry in self._replaced if not entry[0].is_closed()]
        for pool in gone:
            self._give_up(pool)

    def _give_up(self, pool: P) -> None:
        """End a pool whose loop is closed."""
        pool.abandon()
        self.keep_figures(pool)

    def keep_figures(self, pool: P) -> None:
        """Keep the figures of a pool that has closed."""
        stats = pool.stats()
        with self._lock:  # loops in other threads may end at the same time
            self._replaced = [entry for entry in self._replaced if entry[1] is not pool]
            self._past += PoolStats(
                made=stats.made,
                commands=stats.commands,
                bytes_sent=stats.bytes_sent,
                bytes_received=stats.bytes_received,
            )

    def shut(self, grace: float, *, here: bool = False) -> Begun[P]:
        """Begin to close the pools of all loops, each in its own; the pool of a loop that does not run is abandoned.

        Replies under way have `grace` seconds to arrive. Returns the argument of `ended`. With `here` only the pools of
        the running loop are closed, and the next use in it makes another one.
        """
        running = running_loop()
        self.closed = self.closed or not here
        self._sweep()
        mine: list[P] = []
        others: list[asyncio.Future[None]] = []
        for loop, pool in [*self.pools.items(), *self._replaced]:
            if here and loop is not running:
                continue
            self.forget(loop)
            if loop is running:
                mine.append(pool)
                pool.shut(grace)
            elif (closing := _close_in(loop, pool, grace)) is not None:
                others.append(asyncio.wrap_future(closing))
            else:
                pool.abandon()
        return mine, others

    async def ended(self, begun: Begun[P]) -> None:
        """Wait until what `shut` began has come to its end."""
        mine, others = begun
        for pool in mine:
            await pool.aclose()
        if others:
            # A loop may stop before its pool is closed: then the future is never done.
            await asyncio.wait(others, timeout=FAREWELL)

    def stats(self) -> tuple[PoolStats, dict[asyncio.AbstractEventLoop, PoolStats]]:
        """Return the sum since the start, with past loops, and the figures of each loop in use."""
        figures = {loop: pool.stats() for loop, pool in list(self.pools.items())}
        for loop, pool in list(self._replaced):
            figures[loop] = figures.get(loop, PoolStats()) + pool.stats()
        return sum(figures.values(), self._past), figures

    def after_fork(self) -> None:
        """Start afresh in a child: the sockets belong to the parent."""
        # They are kept and not closed: finalizers would act on the parent's selector and sockets.
        self._inherited.append((dict(self.pools), self._replaced))
        self.pools.clear()
        self.recent = (_NOWHERE, cast(P, None))
        self._replaced = []
        self._past = PoolStats()
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if not hasattr(self, "_inherited"):
            return  # its constructor failed
        pools = [*self.pools.items(), *self._replaced]
        still_open = sum(pool.stats().open for _, pool in pools)
        if still_open:
            warnings.warn(
                f"unclosed client with {still_open} open connections: use `async with` or await `aclose()`",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        for loop, pool in pools:
            try:
                # The loop may be about to end: then its guard waits for the end of the pool.
                loop.call_soon_threadsafe(pool.shut)
            except RuntimeError:  # it is closed
                pool.abandon()


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running loop. Raises RuntimeError where there is none, which on trio says what to run instead."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        # A program that has not imported trio does not run on it.
        trio = sys.modules.get("trio")
        if trio is None or not trio.lowlevel.in_trio_run():
            raise
    raise RuntimeError(
        "aioresp runs on asyncio only, and this is trio: anyio's asyncio backend works, "
        'as in anyio.run(main, backend="asyncio")'
    )


class _Keeper(Generic[P]):
    """Keeper of a pool for as long as its loop may run, even after its client is collected.

    Only the loop refers to the keeper, by a timer that never fires. `loop.close()` drops the timers, and so the keeper:
    that is how it notices a loop that was closed without shutting down.
    """

    __slots__ = ("__weakref__", "_guard", "_loop", "_owner", "_pool", "_timer", "over")

    def __init__(self, owner: weakref.ref[PerLoop[P]], loop: asyncio.AbstractEventLoop, pool: P) -> None:
        self.over = False
        self._owner = owner
        self._loop = loop
        self._pool = pool
        self._guard = _guard(owner, loop, pool)
        _step(self._guard.__anext__())  # the first step does not suspend, so no loop is needed for it
        # An empty context, because the timer would keep the caller's for as long as the loop.
        self._timer = weakref.ref(loop.call_later(NEVER, _keep, self, context=Context()))
        pool.notify(partial(_end, weakref.ref(self)))
        _keepers.add(self)

    def end(self) -> None:
        """End, as the pool has closed."""
        self.over = True
        owner = self._owner()
        if owner is not None:
            owner.keep_figures(self._pool)
        timer = self._timer()
        if timer is not None:
            timer.cancel()
        try:
            _step(self._guard.aclose())
        except RuntimeError:
            pass  # the generator is running: the loop shuts down

    def hurry(self) -> concurrent.futures.Future[None] | None:
        """Begin to close the pool at the exit of the process, if something would be lost and its loop still runs."""
        return None if self.over or not self._pool.busy else _close_in(self._loop, self._pool, 0.0)

    def abandon(self) -> None:
        """Abandon the pool, unless its loop still runs and nothing would be lost."""
        if not self.over and (self._pool.busy or not self._loop.is_running()):
            self.over = True
            self._pool.abandon()

    def __del__(self) -> None:
        if not getattr(self, "over", True):  # there is none if its constructor failed
            self._pool.abandon()


def _keep(keeper: _Keeper[Any]) -> None:
    """Do nothing: the timer is there to hold its argument."""


def _end(keeper: weakref.ref[_Keeper[Any]]) -> None:
    found = keeper()
    if found is not None and not found.over:
        found.end()


async def _guard(
    owner: weakref.ref[PerLoop[P]], loop: asyncio.AbstractEventLoop, pool: P
) -> AsyncGenerator[None, None]:
    """Close `pool` when its loop shuts down.

    It is an asynchronous generator because `asyncio.run()` closes these by `loop.shutdown_asyncgens()`, while the loop
    still runs.
    """
    try:
        yield
    finally:
        loops = owner()
        if loops is not None and loops.pools.get(loop) is pool:
            loops.forget(loop)
        if loop.is_running():
            await pool.aclose()
        else:  # collected: a patched loop (nest_asyncio) knows no asynchronous generators, and shuts none down
            pool.abandon()


def _step(step: Awaitable[None]) -> None:
    """Run an awaitable that does not suspend."""
    try:
        step.__await__().__next__()
    except (StopIteration, StopAsyncIteration):
        pass


def _close_in(loop: asyncio.AbstractEventLoop, pool: Closable, grace: float) -> concurrent.futures.Future[None] | None:
    """Close a pool in its loop, which runs in another thread; return None if the loop does not run."""
    if not loop.is_running():
        return None
    closing = pool.aclose(grace)
    try:
        return Context().run(asyncio.run_coroutine_threadsafe, closing, loop)
    except RuntimeError:  # it was closed just now
        closing.close()
        return None


def _after_fork() -> None:
    for keeper in list(_keepers):
        keeper.over = True  # the end of a child loses nothing of its parent
    for loops in list(_all):
        loops.after_fork()


def _at_exit() -> None:
    """Close busy pools whose loops still run in daemon threads; abandon those whose loops have stopped."""
    closings = [closing for keeper in list(_keepers) if (closing := keeper.hurry()) is not None]
    concurrent.futures.wait(closings, FAREWELL)
    for keeper in list(_keepers):
        keeper.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
