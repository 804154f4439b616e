"""Display of the cluster demo: a live table on a terminal, plain lines elsewhere.

Owns the output while the demo runs. Never measures, and never paints more than a few times a second.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from aioresp.cli.display import Picture, PlainLines
from aioresp.cli.failover.progress import Progress, Shard
from aioresp.cli.sparkline import sparkline

#: Seconds between two lines.
LINE = 1.0

#: Columns of the curve of a node: at least, and at most. All other columns take `REST`.
WIDTHS = (12, 60)
REST = 66


class Screen(Picture[Progress]):
    """A line for each node, repainted in place."""

    PERIOD = 0.25

    def picture(self, progress: Progress) -> Group:
        """Return the nodes as they are now."""
        words = Text.assemble(
            (f"{progress.clock():4.1f} s  ", "bold"), progress.step, (f"  ({progress.server})", "dim")
        )
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for heading in ("shard", "node", "role"):
            table.add_column(heading, no_wrap=True)
        for heading in ("replies/s", "waiting", "errors"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("over time", no_wrap=True)
        highest = max((rate for shard in progress.others for rate in shard.rates()), default=1.0) * 1.5
        for shard in progress.shards:
            for address in (shard.primary, shard.replica):
                table.add_row(*self._row(progress, shard, address, highest))
        return Group("", words, "", table, "")

    def _row(self, progress: Progress, shard: Shard, address: str, highest: float) -> list[Text]:
        role, style = role_of(progress, shard, address)
        rates = shard.rates(address)
        serves = bool(shard.samples) and shard.samples[-1].serving == address
        errors = _errors_at(shard, address)
        width = min(max(self.console.width - REST, WIDTHS[0]), WIDTHS[1])
        return [
            Text(shard.name, style=f"bold {shard.colour}"),
            Text(address),
            Text(role, style=style),
            Text(f"{rates[-1]:,.0f}" if serves and rates else ""),
            Text(f"{shard.waiting:,}" if serves else ""),
            Text(f"{errors:,}" if serves or errors else "", style="bold red" if errors else ""),
            Text(
                sparkline(rates, width, highest, ascii_only=self.console.options.ascii_only) if any(rates) else "",
                style=shard.colour,
            ),
        ]


def role_of(progress: Progress, shard: Shard, address: str) -> tuple[str, str]:
    """Return the role of a node in words, and the style of these."""
    is_victim = shard is progress.victim
    if address == shard.primary:
        return ("killed", "bold red") if is_victim and progress.killed_at is not None else ("primary", "")
    if is_victim and progress.promoted_at is not None:
        return "promoted", "bold green"
    return "replica", "dim"


def _errors_at(shard: Shard, address: str) -> int:
    """Return the errors that callers got while the client took this node for the primary."""
    pairs = pairwise(shard.samples)
    return sum(after.errors - before.errors for before, after in pairs if before.serving == address)


class Lines(PlainLines):
    """A line each second."""

    _progress: Progress | None = None

    def showing(self, progress: Progress) -> AbstractContextManager[Any]:
        """Tell the nodes."""
        self._progress = progress
        for shard in progress.shards:
            first, last = shard.slots
            self.say(f"shard {shard.name}: primary {shard.primary}, replica {shard.replica}, slots {first}-{last}")
        return nullcontext()

    async def repaint(self) -> None:
        """Print the present rates each second, until cancelled."""
        while True:
            await asyncio.sleep(LINE)
            progress = self._progress
            assert progress is not None
            told = (_told(shard) for shard in progress.shards)
            self.say(f"{progress.clock():5.1f} s  {'  '.join(told)}")


def _told(shard: Shard) -> str:
    rates = shard.rates()
    told = f"{shard.name} {rates[-1] if rates else 0:,.0f}/s"
    return told + (f" ({shard.errors} errors)" if shard.errors else "")
