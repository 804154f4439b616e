"""Show of the demo: its run, its display, and what is printed at the end.

Owns the choice of the display. Never measures.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from aioresp.cli.console import console
from aioresp.cli.demo import run as demonstration
from aioresp.cli.demo.race import Starter
from aioresp.cli.demo.screen import Lines, Screen
from aioresp.cli.demo.summary import print_summary
from aioresp.cli.display import Nothing
from aioresp.cli.faults import Fault, complain
from aioresp.cli.interrupt import run
from aioresp.cli.target import Target


def show(target: Target | None, count: int, plot: Path | None, json: bool, *, in_turn: bool) -> None:
    """Run the demo against the target, or against a server of its own."""
    if target is not None:
        _one_server(target)
    with Starter(target) as starter:
        work = demonstration.run(target, starter, count, _view(json), partial(complain, "demo"), in_turn=in_turn)
        figures, _ = run(work)
    if json:
        typer.echo(figures.to_json())
    else:
        print_summary(Console(), figures)
    if plot is not None:
        # Not before: matplotlib takes a second to import, and is seldom wanted.
        importlib.import_module("aioresp.cli.demo.plot").draw(plot, figures)
        if not json:
            typer.echo(f"The chart is in {plot}.")


def _one_server(target: Target) -> None:
    """Complain of a target that is several servers."""
    advice = "the demo counts the connections of one server: give redis://host:port"
    if target.cluster:
        raise Fault(f"--url: {advice}, of a server that is not in a cluster; `aioresp demo cluster` shows a cluster")
    if target.several:
        raise Fault(f"--url: {advice}, not several servers or sentinels")


def _view(json: bool) -> demonstration.View:
    """Return the display: live on a terminal, even if standard output gets JSON."""
    stream, live = console(json)
    if live:
        return Screen(stream)
    return Nothing() if json else Lines(stream)
