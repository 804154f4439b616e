"""Trail of a traced call through several servers: those that it went to, its slot and its redirects.

Owns the record that `aioresp.otel` begins for each call, and that clients of several servers fill. Never holds a key or
a value, and is never made where nobody traces.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aioresp.command import Arguments

if TYPE_CHECKING:  # protocols take time to import
    from typing import Protocol

    class Socket(Protocol):
        """A connection, as far as this module knows it."""

        @property
        def peer(self) -> object:
            """The address of the server's end."""
            ...


#: Host and port of a server, as the client connects to it.
Place: TypeAlias = tuple[str, int]


class Trail:
    """Trail of one call. A pipeline, and a command that is split, may go to several servers at once."""

    __slots__ = ("_last", "_peers", "_served", "redirects", "size", "slots")

    def __init__(self) -> None:
        self.slots: set[int] = set()
        """Slots of the call in a cluster."""
        self.redirects = 0
        """Number of commands that were sent on to another node."""
        self.size: int | None = None
        """Number of commands in a pipeline; None for a single command."""
        self._served: dict[Place, None] = {}
        self._peers: dict[Place, object] = {}
        self._last: Place | None = None

    def reach(self, place: Place, connection: Socket | None) -> None:
        """Note that the call is sent to the server at `place`, on a connection that is known or not."""
        self._last = place
        if connection is not None:
            self._peers[place] = connection.peer

    def arrive(self, place: Place) -> None:
        """Note that the server at `place` has run the call, or its part of it."""
        self._served[place] = None

    @property
    def places(self) -> list[Place]:
        """Servers that have run the call; if none has, the last one that it was sent to."""
        return list(self._served) or ([] if self._last is None else [self._last])

    def peer_of(self, place: Place) -> object:
        """Return the address of the socket's end at a server; None if it is not known."""
        return self._peers.get(place)


#: Trail of the traced call under way in this task.
TRAIL: Final[ContextVar[Trail | None]] = ContextVar("aioresp_trail", default=None)


async def follow(
    find: Callable[[], tuple[Place, Socket | None] | None], arguments: Arguments, send: Callable[[], Awaitable[Any]]
) -> Any:
    """Send a command, as innermost middleware, and note the server that `find` returns, unless one is noted already."""
    trail = TRAIL.get()
    if trail is None:
        return await send()
    sent = False
    try:
        value = await send()
        sent = True
        return value
    finally:
        found = None if trail.places else find()
        if found is not None:
            trail.reach(*found)
            if sent:
                trail.arrive(found[0])
