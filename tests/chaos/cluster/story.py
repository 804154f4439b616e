"""Story of a call: where its time went, step by step, and what its client did meanwhile.

Owns the wrappers that write it. Never changes what they wrap.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from aioresp.cluster import router as routing
from aioresp.cluster.redirect import Course
from aioresp.cluster.router import Router
from aioresp.pool.pool import Pool

#: Moments (of time.monotonic()) and what happened then.
Steps = list[tuple[float, str]]

#: Steps of the call that the running task makes; None unless somebody wants to know.
CALL: Final[ContextVar[Steps | None]] = ContextVar("CALL", default=None)

#: Steps of the client itself that are kept: those of the last seconds.
KEPT: Final = 2000

#: Seconds before that moment from which steps are told: a failover on a busy machine, and what the client asked then.
BEFORE: Final = 5.0


class Stories:
    """Stories of the calls of a run."""

    def __init__(self) -> None:
        self._client: deque[tuple[float, str]] = deque(maxlen=KEPT)

    def note(self, text: str) -> None:
        """Note what happens to the client as a whole, or to its servers."""
        self._client.append((time.monotonic(), text))

    def tell(self, steps: Steps, since: float) -> str:
        """Return the story of a call around a moment: its own steps, and after a star those of the run's clients."""
        every = [(at, text) for at, text in steps if at >= since - BEFORE]
        every += [(at, f"* {text}") for at, text in self._client if at >= since - BEFORE]
        return "\n".join(f"    {at - since:+8.3f} {text}" for at, text in sorted(every))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Have the steps of all calls noted."""
        kept: list[tuple[Any, str, Any]] = []

        def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
            before = getattr(owner, name)
            kept.append((owner, name, before))
            setattr(owner, name, make(before))

        wrap(Pool, "place", _placed)
        wrap(Course, "after", _after)
        wrap(Router, "wait", _waiting)
        wrap(Router, "discover", _discovering)
        wrap(routing, "discover", self._asked)
        try:
            yield
        finally:
            for owner, name, before in reversed(kept):
                setattr(owner, name, before)

    def _asked(self, discover: Callable[..., Any]) -> Any:
        async def asked(nodes: Any, candidates: Any, several: int) -> Any:
            ports = [port for _, port in candidates]
            self.note(f"asks {several} of {ports} for the topology")
            try:
                view = await discover(nodes, candidates, several)
            except BaseException as error:
                self.note(f"knows nothing: {str(error)[:300]!r}")
                raise
            told = [(shard.primary.port, shard.primary.healthy, len(shard.slots)) for shard in view.shards]
            self.note(f"knows epoch {view.epoch}: {told}")
            return view

        return asked


def step(text: str) -> None:
    """Note a step of the running call."""
    steps = CALL.get()
    if steps is not None:
        steps.append((time.monotonic(), text))


def _placed(place: Callable[..., None]) -> Any:
    def placed(self: Pool[Any], future: asyncio.Future[Any], start: Callable[..., object], timeout: Any) -> None:
        steps = CALL.get()
        if steps is None:
            return place(self, future, start, timeout)
        s = self.stats()
        steps.append((time.monotonic(), f"comes to {self!r}: {s.open} open, {s.waiting} in line"))

        def started(connection: Any, rest: float | None) -> object:
            steps.append((time.monotonic(), f"is sent on {connection!r}"))
            return start(connection, rest)

        return place(self, future, started, timeout)

    return placed


def _after(after: Callable[..., Any]) -> Any:
    async def told(self: Course, error: Any, *rest: Any) -> None:
        step(f"got {type(error).__name__}: {str(error)[:200]}")
        await after(self, error, *rest)

    return told


def _waiting(wait: Callable[..., Any]) -> Any:
    async def waiting(self: Router, seconds: float) -> None:
        pace = self._pace
        age = time.monotonic() - pace.wanted_since
        step(f"waits {seconds:.3f} s at most for another topology (gap {pace.gap:.2f} s, wanted for {age:.1f} s)")
        await wait(self, seconds)
        step("has waited")

    return waiting


def _discovering(discover: Callable[..., Any]) -> Any:
    async def discovering(self: Router, deadline: float) -> Any:
        step("waits for the next topology")
        return await discover(self, deadline)

    return discovering
