"""Recorded source: a record that is played again, at any speed and from any moment.

Owns the lines of the record by their times. Never asks a server. A line that is torn or of another program is skipped.
"""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, TypeVar

from aioresp.cli.faults import Fault
from aioresp.cli.monitor.form import VERSION, rebuilt
from aioresp.cli.monitor.rows import ClientRow, CommandRow, KeyReport, Listing, Pace, QueueRow, SlowRow, Tail
from aioresp.cli.monitor.source import Moment

T = TypeVar("T")

#: Types of the lines, by their kinds.
KINDS: Final[dict[str, Any]] = {
    "moment": Moment,
    "clients": Listing[ClientRow],
    "commands": Listing[CommandRow],
    "slow": Listing[SlowRow],
    "queues": Listing[QueueRow],
    "keys": KeyReport,
    "tail": Tail,
}

#: Seconds between two reports of a replayed scan or tail.
_EVERY: Final = 0.25


class Clock:
    """Time of a recording, which runs faster, stands, or jumps."""

    def __init__(self, begin: float, end: float) -> None:
        self.begin = begin
        self.end = end
        self._speed = 1.0
        self._from = begin
        self._since = time.monotonic()
        self._is_paused = False

    @property
    def at(self) -> float:
        """Unix time that is played at present; it ends at the last moment."""
        passed = 0.0 if self._is_paused else (time.monotonic() - self._since) * self._speed
        return min(max(self._from + passed, self.begin), self.end)

    @property
    def speed(self) -> float:
        """Seconds of the recording that pass in a second."""
        return self._speed

    @speed.setter
    def speed(self, value: float) -> None:
        self.seek(self.at)
        self._speed = value

    def seek(self, at: float) -> None:
        """Go on from another Unix time."""
        self._from, self._since = min(max(at, self.begin), self.end), time.monotonic()

    def pause(self, paused: bool) -> None:
        """Stop the time, or let it go on."""
        self.seek(self.at)
        self._is_paused = paused


class Replay:
    """Source that tells what a record holds."""

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        self._times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self._lines: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        self._built: dict[tuple[str, int], Any] = {}
        self.address = str(path)
        self._read_all(path)
        moments = self._times["moment"]
        if not moments:
            raise Fault(f"--replay: {path} holds no moment that this version can read")
        self.timeline = Clock(moments[0], moments[-1])
        self.timeline.speed = speed

    def _read_all(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                for text in file:
                    self._take(text)
        except OSError as error:
            raise Fault(f"--replay: {path}: {error.strerror}") from None

    def _take(self, text: str) -> None:
        try:
            said = json.loads(text)
            kind, at = said["kind"], float(said["at"])
            if said["v"] > VERSION:
                return
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        if kind == "begin":
            self.address = str(said.get("address", self.address))
        elif kind in KINDS:
            times = self._times[kind]
            if times and at < times[-1]:
                at = times[-1]  # the clock was set while it was recorded
            times.append(at)
            self._lines[kind].append(said)

    def _latest(self, kind: str) -> Any:
        """Return the last object of a kind before the present time of the recording; None if there is none."""
        index = bisect_right(self._times[kind], self.timeline.at) - 1
        while index >= 0:
            if (kind, index) not in self._built:
                if len(self._built) > 200:
                    self._built.clear()
                try:
                    self._built[kind, index] = rebuilt(KINDS[kind], self._lines[kind][index][kind])
                except (ValueError, TypeError, KeyError):
                    self._built[kind, index] = None
            if self._built[kind, index] is not None:
                return self._built[kind, index]
            index -= 1
        return None

    def moments(self) -> list[float]:
        """Return the times of all moments."""
        return list(self._times["moment"])

    async def read(self) -> Moment:
        """Return the moment that is played at present."""
        found: Moment | None = self._latest("moment")
        if found is None:
            raise Fault(f"--replay: the record of {self.address} holds no moment that this version can read")
        return found

    def past(self, seconds: float) -> list[Moment]:
        """Return the moments of the last seconds before the present one, for curves after a jump."""
        at = self.timeline.at
        times = self._times["moment"]
        first, last = bisect_right(times, at - seconds), bisect_right(times, at)
        found = []
        for said in self._lines["moment"][first:last]:
            try:
                found.append(rebuilt(Moment, said["moment"]))
            except (ValueError, TypeError, KeyError):
                continue
        return found

    def _listed(self, kind: str) -> Any:
        found = self._latest(kind)
        return Listing(self.timeline.at, (), "The record holds none at this time.") if found is None else found

    async def clients(self, now: bool = False) -> Listing[ClientRow]:
        """Return the connections of the present moment."""
        found: Listing[ClientRow] = self._listed("clients")
        return found

    async def commands(self, now: bool = False) -> Listing[CommandRow]:
        """Return the commands of the present moment."""
        found: Listing[CommandRow] = self._listed("commands")
        return found

    async def slow(self) -> Listing[SlowRow]:
        """Return the slow commands of the present moment."""
        found: Listing[SlowRow] = self._listed("slow")
        return found

    async def queues(self) -> Listing[QueueRow]:
        """Return the queues of the present moment."""
        found: Listing[QueueRow] = self._listed("queues")
        return found

    async def scan_keys(self, pace: Pace, resume: KeyReport | None = None) -> AsyncIterator[KeyReport]:
        """Return the last report before the present moment."""
        found: KeyReport | None = self._latest("keys")
        if found is None:
            found = KeyReport(0, 0, 0, 0, (), (), (), (), (), 0.0, True, "The record holds no scan at this time.")
        yield found

    async def tail(self, seconds: float = 10.0) -> AsyncIterator[Tail]:
        """Return what MONITOR had shown before the present moment."""
        found: Tail | None = self._latest("tail")
        if found is None:
            found = Tail(0.0, 0.0, 0, 0, (), (), (), True, "MONITOR was not recorded at this time.")
        while not found.finished and self.timeline.at < self.timeline.end:
            yield found
            await asyncio.sleep(_EVERY)
            found = self._latest("tail") or found
        yield found

    async def kill(self, row: ClientRow) -> str:
        """Refuse: there is nothing to end."""
        return "This is a recording: its connections cannot be ended."

    async def aclose(self) -> None:
        """Do nothing: the file was read."""
