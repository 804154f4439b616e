"""Leased connection: all commands on a connection that the pool lends to one user.

Owns nothing of its own: `Borrowed` keeps the connection, the commands come from the mixins. Never sends by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aioresp.advice import LEASE
from aioresp.command import AnyStr, Arguments, Result, Value, words
from aioresp.commands import Commands
from aioresp.commands.marks import awaited
from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.iterators import Iterators
from aioresp.contexts.pipeline import Pipeline
from aioresp.contexts.routes import LeaseRoute
from aioresp.contexts.scripts import Scripts
from aioresp.elsewhere import advising
from aioresp.pubsub.methods import BUFFER
from aioresp.replies import as_is
from aioresp.typed import Generic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aioresp.pubsub.inbox import Overflow
    from aioresp.pubsub.pushes import Ears, Pushes


@advising(LEASE)
class Lease(Borrowed, Commands[AnyStr], Iterators[AnyStr], Scripts[AnyStr], Generic[AnyStr]):
    """All commands, on one connection for exclusive use.

    These include SELECT, WATCH, WAIT, CLIENT TRACKING and others that change a connection or refer to earlier commands.
    """

    #: Iterators over its pushes; None before the first call of `pushes`.
    _ears: Ears | None = None

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

    async def send_raw(self, commands: Iterable[Arguments]) -> list[Any]:
        """Send commands in one write on this connection; see `Client.send_raw`. It takes those that change it, too."""
        from aioresp.contexts.raw import RawBatch  # noqa: PLC0415 (few programs send raw batches)

        batch = RawBatch(commands, shared=False)
        self.mark_changed(batch.changes)
        return await batch.send(LeaseRoute(self, owned=False), self._decode)

    def pushes(self, *, buffer: int = BUFFER, overflow: Overflow = "close") -> Pushes[AnyStr]:
        """Return an iterator over the pushes that arrive from now on, such as those after `client_tracking()`.

        Commands go on meanwhile. Several iterators get each push, and all end with the lease. At most `buffer` pushes
        wait for the reader. With "close" the iteration gets SubscriptionOverflow after these; "drop_oldest" and
        "drop_newest" drop one, and count it. Raises CommandRefused if the connection speaks RESP2.
        """
        from aioresp.pubsub.pushes import Ears, refuse  # noqa: PLC0415 (few programs listen)

        connection = self._entered()
        if connection.greeting.protocol != 3 and "HELLO" not in self._changed:
            raise refuse()
        if self._ears is None:
            self._ears = Ears()
        return self._ears.listen(connection, self._decode, buffer, overflow)

    def give_back(self) -> None:
        """End the iterators over pushes, and give the connection back."""
        if self._ears is not None:
            self._ears.end()
        super().give_back()
