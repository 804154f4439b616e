"""Ways to reach a server: a fresh connection for each command, a classic pool, and a shared pool.

Owns the clients of a way and the number of connections that they made. Never looks at a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Unpack

from aioresp import Client
from aioresp.cli.bench.load import Call
from aioresp.cli.target import Target
from aioresp.node import Node
from aioresp.options import Options

#: Connections of the classic pool, each with one command at a time.
LIMIT = 10


class Maker(Protocol):
    """Function that makes a client of the target with options over those of the command line."""

    def __call__(self, **options: Unpack[Options]) -> Client[Any]:
        """Return a new client."""
        ...


def maker(target: Target) -> Maker:
    """Return the function that makes clients. They share a TLS context, as those of one program would."""
    if target.several:
        return target.client
    found = target.client().node.settings
    if found.endpoint.tls is None:
        return target.client

    def make(**options: Unpack[Options]) -> Client[Any]:
        return Client.over(Node(found.replace(**options)))

    return make


@dataclass(frozen=True)
class Traffic:
    """Connections made, and bytes sent and received on them, handshakes included."""

    made: int = 0
    sent: int = 0
    received: int = 0

    def plus(self, other: Traffic, times: int = 1) -> Traffic:
        """Return the sum."""
        return Traffic(
            self.made + times * other.made, self.sent + times * other.sent, self.received + times * other.received
        )


def _traffic(client: Client[Any]) -> Traffic:
    stats = client.stats()
    return Traffic(stats.made, stats.bytes_sent, stats.bytes_received)


class Way:
    """One way, open from `open()` to `close()`."""

    name: str
    #: Words for a person.
    title: str
    #: Whether each call makes a connection.
    connects = False

    def __init__(self, make: Maker, pipeline: int) -> None:
        self._make = make
        self._pipeline = pipeline

    @property
    def call(self) -> Call:
        """The function that sends a command, or a list of commands as one pipeline."""
        raise NotImplementedError

    @property
    def traffic(self) -> Traffic:
        """Connections and bytes so far."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close all connections; replies under way arrive first."""


class Pooled(Way):
    """One client for all tasks."""

    options: Options

    def __init__(self, make: Maker, pipeline: int) -> None:
        super().__init__(make, pipeline)
        options: Options = {**self.options, "retry": None}
        self._client = make(**options)

    @property
    def call(self) -> Call:
        """The function that sends a command, or a list of commands as one pipeline."""
        # Replies stay bytes: the user's own values need not be UTF-8.
        return caller(self._client.with_options(decode_responses=False), self._pipeline)

    @property
    def traffic(self) -> Traffic:
        """Connections and bytes so far."""
        return _traffic(self._client)

    async def close(self) -> None:
        """Close all connections; replies under way arrive first."""
        await self._client.aclose()


class Shared(Pooled):
    """The default client: all tasks share a connection or a few, and their commands are written together."""

    name = "shared"
    title = "shared pool"
    options = {}  # noqa: RUF012 (constant)


class Classic(Pooled):
    """The classic pool: each connection carries one command, or one pipeline, at a time; the others wait."""

    name = "classic"
    title = f"classic pool of {LIMIT}"
    options = {"limit": LIMIT, "concurrency": 1}  # noqa: RUF012 (constant)


class Fresh(Way):
    """A client for each call: it connects, sends one command or pipeline, and is closed."""

    name = "fresh"
    title = "fresh connections"
    connects = True

    def __init__(self, make: Maker, pipeline: int) -> None:
        super().__init__(make, pipeline)
        self._traffic = Traffic()

    @property
    def call(self) -> Call:
        """The function that sends a command, or a list of commands as one pipeline."""
        make, pipeline = self._make, self._pipeline

        async def call(command: Any, reply: Callable[[Any], Any]) -> None:
            client = make(retry=None)
            try:
                async with client:
                    await caller(client.with_options(decode_responses=False), pipeline)(command, reply)
            finally:
                self._traffic = self._traffic.plus(_traffic(client))

        return call

    @property
    def traffic(self) -> Traffic:
        """Connections and bytes so far."""
        return self._traffic


def caller(client: Client[Any], pipeline: int) -> Call:
    """Return the function that sends a command by a client, or a list of commands as one pipeline."""
    if pipeline == 1:
        execute: Any = client.execute
        call: Call = execute
        return call

    async def many(commands: Sequence[Any], reply: Callable[[Any], Any]) -> None:
        queue = client.pipeline(transaction=False)
        for command in commands:
            queue.execute(command, reply)
        await queue.execute()

    return many


WAYS: dict[str, type[Way]] = {way.name: way for way in (Fresh, Classic, Shared)}
