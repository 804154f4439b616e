"""Command line of `aioresp monitor`.

Owns its words. Never imports what reads and draws before it runs, so that other commands start fast.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from aioresp.cli.target import Target, connecting


@connecting
def monitor(
    target: Target,
    once: Annotated[
        bool, typer.Option("--once", help="Print the figures once, as text, and end. It takes a second.")
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print the figures as one JSON object, or, with --period, a line each period."),
    ] = False,
    period: Annotated[
        float | None, typer.Option(min=0.1, max=3600, help="Seconds between two looks at the server; 1 by default.")
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Count this queue; several are allowed. By default they are looked for."),
    ] = None,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Append all that is read to this file.")] = None,
    replay: Annotated[Path | None, typer.Option(metavar="FILE", help="Show a recording, and no server.")] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=1000, help="How many times as fast --replay plays.")] = 1.0,
) -> None:
    """Watch a server live: its connections, commands, clients, slow commands, keys and queues.

    Without --once and --json it shows screens; ? lists their keys.
    It only reads, on one connection, which its figures leave out.
    """
    if replay is not None and record is not None:
        raise typer.BadParameter("--record and --replay exclude each other: a recording is there already")
    # A process that was started with closed streams has none.
    is_terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    is_terminal = is_terminal and os.environ.get("TERM") != "dumb"  # which shows escape sequences as they are
    if not (once or json or record) and not is_terminal:
        raise typer.BadParameter("the screens need a terminal: take --once or --json, or --record FILE")
    from aioresp.cli.monitor.run import once_as_json, once_as_text, show, stream  # noqa: PLC0415 (see the docstring)

    chosen = (target, tuple(queue or ()), record, replay, speed)
    if once or (json and period is None):
        (once_as_json if json else once_as_text)(*chosen)
    elif json or not is_terminal:
        stream(*chosen, period=period or 1.0, silent=not json)
    else:
        raise typer.Exit(show(*chosen, period=period or 1.0))
