"""Command line of `aioresp demo`.

Owns its words. Never imports what runs and draws before it runs, so that other commands start fast.
"""

from __future__ import annotations

import importlib.util
import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from aioresp.cli.target import Target, connecting

_FORMATS = (".png", ".svg")


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


@connecting
def demo(
    target: Target | None,
    scene: Annotated[
        Scene,
        typer.Argument(
            help="pool: the same SETs in several ways that race, with the connections and the time that each takes. "
            "cluster: 10,000 tasks use a cluster of six servers, and one of its primaries is killed."
        ),
    ] = Scene.POOL,
    count: Annotated[
        int, typer.Option(min=20, max=25_000, help="How many SETs each way sends, or how many tasks use the cluster.")
    ] = 10_000,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=_plottable,
            help="Write a chart of the connections and the seconds, or of each shard's throughput: .png or .svg.",
        ),
    ] = None,
    at_once: Annotated[
        bool,
        typer.Option("--at-once", help="Run all ways at the same time, on the same cores, instead of each alone."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")] = False,
) -> None:
    """Show what the pool saves, or what a cluster's callers see when a primary dies, each in about 15 seconds.

    With --url it uses that server: it touches only keys under a random prefix, and deletes them.
    """
    if scene is Scene.CLUSTER:
        if target is not None:
            raise typer.BadParameter(
                "`demo cluster` kills a primary, so it takes only a cluster of its own: omit --url"
            )
        from aioresp.cli.failover.show import show as show_failover  # noqa: PLC0415 (see the docstring above)

        show_failover(count, plot, json)
        return
    from aioresp.cli.demo.show import show  # noqa: PLC0415 (see the docstring above)

    show(target, count, plot, json, in_turn=not at_once)
