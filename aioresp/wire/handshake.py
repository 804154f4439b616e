"""Handshake of a connection: a transport is opened and the client logs in, in one round trip.

Owns the opening of a transport for an endpoint, and the first commands on it. Never knows pools. A connection that
fails here is closed, and was never handed out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from aioresp.errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    DecodeError,
    NoPermissionError,
    ProtocolError,
    ResponseError,
    about,
)
from aioresp.timers import Timeout
from aioresp.wire.brake import Brake
from aioresp.wire.connection import Connection
from aioresp.wire.courtesies import IDENTITY, Courtesies, Words, introduction, is_refusal, tells_of_server
from aioresp.wire.credentials import Credentials, as_whom, ask
from aioresp.wire.dialing import Progress, Step, open_transport
from aioresp.wire.endpoint import Endpoint
from aioresp.wire.greeting import Greeting, number
from aioresp.wire.packing import pack
from aioresp.wire.race import ordered, race
from aioresp.wire.resolver import resolve

logger = logging.getLogger("aioresp")


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
    `prepare` is called with the connection before anything is sent, to add listeners. If it is called more than once,
    the other connections have failed, or were slower at another address of the name.

    Raises AuthenticationError for wrong credentials, ConnectTimeout after `timeout` seconds, and ConnectError, saying
    which step failed, for all else. After a refusal `brake` raises it again, until its pause is over.
    """
    loop = asyncio.get_running_loop()
    progress = Progress(timeout)
    login = _Login(endpoint, brake, words, progress)

    async def attempt(address: str) -> Connection:
        bare = False
        while True:
            connection = Connection(loop, concurrency, max_reply)
            progress.connections.append(connection)
            try:
                if prepare is not None:
                    prepare(connection)
                if endpoint.credential_provider is not None:
                    from aioresp.wire.renewal import Renewal  # noqa: PLC0415 (few programs have a provider)

                    connection.renewal = Renewal(connection, endpoint.credential_provider, timeout)
                await open_transport(endpoint, address, connection, progress)
                await login.go(connection, address, bare)
            except BaseException as error:
                connection.close()
                if bare or not login.may_go_bare(error):
                    if isinstance(error, Exception):
                        progress.leave(address)
                    raise
                bare = True
            else:
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
        explained = error
        if isinstance(error, Exception):
            from aioresp.wire.diagnosis import explain  # noqa: PLC0415 (most programs connect at once)

            explained = await explain(error, endpoint, timeout, progress)
        if explained is error:
            raise
    else:
        connection.opened()
        return connection
    finally:
        progress.end()
    try:
        raise explained  # outside of the handler: asyncio's own errors are no news
    finally:
        del explained  # it holds this frame by its traceback


async def _look_up(endpoint: Endpoint, progress: Progress) -> list[str]:
    if endpoint.unix_socket_path is not None:
        return [""]
    progress.enter(Step.NAME)
    addresses = ordered(await resolve(endpoint.host, endpoint.port), endpoint.port)
    progress.share(addresses)
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
        #: The courtesies of the last handshake; None before it.
        self._courtesies: Courtesies | None = None
        #: 2 as soon as the server has refused HELLO.
        self._protocol: Literal[2, 3] = endpoint.protocol

    async def begin(self) -> None:
        """Begin, before anything is sent. Raises the last refusal if it is too early."""
        if self._brake.on:
            await self._ask("")  # credentials other than the refused ones need not wait
        self._attempt = self._brake.begin(self._credentials)

    async def go(self, connection: Connection, address: str = "", bare: bool = False) -> None:
        """Send HELLO, or AUTH and the like for RESP2 and for a server that does not know HELLO.

        A `bare` handshake has only what is needed: a server may close the connection for the rest.
        """
        await self._ask(address)
        self._progress.enter(Step.LOGIN, address)
        self._said = True
        user = None if self._credentials is None else self._credentials.username
        courtesies = self._courtesies = Courtesies(self._endpoint, user, bare)
        while True:
            try:
                await _greet(connection, self._endpoint, self._credentials, self._words, courtesies, self._protocol)
            except _NoResp3 as error:
                logger.debug("%s does not speak RESP3 (%s): RESP2 is used", self._endpoint, error)
                self._protocol = 2
            else:
                break
        if connection.server is None and courtesies.may_identify():
            await _identify(connection, courtesies)
        if bare:
            courtesies.suspect()
        self._brake.succeed()
        self._attempt = None
        if connection.renewal is not None and self._credentials is not None:
            connection.renewal.begin(self._credentials)

    def may_go_bare(self, error: BaseException) -> bool:
        """Return whether the server may have closed the connection because of a courtesy, as twemproxy does."""
        if not isinstance(error, ConnectionLost) or isinstance(error, ProtocolError):
            return False
        # Under RESP2 it may have closed before it has sent its replies. HELLO, however, is no courtesy.
        return self._protocol == 2 or (self._courtesies is not None and self._courtesies.deadly)

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


async def _identify(connection: Connection, courtesies: Courtesies) -> None:
    """Ask the server who it is, in a round trip of its own: once for each server, as later handshakes ask at once."""
    answer = connection.send(pack(IDENTITY), False)  # a path in it may be any bytes
    try:
        found = await answer
    except ResponseError as error:
        if is_refusal(error):
            courtesies.note((), (IDENTITY,))
        return
    except ConnectionLost:
        courtesies.deadly = True
        raise
    finally:
        del answer  # an error in it holds this frame by its traceback
    connection.greeting = connection.greeting.completed(found)
    if connection.greeting.run_id is not None:
        courtesies.identified()


class _NoResp3(Exception):
    """The server refuses HELLO, for a reason that AUTH does not share."""


async def _greet(
    connection: Connection,
    endpoint: Endpoint,
    credentials: Credentials | None,
    words: Words,
    courtesies: Courtesies,
    protocol: Literal[2, 3],
) -> None:
    """Log in, by HELLO for RESP3. Raises _NoResp3 if the server refuses HELLO."""
    name = () if endpoint.client_name is None else (("CLIENT", "SETNAME", endpoint.client_name),)
    login: list[tuple[Any, ...]] = []
    before = connection.greeting  # after RESET, the server is the same
    last = courtesies.identity(before.run_id is not None)
    if protocol == 3:
        hello: tuple[Any, ...] = ("HELLO", 3)
        if credentials is not None:
            hello += ("AUTH", credentials.username or "default", credentials.password)
        if endpoint.client_name is not None:
            hello += ("SETNAME", endpoint.client_name)
        replies = await _say(connection, endpoint, (hello,), (), words, courtesies, credentials, last)
        greeting = Greeting.read(replies[hello]).replace(run_id=before.run_id)
        connection.greeting = greeting.completed(replies.get(IDENTITY))
        courtesies.genuine = greeting.server is not None
        return
    if credentials is not None:
        login.append(("AUTH", *credentials.words))
    # PING shows at once that a server is loading, full, or not Redis at all.
    polite = courtesies.kept(name) or courtesies.kept(() if login else (("PING",),))
    replies = await _say(
        connection, endpoint, tuple(login), polite, words, courtesies, credentials, (("CLIENT", "ID"), *last)
    )
    found = number(replies.get(("CLIENT", "ID")))
    greeting = Greeting(found, run_id=before.run_id, availability_zone=before.availability_zone)
    connection.greeting = greeting.completed(replies.get(IDENTITY))
    first = (*login, *polite)[:1]
    courtesies.genuine = found is not None and bool(first) and replies.get(first[0]) in ("PONG", "OK")


async def _say(
    connection: Connection,
    endpoint: Endpoint,
    login: Words,
    polite: Words,
    words: Words,
    courtesies: Courtesies,
    credentials: Credentials | None,
    last: Words = (),
) -> dict[tuple[Any, ...], Any]:
    """Send all commands in one write; return the replies to the first one, and to accepted courtesies.

    The server must accept `login`, the database and `words`.
    """
    select = (("SELECT", endpoint.db),) if endpoint.db else ()
    extras = courtesies.kept((*introduction(endpoint), *last))
    needed = [*[True] * len(login), *[False] * len(polite), *[True] * len(select + words), *[False] * len(extras)]
    commands = (*login, *polite, *select, *words, *extras)
    # A greeting may hold any bytes, such as the name of a zone, and INFO the path of a file.
    answers = [connection.send(pack(command), command[0] not in ("HELLO", "INFO")) for command in commands]
    replies: list[Any] = await asyncio.gather(*answers, return_exceptions=True)
    accepted: dict[tuple[Any, ...], Any] = {}
    refused: list[tuple[Any, ...]] = []
    try:
        for place, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if isinstance(reply, ResponseError):
                if needed[place] or (place < len(login + polite) and tells_of_server(reply)):
                    if command[:1] == ("HELLO",) and place == 0 and _is_unknown(reply, command):
                        raise _NoResp3(str(reply))
                    if isinstance(reply, AuthenticationError):
                        raise about(as_whom(reply, credentials), command[0])
                    raise ConnectError(f"{endpoint} refused {command[0]}: {reply}{_advice(command, reply)}") from reply
                if is_refusal(reply):
                    refused.append(command)
                    if isinstance(reply, NoPermissionError) and command[0] == "CLIENT":
                        refused.append(IDENTITY)  # of no use without CLIENT LIST, and one more line in the ACL LOG
            elif isinstance(reply, DecodeError):
                if needed[place]:
                    raise ConnectError(f"{endpoint} answered {command[0]} with something that is not UTF-8") from reply
            elif isinstance(reply, BaseException):
                courtesies.deadly = place >= len(commands) - len(extras)
                raise reply
            elif place == 0 or not needed[place]:
                accepted[command] = reply
    finally:
        answers.clear()  # an error in them holds this frame by its traceback
        replies.clear()
        reply = None
    courtesies.note(accepted.keys() & {*polite, *extras}, refused)
    return accepted


def _advice(command: tuple[Any, ...], error: ResponseError) -> str:
    """Return what to do about a refused database, or nothing."""
    if command[0] != "SELECT":
        return ""
    said = str(error)
    if "cluster mode" in said:
        return ": a cluster has database 0 alone (Valkey 9 has as many as its setting cluster-databases)"
    settings = "`databases`, or for a cluster `cluster-databases`"
    return f": it has no database {command[1]}, by its setting {settings}" if "out of range" in said else ""


def _is_unknown(error: ResponseError, hello: tuple[Any, ...]) -> bool:
    """Return whether a server that refuses HELLO may take AUTH and the like: it tells by the class of the error.

    NOAUTH in spite of credentials means that it has not read them.
    """
    return is_refusal(error) or (error.code == "NOAUTH" and "AUTH" in hello[2:3])
