"""Chart of the throughput of each shard over time, as PNG or SVG.

Owns the drawing. Never imported but for `--plot`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from aioresp.cli.failover.figures import Figures, ShardFigures
from aioresp.cli.failover.progress import Progress, Shard
from aioresp.cli.plot import write

_RED = "#B00020"
_GREEN = "#00693E"
_GREY = "0.35"

#: Ground of words, which curves may cross.
_BOX = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}

#: Seconds over which a rate is taken, so that one second looks like another.
WINDOW = 0.5


def draw(path: Path, figures: Figures, progress: Progress) -> None:
    """Write the chart to `path`, in the format of its suffix. Raises OSError."""
    write(path, lambda: _chart(figures, progress))


def _chart(figures: Figures, progress: Progress) -> Figure:
    chart = Figure(figsize=(10, 6.4), layout="constrained")
    panels = chart.subplots(len(progress.shards), sharex=True, sharey=True)
    top = max(shard.before for shard in figures.shards) * 1.7 or 1.0
    for axes, shard, found in zip(panels, progress.shards, figures.shards, strict=True):
        _panel(axes, shard, found, progress, top)
    panels[0].set_ylim(0, top)
    panels[0].set_xlim(WINDOW, progress.victim.samples[-1].at)
    panels[len(panels) // 2].set_ylabel("replies a second")
    panels[-1].set_xlabel("time (seconds)")
    others = " and ".join(shard.name for shard in progress.others)
    chart.suptitle(
        f"A primary is killed: shard {progress.victim.name} pauses for {progress.victim.paused:.1f} s, "
        f"{others} go on\n",
        fontweight="bold",
        fontsize=14,
    )
    chart.text(
        0.5,
        0.935,
        f"{figures.tasks:,} tasks share one aioresp.Cluster; each increments a counter every three seconds or so",
        ha="center",
        color=_GREY,
    )
    chart.text(
        0.995,
        0.005,
        f"six nodes, {figures.server}; node timeout {figures.node_timeout:g} s; aioresp {figures.aioresp}",
        ha="right",
        va="bottom",
        fontsize=7,
        color="0.5",
    )
    return chart


def _panel(axes: Any, shard: Shard, found: ShardFigures, progress: Progress, top: float) -> None:
    times, rates = [sample.at for sample in shard.samples[1:]], shard.rates(window=WINDOW)
    axes.plot(times, rates, color=shard.colour, linewidth=2, solid_capstyle="round")
    axes.fill_between(times, rates, color=shard.colour, alpha=0.15, linewidth=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    errors = f"{found.errors:,} error{'' if found.errors == 1 else 's'}"
    axes.text(
        0.008,
        0.95,
        f"shard {shard.name}",
        transform=axes.transAxes,
        va="top",
        color=shard.colour,
        fontweight="bold",
        fontsize=12,
    )
    axes.text(
        0.995,
        0.95,
        f"longest pause {found.longest_pause:.2f} s, {errors}",
        transform=axes.transAxes,
        va="top",
        ha="right",
        color=_GREY,
        bbox=_BOX,
    )
    killed, promoted = progress.killed_at or 0.0, progress.promoted_at or 0.0
    for moment, colour in ((killed, _RED), (promoted, _GREEN)):
        axes.axvline(moment, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
    if shard is progress.victim:
        axes.axvspan(killed, promoted, color=_RED, alpha=0.07, linewidth=0)
        _say(axes, killed - 0.1, top * 0.3, f"{shard.primary}\nis killed", _RED, "right")
        _say(axes, promoted + 0.75, top * 0.3, f"{shard.replica}\nis promoted", _GREEN, "left")
        waited = max((sample.waiting for sample in shard.samples), default=0)
        words = f"up to {waited:,} calls wait;\nall of them are answered"
        _say(axes, (killed + promoted) / 2, top * 0.6, words, _GREY, "center")


def _say(axes: Any, x: float, y: float, words: str, colour: str, side: str) -> None:
    axes.text(x, y, words, ha=side, va="center", color=colour, fontsize=9, bbox=_BOX)
