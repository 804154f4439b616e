"""Show of the cluster demo: its run, its display, and what is printed at the end.

Owns the choice of the display. Never measures.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import typer
from rich.console import Console

from aioresp.cli.console import console
from aioresp.cli.display import Nothing
from aioresp.cli.failover import run as failover
from aioresp.cli.failover.screen import Lines, Screen
from aioresp.cli.failover.summary import print_summary
from aioresp.cli.interrupt import run


def show(count: int, plot: Path | None, json: bool) -> None:
    """Run the demo against a cluster of its own."""
    found, progress = run(failover.run(count, _view(json)))
    if json:
        typer.echo(found.to_json())
    else:
        print_summary(Console(), found)
    if plot is not None:
        # Not before: matplotlib takes a second to import, and is seldom wanted.
        importlib.import_module("aioresp.cli.failover.plot").draw(plot, found, progress)
        if not json:
            typer.echo(f"The chart is in {plot}.")


def _view(json: bool) -> failover.View:
    """Return the display: live on a terminal, even if standard output gets JSON."""
    stream, live = console(json)
    if live:
        return Screen(stream)
    return Nothing() if json else Lines(stream)
