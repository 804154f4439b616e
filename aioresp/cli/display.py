"""Display of a demo's run, as far as the run knows it.

Owns no state. Never says how anything looks: screens do.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

P_contra = TypeVar("P_contra", contravariant=True)


class Display(Protocol[P_contra]):
    """Display of progress of one type."""

    def showing(self, progress: P_contra) -> AbstractContextManager[Any]:
        """Return a context in which the progress is shown."""
        ...

    async def repaint(self) -> None:
        """Show the progress again and again, until cancelled."""
