"""Renewal of leases from a thread with an event loop of its own.

Owns the thread, one a process, and when each lease is renewed: a job that blocks its own loop keeps its lease. Never
knows what a lease is of.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import Any, Final

from aioresp.errors import ClientClosed, ResponseError

log: Final = logging.getLogger("aioresp")

#: Parts of its time to live: after which a lease is renewed, that one attempt may take, after which a failed attempt is
#: repeated, and that are kept in reserve before the server lets another holder in.
_RENEW: Final = 1 / 3
_ATTEMPT: Final = 1 / 4
_AGAIN: Final = 1 / 20
_MARGIN: Final = 1 / 10

#: Seconds by which a renewal may come early, so that the thread wakes up once for many.
_TOGETHER: Final = 0.005

#: Entries of the heap beyond twice those of live leases, before the others are taken out.
_SLACK: Final = 64

_LATE: Final = "the server has not answered in time"
_FORKED: Final = "this process is a fork of its holder"

#: Seconds that actions under way have at the exit of the process.
_FAREWELL: Final = 1.0


class Lease:
    """One lease that the thread renews until `release()`, or until it is lost."""

    __slots__ = ("_loop", "_on_lost", "_refusal", "_renew", "confirmed", "due", "lost", "ttl", "until")

    def __init__(
        self,
        renew: Callable[[], Awaitable[bool]],
        ttl: float,
        since: float,
        until: float,
        on_lost: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._renew: Callable[[], Awaitable[bool]] | None = renew
        self._on_lost: Callable[[str], None] | None = on_lost
        self._refusal = ""  # what the server has answered since the last renewal, if it refuses
        self.ttl = ttl
        self.until = until  # monotonic time at which renewal ends for good
        self.confirmed = since  # monotonic time at which the last successful renewal was sent
        self.due = min(since + ttl * _RENEW, until)  # monotonic time of the next renewal
        self.lost = ""  # the reason, once it is lost

    @property
    def ends(self) -> float:
        """The monotonic time at which the holder must have stopped, unless a renewal comes before."""
        return self.confirmed + self.ttl * (1 - _MARGIN)

    @property
    def is_over(self) -> bool:
        """Whether it was released or lost."""
        return self._renew is None

    @property
    def is_inherited(self) -> bool:
        """Whether the holder is the parent of this process."""
        return self.lost is _FORKED

    def release(self) -> None:
        """End the renewal; `on_lost` is not called any more. A renewal that is under way still ends, unheard."""
        self._renew = self._on_lost = None  # what they refer to must not live until the lease is due

    async def renew(self) -> None:
        """Renew once, in the thread; set when it is due again."""
        renew, sent = self._renew, time.monotonic()
        if renew is None:
            return
        if sent >= self.until - _TOGETHER:
            self.lose("it was held as long as it may be")
            return
        if self._loop.is_closed():
            self.lose("the event loop of its holder is closed")
            return
        if sent >= self.ends:  # the process was stopped, or its machine slept
            self.lose(self._refusal or _LATE)
            return
        try:
            async with asyncio.timeout(min(self.ends - sent, self.ttl * _ATTEMPT)):
                held = await renew()
        except ClientClosed:
            self.lose("the client was closed")
            return
        except Exception as error:  # whatever it is: the lease may still be held, and is tried again while it lasts
            log.debug("a lease could not be renewed: %s", type(error).__name__)
            now = time.monotonic()
            self.due = min(now + self.ttl * _AGAIN, max(self.ends, now))
            if isinstance(error, ResponseError):
                self._refusal = f"the server refuses to renew it: {type(error).__name__}"
            if now >= self.ends:
                self.lose(self._refusal or _LATE)
            return
        if not held:
            self.lose("the server has given it to another holder, or deleted it")
            return
        self.confirmed, self._refusal = sent, ""
        self.due = min(sent + self.ttl * _RENEW, max(self.until, sent))

    def lose(self, reason: str) -> None:
        """Tell the holder, in its own loop, that it has lost the lease."""
        if self._renew is None:
            return
        self._renew = None
        self.lost = reason
        try:
            self._loop.call_soon_threadsafe(self._tell, reason, context=Context())
        except RuntimeError:
            self._on_lost = None  # the loop of the holder is closed

    def inherit(self) -> None:
        """Be lost in a forked child: the parent is the holder."""
        self.release()
        self.lost = _FORKED

    def _tell(self, reason: str) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:  # else it was released meanwhile
            on_lost(reason)


class _Thread:
    """The thread that renews, for the whole life of the process. It sleeps until a lease is due."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # the garbage collector may give a lease back in the middle of add()
        self._leases: list[tuple[float, int, Lease]] = []  # a heap by due time; some in it are over
        self._crowded = _SLACK  # number of entries at which those of leases that are over leave the heap
        self._numbers = itertools.count()
        self._sleeps_until = 0.0  # monotonic time at which the thread looks by itself
        self._actions: list[Callable[[], Awaitable[object]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._renewing: set[Lease] = set()
        self._thread: threading.Thread | None = None
        self._stops = False  # set at the exit of the process

    def add(self, lease: Lease) -> None:
        with self.lock:
            if len(self._leases) >= self._crowded:
                self._leases = [entry for entry in self._leases if not entry[2].is_over]
                heapify(self._leases)
                self._crowded = 2 * len(self._leases) + _SLACK
            heappush(self._leases, (lease.due, next(self._numbers), lease))
            if lease.due < self._sleeps_until:
                self._sleeps_until = lease.due
                self._rouse()
            elif self._thread is None:
                self._start()

    def call(self, action: Callable[[], Awaitable[object]]) -> None:
        with self.lock:
            self._actions.append(action)
            if self._thread is None:
                self._start()
            self._rouse()

    def _start(self) -> None:
        thread = threading.Thread(target=Context().run, args=(self._main,), name="aioresp-leases", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except BaseException:  # RuntimeError at the limit of threads, or at the exit of the process
            self._thread = None
            raise

    def _rouse(self) -> None:
        if self._loop is not None:  # else the thread has still to look
            self._loop.call_soon_threadsafe(self._wake.set, context=Context())

    def stop(self) -> None:
        """End the thread at the exit of the process, so that it closes its connections."""
        with self.lock:
            thread, self._stops = self._thread, True
            self._rouse()
        if thread is not None:
            thread.join(2 * _FAREWELL)

    def inherit(self) -> None:
        """Lose all leases, in a forked child."""
        for lease in [*(entry[2] for entry in self._leases), *self._renewing]:
            lease.inherit()

    def _main(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._run())
            loop.run_until_complete(loop.shutdown_asyncgens())  # closes the connections
        finally:
            with self.lock:
                self._loop, self._sleeps_until = None, 0.0
                if not self._stops:
                    self._thread = None  # it has failed: the next lease starts another
            loop.close()

    async def _run(self) -> None:
        renewals: set[asyncio.Task[None]] = set()
        actions: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        with self.lock:
            self._loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            due, sleeps_until = self._look()
            for lease in due:
                _begin(self._renew(lease), renewals)
            while self._actions:
                _begin(_act(self._actions.pop(0)), actions)
            if self._stops:
                break
            try:
                async with asyncio.timeout(max(0.0, sleeps_until - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                pass
        if actions:
            await asyncio.wait(actions, timeout=_FAREWELL)
        left = [*renewals, *actions]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _look(self) -> tuple[list[Lease], float]:
        """Return the leases that are due, and the time until which there is nothing to do."""
        due = []
        with self.lock:
            leases, now = self._leases, time.monotonic() + _TOGETHER
            # Others that are over stay: without them the next lease would wake the thread, and each one after it.
            while leases and leases[0][0] <= now:
                lease = heappop(leases)[2]
                if not lease.is_over:
                    due.append(lease)
                    self._renewing.add(lease)
            self._sleeps_until = leases[0][0] if leases else float("inf")
            return due, self._sleeps_until

    async def _renew(self, lease: Lease) -> None:
        try:
            await lease.renew()
        finally:
            self._renewing.discard(lease)
        if not lease.is_over:
            self.add(lease)


def _begin(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard, context=Context())


async def _act(action: Callable[[], Awaitable[object]]) -> None:
    try:
        await action()
    except Exception as error:
        log.warning("a lease could not be given back, and ends by itself: %s", type(error).__name__)


_thread = _Thread()
_inherited: Final[list[_Thread]] = []  # of the parents of a forked child: their loops must not be finalized


def _before_fork() -> None:
    _thread.lock.acquire()


def _in_parent() -> None:
    _thread.lock.release()


def _in_child() -> None:
    global _thread
    _thread.inherit()
    _inherited.append(_thread)
    _thread = _Thread()  # the child has no such thread, and must not renew what its parent holds


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
atexit.register(lambda: _thread.stop())


def keep(
    renew: Callable[[], Awaitable[bool]],
    ttl: float,
    *,
    since: float,
    on_lost: Callable[[str], None],
    until: float = float("inf"),
) -> Lease:
    """Renew a lease of `ttl` seconds at a third of that time, until it is released or lost.

    `renew` runs in the thread's loop: True if the lease is still held, False if it is not; after an exception it is
    called again. `since` is the monotonic time before the lease was asked for, `until` the one at which renewal ends.
    `on_lost` is called in the loop of the caller, once, with the reason: the server says so, `until` has come, the
    client was closed, or nine tenths of `ttl` have passed since the last renewal was sent. It is never called after
    `release()`. Raises RuntimeError if no thread can be started.
    """
    lease = Lease(renew, ttl, since, until, on_lost)
    try:
        _thread.add(lease)
    except BaseException:
        lease.release()  # a thread that starts later must not renew it
        raise
    return lease


def later(action: Callable[[], Awaitable[object]]) -> None:
    """Run `action` once in the thread's loop: for callers whose own loop can wait for nothing more."""
    _thread.call(action)
