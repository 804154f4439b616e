"""Summary at the end of a demo run.

Owns the layout and the wording of the figures on a terminal. Never measures.
"""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aioresp.cli.called import called
from aioresp.cli.demo.figures import Figures
from aioresp.cli.demo.progress import HERO, NAMES_AND_COLOURS
from aioresp.cli.demo.words import how, place, sentence

#: Commands to try next, and their purposes.
NEXT = (
    ("serve", "a server at hand, without Docker"),
    ("monitor URL", "a live picture of your server"),
    ("bench URL", "the same comparison on your own server"),
)


def print_summary(console: Console, figures: Figures) -> None:
    """Print the table of the lanes, what the threads and the keys came to, and the sentence."""
    console.print(_table(figures))
    threads = figures.threads
    made = ", ".join(f"{each.connections:,} in round {number}" for number, each in enumerate(threads.rounds, 1))
    lines = [f"Connections of the {threads.threads} threads: {made}, of {threads.sets_a_round:,} SETs each."]
    if figures.strangers > 0:
        lines.append(f"The server counted {figures.strangers:,} connections more, which others made meanwhile.")
    lines.append(f"The {figures.keys.deleted:,} keys under {figures.keys.prefix} are deleted.")
    console.print(Text("\n".join(("", *lines, "")), style="dim"), highlight=False)
    hero = NAMES_AND_COLOURS[HERO - 1][1]
    console.print(Text(sentence(figures), style=f"bold {hero}"), highlight=False)
    console.print(Text("\nNext:", style="dim"))
    commands = [(f"{called()} {words}", purpose) for words, purpose in NEXT]
    if Path("examples/judge").is_dir():  # in a checkout
        commands.append(("make judge", "an application: a coding judge on a queue"))
    width = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        console.print(Text.assemble("  ", (f"{command:<{width}}", "bold"), "  ", (purpose, "dim")), highlight=False)


def _table(figures: Figures) -> Table:
    table = Table(
        title=f"{figures.count:,} SETs from concurrent tasks in each lane, {how(figures.race.in_turn)}",
        title_justify="left",
        title_style="bold",
        caption="p50, p99: from wanting a SET to its reply, the wait in line included",
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    for heading in ("", ""):
        table.add_column(heading, no_wrap=True)
    for heading in ("seconds", "CPU s", "ops/s", "connections", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for lane in figures.lanes:
        colour = NAMES_AND_COLOURS[lane.number - 1][1]
        table.add_row(
            Text(place(lane.place), style=colour),
            Text(lane.name, style=f"bold {colour}" if lane.number == HERO else colour),
            f"{lane.seconds:.2f}",
            f"{lane.cpu_seconds:.2f}",
            f"{lane.ops_per_second:,.0f}",
            f"{lane.connections:,}",
            _milliseconds(lane.p50_ms),
            _milliseconds(lane.p99_ms),
        )
    return table


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
