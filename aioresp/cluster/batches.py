"""Batch of a pipeline on its way to several nodes: what goes where, and what each command has by now.

Owns the replies and errors of the commands, the grouping by node, and which commands may be sent again. Never awaits
but for the reply of a part that was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from aioresp.cluster.flight import Flight
from aioresp.cluster.redirect import ASKING, AT_ONCE, Step, follow, step_after, too_late
from aioresp.cluster.router import Router
from aioresp.cluster.topology import Shard
from aioresp.command import told
from aioresp.contexts.large import Replies
from aioresp.contexts.suspicion import heed_batch
from aioresp.errors import (
    AskError,
    ClusterError,
    CommandTimeout,
    ConnectionLost,
    MovedError,
    PoolTimeout,
    RedisError,
    copy_error,
)
from aioresp.facts.traits import traits
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.reading import NEXT, may_be_read
from aioresp.wire.batch import Batch, fail
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, unpack

#: Part of a batch that goes to one node: its pool, whether each command is asked once, and the numbers of the commands.
Group = tuple[Pool[Connection], bool, list[int]]


class Part:
    """Part of a batch on its way to one node: a batch on a shared connection, or the task of a very large one."""

    __slots__ = ("_batch", "future", "pool")

    def __init__(self, pool: Pool[Connection], batch: Batch | None, future: asyncio.Future[Any]) -> None:
        self.future = future
        self.pool = pool
        self._batch = batch

    async def replies(self) -> Replies:
        """Return the replies. Raises the error of the whole part."""
        found: Any = await self.future
        batch = self._batch
        return found if batch is None else Replies(found, batch.clean, batch.origin)

    def heed(self, replies: Replies, commands: list[Packed]) -> None:
        """Let the pool leave its connections if the replies show that they lead to the wrong server."""
        if self._batch is not None:
            _heed(self.pool, replies, commands)


def failed_with(error: RedisError) -> asyncio.Future[Any]:
    """Return a future that has failed already."""
    future: asyncio.Future[Any] = running_loop().create_future()
    fail(cast(Any, future), error)
    return future


class Commands:
    """Commands of a pipeline on their way: the reply or the error that each has by now."""

    def __init__(
        self,
        router: Router,
        commands: list[Packed],
        slots: list[int | None],
        terms: Terms,
        find_other: Callable[[], Pool[Connection] | None],
    ) -> None:
        self.commands = commands
        self.pauses = 0
        self._router = router
        self._slots = slots
        self._terms = terms
        self._keyless = None in slots
        self._find_other = find_other
        #: The pool for commands without a key, all of which go to one node; None if no primary is healthy.
        self._other = find_other() if self._keyless else None
        self._replies: list[Any] = [None] * len(commands)
        self._errors: set[int] = set()  # numbers of commands whose last reply is an error, and may be followed
        self._failed = False  # set by the first error, never cleared
        self._asking: dict[int, Pool[Connection]] = {}
        self._redirects = 0

    def groups(self, numbers: Iterable[int]) -> list[Group]:
        """Return the parts that go to one node each, in the order of the commands."""
        pools = self._router.pools
        if not self._asking and not self._keyless:  # the first time, and most often the only one
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
            self.fail(group[2], self._router.unserved(self._slots[group[2][0]]))
        return groups

    def reads(self) -> tuple[list[tuple[Shard, list[int]]], list[int]]:
        """Return the reads that replicas may serve, by their shards, and the numbers of all other commands."""
        reading: dict[int | None, bool] = {None: False}
        for packed, slot in zip(self.commands, self._slots, strict=True):
            if reading.get(slot, True):
                reading[slot] = may_be_read(traits(unpack(packed)))
        router = self._router
        known = {
            slot: router.shard_of(slot)
            for slot, only in reading.items()
            if only and slot is not None and not router.on_its_way(slot)
        }
        shards: dict[int, tuple[Shard, list[int]]] = {}
        others: list[int] = []
        for number, slot in enumerate(self._slots):
            shard = None if slot is None else known.get(slot)
            if shard is None:
                others.append(number)
            else:
                shards.setdefault(id(shard), (shard, []))[1].append(number)
        return list(shards.values()), others

    def unserved(self, numbers: list[int]) -> dict[int, RedisError]:
        """Return the errors of reads that another server may serve, by their numbers."""
        return {number: self._replies[number] for number in numbers if isinstance(self._replies[number], NEXT)}

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

    def take_flight(self, flight: Flight) -> None:
        """Note the outcomes of the first flight, if not all of its replies are clean."""
        for share, outcome in flight.outcomes():
            if isinstance(outcome, RedisError):
                self.fail(share.numbers, outcome)
                continue
            if not outcome.clean:
                _heed(share.pool, outcome, share.commands)
            self.take(share.numbers, outcome.raw, outcome.clean)

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
            if number in self._errors and self._step(number, fact) is not Step.STOP:
                if all(ran.get(key, True) and (fact.read_only or key not in ran) for key in fact.keys):
                    again.append(number)
                else:
                    self._replies[number] = _overtaken(self._replies[number])
                continue
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
        if self._keyless and any(self._slots[number] is None for number in failed):
            self._other = self._find_other()
        for number in failed:
            error, slot = self._replies[number], self._slots[number]
            if isinstance(error, (MovedError, AskError)) and slot is not None:
                aim = follow(self._router, error, slot)
                if self._terms.trail is not None:
                    self._terms.trail.redirects += 1
                if isinstance(error, AskError) and aim.pool is not None:
                    self._asking[number] = aim.pool
                if aim.circle or self._redirects > AT_ONCE:
                    due = error
            elif not changed and not (isinstance(error, ConnectionLost) and self._redirects == 1):
                due = error
        return due

    @property
    def rounds(self) -> int:
        """Number of times that commands were sent again."""
        return self._redirects

    def last_failure(self, failed: list[int]) -> RedisError | None:
        """Return the error of a command that is sent again, unless all of them follow redirects."""
        errors = (self._replies[number] for number in reversed(failed))
        return next((error for error in errors if not isinstance(error, (MovedError, AskError))), None)

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
            error = max(errors, key=_doubt)  # one may say that nothing was sent where another leaves it open
            errors.clear()
            replies.clear()
            try:
                raise error
            finally:
                del error  # it holds this frame by its traceback
        return Replies(replies, not errors)


def _doubt(error: RedisError) -> int:
    """Return how open it is whether the command of an error has run."""
    if isinstance(error, ConnectionLost):
        return 2 * (error.outcome == "unknown")
    return int(isinstance(error, CommandTimeout) and not isinstance(error, PoolTimeout))


def _overtaken(error: RedisError) -> RedisError:
    """Return the error of a command that must not be sent again, as a later one of its key has run.

    No redirect reaches a caller.
    """
    if not isinstance(error, (MovedError, AskError)):
        return error
    late = ClusterError("it was not run, as its slot moved; a later command of its key has run, so it stays out")
    late.__cause__ = error
    return late


def _is_of_connection(error: RedisError) -> bool:
    return not hasattr(error, "code")


def _heed(pool: Pool[Connection], replies: Replies, commands: list[Packed]) -> None:
    heed_batch(lambda: pool, replies, commands, False)
