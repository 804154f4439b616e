"""Supervisor process between the tests and a test server: run as a script, never imported.

Owns the server, whose parent it is, and the removal of its folder. Reads commands from standard input, one a line, and
answers each with one line. The pipe may end for any reason, SIGKILL of the tests included. Then the supervisor kills
the server with all processes that the server started, removes the folder, and ends. Never depends on signals to the
tests, on threads, or on more than POSIX. Imports only the standard library's lightest modules, to start in
milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time


class Supervisor:
    """One server process in a process group of its own."""

    def __init__(self, folder: str, command: list[str]) -> None:
        self.folder = folder
        self.command = command
        self.pid = 0
        self.status: int | None = None
        self.paused = False

    def start(self) -> str:
        """Start the server, in a process group of its own."""
        if self.pid and self.poll() is None:
            return "error the server is running already"
        log = os.path.join(self.folder, "server.log")
        try:
            self.pid = os.posix_spawnp(
                self.command[0],
                self.command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGTERM],
            )
        except OSError as error:
            return f"error {error}"
        self.status, self.paused = None, False
        return f"pid {self.pid}"

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal) of a server that has ended, else None."""
        if self.pid and self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def send(self, number: int) -> bool:
        """Send a signal to the server and its children; False if no process is left."""
        if not self.pid:
            return False
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS, where only zombies are left in the group
            return False
        return True

    def pause(self) -> bool:
        """Freeze the server and return when it is frozen: the signal alone would let it answer once more."""
        if self.poll() is not None or not self.send(signal.SIGSTOP):
            return False
        while not self.paused and self.status is None:
            pid, status = os.waitpid(self.pid, os.WUNTRACED)
            self.paused = os.WIFSTOPPED(status)
            if pid and not self.paused:
                self.status = os.waitstatus_to_exitcode(status)
        return self.paused

    def stop(self, grace: float) -> None:
        """End the server: a request first (if `grace` is above 0), then by force; return when it is gone."""
        if grace > 0:
            self.send(signal.SIGTERM)
            self.send(signal.SIGCONT)  # a paused process would never see the request
            deadline = time.monotonic() + grace
            # A script that started the server may be gone before it, so the group is asked as well.
            while time.monotonic() < deadline and (self.poll() is None or self.send(0)):
                time.sleep(0.005)
        self.send(signal.SIGKILL)
        while self.pid and self.poll() is None:
            time.sleep(0.001)
        self.pid = 0  # from here on another process may have that number

    def answer(self, line: str) -> str:
        """Run the command of a line, and return its answer."""
        word, _, argument = line.partition(" ")
        if word == "start":
            return self.start()
        if word == "pause":
            return "ok" if self.pause() else "gone"
        if word == "resume":
            self.paused = False
            return "ok" if self.poll() is None and self.send(signal.SIGCONT) else "gone"
        if word == "stop":
            self.stop(float(argument))
        elif word != "poll":
            return f"error unknown command {word}"
        status = self.poll()
        return "running" if self.pid and status is None else f"exited {status}"

    def close(self) -> None:
        """Kill the server and remove the folder."""
        self.stop(0)
        for _ in range(100):
            try:
                remove(self.folder)
                return
            except FileNotFoundError:
                return
            except OSError:  # a child of the server, killed a moment ago, may have written its last file just now
                time.sleep(0.01)


def remove(folder: str) -> None:
    """Remove a folder and what is in it (shutil would take longer to import than all the rest)."""
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(parent, name))
        for name in folders:
            path = os.path.join(parent, name)
            if os.path.islink(path):
                os.unlink(path)
            else:
                os.rmdir(path)
    os.rmdir(folder)


def terminate(*_: object) -> None:
    """Leave the loop below by way of its `finally`."""
    sys.exit(1)


def main() -> None:
    """Serve the commands of the tests until they end the pipe."""
    supervisor = Supervisor(sys.argv[1], sys.argv[2:])
    signal.signal(signal.SIGTERM, terminate)
    try:
        for line in sys.stdin.buffer:
            if line == b"quit\n":
                break
            os.write(1, supervisor.answer(line.decode().strip()).encode() + b"\n")
    except BrokenPipeError:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        supervisor.close()


if __name__ == "__main__":
    main()
