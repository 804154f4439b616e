"""Options of a client: keywords, URL and defaults become one checked `Settings`, and the `Terms` of its calls.

Owns the table of the options: names, checks, defaults, and how a URL spells them. Never connects.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

from aioresp.arguments import as_seconds, numeral
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.hints import meant
from aioresp.record import Record
from aioresp.retry import NEVER, Attempts, Retry
from aioresp.typed import TypedDict
from aioresp.url import Reader, boolean, label, parse_url, seconds, size, tls_version
from aioresp.wire.credentials import CredentialProvider
from aioresp.wire.endpoint import Endpoint, tls_context

if TYPE_CHECKING:
    from datetime import timedelta

    from aioresp.addresses import AddressMap
    from aioresp.events import Hook
    from aioresp.facts.putback import Lost
    from aioresp.middleware import Middleware
    from aioresp.observer import Observer
    from aioresp.reading import ReadFrom
    from aioresp.trail import Trail


class Options(TypedDict, total=False):
    """The keywords of `Client`; each overrides what the URL says."""

    host: str
    port: int
    db: int
    username: str | None
    password: str | None
    credential_provider: CredentialProvider | None
    unix_socket_path: str | None
    ssl: bool
    ssl_context: ssl.SSLContext | None
    ssl_ca_certs: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_password: str | None
    ssl_check_hostname: bool
    ssl_min_version: ssl.TLSVersion | None
    limit: int
    concurrency: int
    idle_timeout: float | timedelta | None
    max_age: float | timedelta | None
    timeout: float | timedelta | None
    connect_timeout: float | timedelta | None
    max_reply: int | None
    retry: Retry | None
    protocol: Literal[2, 3]
    client_name: str | None
    lib_name: str | None
    on_lost: Callable[[Lost], object] | None
    events: Hook | None
    slow_after: float | timedelta | None
    middleware: Middleware | None
    read_from: ReadFrom
    availability_zone: str | None
    address_map: AddressMap | None
    sentinel_username: str | None
    sentinel_password: str | None
    sentinel_ssl: bool | None
    sentinel_ssl_context: ssl.SSLContext | None


class Settings(Record):
    """The options of one client, checked and complete."""

    endpoint: Endpoint
    limit: int
    concurrency: int
    idle_timeout: float | None
    timeout: float | None
    connect_timeout: float | None
    max_reply: int | None
    retry: Retry | None
    on_lost: Callable[[Lost], object] | None = None
    events: Hook | None = None
    slow_after: float | None = 0.1
    middleware: Middleware | None = None
    max_age: float | None = None
    read_from: ReadFrom = "primary"
    availability_zone: str | None = None
    address_map: AddressMap | None = None
    """Function that translates the addresses that sentinels, or the nodes of a cluster, tell."""
    seeds: tuple[tuple[str, int], ...] = ()
    """Hosts and ports of the servers, or of the sentinels, if there are several; `endpoint` has the first one."""
    master: str | None = None
    """The name under which sentinels know the primary; None without Sentinel."""
    sentinel: Endpoint | None = None
    """User, password and TLS of all sentinels; its host and port mean nothing."""


class Terms(Record):
    """Terms on which a call travels: the options that `with_options` can override, and the middleware and hooks.

    All calls of a view share them. They are frozen: `replace` makes the terms of another view.
    """

    decode: bool = True
    """Whether replies become str."""
    timeout: float | None = None
    """Seconds that a call may take, with its wait for a connection; None is forever."""
    retry: Retry = NEVER
    idempotent: bool = False
    """Whether running any of these commands twice is harmless, by the caller's word."""
    middleware: tuple[Middleware, ...] = ()
    """Functions around each call, the first of them innermost."""
    on_lost: Callable[[Lost], object] | None = None
    """Function that gets the elements that a cancelled blocking pop took and could not put back."""
    read_from: ReadFrom = "primary"
    """Servers that are asked first for a read."""
    observer: Observer | None = None
    """Source of the events of commands that are sent again; None without an `events` hook."""
    trail: Trail | None = None
    """Record of the servers that a traced call goes to; None where nobody traces."""

    def differences(self, timeout: float | None, retry: Retry | None) -> list[str]:
        """Return what a `repr` tells of a view; `timeout` and `retry` are those of the whole client."""
        said = [] if self.decode else ["bytes"]
        if self.timeout != timeout:
            said.append("no timeout" if self.timeout is None else f"timeout {self.timeout:g} s")
        if self.retry != (retry or NEVER):
            said.append("no retry" if self.retry is NEVER else f"{self.retry!r}")
        if self.idempotent:
            said.append("idempotent")
        if self.read_from != "primary":
            said.append(f"read_from {self.read_from}")
        return said

    def attempts(self, deadline: float) -> Attempts:
        """Return the retry loop of one call, which no attempt begins after `deadline` (loop time)."""
        return Attempts(self.retry, deadline, None if self.observer is None else self.observer.repeating)


def settings(
    url: str | None,
    options: Options,
    seeds: tuple[tuple[str, int], ...] = (),
    master: str | None = None,
    cluster: bool = False,
) -> Settings:
    """Return the settings of `url` and `options`: keywords come first, then the URL, then the defaults.

    `seeds` and `master` are what a URL with several hosts spells, for a caller that has none. In a `cluster`, one host
    is enough to know of others.
    """
    if not issubclass(type(url), (str, type(None))):
        raise ArgumentTypeError(f"url is {type(url).__name__}, not str; all else is a keyword, as in {_AS_KEYWORDS}")
    spelled = parse_url(str.__str__(url), SPELLINGS, OPTIONS, elsewhere) if url is not None else {}
    seeds, master = spelled.pop("seeds", seeds), spelled.pop("master", master)
    if seeds and ("host" in options or "port" in options or options.get("unix_socket_path") is not None):
        raise ArgumentError("host, port and unix_socket_path exclude several hosts in the URL")
    if "host" in options or "port" in options:
        if options.get("unix_socket_path") is not None:
            raise ArgumentError("unix_socket_path excludes host and port")
        spelled.pop("unix_socket_path", None)
    given: dict[str, Any] = {**DEFAULTS, **spelled, **options}
    if "idempotent" in given:  # of no use to a whole client, many of whose commands must not run twice
        raise ArgumentTypeError("idempotent is for a view: `with_options(idempotent=True)`")
    for name, value in given.items():
        if name in options or name not in spelled:
            given[name] = check(name, value)
        elif (why := _misfit(name, value)) is not None:
            raise ArgumentError(f"option {name!r} in the URL {why}")
    if given.get("unix_socket_path") is not None and (given.get("ssl") or given.get("ssl_context") is not None):
        raise ArgumentError("unix_socket_path and ssl exclude each other")
    if given.get("username") is not None and given.get("password") is None:
        if "username" in spelled and "username" not in options:
            raise ArgumentError(
                "the URL has a user without a password (a username needs a password): a password alone is written "
                "redis://:password@host, and both are written redis://user:password@host"
            )
        raise ArgumentError("username needs a password")
    if given.get("credential_provider") is not None and given.get("password") is not None:
        raise ArgumentError("credential_provider and password exclude each other")
    endpoint = Endpoint(tls=_tls(given), **{name: given[name] for name in _named("endpoint") if name in given})
    if seeds:
        for host, _ in seeds:
            if (why := _misfit("host", host)) is not None:
                raise ArgumentError(f"a host in the URL {why}")
        endpoint = endpoint.replace(host=seeds[0][0], port=seeds[0][1])
    elif given["read_from"] != "primary" and not cluster:
        raise ArgumentError(ONE_SERVER)
    if given["address_map"] is not None and master is None and not cluster:
        raise ArgumentError(
            "address_map is for addresses that servers tell: those of a cluster (aioresp.Cluster) or of sentinels "
            "(redis+sentinel://host:26379/name); here the URL has the addresses to connect to"
        )
    sentinel = _sentinel(given, endpoint, master)
    chosen = {name: given[name] for name in DEFAULTS}
    return Settings(endpoint, **chosen, seeds=seeds, master=master, sentinel=sentinel)


def _sentinel(given: dict[str, Any], endpoint: Endpoint, master: str | None) -> Endpoint | None:
    """Return user, password and TLS of sentinels. They use TLS as the servers do, unless `sentinel_ssl` differs."""
    named = [name for name in _named("sentinel") if given.get(name) is not None]
    if master is None:
        if named:
            raise ArgumentError(f"{named[0]} needs Sentinel: redis+sentinel://host:26379/name, or `Sentinel(...)`")
        return None
    if given.get("sentinel_username") is not None and given.get("sentinel_password") is None:
        raise ArgumentError("sentinel_username needs sentinel_password")
    context: ssl.SSLContext | None = given.get("sentinel_ssl_context")
    if context is not None and given.get("sentinel_ssl") is False:
        raise ArgumentError("sentinel_ssl_context and sentinel_ssl=False exclude each other")
    if context is None and given.get("sentinel_ssl") is not False:
        context = endpoint.tls
        if context is None and given.get("sentinel_ssl"):
            context = tls_context()
    return Endpoint(
        tls=context,
        username=given.get("sentinel_username"),
        password=given.get("sentinel_password"),
        client_name=endpoint.client_name,
        lib_name=None,  # sentinels do not know CLIENT SETINFO
        protocol=endpoint.protocol,
    )


def check(name: str, value: Any) -> Any:
    """Return the value as a client keeps it: a timedelta as seconds.

    Raises ArgumentError, naming the option, if it does not exist or the value does not fit.
    """
    option = OPTIONS.get(name)
    if option is None:
        raise ArgumentTypeError(f"unknown option {name!r}{_advice(name)}")
    option.check(name, value)
    return as_seconds(value) if option.check is _duration else value


def check_of_view(name: str, value: Any) -> Any:
    """Return the value of an option of `with_options` as a view keeps it. Raises ArgumentError as `check` does."""
    if name in VIEW:
        return check(name, value)
    why = ": it belongs to the whole client: `Client(...)` takes it" if name in OPTIONS else _advice(name, VIEW)
    raise ArgumentTypeError(f"with_options() takes {', '.join(VIEW[:-1])} and {VIEW[-1]}, not {name!r}{why}")


def too_many(extra: int, kind: str = "Client") -> ArgumentTypeError:
    """Return the error for arguments by position behind the URL."""
    return ArgumentTypeError(
        f"{kind}() takes a URL, and got {extra} more by position; all else is a keyword, "
        f'as in {kind}(host="localhost", port=6379)'
    )


def elsewhere(name: str) -> str | None:
    """Return what the option of another client is here; None for a name that is not known."""
    from aioresp.advice import OPTIONS  # noqa: PLC0415 (needed for a mistake only)

    return OPTIONS.get(name)


def _advice(name: str, known: Iterable[str] = ()) -> str:
    hint = elsewhere(name)
    return meant(name, known or OPTIONS) if hint is None else f": {hint}"


def _named(place: str) -> list[str]:
    return [name for name, option in OPTIONS.items() if option.place == place]


def _misfit(name: str, value: object) -> str | None:
    """Return the fault of a value from a URL, or None. The value is not shown: it may be a piece of a password."""
    try:
        check(name, value)
    except (TypeError, ValueError) as error:
        _, comma, rest = str(error).partition(", not ")
        return f"is not {rest}" if comma else "does not fit"
    return None


def _tls(given: dict[str, Any]) -> ssl.SSLContext | None:
    names = [name for name in _named("tls") if name in given and name not in ("ssl", "ssl_context")]
    files = {name.removeprefix("ssl_"): given[name] for name in names}
    context: ssl.SSLContext | None = given.get("ssl_context")
    if context is not None:
        if given.get("ssl") is False:
            raise ArgumentError("ssl_context and ssl=False exclude each other")
        if files:
            raise ArgumentError(f"ssl_context and {', '.join('ssl_' + name for name in files)} exclude each other")
        return context
    if given.get("ssl"):
        return tls_context(**files)
    if files:
        raise ArgumentError(f"{', '.join('ssl_' + name for name in files)} needs ssl=True or a rediss:// URL")
    return None


# --- Checks: each takes the option's name and value, and raises an error that shows both, except for a password ------


#: The options of `with_options`.
VIEW: Final = ("decode_responses", "timeout", "retry", "idempotent", "read_from")

#: The error for reads from the replicas of a client that knows none.
ONE_SERVER: Final = (
    "read_from needs replicas: name all servers, as in redis://primary,replica1,replica2?read_from=replica, "
    "or ask Sentinel by redis+sentinel://host:26379/name"
)

_AS_KEYWORDS: Final = 'Client(host="localhost", port=6379)'

#: The largest int that is accepted; a larger one is a mistake.
_LARGEST: Final = 2**63 - 1


def _integer(low: int, high: int = _LARGEST) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            convert = "; convert it by int()" if isinstance(value, (str, float)) else ""
            raise ArgumentTypeError(f"{name} is {type(value).__name__}, not int{convert}")
        if not low <= value <= high:
            most = f" and at most {high}" if high < _LARGEST or value > high else ""
            raise ArgumentError(f"{name} is {numeral(value)}, not {low} or more{most}")

    return check


def _duration(name: str, value: Any) -> None:
    value = as_seconds(value)
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        convert = "; convert it by float()" if isinstance(value, str) else ""
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not seconds, a timedelta or None{convert}")
    if not 0 < value < math.inf or (isinstance(value, int) and value > _LARGEST):
        raise ArgumentError(f"{name} is {numeral(value)}, not a number of seconds above 0; None waits forever")


def _size(name: str, value: Any) -> None:
    if value is not None:
        _integer(1)(name, value)


def _of(*kinds: type) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not issubclass(type(value), kinds):  # not by `__class__`, which may say anything
            names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ArgumentTypeError(f"{name} is {type(value).__name__}, not {names}")

    return check


def _retry(name: str, value: Any) -> None:
    if not issubclass(type(value), (Retry, type(None))):
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not Retry or None, as in retry=Retry(attempts=3)")


def _read_from(name: str, value: Any) -> None:
    if type(value) is str and value == "primary":
        return
    from aioresp.reading import POLICIES  # noqa: PLC0415 (many programs read from no replica)

    if type(value) is not str or value not in POLICIES:
        raise ArgumentError(f"{name} is something else, not {', '.join(POLICIES[:-1])} or {POLICIES[-1]}")


def _protocol(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(f"{name} is {type(value).__name__}, not 2 or 3")
    if value not in (2, 3):
        raise ArgumentError(f"{name} is {numeral(value)}, not 2 or 3")


def _name(name: str, value: Any) -> None:
    _text(name, value)
    if value is not None and (not value or any(not "!" <= letter <= "~" for letter in str.__str__(value))):
        raise ArgumentError(f"{name} is something else, not printable ASCII without spaces")


def _hook(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not a function")


def _provider(name: str, value: Any) -> None:
    if value is not None and not any(hasattr(value, way) for way in ("__call__", "get_credentials")):
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not a function, and without get_credentials()")


def _text(name: str, value: Any) -> None:
    _of(str, type(None))(name, value)


def _credential(name: str, value: Any) -> None:
    _text(name, value)
    try:
        str.encode(value or "")
    except UnicodeEncodeError:
        pass  # an error raised here would have this one as its context, which shows the value
    else:
        return
    raise ArgumentError(f"{name} is something else, not text that has a UTF-8 form")


def _filled(name: str, value: Any) -> None:
    _text(name, value)
    if value == "":
        raise ArgumentError(f"{name} is empty")


def _host(name: str, value: Any) -> None:
    _of(str)(name, value)
    _filled(name, value)
    if "://" in str.__str__(value):
        raise ArgumentError(f"{name} is a URL, which is the first argument: Client(url)")
    if str.count(value, ":") == 1:
        raise ArgumentError(f"{name} is something else, not a host name or an address; give the port as `port`")
    if any(letter.isspace() or letter in ",;/?#@[]\\" or not letter.isprintable() for letter in str.__str__(value)):
        raise ArgumentError(f"{name} is something else, not a host name or an address")


def _path(name: str, value: Any) -> None:
    _filled(name, value)
    if value is not None and "://" in str.__str__(value):
        raise ArgumentError(f"{name} is a URL, not a path; a URL of the server is the first argument: Client(url)")
    if value is not None and "-----" in str.__str__(value):
        raise ArgumentError(f"{name} is the text of a file, not its path; the text can go into an ssl_context")
    if value is not None and any(letter < " " or letter == "\x7f" for letter in str.__str__(value)):
        raise ArgumentError(f"{name} is something else, not a path without control characters")


# --- The table --------------------------------------------------------------------------------------------------------


class Option:
    """One option: how its value is checked, where it goes, how a URL spells it, and its default."""

    __slots__ = ("check", "default", "place", "read")

    def __init__(
        self,
        check: Callable[[str, Any], None],
        place: Literal["endpoint", "tls", "node", "view", "sentinel"],
        read: Reader | None = None,
        default: Any = None,
    ) -> None:
        self.check = check
        """Function of the name and a value; it raises ArgumentError if the value does not fit."""
        self.place = place
        """Object that the option is for: the endpoint, its TLS context, the node, one view on it, or its sentinels."""
        self.read = read
        """Function that reads its text in a URL; None if it cannot stand in a URL."""
        self.default = default
        """Default of an option with the place "node"; `Endpoint` has those of its own."""


OPTIONS: Final[dict[str, Option]] = {
    "host": Option(_host, "endpoint"),
    "port": Option(_integer(1, 65535), "endpoint", int),
    "db": Option(_integer(0), "endpoint", int),
    "username": Option(_credential, "endpoint", str),
    "password": Option(_credential, "endpoint", str),
    "credential_provider": Option(_provider, "endpoint"),
    "unix_socket_path": Option(_path, "endpoint"),
    "ssl": Option(_of(bool), "tls"),
    "ssl_context": Option(_of(ssl.SSLContext, type(None)), "tls"),
    "ssl_ca_certs": Option(_path, "tls", str),
    "ssl_certfile": Option(_path, "tls", str),
    "ssl_keyfile": Option(_path, "tls", str),
    "ssl_password": Option(_text, "tls", str),
    "ssl_min_version": Option(_of(ssl.TLSVersion, type(None)), "tls", tls_version),
    "ssl_check_hostname": Option(_of(bool), "tls", boolean),
    "limit": Option(_integer(1), "node", int, 100),
    "concurrency": Option(_integer(1), "node", int, 5000),
    "idle_timeout": Option(_duration, "node", seconds, 300.0),
    "max_age": Option(_duration, "node", seconds, None),
    "timeout": Option(_duration, "node", seconds, 10.0),
    "connect_timeout": Option(_duration, "node", seconds, 5.0),
    "max_reply": Option(_size, "node", size, 536_870_912),
    "protocol": Option(_protocol, "endpoint", int),
    "client_name": Option(_name, "endpoint", str),
    "lib_name": Option(_name, "endpoint", label),
    "on_lost": Option(_hook, "node", None, None),
    "events": Option(_hook, "node", None, None),
    "slow_after": Option(_duration, "node", None, 0.1),
    "middleware": Option(_hook, "node", None, None),
    "read_from": Option(_read_from, "node", str, "primary"),
    "availability_zone": Option(_filled, "node", str, None),
    "address_map": Option(_hook, "node", None, None),
    "sentinel_username": Option(_credential, "sentinel", str),
    "sentinel_password": Option(_credential, "sentinel", str),
    "sentinel_ssl": Option(_of(bool, type(None)), "sentinel", boolean),
    "sentinel_ssl_context": Option(_of(ssl.SSLContext, type(None)), "sentinel"),
    "decode_responses": Option(_of(bool), "view"),
    "retry": Option(_retry, "node", None, Retry()),
    "idempotent": Option(_of(bool), "view"),
}

#: The defaults of the options that are for pools and hubs.
DEFAULTS: Final[dict[str, Any]] = {name: option.default for name, option in OPTIONS.items() if option.place == "node"}

#: Functions that read the options of a URL, by name.
SPELLINGS: Final[dict[str, Reader]] = {name: option.read for name, option in OPTIONS.items() if option.read is not None}
