"""Account of what the monitor itself does at one server, in order to leave it out of the figures.

Owns the counts. Never sends a command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from aioresp.cli.monitor.reading import Own
from aioresp.errors import NoPermissionError, ResponseError, UnknownCommandError

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
        #: Of these, the calls that failed or were refused.
        self.failed: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._received = self._commands = self._bytes = self._hits = self._misses = 0

    def note(self, name: str, count: int = 1) -> None:
        """Count commands."""
        self.calls[name] += count
        self._commands += count

    def note_size(self, size: int) -> None:
        """Count the bytes of a reply."""
        self._bytes += size

    def note_error(self, name: str, error: object) -> None:
        """Count an error reply to a command that was noted; anything else is not counted."""
        if not isinstance(error, ResponseError):
            return
        self._errors[error.code] += 1
        self.failed[name] += 1
        if isinstance(error, (NoPermissionError, UnknownCommandError)):
            # The server counts it as refused, and not as a call.
            self.calls[name] -= 1
            self._commands -= 1

    @contextmanager
    def asking(self, name: str) -> Iterator[None]:
        """Count the command that the block sends, and its error reply."""
        try:
            yield
        except ResponseError as error:
            self.note_error(name, error)
            raise
        finally:
            self.note(name)

    def note_lookups(self, found: Iterable[bool]) -> None:
        """Count lookups of keys, which the server counts as hits and misses."""
        for each in found:
            self._hits += each
            self._misses += not each

    def share(self) -> Own:
        """Return what is in the server's counters."""
        return Own(
            open=1 + self.listening,
            received=self._received + self.made,
            commands=self._commands,
            bytes_out=self._bytes,
            hits=self._hits,
            misses=self._misses,
            errors=dict(self._errors),
        )

    def zero(self, made: int) -> None:
        """Begin again, as the server's counters did, with so many connections made since."""
        self._received = made - self.made
        self._commands = self._bytes = self._hits = self._misses = 0
        self._errors.clear()


def since(before: Mapping[str, int], after: Mapping[str, int], name: str) -> int:
    """Return how many calls were the monitor's own, of a command as commandstats names it.

    Redis 6.2 counts the subcommands of a command together.
    """
    start = f"{name}|"
    return sum(count - before.get(each, 0) for each, count in after.items() if each == name or each.startswith(start))
