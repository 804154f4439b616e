"""Tally of one way: what its calls have come to so far.

Owns the counts of calls and errors, and the decision that a server is gone. Never sends anything.
"""

from __future__ import annotations

from collections import Counter
from time import perf_counter

from aioresp.cli.bench.histogram import Histogram
from aioresp.errors import ResponseError

#: Seconds without a single reply after which a run ends.
PATIENCE = 5.0

#: Seconds that a task waits after its connection was lost, so that it does not fail thousands of times a second.
PAUSE = 0.02


#: Latencies that are kept as they are: 16 MiB. Most rounds have fewer.
HELD = 500_000

#: How many of more are sorted in at a time, and the seconds until the next portion: 400,000 a second.
PORTION = 2_000
DRAIN_PERIOD = 0.005


class Gone(Exception):
    """No call has succeeded for `PATIENCE` seconds; `cause` is the last error."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"no call has succeeded for {PATIENCE:g} s")
        self.cause = cause


class Tally:
    """Figures of one round, and of all rounds by addition."""

    def __init__(self) -> None:
        self._histogram = Histogram()
        #: Latencies in seconds that are not in the histogram yet. The loops that measure only append to it: to sort
        #: them into buckets at once would take a tenth of the time of a call.
        self.latencies: list[float] = []
        #: Failed calls by kind of error.
        self.errors: Counter[str] = Counter()
        #: Calls of an open loop that were due and were never sent.
        self.unsent = 0
        self.seconds = 0.0
        self._since = perf_counter()
        self._seen = 0

    @property
    def histogram(self) -> Histogram:
        """All latencies so far. Asking for it takes a moment if there are many new ones."""
        if self.latencies:
            self._histogram.add_all(self.latencies)
            self.latencies.clear()
        return self._histogram

    def drain(self) -> None:
        """Sort some latencies in, if there are very many: few enough that no call waits for it."""
        if len(self.latencies) > HELD:
            some = self.latencies[-PORTION:]
            del self.latencies[-PORTION:]
            self._histogram.add_all(some)

    @property
    def answered(self) -> int:
        """Number of latencies."""
        return len(self.latencies) + len(self._histogram)

    @property
    def calls(self) -> int:
        """Calls that succeeded."""
        return self.answered - self.unsent

    @property
    def failed(self) -> int:
        """Calls that failed."""
        return self.errors.total()

    def begin(self) -> None:
        """Start the clock by which a server counts as gone."""
        self._since, self._seen = perf_counter(), self.calls

    def fail(self, error: BaseException) -> float:
        """Count a failed call and return the seconds to wait after it. Raises Gone if there has been no success."""
        self.errors[kind_of(error)] += 1
        if isinstance(error, ResponseError):
            return 0.0  # a reply, even so: the round trip is pause enough
        now = perf_counter()
        if now - self._since > PATIENCE / 5:  # summing up takes a moment: not at each of thousands
            if (calls := self.calls) != self._seen:
                self._since, self._seen = now, calls
            elif now - self._since > PATIENCE:
                raise Gone(error)
        return PAUSE

    def __iadd__(self, other: Tally) -> Tally:
        self._histogram += other.histogram
        self.errors += other.errors
        self.unsent += other.unsent
        self.seconds += other.seconds
        return self


def kind_of(error: BaseException) -> str:
    """Return the kind of an error, such as ConnectionLost or `ResponseError OOM`; never a value."""
    name = type(error).__name__
    if isinstance(error, ResponseError) and error.args:
        code = str(error.args[0]).partition(" ")[0]
        if code.isupper() and code.isalpha():
            return f"{name} {code}"
    return name
