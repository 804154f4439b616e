"""Account of what the monitor itself does at one server, in order to leave it out of the figures.

Owns the counts. Never sends a command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from aioresp.cli.monitor.reading import Own

#: Name of the monitor's connections on the server.
NAME = "aioresp-monitor"


class Account:
    """Counts of one server."""

    def __init__(self) -> None:
        #: Connections made, as the client's events tell.
        self.made = 0
        #: Connections for MONITOR that are open.
        self.listening = 0
        #: Commands by name, since the monitor began. Readers take differences.
        self.calls: Counter[str] = Counter()
        self._received = self._commands = self._bytes = self._hits = self._misses = 0

    def note(self, name: str, count: int = 1, size: int = 0) -> None:
        """Count commands, and the bytes of their replies."""
        self.calls[name] += count
        self._commands += count
        self._bytes += size

    def note_lookups(self, found: Iterable[bool]) -> None:
        """Count lookups of keys, which the server counts as hits and misses."""
        for each in found:
            self._hits += each
            self._misses += not each

    def share(self) -> Own:
        """Return what is in the server's counters."""
        return Own(
            1 + self.listening, self._received + self.made, self._commands, self._bytes, self._hits, self._misses
        )

    def zero(self, made: int) -> None:
        """Begin again, as the server's counters did, with so many connections made since."""
        self._received = made - self.made
        self._commands = self._bytes = self._hits = self._misses = 0


def since(before: Mapping[str, int], after: Mapping[str, int], name: str) -> int:
    """Return how many calls were the monitor's own, of a command as commandstats names it.

    Redis 6.2 counts the subcommands of a command together.
    """
    start = f"{name}|"
    return sum(count - before.get(each, 0) for each, count in after.items() if each == name or each.startswith(start))
