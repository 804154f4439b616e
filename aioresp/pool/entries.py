"""Lifetime of an object with pools: the `async with` blocks that it is entered by, in each event loop, and its end.

Owns the count of blocks, and the choice of what the end of a block closes. Never knows what the pools hold.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any, TypeAlias

from aioresp.misuse import Bound
from aioresp.pool.loops import Begun, PerLoop
from aioresp.typed import Enum

#: Pools and hubs that have begun to close, each with its owner.
Closing: TypeAlias = "list[tuple[PerLoop[Any], Begun[Any]]]"


class Leaving(Enum):
    """Extent of what the end of a block closes."""

    NOTHING = "another block in this loop goes on"
    LOOP = "other loops have blocks, and this one has none"
    ALL = "there is no other block"


class Entries:
    """Blocks of one client that have begun and not ended.

    Blocks in closed loops do not count, and neither do those of the parent in a forked child. Hold `lock` to act on an
    answer before another thread begins or ends a block.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # the garbage collector may come here in the same thread
        self._process = os.getpid()
        self._blocks: dict[asyncio.AbstractEventLoop, int] = {}

    def enter(self) -> None:
        """Count a block that begins in the running loop."""
        self._forget_others()
        loop = asyncio.get_running_loop()
        self._blocks[loop] = self._blocks.get(loop, 0) + 1

    def leave(self) -> Leaving:
        """Count a block that ends in the running loop; return what that closes."""
        self._forget_others()
        loop = asyncio.get_running_loop()
        rest = self._blocks.pop(loop, 0) - 1
        if rest > 0:
            self._blocks[loop] = rest
            return Leaving.NOTHING
        return Leaving.LOOP if self._blocks else Leaving.ALL

    def after_fork(self) -> None:
        """Begin afresh in a forked child, where another thread of the parent may have held the lock."""
        if self._process != os.getpid():
            Entries.__init__(self)

    def _forget_others(self) -> None:
        for loop in [loop for loop in self._blocks if loop.is_closed()]:
            del self._blocks[loop]


class Lifetime(Bound):
    """Object that takes commands from the first on until `aclose`, and again from the next block on."""

    def __init__(self) -> None:
        self._entries = Entries()

    def shut(self, *, here: bool = False) -> Closing:
        """Begin to close all that the object has, or with `here` what it has in the running loop."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Take commands again."""
        raise NotImplementedError

    def enter(self) -> None:
        """Begin a block, in the running loop; take commands again after `aclose`."""
        self._entries.after_fork()
        with self._entries.lock:
            self._entries.enter()
            self.reopen()

    async def leave(self) -> None:
        """End a block. The last one in its loop closes what that loop has, and the last one of all does as `aclose`."""
        await ended(self.begin_to_leave())

    def begin_to_leave(self) -> Closing:
        """Begin what `leave` does; return what `ended` waits for."""
        self._entries.after_fork()
        with self._entries.lock:  # no other thread enters between the decision and the step
            what = self._entries.leave()
            return [] if what is Leaving.NOTHING else self.shut(here=what is Leaving.LOOP)

    def is_last_to_leave(self) -> bool:
        """End a block and close nothing; return whether it is the last one of all."""
        self._entries.after_fork()
        with self._entries.lock:
            return self._entries.leave() is Leaving.ALL

    async def aclose(self) -> None:
        """Close all that the object has, each loop's part in that loop; replies under way have a second to arrive."""
        await ended(self.shut())


async def ended(closing: Closing) -> None:
    """Wait until all that has begun to close is closed."""
    for owner, begun in closing:
        await owner.ended(begun)
