"""Typer application: the commands and their options.

Owns the words of the command line, the choice of output stream, and the exit status. Never does the work itself; the
modules that it calls do.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from aioresp.cli.demo import run as demonstration
from aioresp.cli.demo.figures import Figures
from aioresp.cli.demo.progress import Progress
from aioresp.cli.demo.screen import Lines, Nothing, Screen
from aioresp.cli.demo.summary import print_summary
from aioresp.cli.faults import one_line
from aioresp.cli.interrupt import Interrupted, ignore, run
from aioresp.options import settings
from aioresp.version import VERSION

app = typer.Typer(
    name="aioresp",
    help="aioresp, an asyncio-native client for Redis and Valkey.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_FORMATS = (".png", ".svg")


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


def _plottable(path: Path | None) -> Path | None:
    """Complain before the run, not after it."""
    if path is None:
        return None
    if path.suffix.lower() not in _FORMATS:
        raise typer.BadParameter(f"{path} ends neither in .png nor in .svg")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise typer.BadParameter(f"{path} cannot be written")
    if importlib.util.find_spec("matplotlib") is None:
        raise typer.BadParameter("a chart needs the package matplotlib: pip install 'aioresp[cli]'")
    return path


@app.command()
def demo(
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Use this server (redis://host:port) and not one of its own. "
            "The demo touches only keys under a random prefix, and deletes them.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=20, max=25_000, help="How many SETs each way sends.")] = 10_000,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=_plottable, help="Write a chart of the connections: .png or .svg."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")] = False,
) -> None:
    """Send 10,000 SETs four ways and show what each costs in connections and in time."""
    try:
        address = None if url is None else str(settings(url, {}).endpoint)
    except (ValueError, TypeError, OSError) as error:
        _fail(f"--url: {error}")
    try:
        figures, progress = run(demonstration.run(url, count, _view(json), _complain))
        _hand_out(figures, progress, plot, json)
    except (Interrupted, KeyboardInterrupt) as error:
        ignore()
        _complain("interrupted")
        raise typer.Exit(error.exit_code if isinstance(error, Interrupted) else 130) from None
    except Exception as error:
        line = one_line(error, address)
        if line is None:
            raise
        _fail(line)


def _view(json: bool) -> demonstration.View:
    """Return the display: live on a terminal, even if standard output gets JSON."""
    stream = sys.stderr if json else sys.stdout
    console = Console(file=stream)
    if stream.isatty() and not console.is_dumb_terminal:
        return Screen(console)
    return Nothing() if json else Lines(console)


def _hand_out(figures: Figures, progress: Progress, plot: Path | None, json: bool) -> None:
    if json:
        typer.echo(figures.to_json())
    else:
        print_summary(Console(), figures)
    if plot is not None:
        # Not before: matplotlib takes a second to import, and is seldom wanted.
        importlib.import_module("aioresp.cli.demo.plot").draw(plot, figures, progress)
        if not json:
            typer.echo(f"The chart is in {plot}.")


def _complain(line: str) -> None:
    typer.echo(f"aioresp demo: {line}", err=True)


def _fail(line: str) -> NoReturn:
    _complain(line)
    raise typer.Exit(1)
