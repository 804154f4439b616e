"""Display of a demo run: live on a terminal, plain lines elsewhere.

Owns the output while the demo runs. Never measures, and never paints more than a few times a second, because the event
loop that is measured pays for it.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aioresp.cli.demo.progress import Phase, Progress
from aioresp.cli.demo.sparkline import sparkline

#: Seconds between two paintings.
PERIOD = 0.2


class Screen:
    """Progress bars and a sparkline, repainted in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._progress: Progress | None = None

    def showing(self, progress: Progress) -> AbstractContextManager[Any]:
        """Show the progress until the context is left; the last picture stays."""
        self._progress = progress
        self._live.update(self._picture(progress))
        return self._live

    async def repaint(self) -> None:
        """Paint again and again, until cancelled."""
        while True:
            self._paint()
            await asyncio.sleep(PERIOD)

    def finished(self, phase: Phase) -> None:
        """Paint the last state of a phase."""
        self._paint()

    def _paint(self) -> None:
        if self._progress is not None:
            self._live.update(self._picture(self._progress), refresh=True)

    def _picture(self, progress: Progress) -> Group:
        return Group(
            Text.assemble(("aioresp demo", "bold"), "  ", (str(progress.server), "dim")),
            "",
            self._bars(progress),
            "",
            *self._curve(progress),
            "",
        )

    def _bars(self, progress: Progress) -> Table:
        table = Table(box=None, expand=True, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column(f"{progress.count:,} SETs each", no_wrap=True)
        table.add_column(ratio=1)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("connections", justify="right", no_wrap=True)
        for phase in progress.phases:
            waiting = phase.began is None
            done = len(phase.latencies)
            table.add_row(
                Text(f"{phase.number} {phase.name}", style="dim" if waiting else ""),
                ProgressBar(phase.total, done, complete_style=phase.colour, finished_style=phase.colour),
                "" if waiting else f"{phase.seconds:.2f}",
                "" if waiting else f"{phase.connections:,}",
            )
        return table

    def _curve(self, progress: Progress) -> tuple[Text, Text]:
        total = progress.samples[-1].total if progress.samples else 0
        words = Text.assemble(("total_connections_received  ", "dim"), (f"+{total:,}", "bold"))
        colours = {phase.number: phase.colour for phase in progress.phases}
        width = self._console.width - 1
        ascii_only = self._console.options.ascii_only
        return words, sparkline(progress.samples, width, colours, ascii_only=ascii_only)


class Lines:
    """A line for each phase that is done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def showing(self, progress: Progress) -> AbstractContextManager[Any]:
        """Say what is going to be done."""
        self._say(f"aioresp demo, {progress.count:,} SETs four ways: {progress.server}")
        return nullcontext()

    async def repaint(self) -> None:
        """Do nothing: lines do not change."""

    def finished(self, phase: Phase) -> None:
        """Print the line of a phase."""
        rate = phase.total / phase.seconds
        self._say(
            f"{phase.number} {phase.name}: {phase.seconds:.2f} s, {rate:,.0f} SETs/s, {phase.connections:,} connections"
        )

    def _say(self, line: str) -> None:
        # One line each, however long, for whatever reads them.
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Nothing:
    """For `--json`: the figures are all there is."""

    def showing(self, progress: Progress) -> AbstractContextManager[Any]:
        """Show nothing."""
        return nullcontext()

    async def repaint(self) -> None:
        """Do nothing."""

    def finished(self, phase: Phase) -> None:
        """Show nothing."""
