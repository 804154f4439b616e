"""Chart of connections over time, as PNG or SVG.

Owns the drawing. Never imported but for `--plot`, because no other module imports matplotlib.
"""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from aioresp.cli.demo.figures import Figures
from aioresp.cli.demo.progress import Progress


def draw(path: Path, figures: Figures, progress: Progress) -> None:
    """Write the chart to `path`, in the format of its suffix. Raises OSError."""
    picture = io.BytesIO()
    with rc_context({"font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "aioresp"}):
        _chart(figures, progress).savefig(picture, format=path.suffix.lower().removeprefix("."), dpi=150)
    path.write_bytes(picture.getvalue())


def _chart(figures: Figures, progress: Progress) -> Figure:
    chart = Figure(figsize=(10, 5.6), layout="constrained")
    axes = chart.add_subplot()
    highest = max(sample.total for sample in progress.samples)
    for phase in progress.phases:
        points = [sample for sample in progress.samples if sample.phase == phase.number]
        times, totals = [p.at for p in points], [p.total for p in points]
        axes.plot(
            times,
            totals,
            color=phase.colour,
            linewidth=2.5,
            solid_capstyle="round",
            label=f"{phase.name}: {phase.connections:,} in {phase.seconds:.1f} s",
        )
        axes.fill_between(times, totals, color=phase.colour, alpha=0.15, linewidth=0)
    title = f"The connections that {progress.count:,} SETs cost, four ways, and then 5 threads"
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel("time (seconds)")
    axes.set_ylabel("connections received by the server (total since the start)")
    axes.set_xlim(0, progress.samples[-1].at)
    axes.set_ylim(0, highest * 1.08)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", title="connections made", alignment="left", edgecolor="none", framealpha=0.9)
    chart.text(0.995, 0.005, str(figures.server), ha="right", va="bottom", fontsize=7, color="0.5")
    return chart
