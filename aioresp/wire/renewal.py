"""New credentials for a connection that lives longer than its old ones.

Owns when the provider is asked, and the AUTH that follows. Never sends it where somebody has the connection alone: who
has, does so by `send` as soon as it is harmless there, or has the connection introduced anew.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from aioresp.errors import CommandTimeout, ConnectError, ResponseError
from aioresp.wire.credentials import CredentialProvider, Credentials, ask
from aioresp.wire.packing import Packed, pack

logger = logging.getLogger("aioresp")

#: Seconds until the provider is asked again that failed, while the connection goes on with what it has.
AGAIN: Final = 5.0


if TYPE_CHECKING:  # protocols take time to import

    class Carrier(Protocol):
        """What is renewed: a connection."""

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
        """Whether the provider has been asked and has not answered."""
        self._carrier = carrier
        self._provider = provider
        self._timeout = timeout
        self._fresh: Credentials | None = None
        self._refused = False  # the last ones were
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def waits(self) -> bool:
        """Whether there are new credentials that have not been sent, as somebody has the connection alone."""
        return self._fresh is not None

    async def ask(self) -> Credentials:
        """Return what the provider gives now. Raises ConnectError if it fails."""
        self.asking = True
        credentials = await ask(self._provider)
        self.asking = False
        return credentials

    def begin(self, credentials: Credentials) -> None:
        """Note what the server has accepted, and when that is to be renewed."""
        self._fresh = None
        self._refused = False
        self._schedule(credentials.renew_after)

    def end(self) -> None:
        """Renew nothing any more."""
        self._fresh = None
        self._schedule(None)
        if self._task is not None:
            self._task.cancel()

    def _schedule(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and self._carrier.viable:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> None:
        if not self._carrier.viable:
            return
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._renew(), name="aioresp: renew credentials")

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
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
            self._schedule(fresh.renew_after)  # lest they be old when it comes to sending them
        else:
            self.send()

    def send(self) -> None:
        """Send the new credentials; what is sent before them is done by the old ones, and what follows by the new."""
        fresh = self.claim()
        if fresh is not None and self._carrier.viable:
            answer = self._carrier.send(pack(("AUTH", *fresh.words)), True, self._timeout)
            answer.add_done_callback(lambda answer: self.settle(fresh, answer.exception()))

    def claim(self) -> Credentials | None:
        """Return new credentials that have not been sent, to who sends them in his own way, and then calls `settle`."""
        fresh, self._fresh = self._fresh, None
        return fresh

    def settle(self, fresh: Credentials, error: BaseException | None) -> None:
        """Take the server's answer to new credentials."""
        if error is None:
            self.begin(fresh)
        elif isinstance(error, ResponseError) and not self._refused:
            self._refused = True
            self._start()  # these may have been new when they were given, and old when they arrived
        elif isinstance(error, ResponseError):
            logger.warning("the server refused renewed credentials (%s): %r is dropped", error, self._carrier)
            self._carrier.close(f"the server refused the renewed credentials ({error}); the connection was dropped")
        elif isinstance(error, CommandTimeout):
            self._schedule(AGAIN)  # unless the connection is silent for good, and ends by itself
