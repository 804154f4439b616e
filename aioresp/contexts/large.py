"""Large batch on a leased connection: written in pieces, so that few bytes are in flight at a time.

Owns the pieces from the first to the last reply. Never decides where a batch travels.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from aioresp.errors import ConnectionLost
from aioresp.pool.queue import forsake
from aioresp.wire.batch import Batch, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed

#: About how many bytes a piece has, and how many pieces are in flight at a time.
PIECE: Final = 128 * 1024
AHEAD: Final = 3


class Replies:
    """The raw replies to a batch. If they are `clean`, there is no error among them.

    `origin` is the number of their connection, or 0.
    """

    __slots__ = ("clean", "origin", "raw")

    def __init__(self, raw: list[Any], clean: bool, origin: int = 0) -> None:
        self.raw = raw
        self.clean = clean
        self.origin = origin


async def send(
    connection: Connection,
    commands: list[Packed],
    decode: bool,
    timeout: float | None,
    *,
    in_one: bool,
    admit: Callable[[], Awaitable[object]] | None = None,
) -> Replies:
    """Send a batch on a leased connection, and return the replies.

    Unless it goes `in_one` write, it goes in pieces, each with the whole `timeout`. Only a few pieces are in flight at
    a time. So memory stays bounded, however large the batch and however slow the server. `admit` is awaited before each
    piece but the first: it returns when more may be sent.
    """
    loop = asyncio.get_running_loop()
    under_way: deque[Batch] = deque()
    replies: list[Any] = []
    clean = True
    sent = 0
    try:
        for piece in (commands,) if in_one else pieces(commands):
            if len(under_way) == AHEAD:
                replies += await under_way[0].future
                clean &= under_way.popleft().clean
            if sent and admit is not None:
                await admit()
            batch = Batch(len(piece), decode, loop.create_future())
            try:
                connection.send_batch(joined(piece), batch, timeout)
            except ConnectionLost as error:
                if sent:
                    error.outcome = "unknown"
                raise
            under_way.append(batch)
            del batch  # its error would hold this frame, by its traceback
            sent += len(piece)
        while under_way:
            replies += await under_way[0].future
            clean &= under_way.popleft().clean
    except ConnectionLost as error:
        if replies or (sent and not under_way):
            error.outcome = "unknown"
        raise
    finally:
        while under_way:
            forsake(under_way.pop().future)
    return Replies(replies, clean, connection.number)


def pieces(commands: list[Packed]) -> Iterator[list[Packed]]:
    """Cut a batch into pieces of about `PIECE` bytes."""
    if len(commands) <= 64:
        total = sum(map(size, commands))
    else:  # a sample is exact enough
        sample = commands[:: len(commands) // 64]
        total = sum(map(size, sample)) * len(commands) // len(sample)
    step = max(1, len(commands) * PIECE // max(total, 1))
    for start in range(0, len(commands), step):
        yield commands[start : start + step]


def size(packed: Packed) -> int:
    """Return the number of bytes of a packed command, or of several."""
    return len(packed) if isinstance(packed, bytes) else sum(map(len, packed))
