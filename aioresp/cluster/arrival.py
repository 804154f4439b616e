"""Questions on a new connection to a node of a cluster: whether it has keys to read, and in which zone it is.

Owns the questions. Never keeps an answer.
"""

from __future__ import annotations

from typing import Any, Final

from aioresp.errors import ConnectError, ResponseError
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack

#: Seconds in which a node must answer.
PATIENCE: Final = 2.0

_ROLE: Final = pack(("ROLE",))
_INFO: Final = pack(("INFO", "server"))


async def refuse_empty(connection: Connection) -> None:
    """Close the connection and raise ConnectError if it leads to a replica that has never been in step.

    Such a one, which has just started, would tell that there is nothing.
    """
    role = await _ask(connection, _ROLE)
    if isinstance(role, list) and role[:1] == ["slave"] and role[3:4] != ["connected"] and role[4:5] <= [0]:
        connection.close()
        raise ConnectError("the replica has not got the keys of its primary yet")


async def zone_of(connection: Connection) -> str | None:
    """Return the availability zone of a node, by its greeting or by INFO; None if it tells none."""
    zone = connection.greeting.availability_zone
    if zone is None:
        said = await _ask(connection, _INFO)
        lines = said.splitlines() if isinstance(said, str) else ()
        told = [line.partition(":")[2] for line in lines if line.startswith("availability_zone:")]
        zone = told[0].strip() if told else None
    return zone or None


async def _ask(connection: Connection, question: Packed) -> Any:
    """Return the reply; None if the node refuses to answer: the user may not ask, or the node is loading."""
    try:
        return await connection.send(question, True, PATIENCE)
    except ResponseError:
        return None
    except BaseException:
        connection.close()
        raise
