"""Typer application: the commands and their options.

Owns the words of the command line, the choice of output stream, and the exit status. Never does the work itself; the
modules that it calls do.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from aioresp.cli.demo import run as demonstration
from aioresp.cli.demo.figures import Figures
from aioresp.cli.demo.progress import Progress
from aioresp.cli.demo.screen import Lines, Nothing, Screen
from aioresp.cli.demo.summary import print_summary
from aioresp.cli.failover import run as failover
from aioresp.cli.failover import screen, summary
from aioresp.cli.failover.figures import Figures as FailoverFigures
from aioresp.cli.failover.progress import Progress as FailoverProgress
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

#: Packages of the extra `recipes`.
_RECIPES = ("msgspec", "cronsim", "anyio")


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


class Scene(Enum):
    """Subject of a demo."""

    POOL = "pool"
    CLUSTER = "cluster"


@app.command()
def demo(
    scene: Annotated[
        Scene,
        typer.Argument(
            help="pool: the same SETs four ways, with the connections and the time that each takes. "
            "cluster: 10,000 tasks use a cluster of six servers, and one of its primaries is killed."
        ),
    ] = Scene.POOL,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Use this server (redis://host:port) and not one of its own. "
            "The demo touches only keys under a random prefix, and deletes them. Not for `cluster`.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(min=20, max=25_000, help="How many SETs each way sends, or how many tasks use the cluster.")
    ] = 10_000,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=_plottable,
            help="Write a chart of the connections, or of each shard's throughput: .png or .svg.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")] = False,
) -> None:
    """Show what the pool saves, or what a cluster's callers see when a primary dies, each in about 15 seconds."""
    address = None
    if url is not None:
        if scene is Scene.CLUSTER:
            raise typer.BadParameter(
                "`demo cluster` kills a primary, so it takes only a cluster of its own: omit --url"
            )
        address = _one_server(url)
    try:
        if scene is Scene.CLUSTER:
            _hand_out_failover(*run(failover.run(count, _view_of_failover(json))), plot, json)
        else:
            _hand_out(*run(demonstration.run(url, count, _view(json), _complain)), plot, json)
    except (Interrupted, KeyboardInterrupt) as error:
        ignore()
        _complain("interrupted")
        raise typer.Exit(error.exit_code if isinstance(error, Interrupted) else 130) from None
    except Exception as error:
        line = one_line(error, address)
        if line is None:
            raise
        _fail(line)


class Level(Enum):
    """Level of the log of a worker."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.command()
def worker(
    queues: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE:QUEUE...",
            help="The queues to work, such as app:queue. Modules are searched in the current directory first.",
        ),
    ],
    concurrency: Annotated[int, typer.Option(min=1, help="How many jobs of each queue run at a time.")] = 50,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that jobs have to end after SIGTERM or Ctrl-C; then they go back.")
    ] = 20.0,
    log_level: Annotated[Level, typer.Option(help="What is logged to standard error.")] = Level.INFO,
) -> None:
    """Work the jobs of queues until SIGTERM or Ctrl-C.

    Exit codes: 0 after a stop, 1 for a queue that cannot be loaded or a worker that failed, 2 for wrong usage, and 130
    or 143 after a second Ctrl-C or SIGTERM, which cancels the jobs in hand and gives them back.
    """
    try:
        command = importlib.import_module("aioresp.cli.worker.command")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _RECIPES:
            raise
        typer.echo(f"aioresp worker: needs the package {package}: pip install 'aioresp[recipes]'", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(command.work(queues, concurrency, grace, log_level.value))


def _one_server(url: str) -> str:
    """Return the address of the server, or complain."""
    advice = "the demo counts the connections of one server: give redis://host:port"
    if "+cluster://" in url:
        _fail(f"--url: {advice}, of a server that is not in a cluster; `aioresp demo cluster` shows a cluster")
    try:
        found = settings(url, {})
    except (ValueError, TypeError, OSError) as error:
        _fail(f"--url: {error}")
    if found.seeds:
        _fail(f"--url: {advice}, not several servers or sentinels")
    return str(found.endpoint)


def _view(json: bool) -> demonstration.View:
    """Return the display: live on a terminal, even if standard output gets JSON."""
    console, live = _console(json)
    if live:
        return Screen(console)
    return Nothing() if json else Lines(console)


def _view_of_failover(json: bool) -> failover.View:
    """Return the display of the cluster demo, likewise."""
    console, live = _console(json)
    if live:
        return screen.Screen(console)
    return screen.Nothing() if json else screen.Lines(console)


def _console(json: bool) -> tuple[Console, bool]:
    """Return where the display goes, and whether that is a terminal."""
    stream = sys.stderr if json else sys.stdout
    console = Console(file=stream)
    return console, stream.isatty() and not console.is_dumb_terminal


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


def _hand_out_failover(found: FailoverFigures, progress: FailoverProgress, plot: Path | None, json: bool) -> None:
    if json:
        typer.echo(found.to_json())
    else:
        summary.print_summary(Console(), found)
    if plot is not None:
        importlib.import_module("aioresp.cli.failover.plot").draw(plot, found, progress)
        if not json:
            typer.echo(f"The chart is in {plot}.")


def _complain(line: str) -> None:
    typer.echo(f"aioresp demo: {line}", err=True)


def _fail(line: str) -> NoReturn:
    _complain(line)
    raise typer.Exit(1)
