"""Summary of a benchmark: a table for each command, its latencies as a picture, and who is the limit.

Owns the layout. Never measures.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aioresp.cli.bench.compare import Difference
from aioresp.cli.bench.progress import PERCENTS, Lane, Progress
from aioresp.cli.bench.screen import COLOURS, heading
from aioresp.cli.bench.verdict import judge, sentences

#: Columns of the terminal from which the table has room for whole words.
_WIDE: Final = 108

#: Columns of the terminal from which there is room for a figure; for all others there always is.
_NEEDED: Final = {
    **dict.fromkeys(("sent", "received"), 130),
    **dict.fromkeys(("p99.9", "p99.99"), 72),
    **dict.fromkeys(("cpu", "server"), 60),
    "max ms": 48,
}

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = ".:-=+*#@"


def print_summary(console: Console, progress: Progress) -> None:
    """Print all that was measured."""
    console.print(heading(progress))
    for template in progress.plan.templates:
        lanes = [lane for lane in progress.of(template) if lane.rounds]
        if not lanes:
            continue
        console.print()
        console.print(Text.assemble((template.name, "bold"), "  ", (str(template), "dim")), soft_wrap=True)
        console.print(_table(lanes, progress, console.width))
        console.print()
        _print_latencies(console, lanes)
        console.print()
        for sentence in sentences(lanes, progress.plan):
            _print_sentence(console, sentence)
        for lane in lanes:
            if (said := _errors(lane)) is not None:
                _print_sentence(console, said, "yellow")
            if (said := _others(lane)) is not None:
                _print_sentence(console, said)
    if progress.notes or not progress.complete:
        console.print()
    for note in progress.notes:
        _print_sentence(console, note)
    if not progress.complete:
        _print_sentence(console, "The run was broken off: these are the figures until then.", "yellow")


def _table(lanes: list[Lane], progress: Progress, width: int) -> Table:
    wide = width >= _WIDE
    table = Table(box=None, padding=(0, 2 if wide else 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("way", no_wrap=True)
    names = ["ops/s", "p50", "p99", "p99.9", "p99.99", "max ms"]
    names += ["connections", "cpu here", "cpu server"] if wide else ["conns", "cpu", "server"]
    names += ["sent", "received"]
    shown = [name for name in names if width >= _NEEDED.get(name, 0)]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for lane in lanes:
        verdict = judge(lane, progress.plan)
        count = len(lane.histogram)
        values = lane.histogram.percentiles(PERCENTS)
        used = lane.used
        cells = [
            Text(f"{lane.rate:,.0f}", style="bold"),
            *(
                # Of fewer calls than that the largest is all that is known.
                _ms(value) if count >= 100 / (100 - percent) * 0.999 else Text("-", style="dim")
                for percent, value in zip(PERCENTS, values, strict=True)
            ),
            _ms(lane.histogram.highest),
            f"{lane.traffic.made:,}",
            f"{verdict.client * 100:.0f} %",
            f"{used.cpu / used.seconds * 100:.0f} %" if used.seconds and used.commands else "-",
        ]
        cells += [_bytes(lane.traffic.sent), _bytes(lane.traffic.received)]
        row = dict(zip(names, cells, strict=True))
        table.add_row(Text(lane.title if wide else lane.way, style=COLOURS[lane.way]), *(row[name] for name in shown))
    return table


def _print_latencies(console: Console, lanes: list[Lane]) -> None:
    """Print the distribution of each way on one logarithmic axis."""
    filled = [bucket for lane in lanes for bucket in lane.histogram.filled()]
    if not filled:
        return
    names = max(len(lane.way) for lane in lanes) + 2
    width = max(1, min(console.width, 100) - names - 1)
    low = math.floor(math.log10(min(upper for upper, _ in filled)))
    high = max(math.ceil(math.log10(max(upper for upper, _ in filled))), low + 1)
    step = (high - low) / width
    axis = [" "] * (width + 8)
    for exponent in range(low, high):
        label = _unit(10**exponent)
        at = round((exponent - low) / step)
        axis[at : at + len(label) + 1] = f"|{label}"
    console.print(Text(" " * names + "".join(axis)[: width + 1].rstrip(), style="dim"), no_wrap=True)
    shades = _ASCII if console.options.ascii_only else _BLOCKS
    for lane in lanes:
        columns = [0] * width
        for upper, count in lane.histogram.filled():
            columns[min(width - 1, int((math.log10(upper) - low) / step))] += count
        most = max(columns) or 1
        # The square root: one call in a thousand must be seen beside the others.
        strip = "".join(
            " " if not count else shades[min(len(shades) - 1, int(math.sqrt(count / most) * len(shades)))]
            for count in columns
        )
        console.print(Text.assemble(f"{lane.way:<{names}}", (strip.rstrip(), COLOURS[lane.way])), no_wrap=True)


def print_comparison(console: Console, differences: Sequence[Difference], remarks: Sequence[str], path: Any) -> None:
    """Print a comparison with a saved run."""
    console.print()
    console.print(Text.assemble(("against ", "bold"), (str(path), "bold")))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("command", no_wrap=True)
    table.add_column("way", no_wrap=True)
    for name in ("", "then", "now", "change", "spread"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=console.width >= _WIDE)
    for each in differences:
        style = {"better": "green", "worse": "red"}.get(each.verdict, "dim")
        digits = "ops" in each.figure
        table.add_row(
            each.command,
            Text(each.way, style=COLOURS[each.way]),
            each.figure,
            f"{each.then:,.0f}" if digits else _plain(each.then),
            f"{each.now:,.0f}" if digits else _plain(each.now),
            f"{each.change * 100:+.1f} %",
            f"{each.spread * 100:.0f} %",
            Text("within the noise" if "noise" in each.verdict else each.verdict, style=style),
        )
    console.print(table)
    console.print()
    for remark in remarks:
        _print_sentence(console, remark)
    told = [each for each in differences if each.verdict in ("better", "worse")]
    if all(each.verdict == "too few rounds" for each in differences):
        _print_sentence(console, "Too few rounds tell nothing: take a larger -n or --seconds, and --rounds 3 or more.")
    elif not told:
        _print_sentence(console, "No difference beyond the noise: the rounds of the two runs overlap in every figure.")


def _print_sentence(console: Console, sentence: str, style: str = "") -> None:
    for line in textwrap.wrap(sentence, min(console.width, 110) - 1) if console.is_terminal else [sentence]:
        console.print(Text(line, style=style), soft_wrap=True)


def _errors(lane: Lane) -> str | None:
    total = lane.total
    said = [f"{count:,} {kind}" for kind, count in total.errors.most_common()]
    text = f"{lane.way}: {total.failed:,} calls failed and are not counted above: {', '.join(said)}." if said else ""
    if total.unsent:
        text += f" {lane.way}: {total.unsent:,} calls were never sent, and count with the time that they waited."
    return text.strip() or None


def _others(lane: Lane) -> str | None:
    """Return the connections that others made meanwhile."""
    more = lane.used.connections - lane.traffic.made
    if not lane.used.seconds or more <= 0:
        return None
    return f"{lane.way}: the server received {more:,} more connections meanwhile: others connect to it, too."


def _ms(seconds: float) -> str:
    return _plain(seconds * 1000)


def _plain(value: float) -> str:
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def _unit(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:g} µs"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
