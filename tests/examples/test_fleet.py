"""The starter of the applications: what it says of mistakes, what it starts again, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
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


@pytest.mark.parametrize("name", ["judge", "analytics", "cached_db"])
def test_nothing_is_left_when_the_starter_is_killed(name: str) -> None:
    with TemporaryDirectory(prefix="k") as folder, application(name, TMPDIR=folder) as app:
        app.line("open http")
        assert os.listdir(folder)
        app.process.kill()
        assert app.wait_left() == []
        end = time.monotonic() + PATIENCE
        while os.listdir(folder) and time.monotonic() < end:
            time.sleep(0.1)
        assert os.listdir(folder) == []


@pytest.mark.parametrize("name", ["analytics", "tasks"])
def test_ctrl_c_while_the_server_does_not_answer(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        words = () if name == "tasks" else ("--port", "0")
        command = [sys.executable, "-m", f"examples.{name}", *words]
        environment = {**os.environ, "AIORESP_URL": address}
        running = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        silent.settimeout(PATIENCE)
        with silent.accept()[0]:
            running.send_signal(signal.SIGINT)
            began = time.monotonic()
            assert running.communicate(timeout=PATIENCE)[1] == ""
        assert running.returncode == 128 + signal.SIGINT
        assert time.monotonic() - began < 5  # the client would wait for twice as long


def test_a_missing_package_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError(name='fastapi')\n")
    done = started("--port", "0", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "the package fastapi is missing: `make` installs" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "started again" not in done.stdout


def test_a_body_that_is_too_large_is_refused() -> None:
    with application("cached_db", "--web", "1") as app, httpx2.Client(base_url=app.url, timeout=PATIENCE) as web:
        assert web.put("/products/1", content=b"9" * (1 << 18)).status_code == 422
        assert web.put("/products/1", content=(b"9" * 1000 for _ in range(1000))).status_code == 413


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
