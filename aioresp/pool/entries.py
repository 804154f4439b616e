"""Count of the `async with` blocks that a client is entered by, in each event loop.

Owns the counts, and what the end of a block closes. Never closes anything itself.
"""

from __future__ import annotations

import asyncio
import os
import threading

from aioresp.typed import Enum


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
