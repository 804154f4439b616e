"""Renewal of the credentials of a connection that lives longer than they do.

Owns the time at which the provider is asked, and the AUTH that follows. Never sends AUTH on a leased connection: the
lease calls `send` when it is safe, or the connection gets a new handshake.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from aioresp.errors import CommandTimeout, ConnectError, ResponseError
from aioresp.timers import Timeout
from aioresp.wire.credentials import CredentialProvider, Credentials, ask
from aioresp.wire.packing import Packed, pack

logger = logging.getLogger("aioresp")

#: Seconds until a provider that failed is asked again; the connection keeps its old credentials meanwhile.
AGAIN: Final = 5.0


if TYPE_CHECKING:  # protocols take time to import

    class Carrier(Protocol):
        """The connection whose credentials are renewed."""

        lent: bool

        @property
        def viable(self) -> bool:
            """Whether it can still be used."""
            ...

        def close(self, why: str) -> None:
            """End it."""
            ...

        def send(self, packed: Packed, decode: bool, timeout: float | None) -> asyncio.Future[Any]:
            """Send a command."""
            ...


class Renewal:
    """The credentials of one connection, from its handshake to its end."""

    def __init__(self, carrier: Carrier, provider: CredentialProvider, timeout: float | None) -> None:
        self.asking = False
        """Set when the provider is asked, cleared when it has answered."""
        self._carrier = carrier
        self._provider = provider
        self._timeout = timeout
        self._fresh: Credentials | None = None  # new credentials that have not been sent
        self._refused = False  # set when the server refuses new credentials, cleared when it accepts some
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def waits(self) -> bool:
        """Whether new credentials wait to be sent, because the connection is leased."""
        return self._fresh is not None

    async def ask(self) -> Credentials:
        """Return the provider's present credentials. Raises ConnectError if the provider fails."""
        self.asking = True
        credentials = await ask(self._provider)
        self.asking = False
        return credentials

    def begin(self, credentials: Credentials) -> None:
        """Note credentials that the server has accepted, and when they are to be renewed."""
        self._fresh = None
        self._refused = False
        self._schedule(credentials.renew_after)

    def end(self) -> None:
        """Stop renewing."""
        self._fresh = None
        self._schedule(None)
        if self._task is not None:
            self._task.cancel()

    def _schedule(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and self._carrier.viable:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start, context=Context())

    def _start(self) -> None:
        if not self._carrier.viable:
            return
        self._timer = None
        create = partial(asyncio.get_running_loop().create_task, name="aioresp: renew credentials")
        self._task = Context().run(create, self._renew())

    async def _renew(self) -> None:
        try:
            async with Timeout(self._timeout):
                fresh = await self.ask()
        except (ConnectError, TimeoutError, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            said = "the credential provider " + ("is late" if isinstance(error, TimeoutError) else "was cancelled")
            said = str(error) if isinstance(error, ConnectError) else said
            logger.warning("%r goes on with its old credentials: %s; it is asked again", self._carrier, said)
            self._schedule(AGAIN)
            return
        finally:
            self._task = None
        self._fresh = fresh
        if self._carrier.lent:
            self._schedule(fresh.renew_after)  # otherwise they might have expired when the lease sends them
        else:
            self.send()

    def send(self) -> None:
        """Send the new credentials; earlier commands run with the old ones, and later commands with the new ones."""
        fresh = self.claim()
        if fresh is not None and self._carrier.viable:
            answer = self._carrier.send(pack(("AUTH", *fresh.words)), True, self._timeout)
            answer.add_done_callback(lambda answer: self.settle(fresh, answer.exception()), context=Context())

    def claim(self) -> Credentials | None:
        """Return new credentials that have not been sent; the caller sends them and then calls `settle`."""
        fresh, self._fresh = self._fresh, None
        return fresh

    def settle(self, fresh: Credentials, error: BaseException | None) -> None:
        """Take the server's answer to new credentials."""
        if error is None:
            self.begin(fresh)
        elif isinstance(error, ResponseError) and not self._refused:
            self._refused = True
            self._start()  # they may have expired between the provider's answer and their arrival
        elif isinstance(error, ResponseError):
            logger.warning("the server refused renewed credentials (%s): %r is dropped", error, self._carrier)
            self._carrier.close(f"the server refused the renewed credentials ({error}); the connection was dropped")
        elif isinstance(error, CommandTimeout):
            self._schedule(AGAIN)  # if the server stays silent, the connection ends by its deadlines
