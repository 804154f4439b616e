"""Leaving of a primary that is one no more: its pool ends at once, although its server still answers.

Owns what happens to each user of the pool. A server that was replaced may take writes for seconds, and loses them.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Final

from aioresp.contexts.blocking import Blocking
from aioresp.errors import ConnectionLost, copy_error
from aioresp.pool.barrier import Barrier
from aioresp.pool.pool import Pool
from aioresp.wire.connection import Connection

#: Seconds in which replies under way must arrive; a server that hangs holds its callers no longer.
GRACE: Final = 0.3


def evacuate(pool: Pool[Connection], loop: asyncio.AbstractEventLoop, error: ConnectionLost) -> None:
    """Retire a pool whose server must get nothing more, in its own loop.

    Callers in line go on elsewhere. Replies under way have `GRACE` seconds. Idle leases end now, the others after
    their reply, and none writes again. Blocking commands are ended on the server, and go on elsewhere, too.
    """
    if pool.barrier is None:
        passed = Barrier(loop, "")
        passed.open()
        pool.put_behind(passed)  # so that leases ask
    pool.retire(error)
    move_blocking(pool, error)
    for connection in pool.resources:
        if connection.in_flight == 0:
            connection.end(_own(error))
    loop.call_later(GRACE, _end, pool, error, context=Context())


def move_blocking(pool: Pool[Connection], error: ConnectionLost, *, writes: bool = False) -> None:
    """Have blocking commands end on the server, as if they were not sent; with `writes`, only those that pop."""
    for work in pool.work:
        if isinstance(work, Blocking) and (work.writes or not writes):
            work.move(error)


def _end(pool: Pool[Connection], error: ConnectionLost) -> None:
    for connection in pool.resources:
        connection.end(_own(error))


def _own(error: ConnectionLost) -> ConnectionLost:
    own = copy_error(error)
    own.outcome = "unknown"
    return own
