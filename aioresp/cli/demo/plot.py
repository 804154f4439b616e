"""Chart of the lanes: connections and seconds, as bars on log axes.

Owns the drawing. Never imported but for `--plot`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from aioresp.cli.demo.figures import Figures, WayFigures
from aioresp.cli.demo.progress import BASE, HERO
from aioresp.cli.demo.words import how, sentence, short
from aioresp.cli.plot import LIGHT, Theme, write

#: Colours of the two lanes that the sentence names, on light and on dark.
_COLOURS: Final = {HERO: "#009E73", BASE: "#D55E00"}

#: Points of the words: at half the size they must be legible, too.
_LARGE, _MEDIUM, _SMALL = 19, 15, 10


def draw(path: Path, figures: Figures, theme: Theme = LIGHT) -> None:
    """Write the chart to `path`, in the format of its suffix. Raises OSError."""
    write(path, lambda: _chart(figures, theme), theme)


def _chart(figures: Figures, theme: Theme) -> Figure:
    chart = Figure(figsize=(12, 5.6))
    lanes = figures.lanes
    chart.subplots_adjust(left=0.275, right=0.985, top=0.745, bottom=0.09, wspace=0.08)
    left, right = chart.subplots(1, 2, sharey=True)
    _bars(left, lanes, theme, "connections", [lane.connections for lane in lanes], lambda value: f"{value:,.0f}")
    _bars(right, lanes, theme, "seconds", [lane.seconds for lane in lanes], lambda value: f"{short(value)} s")
    left.set_yticks(range(len(lanes)), [lane.name for lane in lanes], fontsize=_MEDIUM)
    left.invert_yaxis()
    for label, lane in zip(left.get_yticklabels(), lanes, strict=True):
        label.set_color(_COLOURS.get(lane.number, theme.ink))
        label.set_fontweight("bold" if lane.number in _COLOURS else "normal")
    chart.text(0.015, 0.955, sentence(figures), fontsize=_LARGE, fontweight="bold", va="top")
    what = f"{figures.count:,} SETs from as many tasks in each lane, {how(figures.race.in_turn)}"
    below = f"{what}. Less is better, on log axes."
    chart.text(0.015, 0.87, below, fontsize=13, color=theme.soft, va="top")
    redis_py = f", redis-py {figures.redis_py}" if figures.redis_py else ""
    server = f"{figures.server.flavour} {figures.server.version}"
    facts = f"aioresp {figures.aioresp}{redis_py}, Python {figures.python}, {server}"
    chart.text(0.985, 0.02, facts, fontsize=_SMALL, color=theme.soft, ha="right", va="bottom")
    return chart


def _bars(
    axes: Any,
    lanes: Sequence[WayFigures],
    theme: Theme,
    title: str,
    values: Sequence[float],
    said: Callable[[float], str],
) -> None:
    # The shortest bar has a third of a decade, and the words of the longest have room.
    low, high = min(values) / 2.5, max(values) * 9
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    colours = [_COLOURS.get(lane.number, theme.bar) for lane in lanes]
    axes.barh(range(len(lanes)), [value - low for value in values], left=low, height=0.66, color=colours)
    for row, (lane, value) in enumerate(zip(lanes, values, strict=True)):
        axes.annotate(
            said(value),
            (value, row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=_MEDIUM,
            fontweight="bold" if lane.number in _COLOURS else "normal",
        )
    axes.set_title(title, loc="left", fontsize=_MEDIUM, color=theme.soft, pad=8)
    axes.tick_params(length=0, labelbottom=False, which="both")
    axes.grid(axis="x", which="major", alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
