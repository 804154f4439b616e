"""Charts as files: PNG or SVG, by matplotlib.

Owns the writing of a chart, and its colours on light and dark. Never imported but for `--plot`, because no other module
imports matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure


class Theme(NamedTuple):
    """Colours of a chart."""

    ground: str
    ink: str
    soft: str
    """Words that matter less."""
    line: str
    """Grids and axes."""
    bar: str
    """Bars of all that is not the subject."""


LIGHT: Final = Theme("#ffffff", "#1f2328", "#59636e", "#d1d9e0", "#8c98a4")
DARK: Final = Theme("#0d1117", "#f0f6fc", "#9198a1", "#3d444d", "#768390")


def write(path: Path, chart: Callable[[], Figure], theme: Theme = LIGHT) -> None:
    """Write what `chart` draws to `path`, in the format of its suffix. Raises OSError."""
    picture = io.BytesIO()
    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "svg.fonttype": "path",
        "svg.hashsalt": "aioresp",
        "text.color": theme.ink,
        "figure.facecolor": theme.ground,
        "axes.facecolor": theme.ground,
        "axes.edgecolor": theme.line,
        "axes.labelcolor": theme.soft,
        "xtick.color": theme.soft,
        "ytick.color": theme.soft,
        "grid.color": theme.line,
    }
    kind = path.suffix.lower().removeprefix(".")
    with rc_context(settings):
        # Without a date the same figures give the same SVG.
        chart().savefig(picture, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    path.write_bytes(picture.getvalue())
