"""URL of a server: its scheme, credentials, address, database and the options in its query.

Owns the schemes, and the spelling of values in a URL. Never shows a part of the URL that may be a password, and never
checks whether a value fits.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from aioresp.errors import ArgumentError
from aioresp.hints import meant

T = TypeVar("T")

#: Function that reads the text of one option. It raises ValueError or KeyError for a text that spells no value.
Reader: TypeAlias = Callable[[str], Any]

_SCHEMES: Final[dict[str, dict[str, Any]]] = {
    "redis": {},
    "valkey": {},
    "rediss": {"ssl": True},
    "valkeys": {"ssl": True},
    "unix": {},
    "redis+sentinel": {},
    "valkey+sentinel": {},
    "rediss+sentinel": {"ssl": True},
    "valkeys+sentinel": {"ssl": True},
}

#: Ports of a server and of a sentinel by default.
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379

# Schemes that are easily mistaken for these, each with advice. An error shows no other one: it may be a user name.
_ELSEWHERE: Final[dict[str, str]] = {
    **dict.fromkeys(("http", "https", "tcp", "redis+tcp"), "it is redis:// here, or rediss:// with TLS"),
    **dict.fromkeys(("tls", "ssl", "redis+tls", "redis+ssl", "redis-ssl"), "it is rediss:// here"),
    **dict.fromkeys(
        ("redis+socket", "redis+unix", "redis-socket", "unixs"), "it is unix:// here, as in unix:///run/redis.sock"
    ),
    **dict.fromkeys(
        (
            *("redis+cluster", "rediss+cluster", "valkey+cluster", "valkeys+cluster", "redis-cluster"),
            *("redis-cluster+srv", "cluster"),
        ),
        "aioresp.Cluster connects to a cluster, and takes redis+cluster://; redis:// is for one server",
    ),
    **dict.fromkeys(("sentinel", "redis-sentinel"), "it is redis+sentinel:// here"),
}

# Shows no part of the URL, which may be a piece of a password.
_MALFORMED: Final = "the URL is malformed; blanks, / ? # [ ] and @ in a user name or a password must be percent-encoded"


_NAMELESS: Final = (
    "behind the sentinels and a slash stands the name under which they know the primary, and then the database: "
    "redis+sentinel://host:26379/mymaster/0"
)

_DATABASE: Final = "behind the host and a slash stands the number of a database, as in redis://host:6379/0"


def parse_url(
    url: str,
    readers: Mapping[str, Reader],
    known: Collection[str] = (),
    hint: Callable[[str], str | None] | None = None,
) -> dict[str, Any]:
    """Return the options that `url` spells: its scheme, user, password, host, port, database and query.

    `readers` has a function for each option that a URL can have. Errors may show the names in `known`. `hint` returns
    advice for the option names of other clients.

    Raises ArgumentError for an unknown scheme or option, and for a value that does not fit. The error never shows a
    text that may be a password.
    """
    # Imported here: it takes a twentieth of the time that `import aioresp` may take, and some clients have no URL.
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415

    parts = None
    try:
        parts = urlsplit(url)
    except ValueError:
        pass  # an error raised here would have this one as its context, which shows a part of the URL
    # urlsplit drops line ends and tabs anywhere, and blanks at both ends.
    if parts is None or any(letter <= " " or letter == "\x7f" for letter in url):
        raise ArgumentError(_MALFORMED)
    if parts.scheme not in _SCHEMES:
        # In user:password@host the text before the first colon is a user name.
        said = "scheme is unknown or missing; write redis://host:6379, or give `host` and `port` as keywords"
        if (advice := _ELSEWHERE.get(parts.scheme)) is not None:
            said = f"scheme is {parts.scheme!r}: {advice}"
        raise ArgumentError(f"the URL's {said} (known are {', '.join(_SCHEMES)})")
    # An @ in the path of a socket is one only if nothing stands before that path.
    if parts.fragment or "@" in parts.query or ("@" in parts.path and (parts.scheme != "unix" or parts.netloc)):
        raise ArgumentError(_MALFORMED)
    if parts.scheme != "unix" and not url[len(parts.scheme) + 1 :].startswith("//"):
        raise ArgumentError("the URL's scheme is followed by two slashes: redis://host:6379, not redis:/host")
    options: dict[str, Any] = dict(_SCHEMES[parts.scheme])
    if parts.username:
        options["username"] = _spelled(unquote, parts.username)
    if parts.password is not None:
        options["password"] = _spelled(unquote, parts.password)
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2]:
            # Not shown: in unix://user:password, without an @, it is the password.
            raise ArgumentError("the URL's path does not begin with /: three slashes are meant: unix:///run/redis.sock")
        if not parts.path:
            raise ArgumentError("the URL has no path to a socket (as in unix:///run/redis.sock)")
        options["unix_socket_path"] = _spelled(unquote, parts.path)
    elif parts.scheme.endswith("+sentinel"):
        options["seeds"] = _hosts(parts.netloc, readers, unquote, _SENTINEL_PORT)
        name, _, database = parts.path.strip("/").partition("/")
        if not name:
            raise ArgumentError(f"the URL names no primary: {_NAMELESS}")
        options["master"] = _spelled(unquote, name)
        if database:
            options["db"] = _read("db", database, readers)
    elif "," in parts.netloc.rpartition("@")[2]:
        options["seeds"] = _hosts(parts.netloc, readers, unquote, _PORT)
        if database := parts.path.strip("/"):
            options["db"] = _read("db", database, readers)
    else:
        if parts.hostname:
            options["host"] = _spelled(unquote, parts.hostname)
        options.update(_port(parts.netloc, readers))
        if database := parts.path.strip("/"):
            options["db"] = _read("db", database, readers)
    for name, text in _pairs(parts.query, unquote):
        if name == "decode_responses":
            raise ArgumentError("decode_responses decides the client's type: pass it as a keyword, not in the URL")
        if hint is not None and (advice := hint(name)):
            raise ArgumentError(f"unknown option {name!r} in the URL: {advice}")
        if name == "ssl":
            raise ArgumentError("unknown option 'ssl' in the URL: with TLS the URL begins with rediss://")
        if name in known and name not in readers:
            raise ArgumentError(f"option {name!r} cannot stand in the URL: give it as a keyword")
        if name not in readers:
            said = f"unknown option {name!r}" if _looks_known(name, readers, known) else "unknown option"
            raise ArgumentError(f"{said} in the URL{meant(name, readers)}; known are {', '.join(sorted(readers))}")
        options[name] = _read(name, text, readers)
    return options


def _pairs(query: str, unquote: Callable[..., str]) -> list[tuple[str, str]]:
    """Return the options of a query. A plus sign is one: it means a blank in forms only, and may be in a password."""
    pairs = [part.partition("=") for part in query.split("&") if part]
    return [(_spelled(unquote, name), _spelled(unquote, text)) for name, _, text in pairs]


def _spelled(read: Callable[..., T], text: str) -> T:
    """Return the text that a part of the URL spells; raise ValueError if its %xx are not UTF-8."""
    try:
        return read(text, errors="strict")
    except UnicodeDecodeError:
        pass  # an error raised here would have this one as its context, which shows the part
    raise ArgumentError("the URL is malformed; what its percent signs spell is not UTF-8")


def _hosts(
    netloc: str, readers: Mapping[str, Reader], unquote: Callable[..., str], default: int
) -> tuple[tuple[str, int], ...]:
    """Return the hosts and ports that stand between commas."""
    found = []
    for text in netloc.rpartition("@")[2].split(","):
        port = _port(text, readers).get("port", default)
        host = text[1:].partition("]")[0] if text[:1] == "[" else text.partition(":")[0]
        if not host or not 0 < port < 65536:
            raise ArgumentError("the URL has several hosts, and one of them is empty, or its port is out of range")
        found.append((_spelled(unquote, host).lower(), port))
    return tuple(dict.fromkeys(found))


def _port(netloc: str, readers: Mapping[str, Reader]) -> dict[str, int]:
    # urlsplit's own `port` would accept an empty one and raise without naming the option.
    host, colon, port = netloc.rpartition("@")[2].rpartition("]")[2].rpartition(":")
    if ":" in host:
        raise ArgumentError(_MALFORMED)
    if colon and not (port.isdecimal() and len(port) < 20):
        # The port is not shown: in redis://user:password, without a host, it is the password.
        raise ArgumentError(
            "option 'port' in the URL does not fit: it is not a number (as in redis://host:6379); or is the host "
            "missing behind an @?"
        )
    return {"port": _read("port", port, readers)} if colon else {}


def _looks_known(name: str, readers: Mapping[str, Reader], known: Collection[str]) -> bool:
    """Return whether a name is that of an option, or differs from one by a few missing or added letters."""
    return name in known or any(
        abs(len(other) - len(name)) <= 2 and (_within(name, other) or _within(other, name)) for other in readers
    )


def _within(short: str, long: str) -> bool:
    letters = iter(long)
    return all(letter in letters for letter in short)


def _read(name: str, text: str, readers: Mapping[str, Reader]) -> Any:
    try:
        return readers[name](text)
    except (ValueError, KeyError):
        pass  # an error raised here would have this one as its context, which shows a piece of a password, perhaps
    kind = (
        "it is not a number; " + _DATABASE if name == "db" else "it is of another kind" + _KINDS.get(readers[name], "")
    )
    raise ArgumentError(f"option {name!r} in the URL does not fit: {kind}")


# --- How values are spelled -------------------------------------------------------------------------------------------


def boolean(text: str) -> bool:
    """Return True for "true", "yes" or "1", and False for "false", "no" or "0"."""
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def seconds(text: str) -> float | None:
    """Return a number of seconds; "none" is None."""
    return None if text.lower() == "none" else float(text)


def label(text: str) -> str | None:
    """Return a name; "none" is None."""
    return None if text.lower() == "none" else text


def tls_version(text: str) -> ssl.TLSVersion:
    """Return the version that is spelled "1.2", "TLSv1.2" or "TLSv1_2"."""
    name = text.lower().removeprefix("tlsv").replace("_", ".")
    return {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[name]


def size(text: str) -> int | None:
    """Return a number of bytes; "none" is None."""
    return None if text.lower() == "none" else int(text)


#: What is due in place of a text that could not be read.
_KINDS: Final[dict[Reader, str]] = {
    boolean: ", not true or false",
    int: ", not a whole number",
    seconds: ", not a number of seconds or none",
    size: ", not a number of bytes or none",
    tls_version: ", not 1.2 or 1.3",
}
