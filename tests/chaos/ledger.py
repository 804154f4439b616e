"""What the calls of a run came to, by their own word, and everything that contradicts it.

Owns the counts, the problems found, and the judgement of errors: which of them say that a command has not run, and
which leave it open. Never sends anything.
"""

from __future__ import annotations

import logging
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from aioresp.errors import (
    AskError,
    ClientClosed,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    ExecAbortError,
    MovedError,
    PoolTimeout,
    ProtocolError,
    RedisError,
    TLSError,
    WatchError,
)
from aioresp.retry import NOT_NOW
from tests.chaos.losses import Losses, Suspicion, What

T = TypeVar("T")

#: Problems that are told in full: after so many more of them say nothing new.
MOST: Final = 50


class Outcome(Enum):
    """What is known of a command after its call has ended."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


class GivenUpError(Exception):
    """The call's task was cancelled by its job."""


class LeftBehindError(Exception):
    """The slot of a key has left the node of a lease, which follows no redirect: nothing was done."""


@dataclass(slots=True)
class Answer(Generic[T]):
    """How a call ended. `value` is there if it is done."""

    outcome: Outcome
    _value: T | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.outcome is Outcome.DONE

    @property
    def value(self) -> T:
        assert self.outcome is Outcome.DONE
        return self._value  # type: ignore[return-value]  # it is one, as the call is done


def judge(error: BaseException) -> Outcome | None:
    """Return what an error says of its command; None if no fault of this run explains the error."""
    if isinstance(error, ProtocolError | TLSError):
        return None
    if isinstance(error, ConnectionLost):
        return Outcome.UNKNOWN if error.outcome == "unknown" else Outcome.NOT_DONE
    if isinstance(error, (ClientClosed, PoolTimeout, ConnectError, WatchError, LeftBehindError, *NOT_NOW)):
        return Outcome.NOT_DONE
    if isinstance(error, ExecAbortError) and isinstance(error.__cause__, NOT_NOW):
        return Outcome.NOT_DONE
    if isinstance(error, CommandTimeout | GivenUpError):
        return Outcome.UNKNOWN
    if isinstance(error, TimeoutError) and not isinstance(error, RedisError):
        return Outcome.UNKNOWN  # of asyncio.timeout() or wait_for()
    return None


class Ledger:
    """The counts of a run, and what is wrong about it."""

    def __init__(self) -> None:
        self.problems: Counter[str] = Counter()
        self.examples: list[str] = []
        self.commands = 0  # answered
        self.by_kind: Counter[str] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.errors: Counter[str] = Counter()
        self.stood_still = 0.0  # seconds in which nothing ran here at all: a machine that was suspended
        self.late = 0.0  # seconds by which a timer of this loop came late, in all: what the machine takes for others
        self.longest: dict[str, float] = {}  # seconds, by kind
        self.given_up = 0
        self.figures: Counter[str] = Counter()
        #: What servers that replicate may lose; None where nothing may be lost.
        self.losses: Losses | None = None
        self.put_back = array("d")  # the moment of each element that was put back

    def wrong(self, law: str, details: str) -> None:
        """Note that a law was broken."""
        self.problems[law] += 1
        if len(self.examples) < MOST:
            self.examples.append(f"{law}: {details}")

    def lost(self, law: str, key: str, moments: Sequence[float], details: str, *, what: What = "write") -> None:
        """Note that what was acknowledged at these moments is missing, or is there again.

        It is a problem, unless the servers say that they have lost what they did then.
        """
        if self.losses is None:
            self.wrong(law, details)
        else:
            self.losses.suspicions.append(Suspicion(law, what, key, list(moments), details))

    def undone(self, law: str, key: str, begin: float, end: float, details: str) -> None:
        """Note that a pop, which was done at some moment of this time, has not been done.

        It is a problem, unless the servers say that they have lost what they did in a part of that time.
        """
        if self.losses is None:
            self.wrong(law, details)
        else:
            self.losses.suspicions.append(Suspicion(law, "write", key, (), details, (begin, end)))

    def settle_losses(self) -> None:
        """Judge what may be lost, when all is known that the servers say."""
        if self.losses is None:
            return
        problems, figures = self.losses.settle()
        self.figures += figures
        for each in problems:
            self.wrong(each.law, each.details)

    def crossed(self, who: str, wanted: str, got: object) -> None:
        """Note that somebody got what was not for him."""
        self.wrong("crossed reply", f"{who} wanted {wanted[:60]!r} and got {str(got)[:60]!r}")

    def answered(self, kind: str, commands: int) -> None:
        """Note commands whose replies have come."""
        self.commands += commands
        self.by_kind[kind] += commands
        self.outcomes[Outcome.DONE] += commands

    def took(self, kind: str, seconds: float, most: float) -> None:
        """Note how long a call took."""
        self.longest[kind] = max(self.longest.get(kind, 0.0), seconds)
        if seconds > most:
            self.wrong("call too late", f"{kind} took {seconds:.1f} s")

    def failed(self, kind: str, error: BaseException, commands: int = 1) -> Outcome:
        """Note a call that failed, and return what is known of its commands."""
        outcome = judge(error)
        if isinstance(error, (MovedError, AskError)):
            self.wrong("a redirect reached a caller", f"{kind}: {error!r}")
            outcome = Outcome.NOT_DONE
        elif outcome is None:
            self.wrong("unexpected error", f"{kind}: {error!r}")
            outcome = Outcome.UNKNOWN
        self.outcomes[outcome] += commands
        self.errors[f"{type(error).__name__}, {outcome.value}"] += 1
        return outcome


class Listener(logging.Handler):
    """Counts what the library logs: elements put back, commands sent again."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.DEBUG)
        self.ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        if "put back, as its caller had gone" in record.msg:
            count = int(_last(record.args))
            self.ledger.figures["put back"] += count
            self.ledger.put_back.extend([time.monotonic()] * count)
        elif "raised an error" in record.msg:
            self.ledger.wrong("a hook failed", record.getMessage())
        elif record.levelno >= logging.WARNING:
            self.ledger.figures[f"logged {record.levelname}"] += 1


def _last(arguments: Any) -> Any:
    return arguments[-1] if arguments else 0
