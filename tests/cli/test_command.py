"""The command `aioresp` as a user runs it: a process of its own, a real server, signals, a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Server, server

pytestmark = pytest.mark.timeout(60)

ROOT = Path(aioresp.__file__).parents[1]
FOREIGN = {"aioresp:demo", "aioresp:demo:mine", "zebra"}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server(config={"requirepass": ""}) as s:
        yield s


@pytest.fixture
def foreign(running: Server) -> Server:
    """The server, with keys that are none of the demo's business."""
    running.flush()

    async def fill() -> None:
        async with Client(running.url) as r:
            await r.mset(dict.fromkeys(FOREIGN, "theirs"))

    asyncio.run(fill())
    return running


def command(*words: str, warnings: str = "error") -> list[str]:
    return [sys.executable, "-W", warnings, "-m", "aioresp.cli", *words]


def aioresp_demo(*words: str, warnings: str = "error") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("demo", *words, warnings=warnings),
        env=ENVIRONMENT,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("demo", *words),
        env=ENVIRONMENT,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,
    )


def listen_to_ctrl_c() -> None:
    """Who starts the tests in the background may have taught their processes to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def keys(s: Server) -> set[str]:
    async def ask() -> set[str]:
        async with Client(s.url) as r:
            return set(await r.keys())

    return asyncio.run(ask())


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def wait_for_keys(s: Server, count: int) -> None:
    """Return when the server has more than `count` keys."""
    with socket.create_connection((s.host, s.port)) as connection, connection.makefile("rwb", buffering=0) as file:

        def enough() -> bool:
            file.write(b"DBSIZE\r\n")
            return int(file.readline()[1:]) > count

        wait_until(enough)


def interrupt(process: subprocess.Popen[str], *signals: int) -> tuple[str, str]:
    """Send the signals to the whole process group, as a terminal does, and return what the process said."""
    for number in signals:
        os.killpg(process.pid, number)
        time.sleep(0.02)
    return process.communicate(timeout=20)


def test_json_has_the_figures_and_the_keys_are_gone(foreign: Server) -> None:
    done = aioresp_demo("--url", foreign.url, "--count", "400", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["count"] == 400
    assert found["server"]["address"] == foreign.url
    assert found["server"]["embedded"] is False
    assert found["server"]["version"] == ".".join(map(str, foreign.version))

    first, second, third, fourth = found["ways"]
    assert first["connections"] == first["made"] == 400
    assert second["connections"] == second["made"] == 20
    assert 1 < third["connections"] == third["made"] <= 10
    assert 1 <= fourth["connections"] == fourth["made"] <= 2
    for number, way in enumerate(found["ways"], 1):
        assert way["number"] == number
        assert way["seconds"] > 0
        assert way["ops_per_second"] == pytest.approx(400 / way["seconds"], rel=0.001)
        assert way["times_first"] == pytest.approx(way["ops_per_second"] / first["ops_per_second"], rel=0.001)
        assert 0 < way["p50_ms"] <= way["p99_ms"] <= way["seconds"] * 1000
    assert first["p50_ms"] > fourth["p50_ms"]

    threads = found["threads"]
    assert (threads["threads"], threads["limit"], threads["sets_a_round"]) == (5, 10, 200)
    rounds = threads["rounds"]
    assert 5 <= rounds[0]["connections"] == rounds[0]["made"] <= 50
    assert rounds[1]["connections"] == rounds[1]["made"] == 0

    assert re.fullmatch(r"aioresp:demo:[0-9a-f]{12}:", found["keys"]["prefix"])
    assert found["keys"]["written"] == found["keys"]["deleted"] == 4 * 400 + 2 * 200
    assert keys(foreign) == FOREIGN


def test_an_embedded_server_plain_lines_and_a_chart(tmp_path: Path) -> None:
    chart = tmp_path / "chart.png"
    done = aioresp_demo("--count", "60", "--plot", str(chart), warnings="default::ResourceWarning")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"aioresp demo, 60 SETs four ways: redis://127\.0\.0\.1:\d+ \(\w+ [\d.]+, embedded\)", lines[0])
    assert re.fullmatch(r"1 a connection for each SET: [\d.]+ s, [\d,]+ SETs/s, 60 connections", lines[1])
    assert re.search(r"^2 a client for a job of 20 +[\d.]+ s +[\d,]+ +3 +[\d.,]+ +[\d.,]+ +[\d.]+x", done.stdout, re.M)
    assert re.search(r"^\d+ connections in round 1, 0 connections in round 2, of 100 SETs each\.$", done.stdout, re.M)
    assert lines[-1] == f"The chart is in {chart}."
    assert chart.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    port = re.search(r"127\.0\.0\.1:(\d+)", lines[0])
    assert port is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port[1])), timeout=5)


def test_on_a_terminal_it_is_live(foreign: Server) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("demo", "--url", foreign.url, "--count", "200"),
        env=ENVIRONMENT,
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how Linux says that the other end was closed
            pass
        os.close(ours)
    text = shown.decode()
    assert process.returncode == 0
    assert text.index("\x1b[?25l") < text.index("total_connections_received") < text.rindex("\x1b[?25h")
    assert "━" in text
    assert "█" in text
    assert "SETs of fresh random keys" in text[text.rindex("\x1b[?25h") :]
    assert keys(foreign) == FOREIGN


@pytest.mark.parametrize(
    ("way", "signals", "status"),
    [
        (1, [signal.SIGINT], 130),
        (1, [signal.SIGTERM], 143),
        (2, [signal.SIGINT, signal.SIGINT, signal.SIGINT], 130),
        pytest.param(5, [signal.SIGINT], 130, marks=pytest.mark.ci),  # it makes 8000 SETs in slower ways before
    ],
)
def test_ctrl_c_leaves_no_key(foreign: Server, way: int, signals: list[int], status: int) -> None:
    count = 2000 if way == 5 else 300  # the last way is fast, and must not end before the pause
    process = started("--url", foreign.url, "--count", str(count))
    with process:
        wait_for_keys(foreign, (way - 1) * count + 10 + len(FOREIGN))
        foreign.pause()  # so that the run does not end before it hears
        os.killpg(process.pid, signals[0])
        time.sleep(0.05)
        foreign.resume()
        _, said = interrupt(process, *signals[1:])
    assert said == "aioresp demo: interrupted\n"
    assert process.returncode == status
    assert keys(foreign) == FOREIGN


def test_ctrl_c_leaves_no_process() -> None:
    process = started("--count", "25000")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("aioresp demo, 25,000 SETs")
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2  # the supervisor and the server
        _, said = interrupt(process, signal.SIGINT)
    assert said == "aioresp demo: interrupted\n"
    assert process.returncode == 130
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_ctrl_c_while_the_server_starts() -> None:
    process = started("--count", "25000")
    with process:
        wait_until(lambda: bool(psutil.Process(process.pid).children()))
        family = psutil.Process(process.pid).children(recursive=True)
        _, said = interrupt(process, signal.SIGINT)
    assert said == "aioresp demo: interrupted\n"
    assert process.returncode == 130
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_a_server_that_dies() -> None:
    with server(config={"requirepass": ""}) as s:
        url = s.url
        process = started("--url", url, "--count", "5000", "--json")
        with process:
            wait_for_keys(s, 50)
            s.kill()
            out, said = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    lines = said.splitlines()
    assert re.fullmatch(
        r"aioresp demo: the keys aioresp:demo:\w+:\* could not all be deleted; they expire within 10 minutes", lines[0]
    )
    assert lines[1].startswith("aioresp demo: ")
    assert url.rpartition("/")[2] in lines[1]
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://user:secret@127.0.0.1:1", r"nothing listens at 127\.0\.0\.1:1.*: is the server running\?.*"),
        ("http://127.0.0.1", r"--url: the URL's scheme is 'http'.+"),
        ("redis://127.0.0.1?limits=3", r"--url: unknown option 'limits' in the URL.+"),
    ],
)
def test_a_wrong_url(url: str, complaint: str) -> None:
    done = aioresp_demo("--url", url, "--count", "20")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"aioresp demo: {complaint}\n", done.stderr)
    assert "secret" not in done.stderr


def test_wrong_credentials(foreign: Server) -> None:
    done = aioresp_demo("--url", f"redis://nobody:secret@{foreign.host}:{foreign.port}", "--count", "20")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"aioresp demo: {re.escape(foreign.url)}: WRONGPASS .+\n", done.stderr)


def test_a_server_that_is_full() -> None:
    with server(config={"maxclients": "40"}) as s:
        done = aioresp_demo("--url", s.url, "--count", "500")
        assert done.returncode == 1
        assert re.fullmatch("aioresp demo: .+ ERR max number of clients reached; .+ raise .+ maxclients\n", done.stderr)
        assert keys(s) == set()


def test_no_server_to_start() -> None:
    done = subprocess.run(
        command("demo"),
        env={**ENVIRONMENT, "AIORESP_SERVER": "/nowhere/redis-server"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"aioresp demo: .+/nowhere/redis-server.+\n", done.stderr)
