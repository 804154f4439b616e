"""Tracing of calls on a borrowed connection: the node that serves it goes into the trail of each call, for its span.

Owns the note of the node in the trail. Never chooses the node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aioresp.cluster.router import Router
from aioresp.command import Arguments
from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.large import Replies
from aioresp.trail import TRAIL
from aioresp.wire.packing import Packed

T = TypeVar("T")


class Traced(Borrowed):
    """A borrowed connection to a node, which it notes in the trail of each traced call."""

    #: Function that returns the router of the running loop, which knows the node's address.
    find_router: Callable[[], Router] | None = None

    def _trace(self) -> None:
        trail, pool, find = TRAIL.get(), self._pool, self.find_router
        place = None if trail is None or pool is None or find is None else find().address(pool)
        if trail is not None and place is not None:
            trail.reach(place, self._connection)

    async def _execute_bare(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        if self.terms.middleware:
            self._trace()
        return await super()._execute_bare(arguments, reply)

    async def send(self, commands: list[Packed], decode: bool, timeout: float | None, **how: bool) -> Replies:
        """Send a batch and return the raw replies; see `Borrowed.send`."""
        if self.terms.middleware:
            self._trace()
        return await super().send(commands, decode, timeout, **how)
