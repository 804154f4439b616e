"""Table of rows that change all the time: sorted, filtered, with a cursor that stays on its row.

Owns which columns fit, which rows are shown, and where the cursor is. Draws only the lines that are visible, so ten
thousand rows cost no more than thirty. Never asks a server.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

__all__ = ["Column", "Grid", "plain"]

T = TypeVar("T")

_GAP: Final = 2


def plain(text: str) -> str:
    """Return text that moves no cursor and changes no colour: what is not printable is a dot."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "·" for each in text)


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column: how a row's cell reads, and by what the rows are sorted.

    `drop` says how early the column gives way where the terminal is narrow: the highest first, 0 never.
    `cluster` is for a column that is of use only where there are several servers.
    """

    title: str
    width: int
    text: Callable[[T], str]
    key: Callable[[T], Any]
    right: bool = False
    grow: bool = False
    drop: int = 0
    cluster: bool = False
    style: Callable[[T], str | None] | None = None


class Grid(ScrollView, Generic[T], can_focus=True):
    """Table of rows of one type."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--header",
        "grid--cursor",
        "grid--cell",
        "grid--warning",
        "grid--error",
        "grid--good",
        "grid--muted",
        "grid--stale",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "move(-1000000)", "First", show=False),
        Binding("end", "move(1000000)", "Last", show=False),
        Binding("enter", "choose", "Details", show=False),
    ]

    DEFAULT_CSS = """
    Grid {
        height: 1fr;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & > .grid--header { color: $muted; text-style: bold; }
        & > .grid--cell { color: $foreground; }
        & > .grid--warning { color: $warning; }
        & > .grid--error { color: $error; }
        & > .grid--good { color: $success; }
        & > .grid--muted { color: $muted; }
        & > .grid--stale { color: $muted; text-style: dim; }
        & > .grid--cursor { background: $cursor-back; }
    }
    Grid:ansi > .grid--cursor { background: ansi_default; text-style: reverse; }
    """

    class Chosen(Message):
        """A row was chosen, by Enter or by a click on the row that the cursor is on."""

        def __init__(self, grid: Grid[Any], row: Any) -> None:
            super().__init__()
            self.grid = grid
            self.row = row

        @property
        def control(self) -> Grid[Any]:
            """The table."""
            return self.grid

    def __init__(
        self,
        columns: Sequence[Column[T]],
        identify: Callable[[T], Hashable],
        *,
        sort: str,
        descending: bool = True,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._identify = identify
        self._sort = next(column for column in columns if column.title == sort)
        self._descending = descending
        self._all: Sequence[T] = ()
        self._rows: list[T] = []
        self._filter = ""
        self._cursor = 0
        # Identity of the row under the cursor, once the user has moved it: the cursor follows that row.
        self._followed: Hashable = None
        # True while the figures are those of a server that does not answer.
        self.stale = False
        self.cluster = False

    @property
    def rows(self) -> Sequence[T]:
        """The rows that are shown, in their order."""
        return self._rows

    @property
    def total(self) -> int:
        """Number of rows, with those that the filter hides."""
        return len(self._all)

    @property
    def filtered(self) -> str:
        """The text that rows must contain to be shown."""
        return self._filter

    @property
    def selected(self) -> T | None:
        """The row under the cursor."""
        return self._rows[self._cursor] if self._cursor < len(self._rows) else None

    @property
    def order(self) -> str:
        """The order in words."""
        return f"{self._sort.title} {'▼' if self._descending else '▲'}"

    def show(self, rows: Sequence[T], *, stale: bool = False) -> None:
        """Show these rows in place of those before."""
        self._all = rows
        self.stale = stale
        self._arrange()

    def filter(self, text: str) -> None:
        """Show only the rows in which one cell contains `text`, in upper or lower case."""
        self._filter = text
        self._arrange()

    def sort_by(self, column: Column[T]) -> None:
        """Sort by a column; by the one that it is sorted by already, the other way round."""
        if column is self._sort:
            self._descending = not self._descending
        else:
            self._sort, self._descending = column, column.right
        self._arrange()

    def sort_next(self) -> None:
        """Sort by the next of the columns that are visible."""
        visible = [column for column, _ in self._fitted()]
        titles = [column.title for column in visible]
        at = titles.index(self._sort.title) + 1 if self._sort.title in titles else 0
        chosen = visible[at % len(visible)]
        self._sort, self._descending = self._own(chosen), chosen.right
        self._arrange()

    def reverse(self) -> None:
        """Turn the order round."""
        self._descending = not self._descending
        self._arrange()

    def _own(self, column: Column[T]) -> Column[T]:
        return next(each for each in self._columns if each.title == column.title)

    def _arrange(self) -> None:
        wanted = self._filter.casefold()
        rows = self._all
        if wanted:
            rows = [row for row in rows if any(wanted in column.text(row).casefold() for column in self._columns)]
        known, unknown = [], []
        for row in rows:
            value = self._sort.key(row)
            if value is None:
                unknown.append(row)
            else:
                known.append((value, row))
        known.sort(key=lambda pair: pair[0], reverse=self._descending)
        self._rows = [row for _, row in known] + unknown
        if self._followed is not None:
            at = next((i for i, row in enumerate(self._rows) if self._identify(row) == self._followed), None)
            if at is not None:
                self._cursor = at
        self._cursor = max(0, min(self._cursor, len(self._rows) - 1))
        self._measure()
        self.refresh()

    def _measure(self) -> None:
        wanted = Size(self.size.width, len(self._rows) + 1)
        if self.virtual_size != wanted:
            self.virtual_size = wanted

    def on_resize(self) -> None:
        """Fit the columns to the new width."""
        self._measure()

    def action_move(self, steps: int) -> None:
        """Move the cursor by so many rows."""
        self._move_to(self._cursor + steps)

    def action_page(self, pages: int) -> None:
        """Move the cursor by so many pages."""
        self._move_to(self._cursor + pages * max(1, self.size.height - 2))

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        row = self.selected
        if row is not None:
            self.post_message(self.Chosen(self, row))

    def _move_to(self, index: int) -> None:
        if not self._rows:
            return
        self._cursor = max(0, min(index, len(self._rows) - 1))
        self._followed = self._identify(self._rows[self._cursor])
        visible = max(1, self.size.height - 1)
        top = round(self.scroll_y)
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif self._cursor >= top + visible:
            self.scroll_to(y=self._cursor - visible + 1, animate=False)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Sort by the header that was clicked; put the cursor on a row, or choose it."""
        if event.y == 0:
            left = 1
            for column, width in self._fitted():
                if left <= event.x < left + width + _GAP:
                    self.sort_by(self._own(column))
                    return
                left += width + _GAP
            return
        index = event.y - 1 + round(self.scroll_y)
        if index >= len(self._rows):
            return
        if index == self._cursor and self._followed is not None:
            self.action_choose()
        else:
            self._move_to(index)

    def _fitted(self) -> list[tuple[Column[T], int]]:
        """Return the columns that fit, each with its width."""
        room = self.size.width - 2
        shown = [column for column in self._columns if self.cluster or not column.cluster]
        while sum(column.width + _GAP for column in shown) - _GAP > room:
            droppable = max(shown, key=lambda column: column.drop)
            if not droppable.drop:
                break
            shown.remove(droppable)
        spare = room - (sum(column.width + _GAP for column in shown) - _GAP)
        growing = sum(column.grow for column in shown)
        found = []
        for column in shown:
            extra = spare // growing if column.grow and spare > 0 else 0
            if extra:
                spare -= extra
                growing -= 1
            found.append((column, column.width + extra))
        return found

    def render_line(self, y: int) -> Strip:
        """Draw the header, or one row."""
        base = Style(bgcolor=self.rich_style.bgcolor)
        width = self.size.width
        if y == 0:
            return Strip([*self._header()], None).adjust_cell_length(width).apply_style(base)
        index = y - 1 + round(self.scroll_y)
        if index >= len(self._rows):
            return Strip.blank(width, base)
        row = self._rows[index]
        cell = self.get_component_rich_style("grid--stale" if self.stale else "grid--cell", partial=True)
        segments = [Segment(" ", cell)]
        for column, size in self._fitted():
            text = _fit(plain(column.text(row)), size, right=column.right)
            style = cell
            if column.style is not None and not self.stale:
                kind = column.style(row)
                if kind is not None:
                    style = self.get_component_rich_style(f"grid--{kind}", partial=True)
            segments += (Segment(text, style), Segment(" " * _GAP, cell))
        strip = Strip(segments).adjust_cell_length(width, cell)
        if index == self._cursor and self.has_focus:
            cursor = self.get_component_rich_style("grid--cursor", partial=True)
            mark = Style(reverse=True) if cursor.reverse else Style(bgcolor=cursor.bgcolor)
            return Strip([Segment(each.text, (each.style or base) + mark) for each in strip])
        return strip.apply_style(base)

    def _header(self) -> list[Segment]:
        style = self.get_component_rich_style("grid--header", partial=True)
        found = [Segment(" ", style)]
        for column, size in self._fitted():
            title = column.title
            if column.title == self._sort.title:
                mark = "▼" if self._descending else "▲"
                title = f"{mark} {title}" if column.right else f"{title} {mark}"
                if cell_len(title) > size:
                    title = mark + column.title if column.right else column.title + mark
            found += (Segment(_fit(title, size, right=column.right), style), Segment(" " * _GAP, style))
        return found


def _fit(text: str, width: int, *, right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)
