"""Sparkline: a curve in one line of text.

Owns the mapping from samples to a row of blocks. Never knows a terminal or a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

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


def blocks(values: Sequence[float], width: int, highest: float, *, ascii_only: bool = False) -> str:
    """Return one block for each value, or fewer to fit `width`; `highest` and all above it are a full block."""
    known = ASCII_BLOCKS if ascii_only else BLOCKS
    shown = list(values)
    if len(shown) > width:
        # The mean of each bucket.
        edges = [column * len(shown) // width for column in range(width + 1)]
        shown = [sum(shown[begin:end]) / (end - begin) for begin, end in pairwise(edges)]
    return "".join(known[round(min(value / highest, 1.0) * (len(known) - 1)) if highest > 0 else 0] for value in shown)
