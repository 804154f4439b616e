"""Dialogs of the monitor: help, details of a row, warnings in full, and the question before a client is killed.

Owns their texts and keys. Never asks a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from aioresp.cli.monitor.rows import Notice
from aioresp.cli.monitor.screens.grid import plain
from aioresp.cli.monitor.screens.parts import Figure
from aioresp.cli.monitor.screens.units import UNKNOWN

__all__ = ["Confirm", "Details", "Help", "Warnings"]

_CSS: Final = """
    {name} {{ align: center middle; }}
    {name} > .box {{
        width: 76; max-width: 96%; height: auto; max-height: 96%;
        background: $surface; border: round $primary; border-title-color: $primary; border-title-style: bold;
        padding: 1 2;
    }}
    {name} .row {{ height: auto; }}
    {name} .row > .name {{ width: 24; color: $muted; }}
    {name} .row > .value {{ width: 1fr; height: auto; }}
    {name} .warning {{ color: $warning; }}
    {name} .error {{ color: $error; }}
    {name} .foot {{ color: $muted; margin-top: 1; }}
    {name} .none {{ margin-top: 0; }}
    {name} .head {{ text-style: bold; color: $primary; margin-top: 1; }}
    {name} Horizontal.buttons {{ height: auto; align-horizontal: right; margin-top: 1; }}
    {name} Button {{ margin-left: 2; }}
"""


class _Dialog(ModalScreen[bool]):
    """A box in front of the screens, which Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "Close", show=False),
        Binding("ctrl+c", "app.interrupt", "Interrupt", show=False, priority=True),
    ]

    def action_close(self) -> None:
        """Close the dialog."""
        self.dismiss(False)


def _rows(lines: Sequence[Figure]) -> list[Horizontal]:
    return [
        Horizontal(
            Static(line[0], classes="name", markup=False),
            Static(plain(line[1]), classes=f"value {line[2] if len(line) == 3 else ''}", markup=False),
            classes="row",
        )
        for line in lines
    ]


class Details(_Dialog):
    """All that is known of one row."""

    DEFAULT_CSS = _CSS.format(name="Details")

    def __init__(self, title: str, lines: Sequence[Figure]) -> None:
        super().__init__()
        self._title = title
        self.lines = lines

    def compose(self) -> ComposeResult:
        """Put the lines one below another."""
        with VerticalScroll(classes="box") as box:
            # A text would be read as markup: a key may be named "[/]", or like a link.
            box.border_title = Text(plain(self._title) or UNKNOWN)
            yield from _rows(self.lines)
            yield Static("Esc closes", classes="foot")


class Confirm(_Dialog):
    """The question whether a client is to be killed: y does it, n and Esc do not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "agree", "Yes", show=False),
        Binding("n,escape,q", "close", "No", show=False),
        Binding("left,right", "other", "Other", show=False),
    ]

    DEFAULT_CSS = _CSS.format(name="Confirm")

    def __init__(self, question: str, lines: Sequence[Figure]) -> None:
        super().__init__()
        self._question = question
        self.lines = lines

    def compose(self) -> ComposeResult:
        """Show whom it is about, and both answers; No has the focus."""
        with Vertical(classes="box") as box:
            box.border_title = self._question
            yield from _rows(self.lines)
            yield Static("Its connection is closed at once; most clients connect again by themselves.", classes="foot")
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no", compact=True)
                yield Button("Kill (y)", id="yes", variant="error", compact=True)

    def on_mount(self) -> None:
        """Let Enter say No."""
        self.query_one("#no", Button).focus()

    def action_other(self) -> None:
        """Go to the other answer."""
        self.focus_next()

    def action_agree(self) -> None:
        """Kill it."""
        self.dismiss(True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the answer."""
        self.dismiss(event.button.id == "yes")


class Warnings(_Dialog):
    """All warnings of this moment, each with the page that tells more."""

    DEFAULT_CSS = _CSS.format(name="Warnings")

    def __init__(self, notices: Sequence[Notice]) -> None:
        super().__init__()
        self._notices = notices

    def compose(self) -> ComposeResult:
        """Put the warnings one below another."""
        with VerticalScroll(classes="box") as box:
            box.border_title = "warnings"
            if not self._notices:
                yield Static("Nothing is wrong at present, as far as this monitor can see.", markup=False)
            for notice in self._notices:
                kind = "error" if notice.level == "critical" else "warning"
                where = f"{notice.node}: " if notice.node else ""
                yield Static(f"! {where}{plain(notice.text)}", classes=kind, markup=False)
                yield Static(
                    f"  the page {notice.page} of the documentation tells more", classes="foot none", markup=False
                )
            yield Static("Esc closes", classes="foot")


#: All keys, by what they are about.
KEYS: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    (
        "everywhere",
        (
            ("1 to 8, Tab", "go to a screen; a click on its name does the same"),
            ("space", "freeze the screen; the server is read all the same"),
            ("+  -", "read more, or less, often; play a recording faster, or slower"),
            ("w", "all warnings, each with the page that tells more"),
            ("t  ?  q", "light or dark; this help; quit"),
        ),
    ),
    (
        "tables",
        (
            ("arrows, Enter", "choose a row, and see its details; of a node, its screens"),
            ("/", "show only rows that contain a text; Esc shows all again"),
            ("s  r", "sort by the next column; turn round; a click on a header too"),
            ("u", "ask the server at once"),
        ),
    ),
    (
        "some screens",
        (
            ("K", "Clients: kill the client under the cursor, after a question"),
            ("g", "Keys: scan, stop, go on. Monitor: run for ten seconds, stop"),
            ("F", "Keys: scan at full speed, or gently again"),
            ("Esc", "Nodes: back from one node to the whole cluster"),
        ),
    ),
    ("recordings", (("left, right", "ten seconds back, or on; with Shift a minute"),)),
)


class Help(_Dialog):
    """All keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark", "close", "Close", show=False)]

    DEFAULT_CSS = _CSS.format(name="Help") + (
        "Help > .box { width: 82; max-width: 100%; padding: 0 1; } Help .row > .name { width: 15; }"
        "Help .head { margin-top: 0; }"
    )

    def compose(self) -> ComposeResult:
        """Put the keys one below another."""
        with VerticalScroll(classes="box") as box:
            box.border_title = "keys"
            box.border_subtitle = "Esc closes"
            for subject, keys in KEYS:
                yield Static(subject, classes="head")
                yield from _rows(keys)
