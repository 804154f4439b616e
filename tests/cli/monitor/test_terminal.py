"""The terminal after `aioresp monitor`: as it was, however the monitor ended."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aioresp.testing import Server
from aioresp.testing import server as start_server

pytestmark = pytest.mark.ci

#: What restores a terminal: the main screen, and the cursor.
RESTORED = (b"\x1b[?1049l", b"\x1b[?25h")

#: The monitor, with a screen that fails as soon as it has been read once.
CRASH = """
import sys
from aioresp.cli.monitor.screens.app import MonitorApp
def fail(self, moment):
    secret = "hunter2"
    raise ValueError("this is a mistake")
MonitorApp._show = lambda self: fail(self, self.moment)
from aioresp.cli import main
main()
"""


class Terminal:
    """A monitor in a terminal of its own."""

    def __init__(
        self,
        server: Server,
        *,
        program: str = "",
        environment: dict[str, str] | None = None,
        errors: int | None = None,
    ) -> None:
        self.main, self.side = pty.openpty()
        termios.tcsetwinsize(self.side, (24, 80))
        self.before = termios.tcgetattr(self.side)
        words = ["-c", program] if program else ["-m", "aioresp"]
        self.process = subprocess.Popen(
            [sys.executable, *words, "monitor", server.url],
            stdin=self.side,
            stdout=self.side,
            stderr=self.side if errors is None else errors,
            start_new_session=True,
            preexec_fn=lambda: _take_terminal(),
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})},
        )
        os.set_blocking(self.main, False)
        self.output = b""

    def read(self) -> bytes:
        """Read what there is, and return all so far."""
        try:
            while piece := os.read(self.main, 65_536):
                self.output += piece
        except (BlockingIOError, OSError):
            pass
        return self.output

    def until(self, condition: Callable[[], bool], seconds: float = 40.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            self.read()
            assert time.monotonic() < end, self.output[-2_000:]
            time.sleep(0.02)

    def started(self) -> None:
        self.until(lambda: b"connections received" in self.read() and b"noeviction" in self.output)

    def ended(self) -> int:
        self.until(lambda: self.process.poll() is not None)
        self.read()
        return self.process.returncode


def _take_terminal() -> None:
    """Make the terminal the one of the new session, which closes it with SIGHUP."""
    import fcntl  # noqa: PLC0415 (in the child process)

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def terminal(server: Server, **options: Any) -> Iterator[Terminal]:
    found = Terminal(server, **options)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.wait()
        for number in (found.main, found.side):
            try:
                os.close(number)
            except OSError:
                pass


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start_server() as running:
        yield running


def restored(t: Terminal) -> None:
    assert all(sequence in t.output for sequence in RESTORED)
    assert termios.tcgetattr(t.side) == t.before


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda t: os.write(t.main, b"q"), 0),
        (lambda t: os.write(t.main, b"\x03"), 130),
        (lambda t: t.process.send_signal(signal.SIGINT), 130),
        (lambda t: t.process.send_signal(signal.SIGTERM), 143),
    ],
    ids=["q", "Ctrl-C", "SIGINT", "SIGTERM"],
)
def test_an_end(server: Server, end: Callable[[Terminal], object], code: int) -> None:
    with terminal(server) as t:
        t.started()
        end(t)
        assert t.ended() == code
        restored(t)


def test_standard_error_is_elsewhere(server: Server) -> None:
    with terminal(server, errors=subprocess.DEVNULL) as t:
        t.started()
        os.write(t.main, b"q")
        assert t.ended() == 0
        restored(t)


def test_a_terminal_that_cannot_move_its_cursor(server: Server) -> None:
    with terminal(server, environment={"TERM": "dumb"}) as t:
        assert t.ended() == 2
        assert b"the screens need a terminal" in t.output.replace(b"\r\n", b" ")
        assert b"\x1b" not in t.output


def test_a_dialog_does_not_keep_ctrl_c(server: Server) -> None:
    with terminal(server) as t:
        t.started()
        os.write(t.main, b"?")
        t.until(lambda: b"everywhere" in t.read())
        os.write(t.main, b"\x03")
        assert t.ended() == 130
        restored(t)


def test_a_server_that_hangs(server: Server) -> None:
    with terminal(server) as t:
        t.started()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            t.until(lambda: b"does not answer" in t.read())
            os.write(t.main, b"2q")
            began = time.monotonic()
            assert t.ended() == 0
            assert time.monotonic() - began < 20
        finally:
            os.kill(server.pid, signal.SIGCONT)
        restored(t)


def test_a_terminal_that_is_closed(server: Server) -> None:
    with terminal(server) as t:
        t.started()
        os.close(t.side)
        os.close(t.main)
        assert t.process.wait(20) == 129


def test_a_crash(server: Server) -> None:
    with terminal(server, program=CRASH) as t:
        assert t.ended() == 1
        restored(t)
        assert b"ValueError: this is a mistake" in t.output
        assert b"errors shown" not in t.output
        assert b"hunter2" not in t.output.replace(b'secret = "hunter2"', b"")


@pytest.mark.parametrize(
    "environment",
    [{"NO_COLOR": "1"}, {"TERM": "xterm", "COLORTERM": ""}, {"TERM": "linux", "COLORTERM": ""}],
    ids=["NO_COLOR", "16 colours", "console"],
)
def test_few_colours(server: Server, environment: dict[str, str]) -> None:
    with terminal(server, environment=environment) as t:
        t.started()
        os.write(t.main, b"q")
        assert t.ended() == 0
        assert b"\x1b[38;2;" not in t.output
        assert b";48;2;" not in t.output
        if "NO_COLOR" in environment:
            assert not any(b"\x1b[3%dm" % colour in t.output for colour in range(8))
