"""Servers that a command line names, with the options by which all commands connect to them.

Owns these options, the environment variables behind them, and the order in which they count. Never connects.
"""

from __future__ import annotations

import functools
import inspect
import os
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Concatenate, Final, ParamSpec, TypeVar, Unpack, get_type_hints
from urllib.parse import parse_qs, urlsplit

import typer

from aioresp import Client, Cluster
from aioresp.cli.faults import Fault, telling
from aioresp.options import Options
from aioresp.wire.endpoint import tls_context

P = ParamSpec("P")
R = TypeVar("R")

#: Environment variables with the address; the first that is not empty counts.
ADDRESSES: Final = ("AIORESP_URL", "REDIS_URL")

#: Environment variable with the password: that of redis-cli.
PASSWORD: Final = "REDISCLI_AUTH"

DEFAULT: Final = "redis://localhost:6379"

#: Values of --password by which it is read from the terminal, or from a pipe.
ASK: Final = "-"


@dataclass(frozen=True)
class Target:
    """A server, a primary with its replicas, or a cluster: its URL, and what the command line adds to that."""

    url: str = field(repr=False)
    options: Options = field(default_factory=Options, repr=False)
    """Options that come before those of the URL."""

    def client(self, **options: Unpack[Options]) -> Client[Any]:
        """Return a client, which is a `Cluster` for redis+cluster://; `options` come before those of the target."""
        chosen: Options = {**self.options, **options}
        return Cluster(self.url, **chosen) if self.cluster else Client(self.url, **chosen)

    @property
    def cluster(self) -> bool:
        """Whether it is a cluster."""
        return self.url.partition("://")[0].lower().endswith("+cluster")

    @property
    def several(self) -> bool:
        """Whether it is more than one server: a cluster, sentinels, or a primary with its replicas."""
        return self.cluster or bool(self.client().node.settings.seeds)

    @property
    def shown(self) -> str:
        """The address as it may be shown: without user, password and options."""
        client = self.client()
        return client.fleet.nodes.address if isinstance(client, Cluster) else client.node.address


def connecting(command: Callable[Concatenate[Any, P], R]) -> Callable[..., R]:
    """Give a Typer command the options by which all commands connect; its first parameter gets the `Target`.

    If that is annotated `Target`, the address is an argument, by default from the environment. If it is annotated
    `Target | None`, the address is the option --url, and the command gets None where that is not given.
    """
    own = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    first, *others = own.parameters.values()
    address = _ARGUMENT if hints[first.name] is Target else _OPTION

    work: Callable[..., R] = command

    @functools.wraps(command, updated=())
    def run(**given: Any) -> R:
        url, *words = (given.pop(each.name) for each in (address, *CONNECTION))
        target = None
        with telling(command.__name__):
            if url is not None or address is _ARGUMENT:
                target = _target(url, *words, optional=address is _OPTION)
            elif any(words):
                raise typer.BadParameter("the options of a connection need --url: it says which server is meant")
        with telling(command.__name__, None if target is None else target.shown):
            return work(target, **given)

    vars(run).pop("__wrapped__")  # its parameters would be read
    own_ones = [each.replace(annotation=hints[each.name], kind=each.KEYWORD_ONLY) for each in others]
    parameters = [address, *own_ones, *CONNECTION]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _target(
    url: str | None,
    username: str | None,
    password: str | None,
    tls: bool,
    cacert: str | None,
    cert: str | None,
    key: str | None,
    insecure: bool,
    *,
    optional: bool,
) -> Target:
    """Return the target of a command line. Raises Fault if that fits no client."""
    source = "--url" if optional else "URL"
    if url is None:
        source, url = next(((name, found) for name in ADDRESSES if (found := os.environ.get(name))), (source, DEFAULT))
    if key is not None and cert is None:
        raise Fault("--key needs --cert: a private key is of use with its certificate")
    if insecure and cacert is not None:
        raise Fault("--insecure and --cacert exclude each other: the former asks for no certificate")
    options: Options = {}
    if username is not None:
        options["username"] = username
    if password is None and not _has_password(url):
        password = os.environ.get(PASSWORD) or None
    if password is not None:
        options["password"] = asked() if password == ASK else password
    elif username is not None and not _has_password(url):
        raise Fault("--username needs a password: --password, or the environment variable REDISCLI_AUTH")
    try:
        if insecure:
            options["ssl_context"] = _blind(cert, key)
        elif tls or cacert is not None or cert is not None:
            options["ssl"] = True
            if cacert is not None:
                options["ssl_ca_certs"] = cacert
            if cert is not None:
                options["ssl_certfile"] = cert
            if key is not None:
                options["ssl_keyfile"] = key
        target = Target(url, options)
        target.client()
    except (ValueError, TypeError, OSError) as error:
        said = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
        for name, flag in (("ssl_ca_certs", "--cacert"), ("ssl_certfile", "--cert"), ("ssl_keyfile", "--key")):
            said = said.replace(name, flag) if name in options else said
        raise Fault(said if said.startswith("--") else f"{source}: {said}") from None
    return target


def _has_password(url: str) -> bool:
    """Return whether the URL has a password; of a URL that is none, the client complains."""
    try:
        parts = urlsplit(url)
        return parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        return False


def asked() -> str:
    """Return the password that the user types, or that a pipe has."""
    if sys.stdin is not None and sys.stdin.isatty():
        asked: str = typer.prompt("Password", hide_input=True, err=True)
        return asked
    line = sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
    if not line:
        raise Fault("--password - reads the password from the terminal or from standard input, and there was none")
    return line


def _blind(cert: str | None, key: str | None) -> ssl.SSLContext:
    """Return a TLS context that takes any certificate of the server."""
    context = tls_context(certfile=cert, keyfile=key, check_hostname=False)
    context.verify_mode = ssl.CERT_NONE
    return context


def _parameter(name: str, annotation: Any, default: object = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_PANEL: Final = "Connection"

_KINDS: Final = "redis://, rediss:// (TLS), redis+sentinel://, redis+cluster:// or unix://"

_ARGUMENT: Final = _parameter(
    "url",
    Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
            show_default=False,
            help=f"The server: {_KINDS}. By default {ADDRESSES[0]}, then {ADDRESSES[1]}, then {DEFAULT}.",
        ),
    ],
)

_OPTION: Final = _parameter(
    "url",
    Annotated[
        str | None,
        typer.Option(metavar="URL", help="Use this server, and not one of its own.", rich_help_panel=_PANEL),
    ],
)

#: The options of a connection.
CONNECTION: Final = (
    _parameter(
        "username",
        Annotated[str | None, typer.Option(metavar="NAME", help="The name of the user.", rich_help_panel=_PANEL)],
    ),
    _parameter(
        "password",
        Annotated[
            str | None,
            typer.Option(
                metavar="PASSWORD",
                help=f"The password; {ASK} asks for it. By default that of the URL, then {PASSWORD}, which other users "
                "of this machine cannot see.",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    _parameter(
        "tls", Annotated[bool, typer.Option("--tls", help="Connect by TLS.", rich_help_panel=_PANEL)], default=False
    ),
    _parameter(
        "cacert",
        Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                help="The certificate of the authority that signed the server's; implies --tls.",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    _parameter(
        "cert",
        Annotated[
            str | None,
            typer.Option(metavar="FILE", help="The client's certificate; implies --tls.", rich_help_panel=_PANEL),
        ],
    ),
    _parameter(
        "key",
        Annotated[str | None, typer.Option(metavar="FILE", help="The key of --cert.", rich_help_panel=_PANEL)],
    ),
    _parameter(
        "insecure",
        Annotated[
            bool,
            typer.Option(
                "--insecure", help="Accept any certificate of the server; implies --tls.", rich_help_panel=_PANEL
            ),
        ],
        default=False,
    ),
)
