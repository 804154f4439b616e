"""A socket in memory, and a clock that only moves when told to: thousands of lives a minute."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis


class Loop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def finish(self) -> None:
        """Close it, and cancel before what a failure has left."""
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(asyncio.wait(left))
        self.close()


class Wire(asyncio.Transport):
    """Both ends of a socket in memory. What takes each command, and says what comes, is up to who makes it."""

    def __init__(self, protocol: Any, loop: Loop) -> None:
        super().__init__()
        self.protocol: Any = protocol
        self.loop = loop
        self.coming = bytearray()
        self.reading = True
        self.ended = False
        self._reader = hiredis.Reader()
        protocol.connection_made(self)

    def take(self, command: list[bytes]) -> None:
        """Take a command, as the server at the other end."""
        raise NotImplementedError

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.ended

    def write(self, data: Any) -> None:
        if self.ended:
            return
        self._reader.feed(bytes(data))
        while (command := self._reader.gets()) is not False:
            self.take(command)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.end(None)

    close = abort

    def end(self, error: Exception | None) -> None:
        if not self.ended:
            self.ended = True
            self.loop.call_soon(self._tell, error)

    def _tell(self, error: Exception | None) -> None:
        self.protocol.connection_lost(error)

    def deliver(self, size: int) -> None:
        if self.coming and self.reading and not self.ended:
            piece = bytes(self.coming[:size])
            del self.coming[:size]
            self.protocol.data_received(piece)
