"""Console of a command that shows how it gets on.

Owns the choice of the stream. Never prints.
"""

from __future__ import annotations

import sys

from rich.console import Console


def console(json: bool) -> tuple[Console, bool]:
    """Return where the display goes, and whether that is a terminal: standard output is for JSON, if there is any."""
    stream = sys.stderr if json else sys.stdout
    chosen = Console(file=stream)
    return chosen, stream.isatty() and not chosen.is_dumb_terminal
