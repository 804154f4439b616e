"""Past of one server, as the curves draw it: one sample a moment, oldest first, with gaps.

Owns how the connections that were received add up, through restarts of the server too. Never asks a server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aioresp.cli.monitor.rates import Rates
from aioresp.cli.monitor.reading import Reading
from aioresp.cli.monitor.source import NodeMoment

__all__ = ["LENGTH", "Past", "Sample"]

#: Samples that are kept: ten minutes of one a second, and more than the widest terminal shows.
LENGTH = 600


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment. None is a gap in a curve."""

    at: float
    """Unix time, except that it never goes back."""
    received: float
    """Connections that the server accepted since the monitor began."""
    rates: Rates | None
    reading: Reading | None


class Past:
    """The latest samples of one server."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=LENGTH)
        # The last reading that was added, to which the connections received are compared.
        self._latest: Reading | None = None
        # Unix time of the last moment that was added.
        self._at = 0.0

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, moment: NodeMoment) -> None:
        """Add a moment, unless it is the last one again: a recording that stands tells one several times."""
        if moment.at == self._at:
            return
        at, received = moment.at, self._received_since(moment)
        if self._samples:
            last = self._samples[-1]
            # A clock that was set back says nothing about the time between two moments.
            at = max(last.at + moment.at - self._at, last.at)
            received += last.received
        self._at = moment.at
        self._latest = moment.reading or self._latest
        reading = None if moment.trouble else moment.reading
        self._samples.append(Sample(at, received, moment.rates, reading))

    def _received_since(self, moment: NodeMoment) -> float:
        """Return how many connections the server accepted since the last moment that was added.

        The counter tells it best, since moments may have been skipped; after a restart of the server, the rates do.
        """
        before, now = self._latest, moment.reading
        if before is not None and now is not None and before.identity.run_id == now.identity.run_id:
            passed = now.connections.received - before.connections.received
            if passed >= 0:
                return float(passed)
        return 0.0 if moment.rates is None else moment.rates.received * moment.rates.seconds

    def pace(self, seconds: float = 10.0) -> float:
        """Return how many connections a second were received of late: at a short period, single moments leap."""
        shown = [sample for sample in self._samples if sample.at > self._samples[-1].at - seconds and sample.rates]
        passed = sum(sample.rates.seconds for sample in shown if sample.rates)
        return sum(sample.rates.received * sample.rates.seconds for sample in shown if sample.rates) / (passed or 1.0)

    def received(self) -> list[float | None]:
        """Return the curve of the connections that were received."""
        return [None if sample.reading is None else sample.received for sample in self._samples]

    def rates(self, of: Callable[[Rates], float | None]) -> list[float | None]:
        """Return a curve of what happened each second."""
        return [None if sample.rates is None else of(sample.rates) for sample in self._samples]

    def readings(self, of: Callable[[Reading], float | None]) -> list[float | None]:
        """Return a curve of a figure that is what it is at each moment."""
        return [None if sample.reading is None else of(sample.reading) for sample in self._samples]

    def seconds(self, samples: int) -> float:
        """Return how long ago the first of the latest `samples` was."""
        shown = list(self._samples)[-samples:] if samples else []
        return shown[-1].at - shown[0].at if shown else 0.0
