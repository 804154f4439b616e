"""The picture: commands per second by way and client, on a log axis, a panel for each number of tasks, over TCP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from aioresp.cli.plot import LIGHT, Theme, write

from .ways import WAYS

#: Colours of Okabe and Ito, which colour-blind people can tell apart.
COLOURS = {
    "aioresp": "#009E73",
    "redis-py": "#D55E00",
    "valkey-py": "#E69F00",
    "coredis": "#0072B2",
    "valkey-glide": "#CC79A7",
}

LABELS = {
    "shared": "shared\npool",
    "classic": "classic\npool of 10",
    "job": "client for\neach job",
    "fresh": "fresh\neach time",
}


def draw(path: Path, facts: Mapping[str, Any], cells: Sequence[Any], theme: Theme = LIGHT) -> None:
    write(path, lambda: _chart(facts, cells, theme), theme)


def _chart(facts: Mapping[str, Any], cells: Sequence[Any], theme: Theme) -> Figure:
    transport = cells[0].transport
    here = [cell for cell in cells if cell.transport == transport and cell.rates]
    counts = list(dict.fromkeys(cell.tasks for cell in here))
    clients = list(facts["clients"])
    chart = Figure(figsize=(12, 3.4 * ((len(counts) + 1) // 2) + 1.6))
    top = 1 - 1.6 / chart.get_figheight()
    chart.subplots_adjust(left=0.075, right=0.985, top=top, bottom=0.085, wspace=0.06, hspace=0.42)
    panels = chart.subplots((len(counts) + 1) // 2, min(len(counts), 2), sharey=True, squeeze=False).flatten()
    for axes, tasks in zip(panels, counts, strict=False):
        title = f"{tasks:,} task{'' if tasks == 1 else 's'}"
        _panel(axes, [cell for cell in here if cell.tasks == tasks], clients, title)
    for axes in panels[len(counts) :]:
        axes.set_visible(False)
    head = "Commands a second, by way and client"
    chart.text(0.015, 1 - 0.2 / chart.get_figheight(), head, fontsize=18, fontweight="bold", va="top")
    patches: list[Artist] = [Patch(color=COLOURS[client]) for client in clients]
    place = (0.008, 1 - 0.78 / chart.get_figheight())
    chart.legend(
        patches, clients, loc="upper left", ncols=len(clients), frameon=False, fontsize=13, bbox_to_anchor=place
    )
    said = f"SET over {transport.upper()}, log axis; {facts['server']}, medians"
    chart.text(0.015, 1 - 0.58 / chart.get_figheight(), said, fontsize=12, color=theme.soft, va="top")
    return chart


def _panel(axes: Any, cells: Sequence[Any], clients: Sequence[str], title: str) -> None:
    width = 0.82 / len(clients)
    for column, client in enumerate(clients):
        for row, way in enumerate(WAYS):
            rates = [cell.median("rates") for cell in cells if (cell.client, cell.way) == (client, way)]
            if rates:
                x = row + (column - (len(clients) - 1) / 2) * width
                axes.bar(x, rates[0], width * 0.92, color=COLOURS[client])
    axes.set_yscale("log")
    axes.set_title(title, loc="left", fontsize=14, fontweight="bold")
    axes.set_xticks(range(len(WAYS)), [LABELS[way] for way in WAYS], fontsize=11.5)
    axes.set_yticks([100, 1_000, 10_000, 100_000], ["100", "1,000", "10,000", "100,000"], fontsize=11.5)
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.grid(axis="y", alpha=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
