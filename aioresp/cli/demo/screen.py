"""Display of the race: live on a terminal, plain lines elsewhere.

Owns the output while the demo runs. Never measures, and never paints more than a few times a second, because the lanes
want the same cores.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aioresp.cli.demo.progress import HERO, Lane, Progress
from aioresp.cli.demo.words import how, place
from aioresp.cli.display import Picture, PlainLines
from aioresp.cli.sparkline import sparkline

#: Columns of the picture at the most: longer bars say nothing more.
WIDEST = 120


class Screen(Picture[Progress]):
    """Bars of all lanes, and the curve of the server's own count."""

    PERIOD = 0.1
    TRANSIENT = True  # the table at the end has all of it

    def finished(self, lane: Lane) -> None:
        """Paint the arrival of a lane."""
        self.paint()

    def picture(self, progress: Progress) -> Group:
        """Return the lanes as they stand: first each alone, then those that have run beside the last that runs."""
        width = min(self.console.width, WIDEST)
        title = Text.assemble(("aioresp demo", "bold"), f"  {progress.count:,} SETs a lane, {self._what(progress)}")
        title.truncate(width)
        server = Text(str(progress.server), style="dim")
        server.truncate(width)
        return Group(title, server, "", self._bars(progress, width), "", self._curve(progress, width))

    @staticmethod
    def _what(progress: Progress) -> str:
        if not progress.in_turn:
            return "all at once"
        return "each alone, then side by side" if progress.clock is None else "side by side, each as it runs alone"

    def _bars(self, progress: Progress, width: int) -> Table:
        table = Table(box=None, width=width, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("", min_width=3, no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("", ratio=1)
        for heading in ("SETs/s", "connections", "seconds"):
            table.add_column(heading, justify="right", min_width=7, no_wrap=True)
        clock = progress.clock
        for lane in progress.lanes:
            now = lane.samples[-1] if clock is None else lane.at(clock)
            arrived = bool(lane.result) and now.done == lane.total
            seconds = lane.seconds if arrived or clock is None else min(clock, lane.seconds)
            style = f"bold {lane.colour}" if lane.number == HERO else "" if lane.began else "dim"
            table.add_row(
                Text(place(progress.place(lane)) if arrived and clock is not None else "", style=f"bold {lane.colour}"),
                Text(lane.name, style=style),
                ProgressBar(lane.total, now.done, complete_style=lane.colour, finished_style=lane.colour),
                f"{now.done / now.at:,.0f}" if now.done else "",
                Text(f"{now.made:,}" if lane.began else "", style="bold" if arrived else ""),
                Text(f"{seconds:.2f}" if lane.began else "", style="bold" if arrived else ""),
            )
        return table

    def _curve(self, progress: Progress, width: int) -> Text:
        total = progress.received[-1]
        text = Text.assemble(("total_connections_received  ", "dim"), (f"+{total:,}  ", "bold"))
        ascii_only = self.console.options.ascii_only
        return text.append(sparkline(progress.received, width - len(text), total, ascii_only=ascii_only), style="dim")


class Lines(PlainLines):
    """A line for each lane that has arrived."""

    def showing(self, progress: Progress) -> AbstractContextManager[Any]:
        """Say what is going to be done."""
        lanes = f"{len(progress.lanes)} lanes, {how(progress.in_turn)}"
        self.say(f"aioresp demo, {progress.count:,} SETs in each of {lanes}: {progress.server}")
        return nullcontext()

    async def repaint(self) -> None:
        """Do nothing: lines do not change."""

    def finished(self, lane: Lane) -> None:
        """Print the line of a lane."""
        self.say(
            f"{lane.name}: {lane.seconds:.2f} s, {lane.total / lane.seconds:,.0f} SETs/s, "
            f"{lane.made:,} connection{'' if lane.made == 1 else 's'}"
        )
