"""Role of a server at the other end of a connection, and whether a replica is in step.

Owns the question. Never decides what a wrong role means.
"""

from __future__ import annotations

from typing import Any, Final

from aioresp.errors import ResponseError
from aioresp.reading import in_step
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack

#: Seconds in which the server must tell its role.
PATIENCE: Final = 2.0


async def role_of(connection: Connection) -> str | None:
    """Return "master" or "replica"; None if the server does not tell. With RESP3 the handshake has told it."""
    role = connection.greeting.role
    return (await standing_of(connection))[0] if role is None else _word(role)


async def standing_of(connection: Connection) -> tuple[str | None, bool]:
    """Return the role, and whether it is a replica out of step with its primary, by one question."""
    told = await _ask(connection)
    role = connection.greeting.role or next(iter(told), None)
    return _word(role), told[:1] == ["slave"] and not in_step(told)


def _word(role: str | None) -> str | None:
    return "replica" if role == "slave" else role


async def _ask(connection: Connection) -> list[Any]:
    """Return the reply to ROLE; an empty list if there is none, above all without permission."""
    try:
        said = await connection.send(pack(("ROLE",)), True, PATIENCE)
    except ResponseError:
        return []
    return said if isinstance(said, list) else []
