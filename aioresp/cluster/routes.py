"""Routes of pipelines over a cluster: one write to each node, all at once, and each reply in its place.

Owns the way of a batch to the nodes of its commands, and the order of commands that are sent again. Never converts a
reply, and never holds a command back for one of another node.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from aioresp.cluster.batches import Commands, Group, Part, failed_with
from aioresp.cluster.flight import Flight, take_off
from aioresp.cluster.reads import Reads, is_redirect, share_of
from aioresp.cluster.redirect import (
    ASKING,
    Course,
    Step,
    pause,
    rest_of,
    start_batch,
    step_after,
)
from aioresp.cluster.router import Router
from aioresp.cluster.slots import common_slot
from aioresp.cluster.split import Split
from aioresp.cluster.topology import Address, Shard
from aioresp.cluster.traced import Traced
from aioresp.command import Arguments, shown
from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.large import Replies, size
from aioresp.contexts.routes import LARGE, LARGE_BYTES, LeaseRoute, SharedRoute
from aioresp.contexts.suspicion import abort_cause
from aioresp.contexts.transaction import MULTI
from aioresp.errors import (
    AskError,
    ClientClosed,
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
from aioresp.pool.queue import forsake
from aioresp.retry import NEVER, not_now
from aioresp.trail import TRAIL
from aioresp.wire.batch import Batch, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack, unpack

T = TypeVar("T")

_WATCH: Final = pack(("WATCH",))

#: Stands for the commands of a transaction, none of which has run.
_NO_CODE: Final = traits(("PING",))


class ClusterRoute:
    """Route of a pipeline. `slots` has the slot of each queued command, or None for one without a key."""

    shared = True
    watching = False

    def __init__(
        self, find_router: Callable[[], Router], any_pool: Callable[[Router], Any], terms: Terms, reads: Reads
    ) -> None:
        self.slots: list[int | None] = []
        self.splits: Mapping[int, Split] = {}
        """The queued commands over several slots, by their numbers."""
        #: Slot of the watched keys; None if none are watched.
        self._pinned: int | None = None
        self.on_lost = terms.on_lost
        self._find_router = find_router
        self._any_pool = any_pool
        self._terms = terms
        self._reads = reads
        #: Addresses of the replicas that a traced pipeline has asked: a router knows primaries only.
        self._replicas: dict[Pool[Connection], Address] = {}

    def find_pool(self) -> Pool[Connection]:
        """Return the pool of the node that serves the watched keys, or the first command with a key."""
        router = self._find_router()
        slots = self.slots if self._pinned is None else [self._pinned]
        pool = next((router.pool(slot) for slot in slots if slot is not None), None) or self._any_pool(router)
        if pool is None:
            raise router.unserved(next((slot for slot in slots if slot is not None), None))
        found: Pool[Connection] = pool
        return found

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands to their nodes; send those again that have not run, or may run twice."""
        slots, self.slots = self.slots, []
        splits, self.splits = self.splits, {}
        carry = partial(self._carry_whole if whole else self._carry, commands, slots, decode)
        if splits:
            carry = partial(self._carry_parts, commands, slots, decode, splits)
        if not self._terms.middleware:
            return await carry()
        spread = [slot for split in splits.values() for slot in split.slots]
        traced = partial(self._traced, carry, len(commands) - 2 * whole, [*slots, *spread])
        return await within(self._terms.middleware, TRANSACTION if whole else PIPELINE, traced)

    async def _traced(self, carry: Callable[[], Awaitable[Replies]], size: int, slots: list[int | None]) -> Replies:
        """Call `carry`, on terms that note its way if somebody traces."""
        trail = TRAIL.get()
        self._terms = self._terms.replace(trail=trail)
        if trail is not None:
            trail.size = size
            trail.slots.update(slot for slot in slots if slot is not None)
        return await carry()

    @property
    def pinned(self) -> int | None:
        """Slot of the watched keys."""
        return self._pinned

    def _deadline(self) -> float:
        return math.inf if self._terms.timeout is None else running_loop().time() + self._terms.timeout

    def _begin(self, pool: Pool[Connection], commands: list[Packed], decode: bool, deadline: float) -> Part:
        """Send commands to one node, in one write, and never a second time."""
        rest = rest_of(deadline)
        packed = joined(commands) if len(commands) <= LARGE else []
        if len(commands) > LARGE or size(packed) > LARGE_BYTES:
            terms = self._terms.replace(retry=NEVER, timeout=rest, middleware=())
            large = SharedRoute(lambda: pool, terms).carry(commands, decode, False)
            return Part(pool, None, asyncio.ensure_future(large))
        batch = Batch(len(commands), decode, running_loop().create_future())
        place, trail = self._place(pool), self._terms.trail
        note = None if trail is None or place is None else partial(trail.reach, place)
        pool.place(batch.future, partial(start_batch, packed, batch, note), rest)
        return Part(pool, batch, batch.future)

    def _place(self, pool: Pool[Connection]) -> Address | None:
        """Return the address of a node, if somebody traces."""
        if self._terms.trail is None:
            return None
        return self._replicas.get(pool) or self._find_router().address(pool)

    async def _send_whole(
        self, pool: Pool[Connection], commands: list[Packed], decode: bool, deadline: float
    ) -> Replies:
        """Send a transaction to one node, and never a second time."""
        rest = rest_of(deadline)
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
        borrowed = Traced(self.find_pool, self._terms, "a transaction")
        borrowed.find_router = self._find_router
        await borrowed.__aenter__()
        return _WatchingRoute(borrowed, self)

    # --- Commands of any slots ---------------------------------------------------------------------------------------

    async def _carry(self, commands: list[Packed], slots: list[int | None], decode: bool) -> Replies:
        router, deadline = self._find_router(), self._deadline()
        if router.topology is None:
            await Course(router, commands[0], None, self._terms, deadline).discover()
        flight: Flight | None = None
        if self._terms.read_from == "primary" and self._terms.trail is None:
            flight = take_off(router, commands, slots, decode, self._terms.timeout)
            if flight is not None and (replies := await flight.land()) is not None:
                return replies
        batch = Commands(router, commands, slots, self._terms, partial(self._any_pool, router))
        if flight is not None:
            batch.take_flight(flight)
        elif self._terms.read_from == "primary":
            await self._all(batch.groups(range(len(commands))), batch, decode, deadline)
        else:
            await self._read(router, batch, decode, deadline)
        while failed := batch.to_repeat():
            try:
                due = batch.aim(failed)
                self._tell_repeat(batch, failed)
                if due is not None:
                    batch.pauses += 1
                    await pause(router, due, batch.pauses, deadline)
            except ClientClosed as closed:
                batch.fail(failed, closed)  # others have run
                break
            if running_loop().time() >= deadline:
                batch.give_up(failed)
                break
            await self._all(batch.groups(failed), batch, decode, deadline)
        if batch.pauses and not failed:
            router.note_success()
        return batch.outcome()

    def _tell_repeat(self, batch: Commands, failed: list[int]) -> None:
        """Tell the `events` hook that commands are sent again for another reason than a redirect."""
        if self._terms.observer is not None and (error := batch.last_failure(failed)) is not None:
            named = about(copy_error(error), str(PIPELINE[0]))
            self._terms.observer.repeating(named, batch.rounds)

    async def _carry_parts(
        self, commands: list[Packed], slots: list[int | None], decode: bool, splits: Mapping[int, Split]
    ) -> Replies:
        """Send the parts of commands over several slots in their places, and return one reply for each command."""
        parts: list[Packed] = []
        slots_of_parts: list[int | None] = []
        for number, packed in enumerate(commands):
            split = splits.get(number)
            parts += [packed] if split is None else split.commands
            slots_of_parts += [slots[number]] if split is None else split.slots
        replies = await self._carry(parts, slots_of_parts, decode)
        raw = iter(replies.raw)
        return Replies(
            [
                splits[number].joined([next(raw) for _ in splits[number].slots]) if number in splits else next(raw)
                for number in range(len(commands))
            ],
            replies.clean,
            replies.origin,
        )

    # --- Reads from replicas -----------------------------------------------------------------------------------------

    async def _read(self, router: Router, batch: Commands, decode: bool, deadline: float) -> None:
        """Send the commands once: reads to replicas, and all others to their primaries.

        If one command of a slot writes, all of that slot go to the primary, so that they keep their order.
        """
        shards, others = batch.reads()
        asking = [self._read_shard(router, shard, numbers, batch, decode, deadline) for shard, numbers in shards]
        calls: list[Awaitable[list[int]]] = [self._at_primaries(others, batch, decode, deadline), *asking]
        left: list[int] = []
        for found in await all_of(calls):
            if isinstance(found, BaseException):
                raise found
            left += found
        if left:
            await self._at_primaries(sorted(left), batch, decode, deadline)

    async def _at_primaries(self, numbers: list[int], batch: Commands, decode: bool, deadline: float) -> list[int]:
        await self._all(batch.groups(numbers), batch, decode, deadline)
        return []

    async def _read_shard(
        self, router: Router, shard: Shard, numbers: list[int], batch: Commands, decode: bool, deadline: float
    ) -> list[int]:
        """Ask the servers of a shard one after another; return the numbers of the reads that are left.

        Those that the primary redirects are not: they go where it says.
        """
        for address in self._reads.order(router, shard, self._terms.read_from):
            begin = running_loop().time()
            leads = address == shard.primary.address
            pool = self._reads.pool(router, shard, address)
            if self._terms.trail is not None and not leads:
                self._replicas[pool] = address
            await self._all([(pool, False, numbers)], batch, decode, share_of(deadline, begin))
            left = batch.unserved(numbers)
            if leads:
                left = {number: error for number, error in left.items() if not is_redirect(error)}
            if not left:
                self._reads.served(address, begin)
                return []
            self._reads.failed(router, shard, address, left.values())
            numbers = list(left)
        return numbers

    async def _all(self, groups: list[Group], batch: Commands, decode: bool, deadline: float) -> None:
        """Send each group to its node, all in one turn of the loop, and note the replies."""
        parts: list[Part] = []
        try:
            for pool, asking, numbers in groups:
                try:
                    parts.append(self._begin(pool, batch.bytes_of(numbers, asking), decode, deadline))
                except RedisError as error:  # the connection has just ended, or the client was closed
                    parts.append(Part(pool, None, failed_with(error)))
            for part, (_, asking, numbers) in zip(parts, groups, strict=True):
                try:
                    replies = await part.replies()
                except RedisError as error:
                    batch.fail(numbers, error)
                    continue
                if not replies.clean:
                    part.heed(replies, batch.bytes_of(numbers, asking))
                if self._terms.trail is not None:
                    self._note_replies(part.pool, replies)
                batch.take(numbers, replies.raw[1::2] if asking else replies.raw, replies.clean)
        finally:
            for part in parts:
                forsake(part.future)
            parts.clear()

    def _note_replies(self, pool: Pool[Connection], replies: Replies) -> None:
        """Note the node in the trail, unless all that it says is that it does not run these commands."""
        trail, place = self._terms.trail, self._place(pool)
        if trail is not None and place is not None and not all(isinstance(raw, ClusterError) for raw in replies.raw):
            trail.arrive(place)

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
                    course.note_reply()
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


def _start(packed: Packed, batch: Batch, connection: Connection, rest: float | None) -> None:
    connection.send_batch(packed, batch, rest)


async def all_of(calls: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Await all calls at once, and return the result or the error of each; none outlives the caller."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for task in tasks:
            if not task.get_loop().is_closed():
                task.cancel()
