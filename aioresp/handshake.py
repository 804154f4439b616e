"""Open a connection and introduce ourselves: one round trip, then it is ready for commands.

Owns how a transport is made for an endpoint and what is said first. Never knows pools; a connection that fails here was
never handed to anyone, and is closed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any, Final

from aioresp.connection import Connection
from aioresp.credentials import Credentials
from aioresp.endpoint import Endpoint, why_tls_failed
from aioresp.errors import (
    AuthenticationError,
    BusyError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    RedisError,
    ResponseError,
    TLSError,
    UnknownCommandError,
)
from aioresp.protocol import pack
from aioresp.version import VERSION

logger = logging.getLogger("aioresp")

# Whether the server knows these does not matter.
_INFO: Final[tuple[tuple[Any, ...], ...]] = (
    ("CLIENT", "SETINFO", "LIB-NAME", "aioresp"),
    ("CLIENT", "SETINFO", "LIB-VER", VERSION),
)


#: How the kernel finds out that the peer of an idle connection has gone: seconds until it asks for the first time,
#: seconds between two questions, questions without an answer.
KEEPALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


async def connect(
    endpoint: Endpoint, *, concurrency: int, timeout: float | None, max_reply: int | None = None
) -> Connection:
    """Return a connection that is ready for commands.

    Raises AuthenticationError for wrong credentials, ConnectTimeout after `timeout` seconds, and ConnectError, saying
    which step failed, for all else.
    """
    loop = asyncio.get_running_loop()
    connection = Connection(loop, concurrency, max_reply)
    if endpoint.credential_provider is not None:
        from aioresp.renewal import Renewal  # noqa: PLC0415 (few programs have a provider)

        connection.renewal = Renewal(connection, endpoint.credential_provider, timeout)
    try:
        async with asyncio.timeout(timeout):
            await _open_transport(loop, endpoint, connection)
            await _introduce(connection, endpoint)
    except BaseException as error:
        connection.close()
        explained = _explain(error, endpoint, timeout, connection)
        if explained is error:
            raise
        raise explained from error
    connection.opened()
    return connection


async def restore(connection: Connection, endpoint: Endpoint, timeout: float | None) -> None:
    """Undo what was changed on a connection, by RESET (since Redis 6.2) and another introduction.

    Raises an error if the server does not know how, and TimeoutError after `timeout` seconds.
    """
    async with asyncio.timeout(timeout):
        reset = connection.send(pack(("RESET",)))
        await _introduce(connection, endpoint)
        await reset


def _explain(error: BaseException, endpoint: Endpoint, timeout: float | None, connection: Connection) -> BaseException:
    """Return what to raise for `error`: itself, if it already says which server and why."""
    failure = error.__cause__ if isinstance(error, ConnectionLost) else error
    if isinstance(failure, ssl.SSLError) and not isinstance(failure, ssl.SSLEOFError):
        return TLSError(f"no TLS with {endpoint}: {why_tls_failed(failure)}")
    guess = "" if connection.bytes_received else _guess(endpoint)
    if isinstance(error, ConnectionLost):
        return ConnectError(f"{endpoint} ended the handshake: {error}{guess}")
    if isinstance(error, RedisError):
        return error
    if isinstance(error, TimeoutError):
        within = "" if timeout is None else f" in {timeout:.3g} s"
        if connection.renewal is not None and connection.renewal.asking:
            return ConnectTimeout(f"no connection to {endpoint}{within}: the credential provider has not answered")
        return ConnectTimeout(f"no connection to {endpoint}{within}{guess if endpoint.tls else ''}")
    if isinstance(error, (OSError, UnicodeError)):  # socket.gaierror is one; and a host may be no name of one
        closed = isinstance(error, (ConnectionResetError, ConnectionAbortedError, ssl.SSLEOFError))
        said = str(error) or "the server closed the connection"
        return ConnectError(f"cannot connect to {endpoint}: {said}{guess if closed else ''}")
    return error


def _guess(endpoint: Endpoint) -> str:
    """Return what may be behind the silence of a server."""
    if endpoint.tls is None:
        return "" if endpoint.unix_socket_path else "; it may speak TLS: then the URL begins with rediss://"
    # A reset may overtake the server's own words.
    return (
        "; it may ask for a client certificate (ssl_certfile, ssl_keyfile), speak no version of TLS "
        "that is allowed here (ssl_min_version), or speak no TLS at this port"
    )


async def _open_transport(loop: asyncio.AbstractEventLoop, endpoint: Endpoint, connection: Connection) -> None:
    if endpoint.unix_socket_path is not None:
        await loop.create_unix_connection(lambda: connection, endpoint.unix_socket_path)
    else:
        transport, _ = await loop.create_connection(lambda: connection, endpoint.host, endpoint.port, ssl=endpoint.tls)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _introduce(connection: Connection, endpoint: Endpoint) -> None:
    """Say HELLO; to a server that does not know it, or if RESP2 is wanted, the older words for the same."""
    credentials = await connection.renewal.ask() if connection.renewal is not None else endpoint.credentials
    await _greet(connection, endpoint, credentials)
    if connection.renewal is not None and credentials is not None:
        connection.renewal.begin(credentials)


async def _greet(connection: Connection, endpoint: Endpoint, credentials: Credentials | None) -> None:
    name = endpoint.client_name
    if endpoint.protocol == 3:
        hello: tuple[Any, ...] = ("HELLO", 3)
        if credentials is not None:
            hello += ("AUTH", credentials.username or "default", credentials.password)
        if name is not None:
            hello += ("SETNAME", name)
        try:
            greeting = await _say(connection, endpoint, hello)
        except UnknownCommandError as error:
            logger.debug("%s does not speak RESP3 (%s): RESP2 is used", endpoint, error)
        else:
            connection.id = _number(greeting[0].get("id")) if isinstance(greeting[0], dict) else None
            return
    words: list[tuple[Any, ...]] = []
    if credentials is not None:
        words.append(("AUTH", *credentials.words))
    if name is not None:
        words.append(("CLIENT", "SETNAME", name))
    if not words:
        words.append(("PING",))  # a server that is loading, full, or not Redis at all says so now
    replies = await _say(connection, endpoint, *words, extras=(*_INFO, ("CLIENT", "ID")))
    connection.id = _number(replies[-1])


def _number(said: Any) -> int | None:
    """Return the number of a connection, if it is one: CLIENT UNBLOCK is sent with it."""
    return said if said.__class__ is int else None


async def _say(
    connection: Connection, endpoint: Endpoint, *words: tuple[Any, ...], extras: tuple[tuple[Any, ...], ...] = _INFO
) -> list[Any]:
    """Send `words` and `extras` in one write and return the replies; those to `extras` may be errors."""
    commands = [*words, ("SELECT", endpoint.db)] if endpoint.db else list(words)
    answers = [connection.send(pack(command)) for command in (*commands, *extras)]
    replies: list[Any] = await asyncio.gather(*answers, return_exceptions=True)
    for command, reply in zip(commands, replies, strict=False):
        if isinstance(reply, ResponseError):
            if command[0] == "PING" and isinstance(reply, BusyError):
                continue  # it listens to SCRIPT KILL, at least
            if command[0] == "HELLO" and reply.code == "NOPROTO":
                raise UnknownCommandError(str(reply))
            if isinstance(reply, (UnknownCommandError, AuthenticationError)):
                reply.command = command[0]
                raise reply
            raise ConnectError(f"{endpoint} refused {command[0]}: {reply}") from reply
        if isinstance(reply, BaseException):
            raise reply
    return replies
