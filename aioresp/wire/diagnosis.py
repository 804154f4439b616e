"""Diagnosis of failed attempts to connect: which step failed, the likely cause, and what to do.

Owns the messages about connecting, and two questions to a port that settle whether it speaks TLS. Never retries.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from time import monotonic
from typing import Final

from aioresp.errors import ConnectError, ConnectionLost, ConnectTimeout, ProtocolError, RedisError, TLSError, advised
from aioresp.wire.dialing import Progress, Step
from aioresp.wire.endpoint import Endpoint, why_tls_failed
from aioresp.wire.race import reason
from aioresp.wire.resolver import Place

#: Seconds in which a port must answer a question.
PATIENCE: Final = 1.0

#: Seconds for which a port that speaks no TLS is not asked again, and the number of ports that are remembered.
MEMORY: Final = 60.0
REMEMBERED: Final = 1000

#: Times (monotonic) of answers without TLS, oldest first. All clients, loops and threads of the process share them.
_asked: Final[dict[Place, float]] = {}

#: Types of the first records of TLS: an alert, and a handshake.
_TLS: Final = (b"\x15\x03", b"\x16\x03")

_SERVING: Final = "is the server running?"

_TO_TLS: Final = "use a URL that begins with rediss:// (or ssl=True)"
_TO_PLAIN: Final = "without TLS the URL begins with redis:// (or ssl=False)"


async def explain(error: BaseException, endpoint: Endpoint, timeout: float | None, progress: Progress) -> BaseException:
    """Return the error to raise for `error`: itself, if it already names the server and the reason.

    It has no traceback but its own: those of its causes tell of asyncio alone.
    """
    mistaken = None if endpoint.unix_socket_path is not None else await _mistaken(error, endpoint, progress)
    explained = mistaken or _explain(error, endpoint, timeout, progress)
    if explained is not error:
        explained.__cause__ = flat(error)
    return explained


def flat(error: BaseException) -> BaseException:
    """Return an error without its traceback, and without other errors but its cause."""
    error.__context__ = None
    if error.__cause__ is not None:
        flat(error.__cause__)
    return error.with_traceback(None)


async def _mistaken(error: BaseException, endpoint: Endpoint, progress: Progress) -> TLSError | None:
    """Return the error for a port that speaks TLS where plain text was expected, or the reverse, if that is certain."""
    if endpoint.tls is None:
        # A TLS server closes the connection, or sends an alert, for a command in plain text.
        silent = isinstance(error, ConnectionLost) and not progress.bytes_received
        if (silent or isinstance(error, ProtocolError)) and progress.suspect is not None:
            place = progress.suspect, endpoint.port
            if monotonic() - _asked.get(place, -MEMORY) < MEMORY:
                return None
            said = await _ask(*place, _client_hello())
            if said[:2] in _TLS:
                return advised(TLSError, f"{endpoint} speaks TLS", _TO_TLS)
            while len(_asked) >= REMEMBERED:
                _asked.pop(next(iter(list(_asked)), place), None)
            _asked[place] = monotonic()
    elif isinstance(error, TimeoutError) and progress.step is Step.TLS:
        # Redis takes the beginning of TLS for a command whose end has not come yet.
        address = next(address for address, (step, _) in progress.at.items() if step is Step.TLS)
        said = await _ask(address, endpoint.port, b"PING\r\n")
        if said[:1] in (b"+", b"-", b"$"):
            return advised(TLSError, f"{endpoint} speaks no TLS at this port", _TO_PLAIN)
    return None


class _Ear(asyncio.Protocol):
    """Protocol that hears the first bytes of an answer."""

    def __init__(self) -> None:
        self.said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.said.done():
            self.said.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.data_received(b"")


async def _ask(address: str, port: int, question: bytes) -> bytes:
    """Return how a port begins to answer a question; nothing if it does not."""
    transport: asyncio.Transport | None = None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PATIENCE):
            transport, ear = await loop.create_connection(_Ear, address, port)
            transport.write(question)
            return await ear.said
    except OSError:
        return b""
    finally:
        if transport is not None and not loop.is_closed():
            transport.abort()


def _client_hello() -> bytes:
    """Return how a client begins TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    written = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), written).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return written.read()


def _explain(error: BaseException, endpoint: Endpoint, timeout: float | None, progress: Progress) -> BaseException:
    failure = error.__cause__ if isinstance(error, ConnectionLost) else error
    if isinstance(failure, ssl.SSLError) and not isinstance(failure, ssl.SSLEOFError):
        return TLSError(f"no TLS with {endpoint}: {why_tls_failed(failure)}")
    if isinstance(error, ConnectionLost):
        guess = "" if progress.bytes_received else _guess(endpoint)
        return ConnectError(f"{endpoint} ended the handshake: {error}{guess}")
    if isinstance(error, RedisError):
        return error
    if isinstance(error, TimeoutError) and error.errno is None:
        return _late(endpoint, "" if timeout is None else f" in {timeout:.3g} s", progress)
    if isinstance(error, (OSError, UnicodeError)):  # socket.gaierror is an OSError; a host may be impossible as a name
        return _unreachable(error, endpoint, progress)
    return error


def _late(endpoint: Endpoint, within: str, progress: Progress) -> ConnectTimeout:
    """Return the error for a step that has not come to an end."""
    none = f"no connection to {endpoint}{within}"
    if progress.step is Step.CREDENTIALS:
        return ConnectTimeout(f"{none}: the credential provider has not answered")
    if progress.step is Step.NAME:
        return ConnectTimeout(f"{none}; its name is still being looked up")
    if progress.step is Step.TCP:
        silent = ", ".join(filter(None, progress.at)) or "the socket"
        message, advice = f"{none}: no answer to TCP from {silent}", "is the address right, or does a firewall drop it?"
    elif progress.step is Step.TLS:
        message = f"no TLS with {endpoint}{within}, although TCP is connected"
        advice = f"it may speak no TLS at this port ({_TO_PLAIN}), or be overloaded"
    else:
        message = f"{none}: TCP is connected, but the handshake is not answered"
        advice = "is it a Redis server, and does it hang or run a slow command?"
    return advised(ConnectTimeout, message, advice)


def _unreachable(error: OSError | UnicodeError, endpoint: Endpoint, progress: Progress) -> ConnectError:
    """Return the error for a name that is not known, or for addresses of which none accepts."""
    host, port = endpoint.host, endpoint.port
    if isinstance(error, (socket.gaierror, UnicodeError)):
        advice = "is it spelled right, and can names be looked up here?"
        return advised(ConnectError, f"the host name {host!r} cannot be looked up ({reason(error)})", advice)
    if endpoint.unix_socket_path is not None:
        if isinstance(error, FileNotFoundError):
            return advised(ConnectError, f"there is no socket {endpoint.unix_socket_path}", _SERVING)
        if isinstance(error, ConnectionRefusedError):
            return advised(ConnectError, f"nothing listens at {endpoint}", _SERVING)
    elif isinstance(error, ConnectionRefusedError):
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        others = [address for address in progress.addresses if address != host]
        more = f" ({host} is {', '.join(others)})" if others and host != "localhost" else ""
        return advised(ConnectError, f"nothing listens at {place}", f"{_SERVING}{more}")
    closed = isinstance(error, (ConnectionResetError, ConnectionAbortedError, ssl.SSLEOFError))
    said = reason(error) or "the server closed the connection"
    return ConnectError(f"cannot connect to {endpoint}: {said}{_guess(endpoint) if closed else ''}")


def _guess(endpoint: Endpoint) -> str:
    """Return a likely reason of a server that closes the connection without a word."""
    if endpoint.tls is None:
        return "; a proxy that does not know HELLO (twemproxy) needs protocol=2" if endpoint.protocol == 3 else ""
    # A reset may overtake the server's own alert.
    return (
        "; it may ask for a client certificate (ssl_certfile, ssl_keyfile), speak no version of TLS "
        "that is allowed here (ssl_min_version), or speak no TLS at this port"
    )
