"""The load of one client, in a process of its own: the parent's side."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Seconds in which a client must be open, and in which its work must end.
PATIENCE = 60.0

HERE = Path(__file__).resolve().parent.parent.parent


class Worker:
    """A process that works for one client.

    It tells of its work through a pipe: some clients log to the standard output.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "benchmarks.cluster.worker", json.dumps(job), str(writing)]
        self._process = subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(writing,)
        )
        os.close(writing)
        self._told = os.fdopen(reading)
        if self._line(PATIENCE) != "ready":
            self.kill()
            raise RuntimeError(f"{job['client']} cannot work")

    def _line(self, patience: float) -> str:
        """Return the next line; nothing if the process ends or takes too long."""
        ready, _, _ = select.select([self._told], [], [], patience)
        return self._told.readline().strip() if ready else ""

    def stop(self) -> dict[str, Any] | None:
        """End the work and return the ledger; None if that takes too long."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.wait(PATIENCE)

    def wait(self, patience: float) -> dict[str, Any] | None:
        """Wait for the end of the work and return the ledger; None if that takes too long."""
        line = self._line(patience)
        ledger: dict[str, Any] | None = json.loads(line) if line else None
        return ledger

    def kill(self) -> None:
        """End the process."""
        self._told.close()
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def working(**job: Any) -> Iterator[Worker]:
    """Run a worker for the time of a block."""
    worker = Worker(job)
    try:
        yield worker
    finally:
        worker.kill()
