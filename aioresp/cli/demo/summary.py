"""Summary table at the end of a demo run.

Owns the layout and the wording of the figures on a terminal. Never measures.
"""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aioresp.cli.demo.figures import Figures
from aioresp.cli.demo.progress import NAMES_AND_COLOURS


def print_summary(console: Console, figures: Figures) -> None:
    """Print the table of the ways, and what the threads and the keys came to."""
    console.print(_table(figures))
    threads = figures.threads
    rounds = ", ".join(
        f"{each.connections:,} connections in round {number}" for number, each in enumerate(threads.rounds, 1)
    )
    lines = [
        "",
        f"{threads.threads} threads, an event loop each, one Client(limit={threads.limit}, concurrency=1):",
        f"{rounds}, of {threads.sets_a_round:,} SETs each.",
        "",
    ]
    if figures.strangers > 0:
        lines.append(f"{figures.strangers:,} of the connections counted were made by others meanwhile.")
    lines.append(f"The {figures.keys.deleted:,} keys under {figures.keys.prefix} are deleted.")
    for line in lines:
        console.print(Text(line), highlight=False)


def _table(figures: Figures) -> Table:
    table = Table(
        title=f"{figures.count:,} SETs of fresh random keys from concurrent tasks",
        title_justify="left",
        title_style="bold",
        caption="p50, p99: from wanting a SET to its reply, the wait in line included",
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("")
    for heading in ("time", "ops/s", "connections", "p50 ms", "p99 ms", "speed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for way in figures.ways:
        table.add_row(
            Text(f"{way.number} {way.name}", style=NAMES_AND_COLOURS[way.number - 1][1]),
            f"{way.seconds:.2f} s",
            f"{way.ops_per_second:,.0f}",
            f"{way.connections:,}",
            _milliseconds(way.p50_ms),
            _milliseconds(way.p99_ms),
            f"{way.times_first:.1f}x",
        )
    return table


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
