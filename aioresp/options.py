"""Everything a client can be told: keywords, URL and defaults become one checked `Settings`.

Owns the names of the options, their defaults and their limits. Never connects; an unknown option or a bad value is a
ValueError or TypeError that names it.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar

from aioresp.arguments import numeral
from aioresp.middleware import Middleware
from aioresp.record import Record
from aioresp.retry import Retry
from aioresp.wire.credentials import CredentialProvider
from aioresp.wire.endpoint import Endpoint, tls_context

if TYPE_CHECKING:
    from aioresp.events import Hook
    from aioresp.facts.putback import Lost


T = TypeVar("T")


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
    idle_timeout: float | None
    timeout: float | None
    connect_timeout: float | None
    max_reply: int | None
    retry: Retry | None
    protocol: Literal[2, 3]
    client_name: str | None
    on_lost: Callable[[Lost], object] | None
    events: Hook | None
    slow_after: float | None
    middleware: Middleware | None


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


DEFAULTS: Final[Options] = {
    "limit": 100,
    "concurrency": 5000,
    "idle_timeout": 300.0,
    "timeout": 10.0,
    "connect_timeout": 5.0,
    "max_reply": 536_870_912,
    "retry": Retry(),
    "on_lost": None,
    "events": None,
    "slow_after": 0.1,
    "middleware": None,
}

_SCHEMES: Final[dict[str, Options]] = {
    "redis": {},
    "valkey": {},
    "rediss": {"ssl": True},
    "valkeys": {"ssl": True},
    "unix": {},
}

# Those that people mistake for ours. No other is shown.
_OTHER_SCHEMES: Final = ("http", "https", "tcp", "redis+tls", "redis+ssl", "redis+socket", "redis+sentinel")

# Says nothing of what stands in the URL: it may be a piece of a password.
_MALFORMED: Final = "the URL is malformed; / ? # [ ] and @ in a user name or a password must be percent-encoded"

_ENDPOINT: Final = (
    "host",
    "port",
    "unix_socket_path",
    "username",
    "password",
    "db",
    "client_name",
    "protocol",
    "credential_provider",
)
_TLS: Final = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_check_hostname",
    "ssl_min_version",
)


def settings(url: str | None, options: Options) -> Settings:
    """Return what `url` and `options` say together, keywords first, then the URL, then the defaults."""
    if not issubclass(type(url), (str, type(None))):
        raise TypeError(f"url is {type(url).__name__}, not str")
    spelled = parse_url(str.__str__(url)) if url is not None else {}
    if "host" in options or "port" in options:
        if options.get("unix_socket_path") is not None:
            raise ValueError("unix_socket_path excludes host and port")
        spelled.pop("unix_socket_path", None)
    given: dict[str, Any] = {**DEFAULTS, **spelled, **options}
    for name, value in given.items():
        if name in options or name not in spelled:
            check(name, value)
        elif (why := _misfit(name, value)) is not None:
            raise ValueError(f"option {name!r} in the URL {why}")
    if given.get("unix_socket_path") is not None and (given.get("ssl") or given.get("ssl_context") is not None):
        raise ValueError("unix_socket_path and ssl exclude each other")
    if given.get("username") is not None and given.get("password") is None:
        raise ValueError("username needs a password")
    if given.get("credential_provider") is not None and given.get("password") is not None:
        raise ValueError("credential_provider and password exclude each other")
    endpoint = Endpoint(tls=_tls(given), **{name: given[name] for name in _ENDPOINT if name in given})
    return Settings(endpoint, **{name: given[name] for name in DEFAULTS})


def check(name: str, value: object) -> None:
    """Raise TypeError or ValueError, naming the option, unless there is such a one and `value` fits."""
    fits = _CHECKS.get(name)
    if fits is None:
        raise TypeError(f"unknown option {name!r}")
    fits(name, value)


def _misfit(name: str, value: object) -> str | None:
    """Return what is wrong with a value out of a URL, which is not shown: it may be a piece of a password."""
    try:
        check(name, value)
    except (TypeError, ValueError) as error:
        _, comma, rest = str(error).partition(", not ")
        return f"is not {rest}" if comma else "does not fit"
    return None


def parse_url(url: str) -> dict[str, Any]:
    """Return the options that `url` spells: its scheme, user, password, host, port, database and query.

    Raises ValueError, never showing what may be a password, for an unknown scheme or option and for a value that does
    not fit.
    """
    # Here, as it is a twentieth of what `import aioresp` may take, and a client may do without a URL.
    from urllib.parse import parse_qsl, unquote, urlsplit  # noqa: PLC0415

    parts = None
    try:
        parts = urlsplit(url)
    except ValueError:
        pass  # nothing is raised from here: this error shows a part of the URL
    # urlsplit leaves out line ends and tabs, wherever they are, and what is blank around it.
    if parts is None or any(letter <= " " or letter == "\x7f" for letter in url):
        raise ValueError(_MALFORMED)
    if parts.scheme not in _SCHEMES:
        # In user:password@host what stands before the first colon is no scheme.
        said = f"scheme is {parts.scheme!r}" if parts.scheme in _OTHER_SCHEMES else "scheme is unknown or missing"
        raise ValueError(f"the URL's {said}; use one of {', '.join(_SCHEMES)} (as in redis://host:6379/0)")
    # An @ in the path of a socket is one only if nothing stands before that path.
    if parts.fragment or "@" in parts.query or ("@" in parts.path and (parts.scheme != "unix" or parts.netloc)):
        raise ValueError(_MALFORMED)
    options: dict[str, Any] = dict(_SCHEMES[parts.scheme])
    if parts.username:
        options["username"] = _spelled(unquote, parts.username)
    if parts.password is not None:
        options["password"] = _spelled(unquote, parts.password)
    if parts.scheme == "unix":
        path = _spelled(unquote, parts.netloc.rpartition("@")[2] + parts.path)
        if not path:
            raise ValueError("the URL has no path to a socket (as in unix:///run/redis.sock)")
        options["unix_socket_path"] = path
    else:
        if parts.hostname:
            options["host"] = _spelled(unquote, parts.hostname)
        options.update(_port(parts.netloc))
        if database := parts.path.strip("/"):
            options["db"] = _read("db", database)
    for name, text in _spelled(partial(parse_qsl, keep_blank_values=True), parts.query):
        if name == "decode_responses":
            raise ValueError("decode_responses decides the client's type: pass it as a keyword, not in the URL")
        if name not in _READERS:
            said = f"unknown option {name!r}" if _looks_known(name) else "unknown option"
            raise ValueError(f"{said} in the URL; known are {', '.join(sorted(_READERS))}")
        options[name] = _read(name, text)
    return options


def _spelled(read: Callable[..., T], text: str) -> T:
    """Return what a part of the URL spells, which would else be another one where its %xx are not UTF-8."""
    try:
        return read(text, errors="strict")
    except UnicodeDecodeError:
        pass  # nothing is raised from here: this error shows the part
    raise ValueError("the URL is malformed; what its percent signs spell is not UTF-8")


def _port(netloc: str) -> dict[str, int]:
    # urlsplit's own `port` would accept an empty one and raise without naming the option.
    host, colon, port = netloc.rpartition("@")[2].rpartition("]")[2].rpartition(":")
    if ":" in host:
        raise ValueError(_MALFORMED)
    if colon and not (port.isdecimal() and len(port) < 20):
        # Not shown: in redis://user:password, whose host is missing, it is the password.
        raise ValueError("option 'port' in the URL does not fit: it is no number; or is the host missing behind an @?")
    return {"port": _read("port", port)} if colon else {}


def _looks_known(name: str) -> bool:
    """Return whether a name is that of an option, or lacks letters of one, or has a few too many."""
    return name in _CHECKS or any(
        abs(len(known) - len(name)) <= 2 and (_within(name, known) or _within(known, name)) for known in _READERS
    )


def _within(short: str, long: str) -> bool:
    letters = iter(long)
    return all(letter in letters for letter in short)


def _read(name: str, text: str) -> Any:
    try:
        return _READERS[name](text)
    except (ValueError, KeyError):
        pass  # nothing is raised from here: this error shows the text, which may be a piece of a password
    raise ValueError(f"option {name!r} in the URL does not fit: it is of another kind")


def _boolean(text: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _seconds(text: str) -> float | None:
    return None if text.lower() == "none" else float(text)


def _tls_version(text: str) -> ssl.TLSVersion:
    """Return the version that is spelled "1.2", "TLSv1.2" or "TLSv1_2"."""
    name = text.lower().removeprefix("tlsv").replace("_", ".")
    return {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[name]


def _bytes(text: str) -> int | None:
    return None if text.lower() == "none" else int(text)


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "client_name": str,
    "concurrency": int,
    "connect_timeout": _seconds,
    "db": int,
    "idle_timeout": _seconds,
    "limit": int,
    "max_reply": _bytes,
    "password": str,
    "port": int,
    "protocol": int,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_check_hostname": _boolean,
    "ssl_keyfile": str,
    "ssl_min_version": _tls_version,
    "ssl_password": str,
    "timeout": _seconds,
    "username": str,
}


def _tls(given: dict[str, Any]) -> ssl.SSLContext | None:
    files = {name.removeprefix("ssl_"): given[name] for name in _TLS if name in given}
    context: ssl.SSLContext | None = given.get("ssl_context")
    if context is not None:
        if given.get("ssl") is False:
            raise ValueError("ssl_context and ssl=False exclude each other")
        if files:
            raise ValueError(f"ssl_context and {', '.join('ssl_' + name for name in files)} exclude each other")
        return context
    if given.get("ssl"):
        return tls_context(**files)
    if files:
        raise ValueError(f"{', '.join('ssl_' + name for name in files)} needs ssl=True or a rediss:// URL")
    return None


# --- Checks: each takes the option's name and value, and raises an error that shows both, except for a password ------


#: The largest int that is no mistake.
_LARGEST: Final = 2**63 - 1


def _integer(low: int, high: int = _LARGEST) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} is {type(value).__name__}, not int")
        if not low <= value <= high:
            most = f" and at most {high}" if high < _LARGEST or value > high else ""
            raise ValueError(f"{name} is {numeral(value)}, not {low} or more{most}")

    return check


def _duration(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is {type(value).__name__}, not seconds or None")
    if not 0 < value < math.inf or (isinstance(value, int) and value > _LARGEST):
        raise ValueError(f"{name} is {numeral(value)}, not a number of seconds above 0; None waits for ever")


def _size(name: str, value: Any) -> None:
    if value is not None:
        _integer(1)(name, value)


def _of(*kinds: type) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not issubclass(type(value), kinds):  # not by `__class__`, which may say anything
            raise TypeError(f"{name} is {type(value).__name__}, not {' or '.join(kind.__name__ for kind in kinds)}")

    return check


def _protocol(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} is {type(value).__name__}, not 2 or 3")
    if value not in (2, 3):
        raise ValueError(f"{name} is {numeral(value)}, not 2 or 3")


def _name(name: str, value: Any) -> None:
    _text(name, value)
    if value is not None and (not value or any(not "!" <= letter <= "~" for letter in str.__str__(value))):
        raise ValueError(f"{name} is something else, not printable ASCII without spaces")


def _hook(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} is {type(value).__name__}, not a function")


def _provider(name: str, value: Any) -> None:
    if value is not None and not any(hasattr(value, way) for way in ("__call__", "get_credentials")):
        raise TypeError(f"{name} is {type(value).__name__}, not a function, and without get_credentials()")


def _text(name: str, value: Any) -> None:
    _of(str, type(None))(name, value)


def _credential(name: str, value: Any) -> None:
    _text(name, value)
    try:
        str.encode(value or "")
    except UnicodeEncodeError:
        pass  # nothing is raised from here: this error shows the value
    else:
        return
    raise ValueError(f"{name} is something else, not text that has a UTF-8 form")


def _filled(name: str, value: Any) -> None:
    _text(name, value)
    if value == "":
        raise ValueError(f"{name} is empty")


def _host(name: str, value: Any) -> None:
    _of(str)(name, value)
    _filled(name, value)
    if any(letter.isspace() or letter in "/?#@[]\\" or not letter.isprintable() for letter in str.__str__(value)):
        raise ValueError(f"{name} is something else, not a host name or an address")


def _path(name: str, value: Any) -> None:
    _filled(name, value)
    if value is not None and any(letter < " " or letter == "\x7f" for letter in str.__str__(value)):
        raise ValueError(f"{name} is something else, not a path without control characters")


_CHECKS: Final[dict[str, Callable[[str, Any], None]]] = {
    "host": _host,
    "port": _integer(1, 65535),
    "db": _integer(0),
    "username": _credential,
    "password": _credential,
    "credential_provider": _provider,
    "unix_socket_path": _path,
    "ssl": _of(bool),
    "ssl_context": _of(ssl.SSLContext, type(None)),
    "ssl_ca_certs": _text,
    "ssl_certfile": _text,
    "ssl_keyfile": _text,
    "ssl_password": _text,
    "ssl_min_version": _of(ssl.TLSVersion, type(None)),
    "ssl_check_hostname": _of(bool),
    "limit": _integer(1),
    "concurrency": _integer(1),
    "idle_timeout": _duration,
    "timeout": _duration,
    "connect_timeout": _duration,
    "max_reply": _size,
    "protocol": _protocol,
    "client_name": _name,
    "on_lost": _hook,
    "events": _hook,
    "slow_after": _duration,
    "middleware": _hook,
    "decode_responses": _of(bool),
    "retry": _of(Retry, type(None)),
    "idempotent": _of(bool),
}
