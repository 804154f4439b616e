"""Outlook of one event loop on the primary: where its connections lead, and whether writes may go there.

Owns what follows from the news that a source tells: writes are held, connections leave. Each loop has an outlook of its
own, which acts on the pool and the hub of that loop alone. Never asks for addresses itself.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aioresp.errors import ClientClosed, ConnectionLost, RedisError, copy_error
from aioresp.pool.barrier import Barrier
from aioresp.pool.resource import PoolStats
from aioresp.pubsub.topics import Moment
from aioresp.replicated.leaving import evacuate, move_blocking
from aioresp.replicated.places import Address, Found

if TYPE_CHECKING:  # protocols take time to import
    from typing import Protocol

    from aioresp.pool.loops import PerLoop
    from aioresp.pool.pool import Pool
    from aioresp.pubsub.hub import Hub
    from aioresp.wire.connection import Connection

    class Owner(Protocol):
        """The node whose primary this is about."""

        pools: PerLoop[Pool[Connection]]
        hubs: PerLoop[Hub]

        async def find(self) -> Found:
            """Ask where the servers are."""
            ...

        def look_again(self, outlook: Outlook) -> None:
            """Ask for the replicas soon."""
            ...

        def note_primary(self, primary: Address, why: str, before: Address | None = None) -> None:
            """Note which server is the primary, and tell of a change once for all loops."""
            ...


T = TypeVar("T")

logger = logging.getLogger("aioresp")

#: Most seconds for which writes are held: a failover that takes longer is not waited for.
HOLD: Final = 3.0

#: Seconds within which reasons to ask for the primary are answered by one question.
MOMENT: Final = 0.02


class State(Enum):
    """Phase of an outlook.

    ======  ======  ==================================================================================
    From    To      When
    ======  ======  ==================================================================================
    OPEN    HELD    a replica was chosen to be promoted: what the primary takes from now on may be lost
    HELD    OPEN    the new primary is known, the failover was given up, or `HOLD` seconds have passed
    OPEN    SHUT    the client is closed, or the loop ends
    HELD    SHUT    the same
    ======  ======  ==================================================================================
    """

    OPEN = "open"
    HELD = "held"
    SHUT = "shut"


class Outlook:
    """Knowledge of one loop about the primary."""

    def __init__(self, owner: Callable[[], Owner | None], name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        #: The address to which connections of this loop lead; None until the first, and while they change.
        self.primary: Address | None = None
        self._verifying = False  # set by `verify`, cleared when the question begins
        self._told: Address | None = None  # the address in the last news, of which each sentinel tells
        #: The number of changes; an attempt to connect that began before the last one is void.
        self.turn = 0
        #: The hubs on which news is heard already.
        self.watched: weakref.WeakSet[Any] = weakref.WeakSet()
        #: The subscribers of this loop to the sentinels' news.
        self.watches: weakref.WeakSet[Any] = weakref.WeakSet()
        self.state = State.OPEN
        self._owner = owner
        self._name = name
        self._held_at: Moment | None = None  # the moment of the last hold
        self._barrier: Barrier | None = None  # the line of writes while they are held
        self._timer: asyncio.TimerHandle | None = None  # the end of the hold at the latest
        self._beat: asyncio.TimerHandle | None = None  # the next step of `every`
        self._asking: asyncio.TimerHandle | None = None  # the next question for the replicas
        self._question: asyncio.Task[Found] | None = None  # the last question of callers
        self._tasks: set[asyncio.Task[Any]] = set()
        self._trouble = ""  # the error of the last task, which was logged
        self._on_end: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"Outlook({self._name}, primary {self.primary}, {self.state.value})"

    # --- News --------------------------------------------------------------------------------------------------------

    def hold(self, why: str) -> None:
        """Let writes wait, because a replica is about to be promoted; reads go on."""
        node = self._owner()
        if node is None or self.state is not State.OPEN:
            return
        self.state = State.HELD
        self._held_at = Moment.now()
        logger.info("writes to %s are held: %s", self._name, why)
        self._barrier = Barrier(self.loop, f"writes are held while a failover of {self._name} is under way")
        pool = node.pools.find(self.loop)
        if pool is not None:
            pool.put_behind(self._barrier, self._lost("a failover is under way"))  # reads among them come back at once
            move_blocking(pool, self._lost("a failover is under way"), writes=True)
        self._timer = self.loop.call_later(HOLD, self.release, "it has taken too long", context=Context())

    def release(self, why: str) -> None:
        """Let writes that are held go on."""
        if self.state is not State.HELD:
            return
        self.state = State.OPEN
        logger.info("writes to %s go on: %s", self._name, why)
        if self._timer is not None:
            self._timer.cancel()
        barrier, self._barrier = self._barrier, None
        node = self._owner()
        pool = None if node is None else node.pools.find(self.loop)
        if pool is not None and pool.barrier is barrier:
            pool.put_behind(None)
        if barrier is not None:
            barrier.open()

    def switch(self, to: Address, why: str, before: Address | None = None) -> None:
        """Leave the primary at once, because `to` is the one now, even if the old one still answers.

        `before` is the former primary by the news. If it is another one than here, the news is old or one was missed.
        """
        node = self._owner()
        if node is None or self.state is State.SHUT:
            return
        known = self._told if self.primary is None else self.primary
        if known is not None and before not in (None, known) and to != known:
            self.verify()
            return
        if to != known:
            node.note_primary(to, why, before)
            self.primary, self._told = None, to
            self.turn += 1
            error = self._lost(f"{self._name} has another primary, {to}")
            node.pools.replace(lambda pool: evacuate(pool, self.loop, error), everywhere=False)
            hub = node.hubs.find(self.loop)
            if hub is not None:
                hub.move(self._lost(f"{self._name} has another primary, {to}"), self._promoted_after())
            self.spawn(node.find, "aioresp: ask for the new primary")
        self.release("the new primary is known")
        node.look_again(self)

    def _promoted_after(self) -> Moment:
        """Return a moment before the promotion of the new primary, where others may have published since."""
        now = Moment.now()
        if self._held_at is not None and now.ticks - self._held_at.ticks < 2 * HOLD:
            return self._held_at
        return Moment(now.wall - HOLD, now.ticks - HOLD)

    def _lost(self, why: str) -> ConnectionLost:
        return ConnectionLost(why, "not sent")

    def verify(self) -> None:
        """Ask where the primary is, because news may have been missed: once for several reasons of one moment."""
        if not self._verifying and self.state is not State.SHUT:
            self._verifying = True
            self.loop.call_later(MOMENT, self.spawn, self._verify, "aioresp: ask for the primary", context=Context())

    async def _verify(self) -> None:
        self._verifying = False
        await self._look()

    async def _look(self) -> None:
        """Ask where the servers are, and leave the primary if it is another one by now."""
        node, turn = self._owner(), self.turn
        if node is None:
            return
        found = await node.find()
        if turn == self.turn and self.primary not in (None, found.primary):
            self.switch(found.primary, "news was missed")

    def ask(self, wait: float) -> None:
        """Ask where the servers are in `wait` seconds, once for all reasons until then."""
        if self._asking is None and self.state is not State.SHUT:
            self._asking = self.loop.call_later(
                wait, self.spawn, self._ask, "aioresp: ask for replicas", context=Context()
            )

    async def _ask(self) -> None:
        self._asking = None
        await self._look()

    def look(self) -> None:
        """Ask for the replicas again, because one of them has come or gone."""
        node = self._owner()
        if node is not None:
            node.look_again(self)

    def every(self, seconds: float, step: Callable[[], object]) -> None:
        """Call `step` again and again, until the end."""

        def again() -> None:
            if self.state is not State.SHUT:
                step()
                self._beat = self.loop.call_later(seconds, again, context=Context())

        self._beat = self.loop.call_later(seconds, again, context=Context())

    # --- Waiting -----------------------------------------------------------------------------------------------------

    async def opened(self) -> None:
        """Wait until writes are held no more: nothing new is opened to a primary that is about to go."""
        if self._barrier is not None:
            await self._barrier.passed(None)

    async def find(self) -> Found:
        """Ask where the servers are, with one question for all callers that come until its answer.

        After a failover, a hundred connections are made at once.
        """
        question = self._question
        if question is None or question.done():
            question = self._question = self.spawn(self._find, "aioresp: ask where the servers are")
        if question is not None:
            await asyncio.wait((question,))
        if question is None or question.cancelled():
            raise ClientClosed("the client was closed")
        error = question.exception()
        if error is None:
            return question.result()
        try:
            raise copy_error(error) if isinstance(error, RedisError) else error
        finally:
            del error, question  # they hold this frame by the traceback

    async def _find(self) -> Found:
        node = self._owner()
        if node is None:
            raise ClientClosed("the client is gone")
        return await node.find()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, T]], name: str) -> asyncio.Task[T] | None:
        """Run a task in this loop, in no context of a caller; its error is logged. After the end do nothing."""
        if self.state is State.SHUT or self.loop.is_closed():
            return None
        task: asyncio.Task[T] = Context().run(partial(self.loop.create_task, work(), name=name))
        self._tasks.add(task)
        task.add_done_callback(self._done, context=Context())
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and str(error) != self._trouble:  # it may last for hours, and is found each second
            logger.info("%s: %s", self._name, error)
        self._trouble = "" if error is None else str(error)

    # --- The end, as `PerLoop` wants it ------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Return False: nothing is lost with it."""
        return False

    def notify(self, on_end: Callable[[], None]) -> None:
        """Call `on_end` at the end."""
        self._on_end = on_end

    def shut(self, grace: float = 0.0) -> None:
        """Turn away the writes that are held, and end all tasks."""
        if self.state is State.SHUT:
            return
        self.state = State.SHUT
        if self._timer is not None:
            self._timer.cancel()
        if self._barrier is not None:
            self._barrier.fail(ClientClosed("the client was closed"))
        for timer in (self._beat, self._asking):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._on_end is not None:
            self._on_end()

    async def aclose(self, grace: float = 0.0) -> None:
        """Do as `shut`, and wait for the tasks."""
        self.shut()
        here = asyncio.current_task()
        if rest := [task for task in self._tasks if task is not here]:
            await asyncio.wait(rest)

    def abandon(self) -> None:
        """End without the loop."""
        self.state = State.SHUT

    def stats(self) -> PoolStats:
        """Return no figures: it has no connection."""
        return PoolStats()
