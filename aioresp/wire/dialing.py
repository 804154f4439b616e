"""Dialing: a transport to one address of an endpoint, and the step at which an attempt to connect is.

Owns the steps, the options of a socket, and TLS on it. Never sends a command, and never chooses between addresses.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final, cast

from aioresp.errors import copy_error
from aioresp.typed import Enum
from aioresp.wire.connection import Connection
from aioresp.wire.endpoint import Endpoint
from aioresp.wire.race import avoid

#: Socket options by which the kernel notices within about a minute that the peer has gone. Three are for an idle
#: connection: seconds until the first probe (under another name on macOS), seconds between probes, and their number.
#: The last is for data that the peer does not acknowledge or take: milliseconds, on Linux.
KEEPALIVE: Final = (
    ("TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE", 30),
    ("TCP_KEEPINTVL", 10),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 60_000),
)

#: Seconds for which an address may leave a TCP connection unanswered before the next address is tried beside it.
HEAD_START: Final = 0.25

#: Most seconds for TLS and the handshake until the next address is tried beside them, without a `connect_timeout`.
PATIENCE: Final = 2.0


class Step(Enum):
    """Step of an attempt to connect, in their order; the value ends "it waits for"."""

    NAME = "the look-up of the name"
    TCP = "an answer to TCP"
    TLS = "TLS"
    CREDENTIALS = "the credential provider"
    LOGIN = "the server's answer to the handshake"


_STEPS: Final = list(Step)


class Progress:
    """The steps of one attempt to connect, which may be at several addresses at once.

    The furthest of them is also in the name of the attempt's task, where a pool finds it.
    """

    def __init__(self, timeout: float | None) -> None:
        self.at: dict[str, tuple[Step, float]] = {}
        """The step at each address that has not failed, and the time of the loop at which it began."""
        self.connections: list[Connection] = []
        """All connections of the attempt."""
        self.addresses: list[str] = []
        """The addresses of the name."""
        self.suspect: str | None = None
        """The last address whose server ended the handshake; None if there is none."""
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        self._task = task if task is not None and task.get_name().startswith("aioresp: ") else None
        self._share = PATIENCE

    @property
    def step(self) -> Step:
        """The furthest step."""
        return max((step for step, _ in self.at.values()), key=_STEPS.index, default=Step.NAME)

    @property
    def bytes_received(self) -> int:
        """Bytes that the server has sent."""
        return sum(connection.traffic.received for connection in self.connections)

    def share(self, addresses: list[str]) -> None:
        """Share the time between these addresses."""
        self.addresses = addresses
        if self._timeout is not None:
            self._share = self._timeout / (len(addresses) + 1)

    def enter(self, step: Step, address: str = "") -> None:
        """Note that a step begins at `address`."""
        self.at.pop("", None)  # what precedes the addresses is over
        self.at[address] = step, self._loop.time()
        if self._task is not None:
            name = self._task.get_name().partition("; ")[0]
            self._task.set_name(f"{name}; it waits for {self.step.value}")

    def end(self) -> None:
        """Forget the task and the connections: the task's error refers to its steps, and would keep them."""
        self._task = None
        self.connections.clear()

    def leave(self, address: str) -> None:
        """Note that the attempt at `address` has failed."""
        step, _ = self.at.pop(address, (None, 0.0))
        if step is Step.LOGIN:
            self.suspect = address

    def avoid(self, port: int) -> None:
        """Note that the time is over: next time, the addresses that have not answered are tried after the others."""
        for address in self.at:
            if address:
                avoid(address, port)

    def head_start(self, address: str) -> float:
        """Return the time of the loop until which the next address waits for this one."""
        step, since = self.at.get(address, (Step.TCP, self._loop.time()))
        if step is Step.CREDENTIALS:
            return self._loop.time() + PATIENCE  # another address would ask the provider, too
        return since + (min(HEAD_START, self._share) if step is Step.TCP else self._share)


async def open_transport(endpoint: Endpoint, address: str, connection: Connection, progress: Progress) -> None:
    """Open a transport to one address, or to the unix socket, for `connection`."""
    loop = asyncio.get_running_loop()
    progress.enter(Step.TCP, address)
    if endpoint.unix_socket_path is not None:
        await loop.create_unix_connection(lambda: connection, endpoint.unix_socket_path)
        return
    transport: asyncio.Transport
    if endpoint.tls is None:
        transport, _ = await loop.create_connection(lambda: connection, address, endpoint.port)
    else:
        # In two steps, so that a time limit knows which of them it has met.
        plain, _ = await loop.create_connection(asyncio.Protocol, address, endpoint.port)
        progress.enter(Step.TLS, address)
        name = endpoint.server_hostname or endpoint.host
        try:
            transport = cast(Any, await loop.start_tls(plain, connection, endpoint.tls, server_hostname=name))
        except BaseException:
            if not loop.is_closed():
                plain.abort()
            raise
        if connection.error is not None:  # the server has said something, or has closed, in the same moment
            transport.abort()
            raise copy_error(connection.error)
        connection.connection_made(transport)
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):
            with suppress(OSError):  # a kernel may not know each option that Python knows
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
