"""Role of a server at the other end of a connection, and whether a replica is in step.

Owns the question. Never decides what a wrong role means.
"""

from __future__ import annotations

from typing import Any, Final

from aioresp.errors import ResponseError
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack

#: Seconds in which the server must tell its role.
PATIENCE: Final = 2.0


async def role_of(connection: Connection) -> str | None:
    """Return "master" or "replica"; None if the server does not tell. With RESP3 the handshake has told it."""
    role = connection.greeting.role
    if role is None:
        role = next(iter(await _ask(connection)), None)
    return "replica" if role == "slave" else role


async def out_of_step(connection: Connection) -> bool:
    """Return whether it leads to a replica whose link to its primary is down; False if the server does not tell.

    One that has just started has no keys, or old ones.
    """
    role = await _ask(connection)
    return role[:1] == ["slave"] and role[3:4] != ["connected"]


async def _ask(connection: Connection) -> list[Any]:
    """Return the reply to ROLE; an empty list if there is none, above all without permission."""
    try:
        said = await connection.send(pack(("ROLE",)), True, PATIENCE)
    except ResponseError:
        return []
    return said if isinstance(said, list) else []
