"""Pane: one of the monitor's screens, and the kind of pane that is a table of what a source lists.

Owns the line above a table, its filter, and its empty state. Never asks a server but through the source.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from aioresp.cli.monitor.rows import Listing
from aioresp.cli.monitor.screens.grid import Grid
from aioresp.cli.monitor.screens.parts import Figure, Line
from aioresp.cli.monitor.source import Source

__all__ = ["FilterInput", "Pane", "TablePane"]

T = TypeVar("T")


class Pane(Vertical):
    """One of the screens. The app calls `update` from time to time while the pane is visible."""

    DEFAULT_CSS = """
    Pane { height: 1fr; }
    Pane > .sentence { padding: 1 2; color: $muted; height: auto; width: 1fr; }
    Pane > .lacks { padding: 0 1; color: $warning; height: auto; }
    Pane > Line { padding: 0 1; }
    """

    #: Keys that do something in this pane: the key, a word, and the action.
    hints: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    #: Set by the first `update`, which comes even while the screen stands still.
    was_updated: bool = False

    @property
    def grid(self) -> Grid[Any] | None:
        """The table that is sorted and filtered."""
        return None

    async def update(self, source: Source, *, node: str, stale: bool, now: bool = False) -> None:
        """Show what there is at this moment. `node` is the address of the node that alone is wanted, or ""."""

    def focus_main(self) -> None:
        """Give the keys to the table."""
        if self.grid is not None and self.grid.display:
            self.grid.focus()
        else:
            self.screen.set_focus(None)

    def details(self, row: Any) -> tuple[str, list[Figure]] | None:
        """Return the title and the lines of a row's details."""
        return None

    def go(self) -> None:
        """Start what runs on demand only, or stop it."""

    def fast(self) -> None:
        """Let what runs on demand run at full speed, or no longer."""


class FilterInput(Input):
    """Text that rows must contain: Enter keeps it, Esc drops it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "drop", "Drop", show=False)]

    DEFAULT_CSS = """
    FilterInput, FilterInput:focus { height: 1; border: none; padding: 0 1; display: none; background: $panel; }
    """

    def action_drop(self) -> None:
        """Show all rows again."""
        self.value = ""
        self.display = False
        pane = self.parent
        if isinstance(pane, Pane):
            if pane.grid is not None:
                pane.grid.filter("")
            pane.focus_main()


class TablePane(Pane, Generic[T]):
    """A table of what one method of the source lists."""

    hints: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("/", "filter", "filter"),
        ("s", "sort", "sort"),
        ("r", "reverse", "reverse"),
        ("⏎", "details", "details"),
    )

    def __init__(
        self,
        name: str,
        grid: Grid[T],
        fetch: Callable[[Source, bool], Awaitable[Listing[T]]],
        *,
        noun: str,
        empty: str,
        describe: Callable[[T], tuple[str, list[Figure]]],
        node_of: Callable[[T], str] = lambda row: "",
        merge: Callable[[list[T]], list[T]] = lambda rows: rows,
    ) -> None:
        """`noun` is the plural of what the rows are; `merge` makes one row of those of several nodes."""
        super().__init__(id=name)
        self._grid = grid
        self._fetch = fetch
        self._noun = noun
        self._empty = empty
        self._describe = describe
        self._node_of = node_of
        self._merge = merge
        self._last: tuple[object, str, bool] | None = None
        # The last rows of a server that answered.
        self._known: list[T] = []
        self.line = Line(kind="muted")
        self.sentence = Static(empty, classes="sentence", markup=False)
        self.lacks = Static("", classes="lacks", markup=False)

    @property
    def grid(self) -> Grid[T]:
        """The table."""
        return self._grid

    def compose(self) -> ComposeResult:
        """Put the line above the table, and the filter below it."""
        yield self.line
        yield self.lacks
        yield self.sentence
        yield self._grid
        yield FilterInput(placeholder="show rows that contain ...")

    def on_mount(self) -> None:
        """Begin without rows."""
        self.lacks.display = False
        self.sentence.update(f"Asking the server for its {self._noun} ...")
        self._grid.display = False

    async def update(self, source: Source, *, node: str, stale: bool, now: bool = False) -> None:
        """List the rows again, and show them if they are others."""
        listing = await self._fetch(source, now)
        state = (listing, node, stale)
        if self._last is not None and self._last[0] is listing and self._last[1:] == state[1:]:
            self._describe_rows(listing)
            return
        self._last = state
        if stale and not listing.rows:
            rows = list(self._known)  # of a server that does not answer, the last rows stay
        else:
            rows = [row for row in listing.rows if not node or self._node_of(row) == node]
            rows = rows if node else self._merge(rows)
            self._known = rows
        had_focus = self._grid.has_focus
        self._grid.show(rows, stale=stale)
        self._grid.display = bool(rows)
        self.sentence.display = not rows and not listing.lacks
        self.sentence.update(self._empty)
        self.lacks.display = bool(listing.lacks)
        self.lacks.update(listing.lacks)
        self._describe_rows(listing)
        focused = self.screen.focused
        if rows and not had_focus and self.is_on_top and not isinstance(focused, Input):
            self._grid.focus()

    @property
    def is_on_top(self) -> bool:
        """Whether this is the pane that is visible."""
        return bool(self.display) and self.is_attached and self.app.screen is self.screen

    def _describe_rows(self, listing: Listing[T]) -> None:
        grid = self._grid
        shown = f"{len(grid.rows):,} of {grid.total:,}" if grid.filtered else f"{grid.total:,}"
        left = f"{shown} {self._noun.removesuffix('s') if shown == '1' else self._noun}"
        if grid.filtered:
            left += f" contain “{grid.filtered}”"  # it is a quotation
        if listing.note:
            left += f"   {listing.note}"
        self.line.show(left, f"by {grid.order}" if grid.total else "", kind="muted", right_kind="muted")

    def details(self, row: T) -> tuple[str, list[Figure]]:
        """Return the title and the lines of a row's details."""
        return self._describe(row)

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        self._grid.filter(event.value)
        if self._last is not None and isinstance(self._last[0], Listing):
            self._describe_rows(self._last[0])

    @on(Input.Submitted)
    def _keep_filter(self, event: Input.Submitted) -> None:
        event.input.display = bool(event.value)
        self._grid.focus()
