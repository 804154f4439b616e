"""Application that runs for a test: its page, its lines, its processes, and what it leaves behind."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).parents[2]

#: Where a busy machine is slow, this is how long a test waits for what usually takes a second.
PATIENCE: Final = 30.0

#: Environment variable of all processes of one application, by which the kit finds those that are left.
MARK: Final = "AIORESP_EXAMPLES_MARK"


class Application:
    """Application that was started: `python -m examples.NAME`."""

    def __init__(self, name: str, words: tuple[str, ...], environment: dict[str, str]) -> None:
        self.name = name
        self.lines: list[str] = []
        self._mark = secrets.token_hex(8)
        self._changed = threading.Condition()
        kept = {key: value for key, value in os.environ.items() if key != "AIORESP_URL"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"examples.{name}", *words],
            cwd=ROOT,
            env={**kept, "PYTHONUNBUFFERED": "1", MARK: self._mark, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """All that was printed so far."""
        return "\n".join(self.lines)

    @property
    def url(self) -> str:
        """The address of the page, as it was printed."""
        return self.line(r"open (http://[\w.]+:\d+)")

    @property
    def redis_url(self) -> str:
        """The address of the application's own server, as it was printed."""
        return self.line(r"aioresp monitor (\S+)")

    def line(self, pattern: str, *, after: int = 0) -> str:
        """Wait for a line, not among the first `after`, and return the first group of the pattern, or the match."""
        end = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                for line in self.lines[after:]:
                    if found := re.search(pattern, line):
                        return found[1] if found.groups() else found[0]
                ended = self.process.poll() is not None and not self._reader.is_alive()
                assert not ended, f"it ended without a line {pattern!r}:\n{self.output}"
                assert time.monotonic() < end, f"there was no line {pattern!r}:\n{self.output}"
                self._changed.wait(0.2)

    def children(self) -> list[psutil.Process]:
        """Return the processes that the starter itself has started."""
        return psutil.Process(self.process.pid).children()

    def member(self, name: str) -> psutil.Process:
        """Return a process by the name that its lines have, such as "worker-1"."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for child in self.children():
                with suppress(psutil.Error):
                    if child.environ().get("FLEET_NAME") == name:
                        return child
            time.sleep(0.02)
        raise AssertionError(f"there is no process {name}:\n{self.output}")

    def left(self) -> list[str]:
        """Return the processes that this application, or a part of it, has started, and that still run."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid}: {' '.join(process.cmdline())}")
        return found

    def wait_left(self) -> list[str]:
        """Wait until no process is left; return those that stay."""
        end = time.monotonic() + PATIENCE
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def end(self, number: int = signal.SIGTERM) -> float:
        """End the application by a signal, and return the seconds that it took. No process may be left."""
        began = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        took = time.monotonic() - began
        self._reader.join(PATIENCE)
        assert status == 128 + number, self.output
        assert self.left() == [], self.output
        return took

    def close(self) -> None:
        """Kill what is left; after `end`, nothing."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()


@contextmanager
def application(name: str, *words: str, **environment: str) -> Iterator[Application]:
    """Start an application with free ports: on a server of its own, or on AIORESP_URL="redis://..."."""
    running = Application(name, ("--port", "0", *words), environment)
    try:
        yield running
    finally:
        running.close()
        left = running.wait_left()
        assert left == [], f"processes are left: {left}"
