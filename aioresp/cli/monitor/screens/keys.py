"""Pane of the keys: a scan that runs when it is asked for, with what it has found so far.

Owns the scan: its start, its pause and its pace. Never asks a server but through the source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from aioresp.cli.monitor.rows import HotRow, KeyGroup, KeyReport, KeyRow, Pace
from aioresp.cli.monitor.screens.grid import Column, Grid
from aioresp.cli.monitor.screens.pane import FilterInput, Pane
from aioresp.cli.monitor.screens.parts import Figure, Line, Progress
from aioresp.cli.monitor.screens.units import UNKNOWN, count, percent, size, span
from aioresp.cli.monitor.source import Source

__all__ = ["KeysPane"]

_IDLE: Final = (
    "Nothing has been scanned yet. Press g to look at all keys once, by SCAN with TYPE, PTTL and MEMORY USAGE.\n\n"
    "It asks for at most 2,000 keys a second, which costs the server about 0.3 % of a core; F lets it run at full "
    "speed. It can be stopped by g, and goes on from there."
)


class KeysPane(Pane):
    """Largest keys, and keys by type and by prefix."""

    hints: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("g", "scan / stop", "go"),
        ("F", "full speed", "fast"),
        ("/", "filter", "filter"),
        ("s", "sort", "sort"),
    )

    DEFAULT_CSS = """
    KeysPane > Horizontal { height: 2fr; }
    KeysPane > #keys-largest { height: 3fr; }
    KeysPane > Horizontal > Grid { width: 1fr; }
    KeysPane > Horizontal > #keys-prefixes { width: 2fr; }
    KeysPane > Progress { padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="Keys")
        self.report: KeyReport | None = None
        self._pace = Pace()
        self._usual = self._pace.keys_a_second
        self._source: Source | None = None
        self._scan: asyncio.Task[None] | None = None
        self._largest = Grid[KeyRow](_KEYS, _key_of, sort="bytes", id="keys-largest")
        self._types = Grid[KeyGroup](_groups("type", 7), _group_of, sort="bytes", id="keys-types")
        self._prefixes = Grid[KeyGroup](_groups("prefix", 10), _group_of, sort="bytes", id="keys-prefixes")
        self._hot = Grid[HotRow](_HOT, lambda row: (row.node, row.key), sort="used", id="keys-hot")
        self.line = Line(kind="muted")
        self.bar = Progress()
        self.lacks = Static("", classes="lacks", markup=False)

    @property
    def grid(self) -> Grid[Any]:
        """The table of the largest keys."""
        return self._largest

    @property
    def running(self) -> bool:
        """Whether a scan runs."""
        return self._scan is not None and not self._scan.done()

    def compose(self) -> ComposeResult:
        """Put the tables one below another."""
        yield self.line
        yield self.bar
        yield self.lacks
        yield Static(_IDLE, classes="sentence", markup=False)
        yield self._largest
        yield Horizontal(self._types, self._prefixes, self._hot)
        yield FilterInput(placeholder="show keys that contain ...")

    def on_mount(self) -> None:
        """Begin without a report."""
        self._show()

    async def update(self, source: Source, *, node: str, stale: bool, now: bool = False) -> None:
        """Take the source; each find of a scan is shown at once."""
        self._source = source
        for grid in (self._largest, self._types, self._prefixes, self._hot):
            grid.cluster = any(row.node for row in self.report.largest) if self.report else False

    def go(self) -> None:
        """Start the scan, stop it, or let it go on; a scan that has ended begins again."""
        if self.running and self._scan is not None:
            self._scan.cancel()
        elif self._source is not None:
            resume = None if self.report is None or self.report.finished else self.report
            self._scan = asyncio.create_task(self._run(self._source, resume))
        self._show()

    def fast(self) -> None:
        """Let the scan run at full speed, or at its usual pace again."""
        self._pace.keys_a_second = self._usual if self._pace.keys_a_second is None else None
        self._show()

    async def stop(self) -> None:
        """End the scan, as the monitor ends."""
        if self._scan is not None:
            self._scan.cancel()
            await asyncio.wait([self._scan])

    async def _run(self, source: Source, resume: KeyReport | None) -> None:
        try:
            async for report in source.scan_keys(self._pace, resume):
                self.report = report
                self._show()
        finally:
            self.call_later(self._show)

    def _show(self) -> None:
        report = self.report
        for child in self.query(".sentence"):
            child.display = report is None
        self.bar.display = report is not None
        for grid in self.query(Horizontal):
            grid.display = report is not None
        self._largest.display = report is not None
        fast = self._pace.keys_a_second is None
        pace = "full speed" if fast else f"at most {count(self._pace.keys_a_second)} keys/s"
        if report is None:
            self.line.show("keys", pace, kind="muted", right_kind="warning" if fast else "muted")
            self.lacks.display = False
            return
        self.lacks.display = bool(report.lacks)
        self.lacks.update(report.lacks)
        state = "all keys" if report.finished else "scanning" if self.running else "stopped; g goes on"
        self.line.show(
            f"{count(report.seen)} keys, {size(report.bytes)}, "
            f"{percent(report.eternal / report.seen if report.seen else None)} without a TTL",
            pace if self.running else "",
            kind="text",
            right_kind="warning" if fast else "muted",
        )
        left = ""
        if self.running and not report.finished and report.seen and report.seconds:
            left = f", {span((report.total - report.seen) / (report.seen / report.seconds))} left"
        self.bar.show(state, report.progress, f"{report.progress * 100:.0f} %{left}")
        self._largest.show(report.largest)
        self._types.show(report.types)
        self._prefixes.show(report.prefixes)
        self._hot.show(report.hot)
        self._hot.display = bool(report.hot)
        if self.app.screen is self.screen and self.display and self.screen.focused is None and report.largest:
            self._largest.focus()

    def details(self, row: Any) -> tuple[str, list[Figure]] | None:
        """Return what is known of a key, or of a group of keys."""
        if isinstance(row, KeyRow):
            return "key", [
                *([("node", row.node)] if row.node else []),
                ("key", row.key),
                ("memory", size(row.size)),
                ("bytes", count(row.size)),
                ("ttl", _ttl(row.ttl)),
            ]
        if isinstance(row, KeyGroup):
            return row.name, [
                ("keys", count(row.count)),
                ("memory", size(row.size)),
                ("on average", size(row.size / (row.count or 1))),
                ("without a TTL", f"{count(row.eternal)} ({percent(row.eternal / (row.count or 1))})"),
            ]
        if isinstance(row, HotRow):
            return "hot key", [("key", row.key), ("used", _used(row))]
        return None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter the tables."""
        self._largest.filter(event.value)
        self._prefixes.filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter."""
        event.input.display = bool(event.value)
        self.focus_main()


def _ttl(milliseconds: int) -> str:
    return "none" if milliseconds == -1 else UNKNOWN if milliseconds < 0 else span(milliseconds / 1000)


def _used(row: HotRow) -> str:
    return size(row.figure) if row.unit == "bytes" else f"{row.figure:,} {row.unit}"


def _key_of(row: KeyRow) -> Hashable:
    return (row.node, row.key)


def _group_of(row: KeyGroup) -> Hashable:
    return row.name


_KEYS: Final = (
    Column[KeyRow]("key", 24, lambda row: row.key, lambda row: row.key, grow=True),
    Column[KeyRow]("node", 15, lambda row: row.node, lambda row: row.node, drop=5, cluster=True),
    Column[KeyRow]("type", 8, lambda row: row.type, lambda row: row.type),
    Column[KeyRow]("bytes", 9, lambda row: size(row.size), lambda row: row.size, right=True),
    Column[KeyRow]("ttl", 8, lambda row: _ttl(row.ttl), lambda row: row.ttl, right=True),
)

_HOT: Final = (
    Column[HotRow]("hot key", 12, lambda row: row.key, lambda row: row.key, grow=True),
    Column[HotRow]("used", 8, _used, lambda row: row.figure, right=True),
)


def _groups(title: str, width: int) -> tuple[Column[KeyGroup], ...]:
    return (
        Column(title, width, lambda row: row.name or UNKNOWN, lambda row: row.name, grow=True),
        Column("keys", 9, lambda row: count(row.count), lambda row: row.count, right=True, drop=1),
        Column("bytes", 7, lambda row: size(row.size), lambda row: row.size, right=True),
        Column(
            "no ttl",
            7,
            lambda row: percent(row.eternal / (row.count or 1)),
            lambda row: row.eternal / (row.count or 1),
            right=True,
            drop=2,
        ),
    )
