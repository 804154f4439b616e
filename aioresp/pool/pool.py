"""Connection pool of one event loop: share, grow, lease, retire, prune, drain.

Owns which resources are open and which caller may use which. Generic: it knows resources by `in_flight`, `capacity` and
`close()`. Never knows what travels on them. Every decision is a synchronous function: nothing is awaited between
reading the state and changing it. So there is no lock, and a cancellation finds no half-made change.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextvars import Context
from functools import partial
from operator import add
from typing import TYPE_CHECKING, Any, cast

from aioresp.errors import ClientClosed, ConnectError, ConnectionLost, copy_error
from aioresp.pool.closing import Closing
from aioresp.pool.doubts import Doubts
from aioresp.pool.growth import Growth
from aioresp.pool.idle import Idle
from aioresp.pool.leaving import Leaving
from aioresp.pool.opening import error_of, too_late
from aioresp.pool.queue import WaitQueue, forsake
from aioresp.pool.resource import NOBODY, Holder, PoolStats, R
from aioresp.pool.waking import Waking
from aioresp.timers import LEAST, given_back
from aioresp.typed import Generic

if TYPE_CHECKING:
    from aioresp.pool.barrier import Barrier
    from aioresp.pool.resource import Work

logger = logging.getLogger("aioresp")


class Pool(Generic[R]):
    """Resources of one event loop: made lazily by `connect`, at most `limit` of them, kept until idle too long."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[R]],
        *,
        limit: int,
        concurrency: int,
        idle_timeout: float | None,
        max_age: float | None = None,
        loop: asyncio.AbstractEventLoop,
        restore: Callable[[R], Coroutine[Any, Any, None]] | None = None,
        patience: Callable[[BaseException, int], float | None] = lambda error, failures: None,
        sever: Callable[[R], None] = lambda resource: None,
        on_new: Callable[[R, Exception], bool] = lambda resource, error: True,
    ) -> None:
        """Make an empty pool.

        `sever` ends a resource without its loop, which may be closed. `patience` is asked after a failure to open a
        first resource. It gets the error and the number of failures in a row, and returns the seconds until the next
        attempt. If it returns None, the callers in line get the error. `on_new` is called after `leave`: see `Leaving`.
        """
        self.limit, self.made = limit, 0
        self._connect = connect
        self._restore = restore
        self._sever = sever
        self._concurrency = concurrency
        self._loop = loop
        self._closing = Closing(self, loop)
        #: The resource that the hot path tries first, before it calls `share`; none behind a barrier.
        self.current: R = cast("R", NOBODY)
        #: Line of callers whose work must wait, which asks for it before it comes here; None without one.
        self.barrier: Barrier | None = None
        self._leased: dict[R, Holder] = {}
        self._shared, self._draining = list[R](), list[R]()
        self._opening, self._restoring = set[asyncio.Task[None]](), set[asyncio.Task[None]]()
        self._waiting: WaitQueue[R] = WaitQueue(loop, self._too_late)
        self._lease_waiting: WaitQueue[R] = WaitQueue(loop, self._too_late)
        self._growth = Growth(loop, patience)
        self._leaving = Leaving(loop, (self._shared, self._draining), self._leased, self._on_left, max_age, on_new)
        #: The error of `retire`, for every caller from then on; None before.
        self.refusal: ConnectionLost | None = None
        self._past_usage: tuple[int, ...] = (0, 0, 0)
        care = self._withdraw, lambda r: self._waking.forget(r), lambda: bool(self._open)
        self._idle: Idle[R] = Idle(loop, idle_timeout, self._shared, *care)
        self._waking: Waking[R] = Waking(loop, self._idle.since, self._dispatch)
        self.doubts: Doubts[R] = Doubts(loop, connect, self._shared, self._join, self._end_retired)

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
        if self._waiting or self.refusal is not None:
            return None  # earlier callers wait already, so there is no room
        return self._choose()

    def _choose(self) -> R | None:
        if self.refusal is not None:
            return self._choose_for_work()
        for resource in self._shared:
            if resource.in_flight < resource.capacity:
                return self._make_current(resource)
        if self._wake():
            return None
        self._grow()
        if not self._opening or self._concurrency == 1:
            return None
        # Another one is being opened: meanwhile an overfull connection is better than a wait.
        least = min((r for r in self._shared if r.capacity), key=lambda r: r.in_flight, default=None)
        if least is not None:
            least.stretch()
            self._make_current(least)
        return least

    def _make_current(self, resource: R) -> R:
        if self.barrier is None:
            self.current = resource
        return resource

    def put_behind(self, barrier: Barrier | None, error: ConnectionLost | None = None) -> None:
        """Have callers ask at `barrier` whether their work may go on; those in line get `error`. None removes it."""
        self.barrier, self.current = barrier, cast("R", NOBODY)
        if error is not None:
            self._waiting.fail(error, self._of_work())

    def _choose_for_work(self) -> R | None:
        """Return a resource of a retired pool, for work that began on its server and must end there."""
        for resource in self._draining:
            if resource.in_flight < resource.capacity:
                return resource
        self._grow()
        return None

    def _wake(self) -> bool:
        """Ask all resting resources whether they work; return whether to wait for them before another is opened."""
        asleep = self._waking.ask(self._shared)
        if not asleep or not self._waking.late:
            return bool(asleep)
        if not self._opening and self._open >= self._ceiling and all(r.viable for r in self._shared):
            asleep[0].close()  # it makes room for one beside the others; nothing but the question is under way on it
        return False

    def place(
        self, future: asyncio.Future[Any], start: Callable[[R, float | None], object], timeout: float | None
    ) -> None:
        """Call `start` with a resource that has room, and the seconds that are left: now, or in the caller's turn.

        A caller in line leaves it by cancelling its `future`, which gets PoolTimeout after `timeout` seconds in line.
        Raises ClientClosed.
        """
        resource = self.share()
        if resource is not None:
            start(resource, timeout)
            return
        loop, since = self._loop, self._loop.time()

        def serve(resource: R) -> None:
            waited = loop.time() - since
            # A short wait is not counted, so that callers that waited together share one deadline and one timer.
            if timeout is None or waited < timeout / 100:
                start(resource, timeout)
            elif waited < timeout:
                start(resource, timeout - waited)
            else:  # the loop stood still, or the line moved on while the deadline passed
                start(resource, given_back(max(waited - timeout, LEAST), timeout))

        self.wait(future, serve, None if timeout is None else since + timeout)

    def wait(self, future: asyncio.Future[Any], start: Callable[[R], None], deadline: float | None) -> None:
        """Queue until `start` can be called with a resource that has room.

        A caller leaves the line by cancelling its `future`, which gets PoolTimeout at `deadline` (loop time).
        """
        self._enqueue(self._waiting, future, start, deadline)

    def _enqueue(
        self,
        line: WaitQueue[R],
        future: asyncio.Future[Any],
        start: Callable[[R], None],
        deadline: float | None,
    ) -> None:
        if self.refusal is not None and future not in self._of_work():  # also when it has closed: the client has not
            refusal = copy_error(self.refusal)
            refusal.deadline = math.inf if deadline is None else deadline
            try:
                raise refusal
            finally:
                del refusal  # it holds this frame by its traceback
        if self._closing.begun and (line is self._lease_waiting or self._closing.stopped):
            raise ClientClosed("the client was closed")
        first = not line
        if not self._waiting and not self._lease_waiting and not self._open:
            self._growth.forget()
        line.enter(future, start, deadline)
        if first:
            self._dispatch()
        elif (self._concurrency == 1 or line is self._lease_waiting) and not self._wake():
            self._grow()  # a later waiter cannot be served now, but may justify another connection

    def _too_late(self) -> Callable[[float], Exception]:
        return too_late(self.describe(), lambda: self._open, self._growth.patience, self._opening)

    def _dispatch(self) -> None:
        """Serve the callers in line while there is room. Called whenever there may be more room."""
        for resource in [] if self.refusal is None else list(self._shared):  # each closes after its last reply
            self._withdraw(resource)
            self._draining.append(resource)
        while self._waiting.anyone():
            roomy = self._choose()
            if roomy is None:
                break
            self._waiting.serve(roomy)
            if self._growth.troubled:
                self._growth.served()
        while self._lease_waiting.anyone():
            idle = self._lendable()
            if idle is None:
                break
            self._lease_waiting.serve(idle)
            if self._growth.troubled:
                self._growth.served()
        # A retired pool closes nothing while work asks there whether it may end there: see `Background`.
        if self._draining and (self.refusal is None or not self._of_work()):
            for drained in list(self._draining):
                # The caller that it was drained for has gone: share it again. `_admit` may come here, too.
                if drained.in_flight == 0 and drained in self._draining:
                    self._draining.remove(drained)
                    self._admit(drained)
        if self._leaving.draining:
            self._leaving.close_idle()

    def _on_room(self) -> None:
        if self._closing.stopped:
            self._closing.look()
        elif self._waiting or self._lease_waiting or self._draining or self._leaving.draining:
            self._dispatch()

    # --- Growing -----------------------------------------------------------------------------------------------------

    @property
    def _open(self) -> int:
        return len(self._shared) + len(self._leased) + len(self._draining)

    @property
    def resources(self) -> list[R]:
        """All that is open."""
        return [*self._shared, *self._leased, *self._draining, *self._leaving.draining]

    @property
    def _ceiling(self) -> int:
        """Most resources that may be open: `limit`, and a second one for a lease where the limit is 1."""
        return max(2, self.limit) if self._leased or self._lease_waiting else self.limit

    def _grow(self) -> None:
        """Open connections for the waiters: several for leases, one at a time for shared use or while none is open."""
        if self._closing.stopped or self._growth.paused:
            return
        wanted = len(self._lease_waiting) + (len(self._waiting) if self._concurrency == 1 else 1)
        wanted = max(1, wanted) if self._open > sum(r.resting for r in self._shared) else 1
        while len(self._opening) < wanted and self._open + len(self._opening) < self._ceiling:
            # In no context of a caller, which the connection would keep.
            task = Context().run(partial(self._loop.create_task, self._make(), name="aioresp: open a connection"))
            self._opening.add(task)
            task.add_done_callback(self._opened, context=Context())

    async def _make(self) -> None:
        began = self._loop.time()
        self._growth.patience.begin()
        resource = await self._connect()
        self._waking.took = self._loop.time() - began
        self._join(resource)

    def _join(self, resource: R) -> None:
        self.made += 1
        self._growth.made(resource, resource.usage()[0])
        resource.attach(self._on_room, self._on_close, self.doubts.add)
        self._shared.append(resource)  # even if it has ended: then the next lines call `_on_close`
        self._leaving.admit(resource)
        if not resource.viable:
            self._on_close(resource)
        else:
            self._idle.watch()

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        for resource in self._shared:
            resource.relax()
        error = error_of(task)
        if self._closing.stopped:
            self._closing.look()
            return
        if error is not None and (self.refusal is None or self._waiting):
            self._growth_failed(error)
        self._dispatch()
        self._end_retired()

    def _growth_failed(self, error: BaseException) -> None:
        if self._shared:
            logger.warning("the pool could not grow: %s; it goes on with %r", error, self)
            self._loop.call_at(self._growth.rest(), self._dispatch, context=Context())
            return
        pause = self._growth.failed(error)
        if pause is None:
            self._fail_waiting(self._growth.patience.failure or error)
        else:
            self._loop.call_later(pause, self._dispatch, context=Context())

    def _fail_waiting(self, error: BaseException, spared: Collection[asyncio.Future[Any]] = ()) -> None:
        self._waiting.fail(error, spared)
        self._lease_waiting.fail(error, spared)

    # --- Leasing -----------------------------------------------------------------------------------------------------

    async def lease(self, holder: str, deadline: float | None) -> R:
        """Return a resource for exclusive use; pass it to `give_back` or `discard` afterwards.

        Shared use always keeps one resource: at most `limit - 1` are leased. With `limit=1` a second resource is opened
        for the lease. Raises PoolTimeout at `deadline` (loop time).
        """
        if self._shared and not (self._waiting or self._lease_waiting or self._closing.begun or self.refusal):
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
            del future  # its error would hold this frame, by its traceback
            raise

    def _lend(self, resource: R, holder: str) -> None:
        resource.lent = True
        self._leased[resource] = Holder(holder, self._loop.time())

    def _lendable(self) -> R | None:
        """Take an idle resource out of the shared ones; if there is none, open or drain one and return None."""
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

    def part_with(self) -> R | None:
        """Give an idle resource away for good, and count it no more; return None if there is none that nobody needs."""
        if not (self._waiting or self._lease_waiting or self._closing.begun or self.refusal):
            for resource in self._shared:
                if resource.in_flight == 0 < resource.capacity and resource.viable:
                    self._withdraw(resource)
                    self._idle.forget(resource)
                    self._leaving.forget(resource)
                    resource.detach(self._on_close)
                    return resource
        return None

    def _withdraw(self, resource: R) -> None:
        self._shared.remove(resource)
        if self.current is resource:
            self.current = cast("R", NOBODY)

    def give_back(self, resource: R, *, changed: bool = False) -> None:
        """End a lease. A resource that was changed, or owes a reply, is `changed`: it is restored first."""
        ends = self._closing.stopped or self.refusal is not None or resource in self._leaving.lent
        if changed and resource.viable and self._restore is not None and not ends:
            restoring, name = self._restore(resource), "aioresp: restore a connection"
            task = Context().run(partial(self._loop.create_task, restoring, name=name))
            self._restoring.add(task)
            task.add_done_callback(partial(self._restored, resource), context=Context())
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
        """End a lease whose resource must not be used again."""
        resource.close()

    def _admit(self, resource: R) -> None:
        resource.lent = False
        left = resource in self._leaving.lent
        if self._closing.stopped or self.refusal is not None or left or not resource.viable:
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
        """Give `work` two seconds to end before the pool closes; `release` tells that it has ended."""
        self._closing.work.add(work)
        if self._closing.begun:
            self._loop.call_soon(work.recall, context=Context())

    def release(self, work: Work) -> None:
        """Note that the held `work` has ended."""
        self._closing.work.discard(work)
        if self.refusal is not None:
            self._dispatch()
        self._end_retired()

    # --- The end of one resource --------------------------------------------------------------------------------------

    def _on_close(self, resource: R) -> None:
        for place in (self._shared, self._draining):
            if resource in place:
                place.remove(resource)
        self._leased.pop(resource, None)
        self._leaving.forget(resource)
        self._idle.forget(resource)
        if self.current is resource:
            self.current = cast("R", NOBODY)
        usage = resource.usage()
        self._past_usage = tuple(map(add, self._past_usage, usage))
        if self._closing.stopped:
            self._closing.look()
            return
        idle = self._shared or not (self._waiting or self._lease_waiting)
        if not idle and self._growth.is_stillborn(resource, usage[0]):
            self._growth_failed(ConnectError("a connection ended as soon as it was made"))
        self._dispatch()
        self._end_retired()

    # --- Leaving the server ------------------------------------------------------------------------------------------

    def find(self, number: int) -> R | None:
        """Return the resource of that number, if it is open."""
        return next((resource for resource in self.resources if resource.number == number), None)

    def leave(self, number: int, error: Exception) -> None:
        """Let all that is open carry nothing new, if the resource of that number is in use: its server is wrong."""
        if self.refusal is None:
            self._leaving.leave(number, error)

    def _on_left(self) -> None:
        self.current = cast("R", NOBODY)
        self._dispatch()

    def retire(self, error: Exception) -> None:
        """Take no more callers, because the server is left; the pool closes when its last connection is free.

        Callers in line, and later ones, get ConnectionLost with the outcome "not sent" and the cause `error`. Replies
        under way arrive, leases last until they are given back, and idle connections close now.
        """
        if self.refusal is not None or self._closing.begun:
            return
        self.refusal = ConnectionLost(f"the server is not used any more: {error}", "not sent")
        self.refusal.__cause__ = error
        self._fail_waiting(self.refusal, self._of_work())
        self.doubts.end()
        for task in self._opening:
            task.cancel()
        self._dispatch()
        self._end_retired()

    @property
    def retired(self) -> bool:
        """Whether `retire` was called."""
        return self.refusal is not None

    def _of_work(self) -> set[asyncio.Future[Any]]:
        """Return the futures of held work, which still gets connections, because it must end on this server."""
        return {future for work in self._closing.work for future in work.in_line}

    def _end_retired(self) -> None:
        if self.refusal is not None and not self._closing.work and not self.holds():
            self.shut()
        self._closing.look()

    # --- Closing and telling -----------------------------------------------------------------------------------------

    @property
    def work(self) -> frozenset[Work]:
        """Work under way that must not stop halfway."""
        return frozenset(self._closing.work)

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        return bool(self._closing.work)

    def notify(self, on_end: Callable[[], None]) -> None:
        """Call `on_end` when all is closed."""
        self._closing.on_end = on_end

    def shut(self, grace: float = 0.0) -> None:
        """Begin to close everything: callers in line get ClientClosed, and work under way has two seconds to end.

        After that, replies under way have `grace` seconds to arrive.
        """
        self._closing.begin(grace)

    async def aclose(self, grace: float = 0.0) -> None:
        """Do as `shut`, and wait for the end."""
        self._closing.begin(grace)
        await self._closing.wait()

    def abandon(self) -> None:
        """End without the loop: unfinished work reports what is lost, and connections are cut."""
        self._closing.lose_work()
        for resource in self.resources:
            self._sever(resource)
        try:
            self._loop.call_soon_threadsafe(self.shut)  # in case it runs again
        except RuntimeError:
            # The loop is closed. Tasks that nothing holds are collected, and their connections are cut.
            self._opening.clear()

    def turn_away(self, spared: set[Any]) -> None:
        """Fail the callers in line with ClientClosed, except these futures."""
        self._fail_waiting(ClientClosed("the client was closed"), spared)

    def stop(self) -> None:
        """Open nothing more; the pool takes no more callers."""
        self._idle.end()
        self._waking.end()
        self.doubts.end()
        for task in [*self._opening, *self._restoring]:
            task.cancel()

    def owes(self) -> bool:
        """Return whether replies are under way."""
        return any(r.in_flight for r in self.resources)

    def close_all(self) -> None:
        """Close what is open."""
        for resource in self.resources:
            resource.close()

    def holds(self) -> bool:
        """Return whether anything is open, or being opened or restored."""
        return bool(self._opening or self._restoring or self.doubts or self.resources)

    def stats(self) -> PoolStats:
        """Return the figures of this moment."""
        resources = self.resources
        commands, sent, received = map(sum, zip(self._past_usage, *(r.usage() for r in resources), strict=True))
        return PoolStats(
            open=len(resources),
            leased=len(self._leased),
            in_flight=sum(r.in_flight for r in resources),
            waiting=self._waiting.waiting + self._lease_waiting.waiting,
            made=self.made,
            commands=commands,
            bytes_sent=sent,
            bytes_received=received,
        )

    def describe(self) -> str:
        """Return the repr, and the holders of leases with their times, longest first."""
        now = self._loop.time()
        holders = sorted(self._leased.values(), key=lambda h: h.since)
        said = ", ".join(f"{h.name} for {now - h.since:.3g} s" for h in holders[:5])
        more = f" and {len(holders) - 5} more" if len(holders) > 5 else ""
        return f"{self!r}" + (f"; leased by {said}{more}" if said else "")
