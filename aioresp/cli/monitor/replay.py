"""Recorded source: a record that is played again, at any speed and from any moment.

Owns the lines of the record by their times. Never asks a server. A line that is torn or of another program is skipped.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any, Final, TypeVar

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

#: Begin of a line, as the recorder writes it.
_BEGIN: Final = re.compile(rb'\{"v":(\d+),"kind":"(\w+)","at":(\d+(?:\.\d+)?)[,}]')

#: Bytes that are read of a line; a file of another program may be one line.
_LONGEST: Final = 16 * 1024 * 1024

#: Objects that are kept in memory.
_KEPT: Final = 1000

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
        self.address = str(path)
        self._path = path
        self._times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        #: Where each line begins. Hours of a record do not fit into memory, and are read when they are played.
        self._places: dict[str, list[int]] = {kind: [] for kind in KINDS}
        self._built: dict[tuple[str, int], Any] = {}
        try:
            if path.exists() and not path.is_file() and not path.is_dir():
                raise Fault(f"--replay: {path} is no file: a recording is read from many places")
            with path.open("rb") as file:
                self._find_lines(file)
        except OSError as error:
            raise Fault(f"--replay: {path}: {error.strerror}") from None
        moments = self._times["moment"]
        if not moments:
            raise Fault(f"--replay: {path} holds no moment that this version can read")
        self.timeline = Clock(moments[0], moments[-1])
        self.timeline.speed = speed

    def _find_lines(self, file: IO[bytes]) -> None:
        place = 0
        while line := file.readline(_LONGEST):
            begin, place = place, place + len(line)
            found = _BEGIN.match(line)
            if found is None or int(found[1]) > VERSION:
                continue  # torn, or of a later version
            kind, at = found[2].decode(), float(found[3])
            if kind == "begin":
                self._take_address(line)
            elif kind in KINDS:
                times = self._times[kind]
                # The clock may have been set while it was recorded.
                times.append(max(at, times[-1]) if times else at)
                self._places[kind].append(begin)

    def _take_address(self, line: bytes) -> None:
        try:
            self.address = str(json.loads(line)["address"])
        except (ValueError, TypeError, KeyError):
            pass

    def _object(self, kind: str, index: int) -> Any:
        """Return one object of the record; None if its line cannot be read."""
        if (kind, index) not in self._built:
            if len(self._built) >= _KEPT:
                self._built.clear()
            try:
                with self._path.open("rb") as file:
                    file.seek(self._places[kind][index])
                    found = rebuilt(KINDS[kind], json.loads(file.readline())[kind])
            except (OSError, ValueError, TypeError, KeyError, RecursionError):
                found = None
            self._built[kind, index] = found
        return self._built[kind, index]

    def _latest(self, kind: str) -> Any:
        """Return the last object of a kind before the present time of the recording; None if there is none."""
        index = bisect_right(self._times[kind], self.timeline.at) - 1
        while index >= 0 and self._object(kind, index) is None:
            index -= 1
        return self._object(kind, index) if index >= 0 else None

    def moments(self) -> list[float]:
        """Return the times of all moments."""
        return list(self._times["moment"])

    def past(self, seconds: float) -> list[Moment]:
        """Return the moments of the last seconds before the present one, for curves after a jump."""
        at, times = self.timeline.at, self._times["moment"]
        found = [
            self._object("moment", index) for index in range(bisect_right(times, at - seconds), bisect_right(times, at))
        ]
        return [each for each in found if each is not None]

    async def read(self) -> Moment:
        """Return the moment that is played at present."""
        found: Moment | None = self._latest("moment")
        if found is None:
            raise Fault(f"--replay: the record of {self.address} holds no moment that this version can read")
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
        none = Tail(0.0, 0.0, 0, 0, (), (), (), True, "MONITOR was not recorded at this time.")
        found: Tail = self._latest("tail") or none
        while not found.finished and self.timeline.at < self.timeline.end:
            yield found
            await asyncio.sleep(_EVERY)
            found = self._latest("tail") or none
        yield found

    async def kill(self, row: ClientRow) -> str:
        """Refuse: there is nothing to end."""
        return "This is a recording: its connections cannot be ended."

    async def aclose(self) -> None:
        """Do nothing: the file is open only while a line is read."""
