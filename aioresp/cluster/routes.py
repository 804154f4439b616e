"""Routes of pipelines over a cluster: one write to each node, all at once, and each reply in its place.

Owns the way of a batch to the nodes of its commands, and the order of commands that are sent again. Never converts a
reply, and never holds a command back for one of another node.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

from aioresp.cluster.redirect import (
    ASKING,
    AT_ONCE,
    Course,
    Step,
    follow,
    pause,
    step_after,
    too_late,
)
from aioresp.cluster.router import Router
from aioresp.cluster.slots import common_slot
from aioresp.command import Arguments, shown, told
from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.large import Replies, size
from aioresp.contexts.routes import LARGE, LARGE_BYTES, LeaseRoute, SharedRoute
from aioresp.contexts.suspicion import abort_cause, heed_batch
from aioresp.contexts.transaction import MULTI
from aioresp.errors import (
    AskError,
    ClusterDownError,
    ClusterError,
    CommandTimeout,
    ConnectionLost,
    CrossSlotError,
    ExecAbortError,
    MovedError,
    PoolTimeout,
    RedisError,
    ResponseError,
    TryAgainError,
    WatchError,
    about,
    copy_error,
)
from aioresp.facts.traits import traits
from aioresp.middleware import PIPELINE, TRANSACTION, within
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.pool.queue import forsake
from aioresp.retry import NEVER, not_now
from aioresp.wire.batch import Batch, fail, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack, unpack

T = TypeVar("T")

#: Part of a batch that goes to one node: its pool, whether each command is asked once, and the numbers of the commands.
Group = tuple[Pool[Connection], bool, list[int]]

_WATCH: Final = pack(("WATCH",))

#: Stands for the commands of a transaction, none of which has run.
_NO_CODE: Final = traits(("PING",))

_UNSERVED: Final = "CLUSTERDOWN no known node serves the slot"


class ClusterRoute:
    """Route of a pipeline. `slots` has the slot of each queued command, or None for one without a key."""

    shared = True
    watching = False

    def __init__(self, find_router: Callable[[], Router], any_pool: Callable[[Router], Any], terms: Terms) -> None:
        self.slots: list[int | None] = []
        #: Slot of the watched keys; None if none are watched.
        self._pinned: int | None = None
        self.on_lost = terms.on_lost
        self._find_router = find_router
        self._any_pool = any_pool
        self._terms = terms

    def find_pool(self) -> Pool[Connection]:
        """Return the pool of the node that serves the watched keys, or the first command with a key."""
        router = self._find_router()
        slots = self.slots if self._pinned is None else [self._pinned]
        pool = next((router.pool(slot) for slot in slots if slot is not None), None) or self._any_pool(router)
        if pool is None:
            raise ClusterDownError(_UNSERVED)
        found: Pool[Connection] = pool
        return found

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands to their nodes; send those again that have not run, or may run twice."""
        slots, self.slots = self.slots, []
        carry = partial(self._carry_whole if whole else self._carry, commands, slots, decode)
        if not self._terms.middleware:
            return await carry()
        return await within(self._terms.middleware, TRANSACTION if whole else PIPELINE, carry)

    @property
    def pinned(self) -> int | None:
        """Slot of the watched keys."""
        return self._pinned

    def _deadline(self) -> float:
        return math.inf if self._terms.timeout is None else running_loop().time() + self._terms.timeout

    def _begin(self, pool: Pool[Connection], commands: list[Packed], decode: bool, deadline: float) -> _Part:
        """Send commands to one node, in one write, and never a second time."""
        rest = None if deadline == math.inf else max(deadline - running_loop().time(), 0.001)
        packed = joined(commands) if len(commands) <= LARGE else []
        if len(commands) > LARGE or size(packed) > LARGE_BYTES:
            terms = self._terms.replace(retry=NEVER, timeout=rest, middleware=())
            large = SharedRoute(lambda: pool, terms).carry(commands, decode, False)
            return _Part(pool, None, asyncio.ensure_future(large))
        batch = Batch(len(commands), decode, running_loop().create_future())
        pool.place(batch.future, partial(_start, packed, batch), rest)
        return _Part(pool, batch, batch.future)

    async def _send_whole(
        self, pool: Pool[Connection], commands: list[Packed], decode: bool, deadline: float
    ) -> Replies:
        """Send a transaction to one node, and never a second time."""
        rest = None if deadline == math.inf else max(deadline - running_loop().time(), 0.001)
        terms = self._terms.replace(retry=NEVER, timeout=rest, middleware=())
        return await SharedRoute(lambda: pool, terms).carry(commands, decode, True)

    # --- Watched keys ------------------------------------------------------------------------------------------------

    async def follow(self, slot: int, watch: Callable[[], Awaitable[T]]) -> T:
        """Call `watch`, which watches keys of a slot, at the node that serves it."""
        self._pinned = slot
        course = Course(self._find_router(), _WATCH, slot, self._terms, self._deadline())
        failed: RedisError | None = None
        try:
            while True:
                if isinstance(failed, AskError):  # ASKING would be needed before each command until EXEC
                    await course.after(TryAgainError(str(failed)), Step.WAIT)
                elif failed is not None:
                    await course.after(failed)
                await course.next()
                try:
                    return await watch()
                except RedisError as error:
                    failed = error
        finally:
            failed = None  # it holds this frame by its traceback

    async def private(self) -> _WatchingRoute:
        """Return a route over a leased connection, to watch keys on."""
        borrowed = Borrowed(self.find_pool, self._terms, "a transaction")
        await borrowed.__aenter__()
        return _WatchingRoute(borrowed, self)

    # --- Commands of any slots ---------------------------------------------------------------------------------------

    async def _carry(self, commands: list[Packed], slots: list[int | None], decode: bool) -> Replies:
        router, deadline = self._find_router(), self._deadline()
        if router.topology is None:
            await Course(router, commands[0], None, self._terms, deadline).discover()
        batch = _Batch(router, commands, slots, self._terms, self._any_pool(router) if None in slots else None)
        await self._all(batch.groups(range(len(commands))), batch, decode, deadline)
        while failed := batch.to_repeat():
            due = batch.aim(failed)
            if due is not None:
                batch.pauses += 1
                await pause(router, due, batch.pauses, deadline)
            if running_loop().time() >= deadline:
                batch.give_up(failed)
                break
            await self._all(batch.groups(failed), batch, decode, deadline)
        return batch.outcome()

    async def _all(self, groups: list[Group], batch: _Batch, decode: bool, deadline: float) -> None:
        """Send each group to its node, all in one turn of the loop, and note the replies."""
        parts: list[_Part] = []
        try:
            for pool, asking, numbers in groups:
                try:
                    parts.append(self._begin(pool, batch.bytes_of(numbers, asking), decode, deadline))
                except ConnectionLost as error:  # it has just ended
                    parts.append(_Part(pool, None, _failed(error)))
            for part, (_, asking, numbers) in zip(parts, groups, strict=True):
                try:
                    replies = await part.replies()
                except RedisError as error:
                    batch.fail(numbers, error)
                    continue
                if not replies.clean:
                    part.heed(replies, batch.bytes_of(numbers, asking))
                batch.take(numbers, replies.raw[1::2] if asking else replies.raw, replies.clean)
        finally:
            for part in parts:
                forsake(part.future)
            parts.clear()

    # --- A transaction -----------------------------------------------------------------------------------------------

    async def _carry_whole(self, commands: list[Packed], slots: list[int | None], decode: bool) -> Replies:
        """Send a transaction to the one node of its slot; send all of it again if nothing of it has run."""
        slot = one_slot(commands[1:-1], slots, None)
        router, deadline = self._find_router(), self._deadline()
        find = None if slot is not None else partial(self._any_pool, router)
        course = Course(router, MULTI, slot, self._terms, deadline, find)
        failed: RedisError | None = None
        try:
            while True:
                if failed is not None:
                    await course.after(failed, _step_of_transaction(failed, slot, self._terms, commands))
                    failed = None
                pool = await course.next()
                try:
                    if course.asking:
                        replies = await self._send_whole(pool, [ASKING, *commands], decode, deadline)
                        replies = Replies(replies.raw[1:], replies.clean, replies.origin)
                    else:
                        replies = await self._send_whole(pool, commands, decode, deadline)
                except RedisError as error:
                    failed = error
                    continue
                failed = _reason(replies)
                if failed is None or _step_of_transaction(failed, slot, self._terms, commands) is Step.STOP:
                    return replies
        finally:
            failed = None  # it holds this frame by its traceback


class _WatchingRoute(LeaseRoute):
    """Route over a connection that watches keys. When their slot leaves the node, that counts as a change of them."""

    def __init__(self, borrowed: Borrowed, route: ClusterRoute) -> None:
        super().__init__(borrowed, owned=True)
        self._route = route
        self._watched = False  # set by the reply to the first WATCH, never cleared
        self._execute = borrowed.execute
        self.execute = self._execute_here

    async def _execute_here(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        try:
            value = await self._execute(arguments, reply)
        except ClusterError as error:
            if not self._watched:
                raise
            raise _moved_away(error) from error
        self._watched = True
        return value

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands, and never a second time. Raises WatchError if the slot has left the node."""
        slots, self._route.slots = self._route.slots, []
        if whole:
            one_slot(commands[1:-1], slots, self._route.pinned)
        replies = await super().carry(commands, decode, whole)
        reason = _reason(replies) if whole else None
        if isinstance(reason, (MovedError, AskError, TryAgainError)):
            raise _moved_away(reason)
        return replies


def _moved_away(error: ClusterError) -> WatchError:
    return WatchError(f"the slot of the watched keys has left its node: nothing was done ({error})")


def one_slot(commands: Sequence[Packed], slots: Sequence[int | None], pinned: int | None) -> int | None:
    """Return the slot of a transaction; None without keys. Raises CrossSlotError, which names two keys."""
    found = {slot for slot in (*slots, pinned) if slot is not None}
    if len(found) > 1:
        keys = [key for packed in commands for key in traits(unpack(packed)).keys]
        common_slot(keys, "MULTI")
        error = CrossSlotError(f"the key {shown(keys[0])} and the watched keys belong to different slots")
        error.code = "CROSSSLOT"
        raise about(error, "MULTI")
    return next(iter(found), None)


class _Part:
    """Part of a batch on its way to one node: a batch on a shared connection, or the task of a very large one."""

    __slots__ = ("_batch", "_pool", "future")

    def __init__(self, pool: Pool[Connection], batch: Batch | None, future: asyncio.Future[Any]) -> None:
        self.future = future
        self._pool = pool
        self._batch = batch

    async def replies(self) -> Replies:
        """Return the replies. Raises the error of the whole part."""
        found: Any = await self.future
        batch = self._batch
        return found if batch is None else Replies(found, batch.clean, batch.origin)

    def heed(self, replies: Replies, commands: list[Packed]) -> None:
        """Let the pool leave its connections if the replies show that they lead to the wrong server."""
        if self._batch is not None:
            heed_batch(lambda: self._pool, replies, commands, False)


def _start(packed: Packed, batch: Batch, connection: Connection, rest: float | None) -> None:
    connection.send_batch(packed, batch, rest)


def _failed(error: RedisError) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = running_loop().create_future()
    fail(cast(Any, future), error)
    return future


class _Batch:
    """Commands of a pipeline on their way: the reply or the error that each has by now."""

    def __init__(
        self,
        router: Router,
        commands: list[Packed],
        slots: list[int | None],
        terms: Terms,
        other: Pool[Connection] | None,
    ) -> None:
        self.commands = commands
        self.pauses = 0
        self._router = router
        self._slots = slots
        self._terms = terms
        self._other = other  # the pool for commands without a key
        self._replies: list[Any] = [None] * len(commands)
        self._errors: set[int] = set()  # numbers of commands whose last reply is an error, and may be followed
        self._failed = False  # set by the first error, never cleared
        self._asking: dict[int, Pool[Connection]] = {}
        self._redirects = 0

    def groups(self, numbers: Iterable[int]) -> list[Group]:
        """Return the parts that go to one node each, in the order of the commands."""
        pools = self._router.pools
        if not self._asking and self._other is None:  # the first time, and most often the only one
            slots: list[Any] = self._slots
            numbers = list(numbers)
            targets = [pools[slots[number]] for number in numbers]
            plain: dict[Any, list[int]] = {pool: [] for pool in targets}
            for number, pool in zip(numbers, targets, strict=True):
                plain[pool].append(number)
            return self._served([(pool, False, members) for pool, members in plain.items()])
        groups: dict[tuple[Any, bool], list[int]] = {}
        for number in numbers:
            slot = self._slots[number]
            asked = self._asking.pop(number, None)
            target = asked or (self._other if slot is None else pools[slot])
            groups.setdefault((target, asked is not None), []).append(number)
        return self._served([(pool, asking, members) for (pool, asking), members in groups.items()])

    def _served(self, groups: list[tuple[Any, bool, list[int]]]) -> list[Group]:
        """Return the groups with a node; the commands of slots that no known node serves fail."""
        for group in [group for group in groups if not isinstance(group[0], Pool)]:
            groups.remove(group)
            self.fail(group[2], ClusterDownError(_UNSERVED))
        return groups

    def bytes_of(self, numbers: list[int], asking: bool) -> list[Packed]:
        """Return the packed commands of a part; ASKING stands before each where the node is asked once."""
        commands = self.commands
        if not asking:
            return [commands[number] for number in numbers]
        return [packed for number in numbers for packed in (ASKING, commands[number])]

    def take(self, numbers: Sequence[int], raw: Sequence[Any], clean: bool) -> None:
        """Note the replies of a part, which has no error if it is `clean`."""
        found = self._replies
        if clean and not self._errors:
            for number, reply in zip(numbers, raw, strict=True):
                found[number] = reply
            return
        for number, reply in zip(numbers, raw, strict=True):
            found[number] = reply
            if isinstance(reply, RedisError):
                self._failed = True
                self._errors.add(number)
            else:
                self._errors.discard(number)

    def fail(self, numbers: Sequence[int], error: RedisError) -> None:
        """Note the error of a part whose node has not answered."""
        self._failed = True
        for number in numbers:
            own = copy_error(error)
            if not isinstance(own, ClusterError):
                told(own, traits(unpack(self.commands[number])))
            self._replies[number] = own
            self._errors.add(number)

    def to_repeat(self) -> list[int]:
        """Return the numbers of the commands to send again, in their order.

        A command is not sent again if a later one with a key of it has run: unless both only read, it would run out of
        order. So it keeps its error.
        """
        again: list[int] = []
        if not self._errors:
            return again
        facts = {number: traits(unpack(self.commands[number])) for number in self._errors}
        slots = {self._slots[number] for number in self._errors}
        ran: dict[Any, bool] = {}  # keys of later commands that have run, and whether those only read
        for number in range(len(self.commands) - 1, -1, -1):
            if self._slots[number] not in slots:
                continue
            fact = facts.get(number) or traits(unpack(self.commands[number]))
            reply = self._replies[number]
            if number in self._errors and self._step(number, fact) is not Step.STOP:
                if all(ran.get(key, True) and (fact.read_only or key not in ran) for key in fact.keys):
                    again.append(number)
                continue
            if number in self._errors and isinstance(reply, (ConnectionLost, ClusterError)):
                pass
            for key in fact.keys:
                ran[key] = ran.get(key, True) and fact.read_only
        again.reverse()
        self._errors.difference_update(number for number in list(self._errors) if number not in again)
        return again

    def _step(self, number: int, fact: Any) -> Step:
        return step_after(self._replies[number], fact, self._slots[number], self._terms)

    def aim(self, failed: list[int]) -> RedisError | None:
        """Choose the next node of each command; return an error for which a pause is due first."""
        due: RedisError | None = None
        self._redirects += 1
        changed = self._router.catch_up()
        for number in failed:
            error, slot = self._replies[number], self._slots[number]
            if isinstance(error, (MovedError, AskError)) and slot is not None:
                aim = follow(self._router, error, slot)
                if isinstance(error, AskError):
                    self._asking[number] = aim.pool
                if aim.circle or self._redirects > AT_ONCE:
                    due = error
            elif not changed and not (isinstance(error, ConnectionLost) and self._redirects == 1):
                due = error
        return due

    def give_up(self, failed: list[int]) -> None:
        """Give commands whose deadline has passed their error."""
        for number in failed:
            self._replies[number] = too_late(self._replies[number])

    def outcome(self) -> Replies:
        """Return the replies. Raises the error of the whole if no node has answered."""
        replies = self._replies
        if not self._failed:
            return Replies(replies, True)
        errors = [reply for reply in replies if isinstance(reply, RedisError)]
        if len(errors) == len(replies) and all(_is_of_connection(error) for error in errors):
            # One may say that nothing was sent where another leaves it open.
            raise max(errors, key=_doubt)
        return Replies(replies, not errors)


def _doubt(error: RedisError) -> int:
    """Return how open it is whether the command of an error has run."""
    if isinstance(error, ConnectionLost):
        return 2 * (error.outcome == "unknown")
    return int(isinstance(error, CommandTimeout) and not isinstance(error, PoolTimeout))


def _is_of_connection(error: RedisError) -> bool:
    return not hasattr(error, "code")


def _reason(replies: Replies) -> RedisError | None:
    """Return the error for which nothing of a transaction has run; None if it has run, or failed otherwise."""
    last = replies.raw[-1]
    if isinstance(last, (MovedError, AskError, ClusterError)):
        last.origin = replies.origin
        return last
    if not isinstance(last, ExecAbortError):
        return None
    refused = [reply for reply in replies.raw[1:-1] if isinstance(reply, ResponseError)]
    reason: ResponseError | None = next((reply for reply in refused if isinstance(reply, ClusterError)), None)
    if reason is None and refused and all(map(not_now, refused)):
        reason = refused[0]
    if reason is None and not refused:
        reason = abort_cause(last)
    if reason is not None:
        reason.origin = replies.origin
    return reason


def _step_of_transaction(error: RedisError, slot: int | None, terms: Terms, commands: list[Packed]) -> Step:
    if isinstance(error, ConnectionLost):
        harmless = terms.idempotent or all(map(_only_reads, commands[1:-1]))
        return Step.SEEK if error.outcome == "not sent" or (harmless and terms.retry is not NEVER) else Step.STOP
    if isinstance(error, ClusterError):  # the server's own word: it has run nothing
        wait = isinstance(error, (TryAgainError, ClusterDownError))
        return Step.WAIT if wait else step_after(error, _NO_CODE, slot, terms)
    return step_after(error, _NO_CODE, slot, terms)


def _only_reads(packed: Packed) -> bool:
    return traits(unpack(packed)).read_only


async def all_of(calls: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Await all calls at once, and return the result or the error of each; none outlives the caller."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for task in tasks:
            task.cancel()
