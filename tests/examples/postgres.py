"""PostgreSQL server of a test: a cluster in a folder of its own, on a free port, as a user that is not root."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aioresp.testing.sockets import free_port


class Postgres:
    """A PostgreSQL that may be stopped and started again."""

    def __init__(self, binaries: str) -> None:
        self._binaries = binaries
        self.folder = tempfile.mkdtemp(prefix="aioresp-postgres-")
        self.port = free_port()
        self.url = f"postgresql+asyncpg://owner@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        #: PostgreSQL refuses to run as root.
        self._user: int | None = None
        self._group: int | None = None
        if os.geteuid() == 0:
            account = pwd.getpwnam(_account())
            self._user, self._group = account.pw_uid, account.pw_gid
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._data = os.path.join(self.folder, "data")
        made = ["-D", self._data, "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [f"{binaries}/initdb", *made],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=self._user,
            group=self._group,
        )

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        command = [f"{self._binaries}/postgres", "-D", self._data, "-p", str(self.port), "-k", self.folder]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self._process = subprocess.Popen(
                [*command, "-c", "listen_addresses=127.0.0.1"],
                stderr=log,
                stdout=log,
                cwd=self.folder,
                user=self._user,
                group=self._group,
            )
        end = time.monotonic() + 60
        ready = [f"{self._binaries}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < end, "PostgreSQL does not start"
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server at once: whoever is connected loses the connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """End the server and delete its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def binaries() -> str | None:
    """Return the folder with PostgreSQL's programs, or None."""
    found = shutil.which("initdb")
    candidates = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    candidates += [os.path.dirname(os.path.realpath(found))] if found else []
    names = ("initdb", "postgres", "pg_isready")
    return next((folder for folder in candidates if all(os.path.exists(f"{folder}/{name}") for name in names)), None)


@contextmanager
def postgres(programs: str) -> Iterator[Postgres]:
    """Run a PostgreSQL for the block."""
    server = Postgres(programs)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _account() -> str:
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"
