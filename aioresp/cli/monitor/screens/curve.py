"""Curve of the last seconds, drawn in blocks as wide and as high as its place.

Owns the mapping from values to rows of eighths of a block. Never asks a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

__all__ = ["Curve", "heights"]

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


def heights(values: Sequence[float | None], width: int, height: int, low: float, high: float) -> list[int | None]:
    """Return how many eighths of a row each of the last `width` values fills, of `height` rows; None is a gap.

    The newest value is the last column. A value at `low`, and one of a curve that is flat, is still one eighth: a
    line that lies on the ground, so that it differs from a gap.
    """
    shown = values[-width:] if width > 0 else ()
    most = height * 8
    span = high - low
    found: list[int | None] = [None] * (width - len(shown))
    for value in shown:
        if value is None:
            found.append(None)
        else:
            part = (value - low) / span if span > 0 else 0.0
            found.append(max(1, min(most, round(part * most))))
    return found


class Curve(Widget):
    """One curve.

    `floor` is the value of its lowest line, None for the lowest that is shown. `least` is the smallest difference
    between the lowest and the highest line: a curve of 3, 3, 4 is nearly flat where `least` is 10. `high` is the
    value of the highest line; without it that is the highest value, times `room`. A `hero` is brighter.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"curve--edge", "curve--body"}

    DEFAULT_CSS = """
    Curve {
        height: 1fr;
        min-height: 1;
        & > .curve--edge { color: $calm; }
        & > .curve--body { color: $calm-body; }
        &.-hero > .curve--edge { color: $curve; }
        &.-hero > .curve--body { color: $curve-body; }
        &.-warning.-warning > .curve--edge { color: $curve-warning; }
        &.-warning.-warning > .curve--body { color: $curve-warning-body; }
        &.-stale.-stale > .curve--edge { color: $curve-quiet; }
        &.-stale.-stale > .curve--body { color: $curve-quiet; }
    }
    """

    def __init__(
        self,
        *,
        floor: float | None = 0.0,
        least: float = 0.0,
        high: float | None = None,
        room: float = 1.0,
        hero: bool = False,
    ) -> None:
        super().__init__(classes="-hero" if hero else None)
        self._headroom = room
        self._floor = floor
        self._least = least
        self._high = high
        self._values: Sequence[float | None] = ()
        self._columns: tuple[int, int, list[int | None]] | None = None

    @property
    def peak(self) -> float | None:
        """The highest value that is on the screen."""
        return max((value for value in self._shown() if value is not None), default=None)

    @property
    def lowest(self) -> float | None:
        """The lowest value that is on the screen."""
        return min((value for value in self._shown() if value is not None), default=None)

    @property
    def rising(self) -> float:
        """Difference between the last value on the screen and the first."""
        known = [value for value in self._shown() if value is not None]
        return known[-1] - known[0] if known else 0.0

    def show(self, values: Sequence[float | None]) -> None:
        """Draw these values, of which the last is the newest."""
        self._values = values
        self._columns = None
        self.refresh()

    def _shown(self) -> Sequence[float | None]:
        return self._values[-self.size.width :] if self.size.width else self._values

    def _filled(self) -> list[int | None]:
        width, height = self.size
        if self._columns is None or self._columns[:2] != (width, height):
            low = self._floor if self._floor is not None else (self.lowest or 0.0)
            high = self._high if self._high is not None else max((self.peak or 0.0) * self._headroom, low + self._least)
            self._columns = (width, height, heights(self._values, width, height, low, high))
        return self._columns[2]

    def render_line(self, y: int) -> Strip:
        """Draw one row; the higher a row is, the brighter."""
        rows = self.size.height
        below = (rows - 1 - y) * 8
        filled = self._filled()
        text = "".join(_EIGHTHS[max(0, min(8, (eighths or 0) - below))] for eighths in filled)
        is_low = max((each for each in filled if each is not None), default=0) <= 8  # a line, which must be seen
        style = self._shade(1.0 if is_low else (rows - 1 - y) / (rows - 1))
        return Strip([Segment(text.rjust(self.size.width), style)], self.size.width)

    def _shade(self, share: float) -> Style:
        """Return the style of a row that is so far up."""
        body = self.get_component_styles("curve--body").color
        edge = self.get_component_styles("curve--edge").color
        mixed = edge if body.ansi is not None or edge.ansi is not None else body.blend(edge, share)
        return Style(color=mixed.rich_color, bgcolor=self.rich_style.bgcolor)
