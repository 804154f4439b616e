"""Summary at the end of the cluster demo.

Owns the layout and the wording of the figures on a terminal. Never measures.
"""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aioresp.cli.failover.figures import Figures, ShardFigures
from aioresp.cli.failover.progress import COLOURS


def print_summary(console: Console, figures: Figures) -> None:
    """Print a line for each shard, and what became of the calls."""
    console.print(_table(figures))
    for line in ("", *story(figures)):
        console.print(Text(line), highlight=False)


def _table(figures: Figures) -> Table:
    dead = figures.failover.shard
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("shard")
    table.add_column("slots", no_wrap=True)
    for heading in ("replies/s before", f"while {dead} had no primary", "after", "longest pause", "errors"):
        table.add_column(heading, justify="right")
    for shard, colour in zip(figures.shards, COLOURS, strict=True):
        table.add_row(
            Text(shard.name, style=f"bold {colour}"),
            f"{shard.slots[0]}-{shard.slots[1]}",
            f"{shard.before:,.0f}",
            _share(shard),
            f"{shard.after:,.0f}",
            f"{shard.longest_pause:.2f} s",
            f"{shard.errors:,}",
        )
    return table


def _share(shard: ShardFigures) -> str:
    share = f" ({shard.during / shard.before:.0%})" if shard.before else ""
    return f"{shard.during:,.0f}{share}"


def story(figures: Figures) -> list[str]:
    """Return the sentences below the table."""
    found, ledger = figures.failover, figures.ledger
    lines = [
        f"The servers promoted {found.promoted} in {found.seconds_to_promote:.2f} s, by a node timeout of "
        f"{figures.node_timeout:g} s. The client's calls were answered {found.seconds_to_serve:.2f} s after the kill.",
        f"Of {ledger.acknowledged + ledger.unknown:,} calls, {ledger.unknown:,} failed: they were under way when the "
        "primary died, and may have run or not, so none of them was sent again.",
        f"{'No' if not ledger.twice else f'{ledger.twice:,}'} increment ran twice. Acknowledged and lost with the "
        f"primary, as replication is asynchronous: {ledger.lost:,}.",
    ]
    if not ledger.unknown:
        lines[1] = f"All {ledger.acknowledged:,} calls were acknowledged: none was under way when the primary died."
    return lines
