"""Sparkline: a curve in one line of text.

Owns the mapping from samples to a row of blocks. Never knows a terminal or a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from aioresp.cli.demo.progress import Sample

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-:=+*#"


def sparkline(samples: Sequence[Sample], width: int, colours: Mapping[int, str], *, ascii_only: bool = False) -> Text:
    """Return the totals of `samples` as one block each, or fewer to fit `width`, in the colours of their phases."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    shown = samples
    if len(samples) > width:
        # The last of each bucket: the curve only rises.
        shown = [samples[(column + 1) * len(samples) // width - 1] for column in range(width)]
    highest = max((sample.total for sample in shown), default=0)
    text = Text(no_wrap=True)
    for sample in shown:
        level = round(sample.total / highest * (len(blocks) - 1)) if highest else 0
        text.append(blocks[level], style=colours[sample.phase])
    return text
