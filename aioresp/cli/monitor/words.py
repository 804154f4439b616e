"""Sentences of the monitor about servers that do not answer, and about rights that its user lacks.

Owns these words. Never asks a server.
"""

from __future__ import annotations

import os
from typing import Final

from aioresp.errors import (
    AuthenticationError,
    BusyError,
    ClusterError,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    LoadingError,
    MasterDownError,
    MaxClientsError,
    NoPermissionError,
    RedisError,
    UnknownCommandError,
)

#: Troubles of a server, by the error of a command; the first that fits.
_AILMENTS: Final[tuple[tuple[type[RedisError], str], ...]] = (
    (LoadingError, "loads its data"),
    (BusyError, "is busy with a script"),
    (MaxClientsError, "has no room for another connection (maxclients)"),
    (CommandTimeout, "does not answer"),
    (ConnectTimeout, "does not answer"),
    (MasterDownError, "has lost its primary"),
)


def ailment(error: RedisError) -> str:
    """Return what ails the server, for "the server at ... ": "does not answer", "cannot be reached", ..."""
    cause = error.__cause__
    for each in (error, cause):
        for kind, words in _AILMENTS:
            if isinstance(each, kind):
                return words
    for each in (error, cause):
        if isinstance(each, AuthenticationError):
            if each.code == "NOAUTH":
                return "asks for a password (NOAUTH)"
            return f"refuses the password ({first_line(each) if each.code == 'ERR' else each.code})"
        if isinstance(each, NoPermissionError):
            return f"refuses the user ({first_line(each)})"
    if isinstance(error, ClusterError):
        return f"cannot be read as a cluster ({first_line(error)})"
    if isinstance(error, ConnectError):
        return f"cannot be reached ({reason(error)})"
    if isinstance(error, ConnectionLost):
        return "closed the connection"
    return f"answers with an error ({first_line(error)})"


def lacking(error: RedisError, command: str) -> str:
    """Return why a command is refused, in a sentence; `command` is "client|list" or the like."""
    spelled = command.replace("|", " ").upper()
    if isinstance(error, NoPermissionError) and " key" in str(error):
        return f"The user may not run {spelled} on some keys: the right to them (such as ~*) is missing."
    if isinstance(error, NoPermissionError):
        return f"The user may not run {spelled}: the right +{command} is missing."
    if isinstance(error, UnknownCommandError):
        return f"The server has no {spelled}."
    return f"{spelled} failed: the server {ailment(error)}."


def is_refusal(error: RedisError) -> bool:
    """Return whether the server answers, and refuses this one command to this user."""
    return isinstance(error, (NoPermissionError, UnknownCommandError)) and error.code in ("NOPERM", "ERR")


def first_line(error: BaseException) -> str:
    """Return the message of an error without its advice."""
    text = str(error.args[0]).strip() if error.args else ""
    return printable(text.splitlines()[0].strip()[:200]) if text else type(error).__name__


def arrived(error: BaseException) -> bool:
    """Return whether a failed attempt to connect has reached the server, which counts it then."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, TimeoutError):
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def reason(error: ConnectError) -> str:
    """Return the system's word for a failure to connect: "Connection refused"."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, RedisError) and cause.errno:
            return os.strerror(cause.errno).lower() if cause.errno > 0 else str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return first_line(error)


def duration(seconds: float) -> str:
    """Return a time span as a person says it: "12 s", "3 min", "4 h", "12 d"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (size > 3600 and seconds >= size):
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def amount(size: float) -> str:
    """Return a number of bytes as a person reads it: "412 MB". A kB is 1,024 bytes, as for the server."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1024
        if size < 999.5 or unit == "TB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:,.0f} {unit}"


def printable(text: str) -> str:
    """Return a user's text as a terminal may show it: without line ends, and without its control sequences."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def place(address: str) -> str:
    """Return an address without its scheme, shortened if it is one of many servers."""
    rest = address.partition("://")[2] or address
    if rest.startswith("/"):
        return rest
    hosts, slash, name = rest.partition("/")
    first, *others = hosts.split(",")
    many = f" and {len(others)} more" if others else ""
    return f"{name} at {first}{many}" if name and others else f"{first}{many}{slash}{name}"
