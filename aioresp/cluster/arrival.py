"""Questions on a new connection to a node of a cluster: whether its keys can be read, and in which zone it is.

Owns the questions. Never keeps an answer.
"""

from __future__ import annotations

from typing import Any, Final

from aioresp.errors import ConnectError, ResponseError
from aioresp.reading import in_step
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack

#: Seconds in which a node must answer.
PATIENCE: Final = 2.0

_ROLE: Final = pack(("ROLE",))
_STATE: Final = pack(("CLUSTER", "INFO"))
_INFO: Final = pack(("INFO", "server"))


async def refuse_outdated(connection: Connection) -> None:
    """Close the connection and raise ConnectError if it leads to a node that may soon tell that there is nothing.

    That is a replica out of step, as it has just started. It is also a primary that serves nothing: one that is back
    after a failover takes itself for a primary until it hears of its successor, and is a replica without keys then. Or
    it is no node of a cluster at all, and has taken the port of one.
    """
    role = await _ask(connection, _ROLE)
    if not isinstance(role, list):
        return
    if role[:1] == ["slave"] and not in_step(role):
        why = "the replica has not got the keys of its primary yet"
    elif role[:1] == ["master"] and "cluster_state:ok" not in str(await _ask(connection, _STATE)):
        why = "the node takes itself for a primary, and serves nothing"
    else:
        return
    connection.close()
    raise ConnectError(why)


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
