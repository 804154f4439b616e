"""Textual application of the monitor.

Owns the loops that ask the source, the keys, and the exit status. Never asks a server itself, and never leaves the
terminal other than it was: not after an error, Ctrl-C, SIGTERM, or the loss of the terminal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.widgets import ContentSwitcher, Input, Static
from textual.worker import WorkerFailed

from aioresp.cli.monitor.replay import Replay
from aioresp.cli.monitor.rows import ClientRow
from aioresp.cli.monitor.screens import themes
from aioresp.cli.monitor.screens.dialogs import Confirm, Details, Help, Warnings
from aioresp.cli.monitor.screens.frame import Band, Header, trouble_of
from aioresp.cli.monitor.screens.grid import Grid
from aioresp.cli.monitor.screens.keys import KeysPane
from aioresp.cli.monitor.screens.overview import Overview
from aioresp.cli.monitor.screens.pane import FilterInput, Pane
from aioresp.cli.monitor.screens.parts import Hints, Scrubber, TabBar
from aioresp.cli.monitor.screens.past import LENGTH, Past
from aioresp.cli.monitor.screens.tables import client_details, clients, commands, nodes, queues, slow
from aioresp.cli.monitor.screens.tail import TailPane
from aioresp.cli.monitor.screens.units import clock
from aioresp.cli.monitor.source import Moment, NodeMoment, Source

__all__ = ["MonitorApp", "run"]

_PERIODS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_SPEEDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

_TABS: Final = ("Overview", "Clients", "Commands", "Slow", "Keys", "Monitor", "Queues")

#: The client, in the question before a kill.
_WHOM: Final = ("node", "name", "address", "user", "connected", "idle", "last command")

#: Seconds between two looks at the visible table; the source asks the server less often than that.
_LOOK: Final = 0.5

#: Seconds that a monitor whose terminal is gone has to end.
_GRACE: Final = 3.0


class MonitorApp(App[int]):
    """The monitor's screens over one source."""

    TITLE = "aioresp monitor"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #banner { background: $band-error; color: $error; text-style: bold; height: auto; padding: 0 1; display: none; }
    #panes { height: 1fr; }
    Overview { height: 1fr; margin: 0; }
    Toast { max-width: 72; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"tab({number})", name, show=False) for number, name in enumerate((*_TABS, "Nodes"), 1)),
        Binding("tab", "next_tab(1)", "Next screen", show=False, priority=True),
        Binding("shift+tab", "next_tab(-1)", "Screen before", show=False, priority=True),
        Binding("q", "leave(0)", "Quit", show=False),
        Binding("ctrl+q", "leave(0)", "Quit", show=False, priority=True),
        Binding("ctrl+c", "interrupt", "Interrupt", show=False, priority=True),
        Binding("space", "pause", "Pause", show=False),
        Binding("plus,equals_sign", "faster(1)", "More often", show=False),
        Binding("minus", "faster(-1)", "Less often", show=False),
        Binding("slash", "filter", "Filter", show=False),
        Binding("s", "sort", "Sort", show=False),
        Binding("r", "reverse", "Reverse", show=False),
        Binding("u", "update_now", "Update", show=False),
        Binding("K", "kill", "Kill", show=False),
        Binding("F", "fast", "Full speed", show=False),
        Binding("g", "go", "Go", show=False),
        Binding("w", "warnings", "Warnings", show=False),
        Binding("t", "toggle_theme", "Light or dark", show=False),
        Binding("question_mark", "help", "Help", show=False),
        Binding("escape", "whole", "Back", show=False),
        Binding("left", "seek(-10)", "Back 10 s", show=False),
        Binding("right", "seek(10)", "On 10 s", show=False),
        Binding("shift+left", "seek(-60)", "Back a minute", show=False),
        Binding("shift+right", "seek(60)", "On a minute", show=False),
    ]

    def __init__(
        self,
        source: Source,
        *,
        period: float = 1.0,
        theme: str | None = None,
        driver_class: type[Driver] | None = None,
    ) -> None:
        chosen = theme or themes.first()
        # Said from the start, or Textual turns NO_COLOR into shades of grey of 24 bits.
        super().__init__(driver_class, ansi_color=True if themes.is_sixteen(chosen) else None)
        for each in themes.THEMES:
            self.register_theme(each)
        self.theme = chosen
        self.source = source
        self.period = period
        # The screen stands still; the figures are read all the same. Set and cleared by the space bar.
        self.paused = False
        self.moment: Moment | None = None
        # Address of the node whose figures alone are shown, or "" for all.
        self.node = ""
        self._pasts: dict[str, Past] = {}
        self._wake = asyncio.Event()
        self._look = asyncio.Event()
        self._header = Header()
        self._tabs = TabBar([(str(number), name) for number, name in enumerate(_TABS, 1)], _TABS[0])
        self._banner = Static(id="banner", markup=False)
        # The words of the banner, or "".
        self._trouble = ""
        self._band = Band()
        self._scrubber = Scrubber()
        self._hints = Hints()
        self._overview = Overview(id="Overview")
        self._scan_pane = KeysPane()
        self._tail_pane = TailPane()
        self._node_pane = nodes()
        panes = (clients(), commands(), slow(), self._scan_pane, self._tail_pane, queues(), self._node_pane)
        self._panes: dict[str, Overview | Pane] = {pane.id or "": pane for pane in (self._overview, *panes)}
        # Name of the pane that is visible.
        self._current = _TABS[0]
        self._switcher = ContentSwitcher(*self._panes.values(), initial=self._current, id="panes")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return the colours of parts that Textual's own themes do not know."""
        return dict(themes.THEMES[0].variables)

    def compose(self) -> ComposeResult:
        """Put the frame around the panes."""
        yield self._header
        yield self._tabs
        yield self._banner
        yield self._switcher
        yield self._band
        yield self._scrubber
        yield self._hints

    def on_mount(self) -> None:
        """Begin to read."""
        self._scrubber.display = self.source.timeline is not None
        if isinstance(self.source, Replay):
            for moment in self.source.past(LENGTH):
                self._keep_all(moment)
        self._show_frame()
        self._show_hints()
        self._read()
        self._list()

    # Reading

    @work(exclusive=True, group="read")
    async def _read(self) -> None:
        """Read a moment each period, however long a moment takes."""
        due = time.monotonic()
        while True:
            self._take(await self.source.read())
            # Behind a slow answer, such as the first, a rate over no time at all would leap.
            due = max(due + self.period, time.monotonic() + self.period / 2)
            self._wake.clear()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.0, due - time.monotonic())):
                    await self._wake.wait()
                due = time.monotonic()
            except TimeoutError:
                pass

    @work(exclusive=True, group="list")
    async def _list(self) -> None:
        """Show the visible table again and again."""
        while True:
            self._look.clear()
            pane = self._pane
            if not self.paused:
                self._show_banner()
            if isinstance(pane, Pane) and not (self.paused and pane.was_updated):
                await pane.update(self.source, node=self.node, stale=self._stale)
                pane.was_updated = True
            try:
                async with asyncio.timeout(_LOOK):
                    await self._look.wait()
            except TimeoutError:
                pass

    def _take(self, moment: Moment) -> None:
        """Keep a moment, and show it unless the screen stands still."""
        self.moment = moment
        self._keep_all(moment)
        for each in {id(one): one for one in (moment.whole, *moment.nodes)}.values():
            if each.remark:
                self.notify(f"{each.node + ': ' if each.node else ''}{each.remark}", markup=False)
        if not self.paused or self.source.timeline is not None:
            self._show()

    def _keep_all(self, moment: Moment) -> None:
        self._keep("", moment.whole)
        if moment.is_cluster:
            for each in moment.nodes:
                self._keep(each.node, each)

    def _keep(self, name: str, moment: NodeMoment) -> None:
        past = self._pasts.get(name)
        if past is None:
            past = self._pasts[name] = Past()
        past.add(moment)

    # Showing

    @property
    def _pane(self) -> Overview | Pane:
        return self._panes[self._current]

    @property
    def _shown(self) -> NodeMoment | None:
        """The server whose figures are shown, or the whole cluster."""
        if self.moment is None:
            return None
        return next((each for each in self.moment.nodes if self.node and each.node == self.node), self.moment.whole)

    @property
    def _stale(self) -> bool:
        shown = self._shown
        return shown is not None and bool(shown.trouble)

    @property
    def _names(self) -> list[tuple[str, str]]:
        cluster = self.moment is not None and self.moment.is_cluster
        names: tuple[str, ...] = (*_TABS, "Nodes") if cluster else _TABS
        return [(str(number), name) for number, name in enumerate(names, 1)]

    def _show(self) -> None:
        moment, shown = self.moment, self._shown
        if moment is None or shown is None:
            return
        if moment.is_cluster:
            self._node_pane.keep(moment.nodes, moment.at)
            for grid in self.query(Grid):
                grid.cluster = True
        self._show_frame()
        self._show_banner()
        self._band.show([each for each in moment.notices if not self.node or each.node == self.node])
        if self._pane is self._overview:
            self._show_overview()

    def _show_banner(self) -> None:
        """Say what is wrong, and since when: the seconds go on while the monitor waits for an answer."""
        moment, shown = self.moment, self._shown
        if moment is None or shown is None:
            return
        timeline = self.source.timeline
        trouble = trouble_of(moment, shown, time.time() if timeline is None else timeline.at)
        if len(trouble) > self.size.width - 2:
            trouble = trouble.removeprefix("the server at ")
        if trouble != self._trouble:
            self._trouble = trouble
            self._banner.update(trouble)
            self._banner.display = bool(trouble)

    def _show_overview(self) -> None:
        moment, shown = self.moment, self._shown
        if moment is None or shown is None:
            return
        alarms = frozenset(each.name for each in moment.notices if not self.node or each.node == self.node)
        self._overview.show(shown, self._pasts.get(self.node) or self._pasts[""], alarms)

    def _show_frame(self) -> None:
        timeline = self.source.timeline
        if timeline is not None:
            length = max(timeline.end - timeline.begin, 0.001)
            share = min(1.0, max(0.0, (timeline.at - timeline.begin) / length))
            state = "paused" if self.paused else "the end" if share >= 1.0 else f"{timeline.speed:g} times as fast"
            state = "recording" if state == "1 times as fast" else state
            self._scrubber.show(clock(max(0.0, timeline.at - timeline.begin)), share, clock(length))
            kind = "warning" if self.paused else "muted"
        else:
            state, kind = ("paused", "warning") if self.paused else (f"{self.period:g} s", "muted")
        self._header.show_server(self.moment, self._shown, self.source.address, state, kind)
        self._tabs.show(self._names, self._pane.id or "")

    def _show_hints(self) -> None:
        pane = self._pane
        own = pane.hints if isinstance(pane, Pane) else ()
        if pane.id == "Clients" and self.source.timeline is None:
            own = (("K", "kill", "kill"), *own)
        seek = (("← →", "seek", "seek(10)"),) if self.source.timeline is not None else ()
        self._hints.show(
            [
                ("q", "quit", "leave(0)"),
                ("?", "help", "help"),
                *own,
                *seek,
                ("space", "go on" if self.paused else "pause", "pause"),
                ("w", "warnings", "warnings"),
                ("t", "light or dark", "toggle_theme"),
                *([("Esc", "whole cluster", "whole")] if self.node else []),
            ]
        )

    def on_resize(self) -> None:
        """Fit what is shown to the new size."""
        self.call_after_refresh(self._show)

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave all keys but Ctrl-C to a text that is being typed; Tab too is for dialogs."""
        if action in ("next_tab",):
            return len(self.screen_stack) == 1
        return True

    def _open(self, name: str) -> None:
        self._current = name
        self._switcher.current = name
        self.screen.set_focus(None)
        pane = self._pane
        if isinstance(pane, Pane):
            pane.focus_main()
        self._show()
        self._show_frame()
        self._show_hints()
        if pane is self._overview:
            self.call_after_refresh(self._show_overview)
        self._look.set()

    def action_tab(self, number: int) -> None:
        """Open a screen by its number."""
        names = self._names
        if number <= len(names):
            self._open(names[number - 1][1])

    def action_next_tab(self, steps: int) -> None:
        """Open the next screen, or the one before."""
        names = [name for _, name in self._names]
        self._open(names[(names.index(self._pane.id or "") + steps) % len(names)])

    @on(TabBar.Opened)
    def _open_clicked(self, event: TabBar.Opened) -> None:
        self._open(event.tab)

    def action_leave(self, code: int) -> None:
        """End with this exit status."""
        self.workers.cancel_all()
        self.exit(code, return_code=code)

    def action_interrupt(self) -> None:
        """End as Ctrl-C does."""
        self.action_leave(130)

    def action_pause(self) -> None:
        """Let the screen stand still, or go on; in a recording the time itself."""
        self.paused = not self.paused
        if self.source.timeline is not None:
            self.source.timeline.pause(self.paused)
        self._show()
        self._show_frame()
        self._show_hints()
        self._look.set()

    def action_faster(self, steps: int) -> None:
        """Read more or less often; play a recording faster or slower."""
        timeline = self.source.timeline
        if timeline is not None:
            timeline.speed = _neighbour(_SPEEDS, timeline.speed, steps)
        else:
            self.period = _neighbour(_PERIODS, self.period, -steps)
        self._wake.set()
        self._show_frame()

    def action_filter(self) -> None:
        """Ask for the text that rows must contain."""
        pane = self._pane
        if isinstance(pane, Pane) and pane.grid is not None and pane.grid.total:
            box = pane.query_one(FilterInput)
            box.display = True
            box.focus()

    def action_sort(self) -> None:
        """Sort by the next column."""
        if isinstance(self._pane, Pane) and self._pane.grid is not None:
            self._pane.grid.sort_next()
            self._look.set()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        if isinstance(self._pane, Pane) and self._pane.grid is not None:
            self._pane.grid.reverse()
            self._look.set()

    async def action_update_now(self) -> None:
        """Ask the server at once, even for a list that is long."""
        pane = self._pane
        self._wake.set()
        if isinstance(pane, Pane):
            await pane.update(self.source, node=self.node, stale=self._stale, now=True)

    def action_go(self) -> None:
        """Start what runs on demand, or stop it."""
        if isinstance(self._pane, Pane):
            self._pane.go()

    def action_fast(self) -> None:
        """Let a scan run at full speed, or gently again."""
        if isinstance(self._pane, Pane):
            self._pane.fast()

    def action_details(self) -> None:
        """Show the details of the row under the cursor."""
        if isinstance(self._pane, Pane) and self._pane.grid is not None:
            self._pane.grid.action_choose()

    @on(Grid.Chosen)
    def _show_details(self, event: Grid.Chosen) -> None:
        pane = self._pane
        if pane is self._node_pane:
            self.node = event.row.node
            self._open("Overview")
        elif isinstance(pane, Pane):
            found = pane.details(event.row)
            if found is not None:
                self.push_screen(Details(*found))

    def action_whole(self) -> None:
        """Show the whole cluster again."""
        if self.node:
            self.node = ""
            self._open("Nodes")

    @work
    async def action_kill(self) -> None:
        """Kill the client under the cursor, after a question."""
        grid = self._pane.grid if isinstance(self._pane, Pane) else None
        row = grid.selected if grid is not None else None
        if not isinstance(row, ClientRow):
            return
        if self.source.timeline is not None:
            self.notify("This is a recording: nobody can be killed.", severity="warning")
        elif row.own:
            self.notify("This is the monitor's own connection: q ends it.", severity="warning")
        elif await self.push_screen_wait(
            Confirm(f"kill client {row.id}?", [line for line in client_details(row)[1] if line[0] in _WHOM])
        ):
            self.notify(await self.source.kill(row), markup=False)
            await self.action_update_now()

    def action_warnings(self) -> None:
        """Show all warnings."""
        self.push_screen(Warnings(self.moment.notices if self.moment is not None else ()))

    def action_help(self) -> None:
        """Show all keys."""
        self.push_screen(Help())

    def action_toggle_theme(self) -> None:
        """Change between light and dark."""
        self.theme = themes.opposite(self.theme)

    def action_seek(self, seconds: float) -> None:
        """Play a recording from elsewhere."""
        timeline = self.source.timeline
        if timeline is not None:
            self._play_from(timeline.at + seconds)

    @on(Scrubber.Sought)
    def _seek(self, event: Scrubber.Sought) -> None:
        timeline = self.source.timeline
        if timeline is not None:
            self._play_from(timeline.begin + event.share * (timeline.end - timeline.begin))

    def _play_from(self, at: float) -> None:
        """Play a recording from a Unix time, with the past that the curves had then."""
        timeline = self.source.timeline
        if timeline is None or not isinstance(self.source, Replay):
            return
        timeline.seek(min(timeline.end, max(timeline.begin, at)))
        self._pasts.clear()
        for moment in self.source.past(LENGTH):
            self._keep_all(moment)
        self._wake.set()
        self._look.set()

    @on(Input.Submitted)
    def _typed(self) -> None:
        self._look.set()

    # The end

    async def on_unmount(self) -> None:
        """End what runs on demand."""
        await self._scan_pane.stop()
        await self._tail_pane.stop()

    def _handle_exception(self, error: Exception) -> None:
        """End with a traceback, but without the values that Textual's would show: they may be a user's data."""
        self._return_code = 1
        if self._exception is not None:
            return  # others follow from the first
        self._exception = error
        first = error.error if isinstance(error, WorkerFailed) else error
        self.panic(Text("".join(traceback.format_exception(first)).rstrip()))
        self._exception_event.set()


def _neighbour(steps: tuple[float, ...], value: float, by: int) -> float:
    nearest = min(range(len(steps)), key=lambda at: abs(steps[at] - value))
    return steps[max(0, min(len(steps) - 1, nearest + by))]


class _Terminal(LinuxDriver):
    """Driver of the terminal. Where standard error is elsewhere, it draws on standard output."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if sys.__stdout__ is not None and not (sys.__stderr__ is not None and sys.__stderr__.isatty()):
            self._file = sys.__stdout__

    def stop_application_mode(self) -> None:
        """Give the terminal back. tmux keeps lines of a screen that was resized, unless they are erased."""
        self.write("\x1b[H\x1b[2J")
        super().stop_application_mode()


def run(source: Source, *, period: float = 1.0) -> int:
    """Show the source on this terminal until the user has enough; close it; return the exit status.

    The status is 0 after q, 1 after an error, 130 after Ctrl-C, 143 after SIGTERM, and 129 if the terminal is gone.
    """

    async def show() -> int:
        app = MonitorApp(source, period=period, driver_class=_Terminal)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, _end, app, number)
        try:
            await app.run_async()
        finally:
            await source.aclose()
        return app.return_code or 0

    return asyncio.run(show())


def _end(app: MonitorApp, number: int) -> None:
    """End the app because of a signal."""
    if number == signal.SIGHUP:
        # The thread that writes to the terminal is dead by now, and the end may wait for it.
        last = threading.Timer(_GRACE, os._exit, [128 + number])
        last.daemon = True
        last.start()
    app.action_leave(128 + number)
