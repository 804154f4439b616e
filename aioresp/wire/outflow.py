"""Progress of a large write: whether bytes still leave the transport and the kernel.

Owns the looks at the bytes that wait there, from the write to the last of them. Never writes, and never fails anything.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import deque
from contextvars import Context
from typing import Final

from aioresp.wire.limits import Traffic

if sys.platform == "linux":
    import fcntl

#: Seconds between two looks.
PACE: Final = 0.05

#: Bytes that may lie in the network, or in a proxy, and bytes of them that are passed on in a second.
BUFFERED: Final = 8 * 1024 * 1024
RATE: Final = 1024 * 1024

#: The request for the number of bytes that the peer's kernel has not acknowledged (`SIOCOUTQ`, on Linux).
_OUTQ: Final = 0x5411


class Outflow:
    """Large writes of one connection, watched while any of their bytes are here."""

    __slots__ = ("_gone", "_loop", "_moved", "_size", "_timer", "_traffic", "_transport", "_writes")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, traffic: Traffic) -> None:
        self._loop = loop
        self._transport = transport
        self._traffic = traffic
        self._gone = 0  # the bytes that had gone out at the last look
        self._moved = -math.inf  # the time of the last look at which bytes had gone out since the one before
        self._size = 0.0  # the bytes of large writes that may not have reached the server
        self._writes: deque[tuple[int, int]] = deque()  # the large writes: the number of the last command, the bytes
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, size: int, answered: int, number: int) -> None:
        """Watch a write of `size` bytes that was just given to the transport.

        `number` is that of its last command. The replies to the first `answered` commands are here.
        """
        self._forget(answered)
        passed_on = (self._loop.time() - self._moved) * RATE
        self._writes.append((number, size))
        self._size = min(max(self._size - passed_on, 0) + size, BUFFERED)
        if self._timer is None:
            self._gone = -1
            self._look()

    def arrives(self, answered: int) -> float:
        """Return the loop's time until which bytes of a large write may be on their way."""
        self._forget(answered)
        return self._moved + self._size / RATE if self._writes else -math.inf

    def _forget(self, answered: int) -> None:
        """Forget the writes that the server has read, as its replies tell."""
        if self._writes and self._writes[0][0] <= answered:
            while self._writes and self._writes[0][0] <= answered:
                self._writes.popleft()
            self._size = min(self._size, sum(size for _, size in self._writes))

    def end(self) -> None:
        """Watch nothing more: the transport has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._transport.is_closing():
            return
        unsent = self._transport.get_write_buffer_size() + self._in_kernel()
        gone = self._traffic.sent - unsent
        if gone > self._gone:
            self._gone = gone
            self._moved = self._loop.time()
        if unsent:
            self._timer = self._loop.call_later(PACE, self._look, context=Context())

    def _in_kernel(self) -> int:
        if sys.platform != "linux":
            return 0
        try:
            number = self._transport.get_extra_info("socket").fileno()
            return int.from_bytes(fcntl.ioctl(number, _OUTQ, bytes(4)), sys.byteorder)
        except (OSError, ValueError, AttributeError):
            return 0
