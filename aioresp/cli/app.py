"""Typer application: the commands by their names.

Owns the list of the commands. Never knows what they do: each has its words in a `command` module of its own, which is
quick to import, so that `aioresp --help` is quick.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from aioresp.cli.bench.command import bench
from aioresp.cli.demo.command import demo
from aioresp.cli.faults import told
from aioresp.cli.monitor.command import monitor
from aioresp.cli.serve.command import serve
from aioresp.cli.worker.command import worker
from aioresp.version import VERSION

COMMANDS: Final[tuple[Callable[..., Any], ...]] = (serve, monitor, bench, demo, worker)

app = typer.Typer(
    name="aioresp",
    help="aioresp, an asyncio-native client for Redis and Valkey.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aioresp {VERSION}")
        raise typer.Exit


@app.callback()
def aioresp(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """aioresp, an asyncio-native client for Redis and Valkey."""


def _register(command: Callable[..., Any]) -> None:
    app.command()(told(command))


for _command in COMMANDS:
    _register(_command)
