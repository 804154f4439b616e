"""Identity of a connection as its server sees it, by which CLIENT UNBLOCK finds the right server.

Owns the questions about it, CLIENT INFO and CLIENT LIST. Never decides what follows: behind a proxy, connections to one
address may lead to several servers, and each has a client of that number.
"""

from __future__ import annotations

import asyncio
import weakref
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aioresp.errors import NoPermissionError, ResponseError
from aioresp.wire.packing import Packed, pack

if TYPE_CHECKING:
    from aioresp.pool.pool import Pool
    from aioresp.wire.connection import Connection

_INFO: Final = pack(("CLIENT", "INFO"))

#: Pools whose user may not ask: each refusal would be a line in the server's ACL LOG.
_REFUSED: Final[weakref.WeakSet[Pool[Any]]] = weakref.WeakSet()


def learn(pool: Pool[Connection], connection: Connection) -> None:
    """Ask the server how it sees a connection, unless that was asked before; the answer is kept in the greeting.

    It is sent with the blocking command that follows, which may have to be ended. Raises ConnectionLost.
    """
    if connection.greeting.seen_as is None and connection.id is not None and pool not in _REFUSED:
        connection.greeting = connection.greeting.replace(seen_as="")
        connection.send(_INFO, False).add_done_callback(partial(_learned, pool, connection), context=Context())


def _learned(pool: Pool[Connection], connection: Connection, answer: asyncio.Future[Any]) -> None:
    error = None if answer.cancelled() else answer.exception()
    if isinstance(error, NoPermissionError):
        _REFUSED.add(pool)
    elif error is None and not answer.cancelled():
        connection.greeting = connection.greeting.replace(seen_as=_described(answer.result(), connection.id))


def question(pool: Pool[Connection], connection: Connection) -> Packed | None:
    """Return the command that tells another connection's server apart; None if that cannot be known."""
    if not connection.greeting.seen_as or pool in _REFUSED:
        return None
    return pack(("CLIENT", "LIST", "ID", connection.id))


def knows(pool: Pool[Connection], connection: Connection, answer: asyncio.Future[Any]) -> bool:
    """Return whether the server that gave this answer is that of `connection`; also if it refused to tell.

    Raises the error if there is no answer.
    """
    error = answer.exception()
    if isinstance(error, NoPermissionError):
        _REFUSED.add(pool)
    if error is not None:
        if isinstance(error, ResponseError):
            return True
        raise error
    return _described(answer.result(), connection.id) == connection.greeting.seen_as


def _described(said: Any, number: int | None) -> str:
    """Return the addresses of both ends of a client; "" if they are not told for the client of that number."""
    if not isinstance(said, bytes):
        return ""
    fields: dict[str, str] = {}
    for field in said.decode("utf-8", "replace").split():
        name, _, value = field.partition("=")
        fields[name] = value
    if fields.get("id") != str(number) or not fields.get("addr"):
        return ""
    return f"{fields['addr']} {fields.get('laddr', '')}"
