"""Display of a benchmark while it runs: live on a terminal, plain lines elsewhere.

Owns the output until the summary. Never paints more than a few times a second, because the event loop that is measured
pays for it.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aioresp.cli.bench.progress import Lane, Progress

#: Seconds between two paintings: each takes some 3 ms of the loop that is measured.
PERIOD: Final = 0.25

COLOURS: Final = {"fresh": "red", "classic": "yellow", "shared": "green"}


def heading(progress: Progress) -> Text:
    """Return the line that says what is measured where."""
    plan = progress.plan
    amount = f"{plan.count:,} each" if plan.seconds is None else f"{plan.seconds:g} s each"
    words = [f"{plan.tasks:,} {'task' if plan.tasks == 1 else 'tasks'}", amount, f"values of {plan.size:,} bytes"]
    if plan.pipeline > 1:
        words.append(f"pipelines of {plan.pipeline:,}")
    if plan.rate is not None:
        words.append(f"{plan.rate:,.0f} a second")
    words.append(plan.loop)
    facts = progress.facts
    server = f"{facts.flavour.capitalize()} {facts.version}" if facts.readable else ""
    return Text.assemble(
        ("aioresp bench", "bold"), "  ", progress.address, "  ", (server, "dim"), "\n", (", ".join(words), "dim")
    )


class Screen:
    """A bar for each way, repainted in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._progress: Progress | None = None

    def showing(self, progress: Progress) -> AbstractContextManager[Any]:
        """Show the progress until the context is left; then it makes room for the summary."""
        self._progress = progress
        self._live.update(self._picture(progress))
        return self._live

    async def repaint(self) -> None:
        """Paint again and again, until cancelled."""
        while True:
            self._paint()
            await asyncio.sleep(PERIOD)

    def finished(self, lane: Lane) -> None:
        """Do nothing: the next painting shows it."""

    def _paint(self) -> None:
        if self._progress is not None:
            self._live.update(self._picture(self._progress), refresh=True)

    def _picture(self, progress: Progress) -> Group:
        table = Table(box=None, expand=True, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True, min_width=13)
        for template in progress.plan.templates:
            for number, lane in enumerate(progress.of(template)):
                colour = COLOURS[lane.way]
                table.add_row(
                    Text(template.name if not number else "", style="bold"),
                    Text(lane.title, style="" if lane.begun else "dim"),
                    ProgressBar(1.0, lane.fraction, complete_style=colour, finished_style=colour),
                    f"{lane.live:,.0f} ops/s" if lane.begun else "",
                )
        return Group(heading(progress), "", table, Text(progress.doing, style="dim"))


class Lines:
    """A line for each way that is done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def showing(self, progress: Progress) -> AbstractContextManager[Any]:
        """Show nothing yet."""
        return nullcontext()

    async def repaint(self) -> None:
        """Do nothing: lines do not change."""

    def finished(self, lane: Lane) -> None:
        """Print the line of a way."""
        line = f"{lane.template.name}, {lane.title}: {lane.rate:,.0f} ops/s in {lane.total.seconds:.1f} s"
        # One line each, however long: a program may read them.
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Nothing:
    """For `--json`: the figures are all there is."""

    def showing(self, progress: Progress) -> AbstractContextManager[Any]:
        """Show nothing."""
        return nullcontext()

    async def repaint(self) -> None:
        """Do nothing."""

    def finished(self, lane: Lane) -> None:
        """Show nothing."""
