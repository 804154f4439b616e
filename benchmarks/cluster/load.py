"""The load of one client, in a process of its own: the parent's side."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent.parent


class Worker:
    """A process that works for one client."""

    def __init__(self, job: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "benchmarks.cluster.worker", json.dumps(job)]
        self._process = subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            _, said = self._process.communicate()
            raise RuntimeError(f"{job['client']} cannot work: {said[-800:]}")

    def stop(self, patience: float = 60.0) -> dict[str, Any]:
        """End the work and return the ledger."""
        try:
            out, said = self._process.communicate("", patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise RuntimeError(f"no ledger in {patience:g} s") from None
        if self._process.returncode:
            raise RuntimeError(said[-800:])
        ledger: dict[str, Any] = json.loads(out)
        return ledger

    def wait(self, patience: float) -> dict[str, Any] | None:
        """Wait for the end of the work; return None if that takes too long."""
        try:
            out, _ = self._process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            return None
        ledger: dict[str, Any] = json.loads(out)
        return ledger

    def kill(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@contextlib.contextmanager
def working(**job: Any) -> Iterator[Worker]:
    """Run a worker for the time of a block."""
    worker = Worker(job)
    try:
        yield worker
    finally:
        worker.kill()
