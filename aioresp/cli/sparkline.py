"""Sparkline: a curve in one line of text.

Owns the mapping from values to a row of blocks. Never knows a terminal or a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-:=+*#"


def sparkline(values: Sequence[float], width: int, highest: float, *, ascii_only: bool = False) -> str:
    """Return one block for each value, or fewer to fit `width`; `highest` and all above it are a full block."""
    known = ASCII_BLOCKS if ascii_only else BLOCKS
    shown = list(values)
    if len(shown) > width:
        # The mean of each bucket.
        edges = [column * len(shown) // width for column in range(width + 1)]
        shown = [sum(shown[begin:end]) / (end - begin) for begin, end in pairwise(edges)]
    return "".join(known[round(min(value / highest, 1.0) * (len(known) - 1)) if highest > 0 else 0] for value in shown)
