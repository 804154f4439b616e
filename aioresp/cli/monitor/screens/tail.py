"""Pane of MONITOR: the commands that the server executes, for ten seconds at a time.

Owns the run: its start and its end. Never asks a server but through the source.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from aioresp.cli.monitor.rows import Tail, TailLine
from aioresp.cli.monitor.screens.grid import Column, Grid
from aioresp.cli.monitor.screens.pane import FilterInput, Pane
from aioresp.cli.monitor.screens.parts import Figure, Line
from aioresp.cli.monitor.screens.units import count, rate
from aioresp.cli.monitor.source import Source

__all__ = ["TailPane"]

_IDLE: Final = (
    "MONITOR shows each command as the server executes it. Press g to run it for ten seconds.\n\n"
    "It is costly: while it runs, it takes half to three quarters of the server's speed. So it runs on demand "
    "only, and ends by itself."
)

_SECONDS: Final = 10.0


class TailPane(Pane):
    """Commands that MONITOR shows, the latest first, and the most frequent ones."""

    hints: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("g", "run 10 s / stop", "go"),
        ("/", "filter", "filter"),
        ("⏎", "details", "details"),
    )

    DEFAULT_CSS = """
    TailPane > Horizontal { height: 8; }
    TailPane > Horizontal > Grid { width: 1fr; }
    TailPane > #tail-banner { background: $band; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="Monitor")
        self.found: Tail | None = None
        self._source: Source | None = None
        self._run: asyncio.Task[None] | None = None
        self._lines = Grid[TailLine](
            _LINES, lambda row: (row.at, row.client, row.command), sort="when", id="tail-lines"
        )
        self._commands = Grid[tuple[str, float]](
            _most("command"), lambda row: row[0], sort="calls/s", id="tail-commands"
        )
        self._prefixes = Grid[tuple[str, float]](
            _most("prefix"), lambda row: row[0], sort="calls/s", id="tail-prefixes"
        )
        self.line = Line(kind="muted")
        self.banner = Line(id="tail-banner")
        self.lacks = Static("", classes="lacks", markup=False)

    @property
    def grid(self) -> Grid[Any]:
        """The table of the commands as they came."""
        return self._lines

    @property
    def running(self) -> bool:
        """Whether MONITOR runs."""
        return self._run is not None and not self._run.done()

    def compose(self) -> ComposeResult:
        """Put the tables one below another."""
        yield self.banner
        yield self.line
        yield self.lacks
        yield Static(_IDLE, classes="sentence", markup=False)
        yield self._lines
        yield Horizontal(self._commands, self._prefixes)
        yield FilterInput(placeholder="show commands that contain ...")

    def on_mount(self) -> None:
        """Begin with an explanation."""
        self._show()

    async def update(self, source: Source, *, node: str, stale: bool, now: bool = False) -> None:
        """Take the source; each line of MONITOR is drawn when it arrives."""
        self._source = source

    def go(self) -> None:
        """Run MONITOR, or stop it."""
        if self.running and self._run is not None:
            self._run.cancel()
        elif self._source is not None:
            self._run = asyncio.create_task(self._follow(self._source))

    async def stop(self) -> None:
        """End MONITOR, as the monitor ends."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait([self._run])

    async def _follow(self, source: Source) -> None:
        try:
            async for found in source.tail(_SECONDS):
                self.found = found
                self._show()
        finally:
            self.call_later(self._show)

    def _show(self) -> None:
        found = self.found
        for child in self.query(".sentence"):
            child.display = found is None
        is_told = found is not None and bool(found.lines or not found.lacks)
        for child in self.query(Horizontal):
            child.display = is_told
        self._lines.display = is_told
        self.lacks.display = found is not None and bool(found.lacks)
        running = self.running and not (found is not None and found.finished)
        self.banner.display = running
        if running:
            left = _SECONDS if found is None else found.left
            self.banner.show(
                "MONITOR takes half to three quarters of the server's speed",
                f"{left:.0f} s left; g stops",
                kind="warning",
                right_kind="warning",
            )
        if found is None:
            self.line.show("commands as they are executed", "", kind="muted")
            return
        self.lacks.update(found.lacks)
        dropped = f", {count(found.dropped)} dropped" if found.dropped else ""
        per_second = rate(found.total / found.seconds if found.seconds else None)
        self.line.show(
            f"{count(found.total)} commands in {found.seconds:.0f} s{dropped}; the latest {len(found.lines)}",
            per_second,
            kind="text",
        )
        self._lines.show(found.lines)
        self._commands.show(found.commands)
        self._prefixes.show(found.prefixes)
        if self.display and self.app.screen is self.screen and self.screen.focused is None and found.lines:
            self._lines.focus()

    def details(self, row: Any) -> tuple[str, list[Figure]] | None:
        """Return a command as a whole."""
        if isinstance(row, TailLine):
            return "command", [
                *([("node", row.node)] if row.node else []),
                ("when", _when(row.at)),
                ("client", row.client),
                ("database", str(row.database)),
                ("command", row.command),
            ]
        if isinstance(row, tuple):
            return row[0], [("calls", rate(row[1]))]
        return None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter the table."""
        self._lines.filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter."""
        event.input.display = bool(event.value)
        self.focus_main()


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3]  # the user's own clock


_LINES: Final = (
    Column[TailLine]("when", 12, lambda row: _when(row.at), lambda row: row.at),
    Column[TailLine]("node", 15, lambda row: row.node, lambda row: row.node, drop=5, cluster=True),
    Column[TailLine]("client", 21, lambda row: row.client, lambda row: row.client, drop=1),
    Column[TailLine]("db", 3, lambda row: str(row.database), lambda row: row.database, right=True, drop=2),
    Column[TailLine]("command", 24, lambda row: row.command, lambda row: row.command, grow=True),
)


def _most(title: str) -> tuple[Column[tuple[str, float]], ...]:
    return (
        Column(title, 12, lambda row: row[0], lambda row: row[0], grow=True),
        Column("calls/s", 10, lambda row: rate(row[1]), lambda row: row[1], right=True),
    )
