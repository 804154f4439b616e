"""Parts of the analytics pipeline for a test: each process by itself, to be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from aioresp.testing.sockets import free_port
from tests.examples.kit import PATIENCE, ROOT


class Pipeline:
    """The processes, their database and their log files, all in one folder."""

    def __init__(self, folder: Path, redis_url: str, database_url: str, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = database_url
        self.environment = {
            **os.environ,
            "AIORESP_URL": redis_url,
            "ANALYTICS_DATABASE_URL": database_url,
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.posted = folder / "accepted.txt"

    def api(self) -> subprocess.Popen[bytes]:
        """Start an API as its README says, and wait until it answers."""
        quiet = ("--log-level", "warning")
        started = self._start("api", "-m", "uvicorn", "examples.analytics.api:app", "--port", str(self.port), *quiet)
        wait_for(self._answers)
        return started

    def ui(self) -> str:
        """Start the web server of the page, and return its address once it answers."""
        port = free_port()
        self._start("ui", "-m", "uvicorn", "examples.analytics.ui:app", "--port", str(port), "--log-level", "warning")
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return httpx2.get(url).status_code == 200
            except httpx2.TransportError:
                return False

        wait_for(answers)
        return url

    def worker(self, name: str = "worker-1", *words: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self._start(name, "-m", "examples.analytics.worker", "--name", name, *words)

    def code(self, name: str, code: str) -> subprocess.Popen[bytes]:
        """Start a program of the test."""
        return self._start(name, "-c", code)

    def load(self, rate: float, seconds: float, *words: str) -> subprocess.Popen[bytes]:
        """Start the load generator; it ends when all that it has sent is accepted."""
        shape = ["--rate", f"{rate:g}", "--seconds", f"{seconds:g}", "--log", str(self.posted), *words]
        return self._start("load", "-m", "examples.analytics.load", self.url, *shape)

    def accepted(self) -> list[str]:
        """Return the ids of all events that the API has accepted."""
        return self.posted.read_text().split() if self.posted.exists() else []

    def log(self, name: str) -> str:
        """Return what the processes of this name have printed."""
        return (self.folder / f"{name}.log").read_text()

    def sums(self) -> tuple[int, int, int]:
        """Return the number of rows, and the sums by second and by page: three words for the same."""
        return (
            self.ask("SELECT count(*) FROM events")[0][0],
            int(self.ask("SELECT coalesce(sum(n), 0) FROM seconds")[0][0]),
            int(self.ask("SELECT coalesce(sum(n), 0) FROM pages")[0][0]),
        )

    def ask(self, query: str) -> list[Any]:
        """Run a statement and return its rows."""

        from sqlalchemy import text  # noqa: PLC0415 (half a second)
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

        async def asked() -> list[Any]:
            engine = create_async_engine(self.database_url)
            try:
                async with engine.begin() as connection:
                    done = await connection.execute(text(query))
                    return list(done) if done.returns_rows else []
            finally:
                await engine.dispose()

        return asyncio.run(asked())

    def stored(self) -> int:
        """Return the number of rows; -1 while the database is away, or has no tables."""
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 (as above)

        try:
            return int(self.ask("SELECT count(*) FROM events")[0][0])
        except (SQLAlchemyError, OSError):
            return -1

    def settle(self) -> None:
        """Wait until all that was accepted is stored, and check that it is there, each event once."""
        accepted = self.accepted()
        assert accepted
        assert max(Counter(accepted).values()) == 1
        wait_for(lambda: self.stored() >= len(accepted))
        assert {row[0] for row in self.ask("SELECT id FROM events")} == set(accepted)
        assert self.sums() == (len(accepted),) * 3

    def close(self) -> None:
        """Kill what is left."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            return httpx2.post(f"{self.url}/event", content=b"").status_code == 422
        except httpx2.TransportError:
            return False

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{name}.log", "ab") as log:
            started = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(started)
        return started


@contextmanager
def pipeline(folder: Path, redis_url: str, database_url: str | None = None, **environment: str) -> Iterator[Pipeline]:
    """Give the parts of a pipeline, SQLite by default; all its processes end with the block."""
    parts = Pipeline(folder, redis_url, database_url or f"sqlite+aiosqlite:///{folder}/analytics.db", **environment)
    try:
        yield parts
    finally:
        parts.close()


def wait_for(true: Callable[[], bool], seconds: float = 2 * PATIENCE) -> None:
    """Wait until `true()`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def finish(process: subprocess.Popen[bytes], number: int | None = None) -> float:
    """Wait for the end of a process, after a signal if one is given, and return the seconds that it took."""
    began = time.monotonic()
    if number is not None:
        process.send_signal(number)
    process.wait(2 * PATIENCE)
    return time.monotonic() - began
