"""Renewal of leases from a thread with an event loop of its own.

Owns the thread, one a process, and when each lease is renewed: a job that blocks its own loop keeps its lease. Never
knows what a lease is of.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from heapq import heappop, heappush
from typing import Final

log: Final = logging.getLogger("aioresp")

#: Parts of its time to live: after which a lease is renewed, after which a failed renewal is tried again, and that are
#: kept in reserve before the server lets another holder in.
_RENEW: Final = 1 / 3
_AGAIN: Final = 1 / 20
_MARGIN: Final = 1 / 10


class Lease:
    """One lease that the thread renews until `release()`, or until it is lost."""

    __slots__ = ("_loop", "_on_lost", "_renew", "confirmed", "due", "lost", "ttl", "until")

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
        self._on_lost = on_lost
        self.ttl = ttl
        self.until = until  # monotonic time at which renewal ends for good
        self.confirmed = since  # monotonic time at which the last successful renewal was sent
        self.due = since + ttl * _RENEW  # monotonic time of the next renewal
        self.lost = ""  # the reason, once it is lost

    @property
    def ends(self) -> float:
        """The monotonic time at which the holder must have stopped, unless a renewal comes before."""
        return self.confirmed + self.ttl * (1 - _MARGIN)

    @property
    def is_over(self) -> bool:
        """Whether it was released or lost."""
        return self._renew is None

    def release(self) -> None:
        """End the renewal. A renewal that is under way still ends, unheard."""
        self._renew = None

    async def renew(self) -> None:
        """Renew once, in the thread; set when it is due again."""
        renew, sent = self._renew, time.monotonic()
        if renew is None:
            return
        try:
            async with asyncio.timeout(self.ends - sent):
                held = await renew()
        except Exception as error:  # whatever it is: the lease may still be held, and is tried again while it lasts
            log.debug("a lease could not be renewed: %s", type(error).__name__)
            now = time.monotonic()
            self.due = min(now + self.ttl * _AGAIN, max(self.ends, now))
            if now >= self.ends:
                self.lose("the server has not answered in time")
            return
        if not held:
            self.lose("the server has given it to another holder, or deleted it")
            return
        self.confirmed = sent
        self.due = min(sent + self.ttl * _RENEW, max(self.until, sent))

    def lose(self, reason: str) -> None:
        """Tell the holder, in its own loop, that it has lost the lease."""
        if self.is_over:
            return
        self.release()
        self.lost = reason
        try:
            self._loop.call_soon_threadsafe(self._on_lost, reason, context=Context())
        except RuntimeError:
            pass  # the loop of the holder is closed


class _Thread:
    """The thread that renews, for the whole life of the process. It sleeps until a lease is due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: list[tuple[float, int, Lease]] = []  # a heap by due time; those released leave it at that time
        self._numbers = itertools.count()
        self._sleeps_until = 0.0  # monotonic time at which the thread looks by itself
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._is_started = False

    def add(self, lease: Lease) -> None:
        with self._lock:
            heappush(self._leases, (lease.due, next(self._numbers), lease))
            if not self._is_started:
                self._is_started = True
                run = threading.Thread(
                    target=Context().run, args=(asyncio.run, self._run()), name="aioresp-leases", daemon=True
                )
                run.start()
            elif self._loop is not None and lease.due < self._sleeps_until:
                self._loop.call_soon_threadsafe(self._wake.set, context=Context())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        renewing: set[asyncio.Task[None]] = set()
        while True:
            self._wake.clear()
            with self._lock:
                now = time.monotonic()
                due = []
                while self._leases and self._leases[0][0] <= now:
                    due.append(heappop(self._leases)[2])
                self._sleeps_until = self._leases[0][0] if self._leases else float("inf")
            for lease in due:
                if not lease.is_over:
                    task = asyncio.create_task(self._renew(lease))
                    renewing.add(task)
                    task.add_done_callback(renewing.discard, context=Context())
            try:
                async with asyncio.timeout(
                    None if not self._leases else max(0.0, self._sleeps_until - time.monotonic())
                ):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _renew(self, lease: Lease) -> None:
        if time.monotonic() >= lease.until:
            lease.lose("it was held as long as it may be")
            return
        await lease.renew()
        if not lease.is_over:
            self.add(lease)


_thread = _Thread()


def _forked() -> None:
    global _thread
    _thread = _Thread()  # the child has no such thread, and must not renew what its parent holds


os.register_at_fork(after_in_child=_forked)


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
    `on_lost` is called in the loop of the caller, once, with the reason: the server says so, `until` has come, or nine
    tenths of `ttl` have passed since the last renewal was sent.
    """
    lease = Lease(renew, ttl, since, until, on_lost)
    _thread.add(lease)
    return lease
