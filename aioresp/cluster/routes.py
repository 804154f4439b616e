"""Routes of pipelines over a cluster: one write to each node, all at once, and each reply in its place.

Owns the way of a batch to the nodes of its commands, and the order of commands that are sent again. Never converts a
reply, and never holds a command back for one of another node.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

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
from aioresp.contexts.large import Replies
from aioresp.contexts.routes import LeaseRoute, SharedRoute
from aioresp.contexts.suspicion import abort_cause
from aioresp.contexts.transaction import MULTI
from aioresp.errors import (
    AskError,
    ClusterDownError,
    ClusterError,
    ConnectionLost,
    CrossSlotError,
    ExecAbortError,
    MovedError,
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
from aioresp.retry import NEVER, not_now
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

    def _send(
        self, pool: Pool[Connection], commands: list[Packed], decode: bool, whole: bool, deadline: float
    ) -> Awaitable[Replies]:
        """Send commands to one node, and never a second time."""
        rest = None if deadline == math.inf else max(deadline - running_loop().time(), 0.001)
        terms = self._terms.replace(retry=NEVER, timeout=rest, middleware=())
        return SharedRoute(lambda: pool, terms).carry(commands, decode, whole)

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
        batch = _Batch(router, commands, slots, self._terms, self._any_pool(router))
        groups = batch.groups(range(len(commands)))
        if len(groups) == 1 and not batch.lost:
            replies = await self._alone(groups[0], batch, decode, deadline)
            if replies is not None:
                return replies
        else:
            await self._all(groups, batch, decode, deadline)
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

    async def _alone(self, group: Group, batch: _Batch, decode: bool, deadline: float) -> Replies | None:
        """Send a batch of one node; return the replies if there is no error among them."""
        pool, _, numbers = group
        try:
            replies = await self._send(pool, batch.commands, decode, False, deadline)
        except RedisError as error:
            batch.fail(numbers, error)
            return None
        if replies.clean:
            return replies
        batch.take(numbers, replies.raw)
        return None

    async def _all(self, groups: list[Group], batch: _Batch, decode: bool, deadline: float) -> None:
        sending = [
            self._send(pool, batch.bytes_of(numbers, asking), decode, False, deadline)
            for pool, asking, numbers in groups
        ]
        found = await all_of(sending)
        for (_, asking, numbers), replies in zip(groups, found, strict=True):
            if isinstance(replies, RedisError):
                batch.fail(numbers, replies)
            elif isinstance(replies, BaseException):
                raise replies
            else:
                batch.take(numbers, replies.raw[1::2] if asking else replies.raw)

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
                        replies = await self._send(pool, [ASKING, *commands], decode, True, deadline)
                        replies = Replies(replies.raw[1:], replies.clean, replies.origin)
                    else:
                        replies = await self._send(pool, commands, decode, True, deadline)
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
        self.lost: set[int] = set()
        """Numbers of commands whose slot no known node serves."""
        self.pauses = 0
        self._router = router
        self._slots = slots
        self._terms = terms
        self._other = other  # the pool for commands without a key
        self._replies: list[Any] = [None] * len(commands)
        self._errors: set[int] = set()  # numbers of commands whose last reply is an error
        self._asking: dict[int, Pool[Connection]] = {}
        self._redirects = 0

    def groups(self, numbers: Iterable[int]) -> list[Group]:
        """Return the parts that go to one node each, in the order of the commands."""
        self.lost.clear()
        pools = self._router.pools
        groups: dict[tuple[Any, bool], list[int]] = {}
        for number in numbers:
            slot = self._slots[number]
            asked = self._asking.pop(number, None) if self._asking else None
            pool = asked or (self._other if slot is None else pools[slot])
            groups.setdefault((pool, asked is not None), []).append(number)
        found: list[Group] = []
        for (pool, asking), members in groups.items():
            if isinstance(pool, Pool):
                found.append((pool, asking, members))
            else:
                self.lost.update(members)
                self.fail(members, ClusterDownError(_UNSERVED))
        return found

    def bytes_of(self, numbers: list[int], asking: bool) -> list[Packed]:
        """Return the packed commands of a part; ASKING stands before each where the node is asked once."""
        commands = self.commands
        if not asking:
            return [commands[number] for number in numbers]
        return [packed for number in numbers for packed in (ASKING, commands[number])]

    def take(self, numbers: Sequence[int], raw: Sequence[Any]) -> None:
        """Note the replies of a part."""
        for number, reply in zip(numbers, raw, strict=True):
            self._replies[number] = reply
            if isinstance(reply, RedisError):
                self._errors.add(number)
            else:
                self._errors.discard(number)

    def fail(self, numbers: Sequence[int], error: RedisError) -> None:
        """Note the error of a part whose node has not answered."""
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
        errors = [reply for reply in replies if isinstance(reply, RedisError)]
        if len(errors) == len(replies) and all(_is_of_connection(error) for error in errors):
            raise errors[0]
        return Replies(replies, not errors)


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
