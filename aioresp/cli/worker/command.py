"""Command line of `aioresp worker`.

Owns its words. Never imports the recipes before it runs, because other commands work without their packages.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Level(Enum):
    """Level of the log of a worker."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


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
    from aioresp.cli.worker.work import work  # noqa: PLC0415 (see the docstring above)

    raise typer.Exit(work(queues, concurrency, grace, log_level.value))
