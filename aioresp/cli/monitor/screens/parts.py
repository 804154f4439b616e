"""Small parts of the screens: a line with two ends, figures with their names, a card, the bar of tabs.

Owns how they are drawn. Never knows a server's figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from aioresp.cli.monitor.screens.curve import Curve

__all__ = ["Card", "Figure", "Figures", "Hints", "Line", "Progress", "Scrubber", "TabBar", "cut"]

#: A figure: its name, its value, and how it is: "", "warning", "error" or "good".
Figure = tuple[str, str] | tuple[str, str, str]

#: Columns between two figures of a line.
_APART: Final = 2

_KINDS: Final = {
    "part--text",
    "part--label",
    "part--strong",
    "part--muted",
    "part--warning",
    "part--error",
    "part--good",
    "part--stale",
}

_COLOURS: Final = """
        & > .part--text { color: $foreground; }
        & > .part--label { color: $muted; }
        & > .part--strong { color: $foreground; text-style: bold; }
        & > .part--muted { color: $muted; }
        & > .part--warning { color: $warning; text-style: bold; }
        & > .part--error { color: $error; text-style: bold; }
        & > .part--good { color: $success; }
        & > .part--stale { color: $muted; text-style: dim; }
"""


class _Drawn(Widget):
    """Widget that is drawn line by line in the styles of its parts."""

    stale: bool = False

    def _style(self, kind: str) -> Style:
        if self.stale:
            kind = "stale"
        return self.get_component_rich_style(f"part--{kind}", partial=True)

    def _strip(self, segments: list[Segment]) -> Strip:
        base = Style(bgcolor=self.rich_style.bgcolor)
        return Strip(segments).adjust_cell_length(self.size.width).apply_style(base)


class Line(_Drawn):
    """One line with a text at the left and a text at the right; the left one is cut where both do not fit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = _KINDS
    DEFAULT_CSS = "Line { height: 1; " + _COLOURS + "}"

    def __init__(self, left: str = "", right: str = "", *, kind: str = "text", id: str | None = None) -> None:
        super().__init__(id=id)
        self._texts = (left, right, kind, "strong")

    def show(self, left: str, right: str = "", *, kind: str = "text", right_kind: str = "strong") -> None:
        """Show these texts."""
        if self._texts != (left, right, kind, right_kind):
            self._texts = (left, right, kind, right_kind)
            self.refresh()

    @property
    def text(self) -> str:
        """Both texts, as they are."""
        return f"{self._texts[0]} {self._texts[1]}".strip()

    def render_line(self, y: int) -> Strip:
        """Draw the line."""
        left, right, kind, right_kind = self._texts
        width = self.size.width
        if cell_len(right) > width:
            right = cut(right, width)
        room = width - cell_len(right) - (1 if right else 0)
        if cell_len(left) > room:
            left = cut(left, room)
        space = " " * max(0, width - cell_len(left) - cell_len(right))
        return self._strip(
            [
                Segment(left, self._style(kind)),
                Segment(space, self._style("text")),
                Segment(right, self._style(right_kind)),
            ]
        )


class Figures(_Drawn):
    """Figures with their names, in lines that are given, or one a line in two columns (`stacked`).

    A figure that does not fit is left out whole, the last of its line first.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = _KINDS
    DEFAULT_CSS = "Figures { height: 2; " + _COLOURS + "}"

    def __init__(self, *, stacked: bool = False) -> None:
        super().__init__()
        self._stacked = stacked
        self._lines: Sequence[Sequence[Figure]] = ()

    def show(self, lines: Sequence[Sequence[Figure]]) -> None:
        """Show these figures, in each line the most important first."""
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    @property
    def text(self) -> str:
        """All figures, those included that do not fit."""
        return "  ".join(f"{figure[0]} {figure[1]}" for line in self._lines for figure in line)

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        segments: list[Segment] = []
        if y < len(self._lines):
            names = [cell_len(line[0][0]) for line in self._lines if line]
            widest = max(names, default=0) if self._stacked else 0
            left = self.size.width
            for figure in self._lines[y]:
                name, value = figure[0], figure[1]
                kind = figure[2] if len(figure) == 3 and figure[2] else "text"
                gap = " " * (widest - cell_len(name) + 2) if self._stacked else " " if name else ""
                room = left - cell_len(name) - cell_len(gap)
                if self._stacked:
                    value = cut(value, room)
                elif cell_len(value) > room:
                    break
                segments += (
                    Segment(f"{name}{gap}", self._style("label")),
                    Segment(value, self._style(kind)),
                    Segment(" " * _APART, self._style("text")),
                )
                left = room - cell_len(value) - _APART
            segments = segments[:-1]
        return self._strip(segments)


class Card(Vertical):
    """A subject with its most important figure at the right, a curve if it has one, and further figures."""

    DEFAULT_CSS = """
    Card {
        background: $surface;
        padding: 0 1;
        & > Line { text-style: bold; }
    }
    """

    def __init__(self, title: str, curve: Curve | None = None, *, id: str, lines: int = 2) -> None:
        super().__init__(id=id)
        self._title = title
        self.head = Line(title, kind="strong")
        self.curve = curve
        self.figures = Figures(stacked=curve is None)
        self.figures.styles.height = "1fr" if curve is None else lines

    def compose(self) -> ComposeResult:
        """Put the parts one below another."""
        yield self.head
        if self.curve is not None:
            yield self.curve
        yield self.figures

    def show(
        self,
        figure: str,
        values: Sequence[float | None],
        figures: Sequence[Sequence[Figure]],
        *,
        kind: str = "strong",
        stale: bool = False,
    ) -> None:
        """Show the figures of this moment; `stale` ones are those of the last moment that is known."""
        for part in (self.head, self.figures):
            if part.stale != stale:
                part.stale = stale
                part.refresh()
        self.head.show(self._title, figure, kind="strong", right_kind=kind)
        if self.curve is not None:
            self.curve.set_class(kind == "warning" and not stale, "-warning")
            self.curve.set_class(stale, "-stale")
            self.curve.show(values)
        self.figures.show(figures)

    @property
    def text(self) -> str:
        """All texts of the card."""
        return f"{self.head.text}  {self.figures.text}"


class TabBar(_Drawn):
    """Names of the screens with their keys; a click opens one."""

    COMPONENT_CLASSES: ClassVar[set[str]] = _KINDS | {"part--active"}
    DEFAULT_CSS = (
        "TabBar { height: 1; background: $panel; "
        + _COLOURS
        + "& > .part--active { color: $background; background: $primary; text-style: bold; } }"
        + "TabBar:ansi > .part--active { color: ansi_default; background: ansi_default; text-style: bold reverse; }"
    )

    class Opened(Message):
        """A tab was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.tab = name

    def __init__(self, names: Sequence[tuple[str, str]], active: str) -> None:
        super().__init__()
        self._names = names
        self._active = active

    def show(self, names: Sequence[tuple[str, str]], active: str) -> None:
        """Show these tabs: the key and the name of each."""
        if (names, active) != (self._names, self._active):
            self._names, self._active = names, active
            self.refresh()

    def _places(self) -> list[tuple[int, int, str, str]]:
        """Return where each tab begins and ends."""
        found = []
        gap = 2 if sum(len(name) + 4 for _, name in self._names) <= self.size.width else 1
        left = 0
        for key, name in self._names:
            label = f"{key} {name}"
            width = len(label) + gap
            found.append((left, left + width, name, f" {label}" + " " * (gap - 1)))
            left += width
        return found

    def render_line(self, y: int) -> Strip:
        """Draw the tabs."""
        return self._strip(
            [
                Segment(text, self._style("active" if name == self._active else "muted"))
                for _, _, name, text in self._places()
            ]
        )

    def on_click(self, event: events.Click) -> None:
        """Open the tab that was clicked."""
        for begin, end, name, _ in self._places():
            if begin <= event.x < end:
                self.post_message(self.Opened(name))


class Hints(_Drawn):
    """The keys that do something here, in one line; a click does the same."""

    COMPONENT_CLASSES: ClassVar[set[str]] = _KINDS
    DEFAULT_CSS = "Hints { height: 1; background: $panel; " + _COLOURS + "}"

    def __init__(self) -> None:
        super().__init__()
        self._hints: Sequence[tuple[str, str, str]] = ()

    def show(self, hints: Sequence[tuple[str, str, str]]) -> None:
        """Show these hints: the key, what it does in a word, and the action of the app. The last ones may not fit."""
        if hints != self._hints:
            self._hints = hints
            self.refresh()

    def _places(self) -> list[tuple[int, int, tuple[str, str, str]]]:
        found, left = [], 1
        for hint in self._hints:
            width = cell_len(f"{hint[0]} {hint[1]}")
            if left + width > self.size.width:
                break
            found.append((left, left + width, hint))
            left += width + 2
        return found

    def render_line(self, y: int) -> Strip:
        """Draw the hints."""
        segments = [Segment(" ", self._style("text"))]
        for _, _, (key, label, _) in self._places():
            segments += (Segment(key, self._style("strong")), Segment(f" {label}  ", self._style("muted")))
        return self._strip(segments)

    async def on_click(self, event: events.Click) -> None:
        """Do what the hint says that was clicked."""
        for begin, end, (_, _, action) in self._places():
            if begin <= event.x < end:
                await self.app.run_action(action)


class Progress(_Drawn):
    """Progress as a bar between two texts."""

    COMPONENT_CLASSES: ClassVar[set[str]] = _KINDS | {"part--done", "part--rest"}
    DEFAULT_CSS = (
        "Progress { height: 1; padding: 0 1; "
        + _COLOURS
        + "& > .part--done { color: $primary; } & > .part--rest { color: $frame; } }"
    )

    def __init__(self) -> None:
        super().__init__()
        self._texts = ("", "")
        self._share = 0.0

    def show(self, left: str, share: float, right: str) -> None:
        """Show a share, 0 to 1, between two texts."""
        if ((left, right), share) != (self._texts, self._share):
            self._texts, self._share = (left, right), share
            self.refresh()

    def _room(self) -> tuple[int, int]:
        left = cell_len(self._texts[0]) + 1
        return left, max(1, self.size.width - left - cell_len(self._texts[1]) - 1)

    def render_line(self, y: int) -> Strip:
        """Draw the bar between its texts."""
        _, room = self._room()
        done = round(self._share * (room - 1))
        return self._strip(
            [
                Segment(f"{self._texts[0]} ", self._style("strong")),
                Segment("━" * done + "●", self._style("done")),
                Segment("─" * (room - done - 1), self._style("rest")),
                Segment(f" {self._texts[1]}", self._style("muted")),
            ]
        )


class Scrubber(Progress):
    """Position in a recording; a click seeks."""

    class Sought(Message):
        """A place was clicked: a share of the recording, 0 to 1."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    def on_click(self, event: events.Click) -> None:
        """Seek to the place that was clicked."""
        left, room = self._room()
        share = (event.x - self.styles.padding.left - left) / max(1, room - 1)
        self.post_message(self.Sought(max(0.0, min(1.0, share))))


def cut(text: str, width: int) -> str:
    """Return the text, or as much as fits with an ellipsis at its end."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…" if width > 1 else ""
