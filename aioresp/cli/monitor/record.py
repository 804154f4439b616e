"""Record of what the monitor has seen: a file of JSON lines that survives the death of its writer.

Owns the lines of the file, and what is appended when. Never keeps a line in memory: at most the last one is torn.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from aioresp.cli.faults import Fault
from aioresp.cli.monitor.form import VERSION, line
from aioresp.cli.monitor.rows import ClientRow, CommandRow, KeyReport, Listing, Notice, Pace, QueueRow, SlowRow, Tail
from aioresp.cli.monitor.source import Moment, Source, Timeline
from aioresp.version import VERSION as AIORESP

T = TypeVar("T")

#: Rows of one listing that are recorded.
ROWS: Final = 1_000


class Recorder:
    """Source that writes down all that another one tells."""

    timeline: Timeline | None = None

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path
        self.address = source.address
        self._file: IO[bytes] = _opened(path)
        self._written: dict[str, object] = {}
        #: Why nothing is written any more, such as a full disk; "" if all is well.
        self.failed = ""
        self._write("begin", {"address": self.address, "aioresp": AIORESP})

    async def read(self) -> Moment:
        """Read the figures, and write them down with the listings whose period has passed."""
        moment = await self._source.read()
        self._write("moment", {"moment": moment})
        if not moment.whole.trouble:
            for ask in (self.clients, self.commands, self.slow, self.queues):
                await ask()
        if self.failed:
            notice = Notice("record", "critical", f"nothing is recorded any more: {self.failed}", "monitor")
            moment = replace(moment, notices=(notice, *moment.notices))
        return moment

    async def clients(self, now: bool = False) -> Listing[ClientRow]:
        """List the connections."""
        return self._kept("clients", await self._source.clients(now))

    async def commands(self, now: bool = False) -> Listing[CommandRow]:
        """List the commands."""
        return self._kept("commands", await self._source.commands(now))

    async def slow(self) -> Listing[SlowRow]:
        """List the slow commands."""
        return self._kept("slow", await self._source.slow())

    async def queues(self) -> Listing[QueueRow]:
        """List the queues."""
        return self._kept("queues", await self._source.queues())

    async def scan_keys(self, pace: Pace, resume: KeyReport | None = None) -> AsyncIterator[KeyReport]:
        """Look at all keys, and write down a report each second."""
        last = 0.0
        async for report in self._source.scan_keys(pace, resume):
            if report.finished or time.monotonic() - last >= 1:
                last = time.monotonic()
                self._write("keys", {"keys": report})
            yield report

    async def tail(self, seconds: float = 10.0) -> AsyncIterator[Tail]:
        """Run MONITOR, and write down what it has shown."""
        async for tail in self._source.tail(seconds):
            self._write("tail", {"tail": tail})
            yield tail

    async def kill(self, row: ClientRow) -> str:
        """End a connection."""
        return await self._source.kill(row)

    async def aclose(self) -> None:
        """Close the file and the source."""
        self._file.close()
        await self._source.aclose()

    def _kept(self, kind: str, listing: Listing[T]) -> Listing[T]:
        if self._written.get(kind) is not listing and not self._file.closed:
            self._written[kind] = listing
            note = listing.note
            if len(listing.rows) > ROWS:
                note = f"{len(listing.rows):,} rows, of which {ROWS:,} were recorded. {note}".strip()
            self._write(kind, {kind: Listing(listing.at, listing.rows[:ROWS], listing.lacks, note)})
        return listing

    def _write(self, kind: str, said: dict[str, Any]) -> None:
        """Append one line by one write: what was written stays if this process is killed."""
        if self.failed:
            return
        try:
            self._file.write(f"{line({'v': VERSION, 'kind': kind, 'at': time.time(), **said})}\n".encode())
        except OSError as error:
            self.failed = f"{self._path}: {error.strerror}"


def _opened(path: Path) -> IO[bytes]:
    """Open the file for appending, and end a line that was torn when its writer died."""
    try:
        # Commands and keys of users stand in it.
        found = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise Fault(f"--record: {path}: {error.strerror}") from None
    file = os.fdopen(found, "r+b", buffering=0)
    try:
        if os.fstat(found).st_size and os.pread(found, 1, os.fstat(found).st_size - 1) != b"\n":
            file.write(b"\n")
    except OSError:
        pass  # a pipe has no end to look at
    return file
