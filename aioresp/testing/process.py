"""Client side of the pipe to a supervisor process.

Owns the supervisor process, the temporary folder and the commands between the two. Never knows that the supervised
program is a Redis server. Never signals that program itself: the supervisor is the parent process, so no signal can hit
a process that has taken over the number.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence

SUPERVISOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "supervisor.py")


class ServerFailed(RuntimeError):
    """The server did not start, or ended unasked; the message carries the end of its log."""


class Process:
    """A process in a temporary folder, both gone at the end, also if this process dies of SIGKILL."""

    def __init__(self, command: Callable[[str], Sequence[str]], path_limit: int) -> None:
        """Make the folder, its path at most `path_limit` bytes, and the supervisor of `command(folder)`."""
        self.pid = 0
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self.folder = tempfile.mkdtemp(prefix="aioresp-")
        if len(os.fsencode(self.folder)) > path_limit:
            os.rmdir(self.folder)
            self.folder = tempfile.mkdtemp(prefix="aioresp-", dir="/tmp")
        try:
            with open(os.path.join(self.folder, "server.log"), "ab") as log:
                self._supervisor = subprocess.Popen(
                    [sys.executable, "-I", "-S", SUPERVISOR, self.folder, *command(self.folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C goes to the tests, which need the server while they end
                )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @property
    def log(self) -> str:
        """Output of the process so far."""
        try:
            with open(os.path.join(self.folder, "server.log"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    @property
    def ours(self) -> bool:
        """Whether this process made it; False in a forked child."""
        return self._owner == os.getpid()

    def start(self) -> None:
        """Start the process, again if it has ended."""
        answer = self._ask("start")
        if not answer.startswith("pid "):
            raise ServerFailed(f"the server could not be started: {answer.removeprefix('error ')}")
        self.pid = int(answer.removeprefix("pid "))

    def exit_status(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""
        answer = self._ask("poll")
        return None if answer == "running" else int(answer.removeprefix("exited "))

    def stop(self, grace: float) -> None:
        """End the process: SIGTERM, and after `grace` seconds SIGKILL (at once if 0)."""
        self._ask(f"stop {grace:g}")

    def pause(self) -> None:
        """Freeze the process and its children; return when it is frozen."""
        self._order("pause")

    def resume(self) -> None:
        """Resume a frozen process."""
        self._order("resume")

    def close(self) -> None:
        """Kill the process and remove the folder; not in a forked child, to which neither belongs."""
        if not self.ours:
            return
        with self._lock:
            stdin, stdout = self._supervisor.stdin, self._supervisor.stdout
            # A line, and not only the end of the pipe: a forked child may hold a copy of it.
            with contextlib.suppress(OSError, ValueError):
                if stdin is not None:
                    stdin.write(b"quit\n")
            for pipe in (stdin, stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            if self._supervisor.wait() < 0:
                # The supervisor was killed, so this process does its work.
                if self.pid:
                    with contextlib.suppress(OSError):
                        os.killpg(self.pid, signal.SIGKILL)
                shutil.rmtree(self.folder, ignore_errors=True)

    def _order(self, line: str) -> None:
        if self._ask(line) != "ok":
            raise ServerFailed(f"the server is gone; its log:\n{self.log[-2000:]}")

    def _ask(self, line: str) -> str:
        if not self.ours:
            raise RuntimeError("the server belongs to the process that started it, not to this forked child")
        answer = b""
        with self._lock, contextlib.suppress(OSError):
            stdin, stdout = self._supervisor.stdin, self._supervisor.stdout
            if stdin is not None and stdout is not None:
                stdin.write(f"{line}\n".encode())
                stdin.flush()
                answer = stdout.readline()
        if not answer:
            raise ServerFailed(f"the server's supervisor is gone; its log:\n{self.log[-2000:]}")
        return answer.decode().strip()
