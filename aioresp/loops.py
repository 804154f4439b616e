"""One pool for each running event loop, found by the loop.

Owns the map from loops to pools: makes a pool at the first use in a loop, closes it when the loop shuts down, forgets
it when the loop is gone, and starts afresh in a forked child. Knows nothing of what the pools hold.
"""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast

from aioresp.errors import ClientClosed
from aioresp.resource import PoolStats

#: Seconds that the loops of other threads have to close their pools, beyond the grace for replies under way.
FAREWELL: Final = 4.0


if TYPE_CHECKING:  # protocols take time to import

    class _Threaded(Protocol):
        """An event loop of asyncio's own: it knows in which thread it runs, None while it does not."""

        _thread_id: int | None

    class Closable(Protocol):
        """What must be known of a pool here."""

        async def aclose(self, grace: float = 0.0) -> None:
            """Close everything it holds, in its own loop; a second time does nothing."""

        def abandon(self) -> None:
            """Say what is lost, as its loop will not run any more."""
            ...

        def stats(self) -> PoolStats:
            """Return its figures."""
            ...


P = TypeVar("P", bound="Closable")

_all: weakref.WeakSet[Loops[Any]] = weakref.WeakSet()


class Loops(Generic[P]):
    """The pools of one client, one for each event loop it was used in.

    Only a running loop adds or removes its own entry, or whoever finds it closed.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], P]) -> None:
        self.pools: dict[asyncio.AbstractEventLoop, P] = {}
        self._by_thread: dict[int, tuple[_Threaded, P]] = {}
        self.closed = False
        self._make = make
        self._guards: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}
        self._past = PoolStats()
        self._lock = threading.Lock()
        self._inherited: list[object] = []
        _all.add(self)

    def pool(self) -> P:
        """Return the running loop's pool; make it if there is none. Raises ClientClosed."""
        # get_running_loop() of Python 3.11 asks the kernel for the process's number each time: a tenth of a whole
        # command. A loop that says it runs in this thread is the running one, as a thread runs one loop at a time.
        thread = get_ident()
        known = self._by_thread.get(thread)
        if known is not None and known[0]._thread_id == thread:
            return known[1]
        return self._find()

    def _find(self) -> P:
        loop = asyncio.get_running_loop()
        pool = self.pools.get(loop) or self._add(loop)
        if isinstance(loop, asyncio.BaseEventLoop):  # not uvloop's: it does not say where it runs
            self._by_thread[get_ident()] = cast("_Threaded", loop), pool
        return pool

    def _add(self, loop: asyncio.AbstractEventLoop) -> P:
        if self.closed:
            raise ClientClosed("the client was closed; enter it again with `async with` to reopen it")
        self._sweep()
        pool = self._make(loop)
        self.pools[loop] = pool
        guard = _guard(weakref.ref(self), loop, pool)
        try:
            guard.__anext__().send(None)  # its first step never suspends, so it can be taken by hand
        except StopIteration:
            self._guards[loop] = guard
        return pool

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the next use in `loop` begin with a new pool."""
        gone = self.pools.pop(loop, None)
        for thread, (_, pool) in list(self._by_thread.items()):
            if pool is gone:
                self._by_thread.pop(thread, None)
        self._guards.pop(loop, None)

    def _sweep(self) -> None:
        """Forget the pools of loops that were closed without shutting down their asynchronous generators."""
        for loop in list(self.pools):
            if loop.is_closed():
                self.pools[loop].abandon()
                self.forget(loop)

    async def close(self, pool: P, grace: float = 0.0) -> None:
        """Close a pool that was forgotten, and keep its figures."""
        try:
            await pool.aclose(grace)
        finally:
            stats = pool.stats()
            with self._lock:  # loops in other threads may end at the same time
                self._past += PoolStats(
                    made=stats.made,
                    commands=stats.commands,
                    bytes_sent=stats.bytes_sent,
                    bytes_received=stats.bytes_received,
                )

    async def aclose(self, grace: float) -> None:
        """Close the pools of all loops, each in its own loop; a loop that is not running just loses its pool.

        Replies under way have `grace` seconds to arrive.
        """
        self.closed = True
        here = asyncio.get_running_loop()
        mine: P | None = None
        others: list[asyncio.Future[None]] = []
        guard = self._guards.get(here)
        for loop, pool in list(self.pools.items()):
            self.forget(loop)
            if loop is here:
                mine = pool
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(self.close(pool, grace), loop)
                others.append(asyncio.wrap_future(closing))
            else:
                pool.abandon()
        try:
            if mine is not None:
                await self.close(mine, grace)
            if others:
                # A loop may stop before it gets to it: then there is nobody left to wait for.
                await asyncio.wait(others, timeout=grace + FAREWELL)
        finally:
            if guard is not None:
                await guard.aclose()

    def stats(self) -> tuple[PoolStats, dict[asyncio.AbstractEventLoop, PoolStats]]:
        """Return the sum since the start, past loops included, and the figures of each loop in use."""
        figures = {loop: pool.stats() for loop, pool in list(self.pools.items())}
        return sum(figures.values(), self._past), figures

    def after_fork(self) -> None:
        """Start afresh in a child: the sockets belong to the parent."""
        # Kept, not closed: finalizers would talk to the parent's selector and servers.
        self._inherited += [dict(self.pools), dict(self._guards)]
        self.pools.clear()
        self._by_thread.clear()
        self._guards.clear()
        self._past = PoolStats()
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if not hasattr(self, "pools"):
            return  # its constructor failed
        still_open = sum(pool.stats().open for pool in self.pools.values())
        if still_open:
            warnings.warn(
                f"unclosed client with {still_open} open connections: use `async with` or await `aclose()`",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        for loop, pool in self.pools.items():
            if loop.is_closed():
                pool.abandon()


async def _guard(owner: weakref.ref[Loops[P]], loop: asyncio.AbstractEventLoop, pool: P) -> AsyncGenerator[None, None]:
    """Close `pool` when its loop shuts down or its client is collected.

    An asynchronous generator that still waits is closed by `loop.shutdown_asyncgens()`, which `asyncio.run()` calls
    while the loop can still say good-bye to servers, and by the loop when nobody refers to it any more.
    """
    try:
        yield
    finally:
        loops = owner()
        if loops is None:
            await pool.aclose()
        elif loops.pools.get(loop) is pool:
            loops.forget(loop)
            await loops.close(pool)


def _after_fork() -> None:
    for loops in list(_all):
        loops.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
