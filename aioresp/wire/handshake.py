"""Handshake of a connection: a transport is opened and the client logs in, in one round trip.

Owns the opening of a transport for an endpoint, and the first commands on it. Never knows pools. A connection that
fails here is closed, and was never handed out.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from aioresp.errors import (
    AuthenticationError,
    BusyError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    DecodeError,
    RedisError,
    ResponseError,
    TLSError,
    UnknownCommandError,
    about,
)
from aioresp.timers import Timeout
from aioresp.version import VERSION
from aioresp.wire.brake import Brake
from aioresp.wire.connection import Connection
from aioresp.wire.credentials import Credentials, ask
from aioresp.wire.dialing import Progress, Step, open_transport
from aioresp.wire.endpoint import Endpoint, why_tls_failed
from aioresp.wire.greeting import Greeting, number
from aioresp.wire.packing import pack
from aioresp.wire.race import ordered, race
from aioresp.wire.resolver import resolve

logger = logging.getLogger("aioresp")

#: Commands by their words.
Words: TypeAlias = tuple[tuple[Any, ...], ...]

# Commands that end the handshake; a server that does not know them is accepted.
_INFO: Final[Words] = (
    ("CLIENT", "SETINFO", "LIB-NAME", "aioresp"),
    ("CLIENT", "SETINFO", "LIB-VER", VERSION),
)


async def connect(
    endpoint: Endpoint,
    brake: Brake,
    *,
    concurrency: int,
    timeout: float | None,
    max_reply: int | None = None,
    words: Words = (),
    prepare: Callable[[Connection], None] | None = None,
) -> Connection:
    """Return a connection that is ready for commands.

    `words` are commands that end the handshake, such as READONLY or CLIENT TRACKING ON; the server must accept each.
    `prepare` is called with the connection before anything is sent, to add listeners.

    Raises AuthenticationError for wrong credentials, ConnectTimeout after `timeout` seconds, and ConnectError, saying
    which step failed, for all else. After a refusal `brake` raises it again, until its pause is over.
    """
    loop = asyncio.get_running_loop()
    progress = Progress(timeout)
    login = _Login(endpoint, brake, words, progress)

    async def attempt(address: str) -> Connection:
        connection = Connection(loop, concurrency, max_reply)
        progress.connections.append(connection)
        try:
            if prepare is not None:
                prepare(connection)
            if endpoint.credential_provider is not None:
                from aioresp.wire.renewal import Renewal  # noqa: PLC0415 (few programs have a provider)

                connection.renewal = Renewal(connection, endpoint.credential_provider, timeout)
            await open_transport(endpoint, address, connection, progress)
            await login.go(connection, address)
        except BaseException as error:
            connection.close()
            if isinstance(error, Exception):
                progress.leave(address)
            raise
        return connection

    try:
        async with Timeout(timeout):
            await login.begin()
            addresses = await _look_up(endpoint, progress)
            connection = await race(addresses, endpoint.port, attempt, progress.head_start, Connection.close)
    except BaseException as error:
        login.fail(error)
        if isinstance(error, TimeoutError):
            progress.avoid(endpoint.port)
        explained = _explain(error, endpoint, timeout, progress)
        if explained is error:
            raise
        raise explained from error
    connection.opened()
    return connection


async def _look_up(endpoint: Endpoint, progress: Progress) -> list[str]:
    if endpoint.unix_socket_path is not None:
        return [""]
    progress.enter(Step.NAME)
    addresses = ordered(await resolve(endpoint.host, endpoint.port), endpoint.port)
    progress.share(len(addresses))
    return addresses


async def restore(
    connection: Connection, endpoint: Endpoint, brake: Brake, timeout: float | None, words: Words = ()
) -> None:
    """Undo changes to a connection's state, by RESET (since Redis 6.2) and another handshake, with the same `words`.

    Raises an error if the server does not know how, and TimeoutError after `timeout` seconds.
    """
    # Only refused credentials concern a connection that is already in; "too many clients" does not.
    brake = brake if brake.of_credentials or not brake.on else Brake()
    login = _Login(endpoint, brake, words, Progress(timeout))
    try:
        async with Timeout(timeout):
            await login.begin()
            reset = connection.send(pack(("RESET",)))
            await login.go(connection)
            await reset
    except AuthenticationError as error:
        login.fail(error)
        raise
    except BaseException:
        login.give_up()  # a change to the connection may be the reason of the refusal
        raise
    finally:
        with suppress(ValueError):
            connection.remove_push_listener(ignore)


def ignore(push: list[Any]) -> None:
    """Drop a push that is for a lease that has ended; `restore` removes this listener."""


def _explain(error: BaseException, endpoint: Endpoint, timeout: float | None, progress: Progress) -> BaseException:
    """Return the error to raise for `error`: itself, if it already names the server and the reason."""
    failure = error.__cause__ if isinstance(error, ConnectionLost) else error
    if isinstance(failure, ssl.SSLError) and not isinstance(failure, ssl.SSLEOFError):
        return TLSError(f"no TLS with {endpoint}: {why_tls_failed(failure)}")
    guess = "" if progress.bytes_received else _guess(endpoint)
    if isinstance(error, ConnectionLost):
        return ConnectError(f"{endpoint} ended the handshake: {error}{guess}")
    if isinstance(error, RedisError):
        return error
    if isinstance(error, TimeoutError):
        within = "" if timeout is None else f" in {timeout:.3g} s"
        if progress.step is Step.CREDENTIALS:
            return ConnectTimeout(f"no connection to {endpoint}{within}: the credential provider has not answered")
        if progress.step is Step.NAME and endpoint.unix_socket_path is None:
            return ConnectTimeout(f"no connection to {endpoint}{within}; its name is still being looked up")
        return ConnectTimeout(f"no connection to {endpoint}{within}{guess if endpoint.tls else ''}")
    if isinstance(error, (OSError, UnicodeError)):  # socket.gaierror is an OSError; a host may be impossible as a name
        closed = isinstance(error, (ConnectionResetError, ConnectionAbortedError, ssl.SSLEOFError))
        said = str(error) or "the server closed the connection"
        return ConnectError(f"cannot connect to {endpoint}: {said}{guess if closed else ''}")
    return error


def _guess(endpoint: Endpoint) -> str:
    """Return a likely reason for the silence of a server."""
    if endpoint.tls is None:
        return "" if endpoint.unix_socket_path else "; it may speak TLS: then the URL begins with rediss://"
    # A reset may overtake the server's own alert.
    return (
        "; it may ask for a client certificate (ssl_certfile, ssl_keyfile), speak no version of TLS "
        "that is allowed here (ssl_min_version), or speak no TLS at this port"
    )


class _Login:
    """One attempt to log in, perhaps over several connections; it tells the brake of its outcome."""

    def __init__(self, endpoint: Endpoint, brake: Brake, words: Words, progress: Progress) -> None:
        self._endpoint = endpoint
        self._brake = brake
        self._words = words
        self._progress = progress
        #: Number of the attempt; None until it has begun, and once it has succeeded.
        self._attempt: int | None = None
        self._credentials = endpoint.credentials
        self._asking = asyncio.Lock()
        self._asked = False  # set when the credential provider has answered, never cleared
        self._said = False  # set when the first command is sent, never cleared

    async def begin(self) -> None:
        """Begin, before anything is sent. Raises the last refusal if it is too early."""
        if self._brake.on:
            await self._ask("")  # credentials other than the refused ones need not wait
        self._attempt = self._brake.begin(self._credentials)

    async def go(self, connection: Connection, address: str = "") -> None:
        """Send HELLO, or AUTH and the like for RESP2 and for a server that does not know HELLO."""
        await self._ask(address)
        self._progress.enter(Step.LOGIN, address)
        self._said = True
        await _greet(connection, self._endpoint, self._credentials, self._words)
        self._brake.succeed()
        self._attempt = None
        if connection.renewal is not None and self._credentials is not None:
            connection.renewal.begin(self._credentials)

    def fail(self, error: BaseException) -> None:
        """Note the error that ended the attempt."""
        if self._attempt is None:
            return
        if self._said:
            self._brake.fail(self._attempt, error, self._credentials)
        else:
            self.give_up()  # an error of the provider or of connecting is no refusal

    def give_up(self) -> None:
        """Note that the attempt ended without the server's answer."""
        if self._attempt is not None:
            self._brake.give_up(self._attempt)

    async def _ask(self, address: str) -> None:
        if self._endpoint.credential_provider is None or self._asked:
            return
        async with self._asking:
            if not self._asked:
                self._progress.enter(Step.CREDENTIALS, address)
                self._credentials = await ask(self._endpoint.credential_provider)
                self._asked = True


async def _greet(connection: Connection, endpoint: Endpoint, credentials: Credentials | None, words: Words) -> None:
    name = endpoint.client_name
    if endpoint.protocol == 3:
        hello: tuple[Any, ...] = ("HELLO", 3)
        if credentials is not None:
            hello += ("AUTH", credentials.username or "default", credentials.password)
        if name is not None:
            hello += ("SETNAME", name)
        try:
            replies = await _say(connection, endpoint, (hello,), words)
        except UnknownCommandError as error:
            logger.debug("%s does not speak RESP3 (%s): RESP2 is used", endpoint, error)
        else:
            connection.greeting = Greeting.read(replies[0])
            return
    login: list[tuple[Any, ...]] = []
    if credentials is not None:
        login.append(("AUTH", *credentials.words))
    if name is not None:
        login.append(("CLIENT", "SETNAME", name))
    if not login:
        login.append(("PING",))  # shows at once that a server is loading, full, or not Redis at all
    replies = await _say(connection, endpoint, tuple(login), words, (*_INFO, ("CLIENT", "ID")))
    connection.greeting = Greeting(number(replies[-1]))


async def _say(
    connection: Connection, endpoint: Endpoint, login: Words, words: Words, extras: Words = _INFO
) -> list[Any]:
    """Send all commands in one write and return the replies; those to `extras` may be errors."""
    commands = [*login, *((("SELECT", endpoint.db),) if endpoint.db else ()), *words]
    # A greeting may hold any bytes, such as the name of a zone.
    answers = [connection.send(pack(command), command[0] != "HELLO") for command in (*commands, *extras)]
    replies: list[Any] = await asyncio.gather(*answers, return_exceptions=True)
    for command, reply in zip(commands, replies, strict=False):
        if isinstance(reply, ResponseError):
            if command[0] == "PING" and isinstance(reply, BusyError):
                continue  # it takes SCRIPT KILL, at least
            if command is login[0] and command[0] == "HELLO":  # a word that is unknown says nothing of RESP3
                if reply.code == "NOPROTO":
                    raise UnknownCommandError(str(reply))
                if isinstance(reply, UnknownCommandError):
                    raise about(reply, command[0])
            if isinstance(reply, AuthenticationError):
                raise about(reply, command[0])
            raise ConnectError(f"{endpoint} refused {command[0]}: {reply}") from reply
        if isinstance(reply, DecodeError):
            raise ConnectError(f"{endpoint} answered {command[0]} with something that is not UTF-8") from reply
        if isinstance(reply, BaseException):
            raise reply
    return replies
