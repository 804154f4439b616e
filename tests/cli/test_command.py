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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

import aioresp
from aioresp import Client
from aioresp.cli.app import app
from aioresp.cli.called import called
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
    return [sys.executable, "-W", warnings, "-m", "aioresp", *words]


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


@pytest.mark.ci
def test_json_has_the_figures_and_the_keys_are_gone(foreign: Server) -> None:
    done = aioresp_demo("--url", foreign.url, "--count", "200", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["count"] == 200
    assert found["server"]["address"] == foreign.url
    assert found["server"]["embedded"] is False
    assert found["server"]["version"] == ".".join(map(str, foreign.version))

    first, second, third, fourth = found["ways"]
    assert first["connections"] == first["made"] == 200
    assert second["connections"] == second["made"] == 10
    assert 1 < third["connections"] == third["made"] <= 10
    assert 1 <= fourth["connections"] == fourth["made"] <= 2
    for number, way in enumerate(found["ways"], 1):
        assert way["number"] == number
        assert way["seconds"] > 0
        assert way["ops_per_second"] == pytest.approx(200 / way["seconds"], rel=0.001)
        assert way["times_first"] == pytest.approx(way["ops_per_second"] / first["ops_per_second"], rel=0.001)
        assert 0 < way["p50_ms"] <= way["p99_ms"] <= way["seconds"] * 1000
        assert way["cpu_seconds"] > 0
    assert first["p50_ms"] > fourth["p50_ms"]

    (peer,) = found["peers"]
    assert (peer["number"], peer["name"], peer["made"]) == (6, "redis-py, 20 connections", 20)
    assert found["redis_py"] == version("redis")
    threads = found["threads"]
    lanes = sorted([*found["ways"], peer, threads["lane"]], key=lambda lane: lane["seconds"])
    assert [lane["place"] for lane in lanes] == [1, 2, 3, 4, 5, 6]
    assert found["race"]["received"] == sum(lane["made"] for lane in lanes)  # all that the server counted are ours
    assert found["race"]["in_turn"] is True
    assert found["race"]["seconds"] >= sum(lane["seconds"] for lane in lanes)
    assert (threads["threads"], threads["limit"], threads["sets_a_round"]) == (5, 10, 100)
    rounds = threads["rounds"]
    assert 5 <= rounds[0]["connections"] == rounds[0]["made"] <= 50
    assert rounds[1]["connections"] == rounds[1]["made"] == 0

    assert re.fullmatch(r"aioresp:demo:[0-9a-f]{12}:", found["keys"]["prefix"])
    assert found["keys"]["written"] == found["keys"]["deleted"] == 5 * 200 + 2 * 100
    assert keys(foreign) == FOREIGN


def test_an_embedded_server_plain_lines_and_a_chart(tmp_path: Path) -> None:
    chart = tmp_path / "chart.png"
    done = aioresp_demo("--count", "60", "--at-once", "--plot", str(chart), warnings="default::ResourceWarning")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    what, _, where = lines[0].partition(": ")
    assert what == "aioresp demo, 60 SETs in each of 6 lanes, all lanes at once"
    assert re.fullmatch(r"redis://127\.0\.0\.1:\d+ \(\w+ [\d.]+, embedded\)", where)
    assert re.search(r"^a connection for each SET: [\d.]+ s, [\d,]+ SETs/s, 60 connections$", done.stdout, re.M)
    assert re.search(r"^\d.. a client for a job of 20 +[\d.]+ +[\d.]+ +[\d,]+ +3 +[\d.,]+ +[\d.,]+", done.stdout, re.M)
    assert re.search(
        r"^Connections of the 5 threads: \d+ in round 1, 0 in round 2, of 100 SETs each\.$", done.stdout, re.M
    )
    assert re.search(r"^60 connections and [\d.]+ s became [12] and [\d.]+ s\.$", done.stdout, re.M)
    assert "aioresp monitor URL" in done.stdout
    assert lines[-1] == f"The chart is in {chart}."
    assert chart.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    port = re.search(r"127\.0\.0\.1:(\d+)", lines[0])
    assert port is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port[1])), timeout=5)


def test_on_a_terminal_it_is_live(foreign: Server) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("demo", "--url", foreign.url, "--count", "60"),
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
    assert "1st" in text[: text.rindex("\x1b[?25h")]
    assert "SETs from concurrent tasks" in text[text.rindex("\x1b[?25h") :]
    assert keys(foreign) == FOREIGN


@pytest.mark.parametrize(
    ("lane", "signals", "status"),
    [
        (1, [signal.SIGINT, signal.SIGINT, signal.SIGINT], 130),
        pytest.param(1, [signal.SIGINT], 130, marks=pytest.mark.ci),
        pytest.param(3, [signal.SIGTERM], 143, marks=pytest.mark.ci),
        pytest.param(4, [signal.SIGINT], 130, marks=pytest.mark.ci),
        pytest.param(6, [signal.SIGINT, signal.SIGINT, signal.SIGINT], 130, marks=pytest.mark.ci),
    ],
)
def test_ctrl_c_leaves_no_key(foreign: Server, lane: int, signals: list[int], status: int) -> None:
    """In the shared pool, in the middle, and in the last lane, which is the slowest."""
    count = 200
    process = started("--url", foreign.url, "--count", str(count))
    with process:
        wait_for_keys(foreign, (lane - 1) * count + len(FOREIGN))
        foreign.pause()  # so that the run does not end before it hears
        os.killpg(process.pid, signals[0])
        time.sleep(0.05)
        foreign.resume()
        _, said = interrupt(process, *signals[1:])
    assert said == "aioresp demo: interrupted\n"
    assert process.returncode == status
    assert keys(foreign) == FOREIGN


def test_ctrl_c_leaves_no_process() -> None:
    process = started("--count", "2000")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("aioresp demo, 2,000 SETs")
        family: list[psutil.Process] = []

        def complete() -> bool:
            family[:] = psutil.Process(process.pid).children(recursive=True)
            return len(family) >= 4  # the server and its supervisor, and a lane with the process that starts them

        wait_until(complete)
        _, said = interrupt(process, signal.SIGINT)
    assert said == "aioresp demo: interrupted\n"
    assert process.returncode == 130
    assert psutil.wait_procs(family, timeout=5)[1] == []


@pytest.mark.ci
def test_ctrl_c_while_the_server_starts() -> None:
    process = started("--count", "2000")
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
        ("http://127.0.0.1", r"--url: the URL's scheme is 'http'.+"),
        ("redis://127.0.0.1?limits=3", r"--url: unknown option 'limits' in the URL.+"),
    ],
)
def test_a_wrong_url(url: str, complaint: str) -> None:
    done = CliRunner().invoke(app, ["demo", "--url", url])
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(f"aioresp demo: {complaint}\n", done.stderr)


def test_nothing_listens() -> None:
    done = aioresp_demo("--url", "redis://user:secret@127.0.0.1:1", "--count", "20")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"aioresp demo: nothing listens at 127\.0\.0\.1:1.*: is the server running\?.*\n", done.stderr)
    assert "secret" not in done.stderr


def test_wrong_credentials(foreign: Server) -> None:
    url = f"redis://nobody:secret@{foreign.host}:{foreign.port}"
    done = CliRunner().invoke(app, ["demo", "--url", url, "--count", "20"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(f"aioresp demo: {re.escape(foreign.url)}: WRONGPASS .+\n", done.stderr)


def test_a_server_that_is_full() -> None:
    with server(config={"maxclients": "40"}) as s:
        done = aioresp_demo("--url", s.url, "--count", "100")
        assert done.returncode == 1
        assert re.fullmatch("aioresp demo: .+ ERR max number of clients reached; .+ raise .+ maxclients\n", done.stderr)
        assert keys(s) == set()


def test_no_server_to_start() -> None:
    done = CliRunner().invoke(app, ["demo"], env={"AIORESP_SERVER": "/nowhere/redis-server"})
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(r"aioresp demo: .+/nowhere/redis-server.+\n", done.stderr)


def test_the_command_is_called_as_a_user_of_this_environment_types_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "aioresp"
    program.parent.mkdir()
    monkeypatch.setattr(sys, "executable", str(program.with_name("python3")))
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.chdir(tmp_path)
    assert called() == "python3 -m aioresp"
    program.touch(0o755)
    assert called() == "aioresp"
    monkeypatch.setenv("PATH", "/usr/bin")
    assert called() == "bin/aioresp"
    monkeypatch.chdir("/usr")
    assert called() == str(program)
