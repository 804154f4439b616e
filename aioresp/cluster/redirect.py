"""Redirect loop of one command: it is sent to the next node until it has run, or its deadline has passed.

Owns what follows each error of a node. A command is sent again only if it has certainly not run, or may run twice: the
count of attempts bounds nothing, the deadline all. Never keeps state between two commands.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from enum import Enum
from functools import cached_property, partial
from typing import Any, Final, NamedTuple, TypeAlias

from aioresp.cluster.router import Router
from aioresp.cluster.topology import Topology
from aioresp.command import told
from aioresp.contexts.suspicion import WITHIN
from aioresp.errors import (
    AskError,
    ClusterDownError,
    ClusterError,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    MovedError,
    RedisError,
    TryAgainError,
    copy_error,
)
from aioresp.facts.traits import Traits, traits
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.pool.queue import forsake
from aioresp.retry import NEVER, has_not_run, may_connect_again, may_repeat, not_now, wrong_server
from aioresp.wire.batch import Batch, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack, unpack

ASKING: Final[Packed] = pack(("ASKING",))

#: Redirects of a call that are followed without a pause: more are a circle, or a view that is not settled. Nodes that
#: are tried in a row before a pause are as many.
AT_ONCE: Final = 3

#: Function that returns the pool of the next attempt; None if there is none yet.
Find: TypeAlias = Callable[[], Pool[Connection] | None]

#: Function that is told of the connection on which a call travels.
Note: TypeAlias = Callable[[Connection], object]

#: Seconds of the first pause and of the longest; a change of the table ends each of them.
PAUSES: Final = (0.02, 0.25)


_NOT_FOLLOWED: Final = (
    "it was not followed, because it names no node for the slot of this command's key: a script may have made it up, "
    "or something that is no node of a cluster"
)

#: What to do where a call has met the same answer until its deadline.
_ADVICE: Final[tuple[tuple[type[RedisError], str], ...]] = (
    (ClusterDownError, "`redis-cli --cluster check` at one of its nodes tells which slots and nodes are missing"),
    (TryAgainError, "the keys of a slot are on their way: `redis-cli --cluster fix` ends a move that was broken off"),
    (
        MovedError,
        "the nodes redirect to each other: do their addresses lead to other nodes from here (see address_map), or to a "
        "proxy?",
    ),
    (AskError, "a slot is on its way: `redis-cli --cluster fix` ends a move that was broken off"),
)


class Step(Enum):
    """Step that follows an error."""

    MOVE = "another node serves the slot"
    ASK = "another node has this key already"
    WAIT = "the node refuses for now"
    SEEK = "the node is gone, and the command has not run or may run twice"
    STOP = "the caller gets the error"


def step_after(error: BaseException, facts: Traits, slot: int | None, terms: Terms) -> Step:
    """Return the step that follows an error. Errors that a script may have made up are believed for its slot only.

    A redirect that is not followed tells why.
    """
    if isinstance(error, (MovedError, AskError)):
        if error.slot is None or error.slot != slot:
            error.why = _NOT_FOLLOWED
            return Step.STOP
        return Step.MOVE if isinstance(error, MovedError) else Step.ASK
    if isinstance(error, ConnectionLost):
        if may_repeat(error, facts, terms.idempotent):
            return Step.STOP if terms.retry is NEVER and error.outcome != "not sent" else Step.SEEK
        return Step.STOP
    if isinstance(error, ConnectError):
        return Step.SEEK if may_connect_again(error) and terms.retry is not NEVER else Step.STOP
    if isinstance(error, (TryAgainError, ClusterDownError)):
        return Step.WAIT if has_not_run(error, facts) or _is_own_word(error) else Step.STOP
    if not_now(error) and (terms.idempotent or has_not_run(error, facts)):
        return Step.WAIT if terms.retry is not NEVER else Step.STOP
    return Step.STOP


def _is_own_word(error: ClusterError) -> bool:
    """Return whether these are the server's words before it runs a script, none of whose commands gets them."""
    return str(error.args[0]).startswith(("TRYAGAIN Multiple keys request", "CLUSTERDOWN "))


class Course:
    """Way of one call through the nodes: its deadline, the redirects that it has followed, and its next target."""

    def __init__(
        self,
        router: Router,
        packed: Packed,
        slot: int | None,
        terms: Terms,
        deadline: float,
        find: Find | None = None,
    ) -> None:
        """Begin a course to the node that serves `slot`, or to the one that `find` chooses for each attempt."""
        self.router = router
        self.packed = packed
        self.target: Pool[Connection] | None = None
        """The pool of the last attempt."""
        self.asking = False
        """Whether the target is asked once, by ASKING, for a slot that it does not serve yet."""
        self._slot = slot
        self._terms = terms
        self._deadline = deadline
        self._find = find or partial(router.pool, -1 if slot is None else slot)
        self._redirects = 0  # followed so far
        self._moves = 0  # other nodes tried in a row, without a pause
        self._pauses = 0
        self._repeats = 0  # attempts after an error that was no redirect
        self._answer = ""  # the last answer that was followed, for the error of an attempt that has no time left
        if slot is not None and terms.trail is not None:
            terms.trail.slots.add(slot)
        self._failures = 0  # attempts at the first topology that have failed

    @property
    def rest(self) -> float | None:
        """Seconds until the deadline, as `rest_of` tells."""
        return rest_of(self._deadline)

    def note(self) -> Note | None:
        """Return a function that notes the connection by which the target is asked; None unless somebody traces."""
        trail = self._terms.trail
        at = None if trail is None or self.target is None else self.router.address(self.target)
        return None if trail is None or at is None else partial(trail.reach, at)

    def note_reply(self) -> None:
        """Note that the target has run the command: for other callers that wait, and if somebody traces."""
        if self._pauses:
            self.router.note_success()
        trail = self._terms.trail
        at = None if trail is None or self.target is None else self.router.address(self.target)
        if trail is not None and at is not None:
            trail.arrive(at)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    @cached_property
    def _facts(self) -> Traits:
        """The traits of the command; most commands run at once, and need none."""
        return traits(unpack(self.packed))

    async def next(self) -> Pool[Connection]:
        """Return the pool of the next attempt; wait until there is one."""
        while True:
            self.router.check()
            if self.asking and self.target is not None:
                return self.target
            if (target := self._find()) is not None:
                self.target = target
                return target
            if self.router.topology is None:
                await self.discover()
            else:
                await self.after(self.router.unserved(self._slot), Step.WAIT)

    async def discover(self) -> Topology:
        """Return the topology; wait for the first one. Raises the error that keeps it away."""
        last: RedisError = CommandTimeout(f"no node of {self.router.nodes.address} has told the topology in time")
        try:
            while (topology := self.router.topology) is None:
                error = await self.router.discover(self._deadline)
                if error is not None:
                    last = copy_error(error)
                    self._failures += 1
                    pause = self._terms.retry.pause(self._failures) if may_connect_again(error) else None
                    if pause is None:
                        raise self._told(last)
                    await asyncio.sleep(max(min(pause, self._deadline - self._now()), 0.0))
                if self.router.topology is None and self._now() >= self._deadline:
                    raise self._told(last)
        finally:
            del last  # it holds this frame by its traceback
        return topology

    async def after(self, error: RedisError, step: Step | None = None) -> None:
        """Choose the next target after an error, with a pause where one is due. Raises it if there is none."""
        step = step or step_after(error, self._facts, self._slot, self._terms)
        try:
            if step is Step.STOP:
                if wrong_server(error) or any(word in str(error) for word in WITHIN):
                    self.router.refresh()  # the next call shall not meet the same node
                if isinstance(error, CommandTimeout) and self._answer:
                    error.args = (f"{error.args[0]}; the answer before was: {self._answer}",)
                raise self._told(error)
            self._answer = str(error.args[0]) if isinstance(error, ClusterError) else self._answer
            before, self.asking = self.target, False
            trail = self._terms.trail
            if isinstance(error, (MovedError, AskError)):
                assert self._slot is not None
                self._redirects += 1
                if trail is not None:
                    trail.redirects += 1
                aim = follow(self.router, error, self._slot, before)
                due = aim.circle or self._redirects > AT_ONCE
                if step is Step.ASK and aim.pool is not None:
                    self.target, self.asking = aim.pool, True
            else:
                changed = self.router.catch_up() or (before is not None and self._find() is not before)
                # A lost connection is replaced by the pool, while the command waits in its line.
                lost = isinstance(error, ConnectionLost) and not self._pauses and before is None
                self._moves += 1  # a node chosen at random is another one nearly each time
                due = not (changed or lost) or self._moves > AT_ONCE
            if due:
                self._pauses += 1
                self._moves = 0
                await pause(self.router, error, self._pauses, self._deadline)
            if self._now() >= self._deadline:
                raise self._told(too_late(error))
            if self._terms.observer is not None and before is not None and step in (Step.WAIT, Step.SEEK):
                self._repeats += 1
                self._terms.observer.repeating(self._told(error), self._repeats)
        finally:
            del error  # it holds this frame by its traceback

    def _told(self, error: RedisError) -> RedisError:
        told(error, self._facts)
        return error


def rest_of(deadline: float) -> float | None:
    """Return the seconds until a loop time, and a moment where the loop was late; None for infinity."""
    return None if deadline == math.inf else max(deadline - running_loop().time(), 0.001)


class Aim(NamedTuple):
    """Node that a redirect names, or None if it names none that is known.

    In a `circle`, it is the node that has sent the redirect.
    """

    pool: Pool[Connection] | None
    circle: bool


def follow(router: Router, error: MovedError | AskError, slot: int, before: Pool[Connection] | None = None) -> Aim:
    """Return the node of a redirect, and note in the table that it serves the slot, unless it is to be asked once."""
    before = before or router.pool(slot)
    origin = before if before is not None and before.find(error.origin) is not None else None
    address = router.locate(error.host, error.port, None if origin is None else router.address(origin))
    if address is None:
        router.refresh()  # it tells which node serves the slot
        return Aim(None, True)
    pool = router.pool_at(address)
    router.tell_redirect(error, slot, address, origin)
    if isinstance(error, AskError):
        return Aim(pool, False)
    router.patch(slot, pool)
    if origin is not None and pool is origin:
        router.refresh()
        # A proxy, or a name that leads to another node by now: another connection may lead there.
        pool.leave(error.origin, error)
    return Aim(pool, pool is origin)


async def pause(router: Router, error: RedisError, count: int, deadline: float) -> None:
    """Wait before another attempt, the `count`-th time in a call: until the table changes, where that may help."""
    first, most = PAUSES
    seconds = min(most, first * 2.0 ** min(count - 1, 10)) * random.uniform(0.5, 1.0)
    seconds = max(min(seconds, deadline - asyncio.get_running_loop().time()), 0.0)
    if isinstance(error, (TryAgainError, AskError)):
        await asyncio.sleep(seconds)
    else:
        await router.wait(min(max(seconds, router.crowded), max(deadline - asyncio.get_running_loop().time(), 0.0)))


def too_late(error: RedisError) -> RedisError:
    """Return the error of a call whose deadline has passed. No redirect reaches a caller."""
    if isinstance(error, (ConnectionLost, ConnectError)):
        return error
    advice = next((f": {text}" for kind, text in _ADVICE if isinstance(error, kind)), "")
    late = CommandTimeout(f"the cluster did not run it in time; the last answer was: {error.args[0]}{advice}")
    late.__cause__ = error
    return late


async def deliver(course: Course, decode: bool, error: RedisError | None = None) -> Any:
    """Send a command along its course until it has run; return the raw reply. With `error` it has failed once."""
    try:
        while True:
            if error is not None:
                await course.after(error)
                error = None
            pool = await course.next()
            send = _ask if course.asking else send_once
            try:
                value = await send(pool, course.packed, decode, course.rest, course.note())
            except RedisError as failure:
                error = failure
            else:
                course.note_reply()
                return value
    finally:
        error = None  # it holds this frame by its traceback


async def send_once(
    pool: Pool[Connection], packed: Packed, decode: bool, rest: float | None, note: Note | None = None
) -> Any:
    """Send a command to a node, and never a second time; return the raw reply. `note` is told of the connection."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    try:
        pool.place(future, partial(_start, packed, decode, future, note), rest)
        return await future
    finally:
        forsake(future)
        del future  # its error would hold this frame, by its traceback


async def _ask(pool: Pool[Connection], packed: Packed, decode: bool, rest: float | None, note: Note | None) -> Any:
    batch = Batch(2, decode, asyncio.get_running_loop().create_future())
    asked = reply = error = None
    try:
        pool.place(batch.future, partial(start_batch, joined([ASKING, packed]), batch, note), rest)
        asked, reply = await batch.future
        if isinstance(reply, RedisError):
            error = asked if isinstance(asked, RedisError) else reply
            error.origin = batch.origin
            raise error
        return reply
    finally:
        forsake(batch.future)
        del batch, asked, reply, error  # the same


def _start(
    packed: Packed,
    decode: bool,
    future: asyncio.Future[Any],
    note: Note | None,
    connection: Connection,
    rest: float | None,
) -> None:
    if note is not None:
        note(connection)
    connection.send(packed, decode, rest, future)


def start_batch(packed: Packed, batch: Batch, note: Note | None, connection: Connection, rest: float | None) -> None:
    """Send a batch on the connection that the pool has found; `note` is told of it."""
    if note is not None:
        note(connection)
    connection.send_batch(packed, batch, rest)
