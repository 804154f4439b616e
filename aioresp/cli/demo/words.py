"""Words of the demo: numbers as people read them, and the sentence of the end.

Owns the rounding of what is said. Never measures, and never knows a terminal.
"""

from __future__ import annotations

from aioresp.cli.demo.figures import Figures
from aioresp.cli.demo.progress import BASE, HERO

#: Endings of the places that have their own.
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def place(number: int) -> str:
    """Return a place as a word: "1st"."""
    return f"{number}{_ENDINGS.get(number, 'th')}"


def short(value: float) -> str:
    """Return a number with two digits that mean something: 13, 0.95, 0.051."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def sentence(figures: Figures) -> str:
    """Return what the demo is about, in one line."""
    base, hero = figures.ways[BASE - 1], figures.ways[HERO - 1]
    before = f"{base.connections:,} connections and {short(base.seconds)} s"
    return f"{before} became {hero.connections:,} and {short(hero.seconds)} s."


def how(in_turn: bool) -> str:
    """Return how the lanes ran."""
    return "each lane alone" if in_turn else "all lanes at once"
