"""Holding of a lock, or of a place of a semaphore, for the time of a block.

Owns the way in and out: the turn, the lease, the end of a block whose lease was lost, and the release, which runs even
if its caller is cancelled. Never knows the keys and scripts: `Lock` and `Semaphore` do.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import time
import warnings
import weakref
from asyncio import _get_running_loop
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Never, TypeVar

from aioresp.client import Client
from aioresp.command import as_bytes, shown
from aioresp.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClientClosed,
    CommandTimeout,
    ConnectionLost,
    RedisError,
    ResponseError,
)
from aioresp.misuse import Entered
from aioresp.recipes.checks import client, seconds
from aioresp.recipes.errors import LockLost, LockMisused, LockTimeout
from aioresp.recipes.gate import Gate, gate
from aioresp.recipes.leases import Lease, keep, later
from aioresp.recipes.lua import Call

if TYPE_CHECKING:
    from datetime import timedelta

log: Final = logging.getLogger("aioresp")

#: Least seconds of a lease: renewals of a shorter one would not bear a busy machine.
LEAST: Final = 0.1

#: Parts of the time to live that one attempt at a renewal may take, and in which the lease is taken at its word: after
#: a slower answer the server is asked again, so many times at most.
_ATTEMPT: Final = 1 / 5
_QUICK: Final = 1 / 4
_ATTEMPTS: Final = 3

#: Seconds for which the next task of this process lets others ask first: two round trips, within these bounds.
_WAY: Final = (0.002, 0.05)

#: Seconds after which a release is repeated whose acquisition may still be on its way.
_LATE: Final = 1.0

#: Errors that tell that the script has not run.
_NOT_RUN: Final = (ResponseError, ArgumentError, ClientClosed)

_GONE: Final = "the server has given it to another holder, or deleted it"


class Books:
    """The scripts of one kind of lease on one client, with the views that send them."""

    def __init__(self, redis: Client[Any], kind: str, ttl: float) -> None:
        plain = redis.with_options(decode_responses=False, idempotent=False, read_from="primary")
        self.redis = plain.with_options(idempotent=True)
        own = math.inf if redis.terms.timeout is None else redis.terms.timeout
        # Nobody waits longer for a release than the lease lasts.
        once, again = plain.with_options(timeout=min(own, ttl)), self.redis.with_options(timeout=min(own, ttl))
        self.take = Call(self.redis, f"scripts/{kind}_take").on
        self.renew = Call(again.with_options(timeout=min(own, ttl * _ATTEMPT)), f"scripts/{kind}_renew").on
        self.free_once = Call(once, f"scripts/{kind}_free").on
        self.free = Call(again, f"scripts/{kind}_free").on

    async def free_late(self, keys: tuple[bytes, ...], arguments: tuple[str | bytes, ...], pause: float) -> None:
        """Give back what may have been taken, and again after a pause if the acquisition may still be on its way."""
        try:
            await self.free(keys, arguments)
            if pause:
                await asyncio.sleep(pause)
                await self.free(keys, arguments)
        except RedisError as error:
            log.info("a lock could not be given back for a caller that is gone, and ends by itself: %s", error)


_books: Final[weakref.WeakKeyDictionary[Client[Any], dict[tuple[str, float], Books]]] = weakref.WeakKeyDictionary()


def books(redis: Client[Any], kind: str, ttl: float) -> Books:
    """Return the scripts for a client: locks are made by the thousand, views and scripts once."""
    of_client = _books.get(redis)
    if of_client is None or len(of_client) > 100:
        of_client = _books[redis] = {}
    found = of_client.get((kind, ttl))
    if found is None:
        found = of_client[kind, ttl] = Books(redis, kind, ttl)
    return found


class _Ids:
    """Ids of holders, of which no two are the same in all processes."""

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex()
        self._numbers = itertools.count()

    def __next__(self) -> str:
        # With the thread, as free-threaded builds may count the same number in two threads.
        return f"{self._prefix}{get_ident():x}-{next(self._numbers):x}"


_ids = _Ids()


def _in_child() -> None:
    global _ids
    _ids = _Ids()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Held:
    """A lock, or a place of a semaphore, that is held. `lost` is empty, or the reason once it is lost."""

    def __init__(self, kind: str, tag: bytes, identity: str, token: int) -> None:
        self.lost = ""  # the reason, once it is lost
        self._name = kind, tag
        self._id = identity
        self._token = token
        self._lease: Lease | None = None
        self._owner: Holding[Any] | None = None  # the lock, while it is held
        self._task: asyncio.Task[Any] | None = None  # the task of the block, if there is one
        self._cancelling = 0  # number of cancellations of the task that its block had not caused
        self._is_told = False  # set when the task is cancelled, as the lease was lost

    @property
    def _what(self) -> str:
        return f"the {self._name[0]} {shown(self._name[1])}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self._name[1])}{', lost' if self.lost else ''})"

    def raise_if_lost(self) -> None:
        """Raise LockLost if it is known to be lost: for work that goes on for long without awaiting anything."""
        reason = self.lost or (self._lease.lost if self._lease is not None else "")
        if reason:
            raise _lost(self._what, reason)

    def _bind(self, task: asyncio.Task[Any] | None) -> None:
        if task is not None:
            self._task, self._cancelling = task, task.cancelling()

    def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._is_told = True
            self._task.cancel(f"{self._what} was lost")

    def __del__(self) -> None:
        lease = getattr(self, "_lease", None)
        if lease is not None and not lease.is_over:
            lease.release()
            if self._owner is not None:
                self._owner._forget()
            warnings.warn(
                f"{self._what} was never given back: use `async with`, or await `release()`; its lease ends by itself",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


H = TypeVar("H", bound=Held)


class Holding(Entered, Generic[H]):
    """Base of Lock and Semaphore. One block at a time holds one of them."""

    _kind: str
    _keeps_turn: bool
    """Whether the holder stays at the head of the line, because nobody else can get it meanwhile."""

    def __init__(
        self,
        redis: Client[Any],
        name: str | bytes,
        ttl: float | timedelta,
        wait: float | timedelta | None,
        max_hold: float | timedelta | None,
        others: dict[str, Never],
    ) -> None:
        for other in others:
            raise ArgumentTypeError(f"{type(self).__name__}() has no option {other!r}{_ELSEWHERE.get(other, '')}")
        redis = client(redis)
        self._tag = tag(name)
        self.ttl = seconds("ttl", ttl, LEAST)
        self.wait = None if wait is None else seconds("wait", wait, 0)
        self.max_hold = None if max_hold is None else seconds("max_hold", max_hold, LEAST)
        self._books = books(redis, self._kind, self.ttl)
        self._held: H | None = None
        self._is_busy = False  # set when it is asked for, cleared when it is given back
        self._gate: Gate | None = None  # while it is held: the gate that it has to leave
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def name(self) -> str:
        """The name, which is the hash tag of its keys."""
        return self._tag.decode("utf-8", "replace")

    @property
    def _what(self) -> str:
        return f"the {self._kind} {shown(self._tag)}"

    def __repr__(self) -> str:
        if not hasattr(self, "_loop"):  # its constructor failed
            return f"{type(self).__name__}(not made)"
        state = "held" if self._held is not None else "waits" if self._is_busy else "not held"
        return f"{type(self).__name__}({self.name!r}, ttl={self.ttl:g}, {state})"

    # --- For the kinds ------------------------------------------------------------------------------------------------

    def _keys(self) -> tuple[bytes, ...]:
        """Return the keys of the script that takes it; the first one is that of the others."""
        raise NotImplementedError

    def _arguments(self) -> tuple[int, ...]:
        """Return the last arguments of the script that takes it."""
        raise NotImplementedError

    def _made(self, identity: str, token: int) -> H:
        raise NotImplementedError

    @property
    def _channel(self) -> bytes:
        return b"{%s}:%s:free" % (self._tag, self._kind.encode())

    # --- In -----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> H:
        held = await self.acquire()
        held._bind(asyncio.current_task())
        return held

    async def acquire(self) -> H:
        """Take it without a block: `release()` must follow. Nothing is cancelled if it is lost: see `Held.lost`.

        Raises LockTimeout after `wait` seconds, and LockMisused if this object holds or awaits it already.
        """
        if self._is_busy:
            raise LockMisused(
                f"{self._what} is {'held' if self._held is not None else 'awaited'} by this object already: make a "
                f"{type(self).__name__} for each task, as they cost little"
            )
        self._is_busy = True
        try:
            loop = self._loop = asyncio.get_running_loop()
            line = gate(loop, self._books.redis.node, self._keys()[0])
            if self.wait is None:
                held = await self._in_turn(line)
            elif self.wait:
                held = await self._in_time(line, self.wait)
            else:
                held = await self._once(line)
            self._held = held
        finally:
            if self._held is None:
                self._is_busy = False
        return held

    async def _in_time(self, line: Gate, wait: float) -> H:
        limit = asyncio.timeout(wait)
        try:
            async with limit:
                return await self._in_turn(line)
        except TimeoutError:
            if not limit.expired():
                raise  # one of the client's own
            raise _late(self._what, wait, line.rest()) from None

    async def _once(self, line: Gate) -> H:
        if line.is_taken if self._keeps_turn else line.is_refused:
            raise _late(self._what, 0.0, line.rest())
        if self._keeps_turn:
            await line.enter()
        held = rest = None
        try:
            held, rest = await self._ask(line, next(_ids))
        finally:
            if held is None or not self._keeps_turn:
                line.leave() if self._keeps_turn else line.settle()
        if held is None:
            raise _late(self._what, 0.0, rest)
        return held

    async def _in_turn(self, line: Gate) -> H:
        """Wait for one's turn in this loop, and then until the server gives it."""
        await line.enter()
        try:
            await line.let_others()
            identity = next(_ids)
            while True:
                held, rest = await self._ask(line, identity)
                if held is not None:
                    break
                line.is_refused = True
                line.ends = None if rest is None else time.monotonic() + rest
                wake, was_live = await line.wake(self._books.redis, self._channel)
                if was_live:  # else it may have become free before there was a subscription
                    await wake.wait(1.0 if rest is None else rest + 0.001)
        except BaseException:
            line.leave()
            raise
        if not self._keeps_turn:
            line.leave()
        return held

    async def _ask(self, line: Gate, identity: str) -> tuple[H | None, float | None]:
        """Ask the server. Return what is held, or the seconds until the lease in the way ends."""
        token, since = b"", 0.0
        for attempt in range(_ATTEMPTS):
            since = time.monotonic()
            try:
                token, rest = await self._answer(line, identity)
            except BaseException:
                if attempt:
                    self._free_aside(identity)  # the answer before gave it to nobody
                raise
            if not token:
                return None, rest / 1000 if rest >= 0 else None
            if time.monotonic() - since < self.ttl * _QUICK:
                break  # else much of the lease may be over: the same question begins it again
        held = self._made(identity, int(token))
        try:
            self._keep(held, since)
        except BaseException:
            self._free_aside(identity)
            raise
        if self._keeps_turn:
            self._gate, line.lease, line.ends = line, held._lease, None
        return held, None

    async def _answer(self, line: Gate, identity: str) -> tuple[bytes, int]:
        # In a task of its own: the script may run although its caller is gone, and what it has taken is given back.
        answer: asyncio.Future[tuple[bytes, int]] = line.loop.create_future()
        asking = line.loop.create_task(self._asked(identity, answer))
        try:
            return await answer
        except (asyncio.CancelledError, GeneratorExit):
            # The answer and the cancellation may have come in one turn, and none has come if this is closed by hand.
            if not answer.cancel() and not answer.cancelled() and answer.exception() is None and answer.result()[0]:
                self._free_aside(identity)
            raise
        finally:
            del asking, answer  # an error would hold this frame by its traceback

    async def _asked(self, identity: str, answer: asyncio.Future[tuple[bytes, int]]) -> None:
        arguments: tuple[str | int, ...] = (identity, round(self.ttl * 1000), *self._arguments())
        try:
            found = await self._books.take(self._keys(), arguments)
        except Exception as error:
            if not isinstance(error, _NOT_RUN):
                self._free_aside(identity, min(_LATE, self.ttl / 4))
            if not answer.done():
                answer.set_exception(error)
        except BaseException:  # the loop ends: the question may be on its way
            self._free_aside(identity, min(_LATE, self.ttl / 4))
            answer.cancel()
            raise
        else:
            if not answer.done():
                answer.set_result(found)
            elif found[0]:
                self._free_aside(identity)  # the caller is gone

    def _keep(self, held: H, since: float) -> None:
        renew, keys, arguments = self._books.renew, self._keys()[:1], (held._id, round(self.ttl * 1000))
        mine, held._owner = weakref.ref(held), self

        async def renewed() -> bool:
            still: int = await renew(keys, arguments)
            return still == 1

        def on_lost(reason: str) -> None:
            lost = mine()
            if lost is not None:
                lost.lost = reason
                if (owner := lost._owner) is not None and owner._held is lost:
                    owner._on_lost(lost)

        until = math.inf if self.max_hold is None else since + self.max_hold
        held._lease = keep(renewed, self.ttl, since=since, until=until, on_lost=on_lost)

    def _free_aside(self, identity: str, pause: float = 0.0) -> None:
        try:
            later(partial(self._books.free_late, self._keys()[:1], (identity, self._channel), pause))
        except RuntimeError:
            pass  # the process ends, and the lease will

    # --- Out ----------------------------------------------------------------------------------------------------------

    def _on_lost(self, held: H) -> None:
        """End the block, and let the next task of this loop ask."""
        log.warning("%s was lost: %s", self._what, held.lost)
        self._leave_gate()
        held._cancel()

    def _forget(self) -> None:
        """Let the next task of its loop ask: what was held is collected, and ends by itself."""
        line, self._gate, self._is_busy = self._gate, None, False
        if line is not None:
            line.leave_from_anywhere()

    def _leave_gate(self) -> None:
        line, self._gate = self._gate, None
        if line is None:
            return
        if _get_running_loop() is self._loop:
            line.leave()
        else:
            line.leave_from_anywhere()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held = self._taken()
        if isinstance(error, GeneratorExit):  # closed by hand: nothing can be awaited any more
            self._abandon(held)
            return
        reason = await self._give_back(held)
        task, held._task = held._task, None
        if held._is_told and task is not None and task is asyncio.current_task():
            is_ours = task.uncancel() <= held._cancelling
            if isinstance(error, asyncio.CancelledError) and is_ours:
                raise _lost(self._what, reason) from error
        if not reason:
            return
        if error is None:
            raise _lost(self._what, reason)
        error.add_note(f"{self._what} was lost: {reason}")

    async def release(self) -> None:
        """Give back what `acquire` took. Raises LockLost if it was lost meanwhile, and LockMisused if it is not held.

        If the server cannot be reached, the failure is logged, and the lease ends by itself.
        """
        if self._held is not None and self._held._task is not None:
            raise LockMisused(f"{self._what} is given back by the end of its block: leave the block to do it earlier")
        held = self._taken()
        reason = await self._give_back(held)
        if reason:
            raise _lost(self._what, reason)

    def _taken(self) -> H:
        held = self._held
        if held is None:
            raise LockMisused(f"{self._what} is not held by this object")
        self._held = None
        held._owner = None
        return held

    def _abandon(self, held: H) -> None:
        if held._lease is not None:
            held._lease.release()
        if held._lease is None or not held._lease.is_inherited:
            self._free_aside(held._id)
        self._leave_gate()
        self._is_busy = False

    async def _give_back(self, held: H) -> str:
        """Release it; return the reason if it was lost, else an empty text."""
        lease = held._lease
        assert lease is not None
        reason = held.lost or lease.lost
        lease.release()
        try:
            if not reason:
                if self._gate is not None and not self._gate.is_contended:
                    self._leave_gate()  # the next task's question goes out behind this release, a round trip earlier
                reason = held.lost = await self._free(held)
            elif reason != _GONE and not lease.is_inherited:
                self._free_aside(held._id)
        finally:
            self._leave_gate()
            self._is_busy = False
        return reason

    async def _free(self, held: H) -> str:
        keys, arguments = self._keys()[:1], (held._id, self._channel)
        since = time.monotonic()
        try:
            try:
                told = await self._books.free_once(keys, arguments)
            except (ConnectionLost, CommandTimeout):
                # It may have run: that nobody holds the lock proves nothing now, and the lease was not over.
                told = await self._books.free(keys, arguments) or 1
        except RedisError as error:
            log.warning("%s could not be given back, and ends by itself: %s", self._what, error)
            return ""
        except BaseException:
            self._free_aside(held._id)
            raise
        if not told:
            return _GONE
        if told > 1:
            line = self._gate or gate(asyncio.get_running_loop(), self._books.redis.node, keys[0])
            line.give_way(told - 1, min(max(2 * (time.monotonic() - since), _WAY[0]), _WAY[1]))
        return ""


#: Options of other locks, redis-py's above all, and what they are here.
_ELSEWHERE: Final[dict[str, str]] = {
    "timeout": ": it is `ttl` here, and renewed by itself",
    "sleep": ": those who wait are told when it is free",
    "blocking": ": it is `wait=0` here to try once",
    "blocking_timeout": ": it is `wait` here",
    "thread_local": ": each object holds it for itself",
    "raise_on_release_error": ": a lock that was lost raises LockLost",
    "auto_release_time": ": it is `ttl` here, and renewed by itself",
    "context_manager_blocking": ": it is `wait=0` here to try once",
    "context_manager_timeout": ": it is `wait` here",
}

#: Methods of other locks, and what they are here.
METHODS: Final[dict[str, str]] = {
    **dict.fromkeys(("extend", "reacquire"), "the lease is renewed by itself, until it is given back"),
    **dict.fromkeys(("do_acquire", "do_release", "do_extend", "do_reacquire"), "it is `async with` here"),
    "local": "each object holds it for itself: `await lock.owned()` asks the server",
    "key": "the name is `name`; its keys are `{name}:...`",
}


def _lost(what: str, reason: str) -> LockLost:
    return LockLost(f"{what} was lost: {reason}", reason)


def _late(what: str, wait: float, rest: float | None) -> LockTimeout:
    known = "the server has not told for how long"
    if rest is not None:
        known = f"the lease in the way ends in {rest:.3g} s, unless it is renewed"
    return LockTimeout(f"{what} was not free within {wait:g} s; {known}", rest)


def tag(name: str | bytes) -> bytes:
    """Return the name as the hash tag of a recipe's keys. Raise an error if it is none."""
    if not isinstance(name, (str, bytes)):
        raise ArgumentTypeError(f"name is {type(name).__name__}, not str or bytes")
    found = as_bytes(name, "name", False)
    if not found or found[:1] == b"}":
        raise ArgumentError("name is empty or begins with '}', which makes no hash tag: give the lock a name")
    return found
