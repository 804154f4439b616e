"""Displays of a demo's run: what the run knows of one, and what those of both demos share.

Owns the repainting of a live picture, and the printing of a line. Never says how progress looks: the demos' screens do.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)


class Display(Protocol[P_contra]):
    """Display of progress of one type."""

    def showing(self, progress: P_contra) -> AbstractContextManager[Any]:
        """Return a context in which the progress is shown."""
        ...

    async def repaint(self) -> None:
        """Show the progress again and again, until cancelled."""


class Picture(Generic[P]):
    """Live picture on a terminal, repainted in place."""

    #: Seconds between two paintings.
    PERIOD = 0.2

    #: Whether the picture is wiped out at the end.
    TRANSIENT = False

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=self.TRANSIENT)
        self._progress: P | None = None

    @abstractmethod
    def picture(self, progress: P) -> RenderableType:
        """Return the progress as it looks now."""

    def say(self, line: str) -> None:
        """Print a line above the picture."""
        self.console.print(Text(line), highlight=False)

    def showing(self, progress: P) -> AbstractContextManager[Any]:
        """Show the progress until the context is left."""
        self._progress = progress
        self._live.update(self.picture(progress))
        return self._live

    async def repaint(self) -> None:
        """Paint again and again, until cancelled."""
        try:
            while True:
                self.paint()
                await asyncio.sleep(self.PERIOD)
        finally:
            self.paint()

    def paint(self) -> None:
        """Paint once, in the middle of what is measured: keep it cheap."""
        if self._progress is not None:
            self._live.update(self.picture(self._progress), refresh=True)


class PlainLines:
    """Lines for a pipe, a file or a dumb terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print a line, however long: something reads them."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Nothing:
    """For `--json`: the figures are all there is."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def showing(self, progress: Any) -> AbstractContextManager[Any]:
        """Show nothing."""
        return nullcontext()

    async def repaint(self) -> None:
        """Do nothing."""

    def finished(self, part: Any, /) -> None:
        """Show nothing."""
