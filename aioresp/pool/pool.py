"""The pool of one event loop: share, grow, lease, retire, prune, drain.

Owns which resources are open and who may use which. Generic: it knows resources by `in_flight`, `capacity` and
`close()` and never what travels on them. Every decision is a synchronous function, and nothing is awaited between
reading the state and changing it; so there is no lock, and a cancellation finds nothing half done.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, cast

from aioresp.errors import ClientClosed, ConnectError, ConnectTimeout, PoolTimeout
from aioresp.pool.closing import Closing
from aioresp.pool.queue import CLOCK, WaitQueue, forsake
from aioresp.pool.resource import NOBODY, Holder, PoolStats, R

if TYPE_CHECKING:
    from aioresp.pool.resource import Work

logger = logging.getLogger("aioresp")

#: Seconds until the pool tries to grow again after a failure, while it has other connections to work with.
GROWTH_PAUSE: Final = 1.0

#: Seconds of idling after which a resource is asked whether it is still there before it is used again.
REST_AFTER: Final = 15.0


class Pool(Generic[R]):
    """Resources of one event loop: made lazily by `connect`, at most `limit` of them, kept until idle too long."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[R]],
        *,
        limit: int,
        concurrency: int,
        idle_timeout: float | None,
        loop: asyncio.AbstractEventLoop,
        restore: Callable[[R], Coroutine[Any, Any, None]] | None = None,
        patience: Callable[[BaseException, int], float | None] = lambda error, failures: None,
        sever: Callable[[R], None] = lambda resource: None,
    ) -> None:
        """Make an empty pool.

        `sever` ends a resource without its loop, which may be closed.
        `patience` tells, after an error and so many failures in a row to open a first resource, how many seconds to
        wait before the next attempt; with None those who wait get the error.
        """
        self.limit = limit
        self.made = 0
        self._connect = connect
        self._restore = restore
        self._sever = sever
        self._concurrency = concurrency
        self._idle_timeout = idle_timeout
        self._loop = loop
        self._closing = Closing(self, loop)
        #: The resource that the hot path tries first, before it calls `share`.
        self.current: R = cast("R", NOBODY)
        self._shared: list[R] = []
        self._leased: dict[R, Holder] = {}
        self._draining: list[R] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._restoring: set[asyncio.Task[None]] = set()
        self._waiting: WaitQueue[R] = WaitQueue(loop, self._too_late)
        self._lease_waiting: WaitQueue[R] = WaitQueue(loop, self._too_late)
        self._patience = patience
        self._failures = 0
        self._failure: BaseException | None = None
        self._newest: tuple[object, int] = (None, 0)  # and how much it had carried when it was made
        self._stillborn = 0  # new ones in a row that ended before they carried anything
        self._grow_after = 0.0
        self._past_usage = (0, 0, 0)
        self._idle_since: dict[R, tuple[int, float]] = {}
        self._prune_timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        s = self.stats()
        more = f", {len(self._opening)} opening" if self._opening else ""
        more += f", {s.waiting} waiting" if s.waiting else ""
        return f"Pool({s.open} open, {s.leased} leased, {s.in_flight} in flight{more}, limit {self.limit})"

    # --- Sharing -----------------------------------------------------------------------------------------------------

    def share(self) -> R | None:
        """Return a resource with room for one more command, or None: then the caller has to `wait`."""
        resource = self.current
        if resource.in_flight < resource.capacity:
            return resource
        if self._waiting:
            return None  # whoever came before would have taken what there is
        return self._choose()

    def _choose(self) -> R | None:
        for resource in self._shared:
            if resource.in_flight < resource.capacity:
                self.current = resource
                return resource
        if self._wake():
            return None
        self._grow()
        if not self._opening or self._concurrency == 1:
            return None
        # Another one is on its way: until it is there, a fuller connection is better than a wait.
        least = min((r for r in self._shared if r.capacity), key=lambda r: r.in_flight, default=None)
        if least is not None:
            least.capacity += self._concurrency
            self.current = least
        return least

    def _wake(self) -> bool:
        """Wake one that rests, if there is any: whether it works is known soon, and it saves making another."""
        for resource in self._shared:
            if resource.resting:
                resource.wake()
                return True
        return False

    def wait(self, future: asyncio.Future[Any], start: Callable[[R], None], deadline: float | None) -> None:
        """Stand in line until `start` can be called with a resource that has room.

        A `future` that is done by then has left the line. At `deadline` (loop time) it gets `PoolTimeout`.
        """
        self._enqueue(self._waiting, future, start, deadline)

    def _enqueue(
        self,
        line: WaitQueue[R],
        future: asyncio.Future[Any],
        start: Callable[[R], None],
        deadline: float | None,
    ) -> None:
        if self._closing.begun and (line is self._lease_waiting or self._closing.stopped):
            raise ClientClosed("the client was closed")
        first = not line
        if not self._waiting and not self._lease_waiting and not self._open:
            self._failures, self._grow_after = 0, 0.0  # nobody was left who waited for the next attempt
        line.enter(future, start, deadline)
        if first:
            self._dispatch()
        elif self._concurrency == 1 or line is self._lease_waiting:
            self._grow()  # who stands behind others finds no room, but may be the reason to make some

    def _too_late(self) -> Callable[[float], Exception]:
        state = self.describe()

        def error(waited: float) -> Exception:
            if self._open:
                return PoolTimeout(f"no connection became free in {waited:.3g} s: {state}")
            late = ConnectTimeout(f"no connection in {waited:.3g} s: {self._failure or state}")
            late.__cause__ = self._failure
            return late

        return error

    def _dispatch(self) -> None:
        """Serve those who wait, as far as there is room. Called whenever there may be more of it."""
        while self._waiting.anyone():
            roomy = self._choose()
            if roomy is None:
                break
            self._waiting.serve(roomy)
            self._failures, self._failure, self._stillborn = 0, None, 0
        while self._lease_waiting.anyone():
            idle = self._lendable()
            if idle is None:
                break
            self._lease_waiting.serve(idle)
            self._failures, self._failure, self._stillborn = 0, None, 0
        if self._draining:
            for drained in [r for r in self._draining if r.in_flight == 0]:
                # Whoever it was drained for has gone: back to the others.
                self._draining.remove(drained)
                self._admit(drained)

    def _on_room(self) -> None:
        if self._closing.stopped:
            self._closing.look()
        elif self._waiting or self._lease_waiting or self._draining:
            self._dispatch()

    # --- Growing -----------------------------------------------------------------------------------------------------

    @property
    def _open(self) -> int:
        return len(self._shared) + len(self._leased) + len(self._draining)

    @property
    def _resources(self) -> list[R]:
        return [*self._shared, *self._leased, *self._draining]

    @property
    def _ceiling(self) -> int:
        """How many may be open: `limit`, but with a limit of 1 a lease has a second one beside the shared."""
        return max(2, self.limit) if self._leased or self._lease_waiting else self.limit

    def _grow(self) -> None:
        """Start to open what those who wait could use, but one at a time for the shared use and until one is open."""
        if self._closing.stopped or self._loop.time() + CLOCK < self._grow_after:
            return
        wanted = len(self._lease_waiting) + (len(self._waiting) if self._concurrency == 1 else 1)
        wanted = max(1, wanted) if self._open else 1
        while len(self._opening) < wanted and self._open + len(self._opening) < self._ceiling:
            task = self._loop.create_task(self._make(), name="aioresp: open a connection")
            self._opening.add(task)
            task.add_done_callback(self._opened)

    async def _make(self) -> None:
        resource = await self._connect()
        self.made += 1
        self._newest = (resource, resource.usage()[0])
        resource.attach(self._on_room, self._on_close)
        self._shared.append(resource)  # even if it died already: then on_close is not called any more, so look
        if not resource.viable:
            self._on_close(resource)
        elif self._prune_timer is None:
            self._schedule_prune()

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        for resource in self._shared:
            resource.capacity = min(resource.capacity, self._concurrency)  # it was raised until this one came
        error = ConnectError("the attempt to connect was cancelled") if task.cancelled() else task.exception()
        if self._closing.stopped:
            self._closing.look()
            return
        if error is not None:
            self._growth_failed(error)
        self._dispatch()

    def _growth_failed(self, error: BaseException) -> None:
        if self._shared:
            logger.warning("the pool could not grow: %s; it goes on with %r", error, self)
            self._grow_after = self._loop.time() + GROWTH_PAUSE
            self._loop.call_at(self._grow_after, self._dispatch)
            return
        self._failures += 1
        self._failure = error
        pause = self._patience(error, self._failures)
        if pause is None:
            self._failures = 0
            self._fail_waiting(error)
        else:
            logger.info("no connection: %s; the next attempt is in %.3g s", error, pause)
            self._grow_after = self._loop.time() + pause
            self._loop.call_at(self._grow_after, self._dispatch)

    def _fail_waiting(self, error: BaseException) -> None:
        self._waiting.fail(error)
        self._lease_waiting.fail(error)

    # --- Leasing -----------------------------------------------------------------------------------------------------

    async def lease(self, holder: str, deadline: float | None) -> R:
        """Return a resource for exclusive use; hand it to `give_back` or `discard` afterwards.

        Ordinary commands always keep one for themselves: at most `limit - 1` are leased. With `limit=1` a second
        resource is opened for the lease. Raises PoolTimeout at `deadline` (loop time).
        """
        if not (self._closing.begun or self._waiting or self._lease_waiting) and self._shared:
            idle = self._lendable()
            if idle is not None:
                self._lend(idle, holder)
                return idle
        future: asyncio.Future[R] = self._loop.create_future()

        def start(resource: R) -> None:
            self._lend(resource, holder)
            future.set_result(resource)

        self._enqueue(self._lease_waiting, future, start, deadline)
        try:
            return await future
        except BaseException:  # cancelled, or closed by hand
            if future.done() and not future.cancelled() and future.exception() is None and not self._loop.is_closed():
                self.give_back(future.result())
            forsake(future)
            raise

    def _lend(self, resource: R, holder: str) -> None:
        resource.lent = True
        self._leased[resource] = Holder(holder, self._loop.time())

    def _lendable(self) -> R | None:
        """Take an idle resource out of the shared ones, or see to it that there will be one."""
        for resource in self._draining:
            if resource.in_flight == 0:
                self._draining.remove(resource)
                return resource
        if len(self._leased) + len(self._draining) >= max(1, self.limit - 1):
            return None
        can_open = self._open < self._ceiling
        if len(self._shared) > 1 or (self._shared and can_open):
            for resource in self._shared:
                if resource.in_flight == 0 < resource.capacity:
                    self._withdraw(resource)
                    return resource
            if self._wake():
                return None
        if can_open:
            self._grow()
        elif len(self._shared) > 1 and len(self._draining) < len(self._lease_waiting):
            resource = min(self._shared, key=lambda r: r.in_flight)
            self._withdraw(resource)
            self._draining.append(resource)
        return None

    def _withdraw(self, resource: R) -> None:
        self._shared.remove(resource)
        if self.current is resource:
            self.current = cast("R", NOBODY)

    def give_back(self, resource: R, *, changed: bool = False) -> None:
        """End a lease: the resource is as it was and owes no reply; if `changed`, it will be made so first."""
        if changed and resource.viable and self._restore is not None and not self._closing.stopped:
            task = self._loop.create_task(self._restore(resource), name="aioresp: restore a connection")
            self._restoring.add(task)
            task.add_done_callback(partial(self._restored, resource))
        elif changed:
            resource.close()
        elif self._leased.pop(resource, None) is not None:
            self._admit(resource)

    def _restored(self, resource: R, task: asyncio.Task[None]) -> None:
        self._restoring.discard(task)
        if task.cancelled() or task.exception() is not None:
            resource.close()
            self._closing.look()
        else:
            self.give_back(resource)

    def discard(self, resource: R) -> None:
        """End a lease whose resource nobody else may use."""
        resource.close()

    def _admit(self, resource: R) -> None:
        resource.lent = False
        if self._closing.stopped or not resource.viable:
            resource.close()
        elif self._lease_waiting.anyone():
            self._lease_waiting.serve(resource)
        elif self._open >= self.limit:
            resource.close()  # the second resource of a pool with limit=1
        else:
            self._shared.append(resource)
        if self._waiting or self._lease_waiting or self._draining:
            self._dispatch()

    def hold(self, work: Work) -> None:
        """Let `work` come to its end before the pool closes, if that does not take long; `release` ends it."""
        self._closing.work.add(work)
        if self._closing.begun:
            self._loop.call_soon(work.recall)

    def release(self, work: Work) -> None:
        """Note that `work`, which was held, is done."""
        self._closing.work.discard(work)
        self._closing.look()

    # --- Retiring ----------------------------------------------------------------------------------------------------

    def _on_close(self, resource: R) -> None:
        for place in (self._shared, self._draining):
            if resource in place:
                place.remove(resource)
        self._leased.pop(resource, None)
        self._idle_since.pop(resource, None)
        if self.current is resource:
            self.current = cast("R", NOBODY)
        commands, sent, received = resource.usage()
        self._past_usage = (
            self._past_usage[0] + commands,
            self._past_usage[1] + sent,
            self._past_usage[2] + received,
        )
        if self._closing.stopped:
            self._closing.look()
        elif self._newest == (resource, commands) and not self._shared and (self._waiting or self._lease_waiting):
            self._stillborn += 1
            if self._stillborn > 1:
                # To open the next one at once might go on for ever.
                self._growth_failed(ConnectError("a connection ended as soon as it was made"))
            self._dispatch()
        else:
            self._dispatch()

    def _schedule_prune(self) -> None:
        pause = min(REST_AFTER / 2, math.inf if self._idle_timeout is None else self._idle_timeout / 4)
        self._prune_timer = self._loop.call_later(pause, self._prune)

    def _prune(self) -> None:
        """Close what has carried nothing for `idle_timeout`, and let rest what has carried nothing for long.

        Looks at counters, so that commands need no clock.
        """
        self._prune_timer = None
        now = self._loop.time()
        for resource in list(self._shared):
            commands = resource.usage()[0]
            seen, since = self._idle_since.get(resource, (-1, now))
            if resource.in_flight or commands != seen:
                self._idle_since[resource] = (commands, now)
            elif self._idle_timeout is not None and now - since >= self._idle_timeout:
                # Withdrawn at once: close() takes a turn of the loop, and nobody may be handed it meanwhile.
                self._withdraw(resource)
                resource.close()
            elif now - since >= REST_AFTER:
                resource.rest()
        if self._open:
            self._schedule_prune()

    # --- Closing -----------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        return bool(self._closing.work)

    def notify(self, on_end: Callable[[], None]) -> None:
        """Have `on_end` called when all is closed."""
        self._closing.on_end = on_end

    def shut(self, grace: float = 0.0) -> None:
        """Begin to close everything: callers in line get ClientClosed, and work under way two seconds to end.

        Replies under way have `grace` seconds to arrive after that.
        """
        self._closing.begin(grace)

    async def aclose(self, grace: float = 0.0) -> None:
        """Do as `shut`, and wait for the end."""
        self._closing.begin(grace)
        await self._closing.wait()

    def abandon(self) -> None:
        """End without the loop: work that has not ended says what is lost, connections are cut."""
        self._closing.lose_work()
        for resource in self._resources:
            self._sever(resource)
        try:
            self._loop.call_soon_threadsafe(self.shut)  # if it ever runs again
        except RuntimeError:
            # It is closed. Tasks that nobody holds are collected, and what they have opened is cut.
            self._opening.clear()

    def turn_away(self, spared: set[Any]) -> None:
        """Give those in line ClientClosed, but for these futures."""
        error = ClientClosed("the client was closed")
        self._waiting.fail(error, spared)
        self._lease_waiting.fail(error, spared)

    def stop(self) -> None:
        """Open nothing more; the pool takes no more callers."""
        if self._prune_timer is not None:
            self._prune_timer.cancel()
        for task in [*self._opening, *self._restoring]:
            task.cancel()

    def owes(self) -> bool:
        """Return whether replies are under way."""
        return any(r.in_flight for r in self._resources)

    def close_all(self) -> None:
        """Close what is open."""
        for resource in self._resources:
            resource.close()

    def holds(self) -> bool:
        """Return whether anything is open, or being opened or restored."""
        return bool(self._opening or self._restoring or self._open)

    # --- Telling -----------------------------------------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """Return the figures of this moment."""
        resources = self._resources
        usages = [self._past_usage, *(r.usage() for r in resources)]
        return PoolStats(
            open=len(resources),
            leased=len(self._leased),
            in_flight=sum(r.in_flight for r in resources),
            waiting=self._waiting.waiting + self._lease_waiting.waiting,
            made=self.made,
            commands=sum(u[0] for u in usages),
            bytes_sent=sum(u[1] for u in usages),
            bytes_received=sum(u[2] for u in usages),
        )

    def describe(self) -> str:
        """Return the repr, and who has held a lease for how long, longest first."""
        now = self._loop.time()
        holders = sorted(self._leased.values(), key=lambda h: h.since)
        said = ", ".join(f"{h.name} for {now - h.since:.3g} s" for h in holders[:5])
        more = f" and {len(holders) - 5} more" if len(holders) > 5 else ""
        return f"{self!r}" + (f"; leased by {said}{more}" if said else "")
