"""The starter of the applications: what it says of mistakes, what it starts again, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from aioresp.testing import Server
from tests.examples.kit import PATIENCE, ROOT, Application, application

pytestmark = pytest.mark.ci


def started(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the judge where it should end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "examples.judge", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "environment", "status", "said"),
    [
        (("--port", "x"), {}, 2, "argument --port: 'x' is not a number"),
        (("--workers", "-1"), {}, 2, "argument --workers: '-1' is not a number from 0 on"),
        (("--none",), {}, 2, "unrecognized arguments: --none"),
        (("--port", "70000"), {}, 1, "judge: port 70000: "),
        (("--port", "0"), {"AIORESP_URL": "redis://:secret@127.0.0.1:1"}, 1, "judge: nothing listens at 127.0.0.1:1"),
        (("--port", "0"), {"AIORESP_URL": "redis:/x"}, 1, "judge: the URL's scheme"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    words: tuple[str, ...], environment: dict[str, str], status: int, said: str
) -> None:
    done = started(*words, **environment)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    if status == 1:
        assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_told(server: Server) -> None:
    done = started("--port", str(server.port))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"judge: port {server.port}: " in done.stderr
    assert "choose another by --port" in done.stderr


def test_a_process_that_cannot_start_ends_all() -> None:
    with application("judge", "--workers", "1", "--web", "0", JUDGE_LEASE="long") as app:
        app.line("worker ended with status 1, and is started again")
        app.line("worker has failed at 5 starts in a row: all is ended")
        assert app.process.wait(PATIENCE) == 1


def test_the_server_is_started_again() -> None:
    with application("judge", "--workers", "1", "--web", "1") as app:
        app.line("no sandbox".upper())
        supervisor = next(each for each in app.children() if "supervisor" in " ".join(each.cmdline()))
        supervisor.children()[0].kill()
        app.line("its server has died, and is started again")
        app.end()


def test_nothing_is_left_when_the_starter_is_killed() -> None:
    with application("judge") as app:
        app.member("web-2")
        app.line("worker-2 +. runs")
        app.process.kill()
        assert app.wait_left() == []


def test_the_second_ctrl_c_does_not_wait() -> None:
    with application("judge", "--workers", "1", "--web", "0") as app:
        app.line("NO SANDBOX")
        app.member("worker").suspend()  # it would be killed after four seconds
        app.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        app.end(signal.SIGINT)


def test_a_reader_that_has_gone_ends_all(tmp_path: Path) -> None:
    """As in `make judge | head`."""
    program = textwrap.dedent("""
        import subprocess, sys
        judge = subprocess.Popen(
            [sys.executable, "-m", "examples.judge", "--port", "0", "--web", "0"], stdout=subprocess.PIPE
        )
        judge.stdout.readline()
        judge.stdout.close()
        sys.exit(judge.wait(50))
    """)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in done.stderr


def test_a_fleet_of_none_ends_as_well() -> None:
    with application("judge", "--workers", "0", "--web", "0") as app:
        app.line("Ctrl-C ends all")
        app.end()


def test_the_kit_sees_what_is_left() -> None:
    app = Application("judge", ("--port", "0", "--workers", "1", "--web", "0"), {})
    try:
        app.line("NO SANDBOX")
        assert len(app.left()) >= 3  # the starter, the supervisor with the server, and the worker
    finally:
        app.end()
        app.close()
