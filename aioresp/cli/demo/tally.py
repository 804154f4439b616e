"""Tally of one lane: the SETs that are done, and the connections that its clients made.

Owns the counts. Never costs the measured code more than an append to a list.
"""

from __future__ import annotations

from collections.abc import Callable

from aioresp import Client


class Tally:
    """Counts of a lane so far."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        """Seconds of each SET that has its reply."""
        self.closed = 0
        """Connections that clients made which are closed."""
        self.opened: Callable[[], int] | None = None
        """Returns the connections that the lane's one client made; none in a lane that makes many clients."""

    @property
    def made(self) -> int:
        """Connections made so far."""
        return self.closed + (0 if self.opened is None else self.opened())

    def watch(self, client: Client[str]) -> None:
        """Count the connections of the lane's one client."""
        self.opened = lambda: client.stats().made
