"""What has arrived and waits for its reader: a buffer with a bound, and a choice of what happens beyond it.

Owns the items between who puts them in, which never waits, and who takes them out. Never knows where they come from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from aioresp.arguments import numeral
from aioresp.errors import RedisError, SubscriptionClosed, SubscriptionOverflow, copy_error
from aioresp.facts.traits import FOREVER

T = TypeVar("T")

#: What happens to an item for which there is no room.
Overflow: TypeAlias = Literal["drop_oldest", "drop_newest", "close", "wait"]

OVERFLOWS: Final = ("drop_oldest", "drop_newest", "close", "wait")


class Inbox(AsyncIterator[T]):
    """An asynchronous iterator over what is put in, for one task or for several that share the work.

    `dropped` counts the items for which there was no room. An error that is put in is raised at its place, and the
    iteration can go on after it.
    """

    def __init__(self, buffer: int, overflow: Overflow) -> None:
        if buffer.__class__ is not int:
            raise TypeError(f"buffer is {type(buffer).__name__}, not int")
        if buffer < 1:
            raise ValueError(f"buffer is {numeral(buffer)}, not 1 or more")
        if overflow not in OVERFLOWS:
            raise ValueError(f"overflow is {overflow!r}, not one of {', '.join(OVERFLOWS)}")
        self.dropped = 0
        self.waits = overflow == "wait"  # after any item it may ask for no more to come
        self._loop: asyncio.AbstractEventLoop | None = None
        self._items: deque[Any] = deque()
        self._buffer = buffer
        # Below this, there is nothing to be thought of when an item comes.
        self._room = buffer - 1 if overflow == "wait" else buffer
        self._overflow = overflow
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._ended = False
        self._error: RedisError | None = None
        self._full = False  # who puts in was asked to wait
        self._careful = overflow == "wait"  # there may be more to do than to take an item

    @property
    def waiting(self) -> int:
        """How many items are here to be taken."""
        return len(self._items)

    # --- In ----------------------------------------------------------------------------------------------------------

    def put(self, item: T) -> None:
        """Take an item, or drop one, as `overflow` says."""
        items = self._items
        if len(items) < self._room:
            items.append(item)
            if self._waiters:
                self._wake_next()
        elif not self._ended:
            self._put_last(item)

    def put_all(self, items: list[T]) -> None:
        """Take items, each as `put` does."""
        if len(self._items) + len(items) > self._room:
            for item in items:
                self.put(item)
            return
        self._items.extend(items)
        for _ in range(min(len(items), len(self._waiters))):
            self._wake_next()

    def put_error(self, error: Exception) -> None:
        """Take an error that is raised in the place of an item."""
        self._careful = True
        self.put(error)  # type: ignore[arg-type]  # never seen outside

    def _put_last(self, item: T) -> None:
        """Take the item that fills the buffer, or comes when it is full."""
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
        """Say that an item was dropped, if that is worth a word."""

    def _on_full(self) -> None:
        """See to it that nothing more is put in for now."""

    def _on_room(self) -> None:
        """Let more be put in."""

    def end(self, error: RedisError | None = None) -> None:
        """Take nothing more. What is here can still be read; after it comes `error`, or the end of the iteration."""
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
        return item  # type: ignore[no-any-return]  # what is no error is a T

    @overload
    async def get(self, timeout: None = None) -> T: ...
    @overload
    async def get(self, timeout: float | None) -> T | None: ...
    async def get(self, timeout: float | None = None) -> T | None:
        """Return the next item, or None if none is here within `timeout` seconds (None: forever).

        With 0 the event loop has a turn if none is here, so that a loop of such calls stops nothing. Raises
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

    def _taken(self, item: Any) -> None:
        """Let more come if there is room again, and raise an item that is an error."""
        if self._full and len(self._items) <= self._buffer // 2:
            self._full = False
            self._on_room()
        if isinstance(item, Exception):
            raise item

    async def _arrival(self, timeout: float | None) -> bool:
        """Wait until an item is here; return False if there is none in time, or never again.

        The event loop always runs on meanwhile, even if there is no time: a caller who asks again and again would stop
        everything, and what the socket has would never be read.
        """
        loop = asyncio.get_running_loop()
        if timeout is not None and timeout != timeout:
            raise ValueError("timeout is nan, not a number of seconds")  # its timer would fire without an end
        deadline = None if timeout is None else loop.time() + min(timeout, FOREVER)
        waited = False
        while not self._items:
            if self._ended:
                if not waited:
                    await asyncio.sleep(0)
                if self._error is not None:
                    raise copy_error(self._error)  # each who reads hangs a traceback of his own on it
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
        timer = None if deadline is None else loop.call_at(deadline, _wake, waiter)
        try:
            await waiter
        except BaseException:  # cancelled, or closed by hand
            if self._items and waiter.done() and not waiter.cancelled():
                self._wake_next()  # the item is for the next one in line
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


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
