"""Figures in words: counts, sizes, spans of time and shares, each with its unit.

Owns the spelling of figures on the screens. Never reads any.
"""

from __future__ import annotations

from aioresp.cli.monitor.words import amount
from aioresp.cli.monitor.words import duration as spoken

__all__ = ["clock", "count", "duration", "percent", "rate", "size", "span"]

#: Stands in the place of a figure that a server does not say.
UNKNOWN = "–"  # noqa: RUF001  # an en dash is what a table has for "no figure"


def count(value: float | None) -> str:
    """Return a whole number with commas between thousands."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return so many a second: with one decimal below ten, because 0.4 is neither 0 nor 1."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}/s" if value >= 9.95 or value < 0.05 else f"{value:.1f}/s"


def size(value: float | None) -> str:
    """Return bytes with three figures and their unit, of 1,000 bytes and so on."""
    return UNKNOWN if value is None else amount(value)


def span(seconds: float | None) -> str:
    """Return a span of time in its largest unit."""
    return UNKNOWN if seconds is None else spoken(seconds)


def duration(seconds: float | None) -> str:
    """Return how long something took: microseconds, milliseconds or seconds, with two or three figures."""
    if seconds is None:
        return UNKNOWN
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        value = seconds * factor
        if value < 999.5:
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{seconds:,.1f} s"


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share of 1 as a percentage."""
    return UNKNOWN if share is None else f"{share * 100:.{decimals}f} %"


def clock(seconds: float) -> str:
    """Return a position in a recording, such as 1:07."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
