"""Exception classes of the package, under one root.

Owns the classes and the one table from a server's error code to its class. Never imports asyncio, never keeps state,
and never holds a value or a password: an error names its command and a shortened key, nothing else.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar, cast

from aioresp.facts.catalogue import needed

Outcome = Literal["not sent", "unknown"]

E = TypeVar("E", bound=BaseException)


class RedisError(Exception):
    """The root of every error that aioresp raises about a server, a connection, an argument or an option.

    `command` and `key` tell which call it was, where that is known.
    """

    command: str | None = None
    key: str | None = None
    index: int | None = None
    """Index of the command in its pipeline, from 0, in the error that `execute` raises."""
    deadline: float = float("inf")
    """Deadline of the call, by the clock of its event loop, if that is known."""
    origin: int = 0
    """Number of the connection, within this process, whose server answered with it; 0 if that is not known."""

    def __str__(self) -> str:
        """Return the message, followed by the command and its key."""
        message = self._message()
        if self.command is None:
            return message
        where = self.command if self.key is None else f"{self.command} {self.key}"
        return f"{message} [{where}]"

    def _message(self) -> str:
        return super().__str__()


class ArgumentError(RedisError, ValueError):
    """An argument or an option does not fit, so nothing was sent; the message names it, and the command if it has one.

    It catches ArgumentTypeError, too.
    """


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument or an option has a type that does not fit, or an unknown name; nothing was sent."""


class ClientClosed(RedisError):
    """The client was closed; enter it again with `async with` to reopen it."""


class CommandRefused(RedisError):
    """This command is not sent here; the message names the reason and the alternative."""


class ConnectError(RedisError, ConnectionError):
    """No connection could be made: the address, TLS, or the handshake failed."""

    advice: str = ""
    """The end of the message, which says what to do; empty without advice."""


class TLSError(ConnectError):
    """TLS failed: the client or the server refused a certificate, or the server has no TLS; never retried."""


class ConnectTimeout(ConnectError, TimeoutError):
    """No connection could be made in time (`connect_timeout`, or the call's own deadline)."""

    phase: Literal["connect"] = "connect"


class ConnectionLost(RedisError, ConnectionError):
    """The connection ended before the reply arrived.

    `outcome` is "not sent" if no byte of the command left: it is safe to call again. It is "unknown" if the server may
    have run the command.
    """

    method: str | None = None
    """Method that was under way, in the error that its caller gets."""

    def __init__(self, message: str, outcome: Outcome = "unknown") -> None:
        super().__init__(message)
        self.outcome: Outcome = outcome

    def _message(self) -> str:
        message = super()._message()
        if self.method is None:
            return message
        if self.outcome == "not sent":
            return f"{message}; `{self.method}` was not sent"
        return f"{message}; `{self.method}` was under way: it may have run (outcome unknown)"


class ProtocolError(ConnectionLost):
    """The server sent bytes that are not RESP, an unsolicited reply, or a reply that its command cannot have.

    The connection was dropped.
    """


class ReplyTooLarge(RedisError):
    """The reply has more bytes than `max_reply` allows; the connection was dropped. The command has run."""


class DecodeError(RedisError, ValueError):
    """The reply cannot be read: it is not valid UTF-8 (ask for bytes with `decode_responses=False`), or the message
    names what a script has put into it. The command has run, and the connection goes on.
    """


class UnexpectedReply(RedisError):
    """The reply has a shape that its command never has; the message shows types and no value.

    The command has run, and the connection goes on.
    """


class CommandTimeout(RedisError, TimeoutError):
    """The call's deadline passed; `phase` is "pool" or "reply", for which the call was waiting."""

    phase: Literal["pool", "reply"] = "reply"


class PoolTimeout(CommandTimeout):
    """The call's deadline passed while it waited for a connection; nothing was sent."""

    phase = "pool"


class SubscriptionClosed(RedisError):
    """The subscription has ended, and yields no more messages."""


class SubscriptionOverflow(SubscriptionClosed):
    """Messages came faster than they were read, and the subscription has `overflow="close"`."""


class NotificationsDisabled(RedisError):
    """The server is not configured to send these keyspace notifications: see `notify-keyspace-events`."""


class WatchError(RedisError):
    """A watched key was changed before EXEC, so the transaction did not run."""


class ResponseError(RedisError):
    """The server answered with an error; `code` is its first word."""

    code: str = "ERR"


class AuthenticationError(ResponseError):
    """The credentials are wrong, or missing."""


class NoPermissionError(ResponseError):
    """The user's ACL does not allow this command, key or channel."""


class WrongTypeError(ResponseError):
    """The key holds another kind of value."""


class UnknownCommandError(ResponseError):
    """The server does not know this command: the server is too old, lacks a module, or has renamed the command.

    The message says which versions of Redis and Valkey have the command, where that is known.
    """


class LoadingError(ResponseError):
    """The server is loading its data set."""


class BusyError(ResponseError):
    """The server is running a slow script or function."""


class NoScriptError(ResponseError):
    """The server does not have the script with this hash."""


class ExecAbortError(ResponseError):
    """The transaction did not run because one of its commands was refused."""


class ReadOnlyError(ResponseError):
    """The server is a replica and takes no writes."""


class OutOfMemoryError(ResponseError):
    """The server has reached `maxmemory`."""


class PersistenceError(ResponseError):
    """The server refuses writes because it cannot save them (MISCONF)."""


class MasterDownError(ResponseError):
    """The replica has lost its primary and serves no stale data."""


class NoReplicasError(ResponseError):
    """Too few replicas are connected for a write."""


class BusyGroupError(ResponseError):
    """The consumer group exists already."""


class NoGroupError(ResponseError):
    """The stream or its consumer group does not exist."""


class UnblockedError(ResponseError):
    """The blocking command was ended by CLIENT UNBLOCK or a failover."""


class MaxClientsError(ResponseError):
    """The server has as many clients as it accepts."""


#: The end of a redirect's message, for a caller whose client follows none.
_CLUSTER: Final = (
    "this is a cluster; connect with aioresp.Cluster, which follows it (a lease, and a client of one of its nodes, "
    "follow none)"
)


class _Redirect:
    """Redirect to another node, read from the words of the error once."""

    slot: int | None = None
    """The slot of the key; None if the server's words name no slot that there is, or no address."""
    host: str = ""
    """The other node. It is empty, or "?", where the server does not tell its host."""
    port: int = 0
    why: str = ""
    """The reason why a client of a cluster has not followed it."""

    def advised(self, said: str) -> str:
        """Return the server's words, and what to do."""
        why = self.why or ("" if self.slot is None else _CLUSTER)
        return f"{said}: {why}" if why else said

    def read(self, text: str) -> None:
        """Read slot and address: `3999 127.0.0.1:6381`, also `3999 :6381`, and an IPv6 address without brackets."""
        slot, _, address = text.partition(" ")
        host, colon, port = address.partition(" ")[0].rpartition(":")
        if colon and _is_number(slot, 16_383) and _is_number(port, 65_535):
            self.slot, self.host, self.port = int(slot), host.strip("[]"), int(port)


class ClusterError(ResponseError):
    """The cluster cannot serve this key here."""


class MovedError(_Redirect, ClusterError):
    """Another node serves the slot: this is a cluster. `aioresp.Cluster` follows it by itself."""

    def _message(self) -> str:
        return self.advised(super()._message())


class AskError(_Redirect, ClusterError):
    """The slot is being moved, and the next node must be asked once: `aioresp.Cluster` does so by itself."""

    def _message(self) -> str:
        return self.advised(super()._message())


class TryAgainError(ClusterError):
    """A multi-key command met a slot that is being moved."""


class ClusterDownError(ClusterError):
    """The cluster is down, or the slot is not served."""


class CrossSlotError(ClusterError):
    """The keys of one command belong to different slots."""

    def _message(self) -> str:
        said = super()._message()
        if not said.startswith("CROSSSLOT"):  # not the server's words
            return said
        return f"{said}: keys with a common tag in braces, as in {{user:7}}:name, share a slot, and Cluster splits MGET"


BY_CODE: dict[str, type[ResponseError]] = {
    "ASK": AskError,
    "BUSY": BusyError,
    "BUSYGROUP": BusyGroupError,
    "CLUSTERDOWN": ClusterDownError,
    "CROSSSLOT": CrossSlotError,
    "EXECABORT": ExecAbortError,
    "LOADING": LoadingError,
    "MASTERDOWN": MasterDownError,
    "MISCONF": PersistenceError,
    "MOVED": MovedError,
    "NOAUTH": AuthenticationError,
    "NOGROUP": NoGroupError,
    "NOPERM": NoPermissionError,
    "NOREPLICAS": NoReplicasError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
    "UNBLOCKED": UnblockedError,
    "WRONGPASS": AuthenticationError,
    "WRONGTYPE": WrongTypeError,
}

# Conditions that the server reports under the bare code ERR, recognised by the start of their text.
BY_TEXT: tuple[tuple[str, type[ResponseError]], ...] = (
    ("unknown command", UnknownCommandError),
    ("unknown subcommand", UnknownCommandError),
    ("Unknown subcommand or wrong number of arguments", UnknownCommandError),
    ("max number of clients", MaxClientsError),
    ("invalid password", AuthenticationError),
    ("Client sent AUTH", AuthenticationError),
    ("AUTH <password> called without", AuthenticationError),
)


# The same in the words of proxies and other servers, in small letters; some of them send no code before it.
_ABSENT: Final = (
    "unknown command",
    "unknown or unsupported command",
    "unsupported command",
    "unrecognized command",
    "command not supported",
    "command is not supported",
    "command not found",
)


def response_error(message: str) -> ResponseError:
    """Return the error that a server's error line means.

    The code stays in the text, so that the message reads as the server wrote it, and is also in `code`.
    """
    code, _, text = message.partition(" ")
    kind = BY_CODE.get(code)
    if kind is None:
        kind = next((kind for start, kind in BY_TEXT if text.startswith(start)), ResponseError)
        if kind is ResponseError and any(said.lower().startswith(_ABSENT) for said in (text, message)):
            kind = UnknownCommandError
    message = _without_secrets(message)
    if kind is UnknownCommandError:
        kind, message = _unknown(text, message)
    error = kind(message)
    error.code = code
    if isinstance(error, _Redirect):
        error.read(text)
    return error


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= most


def _without_secrets(message: str) -> str:
    """Return the server's message without the arguments that it repeats: values, perhaps a password.

    Servers also repeat arguments within the error of a script, and line by line for a file of users.
    """
    message = message.partition(", with args beginning with:")[0]
    for before, behind in _REPEATED:
        start, found, rest = message.partition(before)
        if found:
            repeated, ended, rest = rest.rpartition(behind)
            message = f"{start}{before}{_harmless(repeated)}...{ended}{rest if ended else ''}"
    return message


# Texts around the arguments that servers repeat. All text between the first and the last of these is removed.
_REPEATED: Final = (
    ("SETUSER modifier '", "': "),
    ("applying operation '", "': "),
    ("acl selector starting at '", "'"),
    ("username '", "' contains"),
    ("Invalid argument '", "' for CONFIG SET '"),  # up to 6.2
    ("Unsupported CONFIG parameter: ", "\n"),  # up to 6.2, too
    ("arguments for CONFIG SET - '", "'"),
    ("option '", "'"),
    ("unknown argument: ", "\n"),  # HSETEX: a value behind the last field
)


def _harmless(repeated: str) -> str:
    """Return the part of an ACL rule that may be shown: the sign that tells its kind."""
    return repeated[:1] if repeated[:1] in tuple("<>#!+-~%&@(") else ""


R = TypeVar("R", bound=RedisError)


def about(error: R, command: str, key: str | None = None) -> R:
    """Return the error with the name of its command, and with the key as messages show it."""
    error.command, error.key = command, key
    return error


C = TypeVar("C", bound=ConnectError)


def advised(kind: type[C], message: str, advice: str) -> C:
    """Return an error that ends with advice."""
    error = kind(f"{message}: {advice}")
    error.advice = advice
    return error


def unreached(error: C, who: str) -> C:
    """Return the error for an address that has never been reached, and that others tell: it may be an inner one."""
    own = copy_error(error)
    own.advice = f"{who} this address: if it is one of an inner network (Docker, NAT), translate it by address_map"
    own.args = (f"{error.args[0] if error.args else ''}: {own.advice}", *error.args[1:])
    return own


def tried(error: E, attempts: int, seconds: float) -> E:
    """Return the error of the last of several attempts to connect, as a copy whose message tells their number."""
    if attempts < 2 or not isinstance(error, ConnectError):
        return error
    own = copy_error(error)
    said = str(own.args[0]) if own.args else ""
    tail = f": {own.advice}" if own.advice and said.endswith(f": {own.advice}") else ""
    head = said.removesuffix(tail) if tail else said
    own.args = (f"{head} ({attempts} attempts in {seconds:.2g} s){tail}", *own.args[1:])
    return own


def copy_error(error: E) -> E:
    """Return a copy of an error for another caller: with the same cause, but its own traceback and command."""
    kind, arguments, *state = cast(tuple[Any, ...], error.__reduce__())
    own: E = kind(*arguments)
    vars(own).update(*state)
    own.__cause__ = error.__cause__
    return own


def copy_with_outcome(error: RedisError, outcome: Outcome) -> RedisError:
    """Return a copy of an error for the caller of a command with that outcome."""
    own = copy_error(error)
    if isinstance(own, ConnectionLost):
        own.outcome = outcome
    return own


def _unknown(text: str, message: str) -> tuple[type[ResponseError], str]:
    """Return class and message for a command unknown to the server, with the versions that have it."""
    # "unknown command 'LCS'", up to 6.2 "`LCS`"; "unknown subcommand 'SHARDS'. Try CLUSTER HELP."
    name = text.replace("`", "'").partition("'")[2].partition("'")[0].upper()
    container = text.rpartition(". Try ")[2].removesuffix(" HELP.") if ". Try " in text else ""
    versions = needed(f"{container} {name}".strip())
    if text.startswith("Unknown subcommand") and (versions is None or versions.startswith(("Redis 5", "Redis 6"))):
        return ResponseError, message  # up to 6.2 the same text means wrong arguments of a known subcommand
    if versions is None:
        return UnknownCommandError, message
    return UnknownCommandError, f"{container} {name} needs {versions}; the server said: {message}".strip()


ERROR_TYPES: frozenset[type] = frozenset({ResponseError, *BY_CODE.values(), *(kind for _, kind in BY_TEXT)})
