"""Leased connection: all commands on a connection that the pool lends to one user.

Owns nothing of its own: `Borrowed` keeps the connection, the commands come from the mixins. Never sends by itself.
"""

from __future__ import annotations

from typing import Any, Generic

from aioresp.command import AnyStr, Result, Value, words
from aioresp.commands import Commands
from aioresp.commands.marks import awaited
from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.iterators import Iterators
from aioresp.contexts.pipeline import Pipeline
from aioresp.contexts.routes import LeaseRoute
from aioresp.contexts.scripts import Scripts
from aioresp.replies import as_is


class Lease(Borrowed, Commands[AnyStr], Iterators[AnyStr], Scripts[AnyStr], Generic[AnyStr]):
    """All commands, on one connection for exclusive use.

    These include SELECT, WATCH, WAIT, CLIENT TRACKING and others that change a connection or refer to earlier commands.
    """

    @awaited
    def call(self, *arguments: Value) -> Result[Any]:
        """Send any command on the leased connection and return its reply as the server gave it."""
        return self.execute(words(arguments), as_is)

    def _place(self) -> tuple[object, int] | None:
        if "MULTI" in self._changed:
            return None
        return (self, 0) if self._pool is None else (self._pool, self._pool.made)

    def pipeline(self, transaction: bool = False) -> Pipeline[AnyStr]:
        """Return a context that queues commands and sends them in one write on this connection; see `Client.pipeline`.

        It takes commands with connection state, too, and watches keys on this connection.
        """
        return Pipeline(LeaseRoute(self, owned=False), self._decode, transaction)
