"""Role of a server at the other end of a connection.

Owns the question. Never decides what a wrong role means.
"""

from __future__ import annotations

from typing import Final

from aioresp.errors import ResponseError
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack

#: Seconds in which the server must tell its role.
PATIENCE: Final = 2.0


async def role_of(connection: Connection) -> str | None:
    """Return "master" or "replica"; None if the server does not tell. With RESP3 the handshake has told it."""
    role = connection.greeting.role
    if role is None:
        try:
            said = await connection.send(pack(("ROLE",)), True, PATIENCE)
        except ResponseError:  # no permission, above all
            return None
        role = said[0] if isinstance(said, list) and said else None
    return "replica" if role == "slave" else role
