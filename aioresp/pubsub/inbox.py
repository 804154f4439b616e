"""Bounded buffer of arrived items, with an overflow policy.

Owns the items between the producer, which never waits, and the consumer. Never knows where the items come from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, overload

from aioresp.arguments import as_seconds, numeral
from aioresp.errors import (
    ArgumentError,
    ArgumentTypeError,
    RedisError,
    SubscriptionClosed,
    SubscriptionOverflow,
    copy_error,
)
from aioresp.facts.traits import FOREVER
from aioresp.misuse import Iterated
from aioresp.timers import Alarm

if TYPE_CHECKING:
    from datetime import timedelta

T = TypeVar("T")
K = TypeVar("K")

#: Policy for an item that finds the buffer full.
Overflow: TypeAlias = Literal["drop_oldest", "drop_newest", "close", "wait"]

OVERFLOWS: Final = ("drop_oldest", "drop_newest", "close", "wait")


class Inbox(Iterated, AsyncIterator[T]):
    """An asynchronous iterator over the items that are put in, for one task or for several that share the work.

    `dropped` counts the items that found no room. An error among the items is raised at its place, and the iteration
    can go on after it.
    """

    _instead = "make one in the process that reads it, from that process's client"
    _reading = "async for message in s:"

    def __init__(self, buffer: int, overflow: Overflow) -> None:
        if buffer.__class__ is not int:
            raise ArgumentTypeError(f"buffer is {type(buffer).__name__}, not int")
        if buffer < 1:
            raise ArgumentError(f"buffer is {numeral(buffer)}, not 1 or more")
        if overflow not in OVERFLOWS:
            raise ArgumentError(f"overflow is {overflow!r}, not one of {', '.join(OVERFLOWS)}")
        self.dropped = 0
        #: Whether it may ask the producer, after any item, to stop for a while.
        self.waits = overflow == "wait"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._items: deque[Any] = deque()
        self._buffer = buffer
        #: While fewer items are buffered, put() takes the fast path.
        self._room = buffer - 1 if overflow == "wait" else buffer
        self._overflow = overflow
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._ended = False
        self._error: RedisError | None = None
        #: Set when the producer is asked to wait, cleared when half of the buffer is free again.
        self._full = False
        #: Whether taking an item may need more than that; set for good by a first error among the items.
        self._careful = overflow == "wait"

    @property
    def waiting(self) -> int:
        """Number of items that are buffered."""
        return len(self._items)

    # --- In ----------------------------------------------------------------------------------------------------------

    def put(self, item: T) -> None:
        """Buffer an item, or drop one, as `overflow` says."""
        items = self._items
        if len(items) < self._room:
            items.append(item)
            if self._waiters:
                self._wake_next()
        elif not self._ended:
            self._put_last(item)

    def put_all(self, items: list[T]) -> None:
        """Buffer items, each as `put` does."""
        if len(self._items) + len(items) > self._room:
            for item in items:
                self.put(item)
            return
        self._items.extend(items)
        for _ in range(min(len(items), len(self._waiters))):
            self._wake_next()

    def put_error(self, error: Exception) -> None:
        """Buffer an error, which is raised in the place of an item."""
        self._careful = True
        self.put(error)  # type: ignore[arg-type]  # never seen outside

    def _put_last(self, item: T) -> None:
        """Buffer an item that fills the buffer, or that finds it full."""
        if len(self._items) >= self._buffer and self._overflow != "wait":
            self.dropped += 1
            self._on_drop()
            if self._overflow == "drop_newest":
                return
            if self._overflow == "close":
                self.end(SubscriptionOverflow(f"{self._buffer} messages waited to be read when another one came"))
                return
            self._drop_oldest()
        self._items.append(item)
        self._wake_next()
        if self._overflow == "wait":
            self._full = True
            self._on_full()

    def _drop_oldest(self) -> None:
        self._items.popleft()

    def _on_drop(self) -> None:
        """Log a dropped item; subclasses decide which ones."""

    def _on_full(self) -> None:
        """Ask the producer to put in nothing more for now."""

    def _on_room(self) -> None:
        """Ask the producer to go on."""

    def end(self, error: RedisError | None = None) -> None:
        """Take nothing more. Buffered items can still be read; then comes `error`, or the iteration ends."""
        if not self._ended:
            self._ended = True
            self._room = 0
            self._error = error
            while self._waiters:
                self._wake_next()

    # --- Out ---------------------------------------------------------------------------------------------------------

    async def __anext__(self) -> T:
        if not self._items and not await self._arrival(None):
            raise StopAsyncIteration
        item = self._items.popleft()
        if self._careful:
            self._taken(item)
        return item  # type: ignore[no-any-return]  # errors are raised above

    @overload
    async def get(self, timeout: None = None) -> T: ...
    @overload
    async def get(self, timeout: float | timedelta | None) -> T | None: ...
    async def get(self, timeout: float | timedelta | None = None) -> T | None:
        """Return the next item, or None if none arrives within `timeout` seconds (None: forever).

        With 0 the event loop still has a turn if no item is buffered, so that polling blocks nothing. Raises
        SubscriptionClosed where an iteration would just end.
        """
        if not self._items and not await self._arrival(timeout):
            if self._ended:
                raise SubscriptionClosed("it was left: nothing more comes")
            return None
        item = self._items.popleft()
        if self._careful:
            self._taken(item)
        return item  # type: ignore[no-any-return]  # what is no error is a T

    def take(self, kind: type[K]) -> K | None:
        """Return the next item if it is buffered and of this very class, or None."""
        items = self._items
        if not items or items[0].__class__ is not kind:
            return None
        item = items.popleft()
        if self._careful:
            self._taken(item)
        return item  # type: ignore[no-any-return]  # its class has been compared

    def _taken(self, item: Any) -> None:
        """Let the producer go on if half of the buffer is free, and raise an item that is an error."""
        if self._full and len(self._items) <= self._buffer // 2:
            self._full = False
            self._on_room()
        if isinstance(item, Exception):
            raise item

    async def _arrival(self, timeout: float | timedelta | None) -> bool:
        """Wait until an item is buffered; return False if none arrives in time, or if none will ever arrive.

        The event loop always has a turn meanwhile, even with a timeout of 0. Otherwise a caller that polls would block
        the loop, and the socket would never be read.
        """
        loop = asyncio.get_running_loop()
        if timeout is not None:
            timeout = _seconds(timeout)
        deadline = None if timeout is None else loop.time() + min(timeout, FOREVER)
        waited = False
        while not self._items:
            if self._ended:
                if not waited:
                    await asyncio.sleep(0)
                if self._error is not None:
                    raise copy_error(self._error)  # each caller's own, as each adds a traceback to it
                return False
            if waited and deadline is not None and loop.time() >= deadline:
                return False
            await self._wait(loop, deadline)
            waited = True
        return True

    async def _wait(self, loop: asyncio.AbstractEventLoop, deadline: float | None) -> None:
        self._check_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        # A message may have arrived while the loop stood still.
        timer = None if deadline is None else Alarm(loop, deadline, 0.0, partial(_wake, waiter))
        try:
            await waiter
        except BaseException:  # cancelled, or closed by hand
            if self._items and waiter.done() and not waiter.cancelled():
                self._wake_next()  # the item is for the next waiter
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("enter it with `async with` first, and use it in the same event loop")

    def _wake_next(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break


def _seconds(timeout: float | timedelta) -> float:
    seconds: float = as_seconds(timeout)
    if not isinstance(seconds, (int, float)):
        raise ArgumentTypeError(f"timeout is {type(timeout).__name__}, not seconds, a timedelta or None")
    if seconds != seconds:
        raise ArgumentError("timeout is nan, not a number of seconds")  # its timer would fire forever
    return seconds


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
